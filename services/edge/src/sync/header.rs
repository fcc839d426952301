//! Who the header of a buffered mail names: with that the core can choose the mail's class before it has the mail, so that
//! it is uploaded once. Only a hint, so that whatever stands against it gives none.

use openarchive_mail::{Segment, Skeleton, text::HeaderAddresses};
use openarchive_proto::ingest::v1 as proto;

use super::limits::{BATCH_HINT_BYTES_MAX, HINT_SKELETON_BYTES_MAX};
use crate::buffer::{Buffer, Buffered};

/// What the hints of one batch may still take, in bytes of memory.
pub(super) struct Budget(usize);

impl Budget {
    pub(super) const fn of_batch() -> Self {
        Self(BATCH_HINT_BYTES_MAX)
    }

    /// Once a hint does not fit there are no more: nothing is read in vain.
    pub(super) async fn addresses(
        &mut self,
        buffer: &Buffer,
        mail: &Buffered,
    ) -> Option<proto::HeaderAddresses> {
        if self.0 == 0 {
            return None;
        }
        let hint = addresses(buffer, mail).await?;
        let left = self.0.checked_sub(memory(&hint));
        self.0 = left.unwrap_or(0);
        left.map(|_| hint)
    }
}

fn memory(hint: &proto::HeaderAddresses) -> usize {
    hint.from.iter().chain(&hint.to).map(|address| size_of::<String>() + address.len()).sum()
}

/// `None`: the header is not at the beginning of a skeleton of at most [`HINT_SKELETON_BYTES_MAX`], or names more than a
/// hint holds.
async fn addresses(buffer: &Buffer, mail: &Buffered) -> Option<proto::HeaderAddresses> {
    if mail.skeleton.length > HINT_SKELETON_BYTES_MAX {
        return None;
    }
    let encoded = buffer.blob_in_memory(mail.skeleton.digest).await.ok()??;
    // A reader that panics is a bug of ours and no reason to hold up a mail: it ends its own task alone.
    let found = tokio::task::spawn_blocking(move || of_skeleton(&encoded)).await.ok()??;
    Some(proto::HeaderAddresses { from: found.from, to: found.to })
}

fn of_skeleton(encoded: &[u8]) -> Option<HeaderAddresses> {
    match Skeleton::decode(encoded).ok()?.segments().first()? {
        Segment::Verbatim(beginning) => HeaderAddresses::of(beginning),
        // The mail was kept in one piece, or its header is huge.
        Segment::Part(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use openarchive_domain::{Digest, Timestamp};
    use openarchive_mail::split_in_memory;

    use super::*;
    use crate::buffer::{BufferOptions, Envelope, MessageId, NewBlob, NewMessage, State};

    #[tokio::test]
    async fn skeletons_are_read_up_to_the_greatest_length_and_hints_are_given_within_the_budget() {
        let folder = tempfile::tempdir().unwrap();
        let options = BufferOptions { data_dir: folder.path().to_owned(), high_water_bytes: 1 << 30 };
        let buffer = Buffer::open(options).unwrap();
        let of_length = |length: usize| {
            let mut bytes = b"From: a@x.example\r\n\r\n".to_vec();
            let skeleton =
                |bytes: &[u8]| Skeleton::new(vec![Segment::Verbatim(bytes.to_vec())]).unwrap().encode();
            bytes.resize(bytes.len() + length - skeleton(&bytes).len(), b'x');
            skeleton(&bytes)
        };
        for length in [HINT_SKELETON_BYTES_MAX, HINT_SKELETON_BYTES_MAX + 1] {
            let encoded = of_length(length as usize);
            assert_eq!(encoded.len() as u64, length);
            let envelope = Envelope {
                from: String::new(),
                to: Vec::new(),
                peer: "192.0.2.1".to_owned(),
                mode: "plain".to_owned(),
            };
            let skeleton = NewBlob { digest: Digest::of(&encoded), content: encoded.into() };
            let message = NewMessage {
                message: Digest::of(&length.to_be_bytes()),
                length,
                skeleton,
                parts: Vec::new(),
                envelope,
                occurred_at: Timestamp::from_millis(0),
                state: State::Stored,
                flags: Vec::new(),
                progress: None,
            };
            buffer.store(message).await.unwrap();
        }
        let pending = buffer.pending(MessageId::START, 2).await.unwrap();
        assert_eq!(addresses(&buffer, &pending[0]).await.unwrap().from, ["a@x.example"]);
        assert_eq!(addresses(&buffer, &pending[1]).await, None);

        let (hint, cost) = (&pending[0], size_of::<String>() + "a@x.example".len());
        let mut budget = Budget(2 * cost);
        assert!(budget.addresses(&buffer, hint).await.is_some());
        assert!(budget.addresses(&buffer, hint).await.is_some(), "the last that fits");
        assert_eq!(budget.addresses(&buffer, hint).await, None);
        let mut budget = Budget(2 * cost - 1);
        assert!(budget.addresses(&buffer, hint).await.is_some());
        assert_eq!(budget.addresses(&buffer, hint).await, None, "one byte too many");
    }

    #[test]
    fn a_hint_comes_from_the_beginning_of_a_skeleton() {
        let mail = format!("From: a@x.example\r\nCc: b@x.example\r\n\r\n{}", "text\r\n".repeat(10_000));
        let (split, _) = split_in_memory(mail.as_bytes());
        let found = of_skeleton(&split.skeleton.encode()).unwrap();
        assert_eq!((found.from, found.to), (vec!["a@x.example".to_owned()], vec!["b@x.example".to_owned()]));
        assert_eq!(of_skeleton(&Skeleton::whole(mail.as_bytes()).encode()), None);
        assert_eq!(of_skeleton(b"no skeleton"), None);
        assert_eq!(of_skeleton(&Skeleton::whole(b"").encode()), None);
    }
}
