use std::{fmt, str::FromStr};

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use openarchive_domain::Digest;

use super::{Note, NoteError, NoteSignature, is_key_name};
use crate::base64_text;

/// Signature type of plain Ed25519 note signatures.
const ED25519: u8 = 0x01;

/// Text or a name that makes no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("a key name is empty or holds a space, a plus or a control character")]
    Name,
    #[error("a verifier key does not have the form NAME+HEX KEY ID+BASE64 KEY")]
    Form,
    #[error("a verifier key's id does not match its name and key: part of it was changed")]
    KeyId,
    #[error("a verifier key is of signature type {found:#04x}; {expected:#04x} is needed here")]
    SignatureType { found: u8, expected: u8 },
    #[error("the bytes of an Ed25519 key are not those of a usable public key")]
    PublicKey,
}

/// Why a note is not accepted from a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    #[error("the note carries no signature of this key")]
    NotSigned,
    #[error("the note carries a signature in the name of this key, but it does not verify")]
    BadSignature,
}

/// An Ed25519 key in memory that signs notes under a name.
pub struct Signer {
    key: SigningKey,
    verifier: Verifier,
}

impl Signer {
    /// The key of a 32-byte secret seed (RFC 8032 section 5.1.5), which must come from a random source.
    pub fn new(name: &str, seed: &[u8; 32]) -> Result<Self, KeyError> {
        let key = SigningKey::from_bytes(seed);
        let verifier = Verifier::new(name, key.verifying_key().as_bytes())?;
        Ok(Self { key, verifier })
    }

    pub fn name(&self) -> &str {
        self.verifier.name()
    }

    pub const fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// A signature over `text`, to be put below it.
    pub fn signature(&self, text: &str) -> NoteSignature {
        NoteSignature {
            name: self.name().to_owned(),
            key_id: self.verifier.key_id(),
            signature: self.key.sign(text.as_bytes()).to_bytes().to_vec(),
        }
    }

    /// A note of `text` (which ends in a newline), signed by this key alone.
    pub fn sign(&self, text: &str) -> Result<Note, NoteError> {
        Note::new(text.to_owned(), vec![self.signature(text)])
    }
}

/// Shows the public half only.
impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.verifier)
    }
}

/// A name with a public key: what a vkey says. The signature type is known from where it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VerifierKey {
    pub(crate) name: String,
    pub(crate) key_id: u32,
    pub(crate) key: VerifyingKey,
}

impl VerifierKey {
    pub(crate) fn new(name: &str, signature_type: u8, public_key: &[u8; 32]) -> Result<Self, KeyError> {
        if !is_key_name(name) {
            return Err(KeyError::Name);
        }
        let key = VerifyingKey::from_bytes(public_key).map_err(|_| KeyError::PublicKey)?;
        if key.is_weak() {
            return Err(KeyError::PublicKey);
        }
        Ok(Self { name: name.to_owned(), key_id: key_id(name, signature_type, public_key), key })
    }

    pub(crate) fn vkey(&self, signature_type: u8) -> String {
        let bytes = [&[signature_type], &self.key.as_bytes()[..]].concat();
        format!("{}+{:08x}+{}", self.name, self.key_id, base64_text::encode(&bytes))
    }

    /// Strict verification (RFC 8032 with small-order points refused), so that all verifiers agree.
    pub(crate) fn accepts(&self, message: &[u8], signature: &[u8]) -> bool {
        Signature::from_slice(signature)
            .is_ok_and(|signature| self.key.verify_strict(message, &signature).is_ok())
    }
}

/// SHA-256(name || newline || type || public key), first four bytes.
fn key_id(name: &str, signature_type: u8, public_key: &[u8; 32]) -> u32 {
    let digest = Digest::of(&[name.as_bytes(), b"\n", &[signature_type], public_key].concat());
    let [a, b, c, d, ..] = *digest.as_bytes();
    u32::from_be_bytes([a, b, c, d])
}

/// `NAME+HEX KEY ID+BASE64(type || key)`, as C2SP signed-note writes verifier keys.
pub(crate) fn parse_vkey(vkey: &str, signature_type: u8) -> Result<VerifierKey, KeyError> {
    let mut fields = vkey.splitn(3, '+');
    let (Some(name), Some(id), Some(encoded)) = (fields.next(), fields.next(), fields.next()) else {
        return Err(KeyError::Form);
    };
    let bytes = base64_text::decode(encoded).ok_or(KeyError::Form)?;
    let (&found, public_key) = bytes.split_first().ok_or(KeyError::Form)?;
    if found != signature_type {
        return Err(KeyError::SignatureType { found, expected: signature_type });
    }
    let public_key = public_key.try_into().map_err(|_| KeyError::Form)?;
    let key = VerifierKey::new(name, signature_type, public_key)?;
    if id == format!("{:08x}", key.key_id) { Ok(key) } else { Err(KeyError::KeyId) }
}

/// A log's public key: verifies notes that the log signed. Written and read as a vkey.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verifier(VerifierKey);

impl Verifier {
    pub fn new(name: &str, public_key: &[u8; 32]) -> Result<Self, KeyError> {
        VerifierKey::new(name, ED25519, public_key).map(Self)
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

    /// Whether this key signed the note. Every signature in its name must verify.
    pub fn verify(&self, note: &Note) -> Result<(), VerifyError> {
        let mut result = Err(VerifyError::NotSigned);
        for signature in note.signatures_by(self.name(), self.key_id()) {
            if !self.0.accepts(note.text().as_bytes(), signature) {
                return Err(VerifyError::BadSignature);
            }
            result = Ok(());
        }
        result
    }
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.vkey(ED25519))
    }
}

impl FromStr for Verifier {
    type Err = KeyError;

    fn from_str(vkey: &str) -> Result<Self, KeyError> {
        parse_vkey(vkey, ED25519).map(Self)
    }
}
