//! The number space: epochs and the seats of mails.

use openarchive_domain::Seat;
use rusqlite::{Connection, params};

use super::{Buffer, BufferError, MessageId, error::Doing};

impl Buffer {
    /// Opens a new number space: mail accepted from now on counts from 1 in it. Mail that has a seat keeps it.
    ///
    /// For when the core knows a higher `seq` than was given out here, because this disk was rolled back.
    pub async fn set_epoch(&self, agent_epoch: u64) -> Result<(), BufferError> {
        self.write(0, move |connection| {
            connection
                .execute("UPDATE meta SET agent_epoch = ?1, next_seq = 1", [agent_epoch as i64])
                .doing("open an epoch")?;
            Ok(())
        })
        .await
    }

    /// Gives a mail whose seat the core knows to be another mail's the next seat of the current epoch.
    pub async fn reseat(&self, id: MessageId) -> Result<Seat, BufferError> {
        let instance = self.0.instance;
        self.write(0, move |connection| reseat(connection, instance, id)).await
    }
}

fn reseat(connection: &Connection, instance: [u8; 16], id: MessageId) -> Result<Seat, BufferError> {
    let (epoch, seq): (i64, i64) = connection
        .query_row("UPDATE meta SET next_seq = next_seq + 1 RETURNING agent_epoch, next_seq - 1", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .doing("take the next seq")?;
    let moved = connection
        .execute("UPDATE message SET agent_epoch = ?2, seq = ?3 WHERE id = ?1", params![id.0, epoch, seq])
        .doing("move a mail to another seat")?;
    if moved == 0 {
        return Err(BufferError::NotBuffered(id));
    }
    Ok(Seat { instance, agent_epoch: epoch as u64, seq: seq as u64 })
}
