//! Reading what is buffered.

use openarchive_domain::{Digest, Seat, Timestamp};
use rusqlite::{Connection, Row, types::Type};

use super::{BlobRef, Buffer, BufferError, Buffered, MessageId, State};

const COLUMNS: &str =
    "m.id, m.agent_epoch, m.seq, m.digest, m.length, m.envelope, m.occurred_at, m.state, m.reason,
    m.flags, b.digest, b.length";

impl Buffer {
    /// Up to `limit` mails after `after`, in order of acceptance; all that is needed to offer them.
    pub async fn pending(&self, after: MessageId, limit: usize) -> Result<Vec<Buffered>, BufferError> {
        let instance = self.0.instance;
        self.read("list buffered mail", move |connection| list(connection, instance, after, limit)).await
    }

    /// One mail; `None` if it is not, or no longer, there.
    pub async fn message(&self, id: MessageId) -> Result<Option<Buffered>, BufferError> {
        let found = self.pending(MessageId(id.0 - 1), 1).await?;
        Ok(found.into_iter().find(|message| message.id == id))
    }
}

fn list(
    connection: &Connection,
    instance: [u8; 16],
    after: MessageId,
    limit: usize,
) -> rusqlite::Result<Vec<Buffered>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM message m JOIN blob b ON b.id = m.skeleton WHERE m.id > ?1 ORDER BY m.id LIMIT ?2"
    );
    let mut messages = connection
        .prepare_cached(&sql)?
        .query_map([after.0, limit as i64], |row| from_row(row, instance))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let mut parts = connection.prepare_cached(
        "SELECT b.digest, b.length FROM message_part p JOIN blob b ON b.id = p.blob WHERE p.message = ?1
         ORDER BY p.place",
    )?;
    for message in &mut messages {
        message.parts = parts.query_map([message.id.0], |row| blob_ref(row, 0))?.collect::<Result<_, _>>()?;
    }
    Ok(messages)
}

fn from_row(row: &Row<'_>, instance: [u8; 16]) -> rusqlite::Result<Buffered> {
    let state = match row.get_ref(7)?.as_str()? {
        "stored" => State::Stored,
        _ => State::Quarantined { reason: row.get(8)? },
    };
    Ok(Buffered {
        id: MessageId(row.get(0)?),
        seat: Seat { instance, agent_epoch: row.get::<_, i64>(1)? as u64, seq: row.get::<_, i64>(2)? as u64 },
        message: Digest::from_bytes(row.get(3)?),
        length: row.get::<_, i64>(4)? as u64,
        envelope: from_json(row, 5)?,
        occurred_at: Timestamp::from_millis(row.get(6)?),
        state,
        flags: from_json(row, 9)?,
        skeleton: blob_ref(row, 10)?,
        parts: Vec::new(),
    })
}

fn blob_ref(row: &Row<'_>, column: usize) -> rusqlite::Result<BlobRef> {
    let length: i64 = row.get(column + 1)?;
    Ok(BlobRef { digest: Digest::from_bytes(row.get(column)?), length: length as u64 })
}

fn from_json<T: serde::de::DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    serde_json::from_str(row.get_ref(column)?.as_str()?)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error.into()))
}
