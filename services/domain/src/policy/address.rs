//! Addresses as policies compare them: in lower case, as the catalogue keeps participants, and an international domain in
//! either of its forms (RFC 5890: `bücher.example` and `xn--bcher-kva.example` are one domain).

use std::{borrow::Borrow, collections::BTreeSet, fmt, str::FromStr};

use crate::ParseError;

/// Longest address that a policy names, in bytes (RFC 5321 section 4.5.3.1.3, without the brackets).
pub const MAILBOX_BYTES_MAX: usize = 254;
/// Longest domain that a policy or a tenant names, in bytes (RFC 1035 section 2.3.4).
pub const MAIL_DOMAIN_BYTES_MAX: usize = 253;

/// Longest label of a domain, in bytes (RFC 1035 section 2.3.4).
const LABEL_BYTES_MAX: usize = 63;

macro_rules! text {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

text!(
    /// An address that a policy names, in lower case.
    Mailbox
);
text!(
    /// A mail domain in lower case, in its ASCII form. Its subdomains are other domains.
    MailDomain
);

/// Personal data is not shown.
impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mailbox(..)")
    }
}

impl fmt::Debug for MailDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The error does not repeat the address.
impl FromStr for Mailbox {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let plain = |c: char| !c.is_whitespace() && !c.is_control();
        // Lower case may be longer.
        let text = text.to_lowercase();
        let fits = text.len() <= MAILBOX_BYTES_MAX && text.chars().all(plain);
        match text.rsplit_once('@') {
            Some((local, domain)) if fits && !local.is_empty() && !domain.is_empty() => Ok(Self(text)),
            _ => Err(ParseError::new("mailbox", "", "an address like jane@example.org")),
        }
    }
}

impl FromStr for MailDomain {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        let is_label = |label: &str| {
            (1..=LABEL_BYTES_MAX).contains(&label.len())
                && label.bytes().all(plain)
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if text.len() <= MAIL_DOMAIN_BYTES_MAX && text.split('.').all(is_label) {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(ParseError::new("mail domain", text, "a domain name like example.org, in ASCII"))
        }
    }
}

/// Whether an address in lower case is of one of these domains.
pub(super) fn is_of(address: &str, domains: &BTreeSet<MailDomain>) -> bool {
    let Some((_, domain)) = address.rsplit_once('@') else { return false };
    match in_ascii(domain) {
        Some(ascii) => domains.contains(ascii.as_str()),
        None => domains.contains(domain),
    }
}

/// The ASCII form of a domain that is in another one.
fn in_ascii(domain: &str) -> Option<String> {
    if domain.is_ascii() { None } else { idna::domain_to_ascii(domain).ok() }
}

/// The Unicode form of a domain that is in its ASCII form.
fn in_unicode(domain: &str) -> Option<String> {
    if !domain.is_ascii() || !domain.contains("xn--") {
        return None;
    }
    let (unicode, valid) = idna::domain_to_unicode(domain);
    valid.ok().map(|()| unicode)
}

/// Who a mail is from and to, by its envelope and its header.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Correspondents {
    /// The forms of one address, or none.
    envelope_sender: BTreeSet<String>,
    /// Of the header's From.
    authors: BTreeSet<String>,
    recipients: BTreeSet<String>,
}

/// Shows no address.
impl fmt::Debug for Correspondents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Correspondents({} and {})", self.authors.len(), self.recipients.len())
    }
}

impl Correspondents {
    /// An empty `from` is the null sender, or none is known.
    pub fn of_envelope<'a>(from: &str, to: impl IntoIterator<Item = &'a str>) -> Self {
        let recipients = to.into_iter().flat_map(forms).collect();
        Self { envelope_sender: forms(from).collect(), authors: BTreeSet::new(), recipients }
    }

    /// One address of the header's From.
    pub fn add_author(&mut self, address: &str) {
        self.authors.extend(forms(address));
    }

    /// One address of the header's To, Cc or Bcc.
    pub fn add_recipient(&mut self, address: &str) {
        self.recipients.extend(forms(address));
    }

    /// Who sent it: the envelope's word counts. Without one (a bounce, an import) it is the header's; without any, nobody,
    /// who is external.
    pub(super) fn senders(&self) -> impl Iterator<Item = &str> {
        let senders = if self.envelope_sender.is_empty() { &self.authors } else { &self.envelope_sender };
        senders.iter().map(String::as_str)
    }

    pub(super) fn recipients(&self) -> impl Iterator<Item = &str> {
        self.recipients.iter().map(String::as_str)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &str> {
        let senders = self.envelope_sender.iter().chain(&self.authors);
        senders.chain(&self.recipients).map(String::as_str)
    }
}

/// An address in lower case, and with the other form of its domain where that has one: a policy may name either.
fn forms(address: &str) -> impl Iterator<Item = String> + use<> {
    let address = address.trim().to_lowercase();
    let other = address.rsplit_once('@').and_then(|(local, domain)| {
        let domain = in_ascii(domain).or_else(|| in_unicode(domain))?;
        Some(format!("{local}@{domain}"))
    });
    std::iter::once(address).filter(|address| !address.is_empty()).chain(other)
}
