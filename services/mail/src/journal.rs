//! Journal modes: what a mail server's copy of a mail says of that mail's envelope, and where the mail itself stands.
//!
//! A peer has exactly one mode (operator configuration) and no other is tried, so a forged journal header, report or
//! address inside ordinary mail is only text. What does not fit its mode is quarantined ([`Unfit`]), never refused.
//!
//! - `plain`: the envelope is that of the mail.
//! - `jrn-plus`: [`unwrap_jrn_plus`] over the recipients.
//! - `x-envelope-to`: [`EnvelopeHeaderReader`] over the mail.
//! - `exchange-report`: [`ReportReader`] over the mail, which is a report that carries one mail or two.

mod address;
mod decode;
mod header;
mod jrn_plus;
mod report;
mod unfit;
mod x_envelope;

use std::{fmt, str::FromStr};

use openarchive_domain::ParseError;

pub use address::{JOURNALED_ADDRESS_BYTES_MAX, JOURNALED_RECIPIENTS_MAX};
pub use decode::{TransferDecoder, TransferEncoding, Undecodable};
pub use jrn_plus::{NotJrnPlus, unwrap_jrn_plus};
pub use report::{
    Generation, JOURNALED_MAILS_MAX, JournaledMail, REPORT_TEXT_BYTES_MAX, Recipient, RecipientKind, Report,
    ReportEnvelope, ReportReader, Via,
};
pub use unfit::Unfit;
pub use x_envelope::{ENVELOPE_FIELDS_BYTES_MAX, EnvelopeHeader, EnvelopeHeaderReader};

/// How a peer journals. Written in kebab-case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JournalMode {
    /// The envelope's recipients are those of the mail.
    Plain,
    /// Each recipient is `jrn+LOCAL=DOMAIN@HOST` for LOCAL@DOMAIN, as Postfix's `recipient_bcc_maps` makes it.
    JrnPlus,
    /// The mail server has written the envelope into the mail's header: `X-Envelope-To`, `X-Envelope-From`.
    XEnvelopeTo,
    /// The mail is a journal report of Exchange Server or Microsoft 365.
    ExchangeReport,
}

impl JournalMode {
    pub const ALL: [Self; 4] = [Self::Plain, Self::JrnPlus, Self::XEnvelopeTo, Self::ExchangeReport];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::JrnPlus => "jrn-plus",
            Self::XEnvelopeTo => "x-envelope-to",
            Self::ExchangeReport => "exchange-report",
        }
    }
}

impl fmt::Display for JournalMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for JournalMode {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let expected = "plain, jrn-plus, x-envelope-to or exchange-report";
        let mode = Self::ALL.into_iter().find(|mode| mode.as_str() == text);
        mode.ok_or_else(|| ParseError::new("journal mode", text, expected))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_is_written_in_kebab_case() {
        let names = ["plain", "jrn-plus", "x-envelope-to", "exchange-report"];
        for (mode, name) in JournalMode::ALL.into_iter().zip(names) {
            assert_eq!(mode.to_string(), name);
            assert_eq!(name.parse(), Ok(mode));
        }
        for other in ["", "JrnPlus", "exchange", "X-Envelope-To", "plain "] {
            assert!(other.parse::<JournalMode>().is_err(), "{other}");
        }
    }
}
