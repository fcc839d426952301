//! From what has to be done to what has to be stored.

use openarchive_domain::Timestamp;

use crate::{
    SecretData, agents_ca,
    issue::{IssueError, Random},
    leaf::{self, LeafSpec},
    plan::{Action, Found, Target, Wanted},
    state::AuthorityState,
};

/// One Secret's data, whole. Secret: not `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub enum Written {
    /// Stored before anything else is planned, and only over the version that was read.
    Authority(Box<AuthorityState>),
    Secret {
        target: Target,
        data: SecretData,
    },
}

/// Makes what `action` of a plan over the same arguments says. Repeated, it makes another key: only what was stored counts.
pub fn carry_out(
    action: &Action,
    state: &AuthorityState,
    wanted: &Wanted<'_>,
    found: &Found,
    now: Timestamp,
    random: Random<'_>,
) -> Result<Written, IssueError> {
    let gone = |name: &String| IssueError::NoSuchLeaf(name.clone());
    Ok(match action {
        Action::Authority(transition) => {
            let after = state.after(*transition, (wanted.domain, wanted.request), now, random)?;
            Written::Authority(Box::new(after))
        }
        Action::Issue { target: target @ Target::Leaf(name), .. } => {
            let spec = spec_of(wanted, name).ok_or_else(|| gone(name))?;
            let data = spec.issue(wanted.domain, state, now, random)?;
            Written::Secret { target: target.clone(), data }
        }
        Action::Issue { target: Target::AgentsCa, .. } => {
            let data = agents_ca::issue(wanted.domain, state.issuing(), now, random)?;
            Written::Secret { target: Target::AgentsCa, data }
        }
        Action::Rebundle { leaf: name } => {
            let data = found.leaves.get(name).and_then(|found| leaf::rebundled(found, state));
            Written::Secret { target: Target::Leaf(name.clone()), data: data.ok_or_else(|| gone(name))? }
        }
    })
}

fn spec_of<'a>(wanted: &Wanted<'a>, name: &str) -> Option<&'a LeafSpec> {
    wanted.leaves.iter().find(|spec| spec.name() == name)
}
