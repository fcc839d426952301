//! Every metric of the archive: one table, from which the registry and `docs/metrics.md` come.
//!
//! A process shows those of its role; the others stay empty and are not shown. Counters are counted from the start of the
//! process. Labels come from closed sets (methods, states, names of transactions and of logs): nothing that a stranger can
//! choose, and no address.

mod family;
mod process;
mod table;
#[cfg(test)]
mod tests;

use std::sync::{LazyLock, Mutex, PoisonError};

pub use family::{Counter, Gauge, Histogram, Kind, LABEL_SETS_MAX, Row, Unit};
use prometheus_client::{encoding::text::encode, registry::Registry};
pub use table::*;

static REGISTRY: LazyLock<Registry> = LazyLock::new(table::registry);

type Hook = Box<dyn Fn() + Send + Sync>;
static HOOKS: Mutex<Vec<Hook>> = Mutex::new(Vec::new());

/// Runs `hook` before each answer, for gauges that are cheap to read and would go stale. It must not block for long.
pub fn before_each_answer(hook: impl Fn() + Send + Sync + 'static) {
    HOOKS.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(hook));
}

/// Begins to count the process's time.
pub(crate) fn start(role: &str) {
    process::start();
    BUILD_INFO.set([role, env!("CARGO_PKG_VERSION")], 1.0);
}

/// The metrics now, as OpenMetrics text.
pub fn render() -> String {
    for hook in HOOKS.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        hook();
    }
    process::measure();
    let mut text = String::new();
    // A String takes everything.
    let _ = encode(&mut text, &REGISTRY);
    text
}

/// `docs/metrics.md`.
pub fn document() -> String {
    let mut text = String::from(
        "# Metrics\n\nMade from the table in `services/telemetry/src/metrics/table.rs` by `scripts/gen.sh`. Every role shows \
         its own at `/metrics` (OpenMetrics text) on its health port. Latencies are histograms in seconds.\n\n\
         | metric | kind | unit | labels | what |\n|---|---|---|---|---|\n",
    );
    for row in TABLE {
        let labels: Vec<String> = row.labels.iter().map(|label| format!("`{label}`")).collect();
        text += &format!(
            "| `{}` | {} | {} | {} | {} |\n",
            row.exposed_name(),
            row.kind.as_str(),
            row.unit.as_str(),
            labels.join(", "),
            row.help
        );
    }
    text
}
