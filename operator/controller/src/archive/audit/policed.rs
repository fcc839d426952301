//! The network policies of an archive, as they enter a snapshot. A NetworkPolicySet's own pass applies them; what opens and
//! closes the archive belongs to its configuration all the same.

use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::ResourceExt;
use openarchive_ledger::jcs;
use openarchive_operator_api::{EdgeAgent, GROUP, NetworkPolicySet, PolicyMode, VERSION};
use openarchive_operator_netpol::build;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::unrecordable;
use crate::{
    Halt, Settings,
    archive::{ValidArchive, build::facts},
};

/// Most canonical JSON of network policies that a snapshot holds one by one. Of more it holds their names and one hash.
const NETWORK_POLICIES_BYTES_MAX: usize = 200_000;
/// Kind of what stands in a snapshot for policies that are not held one by one.
const NETWORK_POLICIES: &str = "NetworkPolicies";

/// As the set that stands for the archive has them built; none of a set in mode Audit, which applies none.
pub(crate) fn network_policies(
    archive: &ValidArchive,
    set: Option<&NetworkPolicySet>,
    agents_in_cluster: &[EdgeAgent],
    database_url: Option<&str>,
    settings: &Settings,
) -> Result<Vec<Value>, Halt> {
    match set {
        Some(set) if set.spec.mode == PolicyMode::Enforce => {
            let facts = facts(archive, &set.spec, agents_in_cluster, database_url, settings)?;
            values(&archive.namespace, &archive.name, &build(&facts))
        }
        _ => Ok(Vec::new()),
    }
}

fn values(namespace: &str, name: &str, policies: &[NetworkPolicy]) -> Result<Vec<Value>, Halt> {
    let (mut values, mut bytes, mut hash) = (Vec::new(), 0, Sha256::new());
    for policy in policies {
        let value = serde_json::to_value(policy).map_err(|error| unrecordable(&error.to_string()))?;
        let canonical = jcs::canonicalize(&value).map_err(|error| unrecordable(&error.to_string()))?;
        hash.update(&canonical);
        hash.update("\n");
        bytes += canonical.len();
        values.push(value);
    }
    if bytes <= NETWORK_POLICIES_BYTES_MAX {
        return Ok(values);
    }
    let names: Vec<_> = policies.iter().map(ResourceExt::name_any).collect();
    Ok(vec![json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": NETWORK_POLICIES,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"names": names, "sha256": hex::encode(hash.finalize())},
    })])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(name: &str, note: &str) -> NetworkPolicy {
        let mut policy = NetworkPolicy::default();
        policy.metadata.name = Some(name.to_owned());
        policy.metadata.annotations = Some([("note".to_owned(), note.to_owned())].into());
        policy
    }

    #[test]
    fn policies_stand_one_by_one_up_to_the_limit_and_beyond_it_as_names_and_one_hash() {
        let bytes =
            |policy: &NetworkPolicy| jcs::canonicalize(&serde_json::to_value(policy).unwrap()).unwrap().len();
        let small = policy("main-deny", "");
        let room = NETWORK_POLICIES_BYTES_MAX - bytes(&small) - bytes(&policy("main-all", ""));
        let at_the_limit = [small.clone(), policy("main-all", &"x".repeat(room))];
        let kept = values("mail", "main", &at_the_limit).unwrap();
        assert_eq!(kept, at_the_limit.map(|policy| serde_json::to_value(policy).unwrap()));

        let hashed = |note: &str| {
            let mut kept = values("mail", "main", &[small.clone(), policy("main-all", note)]).unwrap();
            assert_eq!(kept.len(), 1);
            kept.remove(0)
        };
        let beyond = hashed(&"x".repeat(room + 1));
        assert_eq!(beyond["kind"], "NetworkPolicies");
        assert_eq!(beyond["spec"]["names"], json!(["main-deny", "main-all"]));
        assert_ne!(beyond, hashed(&"y".repeat(room + 1)));
    }
}
