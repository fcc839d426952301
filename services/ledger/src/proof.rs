//! C2SP tlog-proof@v1: an inclusion proof and its checkpoint in one text that can be checked offline.

use std::fmt;

use crate::{
    base64_text,
    checkpoint::parse_decimal,
    tree::{Hash, PROOF_HASHES_MAX},
};

const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// Longest proof text that is read, in bytes: room for an envelope of some ten thousand recipients.
pub const PROOF_TEXT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Text that is no tlog-proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofTextError {
    #[error("the proof is longer than {PROOF_TEXT_BYTES_MAX} bytes")]
    TooLong,
    #[error("the proof does not begin with the line {HEADER}")]
    Header,
    #[error("the proof's extra line is not base64")]
    Extra,
    #[error("the proof's index line is missing or not a decimal number")]
    Index,
    #[error("line {0} of the inclusion proof is not the base64 of 32 bytes")]
    Hash(usize),
    #[error("the inclusion proof has more than {PROOF_HASHES_MAX} hashes")]
    TooManyHashes,
    #[error("the proof holds no checkpoint")]
    NoCheckpoint,
}

/// The parts of a proof text. Nothing in it is checked by having been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlogProof {
    /// Opaque, not authenticated; the line is left out if this is empty.
    pub extra: Vec<u8>,
    pub index: u64,
    /// Leaf's sibling first.
    pub hashes: Vec<Hash>,
    /// The signed checkpoint, verbatim.
    pub checkpoint_note: String,
}

impl TlogProof {
    pub fn parse(text: &str) -> Result<Self, ProofTextError> {
        if text.len() > PROOF_TEXT_BYTES_MAX {
            return Err(ProofTextError::TooLong);
        }
        let rest = text
            .strip_prefix(HEADER)
            .and_then(|rest| rest.strip_prefix('\n'))
            .ok_or(ProofTextError::Header)?;
        let (extra, rest) = match rest.strip_prefix("extra ") {
            Some(after) => {
                let (encoded, rest) = after.split_once('\n').ok_or(ProofTextError::Extra)?;
                let extra = base64_text::decode(encoded).filter(|extra| !extra.is_empty());
                (extra.ok_or(ProofTextError::Extra)?, rest)
            }
            None => (Vec::new(), rest),
        };
        let (index, mut rest) = rest
            .strip_prefix("index ")
            .and_then(|rest| rest.split_once('\n'))
            .ok_or(ProofTextError::Index)?;
        let index = parse_decimal(index).ok_or(ProofTextError::Index)?;
        let mut hashes = Vec::new();
        let checkpoint_note = loop {
            let (line, after) = rest.split_once('\n').ok_or(ProofTextError::NoCheckpoint)?;
            if line.is_empty() {
                break after;
            }
            if hashes.len() == PROOF_HASHES_MAX {
                return Err(ProofTextError::TooManyHashes);
            }
            let hash = base64_text::decode_32(line).ok_or(ProofTextError::Hash(hashes.len() + 1))?;
            hashes.push(Hash::from_bytes(hash));
            rest = after;
        };
        if checkpoint_note.is_empty() {
            return Err(ProofTextError::NoCheckpoint);
        }
        Ok(Self { extra, index, hashes, checkpoint_note: checkpoint_note.to_owned() })
    }
}

/// The proof text.
impl fmt::Display for TlogProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}")?;
        if !self.extra.is_empty() {
            writeln!(f, "extra {}", base64_text::encode(&self.extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        for hash in &self.hashes {
            writeln!(f, "{}", base64_text::encode(hash.as_bytes()))?;
        }
        write!(f, "\n{}", self.checkpoint_note)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The specification's example without its shortened signatures.
    const EXAMPLE: &str = "c2sp.org/tlog-proof@v1
extra YWdlLXYxLjIuMS1kYXJ3aW4tYXJtNjQudGFyLmd6
index 73894
gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=
B95lDa8R83lS8n0eG+o0buTxRKQTYFi//1U8anccXmA=

example.com/fancylog
109482
sFodV/vSp5O8n9a8QpW6PRY97tfOSW5bsc2Xl/EQi08=

— example.com/fancylog hI2DJw==
";

    #[test]
    fn the_specifications_example_reads_and_writes_back() {
        let proof = TlogProof::parse(EXAMPLE).unwrap();
        assert_eq!(proof.extra, b"age-v1.2.1-darwin-arm64.tar.gz");
        assert_eq!((proof.index, proof.hashes.len()), (73_894, 2));
        assert!(proof.checkpoint_note.starts_with("example.com/fancylog\n109482\n"));
        assert_eq!(proof.to_string(), EXAMPLE);
    }

    #[test]
    fn text_that_is_not_exactly_a_proof_is_refused() {
        let check = |text: &str, error| assert_eq!(TlogProof::parse(text), Err(error), "{text:?}");
        check("", ProofTextError::Header);
        check(&EXAMPLE.replace("@v1", "@v2"), ProofTextError::Header);
        check(&EXAMPLE.replace('\n', "\r\n"), ProofTextError::Header);
        check(&EXAMPLE.replace("extra YWdl", "extra YWd"), ProofTextError::Extra);
        check("c2sp.org/tlog-proof@v1\nextra \nindex 0\n\nx", ProofTextError::Extra);
        check(&EXAMPLE.replace("index 73894", "index 073894"), ProofTextError::Index);
        check(&EXAMPLE.replace("index", "Index"), ProofTextError::Index);
        check(&EXAMPLE.replace("B95l", "B95"), ProofTextError::Hash(2));
        check("c2sp.org/tlog-proof@v1\nindex 0\n", ProofTextError::NoCheckpoint);
        check("c2sp.org/tlog-proof@v1\nindex 0\n\n", ProofTextError::NoCheckpoint);
    }

    #[test]
    fn the_limits_of_a_proof_hold_on_both_sides() {
        let hash = format!("{}\n", base64_text::encode(&[0; 32]));
        let text = |hashes: usize| format!("{HEADER}\nindex 0\n{}\nnote\n", hash.repeat(hashes));
        assert!(TlogProof::parse(&text(PROOF_HASHES_MAX)).is_ok());
        assert_eq!(TlogProof::parse(&text(PROOF_HASHES_MAX + 1)), Err(ProofTextError::TooManyHashes));
        let mut long = text(0);
        long.push_str(&"x".repeat(PROOF_TEXT_BYTES_MAX - long.len()));
        assert!(TlogProof::parse(&long).is_ok());
        long.push('x');
        assert_eq!(TlogProof::parse(&long), Err(ProofTextError::TooLong));
    }

    proptest! {
        #[test]
        fn any_proof_reads_back_as_it_is_written(
            extra: Vec<u8>, index: u64,
            hashes in proptest::collection::vec(any::<[u8; 32]>().prop_map(Hash::from_bytes), 0..8),
            checkpoint_note in "[ -~\n]{1,80}",
        ) {
            let proof = TlogProof { extra, index, hashes, checkpoint_note };
            prop_assert_eq!(TlogProof::parse(&proof.to_string()), Ok(proof));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "(c2sp.org/tlog-proof@v1\n)?(extra |index |[A-Za-z0-9=+/ ]|\n){0,40}") {
            let _ = TlogProof::parse(&text);
        }
    }
}
