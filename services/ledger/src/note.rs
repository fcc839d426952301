//! C2SP signed notes with Ed25519 signatures, and verifier keys ("vkeys").

mod key;

#[cfg(test)]
mod tests;

use std::fmt;

pub use key::{KeyError, Signer, Verifier, VerifyError};
pub(crate) use key::{VerifierKey, parse_vkey};

use crate::base64_text;

/// Longest signed note that is read, in bytes.
pub const NOTE_BYTES_MAX: usize = 256 * 1024;
/// Most signature lines that are read.
pub const NOTE_SIGNATURES_MAX: usize = 64;

/// Text that is no signed note.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    #[error("the signed note is longer than {NOTE_BYTES_MAX} bytes")]
    TooLong,
    #[error("the signed note holds a control character other than newline")]
    ControlCharacter,
    #[error("the signed note has no blank line between its text and its signatures")]
    NoSignatures,
    #[error("the signed note has more than {NOTE_SIGNATURES_MAX} signatures")]
    TooManySignatures,
    #[error("signature line {0} of the note does not have the form: em dash, key name, base64")]
    SignatureLine(usize),
}

/// One signature line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    pub name: String,
    pub key_id: u32,
    /// What follows the key id; 64 bytes for Ed25519.
    pub signature: Vec<u8>,
}

/// A parsed signed note. Trust nothing in it before a [`Verifier`] has accepted it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

impl Note {
    /// A note of `text` (which ends in a newline) and its signatures.
    pub fn new(text: String, signatures: Vec<NoteSignature>) -> Result<Self, NoteError> {
        // Read back what is written, so that no note is made that nobody can read.
        Self::parse(&Self { text, signatures }.to_string())
    }

    pub fn parse(note: &str) -> Result<Self, NoteError> {
        if note.len() > NOTE_BYTES_MAX {
            return Err(NoteError::TooLong);
        }
        if note.bytes().any(|byte| byte < b' ' && byte != b'\n') {
            return Err(NoteError::ControlCharacter);
        }
        // The signatures stand after the last empty line.
        let blank = note.rfind("\n\n").ok_or(NoteError::NoSignatures)?;
        let (text, block) = (&note[..=blank], &note[blank + 2..]);
        let lines = block.strip_suffix('\n').ok_or(NoteError::NoSignatures)?;
        let mut signatures = Vec::new();
        for (position, line) in lines.split('\n').enumerate() {
            if position == NOTE_SIGNATURES_MAX {
                return Err(NoteError::TooManySignatures);
            }
            signatures.push(parse_signature(line).ok_or(NoteError::SignatureLine(position + 1))?);
        }
        Ok(Self { text: text.to_owned(), signatures })
    }

    /// What is signed, with its final newline.
    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Signatures made with this key name and id: usually none or one.
    pub(crate) fn signatures_by(&self, name: &str, key_id: u32) -> impl Iterator<Item = &[u8]> {
        self.signatures
            .iter()
            .filter(move |line| line.name == name && line.key_id == key_id)
            .map(|line| line.signature.as_slice())
    }
}

/// The whole note: text, blank line, signature lines.
impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        for line in &self.signatures {
            let bytes = [&line.key_id.to_be_bytes()[..], &line.signature].concat();
            writeln!(f, "\u{2014} {} {}", line.name, base64_text::encode(&bytes))?;
        }
        Ok(())
    }
}

fn parse_signature(line: &str) -> Option<NoteSignature> {
    let (name, encoded) = line.strip_prefix("\u{2014} ")?.split_once(' ')?;
    let bytes = base64_text::decode(encoded)?;
    let (key_id, signature) = bytes.split_first_chunk::<4>()?;
    if !is_key_name(name) || signature.is_empty() {
        return None;
    }
    Some(NoteSignature {
        name: name.to_owned(),
        key_id: u32::from_be_bytes(*key_id),
        signature: signature.to_vec(),
    })
}

/// Not empty, no Unicode spaces, no plus, no control characters.
pub(crate) fn is_key_name(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(|c| c.is_whitespace() || c == '+' || c.is_ascii_control())
}
