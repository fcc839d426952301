use std::{collections::BTreeSet, env, fs, path::Path};

use super::{family::LABEL_SETS_MAX, table::touch, *};

/// Gives a metric one value under made-up labels.
pub(super) trait Touch {
    fn touch(&self);
}

impl<const N: usize> Touch for Counter<N> {
    fn touch(&self) {
        self.inc(["x"; N]);
    }
}

impl<const N: usize> Touch for Gauge<N> {
    fn touch(&self) {
        self.set(["x"; N], 1.0);
    }
}

impl<const N: usize> Touch for Histogram<N> {
    fn touch(&self) {
        self.observe(["x"; N], 0.5);
    }
}

/// `# TYPE NAME KIND` lines, counters with their `_total`.
fn exposed(text: &str) -> BTreeSet<(String, String)> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let named = types.map(|line| {
        let (name, kind) = line.split_once(' ').unwrap();
        let total = if kind == "counter" { "_total" } else { "" };
        (format!("{name}{total}"), kind.to_owned())
    });
    named.collect()
}

#[test]
fn every_row_of_the_table_is_exposed_and_nothing_else() {
    touch();
    let text = render();
    let expected: BTreeSet<_> =
        TABLE.iter().map(|row| (row.exposed_name(), row.kind.as_str().to_owned())).collect();
    assert_eq!(expected.len(), TABLE.len(), "two rows have one name");
    assert_eq!(exposed(&text), expected);
    assert!(text.ends_with("# EOF\n"));
    for row in TABLE {
        let sample = match row.kind {
            Kind::Histogram => format!("{}_count", row.exposed_name()),
            _ => row.exposed_name(),
        };
        let lines: Vec<&str> =
            text.lines().filter(|line| line.split(['{', ' ']).next() == Some(&sample)).collect();
        assert!(!lines.is_empty(), "{sample} has no value:\n{text}");
        for label in row.labels {
            assert!(lines.iter().all(|line| line.contains(&format!("{label}=\""))), "{lines:?}");
        }
    }
}

#[test]
fn names_and_help_keep_to_the_conventions() {
    for row in TABLE {
        assert!(row.name.starts_with("openarchive_"), "{}", row.name);
        assert!(!row.name.ends_with("_total") && !row.name.ends_with("_seconds"), "{}", row.name);
        assert!(
            row.kind != Kind::Histogram || row.unit == Unit::Seconds,
            "{}: buckets are seconds",
            row.name
        );
        assert!(!row.help.is_empty() && !row.help.ends_with('.') && !row.help.contains('|'), "{}", row.help);
        for label in row.labels {
            assert!(
                !["address", "subject", "sender", "recipient", "mailbox"].contains(label),
                "{}",
                row.name
            );
        }
    }
}

#[test]
fn label_sets_beyond_the_bound_are_counted_as_other() {
    let row = Row { name: "test", kind: Kind::Counter, unit: Unit::None, labels: &["l"], help: "h" };
    let counter = Counter::<1>::new(row);
    for number in 0..LABEL_SETS_MAX {
        counter.inc([&number.to_string()]);
    }
    counter.inc(["one too many"]);
    counter.inc(["7"]);
    assert_eq!(counter.value(["7"]), 2);
    assert_eq!(counter.value(["other"]), 1);
}

#[test]
fn a_gauge_forgets_what_is_gone_and_has_room_for_another() {
    let row = Row { name: "gone", kind: Kind::Gauge, unit: Unit::None, labels: &["l"], help: "h" };
    let gauge = Gauge::<1>::new(row);
    let mut registry = Registry::default();
    gauge.register(&mut registry);
    for number in 0..LABEL_SETS_MAX {
        gauge.set([&number.to_string()], 1.0);
    }
    gauge.remove(["7"]);
    gauge.remove(["never set"]);
    gauge.set(["new"], 1.0);
    gauge.set(["one too many"], 1.0);
    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    let has = |label: &str| text.contains(&format!("gone{{l=\"{label}\"}}"));
    assert!(!has("7") && has("8") && has("new") && has("other") && !has("one too many"), "{text}");
}

#[test]
fn the_process_is_measured() {
    let text = render();
    let resident = text
        .lines()
        .filter(|line| line.starts_with("openarchive_process_resident_memory_bytes"))
        .find_map(|line| line.rsplit_once(' ').map(|(_, value)| value));
    assert!(resident.unwrap().parse::<f64>().unwrap() > 1_000_000.0, "{resident:?}");
    assert!(text.contains("\nopenarchive_process_uptime_seconds{} "), "{text}");
}

/// `OPENARCHIVE_WRITE_GENERATED=1` writes it instead.
#[test]
fn docs_metrics_md_is_fresh() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
    if env::var_os("OPENARCHIVE_WRITE_GENERATED").is_some() {
        fs::write(&path, document()).unwrap();
    }
    assert_eq!(
        fs::read_to_string(&path).unwrap_or_default(),
        document(),
        "docs/metrics.md is stale: run make gen"
    );
}
