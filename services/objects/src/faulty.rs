use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{ObjectError, ObjectStore};

/// How a planned call goes wrong. The caller sees [`ObjectError::Unavailable`] either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The call fails and does nothing.
    Failed,
    /// The call takes effect, but its answer is lost.
    FailedButPersisted,
}

/// Which calls a plan counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Calls {
    All,
    /// `create`, `replace`, `delete`, `extend_lock`.
    Writes,
}

/// A plan of faults, for tests of crate users. Clones share the plan and its counter.
#[derive(Debug, Clone)]
pub struct Faults(Arc<Mutex<Plan>>);

#[derive(Debug)]
struct Plan {
    counts: Calls,
    from: u64,
    until: u64,
    fault: Fault,
    counted: u64,
}

impl Faults {
    /// No faults; counts the calls.
    pub fn none(counts: Calls) -> Self {
        Self::between(counts, 0, 0, Fault::Failed)
    }

    /// The first `count` calls go wrong.
    pub fn first(count: u64, counts: Calls, fault: Fault) -> Self {
        Self::between(counts, 0, count, fault)
    }

    /// Only the call with number `index` (from 0) goes wrong.
    pub fn at(index: u64, counts: Calls, fault: Fault) -> Self {
        Self::between(counts, index, index + 1, fault)
    }

    fn between(counts: Calls, from: u64, until: u64, fault: Fault) -> Self {
        Self(Arc::new(Mutex::new(Plan { counts, from, until, fault, counted: 0 })))
    }

    /// How many calls were counted so far.
    pub fn counted(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).counted
    }

    pub(crate) fn begin(&self, kind: CallKind) -> Result<Call, ObjectError> {
        let mut plan = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if plan.counts == Calls::Writes && kind == CallKind::Read {
            return Ok(Call { lose_answer: false });
        }
        let planned = (plan.from..plan.until).contains(&plan.counted);
        plan.counted += 1;
        match (planned, plan.fault) {
            (false, _) => Ok(Call { lose_answer: false }),
            (true, Fault::FailedButPersisted) => Ok(Call { lose_answer: true }),
            (true, Fault::Failed) => Err(planned_fault()),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallKind {
    Read,
    Write,
}

/// A call that is let through; what the caller hears of it is decided already.
pub(crate) struct Call {
    lose_answer: bool,
}

impl Call {
    pub(crate) fn end<T>(self, answer: Result<T, ObjectError>) -> Result<T, ObjectError> {
        if self.lose_answer { answer.and_then(|_| Err(planned_fault())) } else { answer }
    }
}

fn planned_fault() -> ObjectError {
    ObjectError::Unavailable { action: "answer".to_owned(), source: io::Error::other("planned fault") }
}

/// A store whose calls fail as planned. See [`ObjectStore::with_faults`].
#[derive(Debug, Clone)]
pub struct FaultyStore {
    pub(crate) inner: ObjectStore,
    pub(crate) faults: Faults,
}
