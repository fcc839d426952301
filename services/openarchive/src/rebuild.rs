//! `openarchive rebuild`: PostgreSQL is gone; packs, key files, tiles and keys are not.

use std::{fs, path::Path};

use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressStyle};
use openarchive_domain::SystemClock;
use openarchive_schema::{TenantScope, begin};
use openarchive_trust::{CheckpointIntervals, Keys};

use crate::{
    archive_file::ArchiveFile,
    core::{EvidenceCore, open_objects, start_ingest},
    database::Database,
    layout::{DataDir, Secrecy, write_file},
};

/// Stands while a rebuild is unfinished: an interrupted one may be repeated over its own half-filled database.
const MARKER: &str = "rebuild-unfinished";

/// Refuses to work over what a rebuild that was stopped has left: mail that is archived would not be found.
pub(crate) fn refuse_unfinished(data: &DataDir) -> anyhow::Result<()> {
    if data.root().join(MARKER).exists() {
        bail!(
            "a rebuild of {0} was stopped before its end: run `openarchive rebuild --data {0}` again first",
            data.root().display()
        );
    }
    Ok(())
}

pub(crate) async fn run(root: &Path) -> anyhow::Result<()> {
    let data = DataDir::open(root)?;
    let archive = ArchiveFile::open(data.root())?;
    let database = Database::start(&data).await?;
    let result = fill(&data, &archive, &database).await;
    database.stop().await;
    result
}

async fn fill(data: &DataDir, archive: &ArchiveFile, database: &Database) -> anyhow::Result<()> {
    let pool = &database.admin;
    let marker = data.root().join(MARKER);
    let leaves = sqlx::query_scalar!(r#"select count(*) as "count!" from trust.leaf"#)
        .fetch_one(&mut *begin(pool, TenantScope::All).await?)
        .await?;
    if leaves > 0 && !marker.exists() {
        bail!(
            "the database in {} is not empty: rebuild fills an empty one. If it is damaged, move {} away first",
            data.root().display(),
            data.postgres().display()
        );
    }
    write_file(&marker, b"", Secrecy::Public)?;

    let objects = open_objects(data)?;
    let keys = Keys::open(&data.keys()?).context("the archive's keys do not open")?;
    let bar = spinner("ledger")?;
    let show = |done: openarchive_trust::Progress| bar.set_position(done.done);
    let ledger = openarchive_trust::rebuild::rebuild(pool, &objects, &keys, &SystemClock, &mut { show })
        .await
        .context("the ledger cannot be rebuilt")?;
    bar.finish_and_clear();
    println!(
        "ledger    {} leaves in {} logs, each equal to its signed checkpoint",
        ledger.leaves, ledger.logs
    );
    let mut damage: Vec<String> = ledger.damage.iter().map(ToString::to_string).collect();

    let evidence = EvidenceCore::start(data, archive, database, CheckpointIntervals::DEV).await?;
    let bar = spinner("packs")?;
    let stored = openarchive_storage::rebuild(&evidence.parts, |done| bar.set_position(done.packs))
        .await
        .context("the packs cannot be read back")?;
    bar.finish_and_clear();
    println!("storage   {} packs, {} blobs", stored.packs, stored.blobs);
    damage.extend(stored.findings.iter().filter(|finding| finding.is_damage()).map(ToString::to_string));

    let ingest = start_ingest(archive, &evidence, database);
    let bar = spinner("mail")?;
    let catalogue = openarchive_ingest::rebuild(
        pool,
        evidence.storage_channel.clone(),
        evidence.trust_channel.clone(),
        &archive.tenants,
        &openarchive_domain::SystemClock,
        &|done| bar.set_position(done.done),
    )
    .await
    .context("the catalogue cannot be rebuilt")?;
    bar.finish_and_clear();
    println!("catalogue {} observations restored, {} recorded", catalogue.restored, catalogue.recorded);
    damage.extend(catalogue.damage.iter().map(ToString::to_string));
    ingest.shutdown().await;
    evidence.shutdown().await;

    // The index is derived: an empty one is fed by the worker at the next start.
    if data.index().exists() {
        fs::remove_dir_all(data.index()).context("cannot remove the old index")?;
    }
    fs::remove_file(&marker).with_context(|| format!("cannot remove {}", marker.display()))?;
    if !damage.is_empty() {
        bail!(
            "rebuilt, but not everything: {} damaged, see `openarchive fsck`\n  {}",
            damage.len(),
            damage.join("\n  ")
        );
    }
    println!("rebuilt: start the archive; the index fills by itself, and a new API token is made");
    Ok(())
}

fn spinner(what: &'static str) -> anyhow::Result<ProgressBar> {
    let style = ProgressStyle::with_template("{spinner} {prefix} {pos} read, {elapsed}")?;
    Ok(ProgressBar::new_spinner().with_style(style).with_prefix(what))
}
