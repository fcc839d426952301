//! Whether a connection is allowed by the network policies of an archive, by which edge, and which rule carries it: from what is
//! specified, without looking at a policy in the cluster.

use kube::ResourceExt;
use openarchive_operator_api::{ArchiveCore, EdgeAgent, NetworkPolicySet, NetworkPolicySetSpec, PolicyMode};
use openarchive_operator_netpol::{
    ExplainError, Explanation, Facts, Layout, Port, Subject, explain as explain_connection,
};
use openarchive_topology::{Endpoint, Role};

use crate::{
    Halt, Settings,
    archive::{build::facts, one_set, validate},
    render::as_in_a_cluster,
};

/// A connection that somebody asks about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    pub from: Subject,
    pub to: Subject,
    pub port: Port,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    pub explanation: Explanation,
    /// In mode Audit nobody applies the policies that the explanation speaks of.
    pub mode: PolicyMode,
}

#[derive(Debug, thiserror::Error)]
pub enum Unexplained {
    /// The archive has no network policies as it is specified.
    #[error(transparent)]
    Archive(#[from] Halt),
    #[error("{fault}; there are {}, and any IP address", .has.join(", "))]
    Name { fault: ExplainError, has: Vec<String> },
    #[error(transparent)]
    Question(ExplainError),
}

/// Asks the policies of `archive`. Of `sets` and `agents`, all of its namespace, those that do not refer to it are passed over.
/// `database_url` is that of the Secret with which the archive is built, if it names one: only its host is looked at.
pub fn explain(
    archive: &ArchiveCore,
    sets: &[NetworkPolicySet],
    agents: &[EdgeAgent],
    database_url: Option<&str>,
    settings: &Settings,
    asked: &Connection,
) -> Result<Explained, Unexplained> {
    let archive = as_in_a_cluster(archive);
    let name = archive.name_any();
    let is_own =
        |set: &NetworkPolicySet| set.owner_references().iter().any(|owner| owner.kind == "ArchiveCore");
    let (own, written): (Vec<_>, Vec<_>) =
        sets.iter().filter(|set| set.spec.archive_ref.name == name).partition(|set| is_own(set));
    let names: Vec<_> = written.iter().map(|set| set.name_any()).collect();
    one_set(&names)?;
    let valid = validate(&archive, &names)?;
    let default = NetworkPolicySetSpec::default();
    let spec = written.first().or(own.first()).map_or(&default, |set| &set.spec);
    let agents: Vec<_> = agents.iter().filter(|agent| agent.spec.archive_ref.name == name).cloned().collect();
    let facts = facts(&valid, spec, &agents, database_url, settings)?;
    match explain_connection(&facts, &asked.from, &asked.to, asked.port) {
        Ok(explanation) => Ok(Explained { explanation, mode: spec.mode }),
        Err(fault @ (ExplainError::Name(_) | ExplainError::Absent(_))) => {
            Err(Unexplained::Name { fault, has: nameable(&facts) })
        }
        Err(fault) => Err(Unexplained::Question(fault)),
    }
}

/// What may be named of this archive.
fn nameable(facts: &Facts) -> Vec<String> {
    let roles = Role::ALL.into_iter().map(Role::name).map(str::to_owned);
    let agents = facts.agents.iter().map(|agent| format!("agent/{}", agent.name));
    let others = [
        ("all", facts.layout == Layout::Standalone),
        (Endpoint::Migrate.name(), facts.database.is_some()),
        (Endpoint::Prober.name(), facts.prober.is_some()),
        (Endpoint::Database.name(), facts.database.is_some()),
        (Endpoint::ObjectStore.name(), facts.object_store.is_some()),
        (Endpoint::SearchEngine.name(), !facts.search_engine.is_empty()),
        (Endpoint::Dns.name(), true),
        (Endpoint::Monitoring.name(), facts.monitoring.is_some()),
    ];
    let others = others.into_iter().filter(|(_, has)| *has).map(|(name, _)| name.to_owned());
    roles.chain(agents).chain(others).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn archive() -> ArchiveCore {
        serde_json::from_value(json!({
            "apiVersion": "openarchive.dev/v1alpha1", "kind": "ArchiveCore",
            "metadata": {"name": "main", "namespace": "mail"},
            "spec": {
                "domain": "archive.example.org", "tenants": [{"name": "acme"}], "profile": "Standalone",
                "version": "0.1.0", "retention": {"default": "10y-received-forbidden"},
            },
        }))
        .unwrap()
    }

    fn set(name: &str, archive: &str, more: &Value) -> NetworkPolicySet {
        let mut set = json!({
            "apiVersion": "openarchive.dev/v1alpha1", "kind": "NetworkPolicySet",
            "metadata": {"name": name, "namespace": "mail"}, "spec": {"archiveRef": {"name": archive}},
        });
        for (key, value) in more.as_object().unwrap() {
            set["spec"][key] = value.clone();
        }
        serde_json::from_value(set).unwrap()
    }

    fn ask(sets: &[NetworkPolicySet], from: &str, to: &str, port: &str) -> Result<Explained, Unexplained> {
        let settings = Settings {
            namespace: None,
            operator_namespace: "openarchive-system".to_owned(),
            image_registry: String::new(),
        };
        let asked = Connection { from: from.into(), to: to.into(), port: port.parse().unwrap() };
        explain(&archive(), sets, &[], None, &settings, &asked)
    }

    #[test]
    fn the_archives_own_set_counts_and_no_others() {
        let edge = json!({"extraEdges": [{
            "from": {"component": "gateway"}, "to": {"cidr": "198.51.100.0/24"}, "port": 443, "reason": "single sign-on",
        }]});
        let asked = |sets: &[NetworkPolicySet]| {
            ask(sets, "gateway", "198.51.100.7", "443").unwrap().explanation.allowed
        };
        assert!(!asked(&[]));
        assert!(asked(&[set("main", "main", &edge)]));
        assert!(!asked(&[set("other", "other", &edge)]));
        let mut own = set("own", "main", &json!({}));
        own.metadata.owner_references = serde_json::from_value(json!([
            {"apiVersion": "openarchive.dev/v1alpha1", "kind": "ArchiveCore", "name": "main", "uid": "1"}
        ]))
        .unwrap();
        assert!(
            asked(&[own, set("main", "main", &edge)]),
            "the set that somebody wrote goes before the archive's own"
        );
    }

    #[test]
    fn mode_audit_is_told() {
        let mode = |more: &Value| ask(&[set("main", "main", more)], "operator", "all", "9443").unwrap().mode;
        assert_eq!(mode(&json!({})), PolicyMode::Enforce);
        assert_eq!(mode(&json!({"mode": "Audit"})), PolicyMode::Audit);
    }

    #[test]
    fn what_is_unknown_is_named_and_what_may_be_named_is_listed() {
        let check = |from: &str, expected: &str| {
            let error = ask(&[], from, "all", "9443").unwrap_err().to_string();
            assert!(error.contains(from) && error.contains(expected), "{error}");
        };
        check("nobody", "; there are ingest");
        check("agent/berlin", "dns, and any IP address");
        check("database", "this archive has no database; there are");
        let outside = ask(&[], "192.0.2.1", "dns", "53/udp").unwrap_err().to_string();
        assert!(outside.contains("both outside"), "{outside}");
        let two = [set("a", "main", &json!({})), set("b", "main", &json!({}))];
        let error = ask(&two, "operator", "all", "9443").unwrap_err().to_string();
        assert!(error.contains("keep one"), "{error}");
    }
}
