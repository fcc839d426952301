//! A real agent whose mail gets its class by the header alone.

use std::{sync::Arc, time::Duration};

use openarchive_domain::SystemClock;
use openarchive_edge::{
    accept::{Acceptor, Arrival, Mode},
    buffer::{Buffer, BufferOptions},
    spool::Spool,
    sync::{BackOff, LogTrust, SyncOptions, SyncWorker},
};
use openarchive_ledger::policy::Policy;
use openarchive_rpc::{PeerIdentity, in_process_as};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    agent::{Mail, class},
    archive::{Archive, WAIT_MAX},
    policies::{mail, of, policy},
};

#[tokio::test(flavor = "multi_thread")]
async fn an_import_is_kept_by_its_headers_and_uploaded_once() {
    let archive = Archive::start().await;
    let first = archive.agent("acme/mx1");
    first.archive(&[(1, &Mail::plain(0))]).await;
    archive.apply(vec![of("hr@corp.example", policy("hr", 2))]).await;

    let folder = tempfile::tempdir().unwrap();
    let options = BufferOptions { data_dir: folder.path().to_owned(), high_water_bytes: 1 << 30 };
    let buffer = Buffer::open(options).unwrap();
    let acceptor = Acceptor::new(buffer.clone(), Arc::new(SystemClock));
    let mails: Vec<Mail> = (1..6)
        .map(|number| {
            mail(number, "x@else.example", if number % 2 == 0 { "hr@corp.example" } else { "b@c.example" })
        })
        .collect();
    for mail in &mails {
        let mut message = Spool::new(buffer.spool_dir());
        message.tail().extend_from_slice(&mail.bytes);
        let arrival = Arrival {
            message,
            from: String::new(),
            rcpt: Vec::new(),
            peer: "import".to_owned(),
            mode: Mode::Import,
            progress: None,
        };
        acceptor.accept(arrival).await.unwrap();
    }

    let reference: openarchive_domain::AgentRef = "acme/mx2".parse().unwrap();
    let trust =
        LogTrust::from_policy(reference.clone(), &Policy::of_logs(vec![first.log_key().await])).unwrap();
    let channel = in_process_as(PeerIdentity::local_agent(reference), archive.ingest.agent_server());
    let options = SyncOptions {
        back_off: BackOff { first: Duration::from_millis(5), max: Duration::from_millis(50) },
        poll_interval: Duration::from_millis(50),
        ..SyncOptions::default()
    };
    let worker = SyncWorker::new(buffer.clone(), channel, trust, Arc::new(SystemClock), options);
    let (monitor, stop) = (worker.monitor(), CancellationToken::new());
    let running = tokio::spawn(worker.run(stop.clone()));
    let begun = Instant::now();
    while buffer.stats().await.unwrap().messages > 0 {
        assert!(begun.elapsed() < WAIT_MAX, "mail is left in the buffer");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(buffer.alarms().await.unwrap().len(), 0);
    let stats = monitor.stats();
    assert_eq!((stats.failures, stats.offered), (0, mails.len() as u64), "each was offered once");
    stop.cancel();
    running.await.unwrap();

    for (number, mail) in (1..).zip(&mails) {
        let kept = archive.get(mail.key()).await.unwrap().message.unwrap().class;
        let expected = if number % 2 == 0 { "2y-received-permitted".to_owned() } else { class() };
        assert_eq!(kept, expected, "mail {number}");
        assert_eq!(archive.open(mail.key()).await.unwrap(), mail.bytes);
    }
    // The mail of before, and each of these in one class.
    assert_eq!(archive.count("storage.pack_entry where kind = 2").await, 1 + mails.len() as i64);
    archive.all_leaves().await;
    assert_eq!(archive.fsck().await, []);
}
