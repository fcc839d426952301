//! One PutBlobs call: blobs come one after the other, each is sealed while it comes and joins an open pack; at the
//! end the call waits for the packs.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use openarchive_domain::{Clock, Digest, DigestHasher, lock_until};
use openarchive_envelope::SealError;
use openarchive_proto::storage::v1::{PutBlobsResponse, put_blobs_request::Item};
use openarchive_rpc::CHUNK_BYTES_MAX;
use openarchive_telemetry::metrics;
use sqlx::PgPool;
use tonic::Status;

use crate::{
    StorageError,
    blob_id::{BlobId, Group},
    catalogue::{KeepUntil, stat_blobs},
    large_upload::LargeUpload,
    open_packs::{Added, OpenPacks, Ticket},
    pack_flush::blocking,
    refusals::invalid,
    requests::Announced,
    sealing::{RawBlob, seal_all},
    spool::Spool,
};

/// Raw bytes of a blob that is kept whole until its batch is sealed; a larger one is sealed as it comes.
pub(crate) const SMALL_BLOB_BYTES_MAX: u64 = 256 * 1024;
/// Raw bytes of a batch of small blobs: one look into the catalogue and one turn of sealing.
const BATCH_BYTES_TARGET: usize = 1024 * 1024;
const BATCH_BLOBS_MAX: usize = 1_000;
/// Blobs of one call, at most: more than the parts of one message (10,000).
pub const BLOBS_PER_CALL_MAX: u32 = 20_000;

pub(crate) struct PutCall {
    pool: PgPool,
    packs: OpenPacks,
    spool: Spool,
    clock: Arc<dyn Clock>,
    receiving: Option<Receiving>,
    batch: Vec<(Group, RawBlob)>,
    batch_bytes: usize,
    waiting: Vec<Added>,
    begun: u32,
    already_there: u32,
}

/// The blobs of a call whose stream has ended.
pub(crate) struct Received {
    waiting: Vec<Added>,
    already_there: u32,
}

impl Received {
    /// Waits until everything is durable.
    pub(crate) async fn wait(self) -> Result<PutBlobsResponse, StorageError> {
        let Self { waiting, mut already_there } = self;
        let mut stored = 0;
        for added in waiting {
            let catalogued = match added {
                Added::Joined(ticket) => ticket.wait().await?,
                Added::SameUnderWay(ticket) => ticket.wait().await.map(|_| false)?,
            };
            if catalogued {
                stored += 1;
            } else {
                already_there += 1;
            }
        }
        metrics::STORAGE_BLOBS.add(["stored"], stored.into());
        metrics::STORAGE_BLOBS.add(["deduplicated"], already_there.into());
        Ok(PutBlobsResponse { stored, already_there })
    }
}

/// The blob whose bytes are coming.
enum Receiving {
    Small {
        announced: Announced,
        raw: Vec<u8>,
    },
    Large {
        group: Group,
        upload: LargeUpload,
    },
    /// It is there already: its bytes are only checked.
    Known {
        announced: Announced,
        hasher: DigestHasher,
        under_way: Option<Ticket>,
    },
}

impl PutCall {
    pub(crate) fn new(pool: PgPool, packs: OpenPacks, spool: Spool, clock: Arc<dyn Clock>) -> Self {
        Self {
            pool,
            packs,
            spool,
            clock,
            receiving: None,
            batch: Vec::new(),
            batch_bytes: 0,
            waiting: Vec::new(),
            begun: 0,
            already_there: 0,
        }
    }

    pub(crate) async fn item(&mut self, item: Option<Item>) -> Result<(), Status> {
        match item {
            Some(Item::Header(header)) => {
                self.end_blob().await?;
                self.begin_blob(header.try_into()?).await
            }
            Some(Item::Chunk(chunk)) => self.chunk(chunk).await,
            None => Err(invalid("a request of the stream is neither a header nor a chunk")),
        }
    }

    /// The end of the stream: what is received is sealed and on its way into packs.
    pub(crate) async fn end(mut self) -> Result<Received, StorageError> {
        self.end_blob().await?;
        self.seal_batch().await?;
        Ok(Received { waiting: self.waiting, already_there: self.already_there })
    }

    async fn begin_blob(&mut self, announced: Announced) -> Result<(), Status> {
        self.begun += 1;
        if self.begun > BLOBS_PER_CALL_MAX {
            return Err(invalid(format!("at most {BLOBS_PER_CALL_MAX} blobs are taken in one call")));
        }
        self.receiving = Some(if announced.length <= SMALL_BLOB_BYTES_MAX {
            Receiving::Small { announced, raw: Vec::new() }
        } else {
            self.begin_large(announced).await?
        });
        Ok(())
    }

    async fn begin_large(&self, announced: Announced) -> Result<Receiving, StorageError> {
        let Announced { group, id, length } = &announced;
        let under_way = self.packs.under_way(group, *id);
        let known = under_way.is_some() || self.there(group, &[*id]).await? != [None];
        if known {
            return Ok(Receiving::Known { announced, hasher: DigestHasher::default(), under_way });
        }
        let upload = LargeUpload::begin(&group.scope, *id, *length, &self.spool);
        Ok(Receiving::Large { group: announced.group, upload })
    }

    /// The raw length of each blob that need not be stored: it is there, and can be kept for as long as one that comes
    /// now.
    async fn there(&self, group: &Group, ids: &[BlobId]) -> Result<Vec<Option<u64>>, StorageError> {
        let keep = KeepUntil::new(lock_until(group.class, self.clock.now())?);
        stat_blobs(&self.pool, &group.scope, Some(group.class), ids, Some(keep)).await
    }

    async fn chunk(&mut self, chunk: Bytes) -> Result<(), Status> {
        if chunk.len() > CHUNK_BYTES_MAX {
            return Err(invalid(format!(
                "a chunk has {} bytes, at most {CHUNK_BYTES_MAX} are allowed",
                chunk.len()
            )));
        }
        match &mut self.receiving {
            None => return Err(invalid("a chunk comes before the first header")),
            Some(Receiving::Small { announced, raw }) => {
                check_length(announced.length, (raw.len() + chunk.len()) as u64, u64::le)?;
                raw.extend_from_slice(&chunk);
            }
            Some(Receiving::Large { upload, .. }) => upload.feed(chunk).await?,
            Some(Receiving::Known { announced, hasher, .. }) => {
                hasher.update(&chunk);
                check_length(announced.length, hasher.length(), u64::le)?;
            }
        }
        Ok(())
    }

    async fn end_blob(&mut self) -> Result<(), StorageError> {
        match self.receiving.take() {
            None => {}
            Some(Receiving::Small { announced, raw }) => {
                check_length(announced.length, raw.len() as u64, u64::eq)?;
                self.batch_bytes += raw.len();
                self.batch.push((announced.group, RawBlob { id: announced.id, raw }));
                if self.batch_bytes >= BATCH_BYTES_TARGET || self.batch.len() >= BATCH_BLOBS_MAX {
                    self.seal_batch().await?;
                }
            }
            Some(Receiving::Large { group, upload }) => {
                let sealed = upload.finish().await?;
                self.waiting.extend(self.packs.add(&group, vec![sealed]).await?);
            }
            Some(Receiving::Known { announced, hasher, under_way }) => {
                check_length(announced.length, hasher.length(), u64::eq)?;
                check_digest(announced.id, hasher.finish())?;
                match under_way {
                    Some(ticket) => self.waiting.push(Added::SameUnderWay(ticket)),
                    None => self.already_there += 1,
                }
            }
        }
        Ok(())
    }

    async fn seal_batch(&mut self) -> Result<(), StorageError> {
        self.batch_bytes = 0;
        let mut groups: HashMap<Group, Vec<RawBlob>> = HashMap::new();
        for (group, blob) in self.batch.drain(..) {
            groups.entry(group).or_default().push(blob);
        }
        for (group, blobs) in groups {
            self.seal_group(&group, blobs).await?;
        }
        Ok(())
    }

    async fn seal_group(&mut self, group: &Group, blobs: Vec<RawBlob>) -> Result<(), StorageError> {
        let ids: Vec<BlobId> = blobs.iter().map(|blob| blob.id).collect();
        let there = self.there(group, &ids).await?;
        let scope = group.scope.clone();
        let (known, sealed) = blocking(move || {
            let mut known = 0;
            let mut new = Vec::new();
            for (blob, there) in blobs.into_iter().zip(there) {
                if there.is_some() {
                    check_digest(blob.id, Digest::of(&blob.raw))?;
                    known += 1;
                } else {
                    new.push(blob);
                }
            }
            Ok((known, seal_all(&scope, new)?))
        })
        .await?;
        self.already_there += known;
        self.waiting.extend(self.packs.add(group, sealed).await?);
        Ok(())
    }
}

fn check_length(declared: u64, fed: u64, fits: fn(&u64, &u64) -> bool) -> Result<(), StorageError> {
    if fits(&fed, &declared) { Ok(()) } else { Err(SealError::LengthMismatch { declared, fed }.into()) }
}

fn check_digest(id: BlobId, found: Digest) -> Result<(), StorageError> {
    if id.digest == found { Ok(()) } else { Err(SealError::DigestMismatch.into()) }
}
