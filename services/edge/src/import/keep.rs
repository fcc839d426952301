//! Putting a mail into the buffer, however long that takes.

use std::time::Duration;

use tokio::time::sleep;

use super::{
    Import, ImportError,
    read_mail::{Place, ReadError},
};
use crate::{
    accept::{Arrival, Mode},
    buffer::Progress,
    spool::Spool,
};

/// How often a full buffer is looked at.
const ROOM_POLL: Duration = Duration::from_millis(500);

/// The peer of every imported mail.
pub(super) const PEER: &str = "import";

impl Import<'_> {
    /// Returns when the mail and its place are durable; at the high-water mark that is when there is room. `first`: the
    /// mail if it has been read already. Says how long the mail is.
    pub(super) async fn keep(
        &self,
        place: &Place,
        first: Option<Spool>,
        progress: &Progress,
    ) -> Result<Result<u64, ReadError>, ImportError> {
        let buffer = self.acceptor.buffer();
        let mut message = first;
        loop {
            let message = match message.take() {
                Some(message) => message,
                None => match place.read(buffer.spool_dir()).await {
                    Ok(message) => message,
                    Err(error) => return Ok(Err(error)),
                },
            };
            let bytes = message.length();
            let arrival = Arrival {
                message,
                from: String::new(),
                rcpt: Vec::new(),
                peer: PEER.to_owned(),
                mode: Mode::Import,
                progress: Some(progress.clone()),
            };
            match self.acceptor.accept(arrival).await {
                Ok(_kept) => return Ok(Ok(bytes)),
                Err(error) if error.is_lack_of_room() => self.wait_for_room().await?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Asks the database: what another process prunes does not show in this one's counters.
    async fn wait_for_room(&self) -> Result<(), ImportError> {
        let _waiting = self.bar.waiting();
        let buffer = self.acceptor.buffer();
        loop {
            sleep(ROOM_POLL).await;
            if buffer.stats().await?.bytes < buffer.high_water_bytes() {
                return Ok(());
            }
        }
    }
}
