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

/// Sends mail after mail, reconnecting whenever the agent was killed; remembers each `250`.
fn load(smtp: &str, accepted: &Mutex<BTreeMap<Digest, u64>>, stop: &AtomicBool) {
    let mails = sample_mail(77, 4_000);
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
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn killed_at_ten_moments_nothing_is_lost_and_nothing_is_there_twice() {
    let mut archive = Archive::all();
    let mut agent = Agent::start_new(&archive, AgentOptions::default());
    let accepted = Arc::new(Mutex::new(BTreeMap::new()));
    let stop = Arc::new(AtomicBool::new(false));
    let sender = {
        let (smtp, accepted, stop) = (agent.smtp(), accepted.clone(), stop.clone());
        thread::spawn(move || load(&smtp, &accepted, &stop))
    };
    let mut numbers = Numbers::seeded(2026);
    for kill in 0..KILLS {
        thread::sleep(Duration::from_millis(300 + numbers.below(1_200) as u64));
        match kill % 3 {
            0 => {
                agent.kill();
                agent.start();
            }
            1 => {
                archive.kill();
                archive.start();
                agent.kill();
                agent.configure(&archive);
                agent.start();
            }
            _ => {
                kill_database(&archive);
                archive.kill();
                archive.start();
                agent.terminate();
                agent.configure(&archive);
                agent.start();
            }
        }
    }
    thread::sleep(Duration::from_secs(1));
    stop.store(true, Ordering::Relaxed);
    sender.join().unwrap();
    agent.wait_drained(120);
    let accepted = accepted.lock().unwrap().clone();
    assert!(accepted.len() > 50, "the load was real: {}", accepted.len());
    archive.wait_searchable_at_least(accepted.len() as u64, 120);

    let rows = archive.ctl(&["completeness", "-o", "json"]).json();
    let row = &rows["rows"][0];
    // 64-bit numbers are strings in JSON.
    let number = |name: &str| {
        row[name].as_u64().or_else(|| row[name].as_str().and_then(|text| text.parse().ok())).unwrap()
    };
    assert_eq!(row["gaps"].as_array().map(Vec::len), Some(0), "{row}");
    // Every sequence number once: what the agent gave out is what the core has.
    assert_eq!(number("stored") + number("duplicate") + number("quarantined"), number("last_seq"), "{row}");
    assert!(number("last_seq") >= accepted.values().sum::<u64>(), "{row}");
    for digest in accepted.keys() {
        let shown = archive.ctl(&["message", "show", &digest.to_string(), "-o", "json"]);
        assert_eq!(shown.code, 0, "an accepted mail is there: {shown:?}");
    }
    archive.terminate();
    archive.assert_clean();
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
