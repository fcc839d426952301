use std::{
    fs::{self, File},
    io,
    sync::{Arc, Mutex, PoisonError},
};

use openarchive_domain::Digest;

use crate::{Content, ObjectError, ObjectKey, ObjectStore, Version, local::hash_file};

/// How a planned call goes wrong. After the first two the caller sees [`ObjectError::Unavailable`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The call fails and does nothing.
    Failed,
    /// The call takes effect, but its answer is lost.
    FailedButPersisted,
    /// The call answers success and does nothing: the store that says 200 and loses the object. A read has no effect
    /// that could be lost, and is let through.
    Lost,
}

/// Which calls a plan counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Calls {
    All,
    /// `create`, `replace`, `delete`, `extend_lock`.
    Writes,
    /// The writes of objects whose keys begin so.
    WritesUnder(&'static str),
}

impl Calls {
    fn count(self, kind: CallKind, key: &str) -> bool {
        match self {
            Self::All => true,
            Self::Writes => kind == CallKind::Write,
            Self::WritesUnder(prefix) => kind == CallKind::Write && key.starts_with(prefix),
        }
    }
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

    /// `key`: of the object, or the prefix of a listing.
    pub(crate) fn begin(&self, kind: CallKind, key: &str) -> Result<Call, ObjectError> {
        let mut plan = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !plan.counts.count(kind, key) {
            return Ok(Call::Whole);
        }
        let planned = (plan.from..plan.until).contains(&plan.counted);
        plan.counted += 1;
        match plan.fault {
            Fault::Failed if planned => Err(planned_fault()),
            Fault::FailedButPersisted if planned => Ok(Call::AnswerLost),
            Fault::Lost if planned && kind == CallKind::Write => Ok(Call::EffectLost),
            _ => Ok(Call::Whole),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallKind {
    Read,
    Write,
}

/// A call that is let through; what becomes of it is decided already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Whole,
    AnswerLost,
    /// Only of writes: it is answered without being made.
    EffectLost,
}

impl Call {
    /// Makes the call, or answers `pretended` instead.
    pub(crate) async fn write<T>(
        self,
        made: impl Future<Output = Result<T, ObjectError>>,
        pretended: impl Future<Output = Result<T, ObjectError>>,
    ) -> Result<T, ObjectError> {
        if self == Self::EffectLost { pretended.await } else { self.end(made.await) }
    }

    pub(crate) fn end<T>(self, answer: Result<T, ObjectError>) -> Result<T, ObjectError> {
        if self == Self::AnswerLost { answer.and_then(|_| Err(planned_fault())) } else { answer }
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

impl FaultyStore {
    /// What a creation would answer. A file is consumed as by a real one.
    pub(crate) async fn pretend_to_create(
        &self,
        key: &ObjectKey,
        content: Content,
    ) -> Result<Version, ObjectError> {
        if self.inner.head(key).await?.is_some() {
            return Err(ObjectError::Exists { key: key.clone() });
        }
        let path = match content {
            Content::Bytes(bytes) => {
                return Ok(self.pretended_version(Digest::of(&bytes), bytes.len() as u64));
            }
            Content::File(path) => path,
        };
        let consumed = tokio::task::spawn_blocking(move || {
            let hashed = hash_file(&mut File::open(&path)?)?;
            fs::remove_file(&path)?;
            Ok::<_, io::Error>(hashed)
        });
        let unavailable =
            |source| ObjectError::Unavailable { action: format!("create object {key}"), source };
        let (sha256, length) =
            consumed.await.map_err(|join| unavailable(io::Error::other(join)))?.map_err(unavailable)?;
        Ok(self.pretended_version(sha256, length))
    }

    pub(crate) fn pretended_version(&self, sha256: Digest, length: u64) -> Version {
        self.inner.present_version(sha256, length)
    }
}
