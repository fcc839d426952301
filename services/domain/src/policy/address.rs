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

/// Whether one of these is among those. Looks up the fewer in the more.
pub(super) fn meet<T: Borrow<str> + Ord>(named: &BTreeSet<T>, present: &BTreeSet<String>) -> bool {
    if named.len() < present.len() {
        named.iter().any(|name| present.contains::<str>(name.borrow()))
    } else {
        present.iter().any(|name| named.contains(name.as_str()))
    }
}

/// The ASCII form of a domain that is in another one. What has more characters than a domain has bytes is none: its ASCII
/// form is not shorter.
fn in_ascii(domain: &str) -> Option<String> {
    if domain.is_ascii() || domain.chars().count() > MAIL_DOMAIN_BYTES_MAX {
        return None;
    }
    count_conversion();
    idna::domain_to_ascii(domain).ok()
}

/// The Unicode form of a domain that is in its ASCII form.
fn in_unicode(domain: &str) -> Option<String> {
    if !domain.is_ascii() || !domain.contains("xn--") || domain.len() > MAIL_DOMAIN_BYTES_MAX {
        return None;
    }
    count_conversion();
    let (unicode, valid) = idna::domain_to_unicode(domain);
    valid.ok().map(|()| unicode)
}

#[cfg(test)]
thread_local! {
    /// Conversions of this thread: each costs as much as many lookups.
    pub(super) static CONVERSIONS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

#[cfg(test)]
fn count_conversion() {
    CONVERSIONS.set(CONVERSIONS.get() + 1);
}

#[cfg(not(test))]
const fn count_conversion() {}

/// Addresses as policies ask for them. A domain is converted when its address is added, and never for a policy.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Addresses {
    /// In lower case; each in both forms of its domain where there are two: a policy may name either.
    addresses: BTreeSet<String>,
    /// Of each address, in lower case and in ASCII; empty for an address without one.
    domains: BTreeSet<String>,
}

impl Addresses {
    fn add(&mut self, address: &str) {
        let address = address.trim().to_lowercase();
        if address.is_empty() {
            return;
        }
        let (local, domain) = address.rsplit_once('@').unwrap_or((&address, ""));
        let ascii = in_ascii(domain);
        let other = ascii.clone().or_else(|| in_unicode(domain));
        self.addresses.extend(other.map(|domain| format!("{local}@{domain}")));
        self.domains.insert(ascii.unwrap_or_else(|| domain.to_owned()));
        self.addresses.insert(address);
    }

    pub(super) fn are_of(&self, domains: &BTreeSet<MailDomain>) -> bool {
        meet(domains, &self.domains)
    }

    /// Whether one of them is of none of these.
    pub(super) fn are_outside(&self, domains: &BTreeSet<MailDomain>) -> bool {
        self.domains.iter().any(|domain| !domains.contains(domain.as_str()))
    }

    pub(super) fn name(&self, mailboxes: &BTreeSet<Mailbox>) -> bool {
        meet(mailboxes, &self.addresses)
    }
}

/// Who a mail is from and to, by its envelope and its header.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Correspondents {
    /// One address, or none.
    envelope_sender: Addresses,
    /// Of the header's From.
    authors: Addresses,
    recipients: Addresses,
}

/// Shows no address.
impl fmt::Debug for Correspondents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (authors, recipients) = (self.authors.addresses.len(), self.recipients.addresses.len());
        write!(f, "Correspondents({authors} and {recipients})")
    }
}

impl Correspondents {
    /// An empty `from` is the null sender, or none is known.
    pub fn of_envelope<'a>(from: &str, to: impl IntoIterator<Item = &'a str>) -> Self {
        let mut mail = Self::default();
        mail.envelope_sender.add(from);
        for address in to {
            mail.recipients.add(address);
        }
        mail
    }

    /// One address of the header's From.
    pub fn add_author(&mut self, address: &str) {
        self.authors.add(address);
    }

    /// One address of the header's To, Cc or Bcc.
    pub fn add_recipient(&mut self, address: &str) {
        self.recipients.add(address);
    }

    /// Who sent it: the envelope's word counts. Without one (a bounce, an import) it is the header's; without any, nobody,
    /// who is external.
    pub(super) fn senders(&self) -> &Addresses {
        if self.envelope_sender.addresses.is_empty() { &self.authors } else { &self.envelope_sender }
    }

    pub(super) const fn recipients(&self) -> &Addresses {
        &self.recipients
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Addresses> {
        [&self.envelope_sender, &self.authors, &self.recipients].into_iter()
    }
}
