//! How long mail is kept.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schemas::{self, LocalRef};

/// How long mail is kept that it matches. Of all policies that match a mail the one that keeps it longest counts; nothing
/// is ever deleted by changing or removing a policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "openarchive.dev",
    version = "v1alpha1",
    kind = "RetentionPolicy",
    plural = "retentionpolicies",
    namespaced,
    status = "RetentionPolicyStatus",
    shortname = "retp",
    category = "openarchive",
    derive = "PartialEq",
    doc = "How long mail is kept that it matches. Of all policies that match a mail the one that keeps it longest counts.",
    validation = Rule::new("self.metadata.name.size() <= 63 && !self.metadata.name.contains('.')").message("metadata.name must be at most 63 characters without dots"),
    printcolumn(name = "Archive", type_ = "string", json_path = ".spec.archiveRef.name"),
    printcolumn(name = "Class", type_ = "string", json_path = ".status.className"),
    printcolumn(name = "Locked", type_ = "boolean", json_path = ".spec.locked"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[x_kube(validation = Rule::new("self.archiveRef == oldSelf.archiveRef").message("archiveRef is immutable: make a new RetentionPolicy"))]
#[x_kube(validation = Rule::new("has(self.keepFor.days) == has(oldSelf.keepFor.days) && has(self.keepFor.months) == has(oldSelf.keepFor.months) && has(self.keepFor.years) == has(oldSelf.keepFor.years)").message("the unit of keepFor is immutable"))]
#[x_kube(validation = Rule::new("!oldSelf.locked || self.locked").message("a locked policy is never unlocked"))]
#[x_kube(validation = Rule::new("!oldSelf.locked || (!has(self.keepFor.days) || self.keepFor.days >= oldSelf.keepFor.days) && (!has(self.keepFor.months) || self.keepFor.months >= oldSelf.keepFor.months) && (!has(self.keepFor.years) || self.keepFor.years >= oldSelf.keepFor.years)").message("a locked policy's keepFor only grows"))]
#[x_kube(validation = Rule::new("!oldSelf.locked || self.match == oldSelf.match").message("a locked policy's match is immutable"))]
#[x_kube(validation = Rule::new("!oldSelf.locked || self.startFrom == oldSelf.startFrom").message("a locked policy's startFrom is immutable"))]
#[x_kube(validation = Rule::new("!oldSelf.locked || oldSelf.erasure == self.erasure || self.erasure == 'Forbidden'").message("a locked policy's erasure may only become Forbidden"))]
#[serde(rename_all = "camelCase")]
pub struct RetentionPolicySpec {
    /// The ArchiveCore whose mail it speaks of.
    pub archive_ref: LocalRef,
    /// Which mail.
    #[serde(default, rename = "match")]
    pub match_: MatchSpec,
    /// Exactly one of days, months, years; calendar steps in UTC.
    pub keep_for: KeepFor,
    /// Received: from the moment the mail arrived. YearEnd: from the end of the year in which it arrived.
    #[serde(default)]
    pub start_from: StartFrom,
    /// Forbidden: the mail cannot be shredded before it expires. Permitted: it can, for erasure under data protection law.
    #[serde(default)]
    pub erasure: Erasure,
    /// From then on keepFor only grows, match and startFrom stay, and neither the operator nor the archive lets it go.
    #[serde(default)]
    pub locked: bool,
}

/// Empty lists match everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct MatchSpec {
    /// Addresses of senders or recipients, such as jane@example.org.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "mailboxes")]
    pub mailboxes: Vec<String>,
    /// Domains of senders or recipients.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schemas::domains")]
    pub domains: Vec<String>,
    /// Inbound: the sender is external and a recipient internal. Outbound: the sender is internal and a recipient external.
    /// Internal: the sender and a recipient are internal. An address is internal if its domain is one of its tenant's.
    #[serde(default)]
    pub direction: Direction,
}

fn mailboxes(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "array",
        "maxItems": 256,
        "x-kubernetes-list-type": "set",
        "items": {"type": "string", "maxLength": 254, "pattern": "^[^@\\x00-\\x20]+@[^@\\x00-\\x20]+$"},
    })
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Direction {
    Inbound,
    Outbound,
    Internal,
    #[default]
    Any,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("[has(self.days), has(self.months), has(self.years)].filter(x, x).size() == 1").message("give exactly one of days, months, years"))]
#[serde(rename_all = "camelCase")]
pub struct KeepFor {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 36525))]
    pub days: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1200))]
    pub months: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub years: Option<i32>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum StartFrom {
    #[default]
    Received,
    YearEnd,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Erasure {
    #[default]
    Forbidden,
    Permitted,
}

/// What the archive answered.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RetentionPolicyStatus {
    /// Generation of the specification that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schemas::conditions")]
    pub conditions: Vec<Condition>,
    /// Generation that the archive has accepted: it is in force for mail that arrives from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged_generation: Option<i64>,
    /// Retention class of mail that only this policy matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class_name: Option<String>,
}
