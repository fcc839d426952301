//! P8: what mail takes when it is stored.

use std::fs;

use anyhow::ensure;
use openarchive_bench::{
    corpus::{CORPUS_MAILS, Corpus, write_folder},
    gate,
    processes::{bytes_under, run},
    runs::shown,
};
use openarchive_domain::Digest;
use openarchive_e2e::{Agent, AgentOptions, Archive};

use crate::{
    Row, Site,
    pipeline::{borg_command, restic_command},
};

/// Sizes do not change from run to run, so each is measured once.
pub(crate) fn measure(site: &Site) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for repeats_percent in [70, 50] {
        let folder = site.folder.path().join(format!("p8-{repeats_percent}"));
        let mails: Vec<Vec<u8>> = Corpus::new(8, repeats_percent).take(CORPUS_MAILS).collect();
        let digests: Vec<Digest> = mails.iter().map(|mail| Digest::of(mail)).collect();
        let raw = write_folder(&folder.join("mail"), mails.into_iter())?;
        let ours = ours(&folder.join("mail"), &digests)?;
        // The best of its ways to cut: the default, and finer ones.
        let mut borg = u64::MAX;
        for cut in ["19,23,21,4095", "10,23,16,4095", "12,20,15,4095"] {
            let repository = folder.join("borg");
            run(borg_command(site, &["init", "-e", "repokey-blake2"]).arg(&repository))?;
            let archive = format!("{}::one", repository.display());
            let create = ["create", "--compression", "zstd", "--chunker-params", cut, &archive];
            run(borg_command(site, &create).arg(folder.join("mail")))?;
            borg = borg.min(bytes_under(&repository)?);
            fs::remove_dir_all(&repository)?;
        }
        let repository = folder.join("restic");
        run(&mut restic_command(&repository, &["init"]))?;
        run(restic_command(&repository, &["backup", "--no-cache"]).arg(folder.join("mail")))?;
        let restic = bytes_under(&repository)?;
        fs::remove_dir_all(&folder)?;

        let of_raw = |bytes: u64| bytes as f64 / raw as f64;
        let wanted: [&'static str; 3] =
            if repeats_percent == 70 { ["<= 0.31", "<= 0.80", "<= 0.42"] } else { ["(none)"; 3] };
        let what = |against: &str| {
            format!("stored bytes of raw ones, {repeats_percent} % of attachments repeat; {against}")
        };
        let row = |against: &str, wanted, theirs: String, ratio: f64| Row {
            target: "P8",
            what: what(against),
            wanted,
            ours: shown(of_raw(ours)),
            theirs,
            ratio: shown(ratio),
            raw: format!("{} MB raw", raw / 1_000_000),
        };
        rows.push(row("by themselves", wanted[0], "(raw)".to_owned(), of_raw(ours)));
        rows.push(row(
            "against borg, its best chunking, zstd",
            wanted[1],
            shown(of_raw(borg)),
            ours as f64 / borg as f64,
        ));
        rows.push(row("against restic", wanted[2], shown(of_raw(restic)), ours as f64 / restic as f64));
    }
    Ok(rows)
}

/// Objects of an archive that took every mail: packs, key files, ledger, heads. What can be made again from them (the
/// database, the index) is not counted.
fn ours(mail: &std::path::Path, digests: &[Digest]) -> anyhow::Result<u64> {
    let mut archive = Archive::all();
    let mut agent = Agent::add(&archive, AgentOptions::default());
    let imported = agent.command(&["import", &mail.display().to_string(), "--json"]);
    ensure!(imported.code == 0, "{}{}", imported.stdout, imported.stderr);
    agent.start();
    agent.wait_drained(600);
    archive.wait_searchable(digests.len() as u64, 600);
    agent.terminate();
    gate::check(&mut archive, digests)?;
    Ok(bytes_under(&archive.data().join("objects"))?)
}
