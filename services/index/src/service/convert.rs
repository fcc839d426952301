//! Between the wire and our types.

use openarchive_domain::{Digest, ParseError, Timestamp};
use openarchive_proto::index::v1;

use crate::{
    Address, Document,
    engine::{Hit, Outcome},
    highlight::{Fragment, MailText},
};

impl From<v1::Address> for Address {
    fn from(v1::Address { name, address }: v1::Address) -> Self {
        Self { name, address }
    }
}

impl TryFrom<v1::Document> for Document {
    type Error = ParseError;

    /// Who stands in the envelope only has been put among `bcc` by the sender.
    fn try_from(document: v1::Document) -> Result<Self, ParseError> {
        let addresses = |list: Vec<v1::Address>| list.into_iter().map(Address::from).collect();
        Ok(Self {
            tenant: document.tenant.parse()?,
            message: Digest::try_from(&document.message[..])?,
            from: addresses(document.from),
            to: addresses(document.to),
            cc: addresses(document.cc),
            bcc: addresses(document.bcc),
            participants: Vec::new(),
            subject: document.subject,
            body: document.body,
            has_attachment: !document.attachments.is_empty(),
            attachments: document.attachments,
            message_id: Some(document.message_id).filter(|id| !id.is_empty()),
            date: Some(Timestamp::from_millis(document.date_millis)),
            partly_indexed: document.partly_indexed,
            length: document.length,
            agents: document.agents,
            observations: document.observations,
        })
    }
}

pub(super) fn rejected(reason: &dyn std::error::Error) -> v1::DocumentResult {
    v1::DocumentResult { outcome: v1::DocumentOutcome::Rejected.into(), reason: reason.to_string() }
}

impl From<Outcome> for v1::DocumentResult {
    fn from(outcome: Outcome) -> Self {
        let outcome = match outcome {
            Outcome::Indexed => v1::DocumentOutcome::Indexed,
            Outcome::Skipped => v1::DocumentOutcome::Skipped,
            Outcome::Rejected(reason) => return rejected(&reason),
        };
        Self { outcome: outcome.into(), reason: String::new() }
    }
}

impl From<v1::MailText> for MailText {
    fn from(mail: v1::MailText) -> Self {
        let addresses = |list: Vec<v1::Address>| list.into_iter().map(Address::from).collect();
        Self {
            from: addresses(mail.from),
            to: addresses(mail.to),
            cc: addresses(mail.cc),
            bcc: addresses(mail.bcc),
            subject: mail.subject,
            body: mail.body,
            attachments: mail.attachments,
        }
    }
}

impl From<Fragment> for v1::Fragment {
    /// A fragment is far shorter than what `u32` counts.
    fn from(fragment: Fragment) -> Self {
        let matches = fragment.matches.into_iter();
        Self {
            field: fragment.field.name().to_owned(),
            text: fragment.text,
            matches: matches.map(|m| v1::Match { start: m.start as u32, end: m.end as u32 }).collect(),
        }
    }
}

impl From<Hit> for v1::Hit {
    /// Documents that came over the wire always have a date.
    fn from(hit: Hit) -> Self {
        Self {
            message: hit.message.as_bytes().to_vec().into(),
            date_millis: hit.date.map(Timestamp::as_millis).unwrap_or_default(),
            partly_indexed: hit.partly_indexed,
        }
    }
}
