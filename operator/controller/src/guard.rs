//! The first step of every pass: an object that this version of the operator cannot read is set aside and told of. It stops
//! neither its kind nor its neighbours. Where objects count as a set, as the retention policies of an archive do, nobody goes on
//! without the one that cannot be read: it would be as if it had been withdrawn.

mod gathered;
mod stalled;
mod watch;

use std::{borrow::Cow, time::Duration};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use kube::{Api, Client, Resource, ResourceExt, api::ListParams};
use openarchive_operator_api::{
    ConditionStatus, ConditionType, Conditions as _, EdgeAgent, NetworkPolicySet, RetentionPolicy,
    set_condition,
};
use serde::{Deserialize, Deserializer, de::DeserializeOwned, de::Error as _};
use serde_json::{Value, json};

pub(crate) use gathered::gathered;
use stalled::Stalled;
pub(crate) use watch::{Aside, watch};

use crate::{Halt, Reason, objects::Kind};

/// Before a set is read again in which something could not be read: the object wakes its archive, unless the archive's name
/// was what could not be read.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// An object as the API server has it: read, or set aside. As kube's `DeserializeGuard`, which keeps neither where an object
/// cannot be read nor the archive that it names.
#[derive(Debug, Clone)]
pub(crate) struct Guarded<K>(pub(crate) Result<K, Box<Unreadable>>);

/// What is known of an object that this version cannot read.
#[derive(Debug, Clone)]
pub(crate) struct Unreadable {
    /// Without managed fields.
    metadata: ObjectMeta,
    /// Such as `spec.keepFor`. Never a value: it could be an address.
    place: String,
    /// The archive that it refers to, as far as that can be read.
    archive: Option<String>,
    /// As it stands.
    status: Value,
}

impl<'de, K: DeserializeOwned> Deserialize<'de> for Guarded<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut raw = Value::deserialize(deserializer)?;
        if let Ok(object) = K::deserialize(&raw) {
            return Ok(Self(Ok(object)));
        }
        let mut metadata =
            ObjectMeta::deserialize(&raw["metadata"]).map_err(|_| D::Error::custom("it has no metadata"))?;
        metadata.managed_fields = None;
        let archive = raw.pointer("/spec/archiveRef/name").and_then(Value::as_str).map(str::to_owned);
        let place = place::<K>(&raw);
        Ok(Self(Err(Box::new(Unreadable { metadata, place, archive, status: raw["status"].take() }))))
    }
}

/// Where the object is not as this version knows it.
fn place<K: DeserializeOwned>(raw: &Value) -> String {
    let Err(error) = serde_path_to_error::deserialize::<_, K>(raw) else { return String::new() };
    let path = error.path().to_string();
    // Of the parser's own words only a field's name is taken: the rest may quote a value.
    let words = error.inner().to_string();
    let missing = words.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
    match missing {
        Some(field) if path == "." => field.to_owned(),
        Some(field) => format!("{path}.{field}"),
        None => path,
    }
}

impl<K: Resource> Resource for Guarded<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(dynamic: &K::DynamicType) -> Cow<'_, str> {
        K::kind(dynamic)
    }

    fn group(dynamic: &K::DynamicType) -> Cow<'_, str> {
        K::group(dynamic)
    }

    fn version(dynamic: &K::DynamicType) -> Cow<'_, str> {
        K::version(dynamic)
    }

    fn plural(dynamic: &K::DynamicType) -> Cow<'_, str> {
        K::plural(dynamic)
    }

    fn meta(&self) -> &ObjectMeta {
        self.0.as_ref().map_or_else(|unreadable| &unreadable.metadata, K::meta)
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0.as_mut().map_or_else(|unreadable| &mut unreadable.metadata, K::meta_mut)
    }
}

impl Unreadable {
    fn message(&self) -> String {
        format!(
            "this version of the operator cannot read {}: correct it, or run the version of the operator for which it was \
             written; until then nothing is done for this object",
            self.place
        )
    }

    fn waits<K: Kind>(&self) -> Halt {
        let name = self.metadata.name.as_deref().unwrap_or_default();
        let message = format!("waits for {} {name}: {}", K::kind(&()), self.message());
        Halt::waiting(Reason::Unreadable, message, LOOK_AGAIN_AFTER)
    }

    fn conditions(&self) -> Vec<Condition> {
        Vec::deserialize(&self.status["conditions"]).unwrap_or_default()
    }

    /// Whether its status says so already.
    fn is_told(&self) -> bool {
        let conditions = self.conditions();
        let stalled = conditions.of_type(ConditionType::Stalled);
        stalled.is_some_and(|stalled| {
            stalled.status == ConditionStatus::True.name()
                && stalled.reason == Reason::Unreadable.name()
                && stalled.message == self.message()
                && stalled.observed_generation == self.metadata.generation
        })
    }

    /// Its status as it stands, but for the three conditions that say how it is.
    fn status(&self, now: k8s_openapi::jiff::Timestamp) -> Value {
        use ConditionStatus::{False, True};
        let (mut conditions, generation) = (self.conditions(), self.metadata.generation);
        let (reason, message) = (Reason::Unreadable.name(), self.message());
        for (type_, state, message) in [
            (ConditionType::Ready, False, &*message),
            (ConditionType::Reconciling, False, ""),
            (ConditionType::Stalled, True, &*message),
        ] {
            set_condition(&mut conditions, type_, state, (reason, message), generation, now);
        }
        let mut status = if self.status.is_object() { self.status.clone() } else { json!({}) };
        status["observedGeneration"] = json!(generation);
        status["conditions"] = json!(conditions);
        status
    }
}

/// A kind whose objects refer to an archive.
pub(crate) trait Refers: Kind {
    fn archive(&self) -> &str;
}

impl Refers for EdgeAgent {
    fn archive(&self) -> &str {
        &self.spec.archive_ref.name
    }
}

impl Refers for NetworkPolicySet {
    fn archive(&self) -> &str {
        &self.spec.archive_ref.name
    }
}

impl Refers for RetentionPolicy {
    fn archive(&self) -> &str {
        &self.spec.archive_ref.name
    }
}

impl<K: Refers> Guarded<K> {
    /// The archive that it refers to. `None`: nobody can tell.
    pub(crate) fn archive(&self) -> Option<&str> {
        match &self.0 {
            Ok(object) => Some(object.archive()),
            Err(unreadable) => unreadable.archive.as_deref(),
        }
    }
}

/// Every object of the kind that refers to the archive `archive`, of the moment. Waits while one of them cannot be read.
pub(crate) async fn list_referring<K: Refers>(
    client: &Client,
    namespace: &str,
    archive: &str,
) -> Result<Vec<K>, Halt> {
    let api: Api<Guarded<K>> = Api::namespaced(client.clone(), namespace);
    let found = api.list(&ListParams::default()).await;
    let found = found.map_err(|error| Halt::kubernetes(format!("list {}", K::plural(&())), error))?.items;
    let refers = |object: &Guarded<K>| object.archive().is_none_or(|name| name == archive);
    found
        .into_iter()
        .filter(refers)
        .map(|object| object.0.map_err(|unreadable| unreadable.waits::<K>()))
        .collect()
}

/// `NAMESPACE/NAME`.
pub(crate) fn key<K: ResourceExt>(object: &K) -> String {
    format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;

    use super::*;

    fn policy(spec: &Value) -> Value {
        json!({
            "apiVersion": "openarchive.dev/v1alpha1", "kind": "RetentionPolicy", "spec": spec,
            "metadata": {"name": "books", "namespace": "mail", "generation": 3, "managedFields": [{"manager": "a-person"}]},
            "status": {"className": "10y-received-forbidden", "acknowledgedGeneration": 2},
        })
    }

    fn unreadable(spec: &Value) -> Unreadable {
        let read: Guarded<RetentionPolicy> = serde_json::from_value(policy(spec)).unwrap();
        *read.0.unwrap_err()
    }

    #[test]
    fn what_cannot_be_read_is_named_by_its_place_and_never_by_its_value() {
        let archive = json!({"name": "main"});
        let good = policy(&json!({"archiveRef": archive, "keepFor": {"years": 10}}));
        let read: Guarded<RetentionPolicy> = serde_json::from_value(good).unwrap();
        assert_eq!(read.archive(), Some("main"));
        assert!(read.0.is_ok());
        let check = |spec: Value, place: &str, archive: Option<&str>| {
            let found = unreadable(&spec);
            assert_eq!((&*found.place, found.archive.as_deref()), (place, archive));
            assert!(found.metadata.managed_fields.is_none());
            let told = found.message() + &found.waits::<RetentionPolicy>().to_string();
            assert!(
                told.contains(place) && told.contains("RetentionPolicy books") && !told.contains("joe"),
                "{told}"
            );
        };
        let address = "joe@acme.example";
        check(json!({"archiveRef": archive, "keepFor": address}), "spec.keepFor", Some("main"));
        check(json!({"archiveRef": archive}), "spec.keepFor", Some("main"));
        check(json!({"archiveRef": {"name": 7}, "keepFor": {"years": 1}}), "spec.archiveRef.name", None);
        let years = json!({"archiveRef": archive, "keepFor": {"years": 1}, "startFrom": address});
        check(years, "spec.startFrom", Some("main"));
        check(json!(address), "spec", None);
    }

    #[test]
    fn its_status_says_so_once_and_keeps_what_stands_in_it() {
        let mut object = unreadable(&json!({"archiveRef": {"name": "main"}, "keepFor": 1}));
        assert!(!object.is_told());
        let now = Timestamp::from_second(10).unwrap();
        object.status = object.status(now);
        assert!(object.is_told());
        assert_eq!(object.status["acknowledgedGeneration"], 2);
        assert_eq!(object.status["observedGeneration"], 3);
        let states: Vec<_> = object.conditions().into_iter().map(|one| (one.type_, one.status)).collect();
        let expected = [("Ready", "False"), ("Reconciling", "False"), ("Stalled", "True")];
        assert_eq!(states, expected.map(|(type_, state)| (type_.to_owned(), state.to_owned())));
        let again = object.status(Timestamp::from_second(20).unwrap());
        assert_eq!(again, object.status, "the time of a transition changes with the state alone");
        object.metadata.generation = Some(4);
        assert!(!object.is_told());
    }
}
