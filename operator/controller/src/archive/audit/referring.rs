//! What people write beside an archive and that counts for it: its retention policies and the network policy set that somebody
//! wrote for it. A change of one is a new configuration of the archive, though its own generation stays.

use k8s_openapi::jiff::Timestamp;
use kube::{Resource, ResourceExt};
use openarchive_operator_api::{ArchiveCore, NetworkPolicySet, RetentionPolicy};
use openarchive_operator_snapshot::Snapshot;
use serde::Serialize;
use serde_json::{Value, json};

use crate::objects::{UNKNOWN_MANAGER, newest_foreign_manager, newest_foreign_write};

/// One of them, as it enters a snapshot: with uid and generation, so that one that was made anew, or changed and changed back,
/// is seen.
pub(crate) struct Referring {
    pub(super) value: Value,
    manager: String,
    written_at: Option<Timestamp>,
}

pub(crate) fn referring(
    policies: &[RetentionPolicy],
    sets: &[NetworkPolicySet],
) -> Result<Vec<Referring>, serde_json::Error> {
    let mut all = Vec::new();
    for policy in policies {
        all.push(one(policy, &policy.spec)?);
    }
    for set in sets {
        all.push(one(set, &set.spec)?);
    }
    Ok(all)
}

fn one<K>(object: &K, spec: &impl Serialize) -> Result<Referring, serde_json::Error>
where
    K: Resource<DynamicType = ()>,
{
    let value = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": {
            "name": object.name_any(),
            "namespace": object.namespace(),
            "uid": object.uid(),
            "generation": object.meta().generation,
        },
        "spec": serde_json::to_value(spec)?,
    });
    let written_at = newest_foreign_write(object).and_then(|entry| entry.time.as_ref()).map(|time| time.0);
    Ok(Referring { value, manager: newest_foreign_manager(object), written_at })
}

/// Who, by his own word, made what is new since `before`: a client's name for itself, not an identity. Who deletes is not told.
pub(super) fn author(
    archive: &ArchiveCore,
    spec: &Value,
    referring: &[Referring],
    before: Option<&Snapshot>,
) -> String {
    let of_archive = || newest_foreign_manager(archive);
    let Some(before) = before else { return of_archive() };
    let generation = archive.metadata.generation.and_then(|n| u64::try_from(n).ok());
    let is_same =
        Some(before.uid()) == archive.metadata.uid.as_deref() && Some(before.generation()) == generation;
    if !is_same || before.spec() != spec {
        return of_archive();
    }
    let is_known = |one: &&Referring| before.objects().iter().any(|was| mark(was) == mark(&one.value));
    let changed = referring.iter().filter(|one| !is_known(one));
    if let Some(newest) = changed.max_by_key(|one| one.written_at) {
        return newest.manager.clone();
    }
    let is_gone = |was: &&Value| !referring.iter().any(|one| mark(&one.value) == mark(was));
    let were_referring = before.objects().iter().filter(|was| was["metadata"]["uid"].is_string());
    if were_referring.filter(is_gone).count() > 0 { UNKNOWN_MANAGER.to_owned() } else { of_archive() }
}

/// Changes with each change of the specification, and when the object is made anew. What we build has no uid.
fn mark(object: &Value) -> (Option<&str>, Option<i64>) {
    (object["metadata"]["uid"].as_str(), object["metadata"]["generation"].as_i64())
}

#[cfg(test)]
mod tests {
    use openarchive_operator_snapshot::{Applied, MAC_KEY_BYTES, MacKey, Subject};

    use super::*;

    fn archive(generation: i64, manager: &str) -> ArchiveCore {
        serde_json::from_value(json!({
            "apiVersion": "openarchive.dev/v1alpha1", "kind": "ArchiveCore",
            "metadata": {
                "name": "main", "namespace": "mail", "generation": generation,
                "uid": "6f1c1a52-0d55-4b7e-9c68-2f6a4c0d9e11", "managedFields": [written(manager, 1)],
            },
            "spec": {
                "domain": "archive.example.org", "tenants": [{"name": "acme"}], "profile": "Standalone",
                "version": "0.1.0", "retention": {"default": "10y-received-forbidden"},
            },
        }))
        .unwrap()
    }

    fn written(manager: &str, minute: u32) -> Value {
        json!({"manager": manager, "operation": "Apply", "time": format!("2026-01-02T03:{minute:02}:00Z")})
    }

    fn policy(name: &str, generation: i64, manager: &str, minute: u32) -> RetentionPolicy {
        serde_json::from_value(json!({
            "apiVersion": "openarchive.dev/v1alpha1", "kind": "RetentionPolicy",
            "metadata": {
                "name": name, "namespace": "mail", "uid": format!("uid-of-{name}"), "generation": generation,
                "managedFields": [written(manager, minute)],
            },
            "spec": {"archiveRef": {"name": "main"}, "keepFor": {"years": 10}},
        }))
        .unwrap()
    }

    fn snapshot(archive: &ArchiveCore, referring: &[Referring]) -> Snapshot {
        let applied = Applied {
            subject: Subject::new("ArchiveCore", "mail", "main").unwrap(),
            uid: archive.uid().unwrap(),
            generation: 4,
            operator_version: "0.1.0".to_owned(),
            client_declared_manager: String::new(),
            spec: serde_json::to_value(&archive.spec).unwrap(),
            objects: referring.iter().map(|one| one.value.clone()).collect(),
        };
        Snapshot::take(applied, &MacKey::new("k", 1, [7; MAC_KEY_BYTES]), None).unwrap()
    }

    #[test]
    fn the_author_is_whoever_wrote_what_is_new() {
        let first = [policy("books", 1, "gitops", 2), policy("mails", 1, "gitops", 2)];
        let before = snapshot(&archive(4, "a-person"), &referring(&first, &[]).unwrap());
        let check = |archive: &ArchiveCore, policies: &[RetentionPolicy], expected: &str| {
            let spec = serde_json::to_value(&archive.spec).unwrap();
            let now = referring(policies, &[]).unwrap();
            assert_eq!(author(archive, &spec, &now, Some(&before)), expected);
        };
        let same = archive(4, "a-person");
        check(&same, &first, "a-person");
        check(&archive(5, "helm"), &first, "helm");
        let [books, mails] = &first;
        check(&same, &[policy("books", 2, "kubectl-edit", 3), mails.clone()], "kubectl-edit");
        check(&same, &[books.clone(), mails.clone(), policy("new", 1, "flux", 4)], "flux");
        let newest = [policy("books", 2, "older", 5), policy("mails", 2, "newer", 6)];
        check(&same, &newest, "newer");
        check(&same, std::slice::from_ref(books), "unknown");
        assert_eq!(author(&same, &json!({}), &[], None), "a-person");
    }
}
