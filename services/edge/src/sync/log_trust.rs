//! What this agent trusts: its own name, and the one log that its receipts must be in.

use openarchive_domain::AgentRef;
use openarchive_ledger::{
    note::Verifier,
    origin::{LogId, Origin, TenantOrArchive},
    policy::Policy,
};

/// Comes from the agent's certificate and its log policy, never from anything the core says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogTrust {
    agent: AgentRef,
    origin: Origin,
    key: Verifier,
}

/// A log policy that an agent cannot check receipts with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyUnfit {
    #[error(
        "the log policy names no log TENANT/evidence/EPOCH of tenant {tenant}; use the one of `openarchive agent add`"
    )]
    NoLog { tenant: String },
    #[error("the log policy names two keys for the log {origin}; leave the one that is in use")]
    TwoKeys { origin: String },
    #[error(
        "the log policy demands witnesses, which agents cannot check yet; give the agent one with `quorum none`"
    )]
    Witnesses,
}

impl LogTrust {
    /// The tenant's evidence log in the policy; of several epochs the last, since a new epoch is accepted by hand, by
    /// putting it into the policy.
    pub fn from_policy(agent: AgentRef, policy: &Policy) -> Result<Self, PolicyUnfit> {
        if policy.needs_witnesses() {
            return Err(PolicyUnfit::Witnesses);
        }
        let owner = TenantOrArchive::from(agent.tenant.clone());
        let mut found: Option<(Origin, &Verifier)> = None;
        for key in policy.logs() {
            let Ok(origin) = key.name().parse::<Origin>() else { continue };
            if *origin.log().owner() != owner || origin.log().stream() != LogId::EVIDENCE {
                continue;
            }
            match &found {
                Some((other, _)) if *other == origin => {
                    return Err(PolicyUnfit::TwoKeys { origin: origin.to_string() });
                }
                Some((other, _)) if other.log().epoch() > origin.log().epoch() => {}
                _ => found = Some((origin, key)),
            }
        }
        let Some((origin, key)) = found else {
            return Err(PolicyUnfit::NoLog { tenant: agent.tenant.to_string() });
        };
        Ok(Self { agent, origin, key: key.clone() })
    }

    pub const fn agent(&self) -> &AgentRef {
        &self.agent
    }

    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    pub const fn key(&self) -> &Verifier {
        &self.key
    }
}

#[cfg(test)]
mod tests {
    use openarchive_ledger::note::Signer;

    use super::*;

    fn key(origin: &str, seed: u8) -> Verifier {
        Signer::new(origin, &[seed; 32]).unwrap().verifier().clone()
    }

    fn trust(logs: Vec<Verifier>) -> Result<LogTrust, PolicyUnfit> {
        LogTrust::from_policy("acme/mx1".parse().unwrap(), &Policy::of_logs(logs))
    }

    #[test]
    fn of_all_logs_in_the_policy_the_tenants_last_evidence_log_counts() {
        let logs = [
            "archive.test/main/acme/audit/9",
            "archive.test/main/acme/evidence/1",
            "archive.test/main/acme/evidence/3",
            "archive.test/main/acme/evidence/2",
            "archive.test/main/other/evidence/8",
            "archive.test/main/_/evidence/7",
            "some.other/log",
        ];
        let trust = trust(logs.iter().zip(1..).map(|(log, seed)| key(log, seed)).collect()).unwrap();
        assert_eq!(trust.origin().to_string(), "archive.test/main/acme/evidence/3");
        assert_eq!(*trust.key(), key(logs[2], 3));
    }

    #[test]
    fn a_policy_that_leaves_open_what_to_trust_is_refused() {
        assert!(matches!(trust(vec![]), Err(PolicyUnfit::NoLog { .. })));
        assert!(matches!(trust(vec![key("a.test/main/acme/audit/1", 1)]), Err(PolicyUnfit::NoLog { .. })));
        let log = "a.test/main/acme/evidence/1";
        assert!(matches!(trust(vec![key(log, 1), key(log, 2)]), Err(PolicyUnfit::TwoKeys { .. })));
    }
}
