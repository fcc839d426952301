//! The end of an agent: it takes no more mail, what it holds is sent on, the archive is told, and then it goes.

use std::time::Duration;

use openarchive_operator_api::EdgeAgent;

use super::{
    apply::bring,
    build::{build, bundle_name},
    core::{revoke, seen},
    dereference::{archive_of, dereference},
    reconcile::{core, ground},
    validate::validate,
};
use crate::{Context, Halt, Reason, finalizer, objects::named};

/// Longest time that an agent is kept after it was deleted. Its volume stays in any case.
const REMOVAL_SECONDS_MAX: Duration = Duration::from_hours(24);
/// How often an agent is asked whether anything is left.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// Answers when the object may go; the finalizer is gone then.
pub(super) async fn remove(context: &Context, agent: &EdgeAgent) -> Result<(), Halt> {
    let untold = if archive_of(context, agent).await?.is_none() {
        Some("its archive is gone: nothing was sent on, and nobody was told")
    } else if finalizer::is_overdue(agent, REMOVAL_SECONDS_MAX, context.now()) {
        Some(
            "what it holds could not be sent on in a day, and the archive was not told: its volume stays with the mail; an \
             EdgeAgent of the same name goes on with it, or archivectl agents revoke shuts it out",
        )
    } else {
        None
    };
    if let Some(untold) = untold {
        context.tell(agent, Reason::Draining, "Remove", untold.to_owned()).await;
        return finalizer::release(context, agent).await;
    }
    let world = dereference(context, agent).await?;
    let valid = validate(agent, &world.valid)?;
    let core = core(context, &world)?.ok_or_else(|| waits("drain: its archive does not run".to_owned()))?;
    if let Some(set) = world.live.stateful_sets.first() {
        let built = build(&valid, &world.valid, &ground(context, &world, true));
        bring(context, agent, &world.valid, &built, &world.live, false).await?;
        let has_run = set.status.as_ref().is_some_and(|status| status.ready_replicas.unwrap_or(0) > 0);
        let is_drained = seen(&core, &valid.identity).await?.map_or(!has_run, |seen| seen.is_drained);
        if !is_drained {
            return Err(waits("drain".to_owned()));
        }
    }
    // Without a bundle it never had a token.
    if named(&world.live.secrets, &bundle_name(&valid.name)).is_some() {
        revoke(&core, &valid.identity).await?;
    }
    finalizer::release(context, agent).await
}

fn waits(message: String) -> Halt {
    Halt::waiting(Reason::Draining, message, LOOK_AGAIN_AFTER)
}
