use crate::OpenError;

/// Bytes before the payload of a blob's plaintext: `01 | codec u8 | raw length u64 BE`.
pub const BLOB_FRAME_BYTES: usize = 10;

const FRAME_VERSION: u8 = 1;
/// Level 1 compresses text to within a few percent of higher levels at several times their speed.
pub(crate) const ZSTD_LEVEL: i32 = 1;
/// Raw bytes of which [`Codec::for_sample`] looks at the first so many.
const SAMPLE_BYTES_MAX: usize = 64 * 1024;

/// How a blob's payload is packed before encryption.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    None,
    /// One Zstandard frame (RFC 8878).
    Zstd,
}

impl Codec {
    /// Which codec suits a large blob that begins like `sample`: Zstandard if the first 64 KiB shrink by at least
    /// one 32nd, else none. The same sample always gives the same answer.
    pub fn for_sample(sample: &[u8]) -> Self {
        let sample = &sample[..sample.len().min(SAMPLE_BYTES_MAX)];
        match zstd::bulk::compress(sample, ZSTD_LEVEL) {
            Ok(compressed) if compressed.len() < sample.len() - sample.len() / 32 => Self::Zstd,
            _ => Self::None,
        }
    }

    const fn code(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Zstd => 1,
        }
    }
}

/// The bytes before the payload, parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlobFrame {
    pub(crate) codec: Codec,
    pub(crate) raw_length: u64,
}

impl BlobFrame {
    pub(crate) fn encode(self) -> [u8; BLOB_FRAME_BYTES] {
        let mut bytes = [0; BLOB_FRAME_BYTES];
        bytes[0] = FRAME_VERSION;
        bytes[1] = self.codec.code();
        bytes[2..].copy_from_slice(&self.raw_length.to_be_bytes());
        bytes
    }

    /// The length is checked here, before a payload byte is looked at.
    pub(crate) fn decode(bytes: [u8; BLOB_FRAME_BYTES], raw_length_max: u64) -> Result<Self, OpenError> {
        let [version, codec, length @ ..] = bytes;
        if version != FRAME_VERSION {
            return Err(OpenError::UnknownVersion(version));
        }
        let codec = match codec {
            0 => Codec::None,
            1 => Codec::Zstd,
            other => return Err(OpenError::UnknownCodec(other)),
        };
        let raw_length = u64::from_be_bytes(length);
        if raw_length > raw_length_max {
            return Err(OpenError::TooLong { declared: raw_length, limit: raw_length_max });
        }
        Ok(Self { codec, raw_length })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_checked_field_by_field_before_its_payload() {
        let frame = BlobFrame { codec: Codec::Zstd, raw_length: 0x0102 };
        assert_eq!(frame.encode(), [1, 1, 0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(BlobFrame::decode(frame.encode(), 0x0102).unwrap(), frame);
        let check = |bytes, expected: &str| {
            assert_eq!(BlobFrame::decode(bytes, 0x0101).unwrap_err().to_string(), expected);
        };
        check(
            [2, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            "plaintext frame version 2 is unknown; a newer version may have written it",
        );
        check([1, 2, 0, 0, 0, 0, 0, 0, 0, 0], "codec 2 is unknown; a newer version may have written it");
        check(frame.encode(), "the blob declares 258 raw bytes, at most 257 are allowed here");
    }

    #[test]
    fn text_is_compressed_and_noise_is_not() {
        assert_eq!(Codec::for_sample(&b"lorem ipsum ".repeat(100)), Codec::Zstd);
        let mut state = 1u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        })
        .take(100_000)
        .collect();
        assert_eq!(Codec::for_sample(&noise), Codec::None);
        assert_eq!(Codec::for_sample(&[]), Codec::None);
    }
}
