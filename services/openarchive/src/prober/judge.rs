//! What a round of tries shows. Pure.

use serde::Serialize;

/// What came of trying one peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tried {
    pub(super) listed: Listed,
    pub(super) canary: Canary,
}

/// The connection that policies let through. From good to bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Listed {
    /// A prober answers, and says that it listens on the canary port, too.
    Answers,
    /// Something answers that does not say so.
    Strange,
    Silent,
}

/// The connection that policies do not let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Canary {
    CameThrough,
    /// Refused, or never answered: engines do either.
    Denied,
    /// This end could not even try.
    Untried,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) enum Verdict {
    Verified,
    NotEnforced,
    Unverified,
}

/// The verdict, and why in words: counts, no addresses, so that the same world gives the same words.
pub(super) fn judge(tried: &[Tried]) -> (Verdict, String) {
    let all = tried.len();
    let count = |is: fn(&Tried) -> bool| tried.iter().filter(|one| is(one)).count();
    // First of all: whatever else is wrong, this connection should not have been.
    let came_through = count(|one| one.canary == Canary::CameThrough);
    if came_through > 0 {
        let reason = format!("{came_through} of {all} connections that no edge lists came through");
        return (Verdict::NotEnforced, reason);
    }
    let doubts = [
        (count(|one| one.listed == Listed::Silent), "listed connections are not answered"),
        // Refused as by a policy; but then nothing may listen there.
        (count(|one| one.listed == Listed::Strange), "peers do not say that their canary listens"),
        (count(|one| one.canary == Canary::Untried), "canary connections cannot be tried from here"),
    ];
    match doubts.into_iter().find(|(number, _)| *number > 0) {
        _ if all == 0 => (Verdict::Unverified, "there is no other prober to connect to".to_owned()),
        Some((number, doubt)) => (Verdict::Unverified, format!("{number} of {all} {doubt}")),
        None => (Verdict::Verified, format!("{all} of {all} listed connections came through, and no other")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_round_has_one_verdict_and_says_why() {
        use {Canary as C, Listed as L, Verdict as V};
        let check = |tried: &[(Listed, Canary)], verdict: Verdict, says: &str| {
            let tried: Vec<_> = tried.iter().map(|&(listed, canary)| Tried { listed, canary }).collect();
            let (found, reason) = judge(&tried);
            assert_eq!(found, verdict, "{tried:?}");
            assert!(reason.starts_with(says), "{tried:?}: {reason}");
        };
        let good = (L::Answers, C::Denied);
        check(&[], V::Unverified, "there is no other prober to connect to");
        check(&[good], V::Verified, "1 of 1 listed connections came through, and no other");
        check(&[good, good], V::Verified, "2 of 2 listed connections came through, and no other");
        check(&[(L::Answers, C::CameThrough)], V::NotEnforced, "1 of 1 connections that no edge lists");
        check(&[good, (L::Answers, C::CameThrough)], V::NotEnforced, "1 of 2 connections that no edge lists");
        // Whatever answered there: no edge leads to that port.
        check(&[(L::Silent, C::CameThrough)], V::NotEnforced, "1 of 1 connections that no edge lists");
        check(&[(L::Strange, C::CameThrough)], V::NotEnforced, "1 of 1 connections that no edge lists");
        // A peer that is away refuses, too.
        check(&[(L::Silent, C::Denied)], V::Unverified, "1 of 1 listed connections are not answered");
        check(&[good, (L::Silent, C::Denied)], V::Unverified, "1 of 2 listed connections are not answered");
        // So does one whose canary does not listen.
        check(&[(L::Strange, C::Denied)], V::Unverified, "1 of 1 peers do not say that their canary listens");
        check(&[(L::Answers, C::Untried)], V::Unverified, "1 of 1 canary connections cannot be tried");
    }
}
