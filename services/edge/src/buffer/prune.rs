//! Letting go of mail that the archive has proved to have. What the proof was stays for ever.

use openarchive_domain::{Digest, Seat, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

use super::{Buffer, BufferError, KnownCheckpoint, MessageId, blob, error::Doing, watch};

/// A mail whose receipt was verified against what this agent knows itself.
#[derive(Debug, Clone)]
pub struct Prune {
    pub id: MessageId,
    pub leaf_index: u64,
    /// The C2SP tlog-proof.
    pub receipt: String,
}

/// The receipt of a mail that was pruned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredReceipt {
    pub seat: Seat,
    pub message: Digest,
    pub leaf_index: u64,
    /// The C2SP tlog-proof.
    pub receipt: String,
    pub at: Timestamp,
}

impl Buffer {
    /// Keeps receipts and checkpoint, drops the mails and the blobs nobody refers to any more: all or nothing.
    ///
    /// With [`BufferError::NotBuffered`] for an unknown mail nothing was done.
    pub async fn prune(
        &self,
        verified: Vec<Prune>,
        checkpoint: KnownCheckpoint,
        at: Timestamp,
    ) -> Result<(), BufferError> {
        let work = move |connection: &Connection| {
            for prune in &verified {
                prune_one(connection, prune, at)?;
            }
            watch::set_checkpoint(connection, &checkpoint, at)
        };
        self.write(0, work).await
    }

    /// The receipt kept for a seat.
    pub async fn receipt(&self, agent_epoch: u64, seq: u64) -> Result<Option<StoredReceipt>, BufferError> {
        let instance = self.0.instance;
        self.read("read a receipt", move |connection| {
            let sql =
                "SELECT message, leaf_index, receipt, at FROM receipt WHERE agent_epoch = ?1 AND seq = ?2";
            connection
                .prepare_cached(sql)?
                .query_row([agent_epoch as i64, seq as i64], |row| {
                    Ok(StoredReceipt {
                        seat: Seat { instance, agent_epoch, seq },
                        message: Digest::from_bytes(row.get(0)?),
                        leaf_index: row.get::<_, i64>(1)? as u64,
                        receipt: row.get(2)?,
                        at: Timestamp::from_millis(row.get(3)?),
                    })
                })
                .optional()
        })
        .await
    }

    /// The highest leaf index of any receipt; `None` before the first.
    pub async fn last_leaf_index(&self) -> Result<Option<u64>, BufferError> {
        self.read("read the last receipt", |connection| {
            let index: Option<i64> =
                connection.query_row("SELECT max(leaf_index) FROM receipt", [], |row| row.get(0))?;
            Ok(index.map(|index| index as u64))
        })
        .await
    }
}

fn prune_one(connection: &Connection, prune: &Prune, at: Timestamp) -> Result<(), BufferError> {
    let doing = "keep a receipt";
    let sql = "INSERT INTO receipt (agent_epoch, seq, message, leaf_index, receipt, at)
               SELECT agent_epoch, seq, digest, ?2, ?3, ?4 FROM message WHERE id = ?1";
    let kept = connection
        .prepare_cached(sql)
        .and_then(|mut statement| {
            statement.execute(params![prune.id.0, prune.leaf_index as i64, prune.receipt, at.as_millis()])
        })
        .doing(doing)?;
    if kept == 0 {
        return Err(BufferError::NotBuffered(prune.id));
    }
    let freed = release_blobs(connection, prune.id)?;
    connection
        .prepare_cached("DELETE FROM message WHERE id = ?1")
        .and_then(|mut statement| statement.execute([prune.id.0]))
        .doing("drop a mail")?;
    connection
        .prepare_cached("UPDATE meta SET messages = messages - 1, bytes = bytes - ?1")
        .and_then(|mut statement| statement.execute([freed as i64]))
        .doing("count a pruned mail")?;
    Ok(())
}

/// Drops the references of a mail to its skeleton and parts; the mail's row stays. Returns the bytes that became free.
pub(super) fn release_blobs(connection: &Connection, id: MessageId) -> Result<u64, BufferError> {
    let doing = "drop the parts of a mail";
    let sql = "SELECT skeleton FROM message WHERE id = ?1
               UNION ALL SELECT blob FROM message_part WHERE message = ?1";
    let blobs: Vec<i64> = connection
        .prepare_cached(sql)
        .and_then(|mut statement| statement.query_map([id.0], |row| row.get(0))?.collect())
        .doing(doing)?;
    connection
        .prepare_cached("DELETE FROM message_part WHERE message = ?1")
        .and_then(|mut statement| statement.execute([id.0]))
        .doing(doing)?;
    blobs.into_iter().try_fold(0, |freed, blob| Ok(freed + blob::release(connection, blob)?))
}
