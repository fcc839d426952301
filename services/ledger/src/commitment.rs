//! Commitments: what stands in a leaf in place of personal data. Hiding while the salt is secret, binding always.
//!
//! `key_f = HMAC-SHA-256(record_salt, "openarchive/commit/v1" 0x00 field)`, `commitment = HMAC-SHA-256(key_f, value)`.
//! An opening reveals `key_f` and the value of one field, never the salt, so the other fields stay hidden.

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::base64_text;

const CONTEXT: &[u8] = b"openarchive/commit/v1\0";

/// A field of a leaf that is committed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// The 32 bytes of the message's digest.
    Message,
    /// JCS `{from, mode, peer, to}`.
    Envelope,
    /// What an audit leaf is about.
    Object,
}

impl Field {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Envelope => "envelope",
            Self::Object => "object",
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The secret of one record: 32 random bytes, kept only inside its encrypted observation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Salt([u8; 32]);

/// The key of one field of one record.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FieldKey([u8; 32]);

/// A commitment, as it stands in a leaf. Written as base64.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Commitment([u8; 32]);

/// What proves to a reader which value a leaf commits to.
#[derive(Clone, PartialEq, Eq)]
pub struct Opening {
    pub key: FieldKey,
    pub value: Vec<u8>,
}

impl Salt {
    /// `bytes` must come from a random source and be used for one record only.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub fn field_key(&self, field: Field) -> FieldKey {
        FieldKey(hmac(&self.0, &[CONTEXT, field.as_str().as_bytes()]))
    }

    /// The commitment to a field's value, and what opens it.
    pub fn commit(&self, field: Field, value: Vec<u8>) -> (Commitment, Opening) {
        let opening = Opening { key: self.field_key(field), value };
        (opening.commitment(), opening)
    }
}

impl FieldKey {
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub fn commit(&self, value: &[u8]) -> Commitment {
        Commitment(hmac(&self.0, &[value]))
    }
}

impl Opening {
    /// The commitment that this opens.
    pub fn commitment(&self) -> Commitment {
        self.key.commit(&self.value)
    }
}

impl Commitment {
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub(crate) fn from_base64(text: &str) -> Option<Self> {
        base64_text::decode_32(text).map(Self)
    }
}

impl fmt::Display for Commitment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base64_text::encode(&self.0))
    }
}

impl fmt::Debug for Commitment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Commitment({self})")
    }
}

macro_rules! hide {
    ($($name:ident)*) => {$(
        /// Shows nothing: logs must not open commitments.
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(hidden)"))
            }
        }
    )*};
}
hide!(Salt FieldKey Opening);

fn hmac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Made with Python's hmac module from the two formulas above, salt 00 01 .. 1f.
    #[test]
    fn commitments_equal_those_of_an_independent_implementation() {
        let salt = Salt::new(std::array::from_fn(|i| i as u8));
        let check = |field, value: &[u8], key: &str, commitment: &str| {
            let (made, opening) = salt.commit(field, value.to_vec());
            assert_eq!(hex::encode(opening.key.as_bytes()), key, "{field}");
            assert_eq!(hex::encode(made.as_bytes()), commitment, "{field}");
        };
        check(
            Field::Message,
            openarchive_domain::Digest::of(b"abc").as_bytes(),
            "cb781b837d211f49b73fd60f03c6e6d0a79cf059e6ebc554e2c9f24a51711560",
            "7840d977623161a667293f498a41771775d9da03cefa807e63c129eff671a4f0",
        );
        check(
            Field::Envelope,
            br#"{"from":"","mode":"plain","peer":"mx","to":["a@b.test"]}"#,
            "0bd9da4be4ae16065ae8e2f288acff5b0201998e162ad2c5d0d2d2756a0e5065",
            "fa3ac9a645df83c578e271d5845373e81db862c02447bf0aebe2c9315edbd619",
        );
        check(
            Field::Object,
            b"",
            "682324de3ee86d5ac268eea36bf0c64a5ba70308607d3d69c02e64b81acc6511",
            "ed42da8ef21538dcb616de995722fadadc07fabb4d31e0d4b8ba9c1778e2b760",
        );
    }

    #[test]
    fn nothing_of_a_salt_or_an_opening_is_shown() {
        let (_, opening) = Salt::new([1; 32]).commit(Field::Envelope, b"a@b".to_vec());
        assert_eq!(
            format!("{opening:?} {:?} {:?}", opening.key, Salt::new([1; 32])),
            "Opening(hidden) FieldKey(hidden) Salt(hidden)"
        );
    }

    proptest! {
        #[test]
        fn a_commitment_opens_to_its_own_field_key_and_value_only(
            salt: [u8; 32], other: [u8; 32], value: Vec<u8>, extra: u8,
        ) {
            prop_assume!(salt != other);
            let salt = Salt::new(salt);
            let (commitment, opening) = salt.commit(Field::Message, value.clone());
            prop_assert_eq!(opening.commitment(), commitment);
            let longer = [value.as_slice(), &[extra]].concat();
            prop_assert_ne!(opening.key.commit(&longer), commitment);
            prop_assert_ne!(salt.commit(Field::Envelope, value.clone()).0, commitment);
            prop_assert_ne!(Salt::new(other).commit(Field::Message, value).0, commitment);
        }
    }
}
