//! Import of files, killed at half and repeated.

use std::{
    fs,
    process::{Command, Stdio},
};

use openarchive_e2e::{Agent, AgentOptions, Archive, eventually, program};

const MAILS: u64 = 4_000;

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
    let mbox = archive.scratch("old.mbox");
    let mail =
        |n| format!("From x@example.org Thu Nov 21 08:00:00 2024\nSubject: old {n}\n\nmail number {n}\n\n");
    fs::write(&mbox, (0..MAILS).map(mail).collect::<String>()).unwrap();

    let mut killed = Command::new(program("openarchive-edge"))
        .arg("import")
        .arg(&mbox)
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

    let repeated = agent.command(&["import", mbox.to_str().unwrap()]);
    assert_eq!(repeated.code, 0, "{repeated:?}");
    agent.start();
    agent.wait_drained(120);
    archive.wait_searchable(MAILS, 120);
    let rows = archive.ctl(&["completeness", "-o", "json"]).json();
    let row = &rows["rows"][0];
    assert_eq!(row["stored"].as_u64(), Some(MAILS), "{row}");
    assert_eq!(row["duplicate"].as_u64(), Some(0), "{row}");
}
