//! From the bytes of a mail to durable seats in the buffer: unwrap by the peer's mode, take apart, prove that it joins
//! again, keep.

mod rejoin;
mod take_apart;
mod unwrap;

#[cfg(test)]
mod tests;

use std::{io, sync::Arc};

use openarchive_domain::{Clock, Seat};
use openarchive_mail::journal::JournalMode;

pub use take_apart::FLAG_KEPT_WHOLE;

use crate::{
    buffer::{Buffer, BufferError, Envelope, NewMessage, Progress},
    content::Content,
    spool::{Spool, SpoolDir},
};
use take_apart::{TakenApart, take_apart};
use unwrap::{Unwrapped, unwrap};

/// Up to this size a mail is taken apart where it arrives; a larger one on a thread where it holds up nobody.
pub const TAKE_APART_INLINE_BYTES_MAX: u64 = 128 * 1024;

/// The flag of a journal report that was kept beside the mails it carried.
pub const FLAG_JOURNAL_REPORT: &str = "journal-report";

/// The flag of a mail that a journal report carried.
pub const FLAG_JOURNALED: &str = "journaled";

/// How the envelope is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Journal(JournalMode),
    Import,
}

impl Mode {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Journal(mode) => mode.as_str(),
            Self::Import => "import",
        }
    }
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

/// Where an arrival is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// Of the bytes as they came.
    pub seat: Seat,
    /// Mails that a journal report carried; their numbers follow the report's.
    pub journaled: u64,
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

    /// Returns when the mail, and every mail that it carried as a journal report, is durable: all in one commit.
    /// Nothing about its content can make this fail, only the disk and the mark.
    ///
    /// A caller that stops waiting does not know whether the mail was kept.
    pub async fn accept(&self, arrival: Arrival) -> Result<Kept, BufferError> {
        let occurred_at = self.clock.now();
        let Arrival { message, from, rcpt, peer, mode, progress } = arrival;
        let spool_dir = self.buffer.spool_dir().clone();
        let is_large = message.length() > TAKE_APART_INLINE_BYTES_MAX;
        let work = move || open_up(mode, &message.into_content()?, from, rcpt, &spool_dir);
        let found = if is_large {
            tokio::task::spawn_blocking(work).await.map_err(|_| BufferError::Stopped)??
        } else {
            work()?
        };
        let journaled = found.len() as u64 - 1;
        let mut progress = progress;
        let keep = |(unwrapped, taken_apart): (Unwrapped, TakenApart)| {
            let Unwrapped { from, to, state, flag, .. } = unwrapped;
            let TakenApart { message, length, skeleton, parts, mut flags } = taken_apart;
            flags.extend(flag.map(str::to_owned));
            let envelope = Envelope { from, to, peer: peer.clone(), mode: mode.as_str().to_owned() };
            let progress = progress.take();
            NewMessage { message, length, skeleton, parts, envelope, occurred_at, state, flags, progress }
        };
        let seat = self.buffer.store_all(found.into_iter().map(keep).collect()).await?;
        Ok(Kept { seat, journaled })
    }
}

/// What arrived, and then what it carried. Blocks on the disk if the message is in a file.
fn open_up(
    mode: Mode,
    message: &Content,
    from: String,
    rcpt: Vec<String>,
    spool_dir: &SpoolDir,
) -> io::Result<Vec<(Unwrapped, TakenApart)>> {
    unwrap(mode, message, from, rcpt, spool_dir)?
        .into_iter()
        .map(|unwrapped| {
            let taken_apart = take_apart(&unwrapped.content, spool_dir)?;
            Ok((unwrapped, taken_apart))
        })
        .collect()
}
