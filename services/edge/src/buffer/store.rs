//! Taking a mail in.

use openarchive_domain::Seat;
use rusqlite::{Connection, params};

use super::{
    Buffer, BufferError, MessageId, NewMessage, State, blob, counters::buffered_bytes, error::Doing,
    import_progress,
};

impl Buffer {
    /// Returns when the mail is durable; then, and not before, the sender may be told so.
    ///
    /// Its `seq` is given out in the same transaction: the numbers of an epoch have no gaps.
    /// Refuses with [`BufferError::Full`] at the high-water mark, having changed nothing.
    pub async fn store(&self, message: NewMessage) -> Result<Seat, BufferError> {
        self.store_all(vec![message]).await
    }

    /// As [`Buffer::store`], for what came together: all of them durable, or none. Their numbers follow each other;
    /// answers the first one's seat. There must be at least one.
    pub async fn store_all(&self, messages: Vec<NewMessage>) -> Result<Seat, BufferError> {
        assert!(!messages.is_empty(), "there is something to store");
        let (instance, high_water) = (self.0.instance, self.0.high_water_bytes);
        let bytes_of = |message: &NewMessage| {
            message.skeleton.content.length()
                + message.parts.iter().map(|part| part.content.length()).sum::<u64>()
        };
        let bytes = messages.iter().map(bytes_of).sum();
        let seat = self
            .write(bytes, move |connection| insert_all(connection, instance, high_water, &messages))
            .await?;
        self.0.counters.wake();
        Ok(seat)
    }
}

fn insert_all(
    connection: &Connection,
    instance: [u8; 16],
    high_water: u64,
    messages: &[NewMessage],
) -> Result<Seat, BufferError> {
    // Before anything is changed: who is refused here does not undo the group.
    let bytes = buffered_bytes(connection)?;
    if bytes >= high_water {
        return Err(BufferError::Full { bytes, high_water });
    }
    let mut first = None;
    for message in messages {
        let (epoch, seq) = insert(connection, message)?;
        first.get_or_insert(Seat { instance, agent_epoch: epoch as u64, seq: seq as u64 });
    }
    first.ok_or(BufferError::Stopped)
}

/// Answers epoch and number.
fn insert(connection: &Connection, message: &NewMessage) -> Result<(i64, i64), BufferError> {
    let (skeleton, mut added) = blob::refer(connection, &message.skeleton)?;
    let mut parts = Vec::with_capacity(message.parts.len());
    for part in &message.parts {
        let (id, bytes) = blob::refer(connection, part)?;
        parts.push(id);
        added += bytes;
    }
    let (id, epoch, seq) = take_number(connection, added)?;
    insert_row(connection, message, skeleton, id, epoch, seq).doing("keep a mail")?;
    refer_to_parts(connection, id, &parts).doing("keep the parts of a mail")?;
    if let Some(progress) = &message.progress {
        import_progress::set(connection, progress)?;
    }
    Ok((epoch, seq))
}

fn take_number(connection: &Connection, added: u64) -> Result<(MessageId, i64, i64), BufferError> {
    let sql = "UPDATE meta SET next_id = next_id + 1, next_seq = next_seq + 1, messages = messages + 1,
               bytes = bytes + ?1 RETURNING next_id - 1, agent_epoch, next_seq - 1";
    connection
        .prepare_cached(sql)
        .and_then(|mut statement| {
            statement.query_row([added as i64], |row| Ok((MessageId(row.get(0)?), row.get(1)?, row.get(2)?)))
        })
        .doing("take the next seq")
}

fn insert_row(
    connection: &Connection,
    message: &NewMessage,
    skeleton: i64,
    id: MessageId,
    epoch: i64,
    seq: i64,
) -> rusqlite::Result<()> {
    let (state, reason) = match &message.state {
        State::Stored => ("stored", ""),
        State::Quarantined { reason } => ("quarantined", reason.as_str()),
    };
    let json = |error: serde_json::Error| rusqlite::Error::ToSqlConversionFailure(error.into());
    let envelope = serde_json::to_string(&message.envelope).map_err(json)?;
    let flags = serde_json::to_string(&message.flags).map_err(json)?;
    let sql =
        "INSERT INTO message (id, agent_epoch, seq, digest, length, skeleton, envelope, occurred_at, state,
               reason, flags) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
    connection.prepare_cached(sql)?.execute(params![
        id.0,
        epoch,
        seq,
        message.message.as_bytes(),
        message.length as i64,
        skeleton,
        envelope,
        message.occurred_at.as_millis(),
        state,
        reason,
        flags,
    ])?;
    Ok(())
}

pub(super) fn refer_to_parts(connection: &Connection, id: MessageId, parts: &[i64]) -> rusqlite::Result<()> {
    let sql = "INSERT INTO message_part (message, place, blob) VALUES (?1, ?2, ?3)";
    let mut insert = connection.prepare_cached(sql)?;
    for (place, blob) in parts.iter().enumerate() {
        insert.execute(params![id.0, place as i64, blob])?;
    }
    Ok(())
}
