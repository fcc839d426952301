//! A message as storage holds it: skeleton and parts, joined piece by piece without ever standing in memory whole.

use openarchive_domain::{Digest, DigestHasher, RetentionClass, Tenant};
use openarchive_mail::{PartEncoder, PartRef, Segment, Skeleton, SkeletonError, limits::SKELETON_BYTES_MAX};

use crate::{
    blob_store::{BlobContent, BlobError, BlobName, BlobStore},
    failure::Failure,
};

/// Why stored blobs do not join to a message.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error(transparent)]
    Blob(#[from] BlobError),
    #[error("the skeleton cannot be read: {0}")]
    Skeleton(#[from] SkeletonError),
    #[error("{part} has {found} bytes where the skeleton refers to {expected}")]
    PartLength { part: BlobName, found: u64, expected: u64 },
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Blob(error) => error.into(),
            damage => Self::Damaged(damage.to_string()),
        }
    }
}

/// Where a message's blobs are.
#[derive(Debug, Clone)]
pub(crate) struct MessageSource {
    pub(crate) blobs: BlobStore,
    pub(crate) tenant: Tenant,
    pub(crate) class: RetentionClass,
}

impl MessageSource {
    /// The skeleton, within every limit that makes it safe to join.
    pub(crate) async fn skeleton(&self, digest: Digest) -> Result<Skeleton, ReadError> {
        let name = BlobName::Skeleton(digest);
        let bytes = self.blobs.read(&self.tenant, self.class, name, SKELETON_BYTES_MAX).await?;
        Ok(Skeleton::decode(&bytes)?)
    }

    /// The bytes of an observation blob.
    pub(crate) async fn observation(&self, digest: Digest, bytes_max: usize) -> Result<Vec<u8>, BlobError> {
        self.blobs.read(&self.tenant, self.class, BlobName::Observation(digest), bytes_max).await
    }

    pub(crate) async fn part(&self, digest: Digest) -> Result<BlobContent, BlobError> {
        self.blobs.open(&self.tenant, self.class, BlobName::Part(digest)).await
    }
}

/// Joins one message. At most one part is open at a time.
pub(crate) struct MessageReader<'s> {
    source: &'s MessageSource,
    segments: std::slice::Iter<'s, Segment>,
    part: Option<OpenPart<'s>>,
    encoded: Vec<u8>,
}

struct OpenPart<'s> {
    reference: &'s PartRef,
    content: BlobContent,
    encoder: PartEncoder,
    read: u64,
}

enum Piece<'s> {
    Verbatim(&'s [u8]),
    Encoded,
}

impl<'s> MessageReader<'s> {
    pub(crate) fn new(source: &'s MessageSource, skeleton: &'s Skeleton) -> Self {
        Self { source, segments: skeleton.segments().iter(), part: None, encoded: Vec::new() }
    }

    /// The next bytes of the message; `None` after the last.
    pub(crate) async fn next(&mut self) -> Result<Option<&[u8]>, ReadError> {
        Ok(match self.advance().await? {
            Some(Piece::Verbatim(bytes)) => Some(bytes),
            Some(Piece::Encoded) => Some(&self.encoded),
            None => None,
        })
    }

    // `encoded` holds the piece when the answer is `Encoded`.
    async fn advance(&mut self) -> Result<Option<Piece<'s>>, ReadError> {
        loop {
            if let Some(mut open) = self.part.take() {
                self.encoded.clear();
                if let Some(decoded) = open.content.next().await? {
                    open.read += decoded.len() as u64;
                    open.check(u64::le)?;
                    open.encoder.push(&decoded, &mut self.encoded);
                    self.part = Some(open);
                } else {
                    open.check(u64::eq)?;
                    open.encoder.finish(&mut self.encoded);
                }
                if self.encoded.is_empty() {
                    continue;
                }
                return Ok(Some(Piece::Encoded));
            }
            match self.segments.next() {
                None => return Ok(None),
                Some(Segment::Verbatim(bytes)) => return Ok(Some(Piece::Verbatim(bytes))),
                Some(Segment::Part(reference)) => {
                    let content = self.source.part(reference.digest).await?;
                    let encoder = PartEncoder::new(&reference.recipe);
                    self.part = Some(OpenPart { reference, content, encoder, read: 0 });
                }
            }
        }
    }

    /// Reads to the end: the digest and length of what the blobs really join to.
    pub(crate) async fn digest(mut self) -> Result<(Digest, u64), ReadError> {
        let mut hasher = DigestHasher::default();
        while let Some(bytes) = self.next().await? {
            hasher.update(bytes);
        }
        let length = hasher.length();
        Ok((hasher.finish(), length))
    }
}

impl OpenPart<'_> {
    /// Length so far against the skeleton's word: never beyond it, and equal at the end, so that a join is as long
    /// as the skeleton declared before the first part was fetched.
    fn check(&self, holds: fn(&u64, &u64) -> bool) -> Result<(), ReadError> {
        let expected = self.reference.decoded_length;
        if holds(&self.read, &expected) {
            return Ok(());
        }
        let part = BlobName::Part(self.reference.digest);
        Err(ReadError::PartLength { part, found: self.read, expected })
    }
}
