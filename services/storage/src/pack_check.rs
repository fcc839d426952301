//! Checking one catalogued pack against everything that is said of it: object, footer, key file, rows.

use std::collections::{BTreeMap, BTreeSet};

use openarchive_envelope::{
    WrappedKey,
    key_file::KeyFile,
    pack::{Footer, FooterEntry},
};
use openarchive_ledger::leaf::ShredLeaf;
use openarchive_objects::{ObjectError, ObjectStore};
use sqlx::PgPool;

use crate::{
    Finding, Problem, StorageError,
    blob_id::BlobId,
    catalogue::{EntryRow, PackRow, entry_rows, stat_blobs},
    key_custody::KeyCustody,
    ledger_check::LedgerChecker,
    pack_scan::{Body, read_footer, scan},
    shred_deletion::nothing_left,
};

/// What checks need.
#[derive(Clone)]
pub(crate) struct PackChecker {
    pub(crate) pool: PgPool,
    pub(crate) objects: ObjectStore,
    pub(crate) key_objects: ObjectStore,
    pub(crate) keys: KeyCustody,
    pub(crate) ledger: LedgerChecker,
}

#[derive(Default)]
pub(crate) struct PackReport {
    pub(crate) findings: Vec<Finding>,
    /// Bodies that were opened and have their digest.
    pub(crate) blobs: u32,
}

/// One blob, by whatever tells of it: the footer where it can be read, else the rows.
struct Listed {
    id: BlobId,
    offset: u64,
    length: u64,
    kek_version: u32,
    wrapped: Option<WrappedKey>,
    /// What the catalogue says it has, if the row is there.
    raw_length: Option<u64>,
    /// Its key may be missing: the ledger has the order.
    shredded: bool,
}

impl PackChecker {
    /// Reads the whole pack. An error means that it could not be checked, not that it is damaged.
    pub(crate) async fn check(&self, row: &PackRow) -> Result<PackReport, StorageError> {
        let (report, shredded) = (PackReport::default(), BTreeSet::new());
        let mut check = PackCheck { checker: self, row, shredded, report };
        check.run().await?;
        Ok(check.report)
    }
}

struct PackCheck<'a> {
    checker: &'a PackChecker,
    row: &'a PackRow,
    /// Blobs whose rows name an order to shred them, which stands in the ledger and names them.
    shredded: BTreeSet<i32>,
    report: PackReport,
}

impl PackCheck<'_> {
    async fn run(&mut self) -> Result<(), StorageError> {
        let rows = entry_rows(&self.checker.pool, self.row.pack_id).await?;
        self.shredded = self.shredded_rows(&rows).await?;
        let key_file = self.key_file().await?;
        let Some(meta) = self.checker.objects.head(&self.row.object_key).await? else {
            let ordered =
                |number: u32| i32::try_from(number).is_ok_and(|number| self.shredded.contains(&number));
            let has_keys = rows.iter().any(|row| row.wrapped.is_some());
            // Deleted, or about to be called so: nobody could read anything in it.
            if has_keys || !key_file.is_some_and(|file| nothing_left(&file, ordered)) {
                self.found(Problem::ObjectMissing);
            }
            return Ok(());
        };
        if meta.length != self.row.length {
            self.found(Problem::ObjectLength { found: meta.length, expected: self.row.length });
        }
        if self.row.lock_until.is_some_and(|until| meta.lock_until.is_none_or(|found| found < until)) {
            self.found(Problem::LockShort);
        }
        let footer = self.footer(meta.length, key_file.as_ref()).await?;
        let listed = match &footer {
            Some(footer) => {
                self.compare_rows(footer, &rows).await?;
                self.list_footer(footer, key_file.as_ref(), &rows)
            }
            None => self.list_rows(&rows),
        };
        self.scan(listed).await
    }

    async fn shredded_rows(&self, rows: &[EntryRow]) -> Result<BTreeSet<i32>, StorageError> {
        let mut orders: BTreeMap<u64, Option<ShredLeaf>> = BTreeMap::new();
        let mut shredded = BTreeSet::new();
        for row in rows {
            let Some(index) = row.shred_leaf else { continue };
            if let std::collections::btree_map::Entry::Vacant(entry) = orders.entry(index) {
                entry.insert(self.checker.ledger.shred_leaf(self.row.group.scope.as_str(), index).await?);
            }
            let order = orders.get(&index).and_then(Option::as_ref);
            let pack = self.row.pack_id.as_bytes();
            if order.is_some_and(|order| order.covers(pack, row.ordinal.unsigned_abs())) {
                shredded.insert(row.ordinal);
            }
        }
        Ok(shredded)
    }

    fn found(&mut self, problem: Problem) {
        self.report.findings.push(Finding::of_pack(self.row.pack_id, problem));
    }

    async fn key_file(&mut self) -> Result<Option<KeyFile>, StorageError> {
        let decoded = match self.checker.key_objects.get(&self.row.key_file_key).await {
            Ok(bytes) => KeyFile::decode(&bytes).map_err(Problem::KeyFile),
            Err(ObjectError::NotFound { .. }) => Err(Problem::KeyFileMissing),
            Err(error) => return Err(error.into()),
        };
        Ok(decoded.map_err(|problem| self.found(problem)).ok())
    }

    async fn footer(
        &mut self,
        length: u64,
        key_file: Option<&KeyFile>,
    ) -> Result<Option<Footer>, StorageError> {
        // Without the key file the rows tell what to check; that it is missing is said already.
        let Some(key_file) = key_file else { return Ok(None) };
        let scope = &self.row.group.scope;
        let wrapped = key_file.entries.first().copied().flatten();
        let dek = match wrapped {
            Some(wrapped) => {
                let mut keys = self.checker.keys.unwrap_all(scope, key_file.kek_version, &[wrapped]).await?;
                keys.pop().flatten()
            }
            None => None,
        };
        let Some(dek) = dek else {
            self.found(Problem::FooterKey);
            return Ok(None);
        };
        let (objects, key) = (&self.checker.objects, &self.row.object_key);
        let footer = read_footer(objects, key, length, scope, self.row.pack_id, &dek).await?;
        Ok(footer.map_err(|error| self.found(Problem::Footer(error))).ok())
    }

    /// Every row must be what the footer says. A blob without a row must have one elsewhere: that of the core which
    /// won the race.
    async fn compare_rows(&mut self, footer: &Footer, rows: &[EntryRow]) -> Result<(), StorageError> {
        let by_ordinal: BTreeMap<i32, &EntryRow> = rows.iter().map(|row| (row.ordinal, row)).collect();
        let mut without_row = Vec::new();
        for (ordinal, entry) in numbered(footer) {
            match by_ordinal.get(&ordinal) {
                None => without_row.push((ordinal, BlobId { kind: entry.kind, digest: entry.digest })),
                Some(row) => {
                    let same = (row.kind, row.digest, row.offset, row.length)
                        == (entry.kind, entry.digest, entry.offset, entry.length);
                    if !same {
                        self.found(Problem::RowDiffers { blob: ordinal });
                    }
                }
            }
        }
        let beyond = rows.iter().filter(|row| row.ordinal as usize > footer.entries().len());
        beyond.for_each(|row| self.found(Problem::RowWithoutBlob { blob: row.ordinal }));
        let ids: Vec<BlobId> = without_row.iter().map(|(_, id)| *id).collect();
        let group = &self.row.group;
        let elsewhere = stat_blobs(&self.checker.pool, &group.scope, Some(group.class), &ids, None).await?;
        for ((blob, _), elsewhere) in without_row.into_iter().zip(elsewhere) {
            if elsewhere.is_none() {
                self.found(Problem::RowMissing { blob });
            }
        }
        Ok(())
    }

    fn list_footer(
        &mut self,
        footer: &Footer,
        key_file: Option<&KeyFile>,
        rows: &[EntryRow],
    ) -> BTreeMap<i32, Listed> {
        let Some(key_file) = key_file else { return BTreeMap::new() };
        let by_ordinal: BTreeMap<i32, &EntryRow> = rows.iter().map(|row| (row.ordinal, row)).collect();
        if key_file.entries.len() != footer.entries().len() + 1 {
            let (keys, blobs) = (key_file.entries.len(), footer.entries().len());
            self.found(Problem::KeyFileCount { keys, blobs });
        }
        let mut listed = BTreeMap::new();
        for (ordinal, entry) in numbered(footer) {
            let row = by_ordinal.get(&ordinal);
            let wrapped = key_file.entries.get(ordinal as usize).copied().flatten();
            // While a key is being destroyed it goes from the key file first.
            let shredded = self.shredded.contains(&ordinal);
            let differs =
                row.is_some_and(|row| (row.kek_version, row.wrapped) != (key_file.kek_version, wrapped));
            if differs && !shredded {
                self.found(Problem::KeyDiffers { blob: ordinal });
            }
            let blob = Listed {
                id: BlobId { kind: entry.kind, digest: entry.digest },
                offset: entry.offset,
                length: entry.length,
                kek_version: key_file.kek_version,
                wrapped,
                // What came out of a body that cannot be opened any more is not known after a rebuild.
                raw_length: row.map(|row| row.raw_length).filter(|_| !shredded),
                shredded,
            };
            listed.insert(ordinal, blob);
        }
        listed
    }

    async fn scan(&mut self, listed: BTreeMap<i32, Listed>) -> Result<(), StorageError> {
        let bodies = self.unlock(&listed).await?;
        let scope = &self.row.group.scope;
        let scanned = match scan(&self.checker.objects, &self.row.object_key, scope, bodies).await {
            Ok(scanned) => scanned,
            Err(StorageError::Objects(ObjectError::NotFound { .. })) => {
                self.found(Problem::ObjectMissing);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        if scanned.sha256 != self.row.sha256 {
            self.found(Problem::ObjectChanged);
        }
        for (blob, opened) in scanned.bodies {
            match opened {
                Err(error) => self.found(Problem::Body { blob, error }),
                Ok(raw_length) => {
                    self.report.blobs += 1;
                    if listed
                        .get(&blob)
                        .and_then(|listed| listed.raw_length)
                        .is_some_and(|said| said != raw_length)
                    {
                        self.found(Problem::RowDiffers { blob });
                    }
                }
            }
        }
        Ok(())
    }

    /// Unwraps the keys, a call for each KEK version.
    async fn unlock(&mut self, listed: &BTreeMap<i32, Listed>) -> Result<Vec<Body>, StorageError> {
        let mut by_version: BTreeMap<u32, Vec<(i32, &Listed, WrappedKey)>> = BTreeMap::new();
        for (&blob, listed) in listed {
            match listed.wrapped {
                Some(wrapped) => {
                    by_version.entry(listed.kek_version).or_default().push((blob, listed, wrapped));
                }
                None if listed.shredded => {}
                None => self.found(Problem::KeyLost { blob }),
            }
        }
        let mut bodies = Vec::with_capacity(listed.len());
        for (kek_version, blobs) in by_version {
            let wrapped: Vec<WrappedKey> = blobs.iter().map(|(_, _, wrapped)| *wrapped).collect();
            let deks = self.checker.keys.unwrap_all(&self.row.group.scope, kek_version, &wrapped).await?;
            for ((blob, listed, _), dek) in blobs.into_iter().zip(deks) {
                match dek {
                    None => self.found(Problem::KeyLost { blob }),
                    Some(dek) => bodies.push(Body {
                        ordinal: blob,
                        id: listed.id,
                        offset: listed.offset,
                        length: listed.length,
                        dek,
                    }),
                }
            }
        }
        Ok(bodies)
    }

    fn list_rows(&self, rows: &[EntryRow]) -> BTreeMap<i32, Listed> {
        let listed = rows.iter().map(|row| {
            let blob = Listed {
                id: BlobId { kind: row.kind, digest: row.digest },
                offset: row.offset,
                length: row.length,
                kek_version: row.kek_version,
                wrapped: row.wrapped,
                raw_length: Some(row.raw_length),
                shredded: self.shredded.contains(&row.ordinal),
            };
            (row.ordinal, blob)
        });
        listed.collect()
    }
}

/// The footer's entries with their ordinals, from 1.
fn numbered(footer: &Footer) -> impl Iterator<Item = (i32, &FooterEntry)> {
    footer.entries().iter().enumerate().map(|(index, entry)| (index as i32 + 1, entry))
}
