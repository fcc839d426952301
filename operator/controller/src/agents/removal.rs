//! The end of an agent: it takes no more mail, what it holds is sent on, the archive is told, and then it goes.

use std::time::Duration;

use kube::ResourceExt;
use openarchive_domain::Timestamp;
use openarchive_operator_api::{ANNOTATION_ABANDON, EdgeAgent};

use super::{
    apply::bring,
    build::build,
    bundle::believed,
    core::{Seen, revoke, seen},
    dereference::{World, archive_of, dereference},
    reconcile::{core, ground},
    validate::{Place, ValidAgent, validate},
};
use crate::{
    Context, Halt, Reason,
    core::Core,
    finalizer,
    objects::{Objects, find_of_agent},
    prune::prune,
};

/// Longest time that an agent is kept after it was deleted. Its volume stays in any case.
const REMOVAL_SECONDS_MAX: Duration = Duration::from_hours(24);
/// How often an agent is asked whether anything is left.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// Answers when the object may go; the finalizer is gone then.
pub(super) async fn remove(context: &Context, agent: &EdgeAgent) -> Result<(), Halt> {
    if archive_of(context, agent).await?.is_none() {
        let untold = "its archive is gone: nothing was sent on, and nobody was told";
        return end(context, agent, Some(untold)).await;
    }
    if finalizer::is_overdue(agent, REMOVAL_SECONDS_MAX, context.now()) {
        let untold = "what it holds could not be sent on in a day, and the archive was not told: its volume stays with the mail; an \
                      EdgeAgent of the same name goes on with it, or archivectl agents revoke shuts it out";
        return end(context, agent, Some(untold)).await;
    }
    let world = dereference(context, agent).await?;
    let valid = validate(agent, &world.valid)?;
    let core = core(context, &world)?;
    if agent.annotations().get(ANNOTATION_ABANDON).is_some_and(|value| value == "true") {
        let Some(core) = core else {
            return end(context, agent, Some("its archive does not run: it was not told")).await;
        };
        revoke(&core, &valid.identity).await?;
        return end(context, agent, None).await;
    }
    let core = core.ok_or_else(|| waits("drain: its archive does not run"))?;
    let seen = seen(&core, &valid.identity).await?;
    if let Some(left) = left(context, agent, &valid, &world, &core, seen.as_ref()).await? {
        return Err(waits(&left));
    }
    // Also one that was never seen: whoever is held may have had a token.
    revoke(&core, &valid.identity).await?;
    end(context, agent, None).await
}

/// What must be sent on before, in words.
async fn left(
    context: &Context,
    agent: &EdgeAgent,
    valid: &ValidAgent,
    world: &World,
    core: &Core,
    seen: Option<&Seen>,
) -> Result<Option<String>, Halt> {
    if matches!(valid.place, Place::External) {
        let buffered = seen.map_or(0, |seen| seen.buffered_messages);
        return Ok((buffered > 0)
            .then(|| format!("drain: {buffered} mails are in it; run it with `drain: true` where it is")));
    }
    if world.live.stateful_sets.is_empty() && seen.is_none() {
        return Ok(None);
    }
    // Also where somebody, or a deletion in the foreground, has taken its objects already: its volume is still there.
    let believed = believed(valid, world, core).await?;
    let built = build(valid, &world.valid, &ground(context, world, Some(believed)));
    bring(context, agent, &world.valid, &without_owner(built), &world.live, false).await?;
    let since = agent.metadata.deletion_timestamp.as_ref().map(|time| time.0.as_millisecond());
    let is_drained =
        seen.is_some_and(|seen| seen.is_drained && seen.reported_at.map(Timestamp::as_millis) >= since);
    Ok((!is_drained).then(|| "drain".to_owned()))
}

/// What goes with its owner would go before the mail in it is sent on.
fn without_owner(mut objects: Objects) -> Objects {
    let Objects { service_accounts, config_maps, services, stateful_sets, .. } = &mut objects;
    let metadata = service_accounts.iter_mut().map(|object| &mut object.metadata);
    let metadata = metadata.chain(config_maps.iter_mut().map(|object| &mut object.metadata));
    let metadata = metadata.chain(services.iter_mut().map(|object| &mut object.metadata));
    for metadata in metadata.chain(stateful_sets.iter_mut().map(|object| &mut object.metadata)) {
        metadata.owner_references = None;
    }
    objects
}

/// Removes what the agent has in the cluster, but not its volume, and lets the object go.
async fn end(context: &Context, agent: &EdgeAgent, untold: Option<&str>) -> Result<(), Halt> {
    if let Some(untold) = untold {
        context.tell(agent, Reason::CoreUnreachable, "Remove", untold.to_owned()).await;
    }
    let namespace = agent.namespace().unwrap_or_default();
    let archive = &agent.spec.archive_ref.name;
    let live = find_of_agent(&context.client, &namespace, archive, &agent.name_any()).await?;
    prune(context, &namespace, &Objects::default(), &live).await?;
    context.stood.forget(agent);
    finalizer::release(context, agent).await
}

fn waits(message: &str) -> Halt {
    Halt::waiting(Reason::Draining, message.to_owned(), LOOK_AGAIN_AFTER)
}
