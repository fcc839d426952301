//! The login roles of the services, and their passwords.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use openarchive_domain::random;
use sha2::{Digest as _, Sha256};
use sqlx::{AssertSqlSafe, Executor as _, PgPool};

/// Fewest characters of a role's password: 16 random ones of 64 have 96 bits.
pub const PASSWORD_CHARS_MIN: usize = 16;
/// Most characters of a role's password: what clients send without trouble.
pub const PASSWORD_CHARS_MAX: usize = 256;
/// PBKDF2 rounds of a SCRAM verifier: PostgreSQL's own number. A random password needs no more.
const SCRAM_ROUNDS: u32 = 4096;
const SALT_BYTES: usize = 16;

/// A role that a service logs in with. Migration 0002 makes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DatabaseRole {
    Ingest,
    Storage,
    Trust,
    Gateway,
    Worker,
}

impl DatabaseRole {
    pub const ALL: [Self; 5] = [Self::Ingest, Self::Storage, Self::Trust, Self::Gateway, Self::Worker];

    /// Its name in PostgreSQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ingest => "openarchive_ingest",
            Self::Storage => "openarchive_storage",
            Self::Trust => "openarchive_trust",
            Self::Gateway => "openarchive_gateway",
            Self::Worker => "openarchive_worker",
        }
    }
}

impl std::fmt::Display for DatabaseRole {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for DatabaseRole {
    type Err = PasswordError;

    fn from_str(name: &str) -> Result<Self, PasswordError> {
        Self::ALL.into_iter().find(|role| role.as_str() == name).ok_or(PasswordError::UnknownRole)
    }
}

/// Why a role has not got its password. Never shows it.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    #[error("there is no such login role")]
    UnknownRole,
    #[error(
        "the password of {role} must be {PASSWORD_CHARS_MIN} to {PASSWORD_CHARS_MAX} visible ASCII characters"
    )]
    Form { role: DatabaseRole },
    #[error("the password of {role} cannot be set")]
    Database {
        role: DatabaseRole,
        #[source]
        source: sqlx::Error,
    },
}

/// Gives a role its password. Only a SCRAM-SHA-256 verifier is sent, so that the password stands in no statement and in
/// no log of the server. `pool` is the migrating role's.
pub async fn set_role_password(
    pool: &PgPool,
    role: DatabaseRole,
    password: &str,
) -> Result<(), PasswordError> {
    let length = password.len();
    // Visible ASCII is what SASLprep (RFC 4013) leaves as it is.
    if !(PASSWORD_CHARS_MIN..=PASSWORD_CHARS_MAX).contains(&length)
        || !password.bytes().all(|byte| byte.is_ascii_graphic())
    {
        return Err(PasswordError::Form { role });
    }
    let verifier = scram_verifier(password, &random::bytes::<SALT_BYTES>());
    // `alter role` takes no parameters. Base64, `$` and `:` need no quoting.
    let statement = format!("alter role {role} password '{verifier}'");
    pool.execute(AssertSqlSafe(statement))
        .await
        .map_err(|source| PasswordError::Database { role, source })?;
    Ok(())
}

/// What PostgreSQL keeps of a password: RFC 5803 in its own spelling (RFC 5802 section 3 for the keys).
fn scram_verifier(password: &str, salt: &[u8]) -> String {
    let salted = salted_password(password.as_bytes(), salt);
    let stored_key = Sha256::digest(mac(&salted, &[b"Client Key"]));
    let server_key = mac(&salted, &[b"Server Key"]);
    format!(
        "SCRAM-SHA-256${SCRAM_ROUNDS}:{}${}:{}",
        STANDARD.encode(salt),
        STANDARD.encode(stored_key),
        STANDARD.encode(server_key)
    )
}

/// `Hi` of RFC 5802: PBKDF2 with one block.
fn salted_password(password: &[u8], salt: &[u8]) -> [u8; 32] {
    let mut round = mac(password, &[salt, &1u32.to_be_bytes()]);
    let mut sum = round;
    for _ in 1..SCRAM_ROUNDS {
        round = mac(password, &[&round]);
        for (sum, byte) in sum.iter_mut().zip(round) {
            *sum ^= byte;
        }
    }
    sum
}

fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length (RFC 2104)");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verifier_is_the_one_that_postgresql_makes() {
        // Made by PostgreSQL 15: `alter role x password`, read from pg_authid.
        let salt = STANDARD.decode("jnhHv/6v7nAZoyjHCg9j/A==").unwrap();
        assert_eq!(
            scram_verifier("correct-horse-battery-staple", &salt),
            "SCRAM-SHA-256$4096:jnhHv/6v7nAZoyjHCg9j/A==$lPCvDhJlggBxoU6t70/pZqs6Q9JCjOb8JJn+rzz49J4=:zkyp/LnIrBg9HCBoi+2+t8FV18fFerf0sXWBDHv/Xrw="
        );
    }

    #[test]
    fn roles_are_known_by_their_names() {
        for role in DatabaseRole::ALL {
            assert_eq!(role.to_string().parse::<DatabaseRole>().unwrap(), role);
        }
        assert!("postgres".parse::<DatabaseRole>().is_err());
    }
}
