//! What of a request comes into force. Pure: the same standing set and request, the same answer.

use openarchive_domain::{LockBreach, PolicyName};
use openarchive_proto::ingest::v1::{PolicyDecision, PolicyOutcome, StandingPolicy};

use super::{
    Delivered, PolicySet,
    request::{Asked, AskedPolicy},
};
use crate::failure::FieldError;

/// A locked policy of this name stands and would lose by what was asked.
pub const LOCKED_IN_CORE: &str = "LockedInCore";
/// What was asked for is no policy.
pub const INVALID: &str = "Invalid";

/// The set that is in force from now on, and what to say of each policy.
#[derive(Debug, PartialEq)]
pub(super) struct Decided {
    pub(super) set: PolicySet,
    pub(super) outcomes: Vec<PolicyOutcome>,
}

/// Why a policy leaves what stands.
enum Refusal<'a> {
    Invalid(&'a FieldError),
    Locked(LockBreach),
}

/// Whatever is refused leaves what stands under its name; a locked policy that is missing stays.
pub(super) fn decide(standing: &PolicySet, asked: &Asked) -> Decided {
    let mut set = PolicySet { domains: asked.domains.clone(), ..PolicySet::default() };
    let mut outcomes = Vec::with_capacity(asked.policies.len());
    for AskedPolicy { name, policy } in &asked.policies {
        let stands = name.parse::<PolicyName>().ok().and_then(|name| standing.policies.get(&name));
        let accepted = match policy {
            Err(error) => Err(Refusal::Invalid(error)),
            Ok(next) => match stands.map_or(Ok(()), |stands| stands.policy.check_lock(&next.policy)) {
                Err(breach) => Err(Refusal::Locked(breach)),
                Ok(()) => Ok(next),
            },
        };
        // Of a name that is given twice the second is refused, and the first stands.
        if let Some(in_force) = accepted.as_ref().ok().copied().or(stands) {
            set.policies.entry(in_force.policy.name.clone()).or_insert_with(|| in_force.clone());
        }
        outcomes.push(match accepted {
            Ok(next) => outcome(name, PolicyDecision::Accepted, "", String::new(), Some(next)),
            Err(Refusal::Invalid(error)) => {
                let in_force = name.parse::<PolicyName>().ok().and_then(|name| set.policies.get(&name));
                outcome(name, PolicyDecision::Refused, INVALID, error.to_string(), in_force)
            }
            Err(Refusal::Locked(breach)) => {
                outcome(name, PolicyDecision::Refused, LOCKED_IN_CORE, breach.to_string(), stands)
            }
        });
    }
    for (name, stands) in &standing.policies {
        if stands.policy.locked && !set.policies.contains_key(name) {
            set.policies.insert(name.clone(), stands.clone());
            let message = "it is locked: it stays in force though it is not delivered any more".to_owned();
            outcomes.push(outcome(
                name.as_str(),
                PolicyDecision::Kept,
                LOCKED_IN_CORE,
                message,
                Some(stands),
            ));
        }
    }
    Decided { set, outcomes }
}

fn outcome(
    name: &str,
    decision: PolicyDecision,
    reason: &str,
    message: String,
    standing: Option<&Delivered>,
) -> PolicyOutcome {
    PolicyOutcome {
        name: name.to_owned(),
        decision: decision.into(),
        reason: reason.to_owned(),
        message,
        standing: standing.map(|Delivered { uid, policy }| StandingPolicy {
            uid: uid.clone(),
            generation: policy.revision,
            class: policy.class().to_string(),
            locked: policy.locked,
        }),
    }
}

#[cfg(test)]
mod tests {
    use openarchive_proto::ingest::v1::{
        ApplyPoliciesRequest, Direction, Erasure, RetentionPolicy, StartFrom, TenantDomains,
        retention_policy::KeepFor,
    };

    use super::*;

    fn policy(name: &str, years: u32, locked: bool) -> RetentionPolicy {
        RetentionPolicy {
            name: name.to_owned(),
            uid: "uid-1".to_owned(),
            generation: 1,
            tenant: String::new(),
            mailboxes: Vec::new(),
            domains: vec!["a.example".to_owned()],
            direction: Direction::Any.into(),
            keep_for: Some(KeepFor::Years(years)),
            start_from: StartFrom::Received.into(),
            erasure: Erasure::Permitted.into(),
            locked,
        }
    }

    fn decide_on(standing: &PolicySet, policies: Vec<RetentionPolicy>) -> Decided {
        let tenants =
            vec![TenantDomains { tenant: "acme".to_owned(), domains: vec!["Acme.example".to_owned()] }];
        decide(standing, &Asked::parse(ApplyPoliciesRequest { tenants, policies }).unwrap())
    }

    /// Name, decision, reason, and the class that stands.
    fn told(decided: &Decided) -> Vec<String> {
        let text = |outcome: &PolicyOutcome| {
            let standing = outcome.standing.as_ref();
            let standing = standing.map(|s| format!("{} {}", s.class, s.generation)).unwrap_or_default();
            format!("{} {} {} {standing}", outcome.name, outcome.decision().as_str_name(), outcome.reason)
                .replace("POLICY_DECISION_", "")
        };
        decided.outcomes.iter().map(text).collect()
    }

    #[test]
    fn a_bad_policy_is_refused_and_the_others_are_accepted() {
        let first = decide_on(&PolicySet::default(), vec![policy("a", 1, false), policy("b", 2, false)]);
        let bad = [
            RetentionPolicy { mailboxes: vec!["nobody".to_owned()], ..policy("a", 9, false) },
            RetentionPolicy { domains: vec!["a b".to_owned()], ..policy("a", 9, false) },
            RetentionPolicy {
                domains: vec!["a.b".to_owned(); POLICY_ADDRESSES + 1],
                ..policy("a", 9, false)
            },
            RetentionPolicy { keep_for: None, ..policy("a", 9, false) },
            policy("a", 0, false),
            policy("a", 101, false),
            RetentionPolicy { keep_for: Some(KeepFor::Months(1_201)), ..policy("a", 9, false) },
            RetentionPolicy { keep_for: Some(KeepFor::Days(36_526)), ..policy("a", 9, false) },
            RetentionPolicy { direction: 0, ..policy("a", 9, false) },
            RetentionPolicy { start_from: 9, ..policy("a", 9, false) },
            RetentionPolicy { erasure: 0, ..policy("a", 9, false) },
            RetentionPolicy { uid: String::new(), ..policy("a", 9, false) },
            RetentionPolicy { generation: 0, ..policy("a", 9, false) },
            RetentionPolicy { tenant: "A".to_owned(), ..policy("a", 9, false) },
        ];
        for bad in bad {
            let decided = decide_on(&first.set, vec![bad, policy("b", 3, false), policy("c", 4, false)]);
            assert_eq!(
                told(&decided),
                [
                    "a REFUSED Invalid 1y-received-permitted 1",
                    "b ACCEPTED  3y-received-permitted 1",
                    "c ACCEPTED  4y-received-permitted 1",
                ]
            );
            assert!(decided.outcomes[0].message.contains(" must be "), "{:?}", decided.outcomes[0]);
        }
        let nameless = decide_on(&first.set, vec![policy("A b", 1, false), policy("b", 3, false)]);
        assert_eq!(told(&nameless), ["A b REFUSED Invalid ", "b ACCEPTED  3y-received-permitted 1"]);
        let twice = decide_on(&first.set, vec![policy("a", 5, false), policy("a", 6, false)]);
        assert_eq!(
            told(&twice),
            ["a ACCEPTED  5y-received-permitted 1", "a REFUSED Invalid 5y-received-permitted 1"]
        );
        assert_eq!(twice.set.policies.len(), 1);
    }

    const POLICY_ADDRESSES: usize = super::super::POLICY_ADDRESSES_MAX;

    #[test]
    fn what_is_locked_stays_whoever_shortens_deletes_or_recreates_it() {
        let first = decide_on(&PolicySet::default(), vec![policy("a", 6, true), policy("b", 6, false)]);
        let check = |policies: Vec<RetentionPolicy>, expected: &[&str]| {
            let decided = decide_on(&first.set, policies);
            assert_eq!(told(&decided), expected);
            decided.set
        };
        let stands = "a REFUSED LockedInCore 6y-received-permitted 1";
        check(vec![policy("a", 5, true)], &[stands]);
        check(vec![policy("a", 7, false)], &[stands]);
        let recreated =
            |years| RetentionPolicy { uid: "uid-2".to_owned(), generation: 3, ..policy("a", years, true) };
        check(vec![recreated(5)], &[stands]);
        check(vec![RetentionPolicy { domains: Vec::new(), ..recreated(7) }], &[stands]);
        check(vec![recreated(7)], &["a ACCEPTED  7y-received-permitted 3"]);
        // What is not locked goes; what is locked stays, and goes on to be held to after that.
        let left = check(vec![], &["a KEPT LockedInCore 6y-received-permitted 1"]);
        assert_eq!(left.policies.len(), 1);
        let after = decide_on(&left, vec![recreated(1)]);
        assert_eq!(told(&after), [stands]);
        assert_eq!(after.set, left);
        // The others are not held up.
        let others = check(
            vec![policy("a", 1, true), policy("c", 1, false)],
            &[stands, "c ACCEPTED  1y-received-permitted 1"],
        );
        assert_eq!(others.policies.len(), 2);
    }

    #[test]
    fn the_same_request_again_changes_nothing() {
        let request = || vec![policy("a", 6, true), policy("b", 6, false), policy("b", 1, false)];
        let first = decide_on(&PolicySet::default(), request());
        assert_eq!(decide_on(&first.set, request()), first);
    }

    #[test]
    fn a_request_whose_tenants_are_none_is_refused_as_a_whole() {
        let own = |tenant: &str, domain: &str| TenantDomains {
            tenant: tenant.to_owned(),
            domains: vec![domain.to_owned()],
        };
        for tenants in [
            vec![own("Acme", "a.example")],
            vec![own("acme", "a example")],
            vec![own("acme", "a.example"), own("acme", "b.example")],
        ] {
            assert!(Asked::parse(ApplyPoliciesRequest { tenants, policies: vec![] }).is_err());
        }
        let many = vec![policy("a", 1, false); super::super::POLICIES_MAX + 1];
        assert!(Asked::parse(ApplyPoliciesRequest { tenants: vec![], policies: many }).is_err());
    }
}
