use std::fmt;

use aes_kw::{KeyInit, KwpAes256};

/// Length of every key, in bytes (AES-256).
pub const KEY_BYTES: usize = 32;
/// Length of a key wrapped with AES-256-KWP, in bytes.
pub const WRAPPED_KEY_BYTES: usize = 40;

/// A key as it stands in rows and key files. Never all zero: that marks a shredded one.
pub type WrappedKey = [u8; WRAPPED_KEY_BYTES];

/// The wrapped bytes do not belong to this key, or were changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the wrapped key does not open: it was changed, or wrapped under another key; check the KEK version")]
pub struct UnwrapError;

/// Data encryption key: encrypts one blob. `Debug` prints no key material.
#[derive(Clone, PartialEq, Eq)]
pub struct Dek([u8; KEY_BYTES]);

impl Dek {
    /// `bytes` must be uniformly random and used for one blob only.
    pub const fn new(bytes: [u8; KEY_BYTES]) -> Self {
        Self(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}

/// Wraps the DEKs of one (tenant, KEK version). `Debug` prints no key material.
#[derive(Clone, PartialEq, Eq)]
pub struct WrappingKey([u8; KEY_BYTES]);

impl WrappingKey {
    /// `bytes` must be uniformly random.
    pub const fn new(bytes: [u8; KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// AES-256-KWP (RFC 5649).
    pub fn wrap(&self, dek: &Dek) -> WrappedKey {
        kwp_wrap(&self.0, &dek.0)
    }

    pub fn unwrap(&self, wrapped: &WrappedKey) -> Result<Dek, UnwrapError> {
        kwp_unwrap(&self.0, wrapped).map(Dek)
    }
}

/// Key encryption key: protects wrapping keys and nothing else. `Debug` prints no key material.
#[derive(Clone, PartialEq, Eq)]
pub struct Kek([u8; KEY_BYTES]);

impl Kek {
    /// `bytes` must be uniformly random.
    pub const fn new(bytes: [u8; KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// AES-256-KWP (RFC 5649), the same mechanism that a token offers as `CKM_AES_KEY_WRAP_KWP`.
    pub fn protect(&self, key: &WrappingKey) -> WrappedKey {
        kwp_wrap(&self.0, &key.0)
    }

    pub fn unprotect(&self, protected: &WrappedKey) -> Result<WrappingKey, UnwrapError> {
        kwp_unwrap(&self.0, protected).map(WrappingKey)
    }
}

macro_rules! secret_debug {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    )*};
}
secret_debug!(Dek, WrappingKey, Kek);

fn kwp_wrap(with: &[u8; KEY_BYTES], key: &[u8; KEY_BYTES]) -> WrappedKey {
    let mut wrapped = [0; WRAPPED_KEY_BYTES];
    KwpAes256::new(with.into())
        .wrap_key(key, &mut wrapped)
        .expect("a 32-byte key wraps into exactly 40 bytes (RFC 5649 section 4.1)");
    // A shredded key-file entry is 40 zero bytes; a live one must never look like it.
    assert_ne!(wrapped, [0; WRAPPED_KEY_BYTES], "a wrapped key is all zero");
    wrapped
}

fn kwp_unwrap(with: &[u8; KEY_BYTES], wrapped: &WrappedKey) -> Result<[u8; KEY_BYTES], UnwrapError> {
    let mut key = [0; KEY_BYTES];
    // KWP also carries shorter keys; ours are always 32 bytes.
    let length = KwpAes256::new(with.into()).unwrap_key(wrapped, &mut key).map_err(|_| UnwrapError)?.len();
    if length == KEY_BYTES { Ok(key) } else { Err(UnwrapError) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_print_nothing_secret() {
        let secret = [0xA7; KEY_BYTES];
        let all = format!("{:?} {:?} {:?}", Dek::new(secret), WrappingKey::new(secret), Kek::new(secret));
        assert_eq!(all, "Dek(..) WrappingKey(..) Kek(..)");
    }

    #[test]
    fn any_changed_bit_of_a_wrapped_key_is_refused() {
        let key = WrappingKey::new([1; KEY_BYTES]);
        let wrapped = key.wrap(&Dek::new([2; KEY_BYTES]));
        for bit in 0..WRAPPED_KEY_BYTES * 8 {
            let mut broken = wrapped;
            broken[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(key.unwrap(&broken), Err(UnwrapError), "bit {bit}");
        }
        assert_eq!(key.unwrap(&[0; WRAPPED_KEY_BYTES]), Err(UnwrapError));
    }

    #[test]
    fn a_key_shorter_than_ours_is_refused_although_it_is_valid_kwp() {
        let mut wrapped = [0; WRAPPED_KEY_BYTES];
        KwpAes256::new(&[1; KEY_BYTES].into()).wrap_key(&[7; 31], &mut wrapped).unwrap();
        assert_eq!(WrappingKey::new([1; KEY_BYTES]).unwrap(&wrapped), Err(UnwrapError));
    }

    proptest! {
        #[test]
        fn unwrapping_inverts_wrapping_and_no_other_key_opens_it(kek: [u8; 32], wrapping: [u8; 32], dek: [u8; 32]) {
            let (kek, wrapping, dek) = (Kek::new(kek), WrappingKey::new(wrapping), Dek::new(dek));
            prop_assert_eq!(wrapping.unwrap(&wrapping.wrap(&dek)), Ok(dek.clone()));
            prop_assert_eq!(kek.unprotect(&kek.protect(&wrapping)), Ok(wrapping.clone()));
            let mut other = wrapping.0;
            other[31] ^= 1;
            prop_assert_eq!(WrappingKey::new(other).unwrap(&wrapping.wrap(&dek)), Err(UnwrapError));
        }
    }
}
