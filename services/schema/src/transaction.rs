use std::{pin::Pin, time::Duration};

use sqlx::{AssertSqlSafe, PgPool, Postgres};
use tracing::debug;

use crate::TenantScope;

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

/// Begins a transaction in which only the rows of `scope` are there. For reads: dropping it ends it. Who writes
/// commits, or uses [`run_tx`], which also repeats what conflicts.
pub async fn begin(pool: &PgPool, scope: TenantScope<'_>) -> Result<Transaction, sqlx::Error> {
    // The scope is a DNS label or a sign of ours, and quoted all the same.
    pool.begin_with(AssertSqlSafe(scope.begin_statement())).await
}

/// Runs `body` in a transaction in which only the rows of `scope` are there, and commits it. Serialisation failures and
/// deadlocks are retried, at most five attempts in all, so `body` may run more than once. Durable when it returns `Ok`.
pub async fn run_tx<T, F>(
    pool: &PgPool,
    name: &'static str,
    scope: TenantScope<'_>,
    mut body: F,
) -> Result<T, TransactionError>
where
    F: for<'t> FnMut(
        &'t mut Transaction,
    ) -> Pin<Box<dyn Future<Output = Result<T, sqlx::Error>> + Send + 't>>,
{
    for attempt in 1.. {
        let result = async {
            let mut tx = begin(pool, scope).await?;
            let value = body(&mut tx).await?;
            tx.commit().await?;
            Ok(value)
        }
        .await;
        match result {
            Ok(value) => return Ok(value),
            Err(source) if attempt < ATTEMPTS_MAX && is_conflict(&source) => {
                debug!(name, attempt, "transaction conflicts, tries again");
                openarchive_telemetry::metrics::TRANSACTION_RETRIES.inc([name]);
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
