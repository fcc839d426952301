//! SIGKILL under load: what was answered with `250` is there afterwards, once.

use std::{
    collections::BTreeMap,
    process::Command,
    sync::atomic::{AtomicU64, Ordering},
};

use openarchive_domain::Digest;
use openarchive_edge::buffer::{Buffer, BufferOptions, Buffered, MessageId};
use openarchive_mail::journal::JournalMode;

use crate::{
    agent::bytes_of,
    binary::{Binary, PROGRAM, wait_for},
    client::{Client, noise, report_of},
};

const ROUNDS: u64 = 10;
const REPORT_ROUNDS: u64 = 3;
const SESSIONS: u64 = 6;

/// Sends until the connection breaks; returns the digests that were answered with 250 and the one that was not answered.
fn send_until_killed(
    mut client: Client,
    round: u64,
    session: u64,
    accepted: &AtomicU64,
) -> (Vec<Digest>, Digest) {
    let mut kept = Vec::new();
    for n in 0.. {
        let seed = round * 1_000_000 + session * 10_000 + n;
        let length = if seed % 13 == 12 { 600_000 } else { 2_000 + (seed * 7919 % 20_000) as usize };
        let mail = [format!("Subject: {seed}\r\n\r\n").into_bytes(), noise(seed, length)].concat();
        let digest = Digest::of(&mail);
        let Some(reply) = client.try_mail(&mail) else { return (kept, digest) };
        assert!(reply.starts_with("250 "), "{reply}");
        kept.push(digest);
        accepted.fetch_add(1, Ordering::Relaxed);
    }
    unreachable!("the agent is killed before all numbers are used")
}

/// Sends journal reports until the connection breaks; returns how many were answered with 250.
fn send_reports_until_killed(mut client: Client, seed: u64, accepted: &AtomicU64) -> u64 {
    for n in 0.. {
        let mail = [b"Subject: in a report\r\n\r\n".to_vec(), noise(seed + n, 5_000)].concat();
        let Some(reply) = client.try_mail(&report_of(&mail)) else { return n };
        assert!(reply.starts_with("250 2.0.0 kept as "), "{reply}");
        accepted.fetch_add(1, Ordering::Relaxed);
    }
    unreachable!("the agent is killed before all numbers are used")
}

#[test]
fn a_kill_never_parts_a_journal_report_from_the_mail_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut answered = 0;
    for round in 0..REPORT_ROUNDS {
        let edge = Binary::start_as(Command::new(PROGRAM), folder.path(), JournalMode::ExchangeReport);
        let accepted = AtomicU64::new(0);
        let clients: Vec<Client> = (0..SESSIONS).map(|_| Client::ready(edge.address)).collect();
        std::thread::scope(|scope| {
            let accepted = &accepted;
            let seed = |session: u64| (round * SESSIONS + session) * 100_000;
            let send = |(session, client)| {
                scope.spawn(move || send_reports_until_killed(client, seed(session), accepted))
            };
            let senders: Vec<_> = (0..SESSIONS).zip(clients).map(send).collect();
            let moment = 10 + round * 7919 % 31;
            wait_for("reports", || (accepted.load(Ordering::Relaxed) >= moment).then_some(()));
            edge.kill();
            answered += senders.into_iter().map(|sender| sender.join().unwrap()).sum::<u64>();
        });
    }
    let options = BufferOptions { data_dir: folder.path().join("data"), high_water_bytes: u64::MAX };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let buffer = Buffer::open(options).unwrap();
        let pending = buffer.pending(MessageId::START, 1_000_000).await.unwrap();
        assert!(pending.len() as u64 >= 2 * answered, "{answered} reports were answered with 250");
        for pair in pending.chunks(2) {
            let [report, mail] = pair else { panic!("a report without its mail") };
            assert_eq!((report.flags[0].as_str(), mail.flags[0].as_str()), ("journal-report", "journaled"));
            let report = bytes_of(&buffer.rebuild(report).await.unwrap());
            let mail = bytes_of(&buffer.rebuild(mail).await.unwrap());
            assert!(report_of(&mail) == report, "the mail is the one of its report");
        }
    });
}

#[test]
fn every_mail_that_was_accepted_before_a_kill_is_there_once() {
    let folder = tempfile::tempdir().unwrap();
    let (mut kept, mut unanswered) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let edge = Binary::start(folder.path());
        let accepted = AtomicU64::new(0);
        let clients: Vec<Client> = (0..SESSIONS).map(|_| Client::ready(edge.address)).collect();
        std::thread::scope(|scope| {
            let accepted = &accepted;
            let send =
                |(session, client)| scope.spawn(move || send_until_killed(client, round, session, accepted));
            let senders: Vec<_> = (0..SESSIONS).zip(clients).map(send).collect();
            let moment = 10 + round * 7919 % 31;
            wait_for("mail", || (accepted.load(Ordering::Relaxed) >= moment).then_some(()));
            edge.kill();
            for sender in senders {
                let (accepted, last) = sender.join().unwrap();
                kept.extend(accepted);
                unanswered.push(last);
            }
        });
    }
    check(&folder.path().join("data"), &kept, &unanswered);
}

fn check(data_dir: &std::path::Path, kept: &[Digest], unanswered: &[Digest]) {
    let options = BufferOptions { data_dir: data_dir.to_owned(), high_water_bytes: u64::MAX };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let buffer = Buffer::open(options).unwrap();
        let pending = buffer.pending(MessageId::START, 1_000_000).await.unwrap();
        assert!(kept.len() > 100, "only {} mails were accepted: no load", kept.len());
        let mut found: BTreeMap<Digest, usize> = BTreeMap::new();
        for Buffered { message, .. } in &pending {
            *found.entry(*message).or_default() += 1;
        }
        for digest in kept {
            assert_eq!(found.get(digest), Some(&1), "{digest} was answered with 250");
        }
        for (digest, times) in &found {
            assert!(*times == 1 && (kept.contains(digest) || unanswered.contains(digest)), "{digest}");
        }
        let seqs: Vec<u64> = pending.iter().map(|m| m.seat.seq).collect();
        assert_eq!(seqs, (1..=pending.len() as u64).collect::<Vec<_>>(), "no number is missing");
        for mail in &pending {
            let content = buffer.rebuild(mail).await.unwrap();
            assert_eq!(Digest::of(&bytes_of(&content)), mail.message);
        }
    });
}
