//! Checks a live archive's ledger: rows against tiles against checkpoints against heads, all signatures, all keys.
//! Reads only. What is appended while it runs is not accused.

mod history;
mod leaves;

use std::collections::BTreeSet;

use openarchive_envelope::Kek;
use openarchive_ledger::origin::LogId;
use openarchive_objects::{ObjectError, ObjectStore};
use sqlx::PgPool;

use crate::{
    custody::{self, CustodyError},
    finding::{Finding, FindingCode, Progress},
    heads::HeadError,
    keys::Keys,
    log_objects::{self, LEDGER_PREFIX, LogObjects, TileReadError},
    log_rows::{self, LogRow, RowsError},
};

/// Findings of one log that are listed; damage at one place can show at many.
const FINDINGS_PER_LOG_MAX: usize = 100;

/// Why the check could not be made. Damage is never an error: it is a finding.
#[derive(Debug, thiserror::Error)]
pub enum FsckError {
    #[error("the ledger's rows cannot be read")]
    Database(#[from] sqlx::Error),
    #[error("the ledger's objects cannot be read")]
    Objects(#[from] ObjectError),
    #[error(transparent)]
    Damage(#[from] log_rows::RowDamage),
}

impl From<RowsError> for FsckError {
    fn from(error: RowsError) -> Self {
        match error {
            RowsError::Database(error) => error.into(),
            RowsError::Damage(damage) => damage.into(),
        }
    }
}

/// What is found out about one log.
struct LogCheck<'a> {
    pool: &'a PgPool,
    store: &'a ObjectStore,
    keys: &'a Keys,
    row: LogRow,
    objects: LogObjects,
    findings: Vec<Finding>,
}

impl LogCheck<'_> {
    fn log(&self) -> &LogId {
        self.row.log()
    }

    fn found(&mut self, code: FindingCode, place: impl std::fmt::Display, what: impl Into<String>) {
        let place = place.to_string();
        match self.findings.len() {
            ..FINDINGS_PER_LOG_MAX => self.findings.push(Finding::new(code, place, what)),
            FINDINGS_PER_LOG_MAX => {
                let log = self.log().to_string();
                self.findings.push(Finding::new(FindingCode::More, log, "further findings are not listed"));
            }
            _ => {}
        }
    }
}

/// Checks everything; an empty answer is a clean ledger. `progress` is called now and then.
pub async fn fsck(
    pool: &PgPool,
    objects: &ObjectStore,
    keys: &Keys,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Vec<Finding>, FsckError> {
    let mut findings = check_keys(pool, objects, keys.kek()).await?;
    let rows = log_rows::all_logs(pool).await?;
    let known: BTreeSet<LogId> = rows.iter().map(|row| row.log().clone()).collect();
    let mut stored: BTreeSet<LogId> = BTreeSet::new();
    for prefix in [LEDGER_PREFIX, "heads/"] {
        stored.extend(log_objects::logs_under(objects, prefix).await?);
    }
    for log in stored.difference(&known) {
        // One that was opened since the rows were read is not missing.
        if log_rows::log_of_epoch(pool, log).await?.is_some() {
            continue;
        }
        let what = "the object store holds a log that the database does not know: `openarchive rebuild`";
        findings.push(Finding::new(FindingCode::LogMissing, log, what));
    }
    for row in rows {
        let log_objects = LogObjects::new(objects.clone(), row.log());
        let mut check =
            LogCheck { pool, store: objects, keys, row, objects: log_objects, findings: Vec::new() };
        check.run(progress).await?;
        findings.append(&mut check.findings);
    }
    Ok(findings)
}

impl LogCheck<'_> {
    async fn run(&mut self, progress: &mut (dyn FnMut(Progress) + Send)) -> Result<(), FsckError> {
        let own = self.keys.verifier(&self.row.origin).to_string();
        if self.row.verifier_key != own {
            let what = "its recorded key is not the archive's";
            self.found(FindingCode::LogForeignKey, self.row.origin.clone(), what);
        }
        let history = self.check_history().await?;
        self.check_leaves(&history, progress).await
    }
}

/// Wrapping keys: each opens, and row and object say the same.
async fn check_keys(pool: &PgPool, objects: &ObjectStore, kek: &Kek) -> Result<Vec<Finding>, FsckError> {
    let mut findings = Vec::new();
    let rows = match custody::read_rows(pool).await {
        Ok(rows) => rows,
        Err(error) => return finding_or_error(error).map(|finding| vec![finding]),
    };
    let stored = match custody::read_objects(objects).await {
        Ok(stored) => stored,
        Err(error) => return finding_or_error(error).map(|finding| vec![finding]),
    };
    let ids: BTreeSet<_> = rows.keys().chain(stored.keys()).collect();
    for id in ids {
        let place = format!("{}{}/{}", custody::KEK_PREFIX, id.0, id.1);
        match (rows.get(id), stored.get(id)) {
            (Some(row), Some(object)) if row == object => {}
            // The object comes first, so it can be alone for a moment.
            (None, Some(_)) if custody::read_rows(pool).await.is_ok_and(|rows| rows.contains_key(id)) => {}
            (None, _) => {
                let what = "the object has no row: `openarchive rebuild`";
                findings.push(Finding::new(FindingCode::KeyDiffers, &place, what));
            }
            (_, None) => {
                let what = "the row has no object: it is written at the next start";
                findings.push(Finding::new(FindingCode::KeyDiffers, &place, what));
            }
            _ => findings.push(Finding::new(FindingCode::KeyDiffers, &place, "row and object differ")),
        }
        for protected in [rows.get(id), stored.get(id)].into_iter().flatten() {
            if let Err(error) = custody::open(kek, id, protected) {
                findings.push(Finding::new(FindingCode::KeyForeign, &place, error.to_string()));
                break;
            }
        }
    }
    Ok(findings)
}

fn finding_or_error(error: CustodyError) -> Result<Finding, FsckError> {
    match error {
        CustodyError::Database(error) => Err(error.into()),
        CustodyError::Objects(error) => Err(error.into()),
        CustodyError::Malformed { ref key } => {
            Ok(Finding::new(FindingCode::KeyDiffers, key, error.to_string()))
        }
        CustodyError::Foreign { ref tenant, .. }
        | CustodyError::Differs { ref tenant, .. }
        | CustodyError::Unknown { ref tenant, .. } => {
            Ok(Finding::new(FindingCode::KeyForeign, tenant, error.to_string()))
        }
    }
}

/// What cannot be read because it is wrong, apart from what cannot be read now.
enum Read<T> {
    Fine(T),
    Wrong(Finding),
}

fn head_or_finding<T>(result: Result<T, HeadError>) -> Result<Read<T>, FsckError> {
    match result {
        Ok(value) => Ok(Read::Fine(value)),
        Err(HeadError::Objects(error)) => Err(error.into()),
        Err(HeadError::Malformed(key)) => {
            let what = "the object is no head: it was not written by this program, or was changed";
            Ok(Read::Wrong(Finding::new(FindingCode::HeadChain, key, what)))
        }
    }
}

fn tile_or_finding<T>(
    result: Result<T, TileReadError>,
    missing: FindingCode,
    differs: FindingCode,
) -> Result<Read<T>, FsckError> {
    match result {
        Ok(value) => Ok(Read::Fine(value)),
        Err(TileReadError::Objects(error)) => Err(error.into()),
        Err(TileReadError::Missing(key)) => {
            Ok(Read::Wrong(Finding::new(missing, key, "the object is missing")))
        }
        Err(TileReadError::Malformed(key)) => {
            Ok(Read::Wrong(Finding::new(differs, key, "the object has not the form of its width")))
        }
    }
}
