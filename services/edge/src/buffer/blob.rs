//! Blobs: skeletons and parts, each kept once, in chunks.

use openarchive_domain::Digest;
use rusqlite::{Connection, OptionalExtension, params};

use super::{Buffer, BufferError, NewBlob, error::Doing, schema::CHUNKS_PER_BLOB_MAX};

/// Longest row of `blob_chunk`.
pub const BLOB_CHUNK_BYTES_MAX: usize = 1024 * 1024;

const _: () = assert!(
    openarchive_mail::limits::MESSAGE_BYTES_MAX < CHUNKS_PER_BLOB_MAX as u64 * BLOB_CHUNK_BYTES_MAX as u64
);

/// Reads one blob in order. Holds no lock between two calls.
#[derive(Debug)]
pub struct BlobReader {
    buffer: Buffer,
    next_chunk: i64,
    end: i64,
}

impl BlobReader {
    /// The next at most [`BLOB_CHUNK_BYTES_MAX`] bytes; `None` after the last.
    ///
    /// Blobs go when their last mail is pruned; reading on then ends early, which the length of the [`super::BlobRef`]
    /// shows. Cancel-safe.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, BufferError> {
        if self.next_chunk == self.end {
            return Ok(None);
        }
        let id = self.next_chunk;
        let chunk = self
            .buffer
            .read("read a blob", move |connection| {
                connection
                    .prepare_cached("SELECT bytes FROM blob_chunk WHERE id = ?1")?
                    .query_row([id], |row| row.get(0))
                    .optional()
            })
            .await?;
        self.next_chunk = if chunk.is_some() { id + 1 } else { self.end };
        Ok(chunk)
    }
}

impl Buffer {
    /// `None` if the buffer has no such blob.
    pub async fn blob(&self, digest: Digest) -> Result<Option<BlobReader>, BufferError> {
        let found = self.read("find a blob", move |connection| find(connection, &digest)).await?;
        Ok(found.map(|(id, length)| {
            let next_chunk = id * CHUNKS_PER_BLOB_MAX;
            let chunks = length.div_ceil(BLOB_CHUNK_BYTES_MAX as u64) as i64;
            BlobReader { buffer: self.clone(), next_chunk, end: next_chunk + chunks }
        }))
    }

    /// A whole blob, for those that are small by nature; `None` if the buffer has no such blob.
    pub async fn blob_in_memory(&self, digest: Digest) -> Result<Option<Vec<u8>>, BufferError> {
        let Some(mut reader) = self.blob(digest).await? else { return Ok(None) };
        let mut bytes = Vec::new();
        while let Some(chunk) = reader.next().await? {
            bytes.extend_from_slice(&chunk);
        }
        Ok(Some(bytes))
    }
}

/// Id and length.
pub(super) fn find(connection: &Connection, digest: &Digest) -> rusqlite::Result<Option<(i64, u64)>> {
    connection
        .prepare_cached("SELECT id, length FROM blob WHERE digest = ?1")?
        .query_row([digest.as_bytes()], |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as u64)))
        .optional()
}

/// Adds a reference to the blob, and the blob itself if it is new. Returns its id and by how many bytes the buffer grew.
pub(super) fn refer(connection: &Connection, blob: &NewBlob) -> Result<(i64, u64), BufferError> {
    let doing = "keep a blob";
    if let Some((id, _)) = find(connection, &blob.digest).doing(doing)? {
        connection
            .prepare_cached("UPDATE blob SET refs = refs + 1 WHERE id = ?1")
            .and_then(|mut statement| statement.execute([id]))
            .doing(doing)?;
        return Ok((id, 0));
    }
    let length = blob.content.length();
    connection
        .prepare_cached("INSERT INTO blob (digest, length, refs) VALUES (?1, ?2, 1)")
        .and_then(|mut statement| statement.execute(params![blob.digest.as_bytes(), length as i64]))
        .doing(doing)?;
    let id = connection.last_insert_rowid();
    let mut insert =
        connection.prepare_cached("INSERT INTO blob_chunk (id, bytes) VALUES (?1, ?2)").doing(doing)?;
    let mut chunk_id = id * CHUNKS_PER_BLOB_MAX;
    blob.content.read(BLOB_CHUNK_BYTES_MAX, |bytes| {
        insert.execute(params![chunk_id, bytes]).doing(doing)?;
        chunk_id += 1;
        Ok::<(), BufferError>(())
    })?;
    Ok((id, length))
}

/// Drops a reference, and the blob with the last one. Returns by how many bytes the buffer shrank.
pub(super) fn release(connection: &Connection, id: i64) -> Result<u64, BufferError> {
    let doing = "drop a blob";
    let (refs, length) = connection
        .prepare_cached("UPDATE blob SET refs = refs - 1 WHERE id = ?1 RETURNING refs, length")
        .and_then(|mut statement| {
            statement.query_row([id], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)? as u64)))
        })
        .doing(doing)?;
    if refs > 0 {
        return Ok(0);
    }
    let chunks = id * CHUNKS_PER_BLOB_MAX;
    connection
        .prepare_cached("DELETE FROM blob_chunk WHERE id >= ?1 AND id < ?2")
        .and_then(|mut statement| statement.execute([chunks, chunks + CHUNKS_PER_BLOB_MAX]))
        .doing(doing)?;
    connection
        .prepare_cached("DELETE FROM blob WHERE id = ?1")
        .and_then(|mut statement| statement.execute([id]))
        .doing(doing)?;
    Ok(length)
}
