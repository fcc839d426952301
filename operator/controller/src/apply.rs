//! Brings objects to what was built, by server-side apply, and writes only where the cluster says something else.

use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
};
use openarchive_operator_api::{FIELD_MANAGER, LABEL_INSTANCE, LABEL_MANAGED_BY, MANAGED_BY};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    Context, Halt, Reason,
    drift::{closing, covers, is_exactly},
    objects::{Kind, named, newest_foreign_manager},
};

/// On every object: SHA-256 of what was built, so that a change of the specification and somebody else's change can be told
/// apart.
const ANNOTATION_APPLIED: &str = "openarchive.dev/applied";

/// Somebody else's change that was undone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Drift {
    pub kind: &'static str,
    pub name: String,
    /// Field manager of the newest foreign write: a name that the client chose, not an identity.
    pub manager: String,
}

/// What applying one kind came to.
#[derive(Debug)]
pub(crate) struct Applied<K> {
    /// As they stand now, in the order in which they were built.
    pub objects: Vec<K>,
    pub drifts: Vec<Drift>,
    /// Names of those that were written.
    pub written: Vec<String>,
}

/// Brings every object of one kind to what was built. Idempotent: what stands already is not written.
pub(crate) async fn apply<K: Kind>(
    context: &Context,
    namespace: &str,
    archive: &str,
    desired: &[K],
    live: &[K],
) -> Result<Applied<K>, Halt> {
    let mut applied = Applied { objects: Vec::new(), drifts: Vec::new(), written: Vec::new() };
    let api: Api<K> = Api::namespaced(context.client.clone(), namespace);
    for object in desired {
        let name = object.name_any();
        let (wanted, hash) = marked(object)?;
        let found = match named(live, &name) {
            Some(found) => Some(found.clone()),
            None => foreign(&api, &name, archive, &hash).await?,
        };
        if let Some(found) = found {
            let was_applied = found.annotations().get(ANNOTATION_APPLIED) == Some(&hash);
            if was_applied && is_as_built::<K>(&wanted, &value(&found)?) {
                applied.objects.push(found);
                continue;
            }
            if was_applied {
                let manager = newest_foreign_manager(&found);
                applied.drifts.push(Drift { kind: kind_of::<K>(), name: name.clone(), manager });
            }
        }
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        let now = api.patch(&name, &parameters, &Patch::Apply(&wanted)).await;
        let now = now.map_err(|error| refused::<K>(&name, error))?;
        let now = close(&api, &wanted, now).await?;
        if !is_as_built::<K>(&wanted, &value(&now)?) {
            return Err(stays::<K>(&name, &newest_foreign_manager(&now)));
        }
        applied.objects.push(now);
        applied.written.push(name);
    }
    Ok(applied)
}

/// Whether `live` is what `desired` leads to: its mark, and every field.
pub(crate) fn stands<K: Kind>(desired: &K, live: &K) -> bool {
    let Ok((wanted, hash)) = marked(desired) else { return false };
    live.annotations().get(ANNOTATION_APPLIED) == Some(&hash)
        && value(live).is_ok_and(|live| is_as_built::<K>(&wanted, &live))
}

fn is_as_built<K: Kind>(wanted: &Value, live: &Value) -> bool {
    let is_closed = match &*K::kind(&()) {
        // The API server adds no defaults to what we build of it.
        "NetworkPolicy" => is_exactly(&wanted["spec"], &live["spec"]),
        kind => closing(kind, wanted, live).is_none(),
    };
    is_closed && covers(wanted, live)
}

/// Takes out what somebody else added beside what was built, where that is a hole.
async fn close<K: Kind>(api: &Api<K>, wanted: &Value, now: K) -> Result<K, Halt> {
    let Some(spec) = closing(&K::kind(&()), wanted, &value(&now)?) else { return Ok(now) };
    let name = now.name_any();
    // Of the object as it was read: somebody may be writing it at this moment.
    let patch = json!({"metadata": {"resourceVersion": now.resource_version()}, "spec": spec});
    let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    api.patch(&name, &parameters, &Patch::Merge(&patch)).await.map_err(|error| refused::<K>(&name, error))
}

/// Elements that somebody else added to a list stay his under server-side apply.
fn stays<K: Kind>(name: &str, manager: &str) -> Halt {
    let message = format!(
        "{} {name} was changed by {manager} in a way that cannot be taken back: delete it, and it is made anew",
        kind_of::<K>()
    );
    Halt::terminal(Reason::NotOurs, message)
}

/// The object as it is sent, with its mark, and the mark.
fn marked<K: Kind>(object: &K) -> Result<(Value, String), Halt> {
    let mut wanted = value(object)?;
    if let Some(fields) = wanted.as_object_mut() {
        fields.remove("status");
    }
    let hash = hex::encode(Sha256::digest(wanted.to_string()));
    let annotations = wanted.get_mut("metadata").and_then(Value::as_object_mut).map(|metadata| {
        metadata.entry("annotations").or_insert_with(|| Value::Object(serde_json::Map::new()))
    });
    if let Some(Value::Object(annotations)) = annotations {
        annotations.insert(ANNOTATION_APPLIED.to_owned(), Value::String(hash.clone()));
    }
    Ok((wanted, hash))
}

fn value<K: Kind>(object: &K) -> Result<Value, Halt> {
    serde_json::to_value(object).map_err(|error| Halt::Transient {
        reason: Reason::KubernetesApi,
        what: format!("cannot write {} {} as JSON", kind_of::<K>(), object.name_any()),
        source: error.into(),
    })
}

/// An object of that name that the labels did not find: ours without its labels, or somebody else's, which is left alone.
async fn foreign<K: Kind>(api: &Api<K>, name: &str, archive: &str, hash: &str) -> Result<Option<K>, Halt> {
    let found = api.get_opt(name).await;
    let found = found.map_err(|error| Halt::kubernetes(format!("get {} {name}", kind_of::<K>()), error))?;
    let Some(found) = found else { return Ok(None) };
    let labels = found.labels();
    let is_ours = found.managed_fields().iter().any(|entry| entry.manager.as_deref() == Some(FIELD_MANAGER));
    let says_ours = labels.get(LABEL_MANAGED_BY).is_some_and(|by| by == MANAGED_BY)
        && labels.get(LABEL_INSTANCE).is_some_and(|instance| instance == archive);
    // Another archive's, whose name and component make the same name; one of ours that somebody relabelled keeps its mark.
    let is_anothers = labels.get(LABEL_INSTANCE).is_some_and(|instance| instance != archive)
        && found.annotations().get(ANNOTATION_APPLIED).is_none_or(|mark| mark != hash);
    if !is_anothers && (is_ours || says_ours) {
        return Ok(Some(found));
    }
    let message = format!(
        "{} {name} is there already and was not made for this archive: remove it, or choose another name for the ArchiveCore",
        kind_of::<K>()
    );
    Err(Halt::terminal(Reason::NotOurs, message))
}

/// What the API server calls invalid stays invalid until the specification changes. Its text is not passed on: it may quote
/// the object.
fn refused<K: Kind>(name: &str, error: kube::Error) -> Halt {
    match &error {
        kube::Error::Api(status) if status.code == 422 => {
            let fields = status.details.as_ref().map(|details| {
                details.causes.iter().map(|cause| cause.field.clone()).collect::<Vec<_>>().join(", ")
            });
            let message = format!(
                "the API server calls {} {name} invalid at {}: correct the specification",
                kind_of::<K>(),
                fields.unwrap_or_default()
            );
            Halt::terminal(Reason::InvalidSpec, message)
        }
        _ => Halt::kubernetes(format!("apply {} {name}", kind_of::<K>()), error),
    }
}

/// `Secret`, `ConfigMap`, …
pub(crate) fn kind_of<K: Kind>() -> &'static str {
    let name = std::any::type_name::<K>();
    name.rsplit("::").next().unwrap_or(name)
}
