//! From raw bytes to a sealed body with its own key.

use openarchive_domain::random;
use openarchive_envelope::{BlobScope, BlobSealer, Codec, Dek, SealError, Sealer};
use tokio::sync::OwnedSemaphorePermit;

use crate::{
    StorageError,
    blob_id::BlobId,
    spool::{Spool, SpoolWriter, Spooled},
};

/// Ciphertext of one blob that is kept in memory, in bytes; more goes to a spool file.
pub(crate) const SEALED_MEMORY_BYTES_MAX: usize = 1024 * 1024;

/// A blob ready for a pack. Its bytes have their digest.
#[derive(Debug)]
pub(crate) struct SealedBlob {
    pub(crate) id: BlobId,
    pub(crate) raw_length: u64,
    pub(crate) dek: Dek,
    pub(crate) body: Spooled,
    /// Its share of the memory for blobs under way, given back when the pack is written.
    pub(crate) memory: Option<OwnedSemaphorePermit>,
}

/// A small blob, whole, as it came.
pub(crate) struct RawBlob {
    pub(crate) id: BlobId,
    pub(crate) raw: Vec<u8>,
}

/// Seals small blobs one after the other. Blocking; on an error none of them is to be stored.
pub(crate) fn seal_all(scope: &BlobScope, blobs: Vec<RawBlob>) -> Result<Vec<SealedBlob>, SealError> {
    let mut sealer = Sealer::new()?;
    blobs
        .into_iter()
        .map(|RawBlob { id, raw }| {
            let dek = Dek::new(random::bytes());
            let mut body = Vec::new();
            sealer.seal(&dek, random::bytes(), &id.context(scope), &raw, &mut body)?;
            Ok(SealedBlob {
                id,
                raw_length: raw.len() as u64,
                dek,
                body: Spooled::Memory(body),
                memory: None,
            })
        })
        .collect()
}

/// Seals one large blob as its pieces come. Blocking.
pub(crate) struct LargeSealing {
    id: BlobId,
    raw_length: u64,
    dek: Dek,
    sealer: BlobSealer,
    out: SpoolWriter,
    piece: Vec<u8>,
}

impl LargeSealing {
    /// `sample` is how the blob begins; it is not fed by this.
    pub(crate) fn begin(
        scope: &BlobScope,
        id: BlobId,
        raw_length: u64,
        sample: &[u8],
        spool: &Spool,
    ) -> Result<Self, StorageError> {
        let dek = Dek::new(random::bytes());
        let codec = Codec::for_sample(sample);
        let sealer = BlobSealer::new(&dek, random::bytes(), &id.context(scope), raw_length, codec)?;
        let out = spool.writer(SEALED_MEMORY_BYTES_MAX);
        Ok(Self { id, raw_length, dek, sealer, out, piece: Vec::new() })
    }

    pub(crate) fn feed(&mut self, raw: &[u8]) -> Result<(), StorageError> {
        self.piece.clear();
        self.sealer.feed(raw, &mut self.piece)?;
        Ok(std::io::Write::write_all(&mut self.out, &self.piece)?)
    }

    /// Fails if the bytes fed have not their length or digest.
    pub(crate) fn finish(mut self) -> Result<SealedBlob, StorageError> {
        self.piece.clear();
        self.sealer.finish(&mut self.piece)?;
        std::io::Write::write_all(&mut self.out, &self.piece)?;
        let Self { id, raw_length, dek, out, .. } = self;
        Ok(SealedBlob { id, raw_length, dek, body: out.finish(), memory: None })
    }
}
