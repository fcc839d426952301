//! A whole archive under load: agents that take mail, a core on the same machine, and somebody who looks what is found.

use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use openarchive_e2e::{Agent, Archive, Cluster};
use reqwest::blocking::Client;
use serde_json::{Value, json};

use crate::sender::{Pace, Sent, send};

/// Time between two looks at how much is found.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// Longest wait for the last mail to be found.
const SEARCHABLE_SECONDS_MAX: u64 = 600;

/// Asks how many mails are found.
pub struct Counter {
    client: Client,
    url: String,
    token: String,
}

impl Counter {
    fn new(gateway: &str, token: &str, authority: &[u8]) -> anyhow::Result<Self> {
        // Fails only if a provider is installed already.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let authority = reqwest::Certificate::from_pem_bundle(authority)?;
        let client = Client::builder().no_proxy().tls_certs_only(authority).build()?;
        let url = format!("{gateway}/api/v1/search/emails/");
        Ok(Self { client, url, token: token.trim().to_owned() })
    }

    pub fn of_archive(archive: &Archive) -> anyhow::Result<Self> {
        let token = fs::read_to_string(archive.data().join("api-token"))?;
        Self::new(&archive.gateway(), &token, archive.authority().as_bytes())
    }

    pub fn of_cluster(cluster: &Cluster, tenant: &str) -> anyhow::Result<Self> {
        let gateways = cluster.gateway();
        let gateway = gateways.first().context("the cluster has no gateway")?;
        let authority = fs::read(cluster.root().join("tls/ca.pem"))?;
        Self::new(gateway, &cluster.token(tenant), &authority)
    }

    pub fn count(&self) -> anyhow::Result<u64> {
        let question = json!({ "query": "*", "limit": 1 });
        let answer = self.client.post(&self.url).bearer_auth(&self.token).json(&question).send()?;
        let answer: Value = answer.error_for_status()?.json()?;
        answer["total"].as_u64().context("the answer to a search has another form")
    }
}

/// A run of the whole chain.
#[derive(Debug)]
pub struct Chain {
    pub sent: Sent,
    /// From the first mail's sending to the moment when every agent had the proof of each of its mails.
    pub proven: Duration,
    /// From the first mail's sending to the moment when the last was found.
    pub searchable: Duration,
    /// Seconds from a mail's `250` to its being found. The looks in between make it up to a look too long.
    pub to_found: Vec<f64>,
}

/// Sends mails that are not in the archive yet through all agents, and waits until they are proven and found.
pub fn drive(
    agents: &[Agent],
    sessions: usize,
    mails: &[Vec<u8>],
    counter: &Counter,
    pace: Pace,
) -> anyhow::Result<Chain> {
    let before = counter.count()?;
    let addresses: Vec<String> = agents.iter().map(Agent::smtp).collect();
    let started = Instant::now();
    let (is_sent, is_given_up) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        let looks = scope.spawn(|| look(counter, before, mails.len() as u64, started, &is_given_up));
        let drained = scope.spawn(|| {
            while !is_sent.load(Ordering::Acquire) {
                thread::sleep(LOOK_INTERVAL);
            }
            for agent in agents {
                agent.wait_drained(SEARCHABLE_SECONDS_MAX);
            }
            started.elapsed()
        });
        let sent = send(&addresses, sessions, mails, pace);
        is_given_up.store(sent.is_err(), Ordering::Release);
        is_sent.store(true, Ordering::Release);
        let sent = sent?;
        let proven = drained.join().ok().context("an agent is not drained")?;
        let looks = looks.join().ok().context("nobody looked")??;
        let searchable = looks.last().map_or(Duration::ZERO, |(at, _)| *at);
        let to_found = to_found(&sent.accepted_at, &looks);
        Ok(Chain { sent, proven, searchable, to_found })
    })
}

/// How many were found when, until all were.
fn look(
    counter: &Counter,
    before: u64,
    mails: u64,
    started: Instant,
    is_given_up: &AtomicBool,
) -> anyhow::Result<Vec<(Duration, u64)>> {
    let mut looks = Vec::new();
    loop {
        let found = counter.count()? - before;
        looks.push((started.elapsed(), found));
        if found >= mails || is_given_up.load(Ordering::Acquire) {
            return Ok(looks);
        }
        ensure!(started.elapsed().as_secs() < SEARCHABLE_SECONDS_MAX, "{found} of {mails} mails are found");
        thread::sleep(LOOK_INTERVAL);
    }
}

/// Of the first, second, .. mail that was accepted: how long until so many were found.
fn to_found(accepted_at: &[Duration], looks: &[(Duration, u64)]) -> Vec<f64> {
    let mut looks = looks.iter().peekable();
    let mut waits = Vec::with_capacity(accepted_at.len());
    for (number, accepted) in (1u64..).zip(accepted_at) {
        while looks.peek().is_some_and(|(_, found)| *found < number) {
            looks.next();
        }
        let found_at = looks.peek().map_or(Duration::ZERO, |(at, _)| *at);
        waits.push(found_at.saturating_sub(*accepted).as_secs_f64());
    }
    waits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_is_found_at_the_first_look_that_counts_as_many() {
        let at = Duration::from_secs;
        let looks = [(at(1), 0), (at(2), 2), (at(5), 3)];
        assert_eq!(to_found(&[at(0), at(1), at(2)], &looks), [2.0, 1.0, 3.0]);
    }
}
