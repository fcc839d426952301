//! Who may talk to whom, and what was seen of it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::schemas::{self, LocalRef};

/// The network policies of one archive: default deny in both directions, then only the edges of the service graph. Every
/// ArchiveCore gets one of its own unless one of these refers to it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "openarchive.dev",
    version = "v1alpha1",
    kind = "NetworkPolicySet",
    namespaced,
    status = "NetworkPolicySetStatus",
    shortname = "netps",
    category = "openarchive",
    derive = "PartialEq",
    doc = "The network policies of one archive: default deny in both directions, then only the edges of the service graph.",
    validation = Rule::new("self.metadata.name.size() <= 63 && !self.metadata.name.contains('.')").message("metadata.name must be at most 63 characters without dots"),
    printcolumn(name = "Archive", type_ = "string", json_path = ".spec.archiveRef.name"),
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode"),
    printcolumn(name = "Enforced", type_ = "string", json_path = ".status.enforcement.verdict"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[x_kube(validation = Rule::new("self.archiveRef == oldSelf.archiveRef").message("archiveRef is immutable: make a new NetworkPolicySet"))]
#[serde(rename_all = "camelCase")]
pub struct NetworkPolicySetSpec {
    /// The ArchiveCore that it protects.
    pub archive_ref: LocalRef,
    /// Enforce: the policies are applied. Audit: nothing is written; status says what would be.
    #[serde(default)]
    pub mode: PolicyMode,
    /// Where names are resolved.
    #[serde(default)]
    pub dns: DnsSpec,
    /// Labels of the namespaces from which metrics are scraped. Empty: nobody may.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub monitoring_namespace_labels: BTreeMap<String, String>,
    /// Connections beyond the service graph.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "extra_edges")]
    pub extra_edges: Vec<ExtraEdge>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PolicyMode {
    #[default]
    Enforce,
    Audit,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DnsSpec {
    /// Labels of the namespace of the cluster's DNS.
    #[serde(default = "dns_namespace_labels")]
    pub namespace_labels: BTreeMap<String, String>,
    /// Labels of its pods.
    #[serde(default = "dns_pod_labels")]
    pub pod_labels: BTreeMap<String, String>,
    /// Port of these pods, UDP and TCP, not of their Service: 5353 on OpenShift.
    #[serde(default = "dns_port")]
    #[schemars(schema_with = "schemas::port")]
    pub port: i32,
    /// Address of NodeLocal DNSCache, such as 169.254.20.10/32, where there is one.
    #[serde(default, rename = "nodeLocalCIDRs", skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schemas::cidrs")]
    pub node_local_cidrs: Vec<String>,
}

impl Default for DnsSpec {
    fn default() -> Self {
        Self {
            namespace_labels: dns_namespace_labels(),
            pod_labels: dns_pod_labels(),
            port: dns_port(),
            node_local_cidrs: Vec::new(),
        }
    }
}

fn dns_namespace_labels() -> BTreeMap<String, String> {
    BTreeMap::from([("kubernetes.io/metadata.name".to_owned(), "kube-system".to_owned())])
}

fn dns_pod_labels() -> BTreeMap<String, String> {
    BTreeMap::from([("k8s-app".to_owned(), "kube-dns".to_owned())])
}

const fn dns_port() -> i32 {
    53
}

/// One more connection that is allowed, and why: the reason stands on the policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("has(self.from.component) || has(self.to.component)").message("one end must be a component of the archive"))]
#[serde(rename_all = "camelCase")]
pub struct ExtraEdge {
    pub from: EdgeEnd,
    pub to: EdgeEnd,
    /// TCP, of the pods, not of a Service in front of them: policies are applied behind its translation.
    #[schemars(schema_with = "schemas::port")]
    pub port: i32,
    #[schemars(length(min = 1, max = 256))]
    pub reason: String,
}

fn extra_edges(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let item = generator.subschema_for::<ExtraEdge>();
    schemars::json_schema!({"type": "array", "maxItems": 64, "items": item, "x-kubernetes-list-type": "atomic"})
}

/// A component of the archive, an address range, or pods of other namespaces: exactly one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("[has(self.component), has(self.cidr), has(self.namespaceLabels)].filter(x, x).size() == 1").message("give exactly one of component, cidr, namespaceLabels"))]
#[x_kube(validation = Rule::new("!has(self.podLabels) || has(self.namespaceLabels)").message("podLabels goes with namespaceLabels"))]
#[serde(rename_all = "camelCase")]
pub struct EdgeEnd {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self in ['ingest', 'storage', 'index', 'trust', 'gateway', 'worker', 'edge']").message("must be ingest, storage, index, trust, gateway, worker or edge"))]
    pub component: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schemas::cidr")]
    pub cidr: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_labels: Option<BTreeMap<String, String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_labels: Option<BTreeMap<String, String>>,
}

/// The auditor's document: NetworkPolicy has no status of its own.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkPolicySetStatus {
    /// Generation of the specification that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schemas::conditions")]
    pub conditions: Vec<Condition>,
    /// SHA-256 over the specification of every policy, lowercase hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub graph_hash: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "policy_statuses")]
    pub policies: Vec<PolicyStatus>,
    /// Pods of the archive that no policy selects, by name; at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uncovered_pods: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enforcement: Option<EnforcementStatus>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyStatus {
    pub name: String,
    /// Absent in mode Audit: the policy was not applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_version: Option<String>,
    /// Of its specification's canonical JSON (RFC 8785), lowercase hex.
    pub sha256: String,
    pub rules: i32,
    /// RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied_at: Option<String>,
    /// How often somebody else's change was undone.
    #[serde(default)]
    pub drift_corrections: i64,
    /// Field manager of the last change that was undone: a name that the client chose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_alien_manager: Option<String>,
}

fn policy_statuses(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let item = generator.subschema_for::<PolicyStatus>();
    schemars::json_schema!({
        "type": "array",
        "items": item,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
    })
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnforcementStatus {
    pub verdict: Enforcement,
    /// When the probe was made that showed this verdict first, RFC 3339; later probes that show the same do not change it.
    /// Absent: no probe showed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probed_at: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Enforcement {
    /// Between the archive's probers listed connections came through, unlisted ones did not.
    Verified,
    /// An unlisted connection came through: this cluster does not enforce network policies, or none are applied.
    NotEnforced,
    /// Nothing is known; the condition EnforcementVerified says why.
    Unverified,
}
