use openarchive_domain::{Digest, Tenant, Timestamp};

/// Most body text that is indexed, in bytes; what is longer is cut and the mail flagged as partly indexed.
pub const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Most of a subject that is indexed, in bytes; cut and flagged beyond.
pub const SUBJECT_BYTES_MAX: usize = 64 * 1024;

/// Most attachment names that are indexed; cut and flagged beyond.
pub const ATTACHMENT_NAMES_MAX: usize = 10_000;

/// Most of an attachment name that is indexed, in bytes; cut and flagged beyond.
pub const ATTACHMENT_NAME_BYTES_MAX: usize = 4 * 1024;

/// Most addresses of one field that are indexed; cut and flagged beyond.
pub const ADDRESSES_MAX: usize = 10_000;

/// Most of a display name or address that is looked at, in bytes; cut and flagged beyond.
pub const NAME_BYTES_MAX: usize = 4 * 1024;

/// Most agents of one mail that are indexed; cut and flagged beyond.
pub const AGENTS_MAX: usize = 1000;

/// Most text that a document may bring along, in bytes. Beyond it is rejected: its maker has lost its own bounds.
pub const DOCUMENT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A correspondent: display name (may be empty) and address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Address {
    pub name: String,
    pub address: String,
}

impl Address {
    pub fn new(name: impl Into<String>, address: impl Into<String>) -> Self {
        Self { name: name.into(), address: address.into() }
    }
}

/// What is to be known about one mail in order to find it. Its identity is (tenant, message).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    pub tenant: Tenant,
    /// SHA-256 of the exact message bytes.
    pub message: Digest,
    pub from: Vec<Address>,
    pub to: Vec<Address>,
    pub cc: Vec<Address>,
    pub bcc: Vec<Address>,
    /// Who took part without standing in a header: envelope sender and recipients. `participant:` finds these and
    /// those of the four headers.
    pub participants: Vec<Address>,
    pub subject: String,
    pub body: String,
    /// File names.
    pub attachments: Vec<String>,
    pub message_id: Option<String>,
    pub date: Option<Timestamp>,
    pub has_attachment: bool,
    /// Not all of the mail's text is here.
    pub partly_indexed: bool,
    /// Of the exact message bytes.
    pub length: u64,
    /// Agents that saw the mail.
    pub agents: Vec<String>,
    /// How many times the mail has been seen so far. A document that knows of more takes the place of one that knows
    /// of fewer: agents and blind copies come with each time.
    pub observations: u64,
}

/// A document beyond [`DOCUMENT_BYTES_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the document holds {bytes} bytes of text, the limit is {DOCUMENT_BYTES_MAX}: extract less text from it"
)]
pub struct TooLarge {
    pub bytes: usize,
}

impl Document {
    /// An empty document of that identity, to be filled.
    pub fn new(tenant: Tenant, message: Digest) -> Self {
        Self {
            tenant,
            message,
            from: Vec::new(),
            to: Vec::new(),
            cc: Vec::new(),
            bcc: Vec::new(),
            participants: Vec::new(),
            subject: String::new(),
            body: String::new(),
            attachments: Vec::new(),
            message_id: None,
            date: None,
            has_attachment: false,
            partly_indexed: false,
            length: 0,
            agents: Vec::new(),
            observations: 0,
        }
    }

    /// Cuts everything to its limit and flags the document if something was cut.
    pub fn cut_to_limits(&mut self) -> Result<(), TooLarge> {
        let bytes = self.text_bytes();
        if bytes > DOCUMENT_BYTES_MAX {
            return Err(TooLarge { bytes });
        }
        let mut cut = cut_text(&mut self.body, BODY_BYTES_MAX);
        cut |= cut_text(&mut self.subject, SUBJECT_BYTES_MAX);
        cut |= cut_list(&mut self.attachments, ATTACHMENT_NAMES_MAX);
        cut |= cut_list(&mut self.agents, AGENTS_MAX);
        for name in &mut self.agents {
            cut |= cut_text(name, openarchive_domain::NAME_BYTES_MAX);
        }
        for name in &mut self.attachments {
            cut |= cut_text(name, ATTACHMENT_NAME_BYTES_MAX);
        }
        for list in [&mut self.from, &mut self.to, &mut self.cc, &mut self.bcc, &mut self.participants] {
            cut |= cut_list(list, ADDRESSES_MAX);
            for Address { name, address } in list {
                cut |= cut_text(name, NAME_BYTES_MAX) | cut_text(address, NAME_BYTES_MAX);
            }
        }
        self.partly_indexed |= cut;
        Ok(())
    }

    /// Everyone who took part: the four headers, then the others.
    pub fn all_participants(&self) -> impl Iterator<Item = &Address> {
        [&self.from, &self.to, &self.cc, &self.bcc, &self.participants].into_iter().flatten()
    }

    fn text_bytes(&self) -> usize {
        let addresses: usize = self.all_participants().map(|who| who.name.len() + who.address.len()).sum();
        let names: usize = self.attachments.iter().chain(&self.agents).map(String::len).sum();
        let id = self.message_id.as_ref().map_or(0, String::len);
        addresses + names + id + self.subject.len() + self.body.len()
    }
}

fn cut_text(text: &mut String, bytes: usize) -> bool {
    let cut = text.len() > bytes;
    text.truncate(text.floor_char_boundary(bytes));
    cut
}

fn cut_list<T>(list: &mut Vec<T>, length: usize) -> bool {
    let cut = list.len() > length;
    list.truncate(length);
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> Document {
        Document::new("acme".parse().unwrap(), Digest::of(b"m"))
    }

    fn check(change: impl FnOnce(&mut Document), flagged: bool) {
        let mut document = document();
        change(&mut document);
        document.cut_to_limits().unwrap();
        assert_eq!(document.partly_indexed, flagged);
        let before = document.clone();
        document.cut_to_limits().unwrap();
        assert_eq!(document, before, "cutting twice is cutting once");
    }

    #[test]
    fn what_is_beyond_a_limit_is_cut_and_flagged() {
        check(|d| d.body = "x".repeat(BODY_BYTES_MAX), false);
        check(|d| d.body = "x".repeat(BODY_BYTES_MAX + 1), true);
        check(|d| d.body = "ü".repeat(BODY_BYTES_MAX / 2) + "x", true);
        check(|d| d.subject = "x".repeat(SUBJECT_BYTES_MAX), false);
        check(|d| d.subject = "x".repeat(SUBJECT_BYTES_MAX + 1), true);
        check(|d| d.attachments = vec![String::new(); ATTACHMENT_NAMES_MAX], false);
        check(|d| d.attachments = vec![String::new(); ATTACHMENT_NAMES_MAX + 1], true);
        check(|d| d.attachments = vec!["x".repeat(ATTACHMENT_NAME_BYTES_MAX)], false);
        check(|d| d.attachments = vec!["x".repeat(ATTACHMENT_NAME_BYTES_MAX + 1)], true);
        check(|d| d.agents = vec!["a".repeat(63); AGENTS_MAX], false);
        check(|d| d.agents = vec!["a".to_owned(); AGENTS_MAX + 1], true);
        check(|d| d.agents = vec!["a".repeat(64)], true);
        check(|d| d.bcc = vec![Address::default(); ADDRESSES_MAX], false);
        check(|d| d.bcc = vec![Address::default(); ADDRESSES_MAX + 1], true);
        check(|d| d.to = vec![Address::new("x".repeat(NAME_BYTES_MAX), "")], false);
        check(|d| d.to = vec![Address::new("x".repeat(NAME_BYTES_MAX + 1), "")], true);
    }

    #[test]
    fn a_document_beyond_all_bounds_is_rejected_with_its_size() {
        let mut large = document();
        large.body = "x".repeat(DOCUMENT_BYTES_MAX - 1);
        large.subject = "y".into();
        large.cut_to_limits().unwrap();
        assert_eq!(large.body.len(), BODY_BYTES_MAX);
        large.body = "x".repeat(DOCUMENT_BYTES_MAX);
        assert_eq!(large.cut_to_limits(), Err(TooLarge { bytes: DOCUMENT_BYTES_MAX + 1 }));
    }
}
