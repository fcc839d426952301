//! Asks the archive's probers whether its network policies are enforced.

use std::{net::SocketAddr, time::Duration};

use futures::future::join_all;
use openarchive_domain::Timestamp;
use openarchive_operator_api::Enforcement;
use openarchive_telemetry::http_get;
use serde::Deserialize;
use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};

use crate::{
    Context,
    archive::{ValidArchive, build::prober_address},
};

/// Longest wait for one prober, and for the name that stands for all.
const ANSWER_SECONDS_MAX: u64 = 2;
/// Longest answer that is taken in.
const ANSWER_BYTES_MAX: u64 = 16 * 1024;
/// Most probers that are asked; there are two.
const PROBERS_MAX: usize = 8;

/// What is known of the enforcement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) verdict: Enforcement,
    /// In words. The same world gives the same words.
    pub(super) reason: String,
    /// RFC 3339.
    pub(super) probed_at: Option<String>,
}

impl Answer {
    fn unverified(reason: impl Into<String>) -> Self {
        Self { verdict: Enforcement::Unverified, reason: reason.into(), probed_at: None }
    }
}

/// What a prober says.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    verdict: Enforcement,
    reason: String,
    probed_at: Option<String>,
}

impl Report {
    /// `None`: nothing was probed, or the time is none.
    fn time(&self) -> Option<Timestamp> {
        self.probed_at.as_ref()?.parse().ok()
    }

    fn answer(&self) -> Answer {
        Answer {
            verdict: self.verdict,
            reason: self.reason.clone(),
            probed_at: self.time().map(|time| time.to_string()),
        }
    }
}

/// Asks every prober that is ready. Never fails: what cannot be known is `Unverified`.
pub(super) async fn ask(context: &Context, archive: &ValidArchive) -> Answer {
    if archive.stopped {
        return Answer::unverified("the archive is stopped, and its probers with it");
    }
    let name = prober_address(archive);
    let patience = Duration::from_secs(ANSWER_SECONDS_MAX);
    let reached_at = context.dialler.reached_at(&name);
    let found = timeout(patience, lookup_host(&reached_at)).await;
    let probers = asked(found.ok().and_then(Result::ok).into_iter().flatten().collect());
    let answers = probers
        .into_iter()
        .map(|prober| async move { timeout(patience, report(prober)).await.ok().flatten() });
    conclude(&name, &join_all(answers).await)
}

/// Each once.
fn asked(mut found: Vec<SocketAddr>) -> Vec<SocketAddr> {
    found.sort_unstable();
    found.dedup();
    found.truncate(PROBERS_MAX);
    found
}

/// `None`: it does not answer, or not as a prober.
async fn report(prober: SocketAddr) -> Option<Report> {
    let stream = TcpStream::connect(prober).await.ok()?;
    let (status, body) = http_get(stream, "prober", "/verdict", None, ANSWER_BYTES_MAX).await.ok()?;
    if status == 200 { serde_json::from_str(&body).ok() } else { None }
}

/// One answer of all, those that were not given among them: one connection that came through is enough, and nothing is verified
/// before every prober says so.
fn conclude(name: &str, answers: &[Option<Report>]) -> Answer {
    let given: Vec<&Report> = answers.iter().flatten().collect();
    let with = |verdict: Enforcement| given.iter().find(move |report| report.verdict == verdict);
    let Some(oldest) = given.iter().min_by_key(|report| report.time()) else {
        return Answer::unverified(format!("no prober answers at {name}"));
    };
    if let Some(report) = with(Enforcement::NotEnforced) {
        return report.answer();
    }
    let missing = answers.len() - given.len();
    if missing > 0 {
        let reason = format!("{missing} of {} probers at {name} do not answer", answers.len());
        return Answer::unverified(reason);
    }
    with(Enforcement::Unverified).unwrap_or(oldest).answer()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(verdict: &str, minute: u8) -> Option<Report> {
        let text = format!(
            "{{\"verdict\": \"{verdict}\", \"reason\": \"{verdict} {minute}\", \"canaryPort\": 9999, \
             \"probedAt\": \"2026-11-21T10:{minute:02}:00.000Z\"}}"
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn the_worst_answer_counts_and_silence_verifies_nothing() {
        let check = |answers: &[Option<Report>], verdict: Enforcement, reason: &str, at: Option<&str>| {
            let answer = conclude("p", answers);
            assert_eq!((answer.verdict, answer.reason.as_str()), (verdict, reason), "{answers:?}");
            assert_eq!(answer.probed_at.as_deref(), at, "{answers:?}");
        };
        let (first, second) = (Some("2026-11-21T10:01:00.000Z"), Some("2026-11-21T10:02:00.000Z"));
        let good = |minute| report("Verified", minute);
        check(&[], Enforcement::Unverified, "no prober answers at p", None);
        check(&[None, None], Enforcement::Unverified, "no prober answers at p", None);
        check(&[good(2), good(1)], Enforcement::Verified, "Verified 1", first);
        check(&[good(1), None], Enforcement::Unverified, "1 of 2 probers at p do not answer", None);
        check(&[good(1), report("Unverified", 2)], Enforcement::Unverified, "Unverified 2", second);
        let through = || report("NotEnforced", 2);
        check(&[good(1), through()], Enforcement::NotEnforced, "NotEnforced 2", second);
        check(&[None, through()], Enforcement::NotEnforced, "NotEnforced 2", second);
        check(&[report("Unverified", 1), through()], Enforcement::NotEnforced, "NotEnforced 2", second);
    }

    #[test]
    fn each_prober_is_asked_once_and_not_more_than_can_be_meant() {
        let address = |last: usize| SocketAddr::from(([10, 0, 0, u8::try_from(last).unwrap()], 9090));
        assert_eq!(asked(vec![address(2), address(1), address(2)]), [address(1), address(2)]);
        for (number, expected) in [(PROBERS_MAX, PROBERS_MAX), (PROBERS_MAX + 1, PROBERS_MAX)] {
            assert_eq!(asked((0..number).map(address).collect()).len(), expected);
        }
    }

    #[test]
    fn an_answer_without_a_time_is_understood_and_one_of_an_unknown_verdict_is_not() {
        let read = |text: &str| serde_json::from_str::<Report>(text).ok();
        let new = read("{\"verdict\": \"Unverified\", \"reason\": \"nothing was tried yet\"}");
        assert_eq!(conclude("p", &[new]).reason, "nothing was tried yet");
        assert!(read("{\"verdict\": \"Perhaps\", \"reason\": \"\"}").is_none());
    }
}
