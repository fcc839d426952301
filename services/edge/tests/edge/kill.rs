//! SIGKILL under load: what was answered with `250` is there afterwards, once.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

use openarchive_domain::Digest;
use openarchive_edge::buffer::{Buffer, BufferOptions, Buffered, MessageId};

use crate::{
    agent::bytes_of,
    binary::{Binary, wait_for},
    client::{Client, noise},
};

const ROUNDS: u64 = 10;
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
