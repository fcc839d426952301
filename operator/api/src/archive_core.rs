//! One archive.

use k8s_openapi::{api::core::v1::ResourceRequirements, apimachinery::pkg::apis::meta::v1::Condition};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schemas::{self, SecretRef};

/// One archive: what runs, for whom, and where it keeps mail. Deleting it never deletes mail: volumes, buckets, the
/// database and the Secrets with keys stay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "openarchive.dev",
    version = "v1alpha1",
    kind = "ArchiveCore",
    namespaced,
    status = "ArchiveCoreStatus",
    shortname = "arc",
    category = "openarchive",
    derive = "PartialEq",
    doc = "One archive: what runs, for whom, and where it keeps mail. Deleting it never deletes mail.",
    validation = Rule::new("self.metadata.name.size() <= 40 && !self.metadata.name.contains('.')").message("metadata.name must be at most 40 characters without dots: it stands in the names of Services and in log origins"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].message"),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.version"),
    printcolumn(name = "Recorded", type_ = "string", json_path = ".status.conditions[?(@.type=='AuditRecorded')].status"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[x_kube(validation = Rule::new("self.domain == oldSelf.domain").message("domain is immutable: it stands in certificates and log origins"))]
#[x_kube(validation = Rule::new("self.profile == oldSelf.profile").message("profile is immutable: make a new ArchiveCore and move the mail"))]
#[x_kube(validation = Rule::new("oldSelf.tenants.all(t, self.tenants.exists(u, u.name == t.name))").message("a tenant cannot be removed: its mail, keys and logs stay in the archive"))]
#[x_kube(validation = Rule::new("self.profile != 'Distributed' || (has(self.database) && has(self.objectStore))").message("profile Distributed needs database and objectStore"))]
#[x_kube(validation = Rule::new("self.profile != 'Standalone' || !(has(self.database) || has(self.objectStore) || has(self.search))").message("profile Standalone has its own database, object store and search: remove database, objectStore and search"))]
#[x_kube(validation = Rule::new("self.profile != 'Standalone' || !has(self.services)").message("profile Standalone is one pod: use standalone instead of services"))]
#[x_kube(validation = Rule::new("self.profile != 'Distributed' || !has(self.standalone)").message("standalone is for profile Standalone: use services"))]
#[x_kube(validation = Rule::new("(has(self.standalone) ? self.standalone.size : '50Gi') == (has(oldSelf.standalone) ? oldSelf.standalone.size : '50Gi') && (has(self.standalone) && has(self.standalone.storageClass) ? self.standalone.storageClass : '') == (has(oldSelf.standalone) && has(oldSelf.standalone.storageClass) ? oldSelf.standalone.storageClass : '')").message("standalone.size and standalone.storageClass are what the volume was made with: grow the PersistentVolumeClaim itself"))]
#[x_kube(validation = Rule::new("has(self.search) || !has(self.services) || !has(self.services.index) || self.services.index.replicas == 1").message("index has one replica without search.elasticsearch"))]
#[serde(rename_all = "camelCase")]
pub struct ArchiveCoreSpec {
    /// Domain of the archive, in certificates (spiffe://DOMAIN/...) and log origins. Never changes.
    #[schemars(schema_with = "schemas::domain")]
    pub domain: String,
    /// Whose mail is kept. Tenants are added, never removed.
    #[schemars(schema_with = "tenants")]
    pub tenants: Vec<TenantSpec>,
    /// Standalone: one pod with a volume, its own PostgreSQL and full-text index. Distributed: a Deployment for each
    /// service over PostgreSQL, S3 and Elasticsearch. Never changes.
    pub profile: Profile,
    /// Tag of the archive's images, such as 0.1.0. Changing it rolls the services in order.
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[A-Za-z0-9_][A-Za-z0-9._-]*$"))]
    pub version: String,
    /// The pod of profile Standalone and its volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standalone: Option<StandaloneSpec>,
    /// Replicas and resources of profile Distributed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub services: Option<ServicesSpec>,
    /// PostgreSQL of profile Distributed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<DatabaseSpec>,
    /// S3 with Object Lock, of profile Distributed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object_store: Option<ObjectStoreSpec>,
    /// Full text of profile Distributed; without it one index replica, which is filled anew after each start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<SearchSpec>,
    /// How evidence is signed.
    #[serde(default)]
    pub trust: TrustSpec,
    /// How long mail is kept that no RetentionPolicy matches.
    pub retention: RetentionSpec,
    /// Who may reach the archive from outside the namespace. Nobody, unless it says so.
    #[serde(default)]
    pub exposure: ExposureSpec,
    /// Pausing and stopping.
    #[serde(default)]
    pub operation: OperationSpec,
}

/// One organisation's mail, apart from every other's: own logs, keys, rows and object names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TenantSpec {
    /// A DNS label. Stands in certificates, log origins and object names.
    #[schemars(schema_with = "schemas::dns_label")]
    pub name: String,
    /// Mail domains of the tenant: an address in one of them is internal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schemas::domains")]
    pub domains: Vec<String>,
}

fn tenants(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let item = generator.subschema_for::<TenantSpec>();
    schemars::json_schema!({
        "type": "array",
        "minItems": 1,
        "maxItems": 64,
        "items": item,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Profile {
    Standalone,
    Distributed,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct StandaloneSpec {
    /// Requests and limits of the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// Class of its volume; the cluster's default if it is not given. Never changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schemas::object_name")]
    pub storage_class: Option<String>,
    /// Size of its volume when it is made, such as 100Gi. Never changes: grow the PersistentVolumeClaim itself.
    #[serde(default = "standalone_size")]
    #[schemars(schema_with = "schemas::quantity")]
    pub size: String,
}

impl Default for StandaloneSpec {
    fn default() -> Self {
        Self { resources: None, storage_class: None, size: standalone_size() }
    }
}

fn standalone_size() -> String {
    "50Gi".to_owned()
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("!has(self.trust) || self.trust.replicas == 1").message("trust has one replica: it alone signs"))]
#[serde(rename_all = "camelCase")]
pub struct ServicesSpec {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingest: Option<ServiceSpec>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<ServiceSpec>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<ServiceSpec>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust: Option<ServiceSpec>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<ServiceSpec>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<ServiceSpec>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceSpec {
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 50))]
    pub replicas: i32,
    /// Requests and limits of each pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
}

const fn one() -> i32 {
    1
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseSpec {
    /// Secret with key `url`: postgres://OWNER:PASSWORD@HOST:PORT/DATABASE of a role that may create roles. The migrate
    /// Job makes a login role for each service; nothing else sees this Secret.
    pub admin_secret_ref: SecretRef,
    /// Address ranges of the server, for network policies. Not needed if its host is an address or a Service of this
    /// cluster (NAME.NAMESPACE.svc) whose port is its pods' port, too: policies are applied behind its translation. Where the
    /// two differ, a NetworkPolicySet names the pods' port in an extra edge.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schemas::cidrs")]
    pub cidrs: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("self.bucket != self.keyBucket").message("keyBucket must be another bucket: keys must be deletable when mail is erased, packs never"))]
#[x_kube(validation = Rule::new("self.endpoint == oldSelf.endpoint && self.bucket == oldSelf.bucket && self.keyBucket == oldSelf.keyBucket").message("the object store is immutable: what was archived lies there"))]
#[serde(rename_all = "camelCase")]
pub struct ObjectStoreSpec {
    /// URL of the S3 service, such as https://s3.example.org.
    #[schemars(schema_with = "schemas::base_url")]
    pub endpoint: String,
    /// Bucket with Object Lock, for packs and the ledger.
    #[schemars(schema_with = "bucket")]
    pub bucket: String,
    /// Bucket without a default lock, for key files.
    #[schemars(schema_with = "bucket")]
    pub key_bucket: String,
    /// Secret with keys `accessKeyId` and `secretAccessKey`.
    pub secret_ref: SecretRef,
    /// Address ranges of the service, for network policies. Not needed if its host is an address or a Service of this
    /// cluster whose port is its pods' port, too (see spec.database.cidrs).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schemas::cidrs")]
    pub cidrs: Vec<String>,
}

fn bucket(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "string", "minLength": 3, "maxLength": 63, "pattern": "^[a-z0-9][a-z0-9.-]*[a-z0-9]$",
    })
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SearchSpec {
    pub elasticsearch: ElasticsearchSpec,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ElasticsearchSpec {
    /// Nodes, such as https://es-0.search.svc:9200.
    #[schemars(schema_with = "urls")]
    pub urls: Vec<String>,
    /// Secret with keys `username` and `password`, or `apiKey`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretRef>,
    /// Address ranges of the nodes, for network policies. Not needed if their hosts are addresses or Services of this
    /// cluster whose ports are their pods' ports, too (see spec.database.cidrs).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schemas::cidrs")]
    pub cidrs: Vec<String>,
}

fn urls(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let item = schemas::base_url(generator);
    schemars::json_schema!({
        "type": "array", "minItems": 1, "maxItems": 16, "items": item, "x-kubernetes-list-type": "set",
    })
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrustSpec {
    /// NonQualified: software keys that the archive makes once. Every checkpoint and proof says so.
    #[serde(default)]
    pub mode: TrustMode,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TrustMode {
    #[default]
    NonQualified,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RetentionSpec {
    /// Retention class of mail that no RetentionPolicy matches: TIME-START-ERASURE, such as 10y-received-forbidden
    /// (TIME: days d, months m or years y; START: received or yearend; ERASURE: forbidden or permitted).
    #[schemars(
        length(max = 40),
        regex(pattern = r"^[1-9][0-9]{0,4}(d|m|y)-(received|yearend)-(forbidden|permitted)$")
    )]
    pub default: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExposureSpec {
    /// For agents outside the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingest: Option<Exposure>,
    /// For people and programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<Exposure>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Exposure {
    /// Type of the Service.
    #[serde(rename = "type")]
    pub type_: ExposureType,
    /// Names under which it is reached, beside the Service's own: they stand in its certificate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schemas::domains")]
    pub hostnames: Vec<String>,
    /// Who may connect. An empty list lets nobody in from outside.
    #[serde(default, rename = "allowedCIDRs", skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schemas::cidrs")]
    pub allowed_cidrs: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ExposureType {
    ClusterIP,
    NodePort,
    LoadBalancer,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct OperationSpec {
    /// The operator leaves everything as it is until this is false again.
    #[serde(default)]
    pub paused: bool,
    /// Every service is scaled to nothing; everything that is stored stays.
    #[serde(default)]
    pub stopped: bool,
}

/// What the operator saw at the end of its last pass.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ArchiveCoreStatus {
    /// Generation of the specification that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schemas::conditions")]
    pub conditions: Vec<Condition>,
    /// Version that every service runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "service_statuses")]
    pub services: Vec<ServiceStatus>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "certificate_statuses")]
    pub certificates: Vec<CertificateStatus>,
    /// The last configuration that stands in the ledger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_snapshot: Option<SnapshotStatus>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust_mode: Option<TrustMode>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceStatus {
    pub name: String,
    pub desired: i32,
    pub ready: i32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What it waits for, in words, while it is not there or not ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<String>,
}

fn service_statuses(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    by_name(&generator.subschema_for::<ServiceStatus>())
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct CertificateStatus {
    /// Name of its Secret.
    pub name: String,
    /// RFC 3339.
    pub not_after: String,
    /// SHA-256 of the certificate (DER), lowercase hex.
    pub fingerprint: String,
}

fn certificate_statuses(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    by_name(&generator.subschema_for::<CertificateStatus>())
}

fn by_name(item: &schemars::Schema) -> schemars::Schema {
    schemars::json_schema!({
        "type": "array",
        "items": item,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
    })
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotStatus {
    /// Of the snapshot's canonical JSON (RFC 8785), lowercase hex.
    pub sha256: String,
    /// Index of its leaf in the `config` log.
    pub ledger_index: i64,
    /// Time of its leaf, RFC 3339.
    pub recorded_at: String,
}
