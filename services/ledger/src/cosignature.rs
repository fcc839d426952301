//! C2SP tlog-cosignature, the Ed25519 kind: what a witness puts below a checkpoint that it has seen to grow.

use std::{fmt, str::FromStr};

use crate::note::{KeyError, Note, VerifierKey, VerifyError, parse_vkey};

/// Signature type of timestamped Ed25519 cosignatures.
const COSIGNATURE: u8 = 0x04;

/// A witness's public key, written and read as a vkey.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessKey(VerifierKey);

impl WitnessKey {
    pub fn new(name: &str, public_key: &[u8; 32]) -> Result<Self, KeyError> {
        VerifierKey::new(name, COSIGNATURE, public_key).map(Self)
    }

    pub fn name(&self) -> &str {
        &self.0.name
    }

    pub const fn key_id(&self) -> u32 {
        self.0.key_id
    }

    pub fn public_key(&self) -> &[u8; 32] {
        self.0.key.as_bytes()
    }

    /// When this witness cosigned the note: the latest time, in POSIX seconds, of its cosignatures, all of which must
    /// verify.
    pub fn verify(&self, note: &Note) -> Result<u64, VerifyError> {
        let mut latest = None;
        for signature in note.signatures_by(self.name(), self.key_id()) {
            let (time, signature) = signature.split_first_chunk::<8>().ok_or(VerifyError::BadSignature)?;
            let time = u64::from_be_bytes(*time);
            if i64::try_from(time).is_err() || !self.0.accepts(&message(time, note.text()), signature) {
                return Err(VerifyError::BadSignature);
            }
            latest = latest.max(Some(time));
        }
        latest.ok_or(VerifyError::NotSigned)
    }
}

/// What a witness signs.
pub(crate) fn message(time: u64, note_text: &str) -> Vec<u8> {
    format!("cosignature/v1\ntime {time}\n{note_text}").into_bytes()
}

impl fmt::Display for WitnessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.vkey(COSIGNATURE))
    }
}

impl FromStr for WitnessKey {
    type Err = KeyError;

    fn from_str(vkey: &str) -> Result<Self, KeyError> {
        parse_vkey(vkey, COSIGNATURE).map(Self)
    }
}
