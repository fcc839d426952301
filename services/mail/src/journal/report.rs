//! Mode `exchange-report`: journal reports of Exchange Server 2003, Exchange Server 2007 and later, Microsoft 365.
//!
//! A report is multipart/mixed: a text part with the envelope, then the mail as message/rfc822; mail that was protected
//! comes twice, in clear beside as it was. Read in one pass with bounded memory; the mails are answered as ranges of the
//! report, so nothing is copied. Only the report itself is read: what the mails hold, another report or a forged one, is
//! theirs. Sources of the format: `fixtures/journal/README.md`.

mod envelope_2003;
mod envelope_2007;
mod parts;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, ops::Range};

use super::{TransferEncoding, address::JOURNALED_RECIPIENTS_MAX, unfit::Unfit};
use crate::split::lines::LineCutter;
use parts::Parts;

/// Most bytes of the envelope's text, as it stands in the report.
pub const REPORT_TEXT_BYTES_MAX: usize = 1024 * 1024;

/// Most mails in one report: the clear copy and the protected one.
pub const JOURNALED_MAILS_MAX: usize = 2;

/// Who wrote the report, by its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generation {
    /// `Content-Identifier: ExJournalReport`.
    Exchange2003,
    /// `X-MS-Journal-Report:`. Exchange Server 2007 and later, Microsoft 365.
    Exchange2007,
}

/// A report that was read to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub generation: Generation,
    pub envelope: ReportEnvelope,
    /// One, or [`JOURNALED_MAILS_MAX`], in the order of the report.
    pub mails: Vec<JournaledMail>,
}

/// Where a mail stands in the report. Its content is what the encoding makes of the range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournaledMail {
    /// Without the line break that belongs to the boundary (RFC 2046 section 5.1.1).
    pub range: Range<u64>,
    pub encoding: TransferEncoding,
}

/// What the report's text says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReportEnvelope {
    /// "" if the report names none.
    pub sender: String,
    pub on_behalf_of: Option<String>,
    pub subject: Option<String>,
    /// As written, with its angle brackets.
    pub message_id: String,
    /// At least one.
    pub recipients: Vec<Recipient>,
}

/// One recipient as it was delivered to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    pub address: String,
    pub kind: RecipientKind,
    /// How the sender's recipient became this one.
    pub via: Vec<Via>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecipientKind {
    To,
    Cc,
    Bcc,
    /// The server cannot tell.
    Recipient,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Via {
    /// A member of this distribution list.
    Expanded(String),
    /// By this mailbox's forwarding.
    Forwarded(String),
}

impl Via {
    pub fn address(&self) -> &str {
        match self {
            Self::Expanded(address) | Self::Forwarded(address) => address,
        }
    }
}

impl ReportEnvelope {
    /// Everyone that the mail was sent to: the recipients in the order of the report, then the lists and mailboxes
    /// that stood for them, since a list in Bcc is named nowhere else. Each once.
    pub fn to(&self) -> Vec<String> {
        let delivered = self.recipients.iter().map(|recipient| recipient.address.as_str());
        let sources = self.recipients.iter().flat_map(|recipient| recipient.via.iter().map(Via::address));
        let mut seen = BTreeSet::new();
        delivered.chain(sources).filter(|address| seen.insert(*address)).map(str::to_owned).collect()
    }

    fn checked(self) -> Result<Self, Unfit> {
        if self.recipients.is_empty() || self.recipients.iter().any(|one| one.address.is_empty()) {
            return Err(Unfit::ReportEnvelope);
        }
        if self.to().len() > JOURNALED_RECIPIENTS_MAX { Err(Unfit::TooManyRecipients) } else { Ok(self) }
    }
}

/// Reads a report that comes in any pieces.
#[derive(Debug, Default)]
pub struct ReportReader {
    lines: LineCutter,
    parts: Parts,
}

impl ReportReader {
    pub fn feed(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (taken, piece) = self.lines.cut(rest);
            if let Some(piece) = piece {
                self.parts.push(&piece);
            }
            rest = &rest[taken..];
        }
    }

    pub fn finish(mut self) -> Result<Report, Unfit> {
        if let Some(piece) = self.lines.finish() {
            self.parts.push(&piece);
        }
        let found = self.parts.finish()?;
        let envelope = match found.generation {
            Generation::Exchange2003 => envelope_2003::parse(&found.text),
            Generation::Exchange2007 => envelope_2007::parse(&found.text),
        };
        let envelope = envelope.ok_or(Unfit::ReportEnvelope)?.checked()?;
        Ok(Report { generation: found.generation, envelope, mails: found.mails })
    }
}
