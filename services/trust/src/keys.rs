//! Software keys for development and `non_qualified` archives: two files, made once.
//!
//! Whoever holds them can sign for the archive and read it; whoever loses them has lost the archive. So they are never
//! made anew for an archive that already knows others.

mod files;

use std::path::{Path, PathBuf};

pub use files::is_exposed;

use hkdf::Hkdf;
use openarchive_domain::random;
use openarchive_envelope::{KEY_BYTES, Kek};
use openarchive_ledger::{
    note::{Signer, Verifier},
    origin::Origin,
};
use openarchive_objects::{ObjectError, ObjectStore};
use openarchive_schema::{TenantScope, begin};
use sha2::Sha256;
use sqlx::PgPool;

/// File of the key encryption key, in the folder of keys.
pub const KEK_FILE: &str = "kek";
/// File of the seed that every log's signing key comes from.
pub const LOG_SEED_FILE: &str = "log-seed";

/// Why there are no keys to work with. Never shows key material.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    #[error("the key file {} cannot be used", .path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the key file {} does not hold 64 hex digits: restore it from its backup", .path.display())]
    Malformed { path: PathBuf },
    #[error("the key file {} can be read by others (mode {mode:03o}): make it 0600", .path.display())]
    Exposed { path: PathBuf, mode: u32 },
    #[error("the key file {} is missing: restore it from its backup", .path.display())]
    Missing { path: PathBuf },
    #[error(
        "the key file {} is missing, but {known} already: restore the file from its backup; new keys would open nothing that is stored", .path.display()
    )]
    Lost { path: PathBuf, known: &'static str },
    #[error("whether the database knows an archive cannot be read")]
    Database(#[from] sqlx::Error),
    #[error("whether the object store knows an archive cannot be read")]
    Objects(#[from] ObjectError),
}

/// The archive's root secrets in memory. `Debug` prints no key material.
#[derive(Clone)]
pub struct Keys {
    kek: Kek,
    log_seed: [u8; KEY_BYTES],
}

impl Keys {
    /// Reads the keys in `dir`, or makes them (mode 0600, durable) if neither the database nor the object store knows
    /// an archive yet. Idempotent; a crash between the two files is made good by the next call.
    pub async fn open_or_create(dir: &Path, pool: &PgPool, objects: &ObjectStore) -> Result<Self, KeysError> {
        let missing = match Self::open(dir) {
            Err(KeysError::Missing { path }) => path,
            other => return other,
        };
        if let Some(known) = known_archive(pool, objects).await? {
            return Err(KeysError::Lost { path: missing, known });
        }
        for name in [KEK_FILE, LOG_SEED_FILE] {
            files::create_if_missing(&dir.join(name), &random::bytes())?;
        }
        tracing::info!(folder = %dir.display(), "makes the archive's keys: back them up");
        Self::open(dir)
    }

    /// Reads the keys in `dir`.
    pub fn open(dir: &Path) -> Result<Self, KeysError> {
        Ok(Self::from_secrets(files::read(&dir.join(KEK_FILE))?, files::read(&dir.join(LOG_SEED_FILE))?))
    }

    /// Both must be uniformly random.
    pub const fn from_secrets(kek: [u8; KEY_BYTES], log_seed: [u8; KEY_BYTES]) -> Self {
        Self { kek: Kek::new(kek), log_seed }
    }

    pub(crate) const fn kek(&self) -> &Kek {
        &self.kek
    }

    /// The signing key of one log: HKDF-SHA-256 (RFC 5869) of the seed, without salt, with the origin as info.
    pub(crate) fn signer(&self, origin: &Origin) -> Signer {
        let origin = origin.to_string();
        let mut seed = [0; KEY_BYTES];
        Hkdf::<Sha256>::new(None, &self.log_seed)
            .expand(origin.as_bytes(), &mut seed)
            .expect("32 bytes are within the 255 blocks that HKDF-SHA-256 gives (RFC 5869 section 2.3)");
        Signer::new(&origin, &seed).expect("an origin is a key name, and every seed makes an Ed25519 key")
    }

    /// The public key of one log.
    pub fn verifier(&self, origin: &Origin) -> Verifier {
        self.signer(origin).verifier().clone()
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys(..)")
    }
}

/// Who knows that an archive was there before.
async fn known_archive(pool: &PgPool, objects: &ObjectStore) -> Result<Option<&'static str>, KeysError> {
    let row = sqlx::query!(
        r#"select exists (select from trust.log) or exists (select from trust.wrapping_key) as "known!""#
    )
    .fetch_one(&mut *begin(pool, TenantScope::All).await?)
    .await?;
    if row.known {
        return Ok(Some("the database knows logs or wrapping keys"));
    }
    for prefix in ["kek/", "heads/", "ledger/"] {
        if !objects.list_page(prefix, None, 1).await?.is_empty() {
            return Ok(Some("the object store holds wrapping keys or a ledger"));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Origin {
        text.parse().unwrap()
    }

    #[test]
    fn each_log_has_its_own_key_and_the_same_one_every_time() {
        let keys = Keys::from_secrets([1; 32], [2; 32]);
        let one = keys.verifier(&origin("archive.example/main/acme/evidence/1"));
        let two = keys.verifier(&origin("archive.example/main/acme/evidence/2"));
        assert_ne!(one.public_key(), two.public_key());
        assert_eq!(one, keys.verifier(&origin("archive.example/main/acme/evidence/1")));
        let others = Keys::from_secrets([1; 32], [3; 32]);
        assert_ne!(one, others.verifier(&origin("archive.example/main/acme/evidence/1")));
        // Made with openssl and another HKDF: a change of the derivation would orphan every log.
        assert_eq!(
            one.to_string(),
            "archive.example/main/acme/evidence/1+3a228360+ATVKl1PQ00TgdeOZgU8QXP12ChhVQ7Den7uGQRiLebt1"
        );
    }

    #[test]
    fn keys_print_nothing_secret() {
        assert_eq!(format!("{:?}", Keys::from_secrets([1; 32], [2; 32])), "Keys(..)");
    }
}
