//! Mail servers that send: sessions side by side, each mail timed from the end of its envelope to its `250`.

use std::{
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use openarchive_domain::Digest;
use openarchive_testkit::smtp_client::SmtpClient;

/// What came of sending.
#[derive(Debug)]
pub struct Sent {
    /// Of each mail, in the order of their acceptance: when, counted from the first one's sending.
    pub accepted_at: Vec<Duration>,
    /// Seconds from a mail's sending to its `250`.
    pub latencies: Vec<f64>,
    pub took: Duration,
    pub bytes: u64,
    pub digests: Vec<Digest>,
}

impl Sent {
    pub fn mails_per_second(&self) -> f64 {
        self.latencies.len() as f64 / self.took.as_secs_f64()
    }
}

/// How fast mail is sent.
#[derive(Debug, Clone, Copy)]
pub enum Pace {
    /// As fast as it is taken.
    Unbounded,
    /// Mails a second.
    Bounded(f64),
}

impl Pace {
    /// When mail `number` is due, from the first one's sending.
    fn due(self, number: usize) -> Duration {
        match self {
            Self::Unbounded => Duration::ZERO,
            Self::Bounded(rate) => Duration::from_secs_f64(number as f64 / rate),
        }
    }
}

/// Sends every mail once: session n to address n, counted around, mails as sessions get to them.
pub fn send(addresses: &[String], sessions: usize, mails: &[Vec<u8>], pace: Pace) -> anyhow::Result<Sent> {
    let mut clients = Vec::new();
    for session in 0..sessions {
        clients.push(SmtpClient::connect(&addresses[session % addresses.len()])?);
    }
    let next = Mutex::new(0..mails.len());
    let done = Mutex::new(Vec::with_capacity(mails.len()));
    let to = vec!["archive@example.com".to_owned()];
    let started = Instant::now();
    let session = |mut client: SmtpClient| -> anyhow::Result<()> {
        loop {
            let Some(number) = next.lock().ok().and_then(|mut next| next.next()) else {
                return client.quit();
            };
            thread::sleep(pace.due(number).saturating_sub(started.elapsed()));
            let begun = Instant::now();
            let reply = client.send("sender@example.org", &to, &mails[number])?;
            if reply.code != 250 {
                bail!("mail {number} was refused: {reply:?}");
            }
            let (at, took) = (started.elapsed(), begun.elapsed());
            done.lock().ok().context("a session broke")?.push((at, took.as_secs_f64()));
        }
    };
    thread::scope(|scope| {
        let threads: Vec<_> = clients.into_iter().map(|client| scope.spawn(|| session(client))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().ok().context("a session broke")?)
    })?;
    let took = started.elapsed();
    let mut done = done.into_inner().ok().context("a session broke")?;
    done.sort_unstable_by_key(|(at, _)| *at);
    Ok(Sent {
        accepted_at: done.iter().map(|(at, _)| *at).collect(),
        latencies: done.iter().map(|(_, took)| *took).collect(),
        took,
        bytes: mails.iter().map(|mail| mail.len() as u64).sum(),
        digests: mails.iter().map(|mail| Digest::of(mail)).collect(),
    })
}
