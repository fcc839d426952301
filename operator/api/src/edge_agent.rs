//! One agent beside mail servers.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    CertificateStatus,
    schemas::{self, LocalRef, SecretRef},
};

/// One agent: takes journal copies from mail servers, keeps them until the archive has proven that it stored them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "openarchive.dev",
    version = "v1alpha1",
    kind = "EdgeAgent",
    namespaced,
    status = "EdgeAgentStatus",
    shortname = "edge",
    category = "openarchive",
    derive = "PartialEq",
    doc = "One agent: takes journal copies from mail servers, and keeps them until the archive has proven that it stored them.",
    validation = Rule::new("self.metadata.name.size() <= 40 && !self.metadata.name.contains('.')").message("metadata.name must be at most 40 characters without dots: it stands in the agent's certificate"),
    printcolumn(name = "Archive", type_ = "string", json_path = ".spec.archiveRef.name"),
    printcolumn(name = "Tenant", type_ = "string", json_path = ".spec.tenant"),
    printcolumn(name = "Placement", type_ = "string", json_path = ".spec.placement"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[x_kube(validation = Rule::new("self.archiveRef == oldSelf.archiveRef").message("archiveRef is immutable: make a new EdgeAgent"))]
#[x_kube(validation = Rule::new("self.tenant == oldSelf.tenant").message("tenant is immutable: it stands in the agent's certificate"))]
#[x_kube(validation = Rule::new("self.placement == oldSelf.placement").message("placement is immutable: make a new EdgeAgent"))]
#[x_kube(validation = Rule::new("self.placement != 'InCluster' || (has(self.listeners) && has(self.buffer))").message("placement InCluster needs listeners and buffer"))]
#[x_kube(validation = Rule::new("self.placement != 'External' || !(has(self.listeners) || has(self.buffer))").message("an External agent is configured where it runs: remove listeners and buffer"))]
#[serde(rename_all = "camelCase")]
pub struct EdgeAgentSpec {
    /// The ArchiveCore that it uploads to.
    pub archive_ref: LocalRef,
    /// Whose mail it takes. Never changes.
    #[schemars(schema_with = "schemas::dns_label")]
    pub tenant: String,
    /// InCluster: the operator runs it. External: it runs beside a mail server elsewhere and enrols with the one-time
    /// bundle in Secret NAME-bundle.
    pub placement: Placement,
    /// Where it takes mail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "listeners")]
    pub listeners: Option<Vec<ListenerSpec>>,
    /// What keeps mail until it is proven to be stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buffer: Option<BufferSpec>,
}

/// Address ranges of one agent, those of all peers of all listeners together. As `kubectl apply` keeps the whole object in an
/// annotation, and an object's annotations may have 256 KiB, that is what they have to fit into; the agent's ConfigMap and its
/// NetworkPolicy, which name each of them again, may be larger.
pub const AGENT_CIDRS_MAX: usize = 4_096;

fn listeners(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let item = generator.subschema_for::<ListenerSpec>();
    schemars::json_schema!({
        "type": "array",
        "minItems": 1,
        "maxItems": 16,
        "items": item,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
        "x-kubernetes-validations": [{
            "rule": "self.all(a, self.exists_one(b, a.port == b.port))",
            "message": "each listener needs a port of its own",
        }, {
            "rule": format!(
                "self.map(one, one.peers.map(peer, peer.cidrs.size()).sum()).sum() <= {AGENT_CIDRS_MAX}"
            ),
            "message": format!(
                "an agent has at most {AGENT_CIDRS_MAX} address ranges: write larger ones, or make another EdgeAgent"
            ),
        }],
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Placement {
    InCluster,
    External,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListenerSpec {
    /// A DNS label of at most 15 characters: it names the port of the Service.
    #[schemars(length(min = 1, max = 15), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// 1024 to 65535, without 9090, where probes are answered.
    #[schemars(range(min = 1024, max = 65535))]
    #[x_kube(validation = Rule::new("self != 9090").message("port 9090 answers probes and metrics: choose another"))]
    pub port: i32,
    /// TLS with a certificate that can be checked. Without it TLS is offered with one that nobody signed, and mail is taken in
    /// clear, too.
    #[serde(default, rename = "startTLS", skip_serializing_if = "Option::is_none")]
    pub start_tls: Option<StartTlsSpec>,
    /// Who may connect, and how each peer's mail is to be read. First match wins; who matches none is refused.
    #[schemars(schema_with = "peers")]
    pub peers: Vec<PeerSpec>,
}

fn peers(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let item = generator.subschema_for::<PeerSpec>();
    schemars::json_schema!({
        "type": "array", "minItems": 1, "maxItems": 32, "items": item, "x-kubernetes-list-type": "atomic",
    })
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct StartTlsSpec {
    /// Secret of type kubernetes.io/tls. Without it the listener uses the archive's own authority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretRef>,
    /// Refuse mail before STARTTLS.
    #[serde(default = "yes")]
    pub required: bool,
}

const fn yes() -> bool {
    true
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("self.cidrs.size() >= 1").message("name at least one address range"))]
#[serde(rename_all = "camelCase")]
pub struct PeerSpec {
    /// Its addresses.
    #[schemars(schema_with = "schemas::cidrs")]
    pub cidrs: Vec<String>,
    /// How its mail is to be read. No other way is tried.
    pub journal_mode: JournalMode,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum JournalMode {
    Plain,
    JrnPlus,
    XEnvelopeTo,
    ExchangeReport,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("[self.size, self.highWater].exists(q, !q.matches('^[0-9.]+[A-Za-z]*$')) || quantity(self.size).compareTo(quantity(self.highWater)) >= 0").message("highWater must not be greater than size"))]
#[serde(rename_all = "camelCase")]
pub struct BufferSpec {
    /// Class of its volume; the cluster's default if it is not given. Read when the volume is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schemas::object_name")]
    pub storage_class: Option<String>,
    /// Size of its volume. Read when the volume is made.
    #[schemars(schema_with = "schemas::quantity")]
    pub size: String,
    /// Bytes of mail at which it answers 452 until some are proven to be stored.
    #[schemars(schema_with = "schemas::quantity")]
    pub high_water: String,
}

/// What the operator saw at the end of its last pass. Fast-moving figures are metrics.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct EdgeAgentStatus {
    /// Generation of the specification that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schemas::conditions")]
    pub conditions: Vec<Condition>,
    /// What it waits for, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<String>,
    /// Its buffers, of which a lost volume leaves one behind: the 16 that reported last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instances: Vec<InstanceStatus>,
    /// With which the agent last showed itself to the archive; its name is TENANT/AGENT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateStatus>,
}

/// How far the archive is with one buffer of an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct InstanceStatus {
    /// UUID of the buffer.
    pub instance: String,
    /// Under which it counts its mail: another one once its volume was put back to an earlier state.
    pub epoch: String,
    /// Of openarchive-edge, when it reported last.
    pub version: String,
    /// Where the last of its mail that the archive has proven to be stored stands in the tenant's evidence log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_receipt_index: Option<i64>,
    /// How many mails the archive lacks of the last 10,000 that the agent counted, and of what was in a buffer that another one
    /// has replaced. `archivectl completeness` names them.
    pub gaps: i64,
}
