//! Retention policies: which mail they match, the class that they give it, and what a locked one lets happen to it.

mod address;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

pub use address::{Correspondents, MAIL_DOMAIN_BYTES_MAX, MAILBOX_BYTES_MAX, MailDomain, Mailbox};

use crate::{Erasure, KeepFor, PolicyName, RetentionClass, StartFrom, Tenant, Timestamp, expires_at};

/// Longest that a policy keeps mail, in days, months or years: a century. No date of such a class leaves the calendar.
pub const KEEP_FOR_DAYS_MAX: u32 = 36_525;
/// As [`KEEP_FOR_DAYS_MAX`], in months.
pub const KEEP_FOR_MONTHS_MAX: u32 = 1_200;
/// As [`KEEP_FOR_DAYS_MAX`], in years.
pub const KEEP_FOR_YEARS_MAX: u32 = 100;

/// Where mail goes, seen from its tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Any,
    /// The sender is external and a recipient internal.
    Inbound,
    /// The sender is internal and a recipient external.
    Outbound,
    /// The sender is internal and so is a recipient.
    Internal,
}

/// One retention policy. Mail matches it if it meets every condition that is given: an empty list is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    pub name: PolicyName,
    /// Whose mail it speaks of; none: every tenant's.
    pub tenant: Option<Tenant>,
    /// One of these took part.
    pub mailboxes: BTreeSet<Mailbox>,
    /// Somebody of one of these took part.
    pub domains: BTreeSet<MailDomain>,
    pub direction: Direction,
    pub keep_for: KeepFor,
    pub start_from: StartFrom,
    pub erasure: Erasure,
    /// From then on it only grows: see [`Policy::check_lock`].
    pub locked: bool,
    /// Of the object that it was delivered from.
    pub revision: u64,
}

/// What a revision would take from a locked policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LockBreach {
    #[error("it is locked: it is never unlocked")]
    Unlocked,
    #[error("it is locked: whose mail it matches never changes")]
    Match,
    #[error("it is locked: startFrom never changes")]
    StartFrom,
    #[error("it is locked: the unit of keepFor never changes")]
    Unit,
    #[error("it is locked: keepFor only grows")]
    Shortened,
    #[error("it is locked: erasure never becomes Permitted")]
    Erasure,
}

impl Policy {
    /// Of mail that no other policy matches.
    pub const fn class(&self) -> RetentionClass {
        RetentionClass::Mail { keep_for: self.keep_for, start_from: self.start_from, erasure: self.erasure }
    }

    /// Whether it speaks of this tenant's mail at all.
    pub fn is_for(&self, tenant: &Tenant) -> bool {
        self.tenant.as_ref().is_none_or(|own| own == tenant)
    }

    /// Whether it depends on who took part.
    pub fn looks_at_addresses(&self) -> bool {
        !self.mailboxes.is_empty() || !self.domains.is_empty() || self.direction != Direction::Any
    }

    /// `internal`: the tenant's own domains.
    pub fn matches(&self, tenant: &Tenant, internal: &BTreeSet<MailDomain>, mail: &Correspondents) -> bool {
        let sent_from_inside = || mail.senders().are_of(internal);
        self.is_for(tenant)
            && (self.mailboxes.is_empty() || mail.all().any(|addresses| addresses.name(&self.mailboxes)))
            && (self.domains.is_empty() || mail.all().any(|addresses| addresses.are_of(&self.domains)))
            && match self.direction {
                Direction::Any => true,
                Direction::Inbound => !sent_from_inside() && mail.recipients().are_of(internal),
                Direction::Outbound => sent_from_inside() && mail.recipients().are_outside(internal),
                Direction::Internal => sent_from_inside() && mail.recipients().are_of(internal),
            }
    }

    /// Whether `next` may stand where this policy stands, whatever object it comes from. Nothing is held against the
    /// revision of a policy that is not locked.
    pub fn check_lock(&self, next: &Self) -> Result<(), LockBreach> {
        if !self.locked {
            return Ok(());
        }
        let breach = if !next.locked {
            LockBreach::Unlocked
        } else if self.what_matches() != next.what_matches() {
            LockBreach::Match
        } else if self.start_from != next.start_from {
            LockBreach::StartFrom
        } else if (self.erasure, next.erasure) == (Erasure::Forbidden, Erasure::Permitted) {
            LockBreach::Erasure
        } else {
            return match (self.keep_for, next.keep_for) {
                (KeepFor::Days(now), KeepFor::Days(next))
                | (KeepFor::Months(now), KeepFor::Months(next))
                | (KeepFor::Years(now), KeepFor::Years(next)) => {
                    if next >= now {
                        Ok(())
                    } else {
                        Err(LockBreach::Shortened)
                    }
                }
                _ => Err(LockBreach::Unit),
            };
        };
        Err(breach)
    }

    fn what_matches(&self) -> (Option<&Tenant>, &BTreeSet<Mailbox>, &BTreeSet<MailDomain>, Direction) {
        (self.tenant.as_ref(), &self.mailboxes, &self.domains, self.direction)
    }
}

/// The class of mail that was received at `received`. Of the policies that match, the one that keeps this mail longest
/// gives keepFor and startFrom; erasure is Forbidden if any of them says so. `default`: none matches. The order of the
/// policies does not matter.
pub fn class_of<'p>(
    policies: impl IntoIterator<Item = &'p Policy>,
    default: RetentionClass,
    tenant: &Tenant,
    internal: &BTreeSet<MailDomain>,
    mail: &Correspondents,
    received: Timestamp,
) -> RetentionClass {
    // Two that end at the same moment (12 months, a year) are told apart by what they are called.
    let mut longest: Option<((Timestamp, String), &Policy)> = None;
    let mut erasure = Erasure::Permitted;
    for policy in policies.into_iter().filter(|policy| policy.matches(tenant, internal, mail)) {
        if policy.erasure == Erasure::Forbidden {
            erasure = Erasure::Forbidden;
        }
        // What ends beyond the calendar ends last.
        let ends = expires_at(policy.class(), received).unwrap_or(Timestamp::from_millis(i64::MAX));
        let key = (ends, policy.class().to_string());
        if longest.as_ref().is_none_or(|(other, _)| key > *other) {
            longest = Some((key, policy));
        }
    }
    longest.map_or(default, |(_, policy)| RetentionClass::Mail {
        keep_for: policy.keep_for,
        start_from: policy.start_from,
        erasure,
    })
}
