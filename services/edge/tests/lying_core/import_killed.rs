//! The real binary imports, is killed with SIGKILL again and again, and repeats: each mail comes in exactly once.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use openarchive_domain::Digest;
use openarchive_edge::buffer::{Buffer, BufferOptions, MessageId};
use openarchive_testkit::sample_mail::sample_mail;

use super::site::wait_until;

struct Import {
    folder: tempfile::TempDir,
    source: PathBuf,
}

impl Import {
    fn start(&self) -> Child {
        Command::new(env!("CARGO_BIN_EXE_openarchive-edge"))
            .args(["import", "--json", "--config"])
            .arg(self.folder.path().join("edge.yaml"))
            .arg(&self.source)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn finish(&self) -> serde_json::Value {
        let Output { status, stdout, stderr } = self.start().wait_with_output().unwrap();
        assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
        serde_json::from_slice(&stdout).unwrap()
    }

    fn buffer(&self) -> Buffer {
        let data_dir = self.folder.path().join("data");
        Buffer::open(BufferOptions { data_dir, high_water_bytes: 1 << 30 }).unwrap()
    }

    async fn observed(&self) -> BTreeMap<Digest, usize> {
        let mut observed = BTreeMap::new();
        for mail in self.buffer().pending(MessageId::START, 100_000).await.unwrap() {
            *observed.entry(mail.message).or_default() += 1;
        }
        observed
    }
}

async fn check(write: impl Fn(&Path, &[Vec<u8>]) -> PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let config = "dataDir: data\nlisteners:\n  - name: journal\n    address: 127.0.0.1\n    port: 0\n    \
                  peers: [{cidrs: [127.0.0.1/32], journalMode: plain}]\n";
    fs::write(folder.path().join("edge.yaml"), config).unwrap();
    let mails: Vec<Vec<u8>> = sample_mail(5, 1200).into_iter().map(|mail| mail.bytes).collect();
    let source = write(folder.path(), &mails);
    let import = Import { folder, source };
    let buffer = import.buffer();
    let mut killed = 0;
    for part in 1..4 {
        let mut child = import.start();
        wait_until("a part is imported", async || {
            buffer.stats().await.unwrap().messages >= 300 * part || child.try_wait().unwrap().is_some()
        })
        .await;
        // SIGKILL.
        child.kill().unwrap();
        killed += usize::from(!child.wait().unwrap().success());
    }
    assert_eq!(killed, 3, "it was through before it was killed");
    let kept = buffer.stats().await.unwrap().messages;
    let summary = import.finish();
    assert_eq!(
        (summary["alreadyImported"].as_u64(), summary["complete"].as_bool()),
        (Some(kept), Some(true))
    );
    let once: BTreeMap<_, _> = mails.iter().map(|mail| (Digest::of(mail), 1)).collect();
    assert_eq!(import.observed().await, once);
    // The import is over: a further one adds observations.
    assert_eq!(import.finish()["imported"].as_u64(), Some(1200));
    assert!(import.observed().await.values().all(|observations| *observations == 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder() {
    check(|folder, mails| {
        let source = folder.join("mail");
        fs::create_dir(&source).unwrap();
        for (n, mail) in mails.iter().enumerate() {
            fs::write(source.join(format!("{n}.eml")), mail).unwrap();
        }
        source
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_mbox() {
    check(|folder, mails| {
        let source = folder.join("inbox");
        let begin = b"From a@example.org Thu Jan  1 00:00:00 2026\n".as_slice();
        let mbox: Vec<u8> = mails.iter().flat_map(|mail| [begin, mail, b"\n"].concat()).collect();
        fs::write(&source, mbox).unwrap();
        source
    })
    .await;
}
