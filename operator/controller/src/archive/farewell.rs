//! The end of an archive: its ledger learns that it was deleted before anything of it goes. Objects with an owner then go by
//! themselves; volumes, keys and certificates have none and stay. Whoever deletes in the foreground has Kubernetes stop the pods
//! at once: then the ledger has the time that they take to end.

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use openarchive_operator_api::ArchiveCore;
use tokio::time::timeout;

use super::{
    audit::{Desk, History, audit_deletion},
    certificates::{operator_secret, secret_data},
    dial::dial,
    status::{self, Audit},
    validate::validate,
};
use crate::{
    Context, Halt, RESYNC_AFTER, Reason, finalizer,
    objects::{list, named, selector},
    status_writer::write_status,
};

/// Longest time that the deletion of an archive waits for its ledger.
const LAST_SNAPSHOT_SECONDS_MAX: Duration = Duration::from_secs(5 * 60);
/// Longest time that one try takes: the deadline above is looked at after each.
const TRY_SECONDS_MAX: Duration = Duration::from_secs(60);
/// How often the ledger is tried.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// One pass over an archive that somebody deleted. Answers when to look again.
pub(super) async fn farewell(context: &Context, archive: &ArchiveCore) -> Result<Duration, Halt> {
    if !finalizer::is_held(archive) {
        return Ok(RESYNC_AFTER);
    }
    let untold = match in_time(TRY_SECONDS_MAX, last_snapshot(context, archive)).await {
        Ok(Audit { last: Some(last), pending: 0, .. }) => {
            tracing::info!(
                archive = archive.name_any(),
                index = last.ledger_index,
                "its deletion is recorded"
            );
            let note = format!("its deletion is leaf {} of the config log", last.ledger_index);
            context.tell(archive, Reason::Reconciled, "Delete", note).await;
            finalizer::release(context, archive).await?;
            return Ok(RESYNC_AFTER);
        }
        Ok(audit) => {
            let waits_for = audit.waiting_for.clone().unwrap_or_else(|| "the trust service".to_owned());
            let old = archive.status.clone().unwrap_or_default();
            let new = status::leaving(&old, archive.metadata.generation, &audit, context.now());
            write_status(context, archive, archive.status.as_ref(), &new).await?;
            waits_for
        }
        Err(halt) => {
            tracing::warn!(archive = archive.name_any(), %halt, "its deletion cannot be recorded yet");
            halt.to_string()
        }
    };
    if !finalizer::is_overdue(archive, LAST_SNAPSHOT_SECONDS_MAX, context.now()) {
        return Ok(LOOK_AGAIN_AFTER);
    }
    let note = format!(
        "it goes and its ledger does not know: for {} minutes its deletion waited for {untold}. What could be kept is a \
         ControllerRevision of this namespace, and is delivered if an ArchiveCore of this name is made again",
        LAST_SNAPSHOT_SECONDS_MAX.as_secs() / 60
    );
    context.tell(archive, Reason::CoreUnreachable, "Delete", note).await;
    finalizer::release(context, archive).await?;
    Ok(RESYNC_AFTER)
}

/// A try that takes longer is as one that failed. What it did is found by the next.
async fn in_time(
    limit: Duration,
    last_snapshot: impl Future<Output = Result<Audit, Halt>>,
) -> Result<Audit, Halt> {
    timeout(limit, last_snapshot).await.unwrap_or_else(|_| {
        let message = format!("the ledger, which did not answer within {limit:?}");
        Err(Halt::waiting(Reason::CoreUnreachable, message, LOOK_AGAIN_AFTER))
    })
}

/// Puts the deletion on record. The same again answers the same.
async fn last_snapshot(context: &Context, archive: &ArchiveCore) -> Result<Audit, Halt> {
    // Which NetworkPolicySet counts is no question any more.
    let valid = validate(archive, &[])?;
    let secrets: Vec<Secret> = list(&context.client, &valid.namespace, &selector(&valid.name)).await?;
    let operator = named(&secrets, &operator_secret(&valid)).map(secret_data);
    let core = operator.map(|operator| dial(context, &valid, &operator)).transpose()?;
    let desk = Desk { context, archive, valid: &valid, live_secrets: &secrets, core: core.as_ref() };
    audit_deletion(&desk, History::read(context, archive).await?).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_ledger_that_never_answers_ends_the_try_so_that_the_deadline_is_looked_at() {
        let audit = || Audit { last: None, pending: 1, waiting_for: None };
        assert_eq!(in_time(TRY_SECONDS_MAX, async { Ok(audit()) }).await.unwrap(), audit());
        let halt = in_time(Duration::from_millis(10), std::future::pending()).await.unwrap_err();
        assert_eq!(halt.to_string(), "the ledger, which did not answer within 10ms");
        assert!(TRY_SECONDS_MAX * 2 < LAST_SNAPSHOT_SECONDS_MAX, "there is more than one try");
    }
}
