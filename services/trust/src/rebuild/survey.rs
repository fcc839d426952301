use std::collections::BTreeMap;

use openarchive_ledger::{
    Hash,
    checkpoint::Checkpoint,
    leaf::FirstLeaf,
    origin::{LogId, Origin},
    tiles::{BundleId, RightEdge, TILE_WIDTH, WrittenTile},
    tree::leaf_hash,
};
use openarchive_objects::ObjectStore;
use sqlx::PgPool;

use super::LogFailure;
use crate::{
    finding::FindingCode,
    frontier::Frontier,
    heads::{self, Head},
    keys::Keys,
    leaf_key,
    log_objects::LogObjects,
    log_rows::{self, LogRow},
};

/// A log as its objects have it, proven whole: nothing of it was written to the database yet.
pub(super) struct Survey {
    pub(super) origin: Origin,
    pub(super) objects: LogObjects,
    /// The latest head, with its ordinal; none if the log was never published.
    pub(super) head: Option<(u64, Head)>,
    /// Leaves in the bundles: those under the head, and durable ones that were written behind it.
    pub(super) size: u64,
    /// What the database knows of the log already.
    pub(super) row: Option<LogRow>,
    /// Whether the published checkpoint is the one of the head.
    pub(super) checkpoint_is_current: bool,
}

impl Survey {
    /// Reads and hashes every bundle, compares the tiles, and demands the root of the latest head and the signature
    /// of the archive's key. `None` if the log has no leaf at all.
    pub(super) async fn of(
        pool: &PgPool,
        store: &ObjectStore,
        keys: &Keys,
        log: &LogId,
    ) -> Result<Option<Self>, LogFailure> {
        let objects = LogObjects::new(store.clone(), log);
        let head = heads::latest(store, log, None).await.map_err(LogFailure::of_head)?;
        let published = head.as_ref().map_or(0, |(_, head)| head.size);
        let bundles = list_bundles(&objects, published).await?;
        let Some(last) = bundles.last() else { return Ok(None) };
        let size = last.first_entry() + u64::from(last.width);
        let origin = first_origin(&objects, log).await?;
        if head.as_ref().is_some_and(|(_, head)| head.origin != origin) {
            return Err(LogFailure::damaged(
                FindingCode::HeadDiffers,
                log,
                "its head names another origin than leaf 0",
            ));
        }
        let row = log_rows::log_of_epoch(pool, log).await.map_err(LogFailure::of_rows)?;
        let checkpoint_is_current = check_signature(&objects, keys, &origin, head.as_ref()).await?;
        let survey = Self { origin, objects, head, size, row, checkpoint_is_current };
        survey.check_first_key(keys).await?;
        survey.check_tree(pool, &bundles, published).await?;
        Ok(Some(survey))
    }

    /// Leaf 0 must name the archive's own key.
    async fn check_first_key(&self, keys: &Keys) -> Result<(), LogFailure> {
        let first = read_first(&self.objects).await?;
        let own = keys.verifier(&self.origin);
        let recorded = self.row.as_ref().map(|row| row.verifier_key.clone());
        if first.log_key != own || recorded.is_some_and(|key| key != own.to_string()) {
            let what = "the log belongs to another signing key: restore the archive's keys";
            return Err(LogFailure::damaged(FindingCode::LogForeignKey, &self.origin, what));
        }
        Ok(())
    }

    async fn check_tree(
        &self,
        pool: &PgPool,
        bundles: &[BundleId],
        published: u64,
    ) -> Result<(), LogFailure> {
        let known = self.row.as_ref().map_or(0, |row| row.size);
        let mut walk = Walk { known, published, ..Walk::default() };
        for bundle in bundles {
            let leaves = self.objects.bundle(*bundle).await.map_err(LogFailure::of_tile)?;
            for (leaf, index) in leaves.iter().zip(bundle.first_entry()..) {
                if leaf_key::of_leaf(leaf).is_err() {
                    let what = format!("entry {index} is no leaf");
                    return Err(LogFailure::damaged(
                        FindingCode::BundleDiffers,
                        self.objects.key(bundle),
                        what,
                    ));
                }
                walk.push(leaf_hash(leaf));
            }
            for tile in walk.take_full_tiles() {
                self.check_tile(&tile).await?;
            }
        }
        for tile in std::mem::take(&mut walk.partial).into_values() {
            self.check_tile(&tile).await?;
        }
        if let Some((ordinal, head)) = &self.head
            && walk.published_root != Some(head.root)
        {
            let what = "the bundles do not have the root that was signed";
            return Err(LogFailure::damaged(
                FindingCode::HeadDiffers,
                heads::key(self.origin.log(), *ordinal),
                what,
            ));
        }
        self.check_rows(pool, &walk).await
    }

    async fn check_tile(&self, tile: &WrittenTile) -> Result<(), LogFailure> {
        if self.objects.tile(tile.id).await.map_err(LogFailure::of_tile)? == tile.hashes {
            return Ok(());
        }
        let what = "it holds other hashes than the bundles";
        Err(LogFailure::damaged(FindingCode::TileDiffers, self.objects.key(&tile.id), what))
    }

    /// Rows that are there already must be the beginning of this log.
    async fn check_rows(&self, pool: &PgPool, walk: &Walk) -> Result<(), LogFailure> {
        let Some(row) = self.row.as_ref().filter(|row| 0 < row.size && row.size <= self.size) else {
            return Ok(());
        };
        let frontier = crate::sequencer::frontier_of(pool, row).await.map_err(LogFailure::of_rows)?;
        if Some(frontier.root()) == walk.known_root {
            return Ok(());
        }
        let what = format!(
            "the database's first {} leaves are not those of the tiles: begin with an empty one",
            row.size
        );
        Err(LogFailure::damaged(FindingCode::RowChanged, &self.origin, what))
    }
}

/// The tree while the bundles are read.
#[derive(Default)]
struct Walk {
    known: u64,
    published: u64,
    frontier: Frontier,
    known_root: Option<Hash>,
    published_root: Option<Hash>,
    edge: RightEdge,
    waiting: Vec<Hash>,
    partial: BTreeMap<(u8, u64), WrittenTile>,
}

impl Walk {
    fn push(&mut self, hash: Hash) {
        self.frontier.push(hash, |_, _| {});
        let size = self.frontier.size();
        if size == self.known {
            self.known_root = Some(self.frontier.root());
        }
        if size == self.published {
            self.published_root = Some(self.frontier.root());
        }
        // Behind the head there need be no tiles.
        if size <= self.published {
            self.waiting.push(hash);
        }
    }

    /// Tiles that are full now. Partial ones are kept in their latest form.
    fn take_full_tiles(&mut self) -> Vec<WrittenTile> {
        let mut full = Vec::new();
        for tile in self.edge.append(&std::mem::take(&mut self.waiting)) {
            let place = (tile.id.level, tile.id.index);
            if tile.id.is_full() {
                self.partial.remove(&place);
                full.push(tile);
            } else {
                self.partial.insert(place, tile);
            }
        }
        full
    }
}

/// The bundles of the log, each in its widest form: all that the head covers, and what stands behind them.
async fn list_bundles(objects: &LogObjects, published: u64) -> Result<Vec<BundleId>, LogFailure> {
    let mut bundles = Vec::new();
    for index in 0.. {
        let widest = objects.widest_bundle(index).await?;
        let needed =
            BundleId::holding(index * u64::from(TILE_WIDTH), published).map_or(0, |bundle| bundle.width);
        match widest {
            Some(bundle) if bundle.width >= needed => bundles.push(bundle),
            None if needed == 0 => break,
            _ => {
                let missing = objects.key(&BundleId { index, width: needed });
                return Err(LogFailure::damaged(
                    FindingCode::BundleMissing,
                    missing,
                    "the object is missing",
                ));
            }
        }
        if widest.is_none_or(|bundle| !bundle.is_full()) {
            break;
        }
    }
    Ok(bundles)
}

async fn read_first(objects: &LogObjects) -> Result<FirstLeaf, LogFailure> {
    let widest = objects.widest_bundle(0).await?.unwrap_or(BundleId { index: 0, width: 1 });
    let leaves = objects.bundle(widest).await.map_err(LogFailure::of_tile)?;
    let first = leaves.first().and_then(|leaf| FirstLeaf::parse(leaf).ok());
    let what = "leaf 0 is not what a log begins with";
    first
        .map(|stamped| stamped.leaf)
        .ok_or_else(|| LogFailure::damaged(FindingCode::BundleDiffers, objects.key(&widest), what))
}

/// The origin that leaf 0 states, which must be one of this log.
async fn first_origin(objects: &LogObjects, log: &LogId) -> Result<Origin, LogFailure> {
    let origin = read_first(objects).await?.origin;
    if origin.log() == log {
        return Ok(origin);
    }
    Err(LogFailure::damaged(FindingCode::BundleDiffers, log, "leaf 0 is that of another log"))
}

/// The published checkpoint must be signed by the archive's key and not be newer than the latest head. Whether it is
/// the head's own.
async fn check_signature(
    objects: &LogObjects,
    keys: &Keys,
    origin: &Origin,
    head: Option<&(u64, Head)>,
) -> Result<bool, LogFailure> {
    let key = objects.checkpoint_key();
    let Some(note) = objects.read_checkpoint().await? else { return Ok(false) };
    let signed = Checkpoint::parse_signed(&note).ok().filter(|(checkpoint, note)| {
        checkpoint.origin == origin.to_string() && keys.verifier(origin).verify(note).is_ok()
    });
    let Some((checkpoint, _)) = signed else {
        let what = "the archive's key did not sign it";
        return Err(LogFailure::damaged(FindingCode::CheckpointSignature, key, what));
    };
    match head {
        Some((_, head)) if checkpoint.size < head.size => Ok(false),
        Some((_, head)) if (checkpoint.size, checkpoint.root) == (head.size, head.root) => Ok(true),
        _ => Err(LogFailure::damaged(FindingCode::HeadMissing, key, "its head is missing")),
    }
}
