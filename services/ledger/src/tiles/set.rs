use std::collections::{BTreeMap, BTreeSet};

use super::{TILE_HEIGHT, TILE_LEVEL_MAX, TILE_WIDTH, TileId, hashes_at};
use crate::tree::{Hash, HashReader, NodeId, Range, root_of};

/// Bytes that are no tile, or a hash that no tile here holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TileError {
    #[error("{tile} has {bytes} bytes where {expected} are expected")]
    Length { tile: TileId, bytes: usize, expected: usize },
    #[error("no tile at hand holds the complete subtree {} of level {}", .node.index, .node.level)]
    Missing { node: NodeId },
}

/// Tiles in memory, answering for every complete subtree that they span.
#[derive(Debug, Clone, Default)]
pub struct TileSet {
    /// By level and index; the widest one seen.
    tiles: BTreeMap<(u8, u64), Vec<Hash>>,
}

impl TileSet {
    /// Adds the stored bytes of a tile: 32 for each hash.
    pub fn insert_bytes(&mut self, tile: TileId, bytes: &[u8]) -> Result<(), TileError> {
        let expected = usize::from(tile.width) * 32;
        let (hashes, rest) = bytes.as_chunks::<32>();
        if bytes.len() != expected || !rest.is_empty() {
            return Err(TileError::Length { tile, bytes: bytes.len(), expected });
        }
        self.insert(tile.level, tile.index, hashes.iter().copied().map(Hash::from_bytes).collect());
        Ok(())
    }

    /// Adds the hashes of tile `index` of `level`. A wider tile replaces a narrower one.
    pub fn insert(&mut self, level: u8, index: u64, hashes: Vec<Hash>) {
        let held = self.tiles.entry((level, index)).or_default();
        if hashes.len() > held.len() {
            *held = hashes;
        }
    }
}

impl HashReader for TileSet {
    type Error = TileError;

    fn hash(&self, node: NodeId) -> Result<Hash, TileError> {
        let missing = TileError::Missing { node };
        let (tile_level, height) = (node.level / TILE_HEIGHT, node.level % TILE_HEIGHT);
        let first = node.index.checked_mul(1 << height).ok_or(missing)?;
        let tile = self.tiles.get(&(tile_level, first / u64::from(TILE_WIDTH))).ok_or(missing)?;
        let start = (first % u64::from(TILE_WIDTH)) as usize;
        tile.get(start..start + (1 << height)).map(root_of).ok_or(missing)
    }
}

/// The tiles, as wide as a tree of `size` leaves makes them, that hold what a proof plan reads. Sorted, each once.
pub fn tiles_of_plan(plan: &[Range], size: u64) -> Vec<TileId> {
    let nodes = plan.iter().flat_map(|range| range.nodes());
    let tiles: BTreeSet<TileId> = nodes
        .filter_map(|node| {
            let (level, height) = (node.level / TILE_HEIGHT, node.level % TILE_HEIGHT);
            TileId::holding(level, node.index << height, size)
        })
        .collect();
    tiles.into_iter().collect()
}

/// All tiles of a tree of `size` leaves, full and partial, lowest level first.
pub fn tiles_of_tree(size: u64) -> impl Iterator<Item = TileId> {
    (0..=TILE_LEVEL_MAX).flat_map(move |level| {
        let positions = 0..hashes_at(level, size).div_ceil(TILE_WIDTH.into());
        positions.filter_map(move |index| TileId::holding(level, index * u64::from(TILE_WIDTH), size))
    })
}
