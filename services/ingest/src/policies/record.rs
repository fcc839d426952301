use std::collections::{BTreeMap, BTreeSet};

use openarchive_domain::{Direction, MailDomain, Mailbox, Policy, RetentionClass, Tenant, Timestamp};
use openarchive_ledger::jcs;
use serde_json::{Value, json};

use super::{Delivered, PolicySet};

/// Longest record of a set of policies, in bytes.
pub(crate) const POLICY_RECORD_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A set of policies as it stands in its row and in an encrypted state blob. Its salt makes the blob's digest, which
/// stands in the ledger, say nothing of the addresses in it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct PolicyRecord {
    /// Of the set, from 1 on.
    pub(crate) version: u64,
    pub(crate) set: PolicySet,
    pub(crate) applied_at: Timestamp,
    pub(crate) salt: [u8; 32],
}

/// Shows no address and no salt.
impl std::fmt::Debug for PolicyRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PolicyRecord({} with {} policies)", self.version, self.set.policies.len())
    }
}

impl PolicyRecord {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let policies: Vec<Value> = self.set.policies.values().map(policy_value).collect();
        let tenants = self.set.domains.iter().map(|(tenant, domains)| {
            let domains: Vec<&str> = domains.iter().map(MailDomain::as_str).collect();
            json!({ "domains": domains, "tenant": tenant.as_str() })
        });
        let record = json!({
            "applied_at": self.applied_at.to_string(),
            "kind": "policies",
            "policies": policies,
            "salt": hex::encode(self.salt),
            "tenants": tenants.collect::<Vec<_>>(),
            "v": 1,
            "version": self.version.to_string(),
        });
        jcs::canonicalize(&record)
            .expect("a set is strings, booleans, null and a 1 under ASCII keys")
            .into_bytes()
    }

    /// Reads exactly what [`Self::encode`] writes.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(bytes).ok()?;
        let text = |field: &str| value[field].as_str();
        let policies = value["policies"].as_array()?.iter().map(|policy| {
            let delivered = delivered(policy)?;
            Some((delivered.policy.name.clone(), delivered))
        });
        let tenants = value["tenants"].as_array()?.iter().map(|own| {
            let tenant: Tenant = own["tenant"].as_str()?.parse().ok()?;
            Some((tenant, strings(&own["domains"])?))
        });
        let record = Self {
            version: text("version")?.parse().ok()?,
            set: PolicySet {
                policies: policies.collect::<Option<_>>()?,
                domains: tenants.collect::<Option<BTreeMap<_, _>>>()?,
            },
            applied_at: text("applied_at")?.parse().ok()?,
            salt: hex::decode(text("salt")?).ok()?.try_into().ok()?,
        };
        (record.encode() == bytes).then_some(record)
    }
}

fn policy_value(delivered: &Delivered) -> Value {
    let Delivered { uid, policy } = delivered;
    let mailboxes: Vec<&str> = policy.mailboxes.iter().map(Mailbox::as_str).collect();
    let domains: Vec<&str> = policy.domains.iter().map(MailDomain::as_str).collect();
    json!({
        "class": policy.class().to_string(),
        "direction": direction_text(policy.direction),
        "domains": domains,
        "generation": policy.revision.to_string(),
        "locked": policy.locked,
        "mailboxes": mailboxes,
        "name": policy.name.as_str(),
        "tenant": policy.tenant.as_ref().map(Tenant::as_str),
        "uid": uid,
    })
}

fn delivered(value: &Value) -> Option<Delivered> {
    let text = |field: &str| value[field].as_str();
    let RetentionClass::Mail { keep_for, start_from, erasure } = text("class")?.parse().ok()? else {
        return None;
    };
    let policy = Policy {
        name: text("name")?.parse().ok()?,
        tenant: text("tenant").map(str::parse).transpose().ok()?,
        mailboxes: strings(&value["mailboxes"])?,
        domains: strings(&value["domains"])?,
        direction: direction(text("direction")?)?,
        keep_for,
        start_from,
        erasure,
        locked: value["locked"].as_bool()?,
        revision: text("generation")?.parse().ok()?,
    };
    Some(Delivered { uid: text("uid")?.to_owned(), policy })
}

fn strings<T: std::str::FromStr + Ord>(value: &Value) -> Option<BTreeSet<T>> {
    value.as_array()?.iter().map(|item| item.as_str()?.parse().ok()).collect()
}

const fn direction_text(direction: Direction) -> &'static str {
    match direction {
        Direction::Any => "any",
        Direction::Inbound => "inbound",
        Direction::Outbound => "outbound",
        Direction::Internal => "internal",
    }
}

fn direction(text: &str) -> Option<Direction> {
    [Direction::Any, Direction::Inbound, Direction::Outbound, Direction::Internal]
        .into_iter()
        .find(|direction| direction_text(*direction) == text)
}

#[cfg(test)]
mod tests {
    use openarchive_domain::{Erasure, KeepFor, StartFrom};

    use super::*;

    #[test]
    fn a_record_reads_back_and_nothing_else_is_one() {
        let policy = |name: &str, direction| Policy {
            name: name.parse().unwrap(),
            tenant: (name == "one").then(|| "acme".parse().unwrap()),
            mailboxes: BTreeSet::from(["größe@a.example".parse().unwrap()]),
            domains: BTreeSet::from(["a.example".parse().unwrap(), "b.example".parse().unwrap()]),
            direction,
            keep_for: KeepFor::Months(7),
            start_from: StartFrom::YearEnd,
            erasure: Erasure::Permitted,
            locked: name == "one",
            revision: u64::MAX,
        };
        let directions = [Direction::Any, Direction::Inbound, Direction::Outbound, Direction::Internal];
        let policies =
            ["one", "three", "two", "zero"].into_iter().zip(directions).map(|(name, direction)| {
                let policy = policy(name, direction);
                (policy.name.clone(), Delivered { uid: format!("uid-{name}"), policy })
            });
        let record = PolicyRecord {
            version: u64::MAX,
            set: PolicySet {
                policies: policies.collect(),
                domains: BTreeMap::from([(
                    "acme".parse().unwrap(),
                    BTreeSet::from(["a.example".parse().unwrap()]),
                )]),
            },
            applied_at: Timestamp::from_millis(5),
            salt: [3; 32],
        };
        let bytes = record.encode();
        assert_eq!(PolicyRecord::decode(&bytes), Some(record.clone()));
        assert_ne!(PolicyRecord { salt: [4; 32], ..record }.encode(), bytes);
        let text = String::from_utf8(bytes).unwrap();
        for bad in [
            text.replace("\"v\":1", "\"v\":2"),
            text.replace("\"v\":1", "\"v\":1,\"w\":1"),
            text.replace("\"kind\":\"policies\"", "\"kind\":\"hold\""),
            text.replace("7m-yearend-permitted", "system"),
            text.replace("\"a.example\",\"b.example\"", "\"b.example\",\"a.example\""),
            text.replace("inbound", "sideways"),
            String::new(),
        ] {
            assert_eq!(PolicyRecord::decode(bad.as_bytes()), None, "{bad}");
        }
    }
}
