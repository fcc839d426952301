//! The leaf of a configuration snapshot in the archive's `config` log.

use openarchive_domain::{Digest, Timestamp};
use openarchive_ledger::{
    jcs::{self, JcsError},
    leaf::{LEAF_BYTES_MAX, LeafError, Stamped, parse_uuid_text},
};
use serde_json::{Value, json};

use crate::{generations::Stage, snapshot::Snapshot, subject::Subject};

const VERSION: u64 = 1;

/// A configuration was applied. Holds no personal data: names that are DNS labels, a uid, digests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigLeaf {
    pub subject: Subject,
    pub uid: String,
    pub generation: u64,
    /// Of the snapshot.
    pub sha256: Digest,
    /// Of the snapshot before it, of the same object.
    pub previous: Option<Digest>,
}

impl ConfigLeaf {
    pub const KIND: &'static str = "config";

    /// A function of the snapshot alone, so that the same snapshot is never appended twice.
    pub fn of(snapshot: &Snapshot) -> Self {
        Self {
            subject: snapshot.subject().clone(),
            uid: snapshot.uid().to_owned(),
            generation: snapshot.generation(),
            sha256: snapshot.digest(),
            previous: snapshot.previous(),
        }
    }

    /// The leaf without its time.
    pub fn body(&self) -> Value {
        json!({
            "generation": self.generation.to_string(),
            "kind": Self::KIND,
            "object": {
                "kind": self.subject.kind(),
                "name": self.subject.name(),
                "namespace": self.subject.namespace(),
                "uid": self.uid,
            },
            "previous": self.previous.map(|digest| digest.to_string()),
            "sha256": self.sha256.to_string(),
            "v": VERSION,
        })
    }

    /// SHA-256 of the JCS of the body. The trust service demands it of every kind of leaf whose identifying fields it
    /// does not know, because it can restore it from the leaf. It identifies the snapshot as its own digest does: the
    /// body is a function of the snapshot and holds that digest.
    pub fn idempotency_key(&self) -> Result<Digest, JcsError> {
        Ok(Digest::of(jcs::canonicalize(&self.body())?.as_bytes()))
    }

    /// Reads the bytes of a leaf, strictly. [`LeafError::OtherKind`] for leaves that are none of these.
    pub fn parse(bytes: &[u8]) -> Result<Stamped<Self>, LeafError> {
        if bytes.len() > LEAF_BYTES_MAX {
            return Err(LeafError::TooLong { bytes: bytes.len() });
        }
        let value: Value = serde_json::from_slice(bytes).map_err(|_| LeafError::NotAnObject)?;
        if value["kind"] != Self::KIND {
            return Err(LeafError::OtherKind { expected: Self::KIND });
        }
        let leaf = Self::read(&value)?;
        let time = field(&value, "time", "a UTC time as YYYY-MM-DDTHH:MM:SS.mmmZ")?;
        let time: Timestamp =
            time.parse().map_err(|_| LeafError::Field { field: "time", expected: "a UTC time" })?;
        // Refuses further fields and any other writing.
        let mut again = leaf.body();
        again["time"] = Value::String(time.to_string());
        if jcs::canonicalize(&again)?.as_bytes() == bytes {
            Ok(Stamped { leaf, time })
        } else {
            Err(LeafError::NotCanonical)
        }
    }

    fn read(value: &Value) -> Result<Self, LeafError> {
        let digest = |name: &'static str| {
            let expected = "sha256: and 64 lowercase hex digits";
            let digest = field(value, name, expected)?.parse();
            digest.map_err(|_| LeafError::Field { field: name, expected })
        };
        let object = &value["object"];
        let name = |name: &'static str| field(object, name, "a string");
        let subject = Subject::new(name("kind")?, name("namespace")?, name("name")?)
            .map_err(|_| LeafError::Field { field: "object", expected: "a kind and two DNS labels" })?;
        let uid = name("uid")?;
        if parse_uuid_text(uid).is_none() {
            return Err(LeafError::Field { field: "uid", expected: "a UUID in lowercase with hyphens" });
        }
        let expected = "a decimal number in a string";
        let generation = field(value, "generation", expected)?.parse();
        Ok(Self {
            subject,
            uid: uid.to_owned(),
            generation: generation.map_err(|_| LeafError::Field { field: "generation", expected })?,
            sha256: digest("sha256")?,
            previous: if value["previous"].is_null() { None } else { Some(digest("previous")?) },
        })
    }

    pub(crate) fn stage(&self) -> Stage<'_> {
        Stage { uid: &self.uid, generation: self.generation }
    }
}

fn field<'a>(value: &'a Value, field: &'static str, expected: &'static str) -> Result<&'a str, LeafError> {
    value[field].as_str().ok_or(LeafError::Field { field, expected })
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use openarchive_ledger::leaf::stamp;

    use super::*;
    use crate::fixtures::{TIME, snapshots};

    fn leaf_text(leaf: &ConfigLeaf) -> String {
        String::from_utf8(stamp(leaf.body(), TIME).unwrap()).unwrap()
    }

    #[test]
    fn a_leaf_names_the_object_and_the_two_snapshots() {
        let [first, second] = snapshots::<2>();
        assert_snapshot!(leaf_text(&ConfigLeaf::of(&first)), @r#"{"generation":"1","kind":"config","object":{"kind":"ArchiveCore","name":"main","namespace":"mail","uid":"6f1c1a52-0d55-4b7e-9c68-2f6a4c0d9e11"},"previous":null,"sha256":"sha256:5062ecfaa68cdcf34006d9ffbce1e83db34f030b3d5d158d2c1527760d20f952","time":"2026-01-02T03:04:05.678Z","v":1}"#);
        for snapshot in [first, second] {
            let leaf = ConfigLeaf::of(&snapshot);
            let read = ConfigLeaf::parse(leaf_text(&leaf).as_bytes()).unwrap();
            assert_eq!((read.leaf, read.time), (leaf, TIME));
        }
    }

    #[test]
    fn the_key_is_the_one_that_trust_demands_of_a_kind_it_does_not_know() {
        let [first, second] = snapshots::<2>();
        let (first, second) = (ConfigLeaf::of(&first), ConfigLeaf::of(&second));
        let body = jcs::canonicalize(&first.body()).unwrap();
        assert_eq!(first.idempotency_key().unwrap(), Digest::of(body.as_bytes()));
        assert_ne!(first.idempotency_key(), second.idempotency_key());
    }

    #[test]
    fn bytes_that_are_not_exactly_a_leaf_are_refused() {
        let [_, second] = snapshots::<2>();
        let text = leaf_text(&ConfigLeaf::of(&second));
        let check = |from: &str, to: &str, expected: LeafError| {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text, "{from}");
            assert_eq!(ConfigLeaf::parse(changed.as_bytes()), Err(expected), "{changed}");
        };
        check(r#""kind":"config""#, r#""kind":"audit""#, LeafError::OtherKind { expected: "config" });
        check(r#""generation":"2""#, r#""generation":"02""#, LeafError::NotCanonical);
        check(r#""generation":"2""#, r#""generation": "2""#, LeafError::NotCanonical);
        check(r#","v":1"#, r#","u":1,"v":1"#, LeafError::NotCanonical);
        check(r#""v":1"#, r#""v":2"#, LeafError::NotCanonical);
        let digest = "sha256: and 64 lowercase hex digits";
        check(
            r#""sha256":"sha256:"#,
            r#""sha256":"md5:"#,
            LeafError::Field { field: "sha256", expected: digest },
        );
        let names = "a kind and two DNS labels";
        check(r#""main""#, r#""a@b""#, LeafError::Field { field: "object", expected: names });
        check("{", "[", LeafError::NotAnObject);
    }
}
