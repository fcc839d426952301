//! From the operator's request to our words. What is wrong with one policy is kept with it; the others go on.

use std::collections::{BTreeMap, BTreeSet};

use openarchive_domain::{
    Direction, Erasure, KEEP_FOR_DAYS_MAX, KEEP_FOR_MONTHS_MAX, KEEP_FOR_YEARS_MAX, KeepFor, MailDomain,
    Policy, StartFrom, Tenant,
};
use openarchive_proto::ingest::v1::{self as proto, retention_policy::KeepFor as ProtoKeepFor};

use super::Delivered;
use crate::failure::FieldError;

/// Policies of one archive, at most.
pub const POLICIES_MAX: usize = 500;
/// Mailboxes and domains of one policy, and domains of one tenant, each at most.
pub const POLICY_ADDRESSES_MAX: usize = 256;
/// Longest uid of a policy's object, in bytes.
pub(crate) const POLICY_UID_BYTES_MAX: usize = 128;

/// What is asked for.
pub(super) struct Asked {
    pub(super) domains: BTreeMap<Tenant, BTreeSet<MailDomain>>,
    /// In the order of the request.
    pub(super) policies: Vec<AskedPolicy>,
}

pub(super) struct AskedPolicy {
    /// As in the request, whether it is a name or not.
    pub(super) name: String,
    pub(super) policy: Result<Delivered, FieldError>,
}

impl Asked {
    pub(super) fn parse(request: proto::ApplyPoliciesRequest) -> Result<Self, FieldError> {
        let proto::ApplyPoliciesRequest { tenants, policies } = request;
        if policies.len() > POLICIES_MAX {
            return Err(FieldError::new("policies", format!("at most {POLICIES_MAX}")));
        }
        let mut domains = BTreeMap::new();
        for (position, own) in tenants.into_iter().enumerate() {
            let at = |field: &str| format!("tenants[{position}].{field}");
            let tenant: Tenant =
                own.tenant.parse().map_err(|_| FieldError::new(at("tenant"), "the name of a tenant"))?;
            let own = addresses(&own.domains, &at("domains"), "domain names like example.org")?;
            if domains.insert(tenant, own).is_some() {
                return Err(FieldError::new(at("tenant"), "another one than every other item's"));
            }
        }
        let mut names = BTreeSet::new();
        let policies = policies.into_iter().enumerate().map(|(position, policy)| {
            let path = format!("policies[{position}]");
            let name = policy.name.clone();
            let policy = if names.insert(name.clone()) {
                delivered(policy, &path)
            } else {
                Err(FieldError::new(format!("{path}.name"), "another one than every other policy's"))
            };
            AskedPolicy { name, policy }
        });
        Ok(Self { policies: policies.collect(), domains })
    }
}

fn delivered(policy: proto::RetentionPolicy, path: &str) -> Result<Delivered, FieldError> {
    let at = |field: &str| format!("{path}.{field}");
    let (direction, start_from, erasure) =
        (parse_direction(&policy, path)?, parse_start_from(&policy, path)?, parse_erasure(&policy, path)?);
    let uid = policy.uid;
    if uid.is_empty() || uid.len() > POLICY_UID_BYTES_MAX || !uid.bytes().all(|byte| byte.is_ascii_graphic())
    {
        let expected = format!("1 to {POLICY_UID_BYTES_MAX} visible ASCII characters");
        return Err(FieldError::new(at("uid"), expected));
    }
    if policy.generation == 0 || i64::try_from(policy.generation).is_err() {
        return Err(FieldError::new(at("generation"), "from 1 to 2^63 - 1"));
    }
    let tenant = match policy.tenant.as_str() {
        "" => None,
        name => {
            Some(name.parse().map_err(|_| FieldError::new(at("tenant"), "the name of a tenant, or empty"))?)
        }
    };
    let label = "a DNS label: 1 to 63 of a-z, 0-9 and -";
    let policy = Policy {
        name: policy.name.parse().map_err(|_| FieldError::new(at("name"), label))?,
        tenant,
        mailboxes: addresses(&policy.mailboxes, &at("mailboxes"), "addresses like jane@example.org")?,
        domains: addresses(&policy.domains, &at("domains"), "domain names like example.org")?,
        direction,
        keep_for: parse_keep_for(policy.keep_for, path)?,
        start_from,
        erasure,
        locked: policy.locked,
        revision: policy.generation,
    };
    Ok(Delivered { uid, policy })
}

fn addresses<T: std::str::FromStr + Ord>(
    texts: &[String],
    field: &str,
    expected: &str,
) -> Result<BTreeSet<T>, FieldError> {
    if texts.len() > POLICY_ADDRESSES_MAX {
        return Err(FieldError::new(field, format!("at most {POLICY_ADDRESSES_MAX}")));
    }
    texts.iter().map(|text| text.parse().map_err(|_| FieldError::new(field, expected))).collect()
}

fn parse_keep_for(keep_for: Option<ProtoKeepFor>, path: &str) -> Result<KeepFor, FieldError> {
    let (unit, count, most, keep_for) = match keep_for {
        Some(ProtoKeepFor::Days(days)) => ("days", days, KEEP_FOR_DAYS_MAX, KeepFor::Days(days)),
        Some(ProtoKeepFor::Months(months)) => {
            ("months", months, KEEP_FOR_MONTHS_MAX, KeepFor::Months(months))
        }
        Some(ProtoKeepFor::Years(years)) => ("years", years, KEEP_FOR_YEARS_MAX, KeepFor::Years(years)),
        None => return Err(FieldError::new(format!("{path}.keep_for"), "days, months or years")),
    };
    if (1..=most).contains(&count) {
        return Ok(keep_for);
    }
    Err(FieldError::new(format!("{path}.keep_for.{unit}"), format!("from 1 to {most}")))
}

fn parse_direction(policy: &proto::RetentionPolicy, path: &str) -> Result<Direction, FieldError> {
    match policy.direction() {
        proto::Direction::Any => Ok(Direction::Any),
        proto::Direction::Inbound => Ok(Direction::Inbound),
        proto::Direction::Outbound => Ok(Direction::Outbound),
        proto::Direction::Internal => Ok(Direction::Internal),
        proto::Direction::Unspecified => {
            Err(FieldError::new(format!("{path}.direction"), "any, inbound, outbound or internal"))
        }
    }
}

fn parse_start_from(policy: &proto::RetentionPolicy, path: &str) -> Result<StartFrom, FieldError> {
    match policy.start_from() {
        proto::StartFrom::Received => Ok(StartFrom::Received),
        proto::StartFrom::YearEnd => Ok(StartFrom::YearEnd),
        proto::StartFrom::Unspecified => {
            Err(FieldError::new(format!("{path}.start_from"), "received or year end"))
        }
    }
}

fn parse_erasure(policy: &proto::RetentionPolicy, path: &str) -> Result<Erasure, FieldError> {
    match policy.erasure() {
        proto::Erasure::Forbidden => Ok(Erasure::Forbidden),
        proto::Erasure::Permitted => Ok(Erasure::Permitted),
        proto::Erasure::Unspecified => {
            Err(FieldError::new(format!("{path}.erasure"), "forbidden or permitted"))
        }
    }
}
