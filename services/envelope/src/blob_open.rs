use std::io;

use openarchive_domain::DigestHasher;
use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

use crate::{BLOB_FRAME_BYTES, BlobContext, Codec, Dek, blob_frame::BlobFrame, chunked::ChunkOpener};

const RAW_PIECE_BYTES: usize = 64 * 1024;
/// A Zstandard frame that asks for a larger window than 8 MiB is refused: it would make the reader allocate it.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// Why a body does not open. All but `Output` mean: this is not the blob that was asked for.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the encrypted body is cut off: its last chunk is missing")]
    Truncated,
    #[error("the body was not encrypted with this key for this blob (key commitment differs)")]
    WrongKeyOrContext,
    #[error("chunk {chunk} of the encrypted body was changed")]
    Tampered { chunk: u64 },
    #[error("plaintext frame version {0} is unknown; a newer version may have written it")]
    UnknownVersion(u8),
    #[error("codec {0} is unknown; a newer version may have written it")]
    UnknownCodec(u8),
    #[error("the blob declares {declared} raw bytes, at most {limit} are allowed here")]
    TooLong { declared: u64, limit: u64 },
    #[error("the blob declares {declared} raw bytes, but its payload has another length")]
    LengthMismatch { declared: u64 },
    #[error("the payload is not exactly one Zstandard frame")]
    Compression,
    #[error("the raw bytes do not have the digest that the blob is stored under")]
    DigestMismatch,
    #[error("the raw bytes could not be handed on")]
    Output(#[source] io::Error),
}

/// Opens a whole body of a small blob. `raw_length_max` bounds the memory used.
pub fn open_blob(
    dek: &Dek,
    context: &BlobContext,
    body: &[u8],
    raw_length_max: u64,
) -> Result<Vec<u8>, OpenError> {
    let mut raw = Vec::new();
    let mut opener = BlobOpener::new(dek, context, raw_length_max)?;
    opener.feed(body, &mut raw)?;
    opener.finish(&mut raw)?;
    Ok(raw)
}

/// Opens one body of any length, pushed in pieces; memory stays bounded.
///
/// Every raw byte handed on stood in a verified chunk, but only [`Self::finish`] proves that none is missing and that
/// the whole has the digest it is stored under. After an error the opener is of no further use.
pub struct BlobOpener {
    chunks: ChunkOpener,
    payload: PayloadReader,
}

impl BlobOpener {
    pub fn new(dek: &Dek, context: &BlobContext, raw_length_max: u64) -> Result<Self, OpenError> {
        Ok(Self {
            chunks: ChunkOpener::new(dek, context),
            payload: PayloadReader {
                frame_bytes: Vec::with_capacity(BLOB_FRAME_BYTES),
                frame: None,
                inflate: None,
                raw_length_max,
                hasher: DigestHasher::default(),
                context: context.clone(),
            },
        })
    }

    /// Takes the next bytes of the body. Raw bytes go to `out` in pieces of at most 64 KiB, so that a writer which
    /// blocks bounds the memory of a blob that expands a lot.
    pub fn feed(&mut self, body: &[u8], out: &mut impl io::Write) -> Result<(), OpenError> {
        let Self { chunks, payload } = self;
        chunks.push(body, &mut |plain| payload.push(plain, out))
    }

    /// Hands on the last raw bytes and checks length and digest; returns the raw length.
    pub fn finish(self, out: &mut impl io::Write) -> Result<u64, OpenError> {
        let Self { chunks, mut payload } = self;
        chunks.finish(&mut |plain| payload.push(plain, out))?;
        payload.finish()
    }
}

/// Unpacks the plaintext of a body: frame, then payload.
struct PayloadReader {
    frame_bytes: Vec<u8>,
    frame: Option<BlobFrame>,
    inflate: Option<Inflate>,
    raw_length_max: u64,
    hasher: DigestHasher,
    context: BlobContext,
}

struct Inflate {
    decoder: Decoder<'static>,
    piece: Vec<u8>,
    complete: bool,
}

impl PayloadReader {
    fn push(&mut self, mut plain: &[u8], out: &mut impl io::Write) -> Result<(), OpenError> {
        let frame = if let Some(frame) = self.frame {
            frame
        } else {
            let (head, rest) = plain.split_at(plain.len().min(BLOB_FRAME_BYTES - self.frame_bytes.len()));
            self.frame_bytes.extend_from_slice(head);
            plain = rest;
            let Ok(bytes) = self.frame_bytes.as_slice().try_into() else { return Ok(()) };
            let frame = BlobFrame::decode(bytes, self.raw_length_max)?;
            if frame.codec == Codec::Zstd {
                self.inflate = Some(Inflate::new(frame.raw_length)?);
            }
            *self.frame.insert(frame)
        };
        let (hasher, declared) = (&mut self.hasher, frame.raw_length);
        let mut emit = |raw: &[u8]| {
            hasher.update(raw);
            if hasher.length() > declared {
                return Err(OpenError::LengthMismatch { declared });
            }
            out.write_all(raw).map_err(OpenError::Output)
        };
        match &mut self.inflate {
            None if plain.is_empty() => Ok(()),
            None => emit(plain),
            Some(inflate) => inflate.push(plain, &mut emit),
        }
    }

    fn finish(self) -> Result<u64, OpenError> {
        let declared = self.frame.ok_or(OpenError::Truncated)?.raw_length;
        if self.inflate.is_some_and(|inflate| !inflate.complete) {
            return Err(OpenError::Compression);
        }
        if self.hasher.length() != declared {
            return Err(OpenError::LengthMismatch { declared });
        }
        if self.context.digest_is_of_raw_bytes() && self.hasher.finish() != self.context.digest {
            return Err(OpenError::DigestMismatch);
        }
        Ok(declared)
    }
}

impl Inflate {
    fn new(raw_length: u64) -> Result<Self, OpenError> {
        let mut decoder = Decoder::new().map_err(|_| OpenError::Compression)?;
        decoder
            .set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX))
            .map_err(|_| OpenError::Compression)?;
        let piece_bytes = raw_length.clamp(1, RAW_PIECE_BYTES as u64) as usize;
        Ok(Self { decoder, piece: vec![0; piece_bytes], complete: false })
    }

    fn push(
        &mut self,
        packed: &[u8],
        emit: &mut impl FnMut(&[u8]) -> Result<(), OpenError>,
    ) -> Result<(), OpenError> {
        let mut input = InBuffer::around(packed);
        loop {
            if self.complete {
                // One frame and nothing behind it: there is one encoding of the end.
                return if input.pos() == packed.len() { Ok(()) } else { Err(OpenError::Compression) };
            }
            let piece_bytes = self.piece.len();
            let mut output = OutBuffer::around(self.piece.as_mut_slice());
            let hint = self.decoder.run(&mut input, &mut output).map_err(|_| OpenError::Compression)?;
            let raw = output.as_slice();
            let full = raw.len() == piece_bytes;
            if !raw.is_empty() {
                emit(raw)?;
            }
            self.complete = hint == 0;
            if !self.complete && !full && input.pos() == packed.len() {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    //! Bodies that were encrypted with the right key, but hold something else than they say.

    use openarchive_domain::Digest;

    use super::*;
    use crate::{BlobKind, BlobScope, chunked::ChunkSealer};

    const RAW: &[u8] = b"raw raw raw raw raw raw raw raw raw raw";

    fn packed(raw: &[u8]) -> Vec<u8> {
        zstd::bulk::compress(raw, 1).unwrap()
    }

    fn open(codec: Codec, declared: usize, payload: &[u8]) -> Result<Vec<u8>, OpenError> {
        let context = BlobContext::new(BlobScope::Archive, BlobKind::State, Digest::of(RAW));
        let dek = Dek::new([1; 32]);
        let mut chunks = ChunkSealer::new(&dek, [2; 24], &context);
        let mut body = Vec::new();
        chunks.push(&BlobFrame { codec, raw_length: declared as u64 }.encode(), &mut body).unwrap();
        chunks.push(payload, &mut body).unwrap();
        chunks.finish(&mut body).unwrap();
        open_blob(&dek, &context, &body, 1000)
    }

    #[track_caller]
    fn refused(opened: Result<Vec<u8>, OpenError>, expected: &str) {
        let error = format!("{:?}", opened.unwrap_err());
        assert!(error.starts_with(expected), "{error}");
    }

    #[test]
    fn the_honest_ones_open() {
        assert_eq!(open(Codec::None, RAW.len(), RAW).unwrap(), RAW);
        assert_eq!(open(Codec::Zstd, RAW.len(), &packed(RAW)).unwrap(), RAW);
    }

    #[test]
    fn a_payload_of_another_length_than_declared_is_refused() {
        for declared in [RAW.len() - 1, RAW.len() + 1] {
            refused(open(Codec::None, declared, RAW), "LengthMismatch");
            refused(open(Codec::Zstd, declared, &packed(RAW)), "LengthMismatch");
        }
        refused(open(Codec::None, RAW.len(), b""), "LengthMismatch");
    }

    #[test]
    fn a_payload_of_the_right_length_and_another_digest_is_refused() {
        refused(open(Codec::None, RAW.len(), &RAW.to_ascii_uppercase()), "DigestMismatch");
        refused(open(Codec::Zstd, RAW.len(), &packed(&RAW.to_ascii_uppercase())), "DigestMismatch");
    }

    #[test]
    fn a_payload_that_is_not_exactly_one_zstandard_frame_is_refused() {
        let whole = packed(RAW);
        refused(open(Codec::Zstd, RAW.len(), &[whole.clone(), packed(b"")].concat()), "Compression");
        refused(open(Codec::Zstd, RAW.len(), &[whole.clone(), vec![0]].concat()), "Compression");
        refused(open(Codec::Zstd, RAW.len(), &whole[..whole.len() - 1]), "Compression");
        refused(open(Codec::Zstd, RAW.len(), b""), "Compression");
        refused(open(Codec::Zstd, RAW.len(), RAW), "Compression");
        refused(open(Codec::Zstd, 0, b""), "Compression");
    }

    #[test]
    fn a_bomb_stops_at_the_declared_length() {
        refused(open(Codec::Zstd, 1000, &packed(&vec![0; 50_000_000])), "LengthMismatch");
    }

    #[test]
    fn a_window_of_8_mib_is_read_and_a_larger_one_refused() {
        let with_window = |log: u32| {
            let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
            encoder.window_log(log).unwrap();
            // Without a content size in its header the frame states its window.
            encoder.include_contentsize(false).unwrap();
            io::Write::write_all(&mut encoder, RAW).unwrap();
            encoder.finish().unwrap()
        };
        assert_eq!(open(Codec::Zstd, RAW.len(), &with_window(ZSTD_WINDOW_LOG_MAX)).unwrap(), RAW);
        refused(open(Codec::Zstd, RAW.len(), &with_window(ZSTD_WINDOW_LOG_MAX + 1)), "Compression");
    }

    #[test]
    fn a_body_without_a_whole_frame_is_refused() {
        let context = BlobContext::new(BlobScope::Archive, BlobKind::State, Digest::of(b""));
        let dek = Dek::new([1; 32]);
        let mut body = Vec::new();
        let mut chunks = ChunkSealer::new(&dek, [2; 24], &context);
        chunks.push(&[1, 0, 0], &mut body).unwrap();
        chunks.finish(&mut body).unwrap();
        refused(open_blob(&dek, &context, &body, 1000), "Truncated");
    }
}
