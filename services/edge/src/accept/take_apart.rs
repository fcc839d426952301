//! Splitting a mail, and proving before anybody is told `250` that the pieces give the same bytes again.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    io,
    panic::{AssertUnwindSafe, catch_unwind},
};

use openarchive_domain::{Digest, DigestHasher};
use openarchive_mail::{PartRef, PartSink, Skeleton, Splitter};

use super::rejoin::rejoins;
use crate::{
    buffer::{NewBlob, whole_skeleton},
    content::{Content, READ_BYTES},
    spool::{Spool, SpoolDir},
};

/// The flag of a mail that the splitter could not take apart and rejoin, and that is kept in one piece.
pub const FLAG_KEPT_WHOLE: &str = "kept-whole";

pub(super) struct TakenApart {
    pub(super) message: Digest,
    pub(super) length: u64,
    pub(super) skeleton: NewBlob,
    /// Each digest once, in order of first occurrence.
    pub(super) parts: Vec<NewBlob>,
    pub(super) flags: Vec<String>,
}

/// Fails only with the disk. Blocks on it if the message is in a file.
pub(super) fn take_apart(message: &Content, spool_dir: &SpoolDir) -> io::Result<TakenApart> {
    // A splitter that panics is a bug of ours and no reason to lose or to refuse a mail.
    match catch_unwind(AssertUnwindSafe(|| split(message, spool_dir))) {
        Ok(Ok(Some(taken_apart))) => Ok(taken_apart),
        Ok(Err(error)) => Err(error),
        Ok(Ok(None)) | Err(_) => {
            tracing::error!(
                bytes = message.length(),
                "the splitter fails on a mail, which is kept whole; report this"
            );
            keep_whole(message)
        }
    }
}

/// `None` if the pieces do not give the message again.
fn split(message: &Content, spool_dir: &SpoolDir) -> io::Result<Option<TakenApart>> {
    let mut splitter = Splitter::new(Parts::new(spool_dir));
    message.read(READ_BYTES, |piece| splitter.feed(piece))?;
    let (split, parts) = splitter.finish()?;
    let stored = parts.into_stored()?;
    if split.length != message.length() || !rejoins(message, &split.skeleton, &stored)? {
        return Ok(None);
    }
    let parts = stored.into_parts_of(&split.skeleton);
    let flags = split.flags.names().into_iter().map(str::to_owned).collect();
    Ok(Some(TakenApart {
        message: split.message,
        length: split.length,
        skeleton: encode(&split.skeleton),
        parts,
        flags,
    }))
}

fn keep_whole(message: &Content) -> io::Result<TakenApart> {
    let mut hasher = DigestHasher::default();
    message.read(READ_BYTES, |piece| {
        hasher.update(piece);
        io::Result::Ok(())
    })?;
    let digest = hasher.finish();
    let skeleton = whole_skeleton(message, digest)?;
    let parts =
        skeleton.parts().map(|part| NewBlob { digest: part.digest, content: message.clone() }).collect();
    Ok(TakenApart {
        message: digest,
        length: message.length(),
        skeleton: encode(&skeleton),
        parts,
        flags: vec![FLAG_KEPT_WHOLE.to_owned()],
    })
}

fn encode(skeleton: &Skeleton) -> NewBlob {
    let encoded = skeleton.encode();
    NewBlob { digest: Digest::of(&encoded), content: encoded.into() }
}

/// Takes part content from the splitter, one part behind the other; a part that came before is not kept again.
struct Parts {
    spool: Spool,
    /// Where the part that was begun starts.
    begun_at: u64,
    /// Start and length of each part in the spool.
    places: BTreeMap<Digest, (u64, u64)>,
}

/// The content of all parts of one mail.
pub(super) struct StoredParts {
    content: Content,
    places: BTreeMap<Digest, (u64, u64)>,
}

impl Parts {
    fn new(spool_dir: &SpoolDir) -> Self {
        Self { spool: Spool::new(spool_dir), begun_at: 0, places: BTreeMap::new() }
    }

    fn into_stored(self) -> io::Result<StoredParts> {
        Ok(StoredParts { content: self.spool.into_content()?, places: self.places })
    }
}

impl StoredParts {
    pub(super) fn get(&self, digest: &Digest) -> Option<Content> {
        self.places.get(digest).map(|(start, length)| self.content.slice(*start..start + length))
    }

    fn into_parts_of(mut self, skeleton: &Skeleton) -> Vec<NewBlob> {
        let content = self.content;
        skeleton
            .parts()
            .filter_map(|part| {
                let (start, length) = self.places.remove(&part.digest)?;
                Some(NewBlob { digest: part.digest, content: content.slice(start..start + length) })
            })
            .collect()
    }
}

impl PartSink for Parts {
    type Error = io::Error;

    fn begin(&mut self) -> io::Result<()> {
        self.begun_at = self.spool.length();
        Ok(())
    }

    fn data(&mut self, decoded: &[u8]) -> io::Result<()> {
        self.spool.tail().extend_from_slice(decoded);
        self.spool.settle_blocking()
    }

    fn end(&mut self, part: &PartRef) -> io::Result<()> {
        match self.places.entry(part.digest) {
            Entry::Occupied(_) => self.spool.truncate(self.begun_at),
            Entry::Vacant(entry) => {
                entry.insert((self.begun_at, self.spool.length() - self.begun_at));
            }
        }
        Ok(())
    }

    fn abort(&mut self) -> io::Result<()> {
        self.spool.truncate(self.begun_at);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use openarchive_mail::join_in_memory;

    use super::*;

    fn message(length: usize) -> Content {
        (0..length).map(|i| (i / 3) as u8).collect::<Vec<u8>>().into()
    }

    #[test]
    fn what_the_splitter_cannot_do_is_kept_in_one_piece_and_flagged() {
        for length in [0, 1023, 1024, 200_000] {
            let Content::Memory(bytes) = message(length) else { unreachable!("made in memory") };
            let kept = keep_whole(&Content::Memory(bytes.clone())).unwrap();
            assert_eq!((kept.message, kept.length), (Digest::of(&bytes), length as u64));
            assert_eq!(kept.flags, [FLAG_KEPT_WHOLE]);
            assert_eq!(kept.parts.len(), usize::from(length >= 1024));
            let Content::Memory(encoded) = &kept.skeleton.content else { unreachable!("made in memory") };
            let skeleton = Skeleton::decode(encoded).unwrap();
            assert_eq!(join_in_memory(&skeleton, |_| Some(bytes.to_vec())).unwrap(), bytes);
        }
    }

    #[test]
    fn pieces_of_another_mail_do_not_rejoin() {
        let folder = tempfile::tempdir().unwrap();
        let spool_dir = SpoolDir::new(folder.path().to_owned());
        let stored = |bytes: &[u8], digest: Digest| {
            let mut parts = Parts::new(&spool_dir);
            parts.begin().unwrap();
            parts.data(bytes).unwrap();
            parts.places.insert(digest, (0, bytes.len() as u64));
            parts.into_stored().unwrap()
        };
        let right = vec![b'x'; 5000];
        let digest = Digest::of(&right);
        let skeleton = Skeleton::whole(&right);
        let check = |message: &[u8], part: &[u8]| {
            rejoins(&message.to_vec().into(), &skeleton, &stored(part, digest)).unwrap()
        };
        assert!(check(&right, &right));
        assert!(!check(&[b'y'; 5000], &right), "other bytes");
        assert!(!check(&right[1..], &right), "a shorter mail");
        assert!(!check(&right, &right[1..]), "a shorter part");
        assert!(
            !rejoins(&right.clone().into(), &skeleton, &stored(&right, Digest::of(b"other"))).unwrap(),
            "no part"
        );
    }
}
