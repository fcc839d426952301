use std::collections::BTreeMap;

use openarchive_ledger::{Hash, checkpoint::Checkpoint};

use super::{FsckError, LogCheck, Read, head_or_finding};
use crate::{
    finding::FindingCode,
    heads::{self, Head},
    log_rows,
};

/// What the log's signatures commit it to.
pub(super) struct History {
    /// Leaves that the latest recorded checkpoint within the rows covers: up to here there are tiles.
    pub(super) published: u64,
    /// By size: the ordinal and root of every head.
    pub(super) roots: BTreeMap<u64, (u64, Hash)>,
}

impl LogCheck<'_> {
    /// Checkpoint rows, then heads, then the published checkpoint: in this order what comes later can only be newer.
    pub(super) async fn check_history(&mut self) -> Result<History, FsckError> {
        let rows = self.read_checkpoints().await?;
        let heads = self.check_heads().await?;
        for (ordinal, checkpoint) in &rows {
            match heads.get(ordinal) {
                None => {
                    let what = "it was signed, but the object is missing";
                    self.found(FindingCode::HeadMissing, heads::key(self.row.log(), *ordinal), what);
                }
                Some(head) if head.size == checkpoint.size && head.root == checkpoint.root => {}
                Some(_) => {
                    let place = format!("row of checkpoint {ordinal} of log {}", self.log());
                    self.found(FindingCode::CheckpointDiffers, place, "it says something else than its head");
                }
            }
        }
        let recorded = rows.values().next_back().map_or(0, |checkpoint| checkpoint.size);
        self.check_published(recorded).await?;
        self.check_tail(&heads).await?;
        let roots = heads.into_iter().map(|(ordinal, head)| (head.size, (ordinal, head.root))).collect();
        // The log may have been published further since its size was read.
        let sizes = rows.values().map(|checkpoint| checkpoint.size);
        let published = sizes.filter(|size| *size <= self.row.size).max().unwrap_or(0);
        Ok(History { published, roots })
    }

    /// Every recorded checkpoint, each of which must be signed and say what its row says.
    async fn read_checkpoints(&mut self) -> Result<BTreeMap<u64, Checkpoint>, FsckError> {
        let rows = sqlx::query!(
            "select ordinal, size, root, note from trust.checkpoint where log_id = $1 order by ordinal",
            self.row.log_id,
        )
        .fetch_all(&mut *self.row.begin(self.pool).await?)
        .await?;
        let mut checkpoints = BTreeMap::new();
        for row in rows {
            let place = format!("row of checkpoint {} of log {}", row.ordinal, self.log());
            let root = log_rows::hash(&self.row, &row.root)?;
            let said =
                Checkpoint { origin: self.row.origin.to_string(), size: row.size.cast_unsigned(), root };
            match self.signed(&row.note) {
                None => {
                    self.found(
                        FindingCode::CheckpointSignature,
                        &place,
                        "the log's key did not sign its note",
                    );
                }
                Some(signed) if signed != said => {
                    self.found(FindingCode::CheckpointDiffers, &place, "its note says something else");
                }
                Some(_) => {}
            }
            checkpoints.insert(row.ordinal.cast_unsigned(), said);
        }
        Ok(checkpoints)
    }

    /// What a note says, if this log's key signed it.
    fn signed(&self, note: &str) -> Option<Checkpoint> {
        let (checkpoint, note) = Checkpoint::parse_signed(note).ok()?;
        let signed = self.keys.verifier(&self.row.origin).verify(&note).is_ok();
        (signed && checkpoint.origin == self.row.origin.to_string()).then_some(checkpoint)
    }

    /// Every head, each of which must follow from the one before it.
    async fn check_heads(&mut self) -> Result<BTreeMap<u64, Head>, FsckError> {
        let log = self.log().clone();
        let ordinals = match head_or_finding(heads::ordinals(self.store, &log, None).await)? {
            Read::Fine(ordinals) => ordinals,
            Read::Wrong(finding) => {
                self.findings.push(finding);
                return Ok(BTreeMap::new());
            }
        };
        let mut found: BTreeMap<u64, Head> = BTreeMap::new();
        for (ordinal, expected) in ordinals.into_iter().zip(0..) {
            let key = heads::key(&log, ordinal);
            let head = match head_or_finding(heads::read(self.store, &log, ordinal).await)? {
                Read::Fine(Some(head)) => head,
                Read::Fine(None) => continue,
                Read::Wrong(finding) => {
                    self.findings.push(finding);
                    continue;
                }
            };
            let before = found.values().next_back();
            let follows = ordinal == expected
                && head.origin == self.row.origin
                && head.previous == before.map(Head::digest)
                && before.is_none_or(|before| before.size < head.size);
            if !follows {
                self.found(FindingCode::HeadChain, key, "it does not follow from the head before it");
            }
            found.insert(ordinal, head);
        }
        Ok(found)
    }

    /// The object that everybody reads must be signed and at least as new as what was recorded before.
    async fn check_published(&mut self, recorded: u64) -> Result<(), FsckError> {
        let key = self.objects.checkpoint_key();
        match self.objects.read_checkpoint().await? {
            None if recorded == 0 => {}
            None => self.found(FindingCode::CheckpointMissing, key, "the published checkpoint is missing"),
            Some(note) => match self.signed(&note) {
                None => self.found(FindingCode::CheckpointSignature, key, "the log's key did not sign it"),
                Some(checkpoint) if checkpoint.size < recorded => {
                    let what = format!("it covers {} leaves, but {recorded} were signed", checkpoint.size);
                    self.found(FindingCode::CheckpointRolledBack, key, what);
                }
                Some(_) => {}
            },
        }
        Ok(())
    }

    /// The rows must reach as far as the latest head; those of now, for the log may have grown since it was read.
    async fn check_tail(&mut self, heads: &BTreeMap<u64, Head>) -> Result<(), FsckError> {
        let Some(signed) = heads.values().map(|head| head.size).max() else { return Ok(()) };
        let now = sqlx::query!("select next_index from trust.log where log_id = $1", self.row.log_id)
            .fetch_one(&mut *self.row.begin(self.pool).await?)
            .await?;
        let rows = now.next_index.cast_unsigned();
        if signed > rows {
            let what = format!("{signed} leaves were signed, but the database holds {rows}");
            self.found(FindingCode::TailCut, self.row.origin.clone(), what);
        }
        Ok(())
    }
}
