//! How far an import has come. Moves in the transaction that keeps the mail, so no mail is taken twice or left out.

use rusqlite::{Connection, OptionalExtension, params};

use super::{Buffer, BufferError, error::Doing};

/// "Of `source`, all up to `position` is kept." What the two texts say is the importer's business.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    pub source: String,
    pub position: String,
}

impl Buffer {
    /// The last position kept for `source`; `None` before the first.
    pub async fn import_progress(&self, source: &str) -> Result<Option<String>, BufferError> {
        let source = source.to_owned();
        self.read("read the progress of an import", move |connection| {
            connection
                .prepare_cached("SELECT position FROM import_progress WHERE source = ?1")?
                .query_row([&source], |row| row.get(0))
                .optional()
        })
        .await
    }

    /// For positions that no mail stands behind, such as the end of a file.
    pub async fn set_import_progress(&self, progress: Progress) -> Result<(), BufferError> {
        self.write(0, move |connection| set(connection, &progress)).await
    }
}

pub(super) fn set(connection: &Connection, progress: &Progress) -> Result<(), BufferError> {
    let sql = "INSERT INTO import_progress (source, position) VALUES (?1, ?2)
               ON CONFLICT (source) DO UPDATE SET position = excluded.position";
    connection
        .prepare_cached(sql)
        .and_then(|mut statement| statement.execute(params![progress.source, progress.position]))
        .doing("keep the progress of an import")?;
    Ok(())
}
