//! Names that stand in clusters and must never change.

pub const GROUP: &str = "openarchive.dev";
pub const VERSION: &str = "v1alpha1";
/// Value of `app.kubernetes.io/name` on every object of an archive.
pub const PART_OF: &str = "openarchive";
/// Value of `app.kubernetes.io/managed-by`.
pub const MANAGED_BY: &str = "openarchive-operator";
/// Field manager of the objects that are built from a specification (server-side apply).
pub const FIELD_MANAGER: &str = "openarchive-operator";
/// On what must tell somebody outside the cluster before it goes: an agent is revoked, a last snapshot is recorded.
pub const FINALIZER: &str = "openarchive.dev/finalizer";

pub const LABEL_NAME: &str = "app.kubernetes.io/name";
/// The ArchiveCore's name.
pub const LABEL_INSTANCE: &str = "app.kubernetes.io/instance";
/// A role of the archive, `all`, `edge`, `migrate` or `prober`.
pub const LABEL_COMPONENT: &str = "app.kubernetes.io/component";
pub const LABEL_MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The EdgeAgent's name, on what belongs to it.
pub const LABEL_AGENT: &str = "openarchive.dev/agent";

/// On an ArchiveCore: a new value asks for a new certificate authority.
pub const ANNOTATION_ROTATE_CA: &str = "openarchive.dev/rotate-ca";
/// On an EdgeAgent, with value `true`: it is revoked and goes at once when it is deleted, whatever mail it holds.
pub const ANNOTATION_ABANDON: &str = "openarchive.dev/abandon";
