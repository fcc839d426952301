//! From what a peer sent to the mails in it and their envelopes, by the peer's one journal mode.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
};

use openarchive_mail::journal::{
    EnvelopeHeader, EnvelopeHeaderReader, JournalMode, JournaledMail, Report, ReportReader, TransferDecoder,
    TransferEncoding, Unfit, unwrap_jrn_plus,
};

use super::{FLAG_JOURNAL_REPORT, FLAG_JOURNALED, Mode};
use crate::{
    buffer::State,
    content::{Content, READ_BYTES},
    spool::{Spool, SpoolDir},
};

/// Bytes to keep, and the envelope that they came in.
pub(super) struct Unwrapped {
    pub(super) content: Content,
    pub(super) from: String,
    pub(super) to: Vec<String>,
    pub(super) state: State,
    /// What it is to the journal, if it is something else than the mail itself.
    pub(super) flag: Option<&'static str>,
}

/// What arrived is always the first. Fails only with the disk; what does not fit the mode is quarantined.
pub(super) fn unwrap(
    mode: Mode,
    message: &Content,
    from: String,
    rcpt: Vec<String>,
    spool_dir: &SpoolDir,
) -> io::Result<Vec<Unwrapped>> {
    let arrived = Unwrapped { content: message.clone(), from, to: rcpt, state: State::Stored, flag: None };
    // A reader that panics is a bug of ours and no reason to lose or to refuse a mail.
    let read = catch_unwind(AssertUnwindSafe(|| read(mode, &arrived, spool_dir)));
    let opened = match read {
        Ok(Ok(opened)) => opened,
        Ok(Err(Failure::Disk(error))) => return Err(error),
        Ok(Err(Failure::Unfit(unfit))) => return Ok(vec![quarantined(mode, arrived, unfit)]),
        Err(_) => {
            tracing::error!(bytes = message.length(), "the journal reader fails on a mail; report this");
            return Ok(vec![quarantined(mode, arrived, Unfit::Reader)]);
        }
    };
    Ok(match opened {
        Opened::Envelope { from, to } => {
            vec![Unwrapped { from: from.unwrap_or(arrived.from), to, ..arrived }]
        }
        Opened::Report { sender, to, mails } => {
            let journaled = |content| Unwrapped {
                content,
                from: sender.clone(),
                to: to.clone(),
                state: State::Stored,
                flag: Some(FLAG_JOURNALED),
            };
            let report = Unwrapped { flag: Some(FLAG_JOURNAL_REPORT), ..arrived };
            std::iter::once(report).chain(mails.into_iter().map(journaled)).collect()
        }
    })
}

enum Opened {
    Envelope {
        /// `None`: as the peer said it.
        from: Option<String>,
        to: Vec<String>,
    },
    Report {
        sender: String,
        to: Vec<String>,
        mails: Vec<Content>,
    },
}

enum Failure {
    Unfit(Unfit),
    Disk(io::Error),
}

impl From<Unfit> for Failure {
    fn from(unfit: Unfit) -> Self {
        Self::Unfit(unfit)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

fn quarantined(mode: Mode, arrived: Unwrapped, unfit: Unfit) -> Unwrapped {
    tracing::warn!(mode = mode.as_str(), reason = unfit.reason(), "a mail is quarantined");
    Unwrapped { state: State::Quarantined { reason: unfit.reason().to_owned() }, ..arrived }
}

fn read(mode: Mode, arrived: &Unwrapped, spool_dir: &SpoolDir) -> Result<Opened, Failure> {
    match mode {
        Mode::Import | Mode::Journal(JournalMode::Plain) => {
            Ok(Opened::Envelope { from: None, to: arrived.to.clone() })
        }
        Mode::Journal(JournalMode::JrnPlus) => {
            let to = unwrap_jrn_plus(&arrived.to).map_err(|error| {
                tracing::warn!(%error, "recipients do not fit");
                Unfit::Recipients
            })?;
            Ok(Opened::Envelope { from: None, to })
        }
        Mode::Journal(JournalMode::XEnvelopeTo) => {
            let EnvelopeHeader { from, to } = read_header(&arrived.content)?;
            Ok(Opened::Envelope { from, to })
        }
        Mode::Journal(JournalMode::ExchangeReport) => {
            let Report { envelope, mails, .. } = read_report(&arrived.content)?;
            let mails = mails
                .iter()
                .map(|mail| content_of(mail, &arrived.content, spool_dir))
                .collect::<Result<_, _>>()?;
            Ok(Opened::Report { to: envelope.to(), sender: envelope.sender, mails })
        }
    }
}

fn read_header(message: &Content) -> Result<EnvelopeHeader, Failure> {
    let mut reader = EnvelopeHeaderReader::default();
    let mut position = 0;
    // The header alone: the body may be long.
    while position < message.length() {
        let mut piece = vec![0; READ_BYTES.min((message.length() - position) as usize)];
        message.read_exact_at(&mut piece, position)?;
        position += piece.len() as u64;
        if !reader.feed(&piece) {
            break;
        }
    }
    Ok(reader.finish()?)
}

fn read_report(message: &Content) -> Result<Report, Failure> {
    let mut reader = ReportReader::default();
    message.read(READ_BYTES, |piece| {
        reader.feed(piece);
        io::Result::Ok(())
    })?;
    Ok(reader.finish()?)
}

/// Without a copy where the mail stands in the report as it is.
fn content_of(mail: &JournaledMail, report: &Content, spool_dir: &SpoolDir) -> Result<Content, Failure> {
    let encoded = report.slice(mail.range.clone());
    if mail.encoding == TransferEncoding::Identity {
        return Ok(encoded);
    }
    let (mut decoder, mut spool) = (TransferDecoder::new(mail.encoding), Spool::new(spool_dir));
    encoded.read(READ_BYTES, |piece| {
        decoder.push(piece, spool.tail()).map_err(|_| Unfit::MailEncoding)?;
        spool.settle_blocking()?;
        Ok::<(), Failure>(())
    })?;
    decoder.finish(spool.tail()).map_err(|_| Unfit::MailEncoding)?;
    Ok(spool.into_content()?)
}
