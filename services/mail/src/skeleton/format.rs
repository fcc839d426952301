//! The stored form, version 1. Integers are big-endian.
//!
//! `"OASK" 01 | message length u64 | segments u32`, then per segment `00 | length u32 | bytes` or `01 | digest 32 |
//! decoded length u64 | encoding u8 | line length u16 | line end u8 | padding u8 | last break u8 | trailing length
//! u16 | trailing`.

use openarchive_domain::Digest;

use super::{Segment, Skeleton, SkeletonError};
use crate::{Base64Recipe, LineEnd, PartRef, Recipe, limits::SKELETON_BYTES_MAX};

const MAGIC: &[u8; 4] = b"OASK";
const VERSION: u8 = 1;

const KIND_VERBATIM: u8 = 0;
const KIND_PART: u8 = 1;

const ENCODING_IDENTITY: u8 = 0;
const ENCODING_BASE64: u8 = 1;

impl Skeleton {
    /// The canonical encoding: equal skeletons, equal bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(MAGIC);
        out.push(VERSION);
        out.extend_from_slice(&self.message_length.to_be_bytes());
        out.extend_from_slice(&(self.segments.len() as u32).to_be_bytes());
        for segment in &self.segments {
            match segment {
                Segment::Verbatim(bytes) => {
                    out.push(KIND_VERBATIM);
                    out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
                    out.extend_from_slice(bytes);
                }
                Segment::Part(part) => encode_part(part, &mut out),
            }
        }
        out
    }

    /// Reads the canonical encoding and nothing else.
    ///
    /// What it returns is safe to join: every bound of [`crate::limits`] holds before a single part is fetched,
    /// and the memory used here is bounded by the length of `bytes`, whatever they declare.
    pub fn decode(bytes: &[u8]) -> Result<Self, SkeletonError> {
        if bytes.len() > SKELETON_BYTES_MAX {
            return Err(SkeletonError::TooLong { bytes: bytes.len() });
        }
        let mut reader = Reader { bytes, at: 0 };
        if reader.take(MAGIC.len()).map_err(|_| SkeletonError::Magic)? != MAGIC {
            return Err(SkeletonError::Magic);
        }
        let [version] = reader.array()?;
        if version != VERSION {
            return Err(SkeletonError::Version(version));
        }
        let message_length = u64::from_be_bytes(reader.array()?);
        let count = u32::from_be_bytes(reader.array()?);
        let mut segments = Vec::new();
        for index in 0..count as usize {
            let [kind] = reader.array()?;
            segments.push(match kind {
                KIND_VERBATIM => {
                    let length = u32::from_be_bytes(reader.array()?);
                    Segment::Verbatim(reader.take(length as usize)?.to_vec())
                }
                KIND_PART => Segment::Part(decode_part(index, &mut reader)?),
                _ => return Err(SkeletonError::SegmentKind { index, kind }),
            });
        }
        if reader.at != bytes.len() {
            return Err(SkeletonError::AfterLast { at: reader.at, bytes: bytes.len() - reader.at });
        }
        let skeleton = Self { message_length, segments };
        skeleton.check()?;
        Ok(skeleton)
    }
}

fn encode_part(part: &PartRef, out: &mut Vec<u8>) {
    let unused = Base64Recipe::default();
    let (encoding, recipe) = match &part.recipe {
        Recipe::Identity => (ENCODING_IDENTITY, &unused),
        Recipe::Base64(recipe) => (ENCODING_BASE64, recipe),
    };
    let line_end = match recipe.line_end {
        LineEnd::None => 0,
        LineEnd::CrLf => 1,
        LineEnd::Lf => 2,
    };
    out.push(KIND_PART);
    out.extend_from_slice(part.digest.as_bytes());
    out.extend_from_slice(&part.decoded_length.to_be_bytes());
    out.push(encoding);
    out.extend_from_slice(&recipe.line_length.to_be_bytes());
    out.extend_from_slice(&[line_end, recipe.padding, u8::from(recipe.last_break)]);
    out.extend_from_slice(&(recipe.trailing.len() as u16).to_be_bytes());
    out.extend_from_slice(&recipe.trailing);
}

fn decode_part(index: usize, reader: &mut Reader<'_>) -> Result<PartRef, SkeletonError> {
    let digest = Digest::from_bytes(reader.array()?);
    let decoded_length = u64::from_be_bytes(reader.array()?);
    let [encoding] = reader.array()?;
    let line_length = u16::from_be_bytes(reader.array()?);
    let [line_end, padding, last_break] = reader.array()?;
    let trailing_length = u16::from_be_bytes(reader.array()?);
    let recipe = Base64Recipe {
        line_length,
        line_end: match line_end {
            0 => LineEnd::None,
            1 => LineEnd::CrLf,
            2 => LineEnd::Lf,
            _ => return Err(SkeletonError::LineEnd { index, line_end }),
        },
        padding,
        last_break: match last_break {
            0 => false,
            1 => true,
            value => return Err(SkeletonError::LastBreak { index, value }),
        },
        trailing: reader.take(usize::from(trailing_length))?.to_vec(),
    };
    let recipe = match encoding {
        ENCODING_IDENTITY if recipe == Base64Recipe::default() => Recipe::Identity,
        ENCODING_IDENTITY => return Err(SkeletonError::UnusedField { index }),
        ENCODING_BASE64 => Recipe::Base64(recipe),
        _ => return Err(SkeletonError::Encoding { index, encoding }),
    };
    Ok(PartRef { digest, decoded_length, recipe })
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], SkeletonError> {
        let rest = &self.bytes[self.at..];
        let taken = rest.get(..length).ok_or(SkeletonError::Truncated { at: self.bytes.len() })?;
        self.at += length;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], SkeletonError> {
        let rest = &self.bytes[self.at..];
        let taken = rest.first_chunk().ok_or(SkeletonError::Truncated { at: self.bytes.len() })?;
        self.at += N;
        Ok(*taken)
    }
}
