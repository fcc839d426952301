//! From the bytes of a mail to a durable seat in the buffer: take apart, prove that it joins again, keep.

mod rejoin;
mod take_apart;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use openarchive_domain::{Clock, Seat};
use openarchive_mail::journal::{JournalMode, unwrap_recipients};

pub use take_apart::FLAG_KEPT_WHOLE;

use crate::{
    buffer::{Buffer, BufferError, Envelope, NewMessage, Progress, State},
    spool::Spool,
};

/// Up to this size a mail is taken apart where it arrives; a larger one on a thread where it holds up nobody.
pub const TAKE_APART_INLINE_BYTES_MAX: u64 = 128 * 1024;

/// The reason of mail whose recipients do not have the form that its peer's journal mode demands.
pub const REASON_NOT_THIS_MODE: &str = "recipients do not fit the journal mode";

/// How recipients are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Journal(JournalMode),
    Import,
}

/// A mail as it came.
#[derive(Debug)]
pub struct Arrival {
    /// The exact bytes; at most [`openarchive_mail::limits::MESSAGE_BYTES_MAX`].
    pub message: Spool,
    /// "" is the null sender.
    pub from: String,
    /// In the order of RCPT.
    pub rcpt: Vec<String>,
    /// The peer's IP address, or `import`.
    pub peer: String,
    pub mode: Mode,
    /// What of an import is done once this mail is kept.
    pub progress: Option<Progress>,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Acceptor {
    buffer: Buffer,
    clock: Arc<dyn Clock>,
}

impl Acceptor {
    pub fn new(buffer: Buffer, clock: Arc<dyn Clock>) -> Self {
        Self { buffer, clock }
    }

    pub fn buffer(&self) -> &Buffer {
        &self.buffer
    }

    /// Returns when the mail is durable. Nothing about its content can make this fail, only the disk and the mark.
    ///
    /// A caller that stops waiting does not know whether the mail was kept.
    pub async fn accept(&self, arrival: Arrival) -> Result<Seat, BufferError> {
        let occurred_at = self.clock.now();
        let Arrival { message, from, rcpt, peer, mode, progress } = arrival;
        let spool_dir = self.buffer.spool_dir().clone();
        let taken_apart = if message.length() <= TAKE_APART_INLINE_BYTES_MAX {
            take_apart::take_apart(&message.into_content()?, &spool_dir)?
        } else {
            tokio::task::spawn_blocking(move || take_apart::take_apart(&message.into_content()?, &spool_dir))
                .await
                .map_err(|_| BufferError::Stopped)??
        };
        let (to, state) = recipients(mode, rcpt);
        let mode = match mode {
            Mode::Journal(mode) => mode.to_string(),
            Mode::Import => "import".to_owned(),
        };
        let envelope = Envelope { from, to, peer, mode };
        self.buffer
            .store(NewMessage {
                message: taken_apart.message,
                length: taken_apart.length,
                skeleton: taken_apart.skeleton,
                parts: taken_apart.parts,
                flags: taken_apart.flags,
                envelope,
                occurred_at,
                state,
                progress,
            })
            .await
    }
}

fn recipients(mode: Mode, rcpt: Vec<String>) -> (Vec<String>, State) {
    match mode {
        Mode::Import | Mode::Journal(JournalMode::Plain) => (rcpt, State::Stored),
        Mode::Journal(mode) => match unwrap_recipients(mode, &rcpt) {
            Ok(unwrapped) => (unwrapped, State::Stored),
            Err(error) => {
                tracing::warn!(%error, "a mail is quarantined");
                (rcpt, State::Quarantined { reason: REASON_NOT_THIS_MODE.to_owned() })
            }
        },
    }
}
