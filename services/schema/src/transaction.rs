use std::{pin::Pin, time::Duration};

use sqlx::{PgPool, Postgres};
use tracing::debug;

pub type Transaction = sqlx::Transaction<'static, Postgres>;

/// Attempts at one transaction before its serialisation failure is reported.
const ATTEMPTS_MAX: u32 = 5;

/// Why a transaction did not commit.
#[derive(Debug, thiserror::Error)]
#[error("transaction {name} failed after {attempts} attempt(s)")]
pub struct TransactionError {
    pub name: &'static str,
    pub attempts: u32,
    #[source]
    pub source: sqlx::Error,
}

/// Runs `body` in a transaction and commits it. Serialisation failures and deadlocks are retried, at most
/// five attempts in all, so `body` may run more than once. Durable when it returns `Ok`.
pub async fn run_tx<T, F>(pool: &PgPool, name: &'static str, mut body: F) -> Result<T, TransactionError>
where
    F: for<'t> FnMut(
        &'t mut Transaction,
    ) -> Pin<Box<dyn Future<Output = Result<T, sqlx::Error>> + Send + 't>>,
{
    for attempt in 1.. {
        let result = async {
            let mut tx = pool.begin().await?;
            let value = body(&mut tx).await?;
            tx.commit().await?;
            Ok(value)
        }
        .await;
        match result {
            Ok(value) => return Ok(value),
            Err(source) if attempt < ATTEMPTS_MAX && is_conflict(&source) => {
                debug!(name, attempt, "transaction conflicts, tries again");
                tokio::time::sleep(Duration::from_millis(5 << attempt)).await;
            }
            Err(source) => return Err(TransactionError { name, attempts: attempt, source }),
        }
    }
    unreachable!("the loop returns")
}

/// serialization_failure and deadlock_detected (PostgreSQL, Appendix A).
fn is_conflict(error: &sqlx::Error) -> bool {
    matches!(
        error.as_database_error().and_then(sqlx::error::DatabaseError::code).as_deref(),
        Some("40001" | "40P01")
    )
}
