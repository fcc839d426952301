//! Checking everything that storage keeps: catalogue against objects, objects against catalogue, both against the
//! ledger.

use std::collections::BTreeSet;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use openarchive_objects::{ObjectError, ObjectKey, ObjectStore};
use uuid::Uuid;

use crate::{
    Finding, Problem, Progress, StorageError, StorageParts, Subject,
    catalogue::{PackRow, count_packs, known_packs, pack_rows_after, pack_tenants},
    ledger_check::LedgerChecker,
    object_names::{KEYS, PACKS, PackName, pack_of_key_file},
    pack_check::{PackChecker, PackReport},
    shred_deletion::was_deleted,
};

/// Packs that are read at once; each holds a few MiB.
const PACKS_AT_ONCE: usize = 4;
/// Rows or object names that are held at once.
const PAGE: usize = 1_000;

/// Reads every pack, every key file and every tenant's log. A healthy archive, also one that is being written to,
/// gives no finding that is damage. An error means that the check could not be made: database, trust or the object store
/// as a whole does not answer. A pack that alone cannot be read is a finding. Findings come in the order of the pack ids,
/// what objects and ledger say behind.
pub async fn fsck(
    parts: &StorageParts,
    mut progress: impl FnMut(Progress) + Send,
) -> Result<Vec<Finding>, StorageError> {
    let checker = &parts.checker();
    let ledger = &parts.ledger();
    let mut findings = Vec::new();
    let mut done = Progress { packs: 0, packs_total: count_packs(&parts.pool).await?, bytes: 0 };
    progress(done);
    let mut after = None;
    loop {
        let page = pack_rows_after(&parts.pool, after, PAGE as i64).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.pack_id);
        let mut reports =
            stream::iter(page).map(|row| check_pack(parts, checker, ledger, row)).buffered(PACKS_AT_ONCE);
        while let Some((report, bytes)) = reports.try_next().await? {
            findings.extend(report.findings);
            done.packs += 1;
            done.packs_total = done.packs_total.max(done.packs);
            done.bytes += bytes;
            progress(done);
        }
    }
    let mut tenants: BTreeSet<String> = pack_tenants(&parts.pool).await?.into_iter().collect();
    check_objects(parts, &mut tenants, &mut findings).await?;
    for tenant in tenants {
        let missing = ledger.check_log(&tenant).await?;
        let missing = explain_deleted(parts, ledger, &tenant, missing, &mut findings).await?;
        findings.extend(missing);
    }
    Ok(findings)
}

/// What the ledger knows and the catalogue does not, without packs that were deleted before the database was lost: of
/// those only the key file is left, and there is nothing to say of it.
async fn explain_deleted(
    parts: &StorageParts,
    ledger: &LedgerChecker,
    tenant: &str,
    mut missing: Vec<Finding>,
    known: &mut Vec<Finding>,
) -> Result<Vec<Finding>, StorageError> {
    let packs = missing.iter().filter_map(|finding| match (&finding.subject, &finding.problem) {
        (Subject::Pack(pack), Problem::PackRowMissing { .. }) => Some(*pack),
        _ => None,
    });
    let packs: Vec<Uuid> = packs.collect();
    if packs.is_empty() {
        return Ok(missing);
    }
    let ordered = ledger.ordered_shreds(tenant).await?;
    for pack in packs {
        let was_deleted = || was_deleted(&parts.key_objects, tenant, pack, &ordered);
        match twice(parts, was_deleted).await? {
            Ok(true) => {
                let is_of_it = |finding: &Finding| finding.subject == Subject::Pack(pack);
                missing.retain(|finding| !is_of_it(finding));
                known.retain(|finding| !is_of_it(finding));
            }
            Ok(false) => {}
            Err(error) => missing.push(Finding::of_pack(pack, Problem::Unreadable(error))),
        }
    }
    Ok(missing)
}

async fn check_pack(
    parts: &StorageParts,
    checker: &PackChecker,
    ledger: &LedgerChecker,
    row: PackRow,
) -> Result<(PackReport, u64), StorageError> {
    let mut report = match twice(parts, || checker.check(&row)).await? {
        Ok(report) => report,
        Err(error) => {
            let finding = Finding::of_pack(row.pack_id, Problem::Unreadable(error));
            PackReport { findings: vec![finding], ..PackReport::default() }
        }
    };
    report.findings.extend(ledger.check(&row).await?);
    Ok((report, row.length))
}

/// Reads once more what the store did not give. The inner error is this one object's: the store as a whole answered
/// meanwhile.
async fn twice<T, F: Future<Output = Result<T, StorageError>>>(
    parts: &StorageParts,
    read: impl Fn() -> F,
) -> Result<Result<T, ObjectError>, StorageError> {
    match read().await {
        Err(StorageError::Objects(_)) => {}
        other => return other.map(Ok),
    }
    parts.objects.list_page(PACKS, None, 1).await?;
    parts.key_objects.list_page(KEYS, None, 1).await?;
    match read().await {
        Err(StorageError::Objects(error)) => Ok(Err(error)),
        other => other.map(Ok),
    }
}

/// Names what no row knows.
async fn check_objects(
    parts: &StorageParts,
    tenants: &mut BTreeSet<String>,
    findings: &mut Vec<Finding>,
) -> Result<(), StorageError> {
    let mut pages = Pages::new(&parts.objects, PACKS);
    while let Some(keys) = pages.next().await? {
        let packs = keys.iter().map(|key| {
            let name = PackName::parse(key)?;
            tenants.insert(name.group.scope.to_string());
            Some(name.id)
        });
        let packs: Vec<_> = packs.collect();
        check_names(parts, keys, &packs, || Problem::UnreferencedPack, findings).await?;
    }
    let mut pages = Pages::new(&parts.key_objects, KEYS);
    while let Some(keys) = pages.next().await? {
        let packs: Vec<_> = keys.iter().map(pack_of_key_file).collect();
        check_names(parts, keys, &packs, || Problem::UnreferencedKeyFile, findings).await?;
    }
    Ok(())
}

async fn check_names(
    parts: &StorageParts,
    keys: Vec<ObjectKey>,
    packs: &[Option<Uuid>],
    unreferenced: fn() -> Problem,
    findings: &mut Vec<Finding>,
) -> Result<(), StorageError> {
    let ids: Vec<Uuid> = packs.iter().flatten().copied().collect();
    let known = known_packs(&parts.pool, &ids).await?;
    for (key, pack) in keys.into_iter().zip(packs) {
        match pack {
            None => findings.push(Finding { subject: Subject::Object(key), problem: Problem::AlienObject }),
            Some(pack) if !known.contains(pack) => findings.push(Finding::of_pack(*pack, unreferenced())),
            Some(_) => {}
        }
    }
    Ok(())
}

/// The names under a prefix, page by page.
pub(crate) struct Pages<'a> {
    objects: &'a ObjectStore,
    prefix: &'static str,
    after: Option<ObjectKey>,
}

impl<'a> Pages<'a> {
    pub(crate) fn new(objects: &'a ObjectStore, prefix: &'static str) -> Self {
        Self { objects, prefix, after: None }
    }

    pub(crate) async fn next(&mut self) -> Result<Option<Vec<ObjectKey>>, StorageError> {
        let keys = self.objects.list_page(self.prefix, self.after.as_ref(), PAGE).await?;
        self.after = keys.last().cloned();
        Ok((!keys.is_empty()).then_some(keys))
    }
}
