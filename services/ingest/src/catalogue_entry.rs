//! What the catalogue keeps of a message's headers, for display and for finding who took part.
//!
//! Everything here is derived: a rebuild makes it again from skeleton and envelope. It is bounded, so that no
//! message makes a row that the database cannot index or a list that no call can carry; the complete header stands
//! in the message itself.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use openarchive_domain::Timestamp;
use openarchive_ledger::leaf::Envelope;
use openarchive_mail::{
    Address, Segment, Skeleton,
    text::{HeaderAddresses, INDEXED_HEADER_BYTES_MAX, extract_with_elisions},
};
use openarchive_proto::ingest::v1 as proto;
use tracing::error;

use crate::{
    blob_store::BlobError,
    message_reader::{MessageSource, ReadError},
};

/// Longest subject, in bytes.
pub(crate) const SUBJECT_BYTES_MAX: usize = 2 * 1024;
/// Longest sender line, and longest Message-ID, in bytes.
pub(crate) const LINE_BYTES_MAX: usize = 1024;
/// Most bytes of To, of Cc, and of attachment names; a list is cut at its last whole item within that.
pub(crate) const LIST_BYTES_MAX: usize = 8 * 1024;
/// Longest address that takes part, in bytes: what fits an index of the database. Longer ones are cut.
pub(crate) const PARTICIPANT_BYTES_MAX: usize = 512;

/// How somebody took part in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    EnvelopeFrom,
    EnvelopeTo,
    From,
    To,
    Cc,
    Bcc,
}

impl Role {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::EnvelopeFrom => "envelope-from",
            Self::EnvelopeTo => "envelope-to",
            Self::From => "from",
            Self::To => "to",
            Self::Cc => "cc",
            Self::Bcc => "bcc",
        }
    }

    pub(crate) fn of_text(text: &str) -> Option<Self> {
        [Self::EnvelopeFrom, Self::EnvelopeTo, Self::From, Self::To, Self::Cc, Self::Bcc]
            .into_iter()
            .find(|role| role.as_str() == text)
    }
}

/// Each role and address once. Addresses in lower case.
pub(crate) type Participants = BTreeSet<(Role, String)>;

/// The header of one message, as the catalogue shows it.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct CatalogueEntry {
    pub(crate) subject: String,
    pub(crate) from: String,
    pub(crate) to: Vec<String>,
    pub(crate) cc: Vec<String>,
    pub(crate) date: Option<Timestamp>,
    pub(crate) message_id: String,
    pub(crate) attachments: Vec<String>,
    pub(crate) participants: Participants,
}

/// Shows no content.
impl std::fmt::Debug for CatalogueEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CatalogueEntry({} participants)", self.participants.len())
    }
}

impl CatalogueEntry {
    /// Reads what the entry needs of a stored message: hardly ever more than its skeleton.
    pub(crate) async fn read(source: &MessageSource, skeleton: &Skeleton) -> Result<Self, ReadError> {
        let text = beginning(source, skeleton).await?;
        let entry = tokio::task::spawn_blocking(move || Self::of(&text)).await;
        // A mail is archived even if its headers crash their reader; `rebuild` makes the entry again.
        Ok(entry.unwrap_or_else(|error| {
            error!(%error, skeleton = %skeleton.digest(), "headers cannot be read, the catalogue entry stays empty");
            Self::default()
        }))
    }

    /// `text`: the message without its parts.
    fn of(text: &[u8]) -> Self {
        let found = extract_with_elisions(text, false);
        let mut participants = Participants::new();
        for (role, addresses) in
            [(Role::From, &found.from), (Role::To, &found.to), (Role::Cc, &found.cc), (Role::Bcc, &found.bcc)]
        {
            let addresses = addresses.iter().filter_map(|address| participant(&address.address));
            participants.extend(addresses.map(|address| (role, address)));
        }
        let lines = |addresses: &[Address]| list(addresses.iter().map(line));
        Self {
            subject: bounded(&found.subject, SUBJECT_BYTES_MAX),
            from: bounded(&lines(&found.from).join(", "), LINE_BYTES_MAX),
            to: lines(&found.to),
            cc: lines(&found.cc),
            date: found.date,
            message_id: bounded(found.message_id.as_deref().unwrap_or_default(), LINE_BYTES_MAX),
            attachments: list(found.attachments.into_iter()),
            participants,
        }
    }
}

/// Who took part by the envelope of one observation.
pub(crate) fn envelope_participants(envelope: &Envelope) -> Participants {
    let from = participant(&envelope.from).map(|address| (Role::EnvelopeFrom, address));
    let to = envelope.to.iter().filter_map(|to| participant(to)).map(|address| (Role::EnvelopeTo, address));
    from.into_iter().chain(to).collect()
}

/// Who the header names, as an agent says. Nobody where it says more than a hint may hold: it is only a hint, and no
/// reason to refuse a mail.
pub(crate) fn hinted_participants(hint: proto::HeaderAddresses) -> Participants {
    let hint = HeaderAddresses { from: hint.from, to: hint.to };
    if !hint.fits() {
        return Participants::new();
    }
    let of = |role, addresses: &[String]| {
        let addresses = addresses.iter().filter_map(|address| participant(address));
        addresses.map(|address| (role, address)).collect::<Participants>()
    };
    let mut named = of(Role::From, &hint.from);
    // The rule does not tell To, Cc and Bcc apart.
    named.extend(of(Role::To, &hint.to));
    named
}

/// The verbatim bytes, and where the message does not begin with any (it was kept whole, or its header is huge) as
/// much of its first part as a header may fill.
async fn beginning(source: &MessageSource, skeleton: &Skeleton) -> Result<Vec<u8>, BlobError> {
    let mut text = Vec::new();
    if let Some(Segment::Part(first)) = skeleton.segments().first() {
        let mut content = source.part(first.digest).await?;
        while text.len() <= INDEXED_HEADER_BYTES_MAX
            && let Some(piece) = content.next().await?
        {
            text.extend_from_slice(&piece);
        }
    }
    for segment in skeleton.segments() {
        if let Segment::Verbatim(bytes) = segment {
            text.extend_from_slice(bytes);
        }
    }
    Ok(text)
}

fn participant(address: &str) -> Option<String> {
    let address = bounded(&address.trim().to_lowercase(), PARTICIPANT_BYTES_MAX);
    (!address.is_empty()).then_some(address)
}

fn line(address: &Address) -> String {
    match (address.name.is_empty(), address.address.is_empty()) {
        (true, _) => address.address.clone(),
        (false, true) => address.name.clone(),
        (false, false) => format!("{} <{}>", address.name, address.address),
    }
}

fn list(items: impl Iterator<Item = String>) -> Vec<String> {
    let mut left = LIST_BYTES_MAX;
    items
        .map(|item| bounded(&item, LINE_BYTES_MAX))
        .take_while(|item| {
            let fits = item.len() <= left;
            left = left.saturating_sub(item.len());
            fits
        })
        .collect()
}

/// PostgreSQL's text holds any character but NUL.
fn bounded(text: &str, bytes_max: usize) -> String {
    text[..text.floor_char_boundary(bytes_max)].replace('\0', " ")
}
