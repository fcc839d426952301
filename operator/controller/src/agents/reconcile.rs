use std::{sync::Arc, time::Duration};

use kube::{Resource, ResourceExt};
use openarchive_operator_api::{ArchiveCore, EdgeAgent, Placement};

use super::{
    apply::bring,
    build::{Believed, Ground, build, bundle_name},
    bundle::{bundle, expires_at},
    core::seen,
    dereference::{World, dereference},
    missing, removal,
    status::{Observed, status},
    validate::{Place, ValidAgent, validate},
};
use crate::{
    Context, Halt, RESYNC_AFTER, Reason,
    archive::{build::volume, dial, gate::stateful_set_progress, ingest_address},
    core::Core,
    drift::quantity,
    finalizer,
    objects::Objects,
    status_writer::write_status,
    told::tell_ready,
};

/// An agent in the cluster shows its certificate to the archive soon after its start, and nothing tells the operator then.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// One pass. The status is written at its end, also when it fails.
pub(crate) async fn reconcile(agent: Arc<EdgeAgent>, context: Arc<Context>) -> Result<Duration, Halt> {
    let mut observed = Observed::default();
    let outcome = if agent.meta().deletion_timestamp.is_some() {
        if !finalizer::is_held(&*agent) {
            return Ok(RESYNC_AFTER);
        }
        Box::pin(removal::remove(&context, &agent)).await
    } else {
        Box::pin(pass(&context, &agent, &mut observed)).await
    };
    let old = agent.status.clone().unwrap_or_default();
    let halt = outcome.as_ref().err();
    if halt.is_none() && agent.meta().deletion_timestamp.is_some() {
        return Ok(RESYNC_AFTER);
    }
    let new = status(&old, agent.metadata.generation, &observed, halt, context.now());
    let key = format!("{}/{}", agent.namespace().unwrap_or_default(), agent.name_any());
    missing::show(&key, &new.instances);
    if write_status(&context, &*agent, agent.status.as_ref(), &new).await? {
        tell_ready(&context, &*agent, &old.conditions, &new.conditions).await;
    }
    let is_known = observed.certificate.is_some() || agent.spec.placement == Placement::External;
    outcome.map(|()| if is_known { RESYNC_AFTER } else { LOOK_AGAIN_AFTER })
}

async fn pass(context: &Context, agent: &EdgeAgent, observed: &mut Observed) -> Result<(), Halt> {
    let world = dereference(context, agent).await?;
    let name = &world.valid.name;
    if world.archive.spec.operation.paused {
        let message = format!("archive {name} to go on: its spec.operation.paused is true");
        return Err(Halt::waiting(Reason::Paused, message, RESYNC_AFTER));
    }
    let valid = validate(agent, &world.valid)?;
    let core = core(context, &world)?;
    let seen = match &core {
        Some(core) => seen(core, &valid.identity).await.ok(),
        None => None,
    };
    let has_enrolled = seen.as_ref().map(Option::is_some);
    if let Some(seen) = seen.flatten() {
        observed.certificate = seen.certificate;
        observed.instances = seen.instances;
    }
    let ground = ground(context, &world, None);
    fits(&valid, &ground)?;
    let is_in = match &valid.place {
        Place::InCluster { .. } => Some(runs(&world.live)),
        Place::External => has_enrolled,
    };
    let bundle = bundle(context, &valid, &world, core.as_ref(), is_in).await?;
    // Between the making of a token and its handing over: whoever is held may have been let in, and nobody else was.
    finalizer::hold(context, agent).await?;
    let until = expires_at(&bundle).unwrap_or_default().to_owned();
    let mut built = build(&valid, &world.valid, &ground);
    built.secrets.push(bundle);
    let is_held = !is_rolled_out(&world.archive);
    let (now, left) = bring(context, agent, &world.valid, &built, &world.live, is_held).await?;
    observed.left = Some(left);
    observed.ready = match (&valid.place, has_enrolled) {
        (Place::InCluster { .. }, _) => "it takes mail".to_owned(),
        (Place::External, Some(true)) => "it has enrolled".to_owned(),
        (Place::External, _) => {
            format!("Secret {} lets it in until {until}", bundle_name(&valid.name))
        }
    };
    waits(&valid, &now, is_held, name)
}

/// Channels to the archive, if it takes calls.
pub(super) fn core(context: &Context, world: &World) -> Result<Option<Core>, Halt> {
    let conditions = world.archive.status.iter().flat_map(|status| &status.conditions);
    let mut available = conditions.filter(|condition| condition.type_ == "Available");
    match &world.operator {
        Some(operator) if available.any(|condition| condition.status == "True") => {
            dial(context, &world.valid, operator).map(Some)
        }
        _ => Ok(None),
    }
}

pub(super) fn ground(context: &Context, world: &World, draining: Option<Believed>) -> Ground {
    Ground {
        image_registry: context.settings.image_registry.clone(),
        ingest: ingest_address(&world.valid),
        volume: world.live.stateful_sets.first().and_then(volume),
        draining,
    }
}

fn runs(live: &Objects) -> bool {
    live.stateful_sets.first().is_some_and(|set| stateful_set_progress(set).waiting_for.is_none())
}

/// A volume is as large as when it was made.
fn fits(agent: &ValidAgent, ground: &Ground) -> Result<(), Halt> {
    let (Place::InCluster { high_water_bytes, .. }, Some(volume)) = (&agent.place, &ground.volume) else {
        return Ok(());
    };
    let is_larger = quantity(&volume.size).is_some_and(|size| i128::from(*high_water_bytes) * 1_000 > size);
    if !is_larger {
        return Ok(());
    }
    let message = format!(
        "spec.buffer.highWater is more than the volume of {}, which was made before and is not changed: lower it, or make another \
         EdgeAgent",
        volume.size
    );
    Err(Halt::terminal(Reason::InvalidSpec, message))
}

/// Every service runs what the archive's present specification says: an agent is never newer than its archive.
fn is_rolled_out(archive: &ArchiveCore) -> bool {
    archive.status.as_ref().is_some_and(|status| {
        status.observed_generation == archive.metadata.generation
            && !status.services.is_empty()
            && status.services.iter().all(|service| service.waiting_for.is_none())
    })
}

fn waits(agent: &ValidAgent, now: &Objects, is_held: bool, archive: &str) -> Result<(), Halt> {
    let pending = |message: String| Err(Halt::waiting(Reason::RolloutPending, message, RESYNC_AFTER));
    if matches!(agent.place, Place::External) {
        return Ok(());
    }
    if is_held {
        return pending(format!("archive {archive} to be rolled out"));
    }
    match now.stateful_sets.first().map(stateful_set_progress).and_then(|progress| progress.waiting_for) {
        Some(what) => pending(what),
        None => Ok(()),
    }
}
