//! What sessions and large mails cost in memory, measured on the real program.

use std::{path::Path, process::Command};

use openarchive_domain::Digest;
use openarchive_edge::buffer::{Buffer, BufferOptions, Buffered, MessageId};
use openarchive_mail::journal::JournalMode;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{
    binary::{Binary, PROGRAM},
    client::{Client, noise, report_of, stuffed},
};

const SESSIONS: u64 = 1000;

const LARGE_SESSIONS: u64 = 50;

/// A twentieth of Postfix's 1.22 MB.
const SESSION_KIB_MAX: u64 = 61;

const LARGE_MAIL_BYTES: usize = 100 * 1024 * 1024;
const EDGE_KIB_MAX: u64 = 160 * 1024;

#[test]
fn a_thousand_idle_sessions_are_cheap_and_alive() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    for tls in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let edge = Binary::start(folder.path());
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let open = || {
            let client = Client::ready(edge.address);
            if tls { client.start_tls(&folder.path().join("data")) } else { client }
        };
        // So that what the first session starts once and for all is not counted.
        assert_eq!(open().mail(&noise(1, 30_000)), "250 2.0.0 kept as 1\n");
        let before = edge.memory_kib("VmRSS");
        let mut sessions: Vec<Client> = (0..SESSIONS).map(|_| open()).collect();
        let each = edge.memory_kib("VmRSS").saturating_sub(before) / SESSIONS;
        println!("an idle session costs {each} KiB (TLS: {tls})");
        assert!(each <= SESSION_KIB_MAX, "{each} KiB a session, TLS: {tls}");
        for session in &mut sessions {
            assert_eq!(session.say("NOOP\r\n"), "250 2.0.0 ok\n");
        }
    }
}

#[test]
fn a_session_within_a_large_mail_holds_a_mebibyte_at_most() {
    let folder = tempfile::tempdir().unwrap();
    let edge = Binary::start(folder.path());
    let piece = noise(1, 3_000_000);
    let mut sessions: Vec<Client> = (0..LARGE_SESSIONS).map(|_| Client::ready(edge.address)).collect();
    let before = edge.memory_kib("VmRSS");
    for session in &mut sessions {
        session.begin_mail();
        session.send(stuffed(&piece));
    }
    let each = (edge.memory_kib("VmHWM") - before) / LARGE_SESSIONS;
    println!("a session within a large mail costs {each} KiB");
    assert!(each <= 1024, "{each} KiB a session");
    for session in &mut sessions {
        assert!(session.say(".\r\n").starts_with("250 "));
    }
}

/// A mail with one attachment, and the length of the attachment's content.
fn large_mail() -> (Vec<u8>, u64) {
    let head =
        b"Subject: large\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\
        Content-Type: application/octet-stream; name=a\r\nContent-Transfer-Encoding: base64\r\n\r\n";
    let line = format!("{}\r\n", "QUJD".repeat(19));
    let lines = (LARGE_MAIL_BYTES - head.len()) / line.len();
    let mail = [head.as_slice(), line.repeat(lines).as_bytes(), b"--b--\r\n"].concat();
    (mail, (lines * 57) as u64)
}

/// What is in the buffer, after a look at how much memory the agent ever held.
fn buffered(edge: Binary, folder: &Path) -> Vec<Buffered> {
    let peak = edge.memory_kib("VmHWM");
    println!("peak of the resident set: {peak} KiB");
    assert!(peak <= EDGE_KIB_MAX, "{peak} KiB");
    edge.kill();
    let options = BufferOptions { data_dir: folder.join("data"), high_water_bytes: u64::MAX };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let buffer = Buffer::open(options).unwrap();
        let pending = buffer.pending(MessageId::START, 10).await.unwrap();
        for mail in &pending {
            buffer.rebuild(mail).await.unwrap();
        }
        pending
    })
}

#[test]
fn a_mail_of_100_mib_passes_through_little_memory() {
    let folder = tempfile::tempdir().unwrap();
    let edge = Binary::start(folder.path());
    let (mail, attachment_bytes) = large_mail();
    assert_eq!(Client::ready(edge.address).mail(&mail), "250 2.0.0 kept as 1\n");
    let pending = buffered(edge, folder.path());
    assert_eq!(pending[0].message, Digest::of(&mail));
    assert_eq!(pending[0].parts[0].length, attachment_bytes);
}

#[test]
fn a_journal_report_of_100_mib_in_one_chunk_passes_through_little_memory() {
    let folder = tempfile::tempdir().unwrap();
    let edge = Binary::start_as(Command::new(PROGRAM), folder.path(), JournalMode::ExchangeReport);
    let (mail, attachment_bytes) = large_mail();
    let report = report_of(&mail);
    let reply = Client::ready(edge.address).chunked_mail(&report, report.len());
    assert_eq!(reply, "250 2.0.0 kept as 1 to 2\n");
    let pending = buffered(edge, folder.path());
    assert_eq!((pending[0].message, pending[1].message), (Digest::of(&report), Digest::of(&mail)));
    assert_eq!(pending[0].parts, pending[1].parts);
    assert_eq!(pending[1].parts[0].length, attachment_bytes);
}
