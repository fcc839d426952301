//! What the agent holds against the core: the checkpoints it has seen, and what a person must look at.

use openarchive_domain::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::{Buffer, BufferError, error::Doing};

/// The last verified checkpoint of a log, as signed note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownCheckpoint {
    pub origin: String,
    pub note: String,
}

/// Something that does not heal by itself. One per kind.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Alarm {
    /// A fixed word, such as `receipt-rejected`.
    pub kind: String,
    /// What was found last; no personal data.
    pub detail: String,
    #[serde(serialize_with = "as_text")]
    pub first_at: Timestamp,
    #[serde(serialize_with = "as_text")]
    pub last_at: Timestamp,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn as_text<S: serde::Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(time)
}

impl Buffer {
    /// The note kept by the last [`Buffer::prune`] or [`Buffer::keep_checkpoint`] for this origin.
    pub async fn checkpoint(&self, origin: &str) -> Result<Option<String>, BufferError> {
        let origin = origin.to_owned();
        self.read("read a checkpoint", move |connection| {
            connection
                .query_row("SELECT note FROM checkpoint WHERE origin = ?1", [origin], |row| row.get(0))
                .optional()
        })
        .await
    }

    /// Keeps a verified checkpoint when there is nothing to prune.
    pub async fn keep_checkpoint(
        &self,
        checkpoint: KnownCheckpoint,
        at: Timestamp,
    ) -> Result<(), BufferError> {
        self.write(0, move |connection| set_checkpoint(connection, &checkpoint, at)).await
    }

    /// Keeps a checkpoint that contradicts the one known, as evidence. The known one stays. Each is kept once.
    pub async fn keep_suspect(&self, suspect: KnownCheckpoint, at: Timestamp) -> Result<(), BufferError> {
        let sql = "INSERT INTO suspect_checkpoint (origin, note, at) SELECT ?1, ?2, ?3
                   WHERE NOT EXISTS (SELECT 1 FROM suspect_checkpoint WHERE origin = ?1 AND note = ?2)";
        self.write(0, move |connection| {
            connection
                .execute(sql, params![suspect.origin, suspect.note, at.as_millis()])
                .doing("keep a suspect checkpoint")?;
            Ok(())
        })
        .await
    }

    /// In the order in which they came.
    pub async fn suspects(&self) -> Result<Vec<KnownCheckpoint>, BufferError> {
        self.read("read the suspect checkpoints", |connection| {
            connection
                .prepare("SELECT origin, note FROM suspect_checkpoint ORDER BY id")?
                .query_map([], |row| Ok(KnownCheckpoint { origin: row.get(0)?, note: row.get(1)? }))?
                .collect()
        })
        .await
    }

    /// Raises the alarm, or renews its detail if it is up already.
    pub async fn raise_alarm(
        &self,
        kind: &'static str,
        detail: String,
        at: Timestamp,
    ) -> Result<(), BufferError> {
        let sql = "INSERT INTO alarm (kind, detail, first_at, last_at) VALUES (?1, ?2, ?3, ?3)
                   ON CONFLICT (kind) DO UPDATE SET detail = excluded.detail, last_at = excluded.last_at";
        self.write(0, move |connection| {
            connection.execute(sql, params![kind, detail, at.as_millis()]).doing("raise an alarm")?;
            Ok(())
        })
        .await
    }

    /// Does nothing if it is not up.
    pub async fn clear_alarm(&self, kind: &'static str) -> Result<(), BufferError> {
        self.write(0, move |connection| {
            connection.execute("DELETE FROM alarm WHERE kind = ?1", [kind]).doing("clear an alarm")?;
            Ok(())
        })
        .await
    }

    /// Oldest first.
    pub async fn alarms(&self) -> Result<Vec<Alarm>, BufferError> {
        self.read("read the alarms", |connection| {
            connection
                .prepare("SELECT kind, detail, first_at, last_at FROM alarm ORDER BY first_at, kind")?
                .query_map([], |row| {
                    Ok(Alarm {
                        kind: row.get(0)?,
                        detail: row.get(1)?,
                        first_at: Timestamp::from_millis(row.get(2)?),
                        last_at: Timestamp::from_millis(row.get(3)?),
                    })
                })?
                .collect()
        })
        .await
    }
}

pub(super) fn set_checkpoint(
    connection: &Connection,
    checkpoint: &KnownCheckpoint,
    at: Timestamp,
) -> Result<(), BufferError> {
    let sql = "INSERT INTO checkpoint (origin, note, at) VALUES (?1, ?2, ?3)
               ON CONFLICT (origin) DO UPDATE SET note = excluded.note, at = excluded.at";
    connection
        .prepare_cached(sql)
        .and_then(|mut statement| {
            statement.execute(params![checkpoint.origin, checkpoint.note, at.as_millis()])
        })
        .doing("keep a checkpoint")?;
    Ok(())
}
