//! What others did to our objects and cannot be undone, such as a change that an admission webhook makes with each write: it is
//! told once and tried again from time to time, and everything else goes on. Kept in memory: after a start it is tried once more.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// How long an object stays as it is, until it is tried again whether it can be brought back.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(60 * 60);

/// An object by kind, namespace and name.
pub(crate) type Id = (&'static str, String, String);

/// What was built, and where the object is not like it. Whatever else stands in the object does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fingerprint([u8; 32]);

impl Fingerprint {
    pub(crate) fn of(wanted: &Value, differences: &BTreeMap<String, Value>) -> Self {
        let mut hash = Sha256::new();
        hash.update(wanted.to_string());
        for (path, stands) in differences {
            hash.update(format!("\n{path} {stands}"));
        }
        Self(hash.finalize().into())
    }
}

#[derive(Debug, Clone, Copy)]
struct Tried {
    fingerprint: Fingerprint,
    at: Timestamp,
}

#[derive(Debug, Default)]
pub(crate) struct Left {
    objects: Mutex<BTreeMap<Id, Tried>>,
}

impl Left {
    /// Whether it was tried a short time ago to bring the object back, and this is what came out.
    pub(crate) fn is_known(&self, id: &Id, fingerprint: Fingerprint, now: Timestamp) -> bool {
        self.objects().get(id).is_some_and(|tried| {
            let since = u64::try_from(now.as_second().saturating_sub(tried.at.as_second()));
            tried.fingerprint == fingerprint && since.is_ok_and(|since| since < TRY_AGAIN_AFTER.as_secs())
        })
    }

    /// This came out when the object was written. Answers whether that is new.
    pub(crate) fn note(&self, id: Id, fingerprint: Fingerprint, now: Timestamp) -> bool {
        let before = self.objects().insert(id, Tried { fingerprint, at: now });
        before.is_none_or(|before| before.fingerprint != fingerprint)
    }

    /// The object is as built, or gone.
    pub(crate) fn forget(&self, id: &Id) {
        self.objects().remove(id);
    }

    fn objects(&self) -> MutexGuard<'_, BTreeMap<Id, Tried>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_stays_is_told_once_and_tried_again_after_a_time_or_a_change() {
        let left = Left::default();
        let id = || ("Deployment", "mail".to_owned(), "main".to_owned());
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let hour = i64::try_from(TRY_AGAIN_AFTER.as_secs()).unwrap();
        let print = |wanted: i64, stands: i64| {
            let differences = BTreeMap::from([("/spec/a".to_owned(), json!(stands))]);
            Fingerprint::of(&json!({"spec": {"a": wanted}}), &differences)
        };
        assert!(!left.is_known(&id(), print(1, 2), at(0)));
        assert!(left.note(id(), print(1, 2), at(0)));
        assert!(left.is_known(&id(), print(1, 2), at(hour - 1)));
        assert!(!left.is_known(&id(), print(1, 2), at(hour)), "it is tried again");
        assert!(!left.is_known(&id(), print(1, 3), at(1)), "something else stands there");
        assert!(!left.is_known(&id(), print(4, 2), at(1)), "something else was built");
        assert!(!left.note(id(), print(1, 2), at(hour)), "it is told once");
        assert!(left.is_known(&id(), print(1, 2), at(hour + 1)));
        assert!(left.note(id(), print(1, 3), at(hour + 2)));
        left.forget(&id());
        assert!(left.note(id(), print(1, 3), at(hour + 3)));
    }
}
