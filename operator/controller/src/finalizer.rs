//! Holds an object whose end somebody outside the cluster must be told of, until they were or a time is over.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
};
use openarchive_operator_api::FINALIZER;
use serde_json::json;

use crate::{Context, Halt, RESYNC_AFTER, Reason, objects::Kind};

/// Field manager of the finalizer alone: applying it touches nothing else.
pub(crate) const MANAGER: &str = "openarchive-operator-finalizer";

/// From now on the object stays until it is released. Writes nothing if it is held already; of one that went meanwhile the pass
/// ends here.
pub(crate) async fn hold<K: Kind>(context: &Context, object: &K) -> Result<(), Halt> {
    if is_held(object) || apply(context, object, &[FINALIZER]).await?.is_some() {
        return Ok(());
    }
    Err(Halt::waiting(Reason::Progressing, "it was deleted meanwhile", RESYNC_AFTER))
}

/// Lets an object go. Writes nothing if it is not held.
pub(crate) async fn release<K: Kind>(context: &Context, object: &K) -> Result<(), Halt> {
    if !is_held(object) {
        return Ok(());
    }
    let Some(now) = apply(context, object, &[]).await?.filter(is_held) else { return Ok(()) };
    // Somebody else says that it is his, too, as whoever applies a copy of the object does: it would hold the object for ever.
    let others: Vec<_> = now.finalizers().iter().filter(|finalizer| *finalizer != FINALIZER).collect();
    let patch = json!({"metadata": {"resourceVersion": now.resource_version(), "finalizers": others}});
    let parameters = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    answered(&now, api(context, &now).patch(&now.name_any(), &parameters, &Patch::Merge(&patch)).await)
        .map(drop)
}

pub(crate) fn is_held<K: ResourceExt>(object: &K) -> bool {
    object.finalizers().iter().any(|finalizer| finalizer == FINALIZER)
}

/// Whether `deadline` has passed since the object was deleted.
pub(crate) fn is_overdue<K: ResourceExt>(object: &K, deadline: Duration, now: Timestamp) -> bool {
    let deleted = object.meta().deletion_timestamp.as_ref().map(|time| time.0);
    deleted.is_some_and(|deleted| {
        let since = now.as_second().saturating_sub(deleted.as_second());
        u64::try_from(since).is_ok_and(|since| since >= deadline.as_secs())
    })
}

fn api<K: Kind>(context: &Context, object: &K) -> Api<K> {
    Api::namespaced(context.client.clone(), &object.namespace().unwrap_or_default())
}

/// The object as it stands then; `None` if it went meanwhile.
async fn apply<K: Kind>(context: &Context, object: &K, finalizers: &[&str]) -> Result<Option<K>, Halt> {
    let name = object.name_any();
    let patch = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        // With its uid: another object of that name, made meanwhile, is left alone.
        "metadata": {"name": name, "uid": object.uid(), "finalizers": finalizers},
    });
    let parameters = PatchParams::apply(MANAGER).force();
    answered(object, api(context, object).patch(&name, &parameters, &Patch::Apply(&patch)).await)
}

fn answered<K: Kind>(object: &K, answer: kube::Result<K>) -> Result<Option<K>, Halt> {
    match answer {
        Ok(now) => Ok(Some(now)),
        // It went meanwhile. (If another one has its name, the answer is a conflict, and no pass sees the old one again.)
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => {
            let what = format!("write the finalizer of {} {}", K::kind(&()), object.name_any());
            Err(Halt::kubernetes(what, error))
        }
    }
}
