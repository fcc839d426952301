//! Reading a blob back. Raw bytes leave only out of verified chunks; a small blob leaves only when the whole was
//! verified.

use std::io::{self, Write};

use bytes::{Bytes, BytesMut};
use futures::stream::{self, BoxStream, StreamExt as _};
use openarchive_domain::RetentionClass;
use openarchive_envelope::{BlobOpener, BlobScope, Dek, OpenError, open_blob};
use openarchive_objects::{ObjectError, ObjectKey, ObjectStore};
use openarchive_proto::storage::v1::GetBlobResponse;
use openarchive_rpc::CHUNK_BYTES_MAX;
use sqlx::PgPool;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tracing::{Instrument as _, error};

use crate::{
    StorageError,
    blob_id::BlobId,
    catalogue::{Found, find_blob, shred_leaf_of},
    key_custody::{KeyCustody, Locked},
    refusals::{absent, damaged, is_damage, shredded},
};

/// A blob up to this size, raw and sealed, is read with one range read and opened in memory, in bytes.
const WHOLE_READ_BYTES_MAX: u64 = 1024 * 1024;
/// A blob up to this size is opened where it is, larger ones on a thread for computing, in bytes.
const OPEN_INLINE_BYTES_MAX: u64 = 32 * 1024;
/// Ciphertext that is read at once of a larger blob, in bytes.
const RANGE_BYTES: u64 = 1024 * 1024;
/// Chunks that wait for a slow reader: at most 4 x 256 KiB.
const CHUNKS_AHEAD_MAX: usize = 4;

pub(crate) type BlobStream = BoxStream<'static, Result<GetBlobResponse, Status>>;

/// What reading needs.
#[derive(Clone)]
pub(crate) struct BlobReader {
    pub(crate) pool: PgPool,
    pub(crate) objects: ObjectStore,
    pub(crate) keys: KeyCustody,
}

/// A blob that was found, with its key.
struct Opening {
    scope: BlobScope,
    id: BlobId,
    found: Found,
    key: ObjectKey,
    dek: Dek,
}

impl BlobReader {
    pub(crate) async fn read(
        &self,
        scope: BlobScope,
        id: BlobId,
        class: Option<RetentionClass>,
    ) -> Result<BlobStream, Status> {
        let Some(found) = find_blob(&self.pool, &scope, id, class).await? else {
            let leaf = shred_leaf_of(&self.pool, &scope, id, class).await?;
            return Err(leaf.map_or_else(absent, shredded));
        };
        let damage = |problem| Err(damage(&found, problem));
        // A shredded blob has left the entries: a key that is not there was lost.
        let Some(wrapped) = found.wrapped else { return damage("its key is missing") };
        let Ok(key) = found.object_key.parse() else { return damage("its pack's name cannot be read") };
        let locked = Locked { scope: scope.clone(), kek_version: found.kek_version, wrapped };
        let Some(dek) = self.keys.unwrap(locked).await? else { return damage("its key does not unwrap") };
        let opening = Opening { scope, id, found, key, dek };
        if opening.found.length.max(opening.found.raw_length) <= WHOLE_READ_BYTES_MAX {
            self.read_whole(opening).await
        } else {
            Ok(self.read_in_pieces(opening))
        }
    }

    async fn read_whole(&self, opening: Opening) -> Result<BlobStream, Status> {
        let Found { offset, length, .. } = opening.found;
        let body = self.objects.get_range(&opening.key, offset, length).await;
        let body = body.map_err(|error| opening.unreadable(error))?;
        let raw = if length <= OPEN_INLINE_BYTES_MAX {
            opening.open(&body)?
        } else {
            let opened = tokio::task::spawn_blocking(move || opening.open(&body)).await;
            opened.map_err(|_| StorageError::Stopping)??
        };
        let mut raw = Bytes::from(raw);
        let mut chunks = Vec::new();
        while !raw.is_empty() {
            let chunk = raw.split_to(raw.len().min(CHUNK_BYTES_MAX));
            chunks.push(Ok(GetBlobResponse { chunk }));
        }
        Ok(stream::iter(chunks).boxed())
    }

    fn read_in_pieces(&self, opening: Opening) -> BlobStream {
        let (chunks, answers) = mpsc::channel(CHUNKS_AHEAD_MAX);
        let objects = self.objects.clone();
        let sending = async move {
            if let Err(status) = send_pieces(&objects, opening, &chunks).await {
                // A reader that has gone away needs no answer.
                let _ = chunks.send(Err(status)).await;
            }
        };
        tokio::spawn(sending.in_current_span());
        ReceiverStream::new(answers).boxed()
    }
}

async fn send_pieces(objects: &ObjectStore, opening: Opening, chunks: &Chunks) -> Result<(), Status> {
    let context = opening.id.context(&opening.scope);
    let opener = BlobOpener::new(&opening.dek, &context, opening.found.raw_length);
    let mut opener = opener.map_err(|error| opening.does_not_open(&error))?;
    let mut out = ChunkWriter { chunks: chunks.clone(), gathered: BytesMut::new() };
    let end = opening.found.offset + opening.found.length;
    let mut position = opening.found.offset;
    while position < end {
        let length = (end - position).min(RANGE_BYTES);
        let body = objects.get_range(&opening.key, position, length).await;
        let body = body.map_err(|error| opening.unreadable(error))?;
        position += length;
        let fed = tokio::task::spawn_blocking(move || {
            let result = opener.feed(&body, &mut out);
            (result, opener, out)
        });
        let result;
        (result, opener, out) = fed.await.map_err(|_| StorageError::Stopping)?;
        if ended_by_reader(&result) {
            return Ok(());
        }
        result.map_err(|error| opening.does_not_open(&error))?;
    }
    let finished = tokio::task::spawn_blocking(move || {
        opener.finish(&mut out).and_then(|_| out.send().map_err(OpenError::Output))
    });
    let result = finished.await.map_err(|_| StorageError::Stopping)?;
    if ended_by_reader(&result) { Ok(()) } else { result.map_err(|error| opening.does_not_open(&error)) }
}

fn ended_by_reader(result: &Result<(), OpenError>) -> bool {
    matches!(result, Err(OpenError::Output(_)))
}

impl Opening {
    fn open(&self, body: &[u8]) -> Result<Vec<u8>, Status> {
        open_blob(&self.dek, &self.id.context(&self.scope), body, self.found.raw_length)
            .map_err(|error| self.does_not_open(&error))
    }

    fn does_not_open(&self, error: &OpenError) -> Status {
        damage(&self.found, &error.to_string())
    }

    fn unreadable(&self, error: ObjectError) -> Status {
        if is_damage(&error) {
            damage(&self.found, "its pack object is missing or cut off")
        } else {
            StorageError::from(error).into()
        }
    }
}

/// Says that a blob is damaged, to the log and to the caller. Names the place, never the content.
fn damage(found: &Found, problem: &str) -> Status {
    error!(pack = %found.pack_id, ordinal = found.ordinal, problem, "a blob is damaged");
    damaged(found.pack_id, found.ordinal, problem)
}

type Chunks = mpsc::Sender<Result<GetBlobResponse, Status>>;

/// Gathers raw bytes into chunks and waits while the reader is behind. Blocking.
struct ChunkWriter {
    chunks: Chunks,
    gathered: BytesMut,
}

impl ChunkWriter {
    fn send(&mut self) -> io::Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let chunk = self.gathered.split().freeze();
        let sent = self.chunks.blocking_send(Ok(GetBlobResponse { chunk }));
        sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for ChunkWriter {
    fn write(&mut self, raw: &[u8]) -> io::Result<usize> {
        let taken = raw.len().min(CHUNK_BYTES_MAX - self.gathered.len());
        self.gathered.extend_from_slice(&raw[..taken]);
        if self.gathered.len() == CHUNK_BYTES_MAX {
            self.send()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
