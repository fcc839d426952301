//! How many objects of a kind a person must look at.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use openarchive_telemetry::metrics;

/// Those whose last pass ended so, and those that cannot be read, by `NAMESPACE/NAME`.
pub(crate) struct Stalled {
    kind: &'static str,
    sets: Mutex<Sets>,
}

#[derive(Default)]
struct Sets {
    by_pass: HashSet<String>,
    unreadable: HashSet<String>,
}

impl Stalled {
    pub(crate) fn new(kind: &'static str) -> Self {
        Self { kind, sets: Mutex::default() }
    }

    pub(crate) const fn kind(&self) -> &'static str {
        self.kind
    }

    pub(crate) fn by_pass(&self, key: &str, is_stalled: bool) {
        self.change(|sets| enter(&mut sets.by_pass, key, is_stalled));
    }

    pub(super) fn unreadable(&self, key: &str, is_unreadable: bool) {
        self.change(|sets| enter(&mut sets.unreadable, key, is_unreadable));
    }

    /// All of them are read anew.
    pub(super) fn begin(&self) {
        self.change(|sets| sets.unreadable.clear());
    }

    fn change(&self, change: impl FnOnce(&mut Sets)) {
        let mut sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut sets);
        let both = sets.by_pass.union(&sets.unreadable).count();
        metrics::OPERATOR_STALLED.set([self.kind], both as f64);
    }
}

fn enter(set: &mut HashSet<String>, key: &str, is_in: bool) {
    if !is_in {
        set.remove(key);
    } else if !set.contains(key) {
        set.insert(key.to_owned());
    }
}
