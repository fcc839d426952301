//! Locks of what must stay while the archive lives: full tiles and bundles, heads, protected wrapping keys. They are
//! locked for years at a time (evidence.md section 2), and again before those are over. Objects of releases before this
//! have no lock, are as good, and get theirs in the same way.

use std::{io, sync::Arc, time::Duration};

use openarchive_domain::{Clock, RetentionClass, Timestamp, lock_until};
use openarchive_objects::{ObjectError, ObjectKey};
use tokio::time::sleep;

use crate::{
    custody::KEK_PREFIX,
    log_objects::LEDGER_PREFIX,
    sequencer::{Sequencing, stopped},
    shared::Shared,
};

/// A lock that lost more than this of its years is extended.
const RENEWED_AFTER: Duration = Duration::from_secs(365 * 24 * 3600);
/// Time between two looks at every lock.
const LOOK_EVERY: Duration = Duration::from_secs(30 * 24 * 3600);
/// Time until a look that failed is repeated.
const AGAIN_AFTER: Duration = Duration::from_secs(600);
/// Names that are held at once.
const PAGE: usize = 10_000;

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
                Ok(0) => LOOK_EVERY,
                Ok(extended) => {
                    tracing::info!(extended, "extends the locks of what stays while the archive lives");
                    LOOK_EVERY
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

/// Answers how many locks were extended. Safe to break off and to repeat.
async fn extend_all(shared: &Shared) -> Result<u64, ObjectError> {
    let until = locked_from_now(&*shared.clock)?;
    let enough = Timestamp::from_millis(until.as_millis() - RENEWED_AFTER.as_millis() as i64);
    let mut extended = 0;
    for prefix in [KEK_PREFIX, "heads/", LEDGER_PREFIX] {
        let mut after = None;
        loop {
            let page = shared.objects.list_page(prefix, after.as_ref(), PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.clone());
            for key in page.iter().filter(|key| stays(key)) {
                // One that has gone is for fsck to name.
                let Some(meta) = shared.objects.head(key).await? else { continue };
                if meta.lock_until < Some(enough) {
                    shared.objects.extend_lock(key, until).await?;
                    extended += 1;
                }
            }
        }
    }
    Ok(extended)
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
