use openarchive_domain::DigestHasher;
use zstd::{
    bulk::Compressor,
    stream::raw::{Encoder, InBuffer, Operation, OutBuffer},
};

use crate::{
    BlobContext, Codec, Dek, Salt,
    blob_frame::{BlobFrame, ZSTD_LEVEL},
    chunked::{ChunkSealer, TooManyChunks},
    sealed_length,
};

const COMPRESSED_PIECE_BYTES: usize = 64 * 1024;
/// From this raw size on, a sample decides whether compressing is worth a pass over the whole.
const SAMPLE_FIRST_BYTES_MIN: usize = 256 * 1024;

/// Why a blob could not be sealed. All are mistakes of the caller except `Compression`.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    #[error("the raw bytes are {fed} (or more) long, but {declared} were declared")]
    LengthMismatch { declared: u64, fed: u64 },
    #[error("the raw bytes do not have the digest of their context: nothing may be stored under it")]
    DigestMismatch,
    #[error("the blob is longer than the format allows (4 PiB)")]
    TooLong,
    #[error("Zstandard could not compress the blob")]
    Compression(#[source] std::io::Error),
}

impl From<TooManyChunks> for SealError {
    fn from(_: TooManyChunks) -> Self {
        Self::TooLong
    }
}

/// Seals one small blob. See [`Sealer::seal`]; for many blobs keep a [`Sealer`].
pub fn seal_blob(dek: &Dek, salt: Salt, context: &BlobContext, raw: &[u8]) -> Result<Vec<u8>, SealError> {
    let mut out = Vec::new();
    Sealer::new()?.seal(dek, salt, context, raw, &mut out)?;
    Ok(out)
}

/// Seals whole blobs, one after the other, and keeps its compressor and buffer between them.
pub struct Sealer {
    compressor: Compressor<'static>,
    compressed: Vec<u8>,
}

impl Sealer {
    pub fn new() -> Result<Self, SealError> {
        let compressor = Compressor::new(ZSTD_LEVEL).map_err(SealError::Compression)?;
        Ok(Self { compressor, compressed: Vec::new() })
    }

    /// Appends the body of `raw` to `out`. The codec is chosen by what is shorter.
    ///
    /// `raw` must have the digest that `context` names (checked, so a caller need not hash it again); a footer's
    /// need not. On an error `out` may hold part of a body, to be thrown away.
    pub fn seal(
        &mut self,
        dek: &Dek,
        salt: Salt,
        context: &BlobContext,
        raw: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), SealError> {
        if context.digest_is_of_raw_bytes() && openarchive_domain::Digest::of(raw) != context.digest {
            return Err(SealError::DigestMismatch);
        }
        let (codec, payload) = self.shorter(raw)?;
        let frame = BlobFrame { codec, raw_length: raw.len() as u64 }.encode();
        out.reserve(sealed_length((frame.len() + payload.len()) as u64) as usize);
        let mut chunks = ChunkSealer::new(dek, salt, context);
        chunks.push(&frame, out)?;
        chunks.push(payload, out)?;
        chunks.finish(out)?;
        Ok(())
    }

    fn shorter<'a>(&'a mut self, raw: &'a [u8]) -> Result<(Codec, &'a [u8]), SealError> {
        if raw.len() >= SAMPLE_FIRST_BYTES_MIN && Codec::for_sample(raw) == Codec::None {
            return Ok((Codec::None, raw));
        }
        self.compressed.clear();
        self.compressed.reserve(zstd::zstd_safe::compress_bound(raw.len()));
        self.compressor.compress_to_buffer(raw, &mut self.compressed).map_err(SealError::Compression)?;
        if self.compressed.len() < raw.len() {
            Ok((Codec::Zstd, &self.compressed))
        } else {
            Ok((Codec::None, raw))
        }
    }
}

/// Seals one blob of any length, pushed in pieces; memory stays bounded.
pub struct BlobSealer {
    chunks: ChunkSealer,
    frame: Option<BlobFrame>,
    encoder: Option<Encoder<'static>>,
    piece: Vec<u8>,
    declared: u64,
    hasher: DigestHasher,
    context: BlobContext,
}

impl BlobSealer {
    /// `raw_length` is written before the payload, so it must be known; [`Self::finish`] proves it.
    pub fn new(
        dek: &Dek,
        salt: Salt,
        context: &BlobContext,
        raw_length: u64,
        codec: Codec,
    ) -> Result<Self, SealError> {
        let encoder = match codec {
            Codec::None => None,
            Codec::Zstd => {
                let mut encoder = Encoder::new(ZSTD_LEVEL).map_err(SealError::Compression)?;
                encoder.set_pledged_src_size(Some(raw_length)).map_err(SealError::Compression)?;
                Some(encoder)
            }
        };
        let piece = if encoder.is_some() { vec![0; COMPRESSED_PIECE_BYTES] } else { Vec::new() };
        Ok(Self {
            chunks: ChunkSealer::new(dek, salt, context),
            frame: Some(BlobFrame { codec, raw_length }),
            encoder,
            piece,
            declared: raw_length,
            hasher: DigestHasher::default(),
            context: context.clone(),
        })
    }

    /// Takes the next raw bytes; appends what is ready of the body to `out`.
    pub fn feed(&mut self, raw: &[u8], out: &mut Vec<u8>) -> Result<(), SealError> {
        self.write_frame(out)?;
        self.hasher.update(raw);
        if self.hasher.length() > self.declared {
            return Err(SealError::LengthMismatch { declared: self.declared, fed: self.hasher.length() });
        }
        let Some(encoder) = &mut self.encoder else { return Ok(self.chunks.push(raw, out)?) };
        let mut input = InBuffer::around(raw);
        while input.pos() < raw.len() {
            let mut output = OutBuffer::around(self.piece.as_mut_slice());
            encoder.run(&mut input, &mut output).map_err(SealError::Compression)?;
            self.chunks.push(output.as_slice(), out)?;
        }
        Ok(())
    }

    /// Appends the rest of the body. Fails if the bytes fed have not the declared length or the context's digest:
    /// what was written so far must be thrown away then.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<(), SealError> {
        self.write_frame(out)?;
        if self.hasher.length() != self.declared {
            return Err(SealError::LengthMismatch { declared: self.declared, fed: self.hasher.length() });
        }
        if self.context.digest_is_of_raw_bytes() && self.hasher.finish() != self.context.digest {
            return Err(SealError::DigestMismatch);
        }
        if let Some(encoder) = &mut self.encoder {
            loop {
                let mut output = OutBuffer::around(self.piece.as_mut_slice());
                let remaining = encoder.finish(&mut output, true).map_err(SealError::Compression)?;
                self.chunks.push(output.as_slice(), out)?;
                if remaining == 0 {
                    break;
                }
            }
        }
        Ok(self.chunks.finish(out)?)
    }

    fn write_frame(&mut self, out: &mut Vec<u8>) -> Result<(), SealError> {
        if let Some(frame) = self.frame.take() {
            self.chunks.push(&frame.encode(), out)?;
        }
        Ok(())
    }
}
