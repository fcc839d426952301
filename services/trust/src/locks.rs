//! Locks of what must stay while the archive lives: full tiles and bundles, heads, protected wrapping keys. They are
//! locked for years at a time (evidence.md section 2), and again before those are over. Objects of releases before this
//! have no lock, are as good, and get theirs in the same way.

use std::{error::Error as _, io, sync::Arc, time::Duration};

use openarchive_domain::{Clock, RetentionClass, Timestamp, lock_until};
use openarchive_objects::{ObjectError, ObjectKey, ObjectStore};
use tokio::time::sleep;

use crate::{
    custody::KEK_PREFIX,
    log_objects::{LEDGER_PREFIX, logs_under},
    sequencer::{Sequencing, stopped},
    shared::Shared,
};

/// A lock that lost more than this of its years is extended.
const RENEWED_AFTER: Duration = Duration::from_secs(365 * 24 * 3600);
/// Time between two looks at every lock.
const LOOK_EVERY: Duration = Duration::from_secs(30 * 24 * 3600);
/// Time until a look that failed is repeated.
const AGAIN_AFTER: Duration = Duration::from_secs(600);
/// Time until the next look if locks could not be extended: what an object refuses, it mostly goes on to refuse.
const REFUSED_AGAIN_AFTER: Duration = Duration::from_secs(24 * 3600);
/// Pause behind each extension, which is a flush of its own: after an upgrade every object needs one, while appends
/// need the same disk.
const PAUSE: Duration = Duration::from_millis(10);
/// Objects that refused and are named in the log after one look, at most; all are counted.
const REFUSALS_NAMED_MAX: u64 = 20;

/// Until when an object that is made now is locked: as long as blobs of the archive itself, class `system`. An error
/// means a clock beyond the calendar.
pub(crate) fn locked_from_now(clock: &dyn Clock) -> Result<Timestamp, ObjectError> {
    lock_until(RetentionClass::System, clock.now()).map_err(|error| ObjectError::Unavailable {
        action: "lock an object from now on".to_owned(),
        source: io::Error::other(error),
    })
}

/// Looks at every lock, now and again, until the service is told to stop. Only the process that leads does.
pub(crate) async fn keep_locked(shared: Arc<Shared>) {
    let mut stop = shared.stop.subscribe();
    let mut sequencing = shared.sequencing.subscribe();
    loop {
        let looking = async {
            // Fails only if nobody leads any more.
            let _ = sequencing.wait_for(|state| *state == Sequencing::Leading).await;
            let pause = match extend_all(&shared).await {
                Ok(Look { extended: 0, refused: 0 }) => LOOK_EVERY,
                Ok(Look { extended, refused: 0 }) => {
                    tracing::info!(extended, "extends the locks of what stays while the archive lives");
                    LOOK_EVERY
                }
                Ok(Look { extended, refused }) => {
                    tracing::error!(extended, refused, "locks of the ledger's objects cannot be extended");
                    REFUSED_AGAIN_AFTER
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot look at the locks of the ledger's objects, tries again");
                    AGAIN_AFTER
                }
            };
            sleep(pause).await;
        };
        tokio::select! {
            biased;
            () = stopped(&mut stop) => return,
            () = looking => {}
        }
    }
}

/// What became of every lock.
#[derive(Default)]
struct Look {
    extended: u64,
    /// Locks that could not be looked at or extended.
    refused: u64,
}

/// Goes on behind an object that refuses; an error means that the store does not list its names. Safe to break off and
/// to repeat.
async fn extend_all(shared: &Shared) -> Result<Look, ObjectError> {
    let until = locked_from_now(&*shared.clock)?;
    let mut prefixes = vec![KEK_PREFIX.to_owned()];
    for prefix in ["heads/", LEDGER_PREFIX] {
        let logs = logs_under(&shared.objects, prefix).await?;
        prefixes.extend(logs.iter().map(|log| format!("{prefix}{log}/")));
    }
    let mut look = Look::default();
    for prefix in prefixes {
        // All names of one log at once: its heads lie in one folder, which a local store reads whole for each page.
        for key in shared.objects.list(&prefix).await?.iter().filter(|key| stays(key)) {
            match extend(&shared.objects, key, until).await {
                Ok(false) => continue,
                Ok(true) => look.extended += 1,
                Err(error) => {
                    look.refused += 1;
                    if look.refused <= REFUSALS_NAMED_MAX {
                        let cause = error.source().map(ToString::to_string).unwrap_or_default();
                        tracing::warn!(object = %key, %error, cause, "the lock of an object cannot be extended");
                    }
                }
            }
            sleep(PAUSE).await;
        }
    }
    Ok(look)
}

/// Locks the object until then, if its lock is missing or has lost more than [`RENEWED_AFTER`]. Whether it did.
async fn extend(objects: &ObjectStore, key: &ObjectKey, until: Timestamp) -> Result<bool, ObjectError> {
    let enough = Timestamp::from_millis(until.as_millis() - RENEWED_AFTER.as_millis() as i64);
    // One that has gone is for fsck to name.
    let Some(meta) = objects.head(key).await? else { return Ok(false) };
    if meta.lock_until >= Some(enough) {
        return Ok(false);
    }
    match objects.extend_lock(key, until).await {
        Ok(()) => Ok(true),
        // Somebody locked it for longer meanwhile, or removed it.
        Err(ObjectError::LockShortened { .. } | ObjectError::NotFound { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether nobody writes this object anew or removes it: partial tiles, partial bundles and checkpoints are.
fn stays(key: &ObjectKey) -> bool {
    let Some(path) = key.as_str().strip_prefix(LEDGER_PREFIX) else { return true };
    let path = path.splitn(4, '/').nth(3).unwrap_or_default();
    path.strip_prefix("tile/").is_some_and(|tile| !tile.contains(".p/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_anew_is_not_what_stays() {
        let check = |key: &str, expected: bool| assert_eq!(stays(&key.parse().unwrap()), expected, "{key}");
        check("kek/acme/1", true);
        check("heads/acme/evidence/1/00000000000000000000", true);
        check("ledger/acme/evidence/1/tile/0/000", true);
        check("ledger/acme/evidence/1/tile/1/x001/067", true);
        check("ledger/acme/evidence/1/tile/entries/000", true);
        check("ledger/acme/evidence/1/tile/0/000.p/17", false);
        check("ledger/acme/evidence/1/tile/entries/x001/067.p/8", false);
        check("ledger/acme/evidence/1/checkpoint", false);
        // A tenant may be called so.
        check("ledger/tile/evidence/1/checkpoint", false);
    }
}
