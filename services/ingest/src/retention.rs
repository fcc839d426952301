//! Which retention class a mail gets. The one place that decides it: when it is offered, and again when it is committed
//! and the core has read its header itself.

use std::{
    collections::BTreeSet,
    sync::{Arc, PoisonError, RwLock},
};

use openarchive_domain::{Correspondents, Erasure, RetentionClass, Tenant, Timestamp, class_of};
use openarchive_schema::{TenantScope, begin};
use sqlx::PgPool;

use crate::{
    failure::Failure,
    observation_rows::undecodable,
    policies::{PolicyRecord, PolicySet},
};

/// The policies in force, as this process read them last. Asked anew for each batch of offers, each commit and each
/// stream of uploads, so that a new set is in force for the next of them on every replica.
#[derive(Debug)]
pub(crate) struct Retention {
    default: RetentionClass,
    known: RwLock<Arc<Standing>>,
}

/// A set of policies and its number; 0 before the first.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    pub(crate) version: u64,
    pub(crate) set: PolicySet,
    /// Digest of its record: numbers may come again after the loss of a database.
    record: Vec<u8>,
}

impl Retention {
    /// `default`: of mail that no policy matches.
    pub(crate) fn new(default: RetentionClass) -> Self {
        Self { default, known: RwLock::default() }
    }

    /// The rule of this very moment, for all that is decided together.
    pub(crate) async fn rule(&self, pool: &PgPool) -> Result<RetentionRule, Failure> {
        Ok(RetentionRule { default: self.default, standing: self.standing(pool).await? })
    }

    /// One read by index; the set itself is read only when it is another one.
    pub(crate) async fn standing(&self, pool: &PgPool) -> Result<Arc<Standing>, Failure> {
        let known = Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner));
        let row = sqlx::query!(
            "select version, record, case when record <> $1 then body end as body from ingest.policy_set
             where tenant = '_' order by version desc limit 1",
            known.record,
        )
        .fetch_optional(&mut *begin(pool, TenantScope::Archive).await?)
        .await?;
        let fresh = match row {
            None if known.version == 0 => return Ok(known),
            // The database was emptied under this process.
            None => Standing::default(),
            Some(row) => match row.body {
                None => return Ok(known),
                Some(body) => Standing { version: row.version as u64, set: read(&body)?, record: row.record },
            },
        };
        let fresh = Arc::new(fresh);
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&fresh);
        Ok(fresh)
    }
}

/// No mail is taken in by policies that cannot be read; agents keep it.
fn read(body: &[u8]) -> Result<PolicySet, sqlx::Error> {
    #[derive(Debug, thiserror::Error)]
    #[error("the retention policies in the database cannot be read")]
    struct Unreadable;
    PolicyRecord::decode(body).map(|record| record.set).ok_or_else(|| undecodable(Unreadable))
}

/// What gives each mail its class: the policies that match its envelope and header addresses, else the default
/// (evidence.md section 2).
#[derive(Debug, Clone)]
pub(crate) struct RetentionRule {
    default: RetentionClass,
    standing: Arc<Standing>,
}

impl RetentionRule {
    pub(crate) fn class_of(
        &self,
        tenant: &Tenant,
        mail: &Correspondents,
        received: Timestamp,
    ) -> RetentionClass {
        let (set, none) = (&self.standing.set, BTreeSet::new());
        let internal = set.domains.get(tenant).unwrap_or(&none);
        class_of(set.of_tenant(tenant), self.default, tenant, internal, mail, received)
    }

    /// Whether classes depend on who took part: without such a policy nobody needs to know a mail's header.
    pub(crate) fn looks_at_addresses(&self, tenant: &Tenant) -> bool {
        self.standing.set.of_tenant(tenant).any(openarchive_domain::Policy::looks_at_addresses)
    }

    /// Whether some mail of the tenant may get this class today: what an agent may upload into.
    pub(crate) fn gives(&self, tenant: &Tenant, class: RetentionClass) -> bool {
        let policies = || self.standing.set.of_tenant(tenant);
        let forbids = || policies().any(|policy| policy.erasure == Erasure::Forbidden);
        let RetentionClass::Mail { keep_for, start_from, erasure } = class else { return false };
        class == self.default
            || policies().any(|policy| {
                (policy.keep_for, policy.start_from) == (keep_for, start_from)
                    && (policy.erasure == erasure || (erasure == Erasure::Forbidden && forbids()))
            })
    }
}

#[cfg(test)]
mod tests {
    use openarchive_domain::{Direction, KeepFor, Policy, StartFrom};

    use super::*;
    use crate::policies::Delivered;

    fn rule(policies: &[(&str, Option<&str>)]) -> RetentionRule {
        let mut set = PolicySet::default();
        for (position, (class, tenant)) in policies.iter().enumerate() {
            let RetentionClass::Mail { keep_for, start_from, erasure } = class.parse().unwrap() else {
                panic!("{class}")
            };
            let policy = Policy {
                name: format!("p{position}").parse().unwrap(),
                tenant: tenant.map(|tenant| tenant.parse().unwrap()),
                mailboxes: BTreeSet::new(),
                domains: BTreeSet::new(),
                direction: Direction::Any,
                keep_for,
                start_from,
                erasure,
                locked: false,
                revision: 1,
            };
            set.policies.insert(policy.name.clone(), Delivered { uid: "u".to_owned(), policy });
        }
        let standing = Standing { version: 1, set, record: Vec::new() };
        RetentionRule { default: RetentionClass::DEFAULT, standing: Arc::new(standing) }
    }

    #[test]
    fn only_classes_that_mail_may_get_are_given() {
        let acme: Tenant = "acme".parse().unwrap();
        let check = |rule: &RetentionRule, class: &str, expected| {
            assert_eq!(rule.gives(&acme, class.parse().unwrap()), expected, "{class}");
        };
        let none = rule(&[]);
        check(&none, "10y-received-forbidden", true);
        check(&none, "1y-received-permitted", false);
        check(&none, "system", false);
        let permitted =
            rule(&[("1y-received-permitted", Some("acme")), ("2y-received-forbidden", Some("other"))]);
        check(&permitted, "10y-received-forbidden", true);
        check(&permitted, "1y-received-permitted", true);
        // The policy that forbids is another tenant's.
        check(&permitted, "1y-received-forbidden", false);
        check(&permitted, "2y-received-forbidden", false);
        let both = rule(&[("1y-received-permitted", None), ("2y-yearend-forbidden", None)]);
        for (class, expected) in [
            ("1y-received-permitted", true),
            ("1y-received-forbidden", true),
            ("2y-yearend-forbidden", true),
            ("2y-yearend-permitted", false),
            ("1y-yearend-permitted", false),
            ("system", false),
        ] {
            check(&both, class, expected);
        }
    }

    #[test]
    fn whatever_class_mail_gets_is_given() {
        let acme: Tenant = "acme".parse().unwrap();
        let classes = ["1y-received-permitted", "13m-received-forbidden", "300d-yearend-permitted"];
        for chosen in 0..8 {
            let policies: Vec<(&str, Option<&str>)> = (0..3)
                .filter(|position| (chosen >> position) & 1 == 1)
                .map(|position| (classes[position], None))
                .collect();
            let rule = rule(&policies);
            for month in 0..12 {
                let received = Timestamp::from_millis(1_767_225_600_000 + month * 30 * 86_400_000);
                let class = rule.class_of(&acme, &Correspondents::default(), received);
                assert!(rule.gives(&acme, class), "{class} of {policies:?}");
            }
        }
        let default = rule(&[]).class_of(&acme, &Correspondents::default(), Timestamp::from_millis(0));
        let years = RetentionClass::Mail {
            keep_for: KeepFor::Years(10),
            start_from: StartFrom::Received,
            erasure: Erasure::Forbidden,
        };
        assert_eq!(default, years);
    }
}
