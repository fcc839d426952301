//! Fills the ledger's rows from its objects: tiles, heads, checkpoints, protected wrapping keys.
//!
//! What was never published is not in the objects. Its authors replay it: the idempotency keys that a rebuild restores
//! from the leaves themselves make sure that what did survive is not appended twice.

mod replay;
mod survey;

use std::time::Duration;

use openarchive_domain::Clock;
use openarchive_objects::{ObjectError, ObjectStore};
use sqlx::{Connection as _, PgConnection, PgPool};
use tokio::time::{Instant, sleep};

use crate::{
    custody::{self, CustodyError},
    finding::{Finding, FindingCode, Progress},
    heads::HeadError,
    keys::Keys,
    log_objects::{self, LEDGER_PREFIX, TileReadError},
    log_rows::RowsError,
    sequencer::{GroupError, sequencer_lock_key},
};
use survey::Survey;

/// How long the lock of a service, or of a rebuild, that was stopped or killed just now may still be held: PostgreSQL
/// gives it back when it notices that the connection is gone.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(3);
const LOCK_TRIED_EVERY: Duration = Duration::from_millis(50);

/// What a rebuild did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RebuildReport {
    pub logs: u64,
    /// Leaves that the rebuilt logs have now.
    pub leaves: u64,
    /// Those of them that this run added.
    pub leaves_added: u64,
    pub wrapping_keys: u64,
    /// Logs and keys that were left out because they are damaged, and why.
    pub damage: Vec<Finding>,
}

/// Why a rebuild broke off. It can be run again and goes on where it was.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    #[error("the archive's trust service is running: stop it first")]
    Running,
    #[error(transparent)]
    Custody(#[from] CustodyError),
    #[error("the rows cannot be written")]
    Database(#[from] sqlx::Error),
    #[error("the objects cannot be read")]
    Objects(#[from] ObjectError),
    #[error("another process writes to the same log")]
    Fenced,
}

impl From<GroupError> for RebuildError {
    fn from(error: GroupError) -> Self {
        match error {
            GroupError::Fenced => Self::Fenced,
            GroupError::Database(error) => Self::Database(error),
        }
    }
}

/// Why one log cannot be rebuilt: damage is reported, anything else breaks off.
enum LogFailure {
    Damaged(Finding),
    Broken(RebuildError),
}

impl<E: Into<RebuildError>> From<E> for LogFailure {
    fn from(error: E) -> Self {
        Self::Broken(error.into())
    }
}

impl LogFailure {
    fn damaged(code: FindingCode, place: impl std::fmt::Display, what: impl Into<String>) -> Self {
        Self::Damaged(Finding::new(code, place, what))
    }

    fn of_head(error: HeadError) -> Self {
        match error {
            HeadError::Objects(error) => error.into(),
            HeadError::Malformed(key) => Self::damaged(FindingCode::HeadChain, key, "the object is no head"),
        }
    }

    fn of_tile(error: TileReadError) -> Self {
        match error {
            TileReadError::Objects(error) => error.into(),
            TileReadError::Missing(key) => {
                Self::damaged(FindingCode::BundleMissing, key, "the object is missing")
            }
            TileReadError::Malformed(key) => {
                Self::damaged(FindingCode::BundleDiffers, key, "the object has not the form of its width")
            }
        }
    }

    fn of_rows(error: RowsError) -> Self {
        match error {
            RowsError::Database(error) => error.into(),
            RowsError::Damage(damage) => {
                Self::damaged(FindingCode::Node, damage.log.clone(), damage.to_string())
            }
        }
    }
}

/// Fills an empty schema `trust`, or goes on with one that an earlier run, or an older backup, left behind. Every log
/// is first proven whole against its latest head and the archive's own key; a damaged one is left out and reported.
/// Refused while the archive's sequencer runs.
pub async fn rebuild(
    pool: &PgPool,
    objects: &ObjectStore,
    keys: &Keys,
    clock: &dyn Clock,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<RebuildReport, RebuildError> {
    let mut report = RebuildReport::default();
    for (id, protected) in custody::read_objects(objects).await? {
        // A foreign KEK opens nothing of the archive: nothing is worth rebuilding then.
        custody::open(keys.kek(), &id, &protected)?;
        custody::insert_row(pool, &id, &protected).await?;
        report.wrapping_keys += 1;
    }
    let mut lock = PgConnection::connect_with(&pool.connect_options()).await?;
    let mut logs = log_objects::logs_under(objects, LEDGER_PREFIX).await?;
    logs.extend(log_objects::logs_under(objects, "heads/").await?);
    logs.sort_unstable();
    logs.dedup();
    for log in logs {
        let survey = match Survey::of(pool, objects, keys, &log).await {
            Ok(Some(survey)) => survey,
            Ok(None) => continue,
            Err(LogFailure::Damaged(finding)) => {
                report.damage.push(finding);
                continue;
            }
            Err(LogFailure::Broken(error)) => return Err(error),
        };
        take_lock(&mut lock, &survey).await?;
        match replay::replay(pool, keys, clock, &survey, progress).await {
            Ok(added) => {
                report.logs += 1;
                report.leaves += survey.size;
                report.leaves_added += added;
            }
            Err(LogFailure::Damaged(finding)) => report.damage.push(finding),
            Err(LogFailure::Broken(error)) => return Err(error),
        }
    }
    lock.close().await?;
    Ok(report)
}

/// The sequencer's own lock, held until the rebuild ends. Taken again for each log, which costs nothing.
async fn take_lock(connection: &mut PgConnection, survey: &Survey) -> Result<(), RebuildError> {
    let key = sequencer_lock_key(survey.origin.domain(), survey.origin.archive());
    let begun = Instant::now();
    loop {
        let lock = sqlx::query!(r#"select pg_try_advisory_lock($1) as "held!""#, key)
            .fetch_one(&mut *connection)
            .await?;
        if lock.held {
            return Ok(());
        }
        if begun.elapsed() > LOCK_WAIT_MAX {
            return Err(RebuildError::Running);
        }
        sleep(LOCK_TRIED_EVERY).await;
    }
}
