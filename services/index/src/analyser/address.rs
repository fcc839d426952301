//! How addresses and message identifiers become searchable.

use super::{Token, analyse, fold};
use crate::Address;

/// Longest normalised address, in bytes; RFC 5321 section 4.5.3.1 allows 64 + 1 + 255. What is longer is cut.
pub const ADDRESS_BYTES_MAX: usize = 512;

/// Longest normalised message identifier, in bytes: a line of RFC 5322. What is longer is cut.
pub const MESSAGE_ID_BYTES_MAX: usize = 998;

/// What one address is found by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AddressTokens {
    /// The words of the display name.
    pub name: Vec<Token>,
    /// The words of the part before the `@`; of the whole if there is none.
    pub local: Vec<Token>,
    /// The whole address, normalised: `alice@example.org`. Words never contain an `@`, so the two do not mix.
    pub whole: Option<String>,
    /// `@` and the domain, normalised: `@example.org`.
    pub domain: Option<String>,
}

impl AddressTokens {
    pub fn of(address: &Address) -> Self {
        let name = analyse(&address.name);
        let written = without_brackets(&address.address);
        let local = analyse(written.rfind('@').map_or(written, |at| &written[..at]));
        let normalised = normalise_address(written);
        match normalised.rfind('@') {
            Some(at) => {
                Self { name, local, domain: Some(normalised[at..].to_owned()), whole: Some(normalised) }
            }
            None => Self { name, local, whole: None, domain: None },
        }
    }
}

/// An address as it is compared: without angle brackets, folded like words (case, diacritics), punctuation kept.
pub fn normalise_address(text: &str) -> String {
    without_brackets(&fold::verbatim(without_brackets(text), ADDRESS_BYTES_MAX)).to_owned()
}

/// A message identifier as it is compared: without angle brackets, in lower case.
pub fn normalise_message_id(text: &str) -> String {
    let lower = fold::clip(without_brackets(text), MESSAGE_ID_BYTES_MAX).to_lowercase();
    fold::clip(&lower, MESSAGE_ID_BYTES_MAX).to_owned()
}

fn without_brackets(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || matches!(c, '<' | '>'))
}
