//! One fsync per mail in a single session, a quarter of one at twenty: counted by strace, not believed.

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
    process::Command,
};

use openarchive_mail::journal::JournalMode;

use crate::{
    binary::{Binary, PROGRAM, wait_for},
    client::{Client, noise, report_of},
};

/// Prints why and returns true, unless skipping is forbidden.
fn must_skip() -> bool {
    let works =
        Command::new("strace").args(["-f", "-o", "/dev/null", "true"]).status().is_ok_and(|s| s.success());
    if !works {
        assert!(
            std::env::var("OPENARCHIVE_NO_SKIP").as_deref() != Ok("1"),
            "strace is missing or may not trace"
        );
        // Past the captured output of a test that passes, so that the reason is seen in every run.
        let reason = "strace is missing or may not trace here; `make setup` installs it";
        let _ = writeln!(io::stderr(), "SKIP: {reason}");
    }
    !works
}

fn syncs(trace: &Path) -> usize {
    let text = fs::read_to_string(trace).unwrap();
    text.lines().filter(|line| !line.contains("resumed>") && line.contains("sync")).count()
}

/// fsyncs while `sessions` send `mails` each, after one mail that warms up.
fn count(sessions: usize, mails: usize, mode: JournalMode) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    let mut command = Command::new("strace");
    command.args([
        "-f",
        "--seccomp-bpf",
        "-e",
        "trace=fsync,fdatasync,sync_file_range,msync,sync,syncfs",
        "-o",
    ]);
    command.arg(&trace).arg(PROGRAM);
    let edge = Binary::start_as(command, folder.path(), mode);
    let mut clients: Vec<Client> = (0..sessions).map(|_| Client::ready(edge.address)).collect();
    assert!(clients[0].mail(b"warm up\r\n").starts_with("250"));
    let before = wait_for("the warm-up in the trace", || Some(syncs(&trace)).filter(|n| *n > 0));
    let content = |n| {
        let mail = noise(n as u64, 20_000);
        if mode == JournalMode::ExchangeReport { report_of(&mail) } else { mail }
    };
    let content: Vec<Vec<u8>> = (0..sessions * mails).map(content).collect();
    std::thread::scope(|scope| {
        for (client, content) in clients.iter_mut().zip(content.chunks(mails)) {
            scope.spawn(move || {
                for mail in content {
                    let reply = client.try_mail(mail).unwrap();
                    assert!(reply.starts_with("250"), "{reply}");
                }
            });
        }
    });
    // A group's fsync returned before its 250 was sent, and strace writes a line before the process goes on.
    let during = syncs(&trace) - before;
    println!("{during} fsyncs for {} mails in {sessions} sessions", sessions * mails);
    during
}

#[test]
fn a_single_session_costs_one_fsync_per_mail() {
    if !must_skip() {
        assert_eq!(count(1, 200, JournalMode::Plain), 200);
    }
}

#[test]
fn a_journal_report_and_the_mail_in_it_cost_one_fsync() {
    if !must_skip() {
        assert_eq!(count(1, 50, JournalMode::ExchangeReport), 50);
    }
}

#[test]
fn twenty_sessions_share_them() {
    if !must_skip() {
        let (sessions, mails) = (20, 50);
        let during = count(sessions, mails, JournalMode::Plain);
        assert!(during * 4 <= sessions * mails, "{during} fsyncs for {} mails", sessions * mails);
    }
}
