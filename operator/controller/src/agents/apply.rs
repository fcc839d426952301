//! Brings an agent's objects to what was built.

use std::collections::BTreeSet;

use kube::ResourceExt;
use openarchive_operator_api::EdgeAgent;

use crate::{
    Context, Halt,
    apply::{Drift, Restart, apply, kind_of},
    archive::ValidArchive,
    objects::{Kind, Objects, Step},
    prune::prune,
    told::{remaining, tell_drifts, tell_restarts},
};

/// Applies `built`, removes what is built no longer, tells what somebody else did. With `is_held` the StatefulSet stays as it is.
/// Answers the objects as they stand, and in words those that are not as built and stay so.
pub(super) async fn bring(
    context: &Context,
    agent: &EdgeAgent,
    archive: &ValidArchive,
    built: &Objects,
    live: &Objects,
    is_held: bool,
) -> Result<(Objects, Vec<String>), Halt> {
    let held: &[_] = match (is_held, live.stateful_sets.is_empty()) {
        (false, _) => &[],
        (true, true) => &["StatefulSet"],
        // A configuration fits its pod: both change together.
        (true, false) => &["StatefulSet", "ConfigMap"],
    };
    let mut applying = Applying {
        context,
        agent,
        archive,
        held,
        drifts: Vec::new(),
        restarts: Vec::new(),
        standing: BTreeSet::new(),
    };
    let now = Objects::each(built, live, &mut applying).await;
    // Also if a later object could not be brought back.
    tell_drifts(context, agent, &applying.drifts).await;
    tell_restarts(context, agent, &applying.restarts).await;
    let now = now?;
    context.stood.note(agent, applying.standing);
    prune(context, &archive.namespace, built, live).await?;
    Ok((now, remaining(&applying.drifts)))
}

struct Applying<'a> {
    context: &'a Context,
    agent: &'a EdgeAgent,
    archive: &'a ValidArchive,
    /// Kinds that stay as they are.
    held: &'a [&'static str],
    drifts: Vec<Drift>,
    restarts: Vec<Restart>,
    standing: BTreeSet<(String, String)>,
}

impl Step for Applying<'_> {
    async fn kind<K: Kind>(&mut self, built: &[K], live: &[K]) -> Result<Vec<K>, Halt> {
        let kind = kind_of::<K>();
        let (namespace, archive) = (&self.archive.namespace, &self.archive.name);
        let now = if self.held.contains(&kind) {
            live.to_vec()
        } else {
            let applied = apply(self.context, namespace, archive, built, live).await?;
            // What is deleted while the agent goes, goes with it: whoever deletes it in the foreground takes all of it first.
            let stays = self.agent.metadata.deletion_timestamp.is_none();
            let had = |name: &str| stays && self.context.stood.has(self.agent, kind, name);
            let applied = applied.with_remade(live, had);
            self.drifts.extend(applied.drifts);
            self.restarts.extend(applied.restarts);
            applied.objects
        };
        self.standing.extend(now.iter().map(|object| (kind.to_owned(), object.name_any())));
        Ok(now)
    }
}
