//! C2SP tlog-checkpoint: the note text in which a log commits to its size and root.

use std::{fmt, str::FromStr};

use crate::{
    base64_text,
    note::{Note, NoteError, Signer},
    tree::Hash,
};

/// Text that is no checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    #[error("the checkpoint is not a signed note: {0}")]
    Note(#[from] NoteError),
    #[error("the checkpoint's origin line is missing or empty")]
    Origin,
    #[error("the checkpoint's size line is not a decimal number without leading zeroes")]
    Size,
    #[error("the checkpoint's root line is not the base64 of 32 bytes")]
    Root,
    #[error("the checkpoint has extension lines; this archive's logs never write any")]
    Extension,
}

/// A log's statement: my first `size` leaves have this root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    pub origin: String,
    pub size: u64,
    pub root: Hash,
}

impl Checkpoint {
    /// Reads the text of a note. Extension lines are refused: evidence needs none, and nobody audits them.
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let mut lines = text.split_terminator('\n');
        let origin = lines.next().filter(|line| !line.is_empty()).ok_or(CheckpointError::Origin)?;
        let size = lines.next().and_then(parse_decimal).ok_or(CheckpointError::Size)?;
        let root = lines.next().and_then(base64_text::decode_32).ok_or(CheckpointError::Root)?;
        if !text.ends_with('\n') {
            return Err(CheckpointError::Root);
        }
        if lines.next().is_some() {
            return Err(CheckpointError::Extension);
        }
        Ok(Self { origin: origin.to_owned(), size, root: Hash::from_bytes(root) })
    }

    /// Reads a signed checkpoint without judging its signatures.
    pub fn parse_signed(note: &str) -> Result<(Self, Note), CheckpointError> {
        let note = Note::parse(note)?;
        Ok((Self::parse(note.text())?, note))
    }

    /// Signs it. The note's text is what `Display` writes.
    pub fn sign(&self, signer: &Signer) -> Result<Note, CheckpointError> {
        let text = self.to_string();
        // An origin with a newline or the like would make another checkpoint than this one.
        if Self::parse(&text)? != *self {
            return Err(CheckpointError::Origin);
        }
        Ok(signer.sign(&text)?)
    }
}

/// The note text, with its final newline.
impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.size, base64_text::encode(self.root.as_bytes()))
    }
}

impl FromStr for Checkpoint {
    type Err = CheckpointError;

    fn from_str(text: &str) -> Result<Self, CheckpointError> {
        Self::parse(text)
    }
}

/// A decimal number as the C2SP formats write it: ASCII digits, no sign, no leading zeroes.
pub(crate) fn parse_decimal(text: &str) -> Option<u64> {
    let canonical = text == "0" || (!text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit()));
    if canonical { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification.
    const EXAMPLE: &str =
        "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";

    #[test]
    fn the_specifications_example_reads_and_writes_back() {
        let checkpoint = Checkpoint::parse(EXAMPLE).unwrap();
        assert_eq!(
            (checkpoint.origin.as_str(), checkpoint.size),
            ("example.com/behind-the-sofa", 20_852_163)
        );
        assert_eq!(checkpoint.to_string(), EXAMPLE);
    }

    #[test]
    fn what_is_not_exactly_a_checkpoint_is_refused() {
        let check = |text: &str, error| assert_eq!(Checkpoint::parse(text), Err(error), "{text:?}");
        check("", CheckpointError::Origin);
        check(&EXAMPLE.replace("example.com/behind-the-sofa", ""), CheckpointError::Origin);
        for size in ["020852163", "+20852163", "-1", "2e7", "", "18446744073709551616", "20852163 "] {
            check(&EXAMPLE.replace("20852163", size), CheckpointError::Size);
        }
        check(&EXAMPLE.replace("q2I=", "q2J="), CheckpointError::Root);
        check(&EXAMPLE.replace("Cs", ""), CheckpointError::Root);
        check(EXAMPLE.trim_end(), CheckpointError::Root);
        check(&format!("{EXAMPLE}extension\n"), CheckpointError::Extension);
    }

    #[test]
    fn a_checkpoint_is_never_signed_under_an_origin_that_would_read_differently() {
        let signer = Signer::new("log", &[7; 32]).unwrap();
        for origin in ["", "a\n9"] {
            let checkpoint = Checkpoint { origin: origin.to_owned(), size: 1, root: Hash::of(b"") };
            assert!(checkpoint.sign(&signer).is_err(), "{origin:?}");
        }
    }
}
