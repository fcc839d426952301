//! Putting a pack together: header, bodies, sealed footer.

use std::io::Write as _;

use openarchive_domain::random;
use openarchive_envelope::{
    Dek,
    pack::{Footer, PACK_HEADER},
};

use crate::{
    StorageError,
    blob_id::BlobId,
    object_names::PackName,
    sealing::SealedBlob,
    spool::{Spool, Spooled},
};

/// A pack that is kept in memory until it is stored, in bytes; a longer one goes through a spool file.
const PACK_MEMORY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A blob's place in its pack.
#[derive(Debug, Clone)]
pub(crate) struct Placed {
    pub(crate) id: BlobId,
    pub(crate) raw_length: u64,
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

/// A complete pack, not yet stored.
pub(crate) struct PackObject {
    pub(crate) content: Spooled,
    /// In footer order: the first is ordinal 1.
    pub(crate) blobs: Vec<Placed>,
    /// The footer's key, then one for each blob.
    pub(crate) deks: Vec<Dek>,
}

/// Blocking. The blobs' bodies are let go as they are copied.
pub(crate) fn build(
    name: &PackName,
    blobs: Vec<SealedBlob>,
    spool: &Spool,
) -> Result<PackObject, StorageError> {
    let mut out = spool.writer(PACK_MEMORY_BYTES_MAX);
    out.write_all(&PACK_HEADER)?;
    let mut footer = Footer::default();
    let mut placed = Vec::with_capacity(blobs.len());
    let mut deks = Vec::with_capacity(blobs.len() + 1);
    let footer_dek = Dek::new(random::bytes());
    deks.push(footer_dek.clone());
    for blob in blobs {
        blob.body.copy_to(&mut out)?;
        let entry = footer.push(blob.id.kind, blob.id.digest, blob.body.length())?;
        placed.push(Placed {
            id: blob.id,
            raw_length: blob.raw_length,
            offset: entry.offset,
            length: entry.length,
        });
        deks.push(blob.dek);
    }
    let tail = footer.seal_tail(&footer_dek, random::bytes(), &name.group.scope, name.id.as_bytes())?;
    out.write_all(&tail)?;
    Ok(PackObject { content: out.finish(), blobs: placed, deks })
}
