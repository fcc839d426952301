//! SIGKILL of any process at seeded moments under load: every accepted mail has exactly one observation.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use openarchive_domain::Digest;
use openarchive_e2e::{Agent, AgentOptions, Archive};
use openarchive_testkit::{
    sample_mail::{Numbers, sample_mail},
    smtp_client::SmtpClient,
};

const KILLS: usize = 10;
/// More than are sent until the last kill.
const MAILS: usize = 4_000;
/// Of the accepted mails, which are read back byte for byte.
const FETCHED_EVERY: usize = 10;

/// Sends mail after mail, reconnecting whenever the agent was killed; remembers each `250`.
fn load(smtp: &str, accepted: &Mutex<BTreeMap<Digest, u64>>, restarts: &AtomicBool, stop: &AtomicBool) {
    let mails = sample_mail(77, MAILS);
    let mut client = None;
    for mail in mails {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        // A mail whose answer was lost is sent again, as a mail server would: it then has two observations, rightly.
        loop {
            if client.is_none() {
                client = SmtpClient::connect(smtp).ok();
            }
            let sent = client.as_mut().map(|client| client.send(&mail.from, &mail.to, &mail.bytes));
            match sent {
                Some(Ok(reply)) if reply.code == 250 => {
                    *accepted.lock().unwrap().entry(Digest::of(&mail.bytes)).or_default() += 1;
                    break;
                }
                _ => client = None,
            }
            if stop.load(Ordering::Relaxed) {
                return;
            }
            thread::sleep(Duration::from_millis(30));
        }
        // While something starts, which takes long on a busy machine, no more than what shows that mail is still taken.
        thread::sleep(Duration::from_millis(if restarts.load(Ordering::Relaxed) { 100 } else { 5 }));
    }
}

#[test]
fn killed_at_ten_moments_nothing_is_lost_and_nothing_is_there_twice() {
    // At one address, so that the agent lives on while the archive is killed and comes back.
    let mut archive = Archive::all_at_one_address();
    let mut agent = Agent::start_new(&archive, AgentOptions::default());
    let accepted = Arc::new(Mutex::new(BTreeMap::new()));
    let restarts = Arc::new(AtomicBool::new(false));
    let stop = Arc::new(AtomicBool::new(false));
    let sender = {
        let (smtp, accepted) = (agent.smtp(), accepted.clone());
        let (restarts, stop) = (restarts.clone(), stop.clone());
        thread::spawn(move || load(&smtp, &accepted, &restarts, &stop))
    };
    let mut numbers = Numbers::seeded(2026);
    for kill in 0..KILLS {
        thread::sleep(Duration::from_millis(300 + numbers.below(1_200) as u64));
        restarts.store(true, Ordering::Relaxed);
        match kill % 3 {
            0 => {
                agent.kill();
                agent.start();
            }
            1 => {
                archive.kill();
                archive.start();
            }
            _ => {
                kill_database(&archive);
                assert_eq!(archive.wait_ended(60), Some(1), "it does not live on without its database");
                let log = std::fs::read_to_string(archive.log()).unwrap();
                assert!(log.contains("the private PostgreSQL has ended by itself"), "{log}");
                archive.start();
            }
        }
        restarts.store(false, Ordering::Relaxed);
    }
    thread::sleep(Duration::from_secs(1));
    stop.store(true, Ordering::Relaxed);
    sender.join().unwrap();
    agent.wait_drained(240);
    let accepted = accepted.lock().unwrap().clone();
    assert!(accepted.len() > 50, "the load was real: {}", accepted.len());
    archive.wait_searchable_at_least(accepted.len() as u64, 240);
    each_has_its_observations(&archive, &accepted);
    archive.terminate();
    archive.assert_clean();
}

/// A mail whose `250` was lost on its way was sent again: it may have more observations than answers, never fewer; and all
/// together have one for each number that the agent gave out.
fn each_has_its_observations(archive: &Archive, accepted: &BTreeMap<Digest, u64>) {
    let answer = archive.ctl(&["completeness", "-o", "json"]).json();
    let rows = answer["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 1, "{rows:?}");
    // 64-bit numbers are strings in JSON.
    let number = |name: &str| {
        let value = &rows[0][name];
        value.as_u64().or_else(|| value.as_str().and_then(|text| text.parse().ok())).unwrap()
    };
    assert_eq!(rows[0]["gaps"].as_array().map(Vec::len), Some(0), "{rows:?}");
    assert_eq!(
        number("stored") + number("duplicate") + number("quarantined"),
        number("last_seq"),
        "{rows:?}"
    );

    let mut observations = 0;
    for (n, mail) in sample_mail(77, MAILS).into_iter().enumerate() {
        let digest = Digest::of(&mail.bytes);
        let shown = archive.ctl(&["message", "show", &digest.to_string(), "-o", "json"]);
        let answers = accepted.get(&digest).copied().unwrap_or_default();
        if shown.code != 0 {
            assert_eq!(answers, 0, "an accepted mail is there: {shown:?}");
            // The one that was on its way at the end may be there; none after it was sent.
            if n > accepted.len() {
                break;
            }
            continue;
        }
        let seen = shown.json()["observations"].as_array().unwrap().len() as u64;
        assert!(seen >= answers, "{digest}: {seen} observations of {answers}");
        observations += seen;
        if n % FETCHED_EVERY == 0 {
            let to = archive.scratch("one.eml");
            let got = archive.ctl(&["message", "get", &digest.to_string(), "-o", to.to_str().unwrap()]);
            assert_eq!(got.code, 0, "{got:?}");
            assert_eq!(std::fs::read(&to).unwrap(), mail.bytes, "{digest}");
        }
    }
    assert_eq!(observations, number("last_seq"), "every number of the agent is one observation of one mail");
}

/// SIGKILL of the private PostgreSQL, by the process id in its own file.
fn kill_database(archive: &Archive) {
    let file = archive.data().join("postgres/cluster/postmaster.pid");
    let Ok(text) = std::fs::read_to_string(file) else { return };
    let Some(pid) = text.lines().next().and_then(|line| line.trim().parse().ok()) else { return };
    if let Some(pid) = rustix::process::Pid::from_raw(pid) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}
