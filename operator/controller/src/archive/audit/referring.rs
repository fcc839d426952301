//! What people write beside an archive and that counts for it: its retention policies, the network policy set that somebody
//! wrote for it, and its agents. A change of one is a new configuration of the archive, though its own generation stays.

use k8s_openapi::jiff::Timestamp;
use kube::{Resource, ResourceExt};
use openarchive_ledger::jcs;
use openarchive_operator_api::{ArchiveCore, EdgeAgent, GROUP, NetworkPolicySet, RetentionPolicy, VERSION};
use openarchive_operator_snapshot::Snapshot;
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::unrecordable;
use crate::{
    Halt,
    objects::{UNKNOWN_MANAGER, newest_foreign_manager, newest_foreign_write},
};

/// Most canonical JSON of agents that a snapshot holds one by one: a tenth of a snapshot, some 300 agents elsewhere. Of more it
/// holds their number and one hash: each change is a snapshot that is kept for ever.
const EDGE_AGENTS_BYTES_MAX: usize = 100_000;
/// Kind of what stands in a snapshot for agents that are not held one by one.
const EDGE_AGENTS: &str = "EdgeAgents";

/// One of them, as it enters a snapshot: with uid and generation, so that one that was made anew, or changed and changed back,
/// is seen.
#[derive(Debug, Clone)]
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

/// The agents of the archive `archive`, which come in the order of their names. Those that are being deleted are left out: they
/// are specified no longer, however long they drain.
pub(crate) fn edge_agents(
    namespace: &str,
    archive: &str,
    agents: &[EdgeAgent],
) -> Result<Vec<Referring>, Halt> {
    let mut listed = Vec::new();
    let (mut count, mut bytes, mut hash) = (0, 0, Sha256::new());
    for agent in agents.iter().filter(|agent| agent.metadata.deletion_timestamp.is_none()) {
        let agent = one(agent, &agent.spec).map_err(|error| unrecordable(&error.to_string()))?;
        let canonical = jcs::canonicalize(&agent.value).map_err(|error| unrecordable(&error.to_string()))?;
        hash.update(&canonical);
        hash.update("\n");
        count += 1;
        bytes += canonical.len();
        if bytes <= EDGE_AGENTS_BYTES_MAX {
            listed.push(agent);
        } else {
            listed.clear();
        }
    }
    if bytes <= EDGE_AGENTS_BYTES_MAX {
        return Ok(listed);
    }
    let value = json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": EDGE_AGENTS,
        "metadata": {"name": archive, "namespace": namespace},
        "spec": {"count": count, "sha256": hex::encode(hash.finalize())},
    });
    // Whose change it was cannot be told from a hash.
    Ok(vec![Referring { value, manager: UNKNOWN_MANAGER.to_owned(), written_at: None }])
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
    let refers = |was: &&Value| was["metadata"]["uid"].is_string() || was["kind"] == EDGE_AGENTS;
    let were_referring = before.objects().iter().filter(refers);
    if were_referring.filter(is_gone).count() > 0 { UNKNOWN_MANAGER.to_owned() } else { of_archive() }
}

/// Changes with each change of the specification, and when the object is made anew. What we build has none of these.
fn mark(object: &Value) -> (Option<&str>, Option<i64>, Option<&str>) {
    let metadata = &object["metadata"];
    let of_many = object["spec"]["sha256"].as_str().filter(|_| object["kind"] == EDGE_AGENTS);
    (metadata["uid"].as_str(), metadata["generation"].as_i64(), of_many)
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

    fn agent(number: usize, cidr: &str) -> EdgeAgent {
        let name = format!("site-{number:05}");
        serde_json::from_value(json!({
            "apiVersion": "openarchive.dev/v1alpha1", "kind": "EdgeAgent",
            "metadata": {
                "name": name, "namespace": "mail", "uid": format!("6f1c1a52-0d55-4b7e-9c68-2f6a4c0{number:05}"), "generation": 1,
                "managedFields": [written("gitops", 2)], "finalizers": ["openarchive.dev/ledger"],
            },
            "spec": {
                "archiveRef": {"name": "main"}, "tenant": "acme", "placement": "InCluster",
                "listeners": [{"name": "smtp", "port": 2525, "peers": [{"cidrs": [cidr], "journalMode": "Plain"}]}],
                "buffer": {"size": "1Gi", "highWater": "512Mi"},
            },
            "status": {"observedGeneration": 1},
        }))
        .unwrap()
    }

    fn entered(agents: &[EdgeAgent]) -> Vec<Value> {
        edge_agents("mail", "main", agents).unwrap().into_iter().map(|one| one.value).collect()
    }

    #[test]
    fn agents_stand_one_by_one_in_a_snapshot_until_they_are_too_many() {
        let many = |count| (0..count).map(|number| agent(number, "192.0.2.0/24")).collect::<Vec<_>>();
        let each = jcs::canonicalize(&entered(&many(1))[0]).unwrap().len();
        let most = EDGE_AGENTS_BYTES_MAX / each;
        let listed = entered(&many(most));
        assert_eq!(listed.len(), most);
        assert_eq!(listed[0]["spec"]["listeners"][0]["peers"][0]["cidrs"][0], "192.0.2.0/24");
        for count in [most + 1, 10_000] {
            let [one] = entered(&many(count)).try_into().unwrap();
            assert_eq!((&one["kind"], &one["spec"]["count"]), (&json!("EdgeAgents"), &json!(count)));
            assert_eq!(one["spec"]["sha256"].as_str().unwrap().len(), 64);
            let mut other = many(count);
            other[count / 2] = agent(count / 2, "192.0.2.0/25");
            assert_ne!(entered(&other), [one], "one of {count} was changed");
        }
    }

    #[test]
    fn a_snapshot_says_of_an_agent_what_is_specified_and_nothing_that_happens_to_it() {
        let first = entered(&[agent(1, "192.0.2.0/24")]);
        let mut same = agent(1, "192.0.2.0/24");
        same.status = None;
        same.metadata.finalizers = None;
        same.metadata.resource_version = Some("7".to_owned());
        assert_eq!(entered(&[same]), first);
        assert_ne!(entered(&[agent(1, "192.0.2.0/25")]), first);
        let mut going = agent(1, "192.0.2.0/24");
        going.metadata.deletion_timestamp =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Timestamp::UNIX_EPOCH));
        assert_eq!(entered(&[going]), [Value::Null; 0]);
    }

    #[test]
    fn of_agents_that_are_too_many_nobody_is_called_the_author() {
        let many = |cidr: &str| {
            let all: Vec<_> = (0..1_000).map(|number| agent(number, cidr)).collect();
            edge_agents("mail", "main", &all).unwrap()
        };
        let archive = archive(4, "a-person");
        let (first, spec) = (many("192.0.2.0/24"), serde_json::to_value(&archive.spec).unwrap());
        let before = snapshot(&archive, &first);
        let author = |now: &[Referring]| author(&archive, &spec, now, Some(&before));
        assert_eq!(author(&first), "a-person");
        assert_eq!(author(&many("192.0.2.0/25")), "unknown");
        assert_eq!(author(&[]), "unknown");
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
