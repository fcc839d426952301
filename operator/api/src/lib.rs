//! The custom resources of group `openarchive.dev`, version `v1alpha1`: what platform teams write, and what the operator
//! answers in their status. The rules in CEL (Kubernetes' Common Expression Language) are enforced by the API server and by
//! `openarchive-operator validate` from the same schema.
//!
//! Architecture invariant: no client and no behaviour. A field exists only if it works.

#![expect(
    unreachable_pub,
    reason = "KubeSchema copies each structure into a private scope, with the span of the original"
)]

mod archive_core;
mod check;
mod condition;
mod crds;
mod edge_agent;
mod names;
mod network_policy_set;
mod retention_policy;
mod schemas;
#[cfg(any(test, feature = "table"))]
pub mod table;

#[cfg(test)]
mod tests;

pub use archive_core::{
    ArchiveCore, ArchiveCoreSpec, ArchiveCoreStatus, CertificateStatus, DatabaseSpec, ElasticsearchSpec,
    Exposure, ExposureSpec, ExposureType, ObjectStoreSpec, OperationSpec, Profile, RetentionSpec, SearchSpec,
    ServiceSpec, ServiceStatus, ServicesSpec, SnapshotStatus, StandaloneSpec, TenantSpec, TrustMode,
    TrustSpec,
};
pub use check::{Problem, check};
pub use condition::{ConditionStatus, ConditionType, Conditions, set_condition};
pub use crds::{Kind, crds};
pub use edge_agent::{
    AGENT_CIDRS_MAX, BufferSpec, EdgeAgent, EdgeAgentSpec, EdgeAgentStatus, InstanceStatus, JournalMode,
    ListenerSpec, PeerSpec, Placement, StartTlsSpec,
};
pub use names::{
    ANNOTATION_ABANDON, ANNOTATION_ROTATE_CA, FIELD_MANAGER, FINALIZER, GROUP, LABEL_AGENT, LABEL_COMPONENT,
    LABEL_INSTANCE, LABEL_MANAGED_BY, LABEL_NAME, MANAGED_BY, PART_OF, VERSION,
};
pub use network_policy_set::{
    DnsSpec, EdgeEnd, Enforcement, EnforcementStatus, ExtraEdge, NetworkPolicySet, NetworkPolicySetSpec,
    NetworkPolicySetStatus, PolicyMode, PolicyStatus,
};
pub use retention_policy::{
    Direction, Erasure, KeepFor, MatchSpec, RetentionPolicy, RetentionPolicySpec, RetentionPolicyStatus,
    StartFrom,
};
pub use schemas::{LocalRef, SecretRef};
