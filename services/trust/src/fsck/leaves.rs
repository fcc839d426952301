use std::collections::BTreeMap;

use openarchive_domain::Timestamp;
use openarchive_ledger::{
    Hash,
    tiles::{BundleId, RightEdge, TILE_WIDTH, TileId, WrittenTile},
    tree::{HashReader as _, NodeId, leaf_hash},
};

use super::{FsckError, LogCheck, Read, history::History, tile_or_finding};
use crate::{
    finding::{FindingCode, Progress},
    frontier::Frontier,
    leaf_key, log_rows,
};

/// Leaves between two reports of progress.
const PROGRESS_LEAVES: u64 = 16 * 256;

/// A walk over all leaves of a log, 256 at a time.
#[derive(Default)]
struct Walk {
    frontier: Frontier,
    last_time: Option<Timestamp>,
    /// The tree as far as it was published.
    edge: RightEdge,
    /// The latest form of each partial tile.
    partial: BTreeMap<(u8, u64), WrittenTile>,
}

struct LeafRow {
    index: u64,
    body: Vec<u8>,
    hash: Hash,
    key: Vec<u8>,
    recorded_at: i64,
}

impl LogCheck<'_> {
    pub(super) async fn check_leaves(
        &mut self,
        history: &History,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<(), FsckError> {
        let mut walk = Walk::default();
        while walk.frontier.size() < self.row.size {
            let first = walk.frontier.size();
            if first.is_multiple_of(PROGRESS_LEAVES) {
                progress(Progress { log: self.log().to_string(), done: first, total: self.row.size });
            }
            let leaves = self.read_leaves(first).await?;
            let end = self.row.size.min(first + u64::from(TILE_WIDTH));
            let gap = (first..end)
                .find(|index| leaves.get((index - first) as usize).is_none_or(|l| l.index != *index));
            if let Some(missing) = gap {
                let place = format!("leaf {missing} of log {}", self.log());
                self.found(FindingCode::RowMissing, place, "the row is missing; what follows is not checked");
                return Ok(());
            }
            self.check_rows(&mut walk, &leaves, history).await?;
            self.check_bundle(&leaves, history.published).await?;
            self.check_tiles(&mut walk, &leaves, history.published).await?;
        }
        for tile in std::mem::take(&mut walk.partial).into_values() {
            self.check_tile(tile).await?;
        }
        progress(Progress { log: self.log().to_string(), done: self.row.size, total: self.row.size });
        Ok(())
    }

    async fn read_leaves(&self, first: u64) -> Result<Vec<LeafRow>, FsckError> {
        let end = self.row.size.min(first + u64::from(TILE_WIDTH));
        let rows = sqlx::query!(
            "select leaf_index, body, leaf_hash, idempotency_key, recorded_at from trust.leaf
             where log_id = $1 and leaf_index >= $2 and leaf_index < $3 order by leaf_index",
            self.row.log_id,
            first.cast_signed(),
            end.cast_signed(),
        )
        .fetch_all(&mut *self.row.begin(self.pool).await?)
        .await?;
        rows.into_iter()
            .map(|row| {
                Ok(LeafRow {
                    index: row.leaf_index.cast_unsigned(),
                    hash: log_rows::hash(&self.row, &row.leaf_hash)?,
                    body: row.body,
                    key: row.idempotency_key,
                    recorded_at: row.recorded_at,
                })
            })
            .collect()
    }

    /// Rows within themselves, the complete subtrees that they end, and the roots that were signed over them.
    async fn check_rows(
        &mut self,
        walk: &mut Walk,
        leaves: &[LeafRow],
        history: &History,
    ) -> Result<(), FsckError> {
        let mut completed: Vec<(NodeId, Hash)> = Vec::new();
        for leaf in leaves {
            self.check_row(leaf, walk.last_time);
            walk.last_time = Some(Timestamp::from_millis(leaf.recorded_at));
            // The recorded hash goes into the tree: a changed body alone is one finding, not one at every level.
            walk.frontier.push(leaf.hash, |node, hash| completed.push((node, hash)));
            let size = walk.frontier.size();
            if let Some((ordinal, root)) = history.roots.get(&size)
                && walk.frontier.root() != *root
            {
                let what = format!("the rows do not have the root that was signed at {size} leaves");
                let place = crate::heads::key(self.log(), *ordinal);
                self.found(FindingCode::HeadDiffers, place, what);
            }
        }
        let nodes = log_rows::nodes(self.pool, &self.row, completed.iter().map(|(node, _)| *node)).await?;
        for (node, expected) in completed {
            if nodes.hash(node) != Ok(expected) {
                let place = format!("subtree {} of level {} of log {}", node.index, node.level, self.log());
                self.found(FindingCode::Node, place, "the row is missing or holds another hash");
            }
        }
        Ok(())
    }

    fn check_row(&mut self, leaf: &LeafRow, last_time: Option<Timestamp>) {
        let place = format!("leaf {} of log {}", leaf.index, self.log());
        if leaf_hash(&leaf.body) != leaf.hash {
            self.found(FindingCode::RowChanged, place, "the row does not hash to its recorded hash");
            return;
        }
        let recorded = Timestamp::from_millis(leaf.recorded_at);
        if leaf_key::time_of(&leaf.body) != Ok(recorded) {
            self.found(FindingCode::RowTime, &place, "its time is not the recorded one");
        } else if last_time.is_some_and(|last| recorded < last) {
            self.found(FindingCode::RowTime, &place, "its time lies before that of the leaf before it");
        }
        if !leaf_key::of_leaf(&leaf.body).is_ok_and(|key| key.as_bytes()[..] == leaf.key[..]) {
            self.found(FindingCode::RowKey, &place, "its idempotency key is not the one of its content");
        }
    }

    /// The published bundle of these leaves, which begin one.
    async fn check_bundle(&mut self, leaves: &[LeafRow], published: u64) -> Result<(), FsckError> {
        let Some(bundle) = leaves.first().and_then(|leaf| BundleId::holding(leaf.index, published)) else {
            return Ok(());
        };
        let read = self.objects.bundle(bundle).await;
        match tile_or_finding(read, FindingCode::BundleMissing, FindingCode::BundleDiffers)? {
            Read::Wrong(finding) => self.findings.push(finding),
            Read::Fine(entries) => {
                let differs = entries.iter().zip(leaves).find(|(entry, leaf)| **entry != leaf.body);
                if let Some((_, leaf)) = differs {
                    let what = format!("it holds another leaf {} than the database", leaf.index);
                    self.found(FindingCode::BundleDiffers, self.objects.key(&bundle), what);
                }
            }
        }
        Ok(())
    }

    /// The published tiles that these leaves fill.
    async fn check_tiles(
        &mut self,
        walk: &mut Walk,
        leaves: &[LeafRow],
        published: u64,
    ) -> Result<(), FsckError> {
        let covered = leaves.iter().filter(|leaf| leaf.index < published);
        let hashes: Vec<Hash> = covered.map(|leaf| leaf.hash).collect();
        for tile in walk.edge.append(&hashes) {
            let place = (tile.id.level, tile.id.index);
            if tile.id.is_full() {
                walk.partial.remove(&place);
                self.check_tile(tile).await?;
            } else {
                walk.partial.insert(place, tile);
            }
        }
        Ok(())
    }

    async fn check_tile(&mut self, tile: WrittenTile) -> Result<(), FsckError> {
        let id: TileId = tile.id;
        let read = self.objects.tile(id).await;
        match tile_or_finding(read, FindingCode::TileMissing, FindingCode::TileDiffers)? {
            Read::Wrong(finding) => self.findings.push(finding),
            Read::Fine(hashes) if hashes == tile.hashes => {}
            Read::Fine(_) => {
                self.found(
                    FindingCode::TileDiffers,
                    self.objects.key(&id),
                    "it holds other hashes than the rows",
                );
            }
        }
        Ok(())
    }
}
