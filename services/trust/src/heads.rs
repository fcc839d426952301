//! Heads: what was about to be signed, in objects that nobody can make twice. Before every signature the next head is
//! created; so an archive that was set back cannot sign a second history, and two signers fence each other.

use openarchive_domain::Digest;
use openarchive_ledger::{
    Hash, jcs,
    origin::{LogId, Origin},
};
use openarchive_objects::{ObjectError, ObjectKey, ObjectStore};
use serde_json::{Value, json};

/// Version of the head's form.
const VERSION: u64 = 1;

/// The content of an object `heads/LOG/<20-digit ordinal>`: JCS of `{origin, previous, root, size, v}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) origin: Origin,
    pub(crate) size: u64,
    pub(crate) root: Hash,
    /// Of the bytes of the head before this one; none before ordinal 0.
    pub(crate) previous: Option<Digest>,
}

impl Head {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let value = json!({
            "origin": self.origin.to_string(),
            "previous": self.previous.map(|digest| digest.to_string()),
            "root": self.root.to_string(),
            "size": self.size.to_string(),
            "v": VERSION,
        });
        jcs::canonicalize(&value).expect("a head is strings under ASCII keys").into_bytes()
    }

    pub(crate) fn digest(&self) -> Digest {
        Digest::of(&self.bytes())
    }

    /// Reads what [`Head::bytes`] writes, and no other writing of it.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(bytes).ok()?;
        let previous = match &value["previous"] {
            Value::Null => None,
            other => Some(other.as_str()?.parse().ok()?),
        };
        let head = Self {
            origin: value["origin"].as_str()?.parse().ok()?,
            size: value["size"].as_str()?.parse().ok()?,
            root: value["root"].as_str()?.parse().ok()?,
            previous,
        };
        (head.bytes() == bytes).then_some(head)
    }
}

/// Where a log's heads stand. Twenty digits hold every u64, so their order is that of the ordinals.
pub(crate) fn key(log: &LogId, ordinal: u64) -> ObjectKey {
    ObjectKey::try_from(format!("{}{ordinal:020}", prefix(log)))
        .expect("a log is made of labels, which are segments of an object key")
}

pub(crate) fn prefix(log: &LogId) -> String {
    format!("heads/{log}/")
}

/// Why a head could not be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HeadError {
    #[error("the heads of a log cannot be read")]
    Objects(#[from] ObjectError),
    #[error("the object {0} is no head: it was not written by this program, or was changed")]
    Malformed(ObjectKey),
}

/// Reads one head; `None` if there is none of that ordinal.
pub(crate) async fn read(
    objects: &ObjectStore,
    log: &LogId,
    ordinal: u64,
) -> Result<Option<Head>, HeadError> {
    let key = key(log, ordinal);
    match objects.get(&key).await {
        Ok(bytes) => Head::parse(&bytes).map(Some).ok_or(HeadError::Malformed(key)),
        Err(ObjectError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The ordinals of all heads behind `after`, ascending.
pub(crate) async fn ordinals(
    objects: &ObjectStore,
    log: &LogId,
    after: Option<u64>,
) -> Result<Vec<u64>, HeadError> {
    let prefix = prefix(log);
    let after = after.map(|ordinal| key(log, ordinal));
    let keys = objects.list_page(&prefix, after.as_ref(), usize::MAX).await?;
    keys.into_iter()
        .map(|found| {
            let ordinal = found.as_str().strip_prefix(&prefix).and_then(|text| text.parse().ok());
            ordinal.filter(|ordinal| key(log, *ordinal) == found).ok_or(HeadError::Malformed(found))
        })
        .collect()
}

/// The latest head behind `after`, with its ordinal.
pub(crate) async fn latest(
    objects: &ObjectStore,
    log: &LogId,
    after: Option<u64>,
) -> Result<Option<(u64, Head)>, HeadError> {
    let Some(ordinal) = ordinals(objects, log, after).await?.pop() else { return Ok(None) };
    Ok(read(objects, log, ordinal).await?.map(|head| (ordinal, head)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> Head {
        Head {
            origin: "a.example/main/acme/evidence/1".parse().unwrap(),
            size: u64::MAX,
            root: Digest::of(b"root"),
            previous: Some(Digest::of(b"before")),
        }
    }

    #[test]
    fn a_head_reads_back_as_it_is_written() {
        for head in [head(), Head { previous: None, size: 1, ..head() }] {
            assert_eq!(Head::parse(&head.bytes()), Some(head));
        }
        assert_eq!(
            String::from_utf8(Head { previous: None, size: 1, ..head() }.bytes()).unwrap(),
            concat!(
                r#"{"origin":"a.example/main/acme/evidence/1","previous":null,"#,
                r#""root":"sha256:4813494d137e1631bba301d5acab6e7bb7aa74ce1185d456565ef51d737677b2","size":"1","v":1}"#
            )
        );
    }

    #[test]
    fn any_other_writing_is_no_head() {
        let text = String::from_utf8(head().bytes()).unwrap();
        for bad in [
            text.replace(":1}", ":2}"),
            text.replace(":1}", r#":1,"x":1}"#),
            text.replace(r#""size":""#, r#""size":"0"#),
            text.replace(',', ", "),
            text.replace("sha256:", ""),
            String::new(),
        ] {
            assert_eq!(Head::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn heads_sort_by_ordinal() {
        let log: LogId = "_/config/1".parse().unwrap();
        assert_eq!(key(&log, 7).as_str(), "heads/_/config/1/00000000000000000007");
        assert!(key(&log, 10) < key(&log, u64::MAX));
    }
}
