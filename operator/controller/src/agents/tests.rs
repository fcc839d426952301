//! What is built of an agent, held against the template that this version is committed to and read by the agent's own code.

use std::{fs, path::Path};

use k8s_openapi::{api::core::v1::PodTemplateSpec, jiff::Timestamp};
use openarchive_operator_api::{
    AGENT_CIDRS_MAX, ArchiveCore, EdgeAgent, EdgeAgentStatus, InstanceStatus, table,
};
use openarchive_proto::ingest::v1::AgentSummary;
use serde_json::{Value, json};

use super::{
    core::{INSTANCES_SHOWN_MAX, instances},
    render,
    status::{Observed, status},
};
use crate::{Halt, RESYNC_AFTER, Reason, Settings, archive, objects::Objects};

const STANDALONE: &str = include_str!("../../../../docs/examples/standalone.yaml");

fn documents() -> impl Iterator<Item = Value> {
    STANDALONE.split("\n---\n").filter_map(|text| serde_saphyr::from_str::<Value>(text).ok())
}

fn archive_core() -> ArchiveCore {
    let found = documents().find(|document| document["kind"] == "ArchiveCore").unwrap();
    let mut archive: ArchiveCore = serde_json::from_value(found).unwrap();
    archive.metadata.uid = Some("6e5c1f3a-0000-4000-8000-000000000001".to_owned());
    archive.metadata.namespace.get_or_insert_with(|| "mail".to_owned());
    archive
}

fn valid_archive() -> archive::ValidArchive {
    archive::validate(&archive_core(), &[]).unwrap()
}

fn agent() -> EdgeAgent {
    let archive = valid_archive();
    let spec = json!({
        "archiveRef": {"name": archive.name},
        "tenant": archive.tenants[0].name,
        "placement": "InCluster",
        "listeners": [
            {"name": "journal", "port": 2525, "startTLS": {"required": true},
             "peers": [{"cidrs": ["192.0.2.25/32", "2001:db8::/64"], "journalMode": "JrnPlus"}]},
            {"name": "exchange", "port": 2526, "startTLS": {"secretRef": {"name": "mx-tls"}, "required": false},
             "peers": [{"cidrs": ["198.51.100.0/24"], "journalMode": "ExchangeReport"}]},
            {"name": "plain", "port": 2527, "peers": [{"cidrs": ["10.0.0.0/8"], "journalMode": "XEnvelopeTo"}]},
        ],
        "buffer": {"size": "20Gi", "highWater": "1.5Gi"},
    });
    let mut agent = EdgeAgent::new("mx", serde_json::from_value(spec).unwrap());
    agent.metadata.namespace = Some(archive.namespace);
    agent
}

fn built() -> Objects {
    render(&agent(), &valid_archive(), "registry.example.org/openarchive").unwrap()
}

fn template() -> PodTemplateSpec {
    built().stateful_sets.remove(0).spec.unwrap().template
}

/// A change here restarts every agent when the operator is upgraded: it needs a line in CHANGELOG.md.
#[test]
fn the_agents_pod_template_is_the_one_that_this_version_is_committed_to() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/v1alpha1/edge-agent.yaml");
    let now = format!("---\n# mx-edge\n{}", serde_saphyr::to_string(&template()).unwrap());
    if std::env::var_os("OPENARCHIVE_WRITE_GENERATED").is_some() {
        fs::write(&path, &now).unwrap();
    }
    let golden = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(now, golden, "{}: run scripts/gen.sh, and write a line in CHANGELOG.md", path.display());
}

#[test]
fn every_container_of_an_agent_is_restricted_and_the_pod_has_no_token() {
    let pod = template().spec.unwrap();
    assert_eq!(pod.automount_service_account_token, Some(false));
    assert_eq!(pod.security_context.unwrap().run_as_non_root, Some(true));
    let containers: Vec<_> = pod.init_containers.unwrap().into_iter().chain(pod.containers).collect();
    assert_eq!(containers.len(), 2);
    for container in containers {
        let context = container.security_context.unwrap();
        assert_eq!(context.allow_privilege_escalation, Some(false));
        assert_eq!(context.read_only_root_filesystem, Some(true));
        assert_eq!(context.capabilities.unwrap().drop, Some(vec!["ALL".to_owned()]));
    }
}

/// The agent refuses unknown keys, so this holds every name against the agent of this tree.
#[test]
fn the_agent_itself_reads_the_configuration_that_is_built_for_it() {
    let text = built().config_maps.remove(0).data.unwrap().remove("agent.yaml").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.yaml");
    fs::write(&path, &text).unwrap();
    let config = openarchive_edge::config::Config::load(&path).unwrap();
    assert_eq!(config.high_water_bytes, 3 << 29);
    assert_eq!(config.listeners.len(), 3);
    assert_eq!(config.listeners[0].peers[0].cidrs.len(), 2);
    let core = config.core.unwrap();
    assert!(core.address.starts_with("https://") && core.address.ends_with(".svc:9443"), "{}", core.address);
}

/// Of the API server: 256 KiB of annotations, with the whole object in one of them as `kubectl apply` does; 1 MiB in a ConfigMap,
/// and 1.5 MiB in any object.
#[test]
fn the_largest_agent_that_is_accepted_fits_with_everything_that_names_its_addresses() {
    let rows = table::rows();
    let largest =
        rows.iter().find(|row| row.name.ends_with("the most and the longest address ranges")).unwrap();
    assert!(largest.object.to_string().len() < 250 << 10);
    let mut agent = agent();
    agent.spec.listeners = serde_json::from_value(largest.object["spec"]["listeners"].clone()).unwrap();
    let settings = Settings {
        namespace: None,
        operator_namespace: "openarchive".to_owned(),
        image_registry: "registry.example.org/openarchive".to_owned(),
    };
    let objects = crate::render(&archive_core(), &[], &[agent], &settings).unwrap();
    let mut naming = 0;
    for object in objects.iter().map(Value::to_string) {
        assert!(object.len() < 1 << 20, "{} bytes: {}", object.len(), &object[..200]);
        naming += usize::from(object.matches("/128").count() == AGENT_CIDRS_MAX);
    }
    assert_eq!(naming, 2, "a ConfigMap and a NetworkPolicy");
}

#[test]
fn a_volume_outlives_its_agent_and_nothing_else_does() {
    let objects = built();
    let set = objects.stateful_sets[0].spec.clone().unwrap();
    let kept = set.persistent_volume_claim_retention_policy.unwrap();
    assert_eq!((kept.when_deleted.as_deref(), kept.when_scaled.as_deref()), (Some("Retain"), Some("Retain")));
    for object in objects.values().unwrap() {
        assert_eq!(object["metadata"]["ownerReferences"][0]["kind"], "EdgeAgent", "{object}");
        assert_eq!(object["metadata"]["labels"]["openarchive.dev/agent"], "mx", "{object}");
    }
}

#[test]
fn what_the_archive_cannot_take_is_refused_with_what_to_do() {
    let check = |change: &dyn Fn(&mut EdgeAgent), said: &str| {
        let mut agent = agent();
        change(&mut agent);
        let error = render(&agent, &valid_archive(), "").unwrap_err();
        assert_eq!(error.reason(), Reason::InvalidSpec);
        assert!(error.to_string().contains(said), "{error}");
    };
    check(&|agent| agent.spec.tenant = "unknown".to_owned(), "has no tenant unknown");
    check(&|agent| agent.spec.listeners = None, "needs listeners and buffer");
    check(&|agent| agent.spec.buffer.as_mut().unwrap().high_water = "0".to_owned(), "spec.buffer.highWater");
    check(
        &|agent| agent.spec.buffer.as_mut().unwrap().high_water = "much".to_owned(),
        "spec.buffer.highWater",
    );
}

#[test]
fn the_newest_buffers_of_an_agent_are_shown_in_an_order_that_stays() {
    let summary = |number: u8| AgentSummary {
        instance: vec![number; 16].into(),
        agent_epoch: u64::MAX,
        version: "0.1.0".to_owned(),
        last_leaf_index: (number > 0).then_some(7),
        missing: u64::from(number),
        ..AgentSummary::default()
    };
    let numbers = |found: &[InstanceStatus]| found.iter().map(|one| one.gaps).collect::<Vec<_>>();
    let all: Vec<_> = (0..=INSTANCES_SHOWN_MAX as u8).map(summary).collect();
    let shown = instances(&all[..INSTANCES_SHOWN_MAX]);
    assert_eq!(numbers(&shown), (0..16).collect::<Vec<_>>());
    let mut reversed = all.clone();
    reversed.reverse();
    assert_eq!(
        numbers(&instances(&reversed)),
        (1..=16).collect::<Vec<_>>(),
        "the one that reported first is left out"
    );
    assert_eq!((shown[0].last_receipt_index, shown[1].last_receipt_index), (None, Some(7)));
    assert_eq!(
        (&*shown[1].instance, &*shown[1].epoch),
        ("01010101-0101-0101-0101-010101010101", "18446744073709551615")
    );
}

#[test]
fn what_a_status_says_of_an_agents_buffers_stays_while_the_archive_does_not_answer() {
    let instances = instances(&[AgentSummary::default()]);
    let old = EdgeAgentStatus { instances: instances.clone(), ..EdgeAgentStatus::default() };
    let halt = Halt::waiting(Reason::CoreUnreachable, "the archive", RESYNC_AFTER);
    let now = status(&old, Some(1), &Observed::default(), Some(&halt), Timestamp::UNIX_EPOCH);
    assert_eq!(now.instances, instances);
}

/// sigs.k8s.io/cli-utils, kstatus.
#[test]
fn conditions_of_every_phase_are_those_that_kstatus_reads() {
    let now = Timestamp::from_second(1_000).unwrap();
    let observed = Observed { ready: "it takes mail".to_owned(), ..Observed::default() };
    let check = |halt: Option<Halt>, expected: &str, waiting_for: Option<&str>| {
        let status = status(&EdgeAgentStatus::default(), Some(2), &observed, halt.as_ref(), now);
        let shown: Vec<_> = status
            .conditions
            .iter()
            .map(|condition| format!("{}={}/{}", condition.type_, condition.status, condition.reason))
            .collect();
        assert_eq!(shown.join(" "), expected);
        assert_eq!(status.waiting_for.as_deref(), waiting_for);
        assert_eq!(status.observed_generation, Some(2));
    };
    check(None, "Ready=True/Reconciled Reconciling=False/Reconciled Stalled=False/Reconciled", None);
    check(
        Some(Halt::waiting(Reason::Draining, "drain", RESYNC_AFTER)),
        "Ready=False/Draining Reconciling=True/Draining Stalled=False/Draining",
        Some("drain"),
    );
    check(
        Some(Halt::terminal(Reason::RefusedByCore, "revoked")),
        "Ready=False/RefusedByCore Reconciling=False/RefusedByCore Stalled=True/RefusedByCore",
        None,
    );
}
