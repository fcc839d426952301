//! Counters, gauges and histograms with as many labels as their row in the table.

use std::{
    array,
    sync::atomic::{AtomicUsize, Ordering},
};

use prometheus_client::{
    metrics::{counter, family::Family, gauge, histogram},
    registry::{self, Registry},
};

/// Most label sets of one metric. What comes after them is counted under `other`, so that a mistake in a label fills
/// neither our memory nor Prometheus's.
pub const LABEL_SETS_MAX: usize = 1_000;

/// Latencies from a millisecond to a minute.
const SECONDS: [f64; 15] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Without unit, and without the `_total` of counters.
    pub name: &'static str,
    pub kind: Kind,
    pub unit: Unit,
    pub labels: &'static [&'static str],
    pub help: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A number of things, which the name says.
    None,
    Bytes,
    Seconds,
}

impl Kind {
    /// As OpenMetrics writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

impl Unit {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Bytes => "bytes",
            Self::Seconds => "seconds",
        }
    }
}

impl Row {
    /// As it is queried: with unit and `_total`. A histogram has this name with `_bucket`, `_sum`, `_count`.
    pub fn exposed_name(&self) -> String {
        let mut name = self.name.to_owned();
        if self.unit != Unit::None {
            name = name + "_" + self.unit.as_str();
        }
        if self.kind == Kind::Counter { name + "_total" } else { name }
    }

    fn register(&self, registry: &mut Registry, metric: impl registry::Metric) {
        match self.unit {
            Unit::None => registry.register(self.name, self.help, metric),
            Unit::Bytes => registry.register_with_unit(self.name, self.help, registry::Unit::Bytes, metric),
            Unit::Seconds => {
                registry.register_with_unit(self.name, self.help, registry::Unit::Seconds, metric);
            }
        }
    }
}

type Labels<const N: usize> = [(&'static str, String); N];

fn labels<const N: usize>(row: &Row, values: [&str; N]) -> Labels<N> {
    array::from_fn(|place| (row.labels[place], values[place].to_owned()))
}

macro_rules! family {
    ($(#[$doc:meta])* $name:ident, $metric:ty, $make:expr) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name<const N: usize> {
            row: Row,
            family: Family<Labels<N>, $metric, fn() -> $metric>,
            /// Label sets made; two threads that meet may make it one too many.
            sets: AtomicUsize,
        }

        impl<const N: usize> $name<N> {
            /// `N` is the number of the row's labels: `table.rs` sees to it.
            pub(super) fn new(row: Row) -> Self {
                Self { row, family: Family::new_with_constructor($make), sets: AtomicUsize::new(0) }
            }

            pub(super) fn register(&self, registry: &mut Registry) {
                self.row.register(registry, self.family.clone());
            }

            fn with<T>(&self, values: [&str; N], act: impl FnOnce(&$metric) -> T) -> T {
                let own = labels(&self.row, values);
                if let Some(metric) = self.family.get(&own) {
                    return act(&metric);
                }
                let room = self.sets.fetch_add(1, Ordering::Relaxed) < LABEL_SETS_MAX;
                let own = if room { own } else { labels(&self.row, ["other"; N]) };
                act(&self.family.get_or_create(&own))
            }
        }
    };
}

family!(
    /// Goes up only.
    Counter, counter::Counter, counter::Counter::default);
family!(
    /// A state of now.
    Gauge, gauge::Gauge<f64, std::sync::atomic::AtomicU64>, gauge::Gauge::default);
family!(
    /// How long something takes.
    Histogram, histogram::Histogram, || histogram::Histogram::new(SECONDS));

impl<const N: usize> Counter<N> {
    pub fn inc(&self, labels: [&str; N]) {
        self.add(labels, 1);
    }

    pub fn add(&self, labels: [&str; N], by: u64) {
        self.with(labels, |counter| counter.inc_by(by));
    }

    /// Since the start of the process.
    pub fn value(&self, labels: [&str; N]) -> u64 {
        self.with(labels, counter::Counter::get)
    }
}

impl<const N: usize> Gauge<N> {
    pub fn set(&self, labels: [&str; N], value: f64) {
        self.with(labels, |gauge| gauge.set(value));
    }

    /// Forgets one label set: what it spoke of is gone. Its place is free again.
    pub fn remove(&self, labels: [&str; N]) {
        if self.family.remove(&self::labels(&self.row, labels)) {
            self.sets.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Forgets every label set, before they are set anew.
    pub fn clear(&self) {
        self.family.clear();
        self.sets.store(0, Ordering::Relaxed);
    }
}

impl<const N: usize> Histogram<N> {
    pub fn observe(&self, labels: [&str; N], seconds: f64) {
        self.with(labels, |histogram| histogram.observe(seconds));
    }
}
