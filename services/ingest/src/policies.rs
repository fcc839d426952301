//! Retention policies: what the operator asks for, what is in force, and how that outlives the database.
//!
//! Policies are the archive's (tenant `_`). Each set that was ever in force is a row, an encrypted state blob that it
//! can be restored from, and a leaf of the log `_/evidence` that names the blob; the latest one counts. What is locked
//! is held to when a set is decided on, whoever asks and whatever the operator has forgotten.

mod apply;
mod decide;
mod leaf;
mod record;
mod request;

pub(crate) use apply::apply;
pub use decide::{INVALID, LOCKED_IN_CORE};
pub(crate) use leaf::PolicyLeaf;
pub(crate) use record::{POLICY_RECORD_BYTES_MAX, PolicyRecord};
pub use request::{POLICIES_MAX, POLICY_ADDRESSES_MAX};

use std::collections::{BTreeMap, BTreeSet};

use openarchive_domain::{MailDomain, Policy, PolicyName, Tenant};

/// A policy and the object that it was delivered from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Delivered {
    pub(crate) uid: String,
    pub(crate) policy: Policy,
}

/// All that decides over classes, but for the archive's default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PolicySet {
    pub(crate) policies: BTreeMap<PolicyName, Delivered>,
    /// Which domains are whose own.
    pub(crate) domains: BTreeMap<Tenant, BTreeSet<MailDomain>>,
}

impl PolicySet {
    /// Those that speak of a tenant's mail.
    pub(crate) fn of_tenant<'s>(&'s self, tenant: &'s Tenant) -> impl Iterator<Item = &'s Policy> {
        self.policies.values().map(|delivered| &delivered.policy).filter(|policy| policy.is_for(tenant))
    }
}
