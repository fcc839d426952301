//! An agent's buffer and its sync worker, in a folder of its own.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use openarchive_domain::{Digest, FixedClock, Seat, Timestamp};
use openarchive_edge::{
    accept::{Acceptor, Arrival, Mode},
    buffer::{Buffer, BufferOptions, Buffered, MessageId},
    spool::Spool,
    sync::{BackOff, LogTrust, SyncMonitor, SyncOptions, SyncState, SyncWorker},
};
use openarchive_ledger::policy::Policy;
use openarchive_mail::journal::JournalMode;
use openarchive_rpc::RpcChannel;
use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

use super::archive::{ORIGIN, signer};

const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) struct Site {
    folder: tempfile::TempDir,
    pub(crate) agent: String,
    pub(crate) buffer: Buffer,
    worker: Option<(SyncMonitor, CancellationToken, JoinHandle<()>)>,
}

impl Site {
    pub(crate) fn new(agent: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let buffer = open(folder.path());
        Self { folder, agent: agent.to_owned(), buffer, worker: None }
    }

    /// Starts the sync worker; a worker that ran before has ended then.
    pub(crate) async fn sync(&mut self, channel: RpcChannel) {
        self.sync_with(channel, |options| options).await;
    }

    pub(crate) async fn sync_with(
        &mut self,
        channel: RpcChannel,
        change: impl FnOnce(SyncOptions) -> SyncOptions,
    ) {
        self.stop().await;
        let policy = Policy::of_logs(vec![signer(ORIGIN, 1).verifier().clone()]);
        let trust = LogTrust::from_policy(self.agent.parse().unwrap(), &policy).unwrap();
        let options = SyncOptions {
            back_off: BackOff { first: Duration::from_millis(5), max: Duration::from_millis(50) },
            poll_interval: Duration::from_millis(50),
            report_interval: Duration::from_millis(500),
            halted_poll: Duration::from_millis(20),
            ..SyncOptions::default()
        };
        let worker = SyncWorker::new(self.buffer.clone(), channel, trust, clock(), change(options));
        let (monitor, stopping) = (worker.monitor(), CancellationToken::new());
        let running = tokio::spawn(worker.run(stopping.clone()));
        self.worker = Some((monitor, stopping, running));
    }

    pub(crate) async fn stop(&mut self) {
        if let Some((_, stopping, running)) = self.worker.take() {
            stopping.cancel();
            running.await.unwrap();
        }
    }

    pub(crate) fn monitor(&self) -> &SyncMonitor {
        &self.worker.as_ref().unwrap().0
    }

    pub(crate) async fn accept(&self, message: &[u8]) -> Seat {
        self.accept_from("a@example.org", message).await
    }

    pub(crate) async fn accept_from(&self, from: &str, message: &[u8]) -> Seat {
        let mut spool = Spool::new(self.buffer.spool_dir());
        spool.tail().extend_from_slice(message);
        let arrival = Arrival {
            message: spool,
            from: from.to_owned(),
            rcpt: vec!["b@example.org".to_owned(), "bcc@example.org".to_owned()],
            peer: "192.0.2.1".to_owned(),
            mode: Mode::Journal(JournalMode::Plain),
            progress: None,
        };
        Acceptor::new(self.buffer.clone(), clock()).accept(arrival).await.unwrap().seat
    }

    pub(crate) async fn pending(&self) -> Vec<Buffered> {
        self.buffer.pending(MessageId::START, 10_000).await.unwrap()
    }

    pub(crate) async fn kinds_of_alarm(&self) -> Vec<String> {
        self.buffer.alarms().await.unwrap().into_iter().map(|alarm| alarm.kind).collect()
    }

    pub(crate) async fn is_drained(&self) -> bool {
        self.buffer.stats().await.unwrap().messages == 0
    }

    pub(crate) fn is_halted(&self) -> bool {
        self.monitor().stats().state == SyncState::Halted
    }

    pub(crate) async fn wait_until_drained(&self) {
        wait_until("the buffer is drained", async || self.is_drained().await).await;
    }

    /// Copies the buffer as it is on the disk now; the worker must have been stopped.
    pub(crate) fn snapshot(&self) -> tempfile::TempDir {
        let copy = tempfile::tempdir().unwrap();
        for file in database_files(self.folder.path()) {
            std::fs::copy(&file, copy.path().join(file.file_name().unwrap())).unwrap();
        }
        copy
    }

    /// Rolls the disk back to a snapshot.
    pub(crate) fn restored(agent: &str, snapshot: tempfile::TempDir) -> Self {
        let buffer = open(snapshot.path());
        Self { folder: snapshot, agent: agent.to_owned(), buffer, worker: None }
    }
}

fn database_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .filter(|path| path.is_file() && path.file_name().unwrap().to_str().unwrap().starts_with("buffer.db"))
        .filter(|path| !path.to_str().unwrap().ends_with("-shm"))
        .collect()
}

fn open(folder: &Path) -> Buffer {
    Buffer::open(BufferOptions { data_dir: folder.to_owned(), high_water_bytes: 1 << 30 }).unwrap()
}

pub(crate) fn clock() -> Arc<FixedClock> {
    Arc::new(FixedClock::at(Timestamp::from_millis(1_700_000_000_000)))
}

pub(crate) async fn wait_until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition().await {
        assert!(Instant::now() < deadline, "after {DEADLINE:?} it is not so: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A mail with an attachment of random bytes, the same for the same `attachment`.
pub(crate) fn mail_with_attachment(subject: &str, attachment: u64) -> Vec<u8> {
    use openarchive_testkit::sample_mail::{Numbers, wrapped};
    let content = Numbers::seeded(attachment).bytes(40_000);
    format!(
        "Subject: {subject}\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhello\r\n\
         --b\r\nContent-Type: application/pdf; name=a.pdf\r\nContent-Transfer-Encoding: base64\r\n\
         Content-Disposition: attachment; filename=a.pdf\r\n\r\n{}--b--\r\n",
        wrapped(&content, 76)
    )
    .into_bytes()
}

pub(crate) fn plain_mail(n: u64) -> Vec<u8> {
    format!("Subject: mail {n}\r\n\r\nnumber {n}\r\n").into_bytes()
}

pub(crate) fn digest_of(mail: &[u8]) -> Digest {
    Digest::of(mail)
}
