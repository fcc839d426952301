//! The idempotency key that belongs to a leaf. It is a function of the leaf's content, so that a rebuild restores it:
//! a replayed append then finds the leaf that stands.

use openarchive_domain::{Digest, Timestamp};
use openarchive_ledger::{
    jcs,
    leaf::{AnyLeaf, LeafError, stamp},
};
use serde_json::Value;

/// The key of a leaf without its time: the identifying fields' for a kind that this version knows, SHA-256 of the
/// JCS of the whole body for others.
pub fn of_body(body: &Value) -> Result<Digest, LeafError> {
    of_leaf(&stamp(body.clone(), Timestamp::from_millis(0))?)
}

/// The key of a leaf as it stands in a log.
pub fn of_leaf(leaf: &[u8]) -> Result<Digest, LeafError> {
    match AnyLeaf::parse(leaf) {
        Ok(stamped) => Ok(stamped.leaf.idempotency_key()),
        Err(LeafError::UnknownKind) => {
            let (body, _time) = split_time(leaf)?;
            Ok(Digest::of(jcs::canonicalize(&body)?.as_bytes()))
        }
        Err(error) => Err(error),
    }
}

/// A leaf's time, of whatever kind it is.
pub(crate) fn time_of(leaf: &[u8]) -> Result<Timestamp, LeafError> {
    split_time(leaf).map(|(_body, time)| time)
}

fn split_time(leaf: &[u8]) -> Result<(Value, Timestamp), LeafError> {
    let mut body: Value = serde_json::from_slice(leaf).map_err(|_| LeafError::NotAnObject)?;
    let time = body.as_object_mut().ok_or(LeafError::NotAnObject)?.remove("time");
    let time = time.as_ref().and_then(Value::as_str).and_then(|text| text.parse().ok());
    let time = time.ok_or(LeafError::Field { field: "time", expected: "a UTC time" })?;
    Ok((body, time))
}

#[cfg(test)]
mod tests {
    use openarchive_ledger::{
        leaf::{FirstLeaf, TrustMode},
        note::Signer,
        origin::Origin,
    };
    use serde_json::json;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_123);

    #[test]
    fn a_known_kind_has_the_key_of_its_identifying_fields() {
        let origin: Origin = "a.example/main/acme/audit/1".parse().unwrap();
        let first = FirstLeaf {
            log_key: Signer::new(&origin.to_string(), &[1; 32]).unwrap().verifier().clone(),
            trust_mode: TrustMode::NonQualified,
            seal_certificate: None,
            origin,
        };
        assert_eq!(of_body(&first.body()), Ok(first.idempotency_key()));
        assert_eq!(of_leaf(&stamp(first.body(), NOW).unwrap()), Ok(first.idempotency_key()));
        assert_eq!(of_body(&json!({ "kind": "log", "v": 1 })), Err(LeafError::Missing("origin")));
    }

    #[test]
    fn any_other_kind_has_one_that_its_time_does_not_change() {
        let body = json!({ "kind": "delivery", "n": "1", "v": 1 });
        let leaf = stamp(body.clone(), NOW).unwrap();
        assert_eq!(of_leaf(&leaf), of_body(&body));
        assert_eq!(time_of(&leaf), Ok(NOW));
        assert_ne!(of_body(&body), of_body(&json!({ "kind": "delivery", "n": "2", "v": 1 })));
    }

    #[test]
    fn what_is_no_leaf_has_none() {
        assert_eq!(of_leaf(b"[]"), Err(LeafError::NotAnObject));
        assert_eq!(of_body(&json!({ "time": "x" })), Err(LeafError::AlreadyStamped));
        assert_eq!(of_body(&json!({ "v": 1 })), Err(LeafError::Missing("kind")));
        assert!(time_of(b"{}").is_err());
    }
}
