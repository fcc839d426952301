//! P14: SMTP, buffer, store, verified receipt, found: agent and core on the same machine.

use openarchive_bench::{
    archive::{Counter, drive},
    corpus::Corpus,
    gate,
    processes::settle,
    runs::{median, raw, shown},
    sender::Pace,
};
use openarchive_e2e::{Agent, AgentOptions, Archive};

use crate::{Row, Site};

const MAILS: usize = 3000;
const SESSIONS: usize = 20;
/// Mails a second at the busiest of the design's load: 1 million a day for 100,000 users (targets.md).
const PEAK: f64 = 116.0;

pub(crate) fn measure(site: &Site) -> anyhow::Result<Vec<Row>> {
    let fast = runs(site, Pace::Unbounded)?;
    let at_peak = runs(site, Pace::Bounded(PEAK))?;
    Ok(vec![
        row("mails/s from SMTP to found, sent as fast as they are taken", ">= 290", &fast.rates),
        row(
            "time until all are proven, of the sending time; sent as fast as they are taken",
            "<= 1.3",
            &fast.drained,
        ),
        row(
            "time until all are proven, of the sending time; sent at 116 a second",
            "<= 1.3",
            &at_peak.drained,
        ),
    ])
}

#[derive(Default)]
struct Runs {
    rates: Vec<f64>,
    drained: Vec<f64>,
}

fn runs(site: &Site, pace: Pace) -> anyhow::Result<Runs> {
    let mut runs = Runs::default();
    for run in 0..site.pairs {
        let corpus = Corpus::new(1400 + run as u64, 70).of_sizes(77_000, 103_000);
        let mails: Vec<Vec<u8>> = corpus.take(MAILS).collect();
        settle()?;
        let mut archive = Archive::all();
        let agents = [Agent::start_new(&archive, AgentOptions::default())];
        let chain = drive(&agents, SESSIONS, &mails, &Counter::of_archive(&archive)?, pace)?;
        runs.rates.push(MAILS as f64 / chain.searchable.as_secs_f64());
        runs.drained.push(chain.proven.as_secs_f64() / chain.sent.took.as_secs_f64());
        drop(agents);
        gate::check(&mut archive, &chain.sent.digests)?;
    }
    Ok(runs)
}

fn row(what: &str, wanted: &'static str, values: &[f64]) -> Row {
    Row {
        target: "P14",
        what: format!("{what}; one agent, 20 sessions, 77 to 103 KB, `openarchive all` beside it"),
        wanted,
        ours: shown(median(values)),
        theirs: "-".to_owned(),
        ratio: shown(median(values)),
        raw: raw(values),
    }
}
