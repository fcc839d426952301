//! `openarchive fsck`: reads everything a data folder holds and names what is broken.

use std::{path::Path, process::ExitCode};

use indicatif::{ProgressBar, ProgressStyle};
use openarchive_schema::DatabaseRole;
use openarchive_trust::{CheckpointIntervals, Keys};

use crate::{
    archive_file::ArchiveFile,
    core::{EvidenceCore, start_ingest},
    database::Database,
    findings::{Finding, Report},
    layout::DataDir,
};

/// Damage found: not 1, which is any other error.
const EXIT_DAMAGE: u8 = 3;

pub(crate) async fn run(root: &Path, json: bool) -> anyhow::Result<ExitCode> {
    let data = DataDir::open(root)?;
    let archive = ArchiveFile::open(data.root())?;
    let database = Database::start(&data).await?;
    let result = check(&data, &archive, &database, json).await;
    database.stop().await;
    let report = Report::new(result?);
    if json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        report.print();
    }
    Ok(if report.clean { ExitCode::SUCCESS } else { ExitCode::from(EXIT_DAMAGE) })
}

async fn check(
    data: &DataDir,
    archive: &ArchiveFile,
    database: &Database,
    quiet: bool,
) -> anyhow::Result<Vec<Finding>> {
    let evidence = EvidenceCore::start(data, archive, database, CheckpointIntervals::DEV).await?;
    // Starting ingest sends what an interrupted commit left in its outbox: that is recovery, not damage.
    let ingest = start_ingest(archive, &evidence, database);
    let mut findings = Vec::new();

    let bar = bar("ledger", quiet)?;
    let trust = database.pool(DatabaseRole::Trust);
    let keys = Keys::open(&data.keys()?)?;
    let show = |done: openarchive_trust::Progress| bar.set_position(done.done);
    for found in openarchive_trust::fsck::fsck(&trust, &evidence.parts.objects, &keys, &mut { show }).await? {
        findings.push(Finding::damage("trust", found.to_string()));
    }
    bar.set_prefix("packs");
    for found in openarchive_storage::fsck(&evidence.parts, |done| bar.set_position(done.packs)).await? {
        findings.push(Finding { service: "storage", what: found.to_string(), damage: found.is_damage() });
    }
    bar.set_prefix("mail");
    for found in openarchive_ingest::fsck(
        &database.pool(DatabaseRole::Ingest),
        evidence.storage_channel.clone(),
        evidence.trust_channel.clone(),
        &archive.tenants,
        &|done| bar.set_position(done.done),
    )
    .await?
    {
        findings.push(Finding::damage("ingest", found.to_string()));
    }
    bar.finish_and_clear();
    ingest.shutdown().await;
    evidence.shutdown().await;
    Ok(findings)
}

fn bar(what: &'static str, quiet: bool) -> anyhow::Result<ProgressBar> {
    if quiet {
        return Ok(ProgressBar::hidden());
    }
    let style = ProgressStyle::with_template("{spinner} {prefix} {pos} checked, {elapsed}")?;
    Ok(ProgressBar::new_spinner().with_style(style).with_prefix(what))
}
