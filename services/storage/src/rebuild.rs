//! Filling an empty catalogue from packs and key files.
//!
//! Each pack is read in full: that gives its SHA-256 and each blob's raw length (which stands inside the encrypted
//! body), and proves what is catalogued. Every pack gets an outbox row: the ledger answers the leaf that stands.
//! A pack that an interrupted write left complete, but never catalogued, is adopted: its blobs are whole.

use std::collections::BTreeMap;

use openarchive_domain::{Timestamp, lock_until};
use openarchive_envelope::{WrappedKey, key_file::KeyFile};
use openarchive_objects::{Meta, ObjectError, Version};

use crate::{
    Finding, Problem, Progress, StorageError, StorageParts,
    blob_id::BlobId,
    catalogue::{KeyState, NewPack, insert_pack, known_packs},
    fsck::Pages,
    ledger_check::OrderedShreds,
    object_names::{PACKS, PackName},
    pack_check::PackChecker,
    pack_object::Placed,
    pack_scan::{Body, Scan, read_footer, scan},
};

/// What a rebuild did.
#[derive(Debug, Default)]
pub struct RebuildReport {
    /// Packs that were catalogued by this run.
    pub packs: u64,
    /// Their blobs that were catalogued; copies of one blob count once.
    pub blobs: u64,
    /// What could not be catalogued, and why.
    pub findings: Vec<Finding>,
}

/// Catalogues every pack that has no row yet, so it may be repeated after an interruption. Each pack is durable when
/// progress is told. Nothing else may write to the schema meanwhile.
pub async fn rebuild(
    parts: &StorageParts,
    mut progress: impl FnMut(Progress) + Send,
) -> Result<RebuildReport, StorageError> {
    let mut rebuild = Rebuild { parts, checker: parts.checker(), ordered: BTreeMap::new() };
    let mut report = RebuildReport::default();
    let mut done = Progress { packs: 0, packs_total: 0, bytes: 0 };
    let mut pages = Pages::new(&parts.objects, PACKS);
    while let Some(keys) = pages.next().await? {
        done.packs_total += keys.iter().filter_map(PackName::parse).count() as u64;
    }
    progress(done);
    let mut pages = Pages::new(&parts.objects, PACKS);
    while let Some(keys) = pages.next().await? {
        let names: Vec<PackName> = keys.iter().filter_map(PackName::parse).collect();
        let ids: Vec<_> = names.iter().map(|name| name.id).collect();
        let known = known_packs(&parts.pool, &ids).await?;
        for name in names {
            if !known.contains(&name.id) {
                done.bytes += rebuild.pack(name, &mut report).await?;
            }
            done.packs += 1;
            done.packs_total = done.packs_total.max(done.packs);
            progress(done);
        }
    }
    Ok(report)
}

struct Rebuild<'a> {
    parts: &'a StorageParts,
    checker: PackChecker,
    /// By tenant, read when its first pack comes.
    ordered: BTreeMap<String, OrderedShreds>,
}

/// A pack that was read in full.
struct ReadPack {
    placed: Vec<(i32, Placed)>,
    wrapped: Vec<KeyState>,
    scan: Scan,
    problems: Vec<Problem>,
}

impl Rebuild<'_> {
    /// Answers the bytes that were read.
    async fn pack(&mut self, name: PackName, report: &mut RebuildReport) -> Result<u64, StorageError> {
        let id = name.id;
        let Some(meta) = self.parts.objects.head(&name.key()).await? else { return Ok(0) };
        let tenant = name.group.scope.as_str();
        if !self.ordered.contains_key(tenant) {
            let ordered = self.checker.ledger.ordered_shreds(tenant).await?;
            self.ordered.insert(tenant.to_owned(), ordered);
        }
        let (key_file, read) = match self.read(&name, meta).await? {
            Ok(read) => read,
            Err(problem) => {
                report.findings.push(Finding::of_pack(id, problem));
                return Ok(meta.length);
            }
        };
        report.findings.extend(read.problems.into_iter().map(|problem| Finding::of_pack(id, problem)));
        let created_at = name.created_at().unwrap_or(Timestamp::from_millis(0));
        let first_lock = lock_until(name.group.class, created_at)?;
        let pack = NewPack {
            created_at,
            name,
            // What the local store calls a version; a store with versions of its own is asked for them.
            version: Version {
                version_id: read.scan.sha256.hex(),
                sha256: read.scan.sha256,
                length: read.scan.length,
            },
            lock_until: first_lock,
            extended_until: meta.lock_until.filter(|until| *until > first_lock),
            kek_version: key_file.kek_version,
            blobs: read.placed,
            wrapped: read.wrapped,
        };
        let inserted = insert_pack(&self.parts.pool, pack).await?;
        report.packs += 1;
        report.blobs += inserted.catalogued.iter().filter(|catalogued| **catalogued).count() as u64;
        Ok(meta.length)
    }

    /// The inner error says why nothing of the pack can be catalogued.
    async fn read(
        &self,
        name: &PackName,
        meta: Meta,
    ) -> Result<Result<(KeyFile, ReadPack), Problem>, StorageError> {
        let key_file = match self.parts.key_objects.get(&name.key_file()).await {
            Ok(bytes) => KeyFile::decode(&bytes),
            Err(ObjectError::NotFound { .. }) => return Ok(Err(Problem::KeyFileMissing)),
            Err(error) => return Err(error.into()),
        };
        let key_file = match key_file {
            Ok(key_file) => key_file,
            Err(error) => return Ok(Err(Problem::KeyFile(error))),
        };
        let scope = &name.group.scope;
        // A shredded key cannot be unwrapped; its place keeps the order.
        let present: Vec<WrappedKey> = key_file.entries.iter().flatten().copied().collect();
        let mut deks = self.checker.keys.unwrap_all(scope, key_file.kek_version, &present).await?.into_iter();
        let mut deks = key_file.entries.iter().map(|entry| entry.and_then(|_| deks.next().flatten()));
        let Some(footer_dek) = deks.next().flatten() else { return Ok(Err(Problem::FooterKey)) };
        let objects = &self.parts.objects;
        let footer = match read_footer(objects, &name.key(), meta.length, scope, name.id, &footer_dek).await?
        {
            Ok(footer) => footer,
            Err(error) => return Ok(Err(Problem::Footer(error))),
        };
        let (keys, blobs) = (key_file.entries.len(), footer.entries().len());
        if keys != blobs + 1 {
            return Ok(Err(Problem::KeyFileCount { keys, blobs }));
        }
        let ordered = self.ordered.get(scope.as_str());
        let order_for = |blob: i32| Some(*ordered?.get(&(name.id, blob.unsigned_abs()))?);
        let mut problems = Vec::new();
        let mut bodies = Vec::new();
        let (mut placed, mut wrapped) = (Vec::new(), Vec::new());
        for ((ordinal, entry), dek) in (1..).zip(footer.entries()).zip(deks) {
            let id = BlobId { kind: entry.kind, digest: entry.digest };
            match dek {
                Some(dek) => {
                    bodies.push(Body { ordinal, id, offset: entry.offset, length: entry.length, dek });
                }
                None => match order_for(ordinal) {
                    Some(leaf) if key_file.entries[ordinal as usize].is_none() => {
                        // How long it was stands inside a body that nobody can open any more.
                        let (offset, length) = (entry.offset, entry.length);
                        placed.push((ordinal, Placed { id, raw_length: 0, offset, length }));
                        wrapped.push(KeyState::Shredded { leaf });
                    }
                    _ => problems.push(Problem::KeyLost { blob: ordinal }),
                },
            }
        }
        let mut scan = scan(objects, &name.key(), scope, bodies).await?;
        for (blob, opened) in std::mem::take(&mut scan.bodies) {
            match opened {
                Ok(raw_length) => {
                    let entry = &footer.entries()[blob as usize - 1];
                    let id = BlobId { kind: entry.kind, digest: entry.digest };
                    placed
                        .push((blob, Placed { id, raw_length, offset: entry.offset, length: entry.length }));
                    // It was unwrapped, so it is there.
                    wrapped.extend(key_file.entries[blob as usize].map(KeyState::Wrapped));
                }
                Err(error) => problems.push(Problem::Body { blob, error }),
            }
        }
        Ok(Ok((key_file, ReadPack { placed, wrapped, scan, problems })))
    }
}
