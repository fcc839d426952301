//! What an agent in the cluster consists of: one StatefulSet of one pod with a volume. Pure and infallible.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec},
        core::v1::{
            ConfigMap, Container, PodTemplateSpec, SecretVolumeSource, Service, ServiceAccount, ServicePort,
            ServiceSpec, Volume as PodVolume, VolumeMount,
        },
    },
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};
use openarchive_operator_api::{JournalMode, LABEL_AGENT, ListenerSpec};
use serde_json::{Value, json};

use super::validate::{Place, ValidAgent};
use crate::{
    archive::{
        ValidArchive,
        build::{
            Volume, claim, labels,
            pod::{self, ADMIN, CONFIG_FOLDER, Mount, PodPlan, SECRET_MODE, Source, TMP_FOLDER},
            selector,
        },
    },
    drift::same_quantity,
    objects::Objects,
};

/// Component of an agent's objects and pods.
const EDGE: &str = "edge";
const CONFIG_FILE: &str = "agent.yaml";
const BUNDLE_FOLDER: &str = "/etc/openarchive-bundle";
const LISTENERS_FOLDER: &str = "/etc/openarchive-listeners";
/// Buffer, key and certificate.
const DATA_FOLDER: &str = "/var/lib/openarchive-edge";
const CLAIM: &str = "buffer";

/// What building needs beside the agent itself.
#[derive(Debug, Clone)]
pub(super) struct Ground {
    pub(super) image_registry: String,
    /// HOST:PORT of ingest inside the cluster.
    pub(super) ingest: String,
    /// Size and class of the volume that is there already: neither is changed in place.
    pub(super) volume: Option<Volume>,
    /// It goes: no mail is taken any more, what is there is sent on.
    pub(super) draining: Option<Believed>,
}

/// What an agent checks its archive by. Nothing of it is secret: one that drains has it in its configuration and needs no bundle,
/// which may have gone before.
#[derive(Debug, Clone)]
pub(super) struct Believed {
    /// PEM.
    pub(super) authorities: String,
    /// C2SP tlog-policy.
    pub(super) log_policy: String,
}

pub(super) const AUTHORITIES: &str = "ca.pem";
pub(super) const LOG_POLICY: &str = "log.policy";

/// Name of the agent's objects.
pub(super) fn name(agent: &str) -> String {
    format!("{agent}-{EDGE}")
}

/// Name of the Secret with which the agent begins.
pub(super) fn bundle_name(agent: &str) -> String {
    format!("{agent}-bundle")
}

/// Name and DNS names of the certificate of the agent `agent`'s listeners, by the archive's own authority.
pub(crate) fn listener_certificate(agent: &str, namespace: &str) -> (String, [String; 2]) {
    let service = name(agent);
    (format!("{EDGE}-{agent}"), [service.clone(), format!("{service}.{namespace}.svc")])
}

/// Metadata of an object that goes with its agent.
pub(super) fn owned(agent: &ValidAgent, archive: &ValidArchive, name: String) -> ObjectMeta {
    let mut labels = labels(&archive.name, EDGE);
    labels.insert(LABEL_AGENT.to_owned(), agent.name.clone());
    ObjectMeta {
        name: Some(name),
        namespace: Some(archive.namespace.clone()),
        labels: Some(labels),
        owner_references: Some(vec![agent.owner.clone()]),
        ..ObjectMeta::default()
    }
}

/// Every object of the agent but its bundle. One that runs elsewhere has none.
pub(super) fn build(agent: &ValidAgent, archive: &ValidArchive, ground: &Ground) -> Objects {
    let Place::InCluster { listeners, buffer, high_water_bytes } = &agent.place else {
        return Objects::default();
    };
    let config = config(agent, archive, ground, listeners, *high_water_bytes);
    let metadata = || owned(agent, archive, name(&agent.name));
    let mut files = BTreeMap::from([(CONFIG_FILE.to_owned(), config.clone())]);
    if let Some(Believed { authorities, log_policy }) = &ground.draining {
        files.insert(AUTHORITIES.to_owned(), authorities.clone());
        files.insert(LOG_POLICY.to_owned(), log_policy.clone());
    }
    let wanted = Volume { size: buffer.size.clone(), storage_class: buffer.storage_class.clone() };
    let volume = match ground.volume.clone() {
        // The API server writes quantities its own way; the same size in other words is no change.
        Some(found) if same_quantity(&found.size, &wanted.size) => Volume { size: wanted.size, ..found },
        found => found.unwrap_or(wanted),
    };
    Objects {
        service_accounts: vec![ServiceAccount {
            metadata: metadata(),
            automount_service_account_token: Some(false),
            ..ServiceAccount::default()
        }],
        config_maps: vec![ConfigMap { metadata: metadata(), data: Some(files), ..ConfigMap::default() }],
        services: vec![service(agent, archive, metadata(), listeners)],
        stateful_sets: vec![StatefulSet {
            metadata: metadata(),
            spec: Some(StatefulSetSpec {
                replicas: Some(1),
                service_name: Some(name(&agent.name)),
                selector: k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector {
                    match_labels: Some(pods(agent, archive)),
                    ..Default::default()
                },
                template: template(agent, archive, ground, listeners, config),
                volume_claim_templates: Some(vec![claim(CLAIM, &volume)]),
                // What the buffer holds may be the only copy.
                persistent_volume_claim_retention_policy: Some(
                    StatefulSetPersistentVolumeClaimRetentionPolicy {
                        when_deleted: Some("Retain".to_owned()),
                        when_scaled: Some("Retain".to_owned()),
                    },
                ),
                ..StatefulSetSpec::default()
            }),
            status: None,
        }],
        ..Objects::default()
    }
}

/// By which the agent's pod is selected. Never changes.
fn pods(agent: &ValidAgent, archive: &ValidArchive) -> BTreeMap<String, String> {
    let mut labels = selector(&archive.name, EDGE);
    labels.insert(LABEL_AGENT.to_owned(), agent.name.clone());
    labels
}

/// Where mail servers in the cluster deliver.
fn service(
    agent: &ValidAgent,
    archive: &ValidArchive,
    metadata: ObjectMeta,
    listeners: &[ListenerSpec],
) -> Service {
    let port = |listener: &ListenerSpec| ServicePort {
        name: Some(listener.name.clone()),
        port: listener.port,
        target_port: Some(IntOrString::Int(listener.port)),
        protocol: Some("TCP".to_owned()),
        ..ServicePort::default()
    };
    Service {
        metadata,
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".to_owned()),
            selector: Some(pods(agent, archive)),
            ports: Some(listeners.iter().map(port).collect()),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

fn template(
    agent: &ValidAgent,
    archive: &ValidArchive,
    ground: &Ground,
    listeners: &[ListenerSpec],
    config: String,
) -> PodTemplateSpec {
    let mut labels = labels(&archive.name, EDGE);
    labels.insert(LABEL_AGENT.to_owned(), agent.name.clone());
    let image = pod::image(&ground.image_registry, "openarchive-edge", &archive.version);
    let mut mounts = vec![
        Mount { name: "config", path: CONFIG_FOLDER, source: Source::ConfigMap(name(&agent.name)) },
        Mount { name: CLAIM, path: DATA_FOLDER, source: Source::Claim },
        Mount { name: "tmp", path: TMP_FOLDER, source: Source::Scratch },
    ];
    if ground.draining.is_none() {
        let bundle = Source::Secret(bundle_name(&agent.name));
        mounts.insert(1, Mount { name: "bundle", path: BUNDLE_FOLDER, source: bundle });
    }
    let mut template = pod::template(PodPlan {
        labels,
        service_account: name(&agent.name),
        container: "openarchive-edge",
        image,
        args: vec!["run".to_owned(), "--config".to_owned(), format!("{CONFIG_FOLDER}/{CONFIG_FILE}")],
        ports: vec![ADMIN],
        resources: None,
        config,
        mounts,
        probed: true,
        restart_policy: None,
        agents_ca: None,
    });
    if let Some(pod) = template.spec.as_mut() {
        if ground.draining.is_none() {
            pod.init_containers = Some(pod.containers.iter().map(enrolling).collect());
        }
        for listener in listeners {
            let Some(secret) = certificate_of(listener, agent, archive) else { continue };
            let volume = format!("tls-{}", listener.name);
            pod.volumes.get_or_insert_default().push(PodVolume {
                name: volume.clone(),
                secret: Some(SecretVolumeSource {
                    secret_name: Some(secret),
                    default_mode: Some(SECRET_MODE),
                    ..SecretVolumeSource::default()
                }),
                ..PodVolume::default()
            });
            for container in &mut pod.containers {
                container.volume_mounts.get_or_insert_default().push(VolumeMount {
                    name: volume.clone(),
                    mount_path: listener_folder(listener),
                    read_only: Some(true),
                    ..VolumeMount::default()
                });
            }
        }
    }
    template
}

/// Gets the agent its first certificate, and does nothing when it is there.
fn enrolling(container: &Container) -> Container {
    let text = |text: &str| text.to_owned();
    Container {
        name: text("enrol"),
        args: Some(vec![
            text("enrol"),
            text("--if-needed"),
            text("--config"),
            format!("{CONFIG_FOLDER}/{CONFIG_FILE}"),
            text("--token-file"),
            format!("{BUNDLE_FOLDER}/token"),
        ]),
        ports: None,
        startup_probe: None,
        liveness_probe: None,
        readiness_probe: None,
        ..container.clone()
    }
}

fn listener_folder(listener: &ListenerSpec) -> String {
    format!("{LISTENERS_FOLDER}/{}", listener.name)
}

/// The Secret that a listener's certificate lies in. `None`: the agent signs one itself.
fn certificate_of(listener: &ListenerSpec, agent: &ValidAgent, archive: &ValidArchive) -> Option<String> {
    let start_tls = listener.start_tls.as_ref()?;
    Some(start_tls.secret_ref.as_ref().map_or_else(
        || {
            let (leaf, _) = listener_certificate(&agent.name, &archive.namespace);
            format!("{}-{leaf}-tls", archive.name)
        },
        |given| given.name.clone(),
    ))
}

/// Of `openarchive-edge run` (docs/agent.md). JSON is YAML.
fn config(
    agent: &ValidAgent,
    archive: &ValidArchive,
    ground: &Ground,
    listeners: &[ListenerSpec],
    high_water_bytes: u64,
) -> String {
    let listeners: Vec<_> = listeners.iter().map(|one| self::listener(one, agent, archive)).collect();
    let believed = if ground.draining.is_some() { CONFIG_FOLDER } else { BUNDLE_FOLDER };
    let mut file = json!({
        "dataDir": DATA_FOLDER,
        "hostname": format!("{}.{}.svc", name(&agent.name), archive.namespace),
        "admin": format!("0.0.0.0:{}", ADMIN.1),
        "core": {
            "address": format!("https://{}", ground.ingest),
            "ca": format!("{believed}/{AUTHORITIES}"),
            "certificate": format!("{DATA_FOLDER}/agent.pem"),
            "key": format!("{DATA_FOLDER}/agent.key"),
            "logPolicy": format!("{believed}/{LOG_POLICY}"),
        },
        "listeners": listeners,
        "buffer": {"highWater": high_water_bytes},
    });
    if ground.draining.is_some() {
        file["drain"] = json!(true);
    }
    format!("{file:#}\n")
}

fn listener(listener: &ListenerSpec, agent: &ValidAgent, archive: &ValidArchive) -> Value {
    let peers = listener.peers.iter();
    let peers: Vec<_> =
        peers.map(|peer| json!({"cidrs": peer.cidrs, "journalMode": mode(peer.journal_mode)})).collect();
    let mut file = json!({"name": listener.name, "port": listener.port, "peers": peers});
    if let Some(start_tls) = &listener.start_tls {
        let mut tls = json!({"required": start_tls.required});
        if certificate_of(listener, agent, archive).is_some() {
            let folder = listener_folder(listener);
            tls["certificate"] = json!(format!("{folder}/tls.crt"));
            tls["key"] = json!(format!("{folder}/tls.key"));
        }
        file["startTLS"] = tls;
    }
    file
}

const fn mode(mode: JournalMode) -> &'static str {
    match mode {
        JournalMode::Plain => "plain",
        JournalMode::JrnPlus => "jrn-plus",
        JournalMode::XEnvelopeTo => "x-envelope-to",
        JournalMode::ExchangeReport => "exchange-report",
    }
}
