//! P7: what splitting, hashing, deduplicating, compressing and encrypting cost the processor.

use std::{collections::BTreeSet, convert::Infallible, fs, path::Path, process::Command};

use aes_gcm::{Aes256Gcm, KeyInit, aead::AeadInOut};
use anyhow::{Context, ensure};
use openarchive_bench::{
    corpus::{Corpus, write_folder},
    processes::{cpu_seconds, run, settle, thread_cpu_nanos},
    runs::{in_turn, median, raw, shown},
};
use openarchive_domain::{Digest, random};
use openarchive_envelope::{BlobContext, BlobKind, BlobScope, Dek, Sealer};
use openarchive_mail::{PartRef, PartSink, Splitter};

use crate::{Row, Site};

/// Mails of the run: about 200 MB.
const MAILS: usize = 2000;

/// Keeps each part until it is whole.
#[derive(Default)]
struct Parts {
    current: Vec<u8>,
    whole: Vec<(Digest, Vec<u8>)>,
}

impl PartSink for Parts {
    type Error = Infallible;

    fn begin(&mut self) -> Result<(), Infallible> {
        self.current = Vec::new();
        Ok(())
    }

    fn data(&mut self, decoded: &[u8]) -> Result<(), Infallible> {
        self.current.extend_from_slice(decoded);
        Ok(())
    }

    fn end(&mut self, part: &PartRef) -> Result<(), Infallible> {
        self.whole.push((part.digest, std::mem::take(&mut self.current)));
        Ok(())
    }

    fn abort(&mut self) -> Result<(), Infallible> {
        self.current.clear();
        Ok(())
    }
}

/// Everything between the bytes of a mail and the bodies of a pack. Answers the bytes of the bodies.
fn ours(mails: &[Vec<u8>]) -> anyhow::Result<usize> {
    let (mut sealer, mut seen, mut out, mut stored) = (Sealer::new()?, BTreeSet::new(), Vec::new(), 0);
    let mut seal = |kind, digest, raw: &[u8]| -> anyhow::Result<usize> {
        out.clear();
        let context = BlobContext::new(BlobScope::Archive, kind, digest);
        sealer.seal(&Dek::new(random::bytes()), random::bytes(), &context, raw, &mut out)?;
        Ok(out.len())
    };
    for mail in mails {
        let mut splitter = Splitter::new(Parts::default());
        for piece in mail.chunks(64 * 1024) {
            let Ok(()) = splitter.feed(piece);
        }
        let Ok((split, parts)) = splitter.finish();
        for (digest, content) in &parts.whole {
            if seen.insert(*digest) {
                stored += seal(BlobKind::Part, *digest, content)?;
            }
        }
        let skeleton = split.skeleton.encode();
        stored += seal(BlobKind::Skeleton, Digest::of(&skeleton), &skeleton)?;
    }
    Ok(stored)
}

/// The least that anybody would do: parse, SHA-256, AES-256-GCM of the whole mail.
fn bare(mails: &[Vec<u8>]) -> anyhow::Result<usize> {
    let cipher = Aes256Gcm::new(&random::bytes::<32>().into());
    let mut stored = 0;
    for mail in mails {
        let parsed = mail_parser::MessageParser::default().parse(mail).context("not a mail")?;
        ensure!(!parsed.parts.is_empty() && *Digest::of(mail).as_bytes() != [0; 32], "not a mail");
        let mut body = mail.clone();
        let tag =
            cipher.encrypt_inout_detached(&random::bytes::<12>().into(), &[], body.as_mut_slice().into());
        ensure!(tag.is_ok(), "too long");
        stored += body.len() + 16;
    }
    Ok(stored)
}

pub(crate) fn measure(site: &Site) -> anyhow::Result<Vec<Row>> {
    let mails: Vec<Vec<u8>> = Corpus::new(7, 70).take(MAILS).collect();
    let megabytes = mails.iter().map(Vec::len).sum::<usize>() as f64 / 1e6;
    let timed = |work: fn(&[Vec<u8>]) -> anyhow::Result<usize>| -> anyhow::Result<f64> {
        let before = thread_cpu_nanos()?;
        ensure!(work(&mails)? > 0, "nothing was stored");
        Ok((thread_cpu_nanos()? - before) as f64 / 1e6 / megabytes)
    };
    let (own, theirs) = in_turn(site.pairs, || timed(ours), || timed(bare))?;
    let mut rows = vec![row("a bare loop of parse, SHA-256, AES-GCM", "<= 1.5", &own, &theirs)];

    let folder = site.folder.path().join("p7");
    write_folder(&folder.join("mail"), mails.iter().cloned())?;
    let repository = folder.join("repository");
    let borg = || {
        settle()?;
        run(borg_command(site, &["init", "-e", "repokey-blake2"]).arg(&repository))?;
        let archive = format!("{}::one", repository.display());
        let mut create = borg_command(site, &["create", "--compression", "zstd", &archive]);
        let seconds = cpu_seconds(create.arg(folder.join("mail")))?;
        fs::remove_dir_all(&repository)?;
        Ok(seconds * 1e3 / megabytes)
    };
    let (own, theirs) = in_turn(site.pairs, || timed(ours), borg)?;
    rows.push(row("borg create (blake2, zstd), user and system time", "<= 1", &own, &theirs));
    let restic = || {
        settle()?;
        run(&mut restic_command(&repository, &["init"]))?;
        let mut backup = restic_command(&repository, &["backup", "--no-cache"]);
        let seconds = cpu_seconds(backup.arg(folder.join("mail")))?;
        fs::remove_dir_all(&repository)?;
        Ok(seconds * 1e3 / megabytes)
    };
    let (own, theirs) = in_turn(site.pairs, || timed(ours), restic)?;
    rows.push(row("restic backup, user and system time", "(none)", &own, &theirs));
    fs::remove_dir_all(&folder)?;
    Ok(rows)
}

fn row(against: &str, wanted: &'static str, ours: &[f64], theirs: &[f64]) -> Row {
    Row {
        target: "P7",
        what: format!("ms of processor a MB: split, hash, deduplicate, zstd, encrypt; against {against}"),
        wanted,
        ours: shown(median(ours)),
        theirs: shown(median(theirs)),
        ratio: shown(median(ours) / median(theirs)),
        raw: format!("{} / {}", raw(ours), raw(theirs)),
    }
}

pub(crate) fn borg_command(site: &Site, arguments: &[&str]) -> Command {
    let mut command = Command::new("borg");
    command
        .args(arguments)
        .env("BORG_PASSPHRASE", "bench")
        .env("BORG_BASE_DIR", site.folder.path().join("home"));
    command
}

pub(crate) fn restic_command(repository: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("restic");
    command.arg("--repo").arg(repository).args(arguments).env("RESTIC_PASSWORD", "bench");
    command
}
