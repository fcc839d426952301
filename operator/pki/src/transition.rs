//! The exchange of the authority, one stored step at a time.
//!
//! ```text
//! Stable ──Begin──▶ TrustNew ──ReIssue──▶ ReIssue ──DropOld──▶ DropOld ──Finish──▶ Stable
//!           leaves: old         old                  new                  new
//!         believed: old         old, new             old, new             new
//! ```
//!
//! In each step but the first, every Secret is first seen as the step wants it (`Settled`); then it is waited until every
//! process has read its own. Two neighbouring steps understand each other in both directions, so it does not matter which
//! process reads when; that nobody is two steps behind is what the waiting is for.

use openarchive_domain::{Digest, Timestamp};

use crate::{
    authority::Authority,
    certificate::Certificate,
    issue::{IssueError, Random, TrustDomain},
    state::{AuthorityState, Rotation, Step},
};

/// How long a step stays after every Secret was seen as it wants it, in seconds. A kubelet brings a changed Secret into its
/// pods within about two minutes, and a process looks at its files at each new connection.
pub const SECRETS_LOADED_SECONDS_MIN: u32 = 600;

/// Why the authority is exchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Two thirds of its life are over.
    Age,
    /// A person asked for it.
    Request,
}

/// A change of what the authority's Secret holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transition {
    Begin(Cause),
    /// Every Secret is as the step wants it.
    Settled,
    /// Some Secret is not any more.
    Unsettled,
    ReIssue,
    DropOld,
    Finish,
    /// The authority before this one has ended: nobody needs its word any more.
    CrossEnded,
}

impl AuthorityState {
    /// The first authority of an archive. `request` is taken as heard: only another one asks for an exchange.
    pub fn create(
        domain: &TrustDomain,
        request: Option<&str>,
        now: Timestamp,
        random: Random<'_>,
    ) -> Result<Self, IssueError> {
        let current = Authority::create(domain, now, random)?;
        Ok(Self { current, cross: None, since: now, request: request.map(heard), rotation: None })
    }

    /// Whether `request` was not taken up yet.
    pub(crate) fn is_new(&self, request: &str) -> bool {
        self.request != Some(heard(request))
    }

    pub(crate) fn after(
        &self,
        transition: Transition,
        (domain, request): (&TrustDomain, Option<&str>),
        now: Timestamp,
        random: Random<'_>,
    ) -> Result<Self, IssueError> {
        let mut state = self.clone();
        match (transition, &self.rotation) {
            (Transition::Begin(_), None) => {
                let (next, cross) = self.next(domain, now, random)?;
                state.request = request.map(heard).or(state.request);
                state.since = now;
                state.rotation = Some(Rotation { step: Step::TrustNew, next, cross, settled: None });
            }
            (Transition::CrossEnded, None) => state.cross = None,
            (Transition::Settled, Some(rotation)) => state.rotation = Some(rotation.settled(Some(now))),
            (Transition::Unsettled, Some(rotation)) => state.rotation = Some(rotation.settled(None)),
            (Transition::ReIssue, Some(rotation)) if rotation.step == Step::TrustNew => {
                state.since = now;
                state.rotation = Some(rotation.at(Step::ReIssue));
            }
            (Transition::DropOld, Some(rotation)) if rotation.step == Step::ReIssue => {
                state.since = now;
                state.rotation = Some(rotation.at(Step::DropOld));
            }
            (Transition::Finish, Some(rotation)) if rotation.step == Step::DropOld => {
                let Rotation { next, cross, .. } = rotation.clone();
                state = Self { current: next, cross, since: now, request: self.request, rotation: None };
            }
            _ => return Err(IssueError::NotDue),
        }
        Ok(state)
    }

    /// The authority to come, and the word of the present one for it, unless that one has ended.
    fn next(
        &self,
        domain: &TrustDomain,
        now: Timestamp,
        random: Random<'_>,
    ) -> Result<(Authority, Option<Certificate>), IssueError> {
        if self.current.certificate().has_ended(now) {
            return Ok((Authority::create(domain, now, random)?, None));
        }
        let (next, cross) = self.current.successor(domain, now, random)?;
        Ok((next, Some(cross)))
    }
}

impl Rotation {
    fn settled(&self, settled: Option<Timestamp>) -> Self {
        Self { settled, ..self.clone() }
    }

    fn at(&self, step: Step) -> Self {
        Self { step, settled: None, ..self.clone() }
    }
}

fn heard(request: &str) -> Digest {
    Digest::of(request.as_bytes())
}
