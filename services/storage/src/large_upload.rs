use bytes::Bytes;
use openarchive_envelope::BlobScope;
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{
    StorageError,
    blob_id::BlobId,
    sealing::{LargeSealing, SealedBlob},
    spool::Spool,
};

/// Chunks on their way to the sealing thread: at most 4 x 256 KiB.
const CHUNKS_AHEAD_MAX: usize = 4;
/// First bytes by which the codec is chosen.
const SAMPLE_BYTES: usize = 64 * 1024;

/// A large blob that is sealed on a thread of its own while its chunks come. Dropping it gives it up.
pub(crate) struct LargeUpload {
    chunks: mpsc::Sender<Bytes>,
    sealing: JoinHandle<Result<SealedBlob, StorageError>>,
}

impl LargeUpload {
    pub(crate) fn begin(scope: &BlobScope, id: BlobId, length: u64, spool: &Spool) -> Self {
        let (chunks, coming) = mpsc::channel(CHUNKS_AHEAD_MAX);
        let (scope, spool) = (scope.clone(), spool.clone());
        let sealing = tokio::task::spawn_blocking(move || seal(&scope, id, length, &spool, coming));
        Self { chunks, sealing }
    }

    /// Waits while the sealing is behind.
    pub(crate) async fn feed(&mut self, chunk: Bytes) -> Result<(), StorageError> {
        if self.chunks.send(chunk).await.is_ok() {
            return Ok(());
        }
        // The thread has ended before its input: it says why.
        match (&mut self.sealing).await {
            Ok(Err(error)) => Err(error),
            _ => Err(StorageError::Stopping),
        }
    }

    pub(crate) async fn finish(self) -> Result<SealedBlob, StorageError> {
        drop(self.chunks);
        match self.sealing.await {
            Ok(sealed) => sealed,
            Err(join) if join.is_panic() => std::panic::resume_unwind(join.into_panic()),
            Err(_) => Err(StorageError::Stopping),
        }
    }
}

fn seal(
    scope: &BlobScope,
    id: BlobId,
    length: u64,
    spool: &Spool,
    mut coming: mpsc::Receiver<Bytes>,
) -> Result<SealedBlob, StorageError> {
    let mut sample = Vec::new();
    while sample.len() < SAMPLE_BYTES
        && let Some(chunk) = coming.blocking_recv()
    {
        sample.extend_from_slice(&chunk);
    }
    let mut sealing = LargeSealing::begin(scope, id, length, &sample, spool)?;
    sealing.feed(&sample)?;
    drop(sample);
    while let Some(chunk) = coming.blocking_recv() {
        sealing.feed(&chunk)?;
    }
    sealing.finish()
}
