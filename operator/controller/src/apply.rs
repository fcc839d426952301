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
    archive::ANNOTATION_AGENTS_CA,
    drift::{closing, covers, differences, is_exactly},
    left::{Fingerprint, Id},
    objects::{Kind, UNKNOWN_MANAGER, named, newest_foreign_manager},
};

/// On every object: SHA-256 of what was built, so that a change of the specification and somebody else's change can be told
/// apart.
const ANNOTATION_APPLIED: &str = "openarchive.dev/applied";
/// Fields that are named of one object that is not as built.
const FIELDS_SHOWN_MAX: usize = 4;

/// What somebody else did to an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Drift {
    pub kind: &'static str,
    pub name: String,
    /// Field manager of the newest foreign write: a name that the client chose, not an identity.
    pub manager: String,
    pub end: End,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// It was changed, and is as built again.
    Corrected,
    /// It was deleted, and is made anew.
    Remade,
    /// It is not as built at these paths, also after it was written again. `is_new`: found in this pass.
    Remains { fields: String, is_new: bool },
}

/// Pods that start anew, for what was built of them is another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Restart {
    pub kind: &'static str,
    pub name: String,
    pub reason: Reason,
}

/// What applying one kind came to.
#[derive(Debug)]
pub(crate) struct Applied<K> {
    /// As they stand now, in the order in which they were built.
    pub objects: Vec<K>,
    pub drifts: Vec<Drift>,
    pub restarts: Vec<Restart>,
    /// Names of those that were written.
    pub written: Vec<String>,
}

impl<K: Kind> Applied<K> {
    /// Finds out which of those that were written had been deleted: not found in `live`, though `had` says of its name that it
    /// was there.
    pub(crate) fn with_remade(mut self, live: &[K], had: impl Fn(&str) -> bool) -> Self {
        let is_told =
            |name: &str| self.drifts.iter().any(|drift| drift.name == name && drift.end == End::Corrected);
        let missing = self.written.iter().filter(|name| named(live, name).is_none() && !is_told(name));
        let remade: Vec<_> = missing
            .filter(|name| had(name))
            .map(|name| Drift {
                kind: kind_of::<K>(),
                name: name.clone(),
                manager: UNKNOWN_MANAGER.to_owned(),
                end: End::Remade,
            })
            .collect();
        self.drifts.extend(remade);
        self
    }
}

/// Brings every object of one kind to what was built. Idempotent: what stands already is not written, nor what was changed again
/// right after it was written a short time ago.
pub(crate) async fn apply<K: Kind>(
    context: &Context,
    namespace: &str,
    archive: &str,
    desired: &[K],
    live: &[K],
) -> Result<Applied<K>, Halt> {
    let mut applied =
        Applied { objects: Vec::new(), drifts: Vec::new(), restarts: Vec::new(), written: Vec::new() };
    let api: Api<K> = Api::namespaced(context.client.clone(), namespace);
    for object in desired {
        let name = object.name_any();
        let (wanted, hash) = marked(object)?;
        let stands = match named(live, &name) {
            Some(found) => Some(found.clone()),
            None => foreign(&api, &name, archive, &hash).await?,
        };
        let is_same = |stands: &&K| stands.annotations().get(ANNOTATION_APPLIED) == Some(&hash);
        let found = stands.as_ref().filter(is_same);
        let change = Change { context, id: (kind_of::<K>(), namespace.to_owned(), name), wanted: &wanted };
        if let Some(found) = found
            && let Some(drifts) = change.let_be(found)?
        {
            applied.objects.push(found.clone());
            applied.drifts.extend(drifts);
            continue;
        }
        let now = change.write(&api, found).await?;
        applied.drifts.extend(change.outcome(found, &now)?);
        if let Some(before) = stands.as_ref().filter(|stands| !is_same(stands)) {
            applied.restarts.extend(restart(before, &now)?);
        }
        applied.objects.push(now);
        applied.written.push(change.id.2);
    }
    Ok(applied)
}

/// Bringing one object to what was built.
struct Change<'a> {
    context: &'a Context,
    id: Id,
    wanted: &'a Value,
}

impl Change<'_> {
    /// Whether `found`, which was applied as it was built, stays as it is: with what is told of it.
    fn let_be<K: Kind>(&self, found: &K) -> Result<Option<Vec<Drift>>, Halt> {
        let live = value(found)?;
        if is_as_built::<K>(self.wanted, &live) {
            self.context.left.forget(&self.id);
            return Ok(Some(Vec::new()));
        }
        let fingerprint = self.fingerprint::<K>(&live);
        let is_known = self.context.left.is_known(&self.id, fingerprint, self.context.now());
        Ok(is_known.then(|| vec![self.remains(found, &live, false)]))
    }

    /// `before` was applied as it was built, and somebody changed it.
    async fn write<K: Kind>(&self, api: &Api<K>, before: Option<&K>) -> Result<K, Halt> {
        let name = &self.id.2;
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        let now = api.patch(name, &parameters, &Patch::Apply(self.wanted)).await;
        match (now, before) {
            (Ok(now), _) => close(api, self.wanted, now).await,
            // It was valid once: what cannot be changed any more, such as a Job's pods, somebody changed as it was made.
            (Err(kube::Error::Api(status)), Some(before)) if status.code == 422 => Ok(before.clone()),
            (Err(error), _) => Err(refused::<K>(name, error)),
        }
    }

    /// What is told of an object that was written.
    fn outcome<K: Kind>(&self, before: Option<&K>, now: &K) -> Result<Vec<Drift>, Halt> {
        let live = value(now)?;
        let corrected = |before: &K| self.drift::<K>(newest_foreign_manager(before), End::Corrected);
        if is_as_built::<K>(self.wanted, &live) {
            self.context.left.forget(&self.id);
            return Ok(before.map(corrected).into_iter().collect());
        }
        if K::kind(&()) == "NetworkPolicy" {
            return Err(stays::<K>(&self.id.2, &newest_foreign_manager(now)));
        }
        let fingerprint = self.fingerprint::<K>(&live);
        let is_new = self.context.left.note(self.id.clone(), fingerprint, self.context.now());
        let mut drifts = vec![self.remains(now, &live, is_new)];
        if let Some(before) = before.filter(|_| !is_new)
            && self.fingerprint::<K>(&value(before)?) != fingerprint
        {
            drifts.push(corrected(before));
        }
        Ok(drifts)
    }

    fn fingerprint<K: Kind>(&self, live: &Value) -> Fingerprint {
        Fingerprint::of(self.wanted, &differences(&K::kind(&()), self.wanted, live))
    }

    fn remains<K: Kind>(&self, object: &K, live: &Value, is_new: bool) -> Drift {
        let paths: Vec<_> = differences(&K::kind(&()), self.wanted, live).into_keys().collect();
        let shown: Vec<_> = paths.iter().take(FIELDS_SHOWN_MAX).map(String::as_str).collect();
        let fields = match paths.len() - shown.len() {
            0 => shown.join(", "),
            more => format!("{} and {more} more", shown.join(", ")),
        };
        self.drift::<K>(newest_foreign_manager(object), End::Remains { fields, is_new })
    }

    fn drift<K: Kind>(&self, manager: String, end: End) -> Drift {
        Drift { kind: kind_of::<K>(), name: self.id.2.clone(), manager, end }
    }
}

/// Whether the pods of a workload start anew, by the rule of its controller: another template, other pods.
fn restart<K: Kind>(before: &K, now: &K) -> Result<Option<Restart>, Halt> {
    let kind = kind_of::<K>();
    if !matches!(kind, "Deployment" | "StatefulSet") {
        return Ok(None);
    }
    let template = |object: &K| value(object).map(|mut value| value["spec"]["template"].take());
    let (before, after) = (template(before)?, template(now)?);
    let images = |template: &Value| {
        let containers = template["spec"]["containers"].as_array().into_iter().flatten();
        containers.map(|container| container["image"].clone()).collect::<Vec<_>>()
    };
    let authority = |template: &Value| template["metadata"]["annotations"][ANNOTATION_AGENTS_CA].clone();
    if before == after {
        return Ok(None);
    }
    let reason = if images(&before) != images(&after) {
        Reason::VersionChanged
    } else if authority(&before) != authority(&after) {
        Reason::AuthorityExchanged
    } else {
        Reason::ConfigurationChanged
    };
    Ok(Some(Restart { kind, name: now.name_any(), reason }))
}

/// Whether `desired` was applied to `live` as it is now. What others did to it since is not looked at: to undo it, or to tell
/// that it stays, is not for whoever asks.
pub(crate) fn was_applied<K: Kind>(desired: &K, live: &K) -> bool {
    marked(desired).is_ok_and(|(_, hash)| live.annotations().get(ANNOTATION_APPLIED) == Some(&hash))
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

/// A policy that is not as built is a hole: nothing goes on as if it stood.
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

#[cfg(test)]
mod tests {
    use k8s_openapi::api::{
        apps::v1::{Deployment, StatefulSet},
        batch::v1::Job,
    };

    use super::*;

    fn of<K: Kind>(before: &Value, now: &Value) -> Option<Reason> {
        let read = |value: &Value| serde_json::from_value::<K>(value.clone()).unwrap();
        restart(&read(before), &read(now)).unwrap().map(|restart| restart.reason)
    }

    #[test]
    fn pods_start_anew_for_a_reason_and_only_if_their_template_changes() {
        let workload = |image: &str, authority: &str, config: &str, replicas: u32| {
            json!({
                "metadata": {"name": "main"},
                "spec": {
                    "replicas": replicas, "selector": {},
                    "template": {
                        "metadata": {"annotations": {ANNOTATION_AGENTS_CA: authority, "openarchive.dev/config": config}},
                        "spec": {"containers": [{"name": "openarchive", "image": image}]},
                    },
                },
            })
        };
        let check = |now: &Value, expected: Option<Reason>| {
            let before = workload("one:1", "a", "a", 1);
            assert_eq!(of::<StatefulSet>(&before, now), expected);
            assert_eq!(of::<Deployment>(&before, now), expected);
            assert_eq!(of::<Job>(&before, now), None, "a Job runs once");
        };
        check(&workload("one:1", "a", "a", 1), None);
        check(&workload("one:1", "a", "a", 3), None);
        check(&workload("one:2", "b", "b", 1), Some(Reason::VersionChanged));
        check(&workload("one:1", "b", "b", 1), Some(Reason::AuthorityExchanged));
        check(&workload("one:1", "a", "b", 1), Some(Reason::ConfigurationChanged));
    }
}
