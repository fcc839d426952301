//! The database schema, its version rules, and the transaction runner that every service uses.
//!
//! Architecture invariant: a service reads and writes only its own schema; the one exception is
//! INSERT into `jobs.job`, in the transaction of the data that the job is about.

mod transaction;

use sqlx::PgPool;
pub use transaction::{Transaction, TransactionError, run_tx};

/// The schema version that this binary was built for.
pub const VERSION: i32 = 1;

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

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

/// Brings the database to [`VERSION`]. Idempotent; concurrent runs wait for each other (advisory lock).
pub async fn migrate(pool: &PgPool) -> Result<(), SchemaError> {
    MIGRATIONS.run(pool).await?;
    check(pool).await
}

/// Refuses a database that this binary cannot serve.
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

#[cfg(test)]
mod tests {
    use openarchive_testkit::database::TestDatabase;

    use super::*;

    #[tokio::test]
    async fn migration_is_idempotent_and_a_foreign_version_is_refused() {
        let database = TestDatabase::start();
        let pool = PgPool::connect(&database.url()).await.unwrap();
        assert!(matches!(check(&pool).await, Err(SchemaError::Read(_))));
        migrate(&pool).await.unwrap();
        migrate(&pool).await.unwrap();
        set(&pool, VERSION - 1, VERSION - 1).await;
        assert!(matches!(check(&pool).await, Err(SchemaError::TooOld { .. })));
        // A newer schema that still serves older binaries is accepted: that is what makes a rollback work.
        set(&pool, VERSION + 1, VERSION).await;
        check(&pool).await.unwrap();
        set(&pool, VERSION + 2, VERSION + 1).await;
        assert!(matches!(check(&pool).await, Err(SchemaError::TooNew { .. })));
    }

    async fn set(pool: &PgPool, version: i32, oldest_compatible: i32) {
        sqlx::query!(
            "update public.schema_version set version = $1, oldest_compatible = $2",
            version,
            oldest_compatible
        )
        .execute(pool)
        .await
        .unwrap();
    }

    #[tokio::test]
    async fn a_transaction_that_conflicts_runs_again_and_then_commits() {
        let database = TestDatabase::start();
        let pool = PgPool::connect(&database.url()).await.unwrap();
        migrate(&pool).await.unwrap();
        let increments = (0..8).map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move {
                run_tx(&pool, "increment", |tx| {
                    Box::pin(async move {
                        sqlx::query!("set transaction isolation level serializable")
                            .execute(&mut **tx)
                            .await?;
                        let row = sqlx::query!("select version from public.schema_version")
                            .fetch_one(&mut **tx)
                            .await?;
                        sqlx::query!("update public.schema_version set version = $1", row.version + 1)
                            .execute(&mut **tx)
                            .await?;
                        Ok(())
                    })
                })
                .await
            })
        });
        let mut committed = 0;
        for task in increments.collect::<Vec<_>>() {
            committed += i32::from(task.await.unwrap().is_ok());
        }
        let row = sqlx::query!("select version from public.schema_version").fetch_one(&pool).await.unwrap();
        assert_eq!(row.version, VERSION + committed);
        assert!(committed > 0);
    }
}
