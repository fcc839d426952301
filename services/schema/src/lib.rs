//! The database schema: its version rules, the roles that may touch it, and the transactions that every service uses.
//!
//! Architecture invariants:
//! - A service reads and writes only its own schema, with a login role of its own ([`DatabaseRole`]); the one exception
//!   is INSERT into `jobs.job`, in the transaction of the data that the job is about.
//! - Every transaction says whose rows it works on ([`TenantScope`]). The database holds it to that: a statement that
//!   forgets its tenant, or runs outside of [`begin`] and [`run_tx`], finds no row.
//! - Rows of ledger and catalogue are inserted and stay. What may change in place is granted column by column.
//!
//! # Changing the schema: expand, then contract
//!
//! A rollback must work: for as long as version N-1 may still be running, or be started again, its statements have to
//! succeed. So a change comes in two steps, in two releases.
//! 1. *Expand*: a new file `migrations/NNNN_what.sql` adds what the new version needs (tables, columns with a default or
//!    null, indexes, grants) and takes nothing away. Its last statement sets `version = NNNN`; [`VERSION`] becomes NNNN.
//!    `oldest_compatible` stays.
//! 2. *Contract*, in a later release when nobody goes back behind the expansion: it removes what is no longer used, and
//!    sets `oldest_compatible` to the first version that does without.
//!
//! A binary refuses a database that is older than itself, or whose `oldest_compatible` is newer. Released files never
//! change: the database keeps their checksums. A new table with a tenant is given to `public.separate_tenants`, which
//! puts it under row-level security, and to roles by explicit grants; a test finds the table that was forgotten.

mod role;
mod scope;
mod transaction;

pub use role::{DatabaseRole, PASSWORD_CHARS_MAX, PASSWORD_CHARS_MIN, PasswordError, set_role_password};
pub use scope::TenantScope;
use sqlx::{PgPool, migrate::Migrator};
pub use transaction::{Transaction, TransactionError, begin, run_tx};

/// The schema version that this binary was built for: the number of its last migration.
pub const VERSION: i32 = 8;

/// The archive's migrations. Those of a newer binary, found in the database after a rollback, are passed over: whether
/// they are a hindrance is what `oldest_compatible` says.
pub fn migrations() -> Migrator {
    let mut migrations = sqlx::migrate!("./migrations");
    migrations.set_ignore_missing(true);
    migrations
}

#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    #[error("the database could not be migrated")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    #[error("the schema version could not be read: run `openarchive migrate` first")]
    Read(#[from] sqlx::Error),
    #[error(
        "the database has schema version {found}, this binary needs {VERSION}: run `openarchive migrate`"
    )]
    TooOld { found: i32 },
    #[error(
        "the database accepts binaries from schema version {oldest_compatible} on, this one was built for {VERSION}: use a newer binary"
    )]
    TooNew { oldest_compatible: i32 },
}

/// Brings the database to [`VERSION`] and makes the login roles, without passwords. Idempotent; concurrent runs wait for
/// each other (advisory lock). `pool` connects as the owner of the schema, who may create roles.
pub async fn migrate(pool: &PgPool) -> Result<(), SchemaError> {
    migrations().run(pool).await?;
    check(pool).await
}

/// Refuses a database that this binary cannot serve. Every role may ask.
pub async fn check(pool: &PgPool) -> Result<(), SchemaError> {
    let row =
        sqlx::query!("select version, oldest_compatible from public.schema_version").fetch_one(pool).await?;
    if row.version < VERSION {
        return Err(SchemaError::TooOld { found: row.version });
    }
    if row.oldest_compatible > VERSION {
        return Err(SchemaError::TooNew { oldest_compatible: row.oldest_compatible });
    }
    Ok(())
}
