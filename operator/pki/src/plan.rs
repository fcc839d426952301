//! What has to be done now: pure, and the same for the same world.

use std::collections::BTreeMap;

use openarchive_domain::{Digest, Timestamp};

use crate::{
    SecretData, agents_ca,
    agents_ca::AGENT_CERTIFICATE_DAYS_MAX,
    certificate::Certificate,
    issue::TrustDomain,
    leaf::LeafSpec,
    pair::Why,
    state::{AuthorityState, Rotation, Step},
    transition::{Cause, SECRETS_LOADED_SECONDS_MIN, Transition},
};

/// What there ought to be.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    pub domain: &'a TrustDomain,
    pub leaves: &'a [LeafSpec],
    pub agents: Agents,
    /// Value of the annotation that asks for another authority, if it is there.
    pub request: Option<&'a str>,
}

/// Who may show a chain over the agents' intermediate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agents {
    /// None has ever enrolled.
    None,
    /// Some have. `trust_signs_with`: fingerprint of the intermediate that every running trust process has loaded, and since
    /// when; none while they differ.
    Enrolled { trust_signs_with: Option<(Digest, Timestamp)> },
}

/// The Secrets as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// By [`LeafSpec::name`].
    pub leaves: BTreeMap<String, SecretData>,
    pub agents_ca: Option<SecretData>,
}

impl Found {
    pub(crate) fn is_empty(&self) -> bool {
        self.leaves.is_empty() && self.agents_ca.is_none()
    }
}

/// Whose Secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    Leaf(String),
    AgentsCa,
}

/// One Secret to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// The authority's own. Stands alone in its plan.
    Authority(Transition),
    /// A new key and certificate.
    Issue { target: Target, why: Why },
    /// The certificate and key of a leaf stay; the authorities beside it change.
    Rebundle { leaf: String },
}

/// What an exchange of the authority waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// Every process reads its files.
    FilesRead { until: Timestamp },
    /// Trust signs with the intermediate that is in its Secret: it must be restarted.
    TrustRestart,
    /// The last certificate ends that agents show over the earlier intermediate.
    AgentsRenew { until: Timestamp },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// None: nothing is to be written.
    pub actions: Vec<Action>,
    pub waiting: Option<Waiting>,
    /// By then the plan is another, if nothing else happens before.
    pub look_again_at: Timestamp,
}

/// Compares what is stored with what is wanted.
pub fn plan(now: Timestamp, state: &AuthorityState, wanted: &Wanted<'_>, found: &Found) -> Plan {
    // What an authority that has ended signed is refused everywhere: there is nothing to keep and nothing to wait for.
    let ended = state.issuing().certificate().has_ended(now);
    let checked = if ended { Checked::default() } else { Checked::of(now, state, wanted, found) };
    let (transition, waiting) = match &state.rotation {
        None => (begin(now, state, wanted), None),
        Some(rotation) if ended => (Some(onwards(rotation.step)), None),
        Some(rotation) => go_on(now, rotation, wanted, &checked),
    };
    if let Some(transition) = transition {
        return Plan { actions: vec![Action::Authority(transition)], waiting: None, look_again_at: now };
    }
    let look_again_at = look_again_at(state, &checked, waiting);
    Plan { actions: checked.actions, waiting, look_again_at }
}

/// What is there, and what must be done about the rest.
#[derive(Default)]
struct Checked {
    actions: Vec<Action>,
    renewals: Vec<Timestamp>,
    agents_ca: Option<Certificate>,
}

impl Checked {
    fn of(now: Timestamp, state: &AuthorityState, wanted: &Wanted<'_>, found: &Found) -> Self {
        let mut checked = Self::default();
        match agents_ca::examine(found.agents_ca.as_ref(), state.issuing(), now) {
            Ok(good) => {
                checked.renewals.push(good.renew_at());
                checked.agents_ca = Some(good);
            }
            Err(why) => checked.actions.push(Action::Issue { target: Target::AgentsCa, why }),
        }
        for spec in wanted.leaves {
            match spec.examine(found.leaves.get(spec.name()), wanted.domain, state, now) {
                Ok(good) => checked.renewals.push(good.renew_at()),
                Err(Why::OtherAuthorities) => {
                    checked.actions.push(Action::Rebundle { leaf: spec.name().to_owned() });
                }
                Err(why) => {
                    let target = Target::Leaf(spec.name().to_owned());
                    checked.actions.push(Action::Issue { target, why });
                }
            }
        }
        checked
    }

    /// Every Secret is as the present step wants it. One that is only old is.
    fn is_settled(&self) -> bool {
        self.actions.iter().all(|action| matches!(action, Action::Issue { why: Why::Age, .. }))
    }
}

fn begin(now: Timestamp, state: &AuthorityState, wanted: &Wanted<'_>) -> Option<Transition> {
    if wanted.request.is_some_and(|request| state.is_new(request)) {
        Some(Transition::Begin(Cause::Request))
    } else if now >= state.current.certificate().renew_at() {
        Some(Transition::Begin(Cause::Age))
    } else if state.cross.as_ref().is_some_and(|cross| cross.has_ended(now)) {
        Some(Transition::CrossEnded)
    } else {
        None
    }
}

fn go_on(
    now: Timestamp,
    rotation: &Rotation,
    wanted: &Wanted<'_>,
    checked: &Checked,
) -> (Option<Transition>, Option<Waiting>) {
    let settled = match (checked.is_settled(), rotation.settled) {
        (true, Some(settled)) => settled,
        (true, None) => return (Some(Transition::Settled), None),
        (false, Some(_)) => return (Some(Transition::Unsettled), None),
        (false, None) => return (None, None),
    };
    let waiting = files_read(now, settled).or_else(|| match rotation.step {
        Step::ReIssue => agents_wait(now, wanted.agents, checked.agents_ca.as_ref()),
        Step::TrustNew | Step::DropOld => None,
    });
    if waiting.is_some() { (None, waiting) } else { (Some(onwards(rotation.step)), None) }
}

const fn onwards(step: Step) -> Transition {
    match step {
        Step::TrustNew => Transition::ReIssue,
        Step::ReIssue => Transition::DropOld,
        Step::DropOld => Transition::Finish,
    }
}

fn files_read(now: Timestamp, settled: Timestamp) -> Option<Waiting> {
    let until = later(settled, i64::from(SECRETS_LOADED_SECONDS_MIN));
    (now < until).then_some(Waiting::FilesRead { until })
}

/// Agents show the intermediate that signed them until they renew; one whose authority is not believed any more would be
/// refused, and could not renew either.
fn agents_wait(now: Timestamp, agents: Agents, intermediate: Option<&Certificate>) -> Option<Waiting> {
    let Agents::Enrolled { trust_signs_with } = agents else { return None };
    let present = intermediate.map(Certificate::fingerprint);
    let Some((_, since)) = trust_signs_with.filter(|(with, _)| Some(*with) == present) else {
        return Some(Waiting::TrustRestart);
    };
    let until = later(since, AGENT_CERTIFICATE_DAYS_MAX.cast_signed() * 86_400);
    (now < until).then_some(Waiting::AgentsRenew { until })
}

fn later(time: Timestamp, seconds: i64) -> Timestamp {
    Timestamp::from_millis(time.as_millis().saturating_add(seconds.saturating_mul(1000)))
}

fn look_again_at(state: &AuthorityState, checked: &Checked, waiting: Option<Waiting>) -> Timestamp {
    // An exchange that is under way does not begin again, and leaves the rest for after it.
    let stable = state.rotation.is_none();
    let own = stable.then(|| state.current.certificate().renew_at());
    let cross = state.cross.as_ref().filter(|_| stable).map(Certificate::not_after);
    let waiting = match waiting {
        Some(Waiting::FilesRead { until } | Waiting::AgentsRenew { until }) => Some(until),
        Some(Waiting::TrustRestart) | None => None,
    };
    let times = checked.renewals.iter().copied().chain(own).chain(cross).chain(waiting);
    times.min().unwrap_or(state.current.certificate().not_after())
}
