//! What is left of a message when its large bodies are taken out: its exact shape.

mod format;

use openarchive_domain::Digest;

use crate::{
    PartRef, Recipe, RecipeError,
    limits::{MESSAGE_BYTES_MAX, PART_BYTES_MIN, REFERENCES_MAX, SKELETON_BYTES_MAX},
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// Bytes of the message as they stand. Never empty.
    Verbatim(Vec<u8>),
    Part(PartRef),
}

impl Segment {
    /// Bytes that the segment fills in the message.
    pub fn length(&self) -> u64 {
        match self {
            Self::Verbatim(bytes) => bytes.len() as u64,
            Self::Part(part) => part.encoded_length(),
        }
    }
}

/// Segments in order, whose lengths add up to the message's.
///
/// Invariant: within every limit below, so joining writes exactly `message_length` bytes and never more than
/// [`MESSAGE_BYTES_MAX`]; and in its one canonical form, so equal messages split alike have equal digests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skeleton {
    message_length: u64,
    segments: Vec<Segment>,
}

/// Why bytes are not a skeleton, or segments cannot be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SkeletonError {
    #[error("the skeleton is {bytes} bytes long; at most {SKELETON_BYTES_MAX} are read")]
    TooLong { bytes: usize },
    #[error("the bytes do not begin like a skeleton (OASK)")]
    Magic,
    #[error("the skeleton has version {0}; this program reads version 1")]
    Version(u8),
    #[error("the skeleton ends in the middle of a field, at byte {at}")]
    Truncated { at: usize },
    #[error("{bytes} bytes stand after the last segment, at byte {at}")]
    AfterLast { at: usize, bytes: usize },
    #[error("the declared message length {declared} is over the limit of {MESSAGE_BYTES_MAX}")]
    MessageTooLong { declared: u64 },
    #[error("the segments add up to {sum} bytes or more, the skeleton declares {declared}")]
    LengthsDiffer { declared: u64, sum: u64 },
    #[error("the skeleton refers to more than {REFERENCES_MAX} parts")]
    TooManyReferences,
    #[error("segment {index} has the unknown kind {kind}")]
    SegmentKind { index: usize, kind: u8 },
    #[error("segment {index} is empty")]
    EmptySegment { index: usize },
    #[error("segments {} and {index} are both verbatim and must be one", .index - 1)]
    VerbatimNotMerged { index: usize },
    #[error("segment {index} has the unknown encoding {encoding}")]
    Encoding { index: usize, encoding: u8 },
    #[error("segment {index} has the unknown line ending {line_end}")]
    LineEnd { index: usize, line_end: u8 },
    #[error("segment {index} has the last break {value}; it is 0 or 1")]
    LastBreak { index: usize, value: u8 },
    #[error("segment {index} is an identity part with recipe fields that are not zero")]
    UnusedField { index: usize },
    #[error("segment {index} has {source}")]
    Recipe { index: usize, source: RecipeError },
}

impl Skeleton {
    /// Checks every rule of the type.
    pub fn new(segments: Vec<Segment>) -> Result<Self, SkeletonError> {
        let message_length =
            segments.iter().fold(0, |sum: u64, segment| sum.saturating_add(segment.length()));
        let skeleton = Self { message_length, segments };
        skeleton.check()?;
        Ok(skeleton)
    }

    /// The fallback that takes nothing apart: one identity part, or verbatim below 1 KiB.
    ///
    /// The part's content is the message itself. The caller keeps the message within [`MESSAGE_BYTES_MAX`].
    pub fn whole(message: &[u8]) -> Self {
        let segment = if message.len() < PART_BYTES_MIN {
            Segment::Verbatim(message.to_vec())
        } else {
            Segment::Part(PartRef {
                digest: Digest::of(message),
                decoded_length: message.len() as u64,
                recipe: Recipe::Identity,
            })
        };
        let segments = if message.is_empty() { Vec::new() } else { vec![segment] };
        Self { message_length: message.len() as u64, segments }
    }

    /// For the splitter, whose own tests prove the rules; a message over the limit is its caller's to refuse.
    pub(crate) fn from_splitter(message_length: u64, segments: Vec<Segment>) -> Self {
        let skeleton = Self { message_length, segments };
        debug_assert!(message_length > MESSAGE_BYTES_MAX || skeleton.check() == Ok(()));
        skeleton
    }

    /// Bytes of the whole message.
    pub fn message_length(&self) -> u64 {
        self.message_length
    }

    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The parts in order of the message; one that occurs twice is named twice.
    pub fn parts(&self) -> impl Iterator<Item = &PartRef> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Part(part) => Some(part),
            Segment::Verbatim(_) => None,
        })
    }

    /// SHA-256 of the canonical encoding.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.encode())
    }

    fn check(&self) -> Result<(), SkeletonError> {
        let declared = self.message_length;
        if declared > MESSAGE_BYTES_MAX {
            return Err(SkeletonError::MessageTooLong { declared });
        }
        let (mut sum, mut references, mut after_verbatim) = (0_u64, 0, false);
        for (index, segment) in self.segments.iter().enumerate() {
            if let Segment::Part(part) = segment {
                references += 1;
                if let Recipe::Base64(recipe) = &part.recipe {
                    recipe
                        .check(part.decoded_length)
                        .map_err(|source| SkeletonError::Recipe { index, source })?;
                }
            }
            let is_verbatim = matches!(segment, Segment::Verbatim(_));
            if segment.length() == 0 {
                return Err(SkeletonError::EmptySegment { index });
            }
            if is_verbatim && after_verbatim {
                return Err(SkeletonError::VerbatimNotMerged { index });
            }
            after_verbatim = is_verbatim;
            sum = sum.saturating_add(segment.length());
            if sum > declared {
                return Err(SkeletonError::LengthsDiffer { declared, sum });
            }
        }
        if references > REFERENCES_MAX {
            return Err(SkeletonError::TooManyReferences);
        }
        if sum == declared { Ok(()) } else { Err(SkeletonError::LengthsDiffer { declared, sum }) }
    }
}

#[cfg(test)]
mod tests;
