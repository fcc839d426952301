//! P1 and P3: how fast mail is accepted, and what it costs the disk.

use std::{fs, process::Command, time::Instant};

use anyhow::{Context, ensure};
use openarchive_bench::{
    edge::LoneEdge,
    postfix::Postfix,
    processes::{run, settle},
    runs::{in_turn, median, raw, shown},
};

use crate::{Row, Site};

/// Bytes of a mail, sessions, and mails of a run: some seconds at the speeds to be expected.
const MAIL_BYTES: usize = 20_000;
const SESSIONS: usize = 20;
const MAILS: u64 = 20_000;

/// Postfix's own load tool for both: persistent sessions, no pause.
fn smtp_source(address: &str, sessions: usize, mails: u64) -> anyhow::Result<f64> {
    let started = Instant::now();
    run(Command::new("smtp-source")
        .args(["-d", "-s", &sessions.to_string(), "-m", &mails.to_string()])
        .args(["-l", &MAIL_BYTES.to_string(), "-f", "a@example.test", "-t", "b@example.test", address]))?;
    Ok(mails as f64 / started.elapsed().as_secs_f64())
}

pub(crate) fn sessions(site: &Site) -> anyhow::Result<Vec<Row>> {
    let home = site.folder.path().join("p1");
    let ours = || {
        fs::create_dir_all(&home)?;
        settle()?;
        let edge = LoneEdge::start(&home, &[])?;
        let rate = smtp_source(&edge.address(), SESSIONS, MAILS)?;
        edge.check_kept(MAILS)?;
        drop(edge);
        fs::remove_dir_all(&home)?;
        Ok(rate)
    };
    let theirs = || {
        fs::create_dir_all(&home)?;
        settle()?;
        let postfix = Postfix::start(&home)?;
        let rate = smtp_source(&postfix.address(), SESSIONS, MAILS)?;
        postfix.check_kept(MAILS)?;
        drop(postfix);
        fs::remove_dir_all(&home)?;
        Ok(rate)
    };
    let (ours, theirs) = in_turn(site.pairs, ours, theirs)?;
    Ok(vec![Row {
        target: "P1",
        what: "mails/s accepted, 20 persistent sessions, 20 KB; Postfix: hold queue".to_owned(),
        wanted: ">= 3",
        ours: shown(median(&ours)),
        theirs: shown(median(&theirs)),
        ratio: shown(median(&ours) / median(&theirs)),
        raw: format!("{} / {}", raw(&ours), raw(&theirs)),
    }])
}

const SYNCS: &str = "trace=fsync,fdatasync,sync_file_range,msync,sync,syncfs";

/// fsyncs for each accepted mail, as strace counts them, after some mails that warm up.
pub(crate) fn syncs(site: &Site) -> anyhow::Result<Vec<Row>> {
    let count = |sessions: usize, mails: u64| -> anyhow::Result<f64> {
        // A buffer of its own for each run: what is kept is counted.
        let home = tempfile::tempdir_in(site.folder.path())?;
        let home = home.path();
        let trace = home.join("trace");
        let path = trace.to_str().context("a path that is no text")?;
        let edge = LoneEdge::start(home, &["strace", "-f", "--seccomp-bpf", "-e", SYNCS, "-o", path])?;
        let seen = || -> anyhow::Result<usize> {
            let text = fs::read_to_string(&trace)?;
            Ok(text.lines().filter(|line| !line.contains("resumed>") && line.contains("sync")).count())
        };
        smtp_source(&edge.address(), 1, 1)?;
        let before = seen()?;
        smtp_source(&edge.address(), sessions, mails)?;
        // A line is written before the process goes on, so before the last `250`.
        let during = seen()? - before;
        edge.check_kept(mails + 1)?;
        ensure!(during > 0, "strace saw nothing");
        Ok(during as f64 / mails as f64)
    };
    let row = |sessions: usize, mails: u64, wanted: &'static str| -> anyhow::Result<Row> {
        let runs = (0..site.pairs).map(|_| count(sessions, mails)).collect::<anyhow::Result<Vec<f64>>>()?;
        let figure = shown(median(&runs));
        Ok(Row {
            target: "P3",
            what: format!("fsyncs a mail, {sessions} sessions, by strace"),
            wanted,
            ours: figure.clone(),
            theirs: "1 (Postfix, by its design)".to_owned(),
            ratio: figure,
            raw: raw(&runs),
        })
    };
    Ok(vec![row(1, 500, "1")?, row(SESSIONS, 4000, "<= 0.25")?])
}
