//! Delivers retention policies to the archive, as a whole set, and reads what it answers for each.

use std::time::Duration;

use kube::ResourceExt;
use openarchive_operator_api::{
    ArchiveCore, Direction, Erasure, RetentionPolicy, RetentionPolicySpec, StartFrom,
};
use openarchive_proto::ingest::v1::{
    self as wire, ApplyPoliciesRequest, PolicyDecision, TenantDomains,
    catalogue_service_client::CatalogueServiceClient, retention_policy::KeepFor,
};
use tonic::Request;

use super::{Core, dialler::failed};

/// One call; ingest answers when the set and its leaf are durable.
const DEADLINE: Duration = Duration::from_secs(30);

/// What the archive said to one policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Acknowledged {
    pub name: String,
    /// In force now; the generation that was accepted, and its class.
    pub standing: Option<(i64, String)>,
    /// `LockedInCore` or `Invalid`, and why in words.
    pub refused: Option<(String, String)>,
}

/// Answers when the archive holds the set. Idempotent.
pub(crate) async fn deliver_policies(
    core: &Core,
    archive: &ArchiveCore,
    policies: &[RetentionPolicy],
) -> anyhow::Result<Vec<Acknowledged>> {
    let tenants = archive
        .spec
        .tenants
        .iter()
        .map(|tenant| TenantDomains { tenant: tenant.name.clone(), domains: tenant.domains.clone() });
    let message =
        ApplyPoliciesRequest { tenants: tenants.collect(), policies: policies.iter().map(policy).collect() };
    let mut request = Request::new(message);
    request.set_timeout(DEADLINE);
    let answer = CatalogueServiceClient::new(core.ingest.clone()).apply_policies(request).await;
    let answer = answer.map_err(|status| failed("ingest cannot take the retention policies", &status))?;
    Ok(answer.into_inner().outcomes.into_iter().map(acknowledged).collect())
}

fn acknowledged(outcome: wire::PolicyOutcome) -> Acknowledged {
    let is_refused = outcome.decision() == PolicyDecision::Refused;
    let standing = outcome
        .standing
        .map(|standing| (i64::try_from(standing.generation).unwrap_or(i64::MAX), standing.class));
    Acknowledged {
        name: outcome.name,
        standing,
        refused: is_refused.then_some((outcome.reason, outcome.message)),
    }
}

fn policy(policy: &RetentionPolicy) -> wire::RetentionPolicy {
    let RetentionPolicySpec { archive_ref: _, match_, keep_for, start_from, erasure, locked } = &policy.spec;
    let positive = |count: i32| u32::try_from(count).unwrap_or(0);
    let keep_for = match (keep_for.days, keep_for.months, keep_for.years) {
        (Some(days), _, _) => Some(KeepFor::Days(positive(days))),
        (_, Some(months), _) => Some(KeepFor::Months(positive(months))),
        (_, _, Some(years)) => Some(KeepFor::Years(positive(years))),
        (None, None, None) => None,
    };
    wire::RetentionPolicy {
        name: policy.name_any(),
        uid: policy.uid().unwrap_or_default(),
        generation: policy.metadata.generation.and_then(|n| u64::try_from(n).ok()).unwrap_or(0),
        tenant: String::new(),
        mailboxes: match_.mailboxes.clone(),
        domains: match_.domains.clone(),
        direction: direction(match_.direction).into(),
        keep_for,
        start_from: match start_from {
            StartFrom::Received => wire::StartFrom::Received,
            StartFrom::YearEnd => wire::StartFrom::YearEnd,
        }
        .into(),
        erasure: match erasure {
            Erasure::Forbidden => wire::Erasure::Forbidden,
            Erasure::Permitted => wire::Erasure::Permitted,
        }
        .into(),
        locked: *locked,
    }
}

const fn direction(direction: Direction) -> wire::Direction {
    match direction {
        Direction::Inbound => wire::Direction::Inbound,
        Direction::Outbound => wire::Direction::Outbound,
        Direction::Internal => wire::Direction::Internal,
        Direction::Any => wire::Direction::Any,
    }
}
