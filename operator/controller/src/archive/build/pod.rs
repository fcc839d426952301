//! Pods: restricted Pod Security, read-only root, a numeric user, probes over plain HTTP.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{
        Capabilities, ConfigMapVolumeSource, Container, ContainerPort, EmptyDirVolumeSource, HTTPGetAction,
        PodSecurityContext, PodSpec, PodTemplateSpec, Probe, ResourceRequirements, SeccompProfile,
        SecretVolumeSource, SecurityContext, Volume, VolumeMount,
    },
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};
use openarchive_topology::HEALTH_PORT;
use sha2::{Digest, Sha256};

use crate::archive::dereference::ANNOTATION_AGENTS_CA;

/// User and group of every process of an archive; the images have it too.
const USER: i64 = 10_001;
/// A service drains within this; PostgreSQL of profile Standalone ends within it too.
const TERMINATION_SECONDS: i64 = 120;
/// A first start makes a database, a start after a crash recovers one: 60 tries of 5 seconds.
const STARTUP_TRIES: i32 = 60;
const PROBE_SECONDS: i32 = 5;
/// Mode of mounted Secrets: the pod's group reads.
pub(crate) const SECRET_MODE: i32 = 0o440;
/// On pod templates: a new configuration starts new pods.
const ANNOTATION_CONFIG: &str = "openarchive.dev/config";

/// What differs between the pods of an archive.
pub(crate) struct PodPlan {
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) service_account: String,
    pub(crate) container: &'static str,
    pub(crate) image: String,
    pub(crate) args: Vec<String>,
    pub(crate) ports: Vec<(&'static str, u16)>,
    pub(crate) resources: Option<ResourceRequirements>,
    /// The configuration file's text.
    pub(crate) config: String,
    pub(crate) mounts: Vec<Mount>,
    pub(crate) probed: bool,
    pub(crate) restart_policy: Option<&'static str>,
    /// Of the intermediate that the process signs with.
    pub(crate) agents_ca: Option<String>,
}

/// Something that a container sees as a folder.
pub(crate) struct Mount {
    pub(crate) name: &'static str,
    pub(crate) path: &'static str,
    pub(crate) source: Source,
}

pub(crate) enum Source {
    ConfigMap(String),
    Secret(String),
    /// Made by the claim template of that name.
    Claim,
    /// Gone with the pod.
    Scratch,
}

pub(crate) const CONFIG_FOLDER: &str = "/etc/openarchive";
pub(crate) const TLS_FOLDER: &str = "/etc/openarchive-tls";
pub(crate) const AGENTS_CA_FOLDER: &str = "/etc/openarchive-agents-ca";
pub(crate) const DATABASE_FOLDER: &str = "/etc/openarchive-database";
pub(crate) const OBJECT_STORE_FOLDER: &str = "/etc/openarchive-object-store";
pub(crate) const SEARCH_FOLDER: &str = "/etc/openarchive-search";
pub(crate) const KEYS_FOLDER: &str = "/etc/openarchive-keys";
pub(crate) const DATA_FOLDER: &str = "/var/lib/openarchive";
pub(crate) const TMP_FOLDER: &str = "/tmp";
pub(crate) const CONFIG_FILE: &str = "openarchive.yaml";

pub(crate) fn template(plan: PodPlan) -> PodTemplateSpec {
    let hash = hex::encode(Sha256::digest(&plan.config));
    let mut annotations = BTreeMap::from([(ANNOTATION_CONFIG.to_owned(), hash)]);
    if let Some(agents_ca) = &plan.agents_ca {
        annotations.insert(ANNOTATION_AGENTS_CA.to_owned(), agents_ca.clone());
    }
    let volumes = plan.mounts.iter().filter_map(volume).collect();
    let metadata = ObjectMeta {
        labels: Some(plan.labels.clone()),
        annotations: Some(annotations),
        ..ObjectMeta::default()
    };
    let spec = PodSpec {
        service_account_name: Some(plan.service_account.clone()),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        restart_policy: plan.restart_policy.map(str::to_owned),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(USER),
            run_as_group: Some(USER),
            fs_group: Some(USER),
            fs_group_change_policy: Some("OnRootMismatch".to_owned()),
            seccomp_profile: Some(seccomp()),
            ..PodSecurityContext::default()
        }),
        termination_grace_period_seconds: Some(TERMINATION_SECONDS),
        volumes: Some(volumes),
        containers: vec![container(plan)],
        ..PodSpec::default()
    };
    PodTemplateSpec { metadata: Some(metadata), spec: Some(spec) }
}

fn seccomp() -> SeccompProfile {
    SeccompProfile { type_: "RuntimeDefault".to_owned(), ..SeccompProfile::default() }
}

fn container(plan: PodPlan) -> Container {
    let mounts = plan.mounts.iter().map(|mount| VolumeMount {
        name: mount.name.to_owned(),
        mount_path: mount.path.to_owned(),
        read_only: match mount.source {
            Source::ConfigMap(_) | Source::Secret(_) => Some(true),
            Source::Claim | Source::Scratch => None,
        },
        ..VolumeMount::default()
    });
    let probe = |path: &str, tries| {
        plan.probed.then(|| Probe {
            http_get: Some(HTTPGetAction {
                path: Some(path.to_owned()),
                port: IntOrString::String("admin".to_owned()),
                ..HTTPGetAction::default()
            }),
            period_seconds: Some(PROBE_SECONDS),
            timeout_seconds: Some(PROBE_SECONDS),
            failure_threshold: Some(tries),
            ..Probe::default()
        })
    };
    Container {
        name: plan.container.to_owned(),
        image: Some(plan.image),
        args: Some(plan.args),
        ports: (!plan.ports.is_empty()).then(|| plan.ports.iter().map(port).collect()),
        startup_probe: probe("/livez", STARTUP_TRIES),
        liveness_probe: probe("/livez", 6),
        readiness_probe: probe("/readyz", 2),
        resources: plan.resources,
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(Capabilities {
                drop: Some(vec!["ALL".to_owned()]),
                ..Capabilities::default()
            }),
            ..SecurityContext::default()
        }),
        volume_mounts: Some(mounts.collect()),
        ..Container::default()
    }
}

fn port((name, number): &(&'static str, u16)) -> ContainerPort {
    ContainerPort {
        name: Some((*name).to_owned()),
        container_port: i32::from(*number),
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    }
}

/// The port that probes and scrapers use.
pub(crate) const ADMIN: (&str, u16) = ("admin", HEALTH_PORT);

fn volume(mount: &Mount) -> Option<Volume> {
    let volume = Volume { name: mount.name.to_owned(), ..Volume::default() };
    Some(match &mount.source {
        Source::ConfigMap(name) => Volume {
            config_map: Some(ConfigMapVolumeSource {
                name: name.clone(),
                ..ConfigMapVolumeSource::default()
            }),
            ..volume
        },
        Source::Secret(name) => Volume {
            secret: Some(SecretVolumeSource {
                secret_name: Some(name.clone()),
                default_mode: Some(SECRET_MODE),
                ..SecretVolumeSource::default()
            }),
            ..volume
        },
        Source::Scratch => Volume { empty_dir: Some(EmptyDirVolumeSource::default()), ..volume },
        Source::Claim => return None,
    })
}

/// Image of one of the archive's programs.
pub(crate) fn image(registry: &str, program: &str, version: &str) -> String {
    match registry.trim_end_matches('/') {
        "" => format!("{program}:{version}"),
        registry => format!("{registry}/{program}:{version}"),
    }
}
