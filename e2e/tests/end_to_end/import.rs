//! Import of files, killed at half and repeated.

use std::{
    fs,
    process::{Command, Stdio},
};

use openarchive_e2e::{Agent, AgentOptions, Archive, eventually, program};
use openarchive_testkit::sample_mail::sample_mail;

use crate::first_day::send_all;

const MAILS: u64 = 4_000;

fn mbox(mails: u64) -> String {
    let mail =
        |n| format!("From x@example.org Thu Nov 21 08:00:00 2024\nSubject: old {n}\n\nmail number {n}\n\n");
    (0..mails).map(mail).collect()
}

fn accepted(agent: &Agent) -> u64 {
    let status = agent.command(&["status", "-o", "json"]);
    if status.code != 0 {
        return 0;
    }
    status.json()["highestSeq"].as_str().and_then(|text| text.parse().ok()).unwrap_or_default()
}

#[test]
fn an_import_killed_at_half_and_repeated_gives_each_mail_once() {
    let archive = Archive::all();
    let mut agent = Agent::add(&archive, AgentOptions::default());
    let file = archive.scratch("old.mbox");
    fs::write(&file, mbox(MAILS)).unwrap();

    let mut killed = Command::new(program("openarchive-edge"))
        .arg("import")
        .arg(&file)
        .arg("--config")
        .arg(agent.config())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    eventually("some of it is imported", 120, || (accepted(&agent) > 100).then_some(()));
    killed.kill().unwrap();
    killed.wait().unwrap();
    let at_the_kill = accepted(&agent);
    assert!(at_the_kill < MAILS, "killed at half, not after the end");

    let repeated = agent.command(&["import", file.to_str().unwrap()]);
    assert_eq!(repeated.code, 0, "{repeated:?}");
    agent.start();
    agent.wait_drained(120);
    archive.wait_searchable(MAILS, 120);
    let rows = archive.ctl(&["completeness", "-o", "json"]).json();
    let row = &rows["rows"][0];
    assert_eq!(row["stored"].as_u64(), Some(MAILS), "{row}");
    assert_eq!(row["duplicate"].as_u64(), Some(0), "{row}");
}

#[test]
fn mail_is_imported_while_the_agent_takes_mail() {
    let archive = Archive::dev();
    let file = archive.scratch("old.mbox");
    fs::write(&file, mbox(500)).unwrap();
    let (smtp, roots) = (archive.smtp(), archive.authority());
    let arriving = std::thread::spawn(move || send_all(&smtp, &roots, &sample_mail(91, 200)));
    let imported = archive.ctl(&["import", file.to_str().unwrap()]);
    arriving.join().unwrap();
    assert_eq!(imported.code, 0, "{imported:?}");
    archive.wait_searchable(700, 120);
    let rows = archive.ctl(&["completeness", "-o", "json"]).json();
    let row = &rows["rows"][0];
    assert_eq!(row["gaps"].as_array().map(Vec::len), Some(0), "{row}");
    assert_eq!((row["stored"].as_u64(), row["duplicate"].as_u64()), (Some(700), Some(0)), "{row}");
}
