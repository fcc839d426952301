use super::{TILE_LEVEL_MAX, TILE_WIDTH, TileId, hashes_at};
use crate::tree::{Hash, Peaks, empty_root, root_of};

/// A tile that a growth produced, ready to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenTile {
    pub id: TileId,
    pub hashes: Vec<Hash>,
}

impl WrittenTile {
    /// Its stored bytes: 32 for each hash.
    pub fn bytes(&self) -> Vec<u8> {
        self.hashes.iter().flat_map(Hash::as_bytes).copied().collect()
    }
}

/// Partial tiles that do not make the right edge of the tree they are said to belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("tile level {level} of a tree of {size} leaves has {expected} hashes at its right edge, not {found}")]
pub struct EdgeError {
    pub level: u8,
    pub size: u64,
    pub found: usize,
    pub expected: usize,
}

/// The partial tiles of a tree, one for each level: all that is needed to append leaves and to know the root.
/// At most 8 x 255 hashes, whatever the size.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RightEdge {
    size: u64,
    /// By level; each shorter than a full tile.
    levels: Vec<Vec<Hash>>,
}

impl RightEdge {
    /// The edge of the empty tree.
    pub fn empty() -> Self {
        Self::default()
    }

    /// The tiles that [`RightEdge::load`] needs for a tree of `size` leaves: its partial ones.
    pub fn tiles(size: u64) -> Vec<TileId> {
        let partial = |level| {
            let hashes = hashes_at(level, size);
            let width = (hashes % u64::from(TILE_WIDTH)) as u16;
            (width > 0).then_some(TileId { level, index: hashes / u64::from(TILE_WIDTH), width })
        };
        (0..=TILE_LEVEL_MAX).filter_map(partial).collect()
    }

    /// Takes up a tree of `size` leaves from its partial tiles: `tile(id)` gives the hashes of each tile of
    /// [`RightEdge::tiles`].
    pub fn load(size: u64, mut tile: impl FnMut(TileId) -> Vec<Hash>) -> Result<Self, EdgeError> {
        let mut levels = vec![Vec::new(); usize::from(TILE_LEVEL_MAX) + 1];
        for id in Self::tiles(size) {
            let hashes = tile(id);
            let expected = usize::from(id.width);
            if hashes.len() != expected {
                return Err(EdgeError { level: id.level, size, found: hashes.len(), expected });
            }
            levels[usize::from(id.level)] = hashes;
        }
        Ok(Self { size, levels })
    }

    /// Leaves in the tree.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The root of the tree.
    pub fn root(&self) -> Hash {
        let mut right = None;
        for hashes in &self.levels {
            let mut peaks = Peaks::default();
            for hash in hashes {
                peaks.push(*hash);
            }
            right = peaks.fold(right);
        }
        right.unwrap_or_else(empty_root)
    }

    /// Appends leaf hashes and answers every tile that this growth writes (see [`super::growth`]), full ones and the
    /// new partial ones, lowest level first.
    pub fn append(&mut self, leaf_hashes: &[Hash]) -> Vec<WrittenTile> {
        let old = self.size;
        let mut written = Vec::new();
        for hash in leaf_hashes {
            self.push(0, *hash, &mut written);
            self.size += 1;
        }
        for id in Self::tiles(self.size) {
            if hashes_at(id.level, self.size) > hashes_at(id.level, old) {
                written.push(WrittenTile { id, hashes: self.levels[usize::from(id.level)].clone() });
            }
        }
        written.sort_by_key(|tile| tile.id);
        written
    }

    fn push(&mut self, level: u8, hash: Hash, written: &mut Vec<WrittenTile>) {
        if self.levels.len() <= usize::from(level) {
            self.levels.resize(usize::from(level) + 1, Vec::new());
        }
        let hashes = &mut self.levels[usize::from(level)];
        hashes.push(hash);
        if hashes.len() == usize::from(TILE_WIDTH) {
            let hashes = std::mem::take(hashes);
            let parent = root_of(&hashes);
            // `self.size` is still the size before this leaf, which is the last one of the tile.
            let index = hashes_at(level, self.size) / u64::from(TILE_WIDTH);
            written.push(WrittenTile { id: TileId { level, index, width: TILE_WIDTH }, hashes });
            self.push(level + 1, parent, written);
        }
    }
}
