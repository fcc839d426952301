//! C2SP tlog-tiles: paths, which tiles a growth writes, the tiles themselves as a source of hashes, entry bundles.

mod bundle;
mod path;
mod right_edge;
mod set;

#[cfg(test)]
mod tests;

pub use bundle::{BundleError, ENTRY_BYTES_MAX, decode_bundle, encode_bundle};
pub use path::PathError;
pub use right_edge::{EdgeError, RightEdge, WrittenTile};
pub use set::{TileError, TileSet, tiles_of_plan, tiles_of_tree};

/// Hashes in a full tile, entries in a full bundle.
pub const TILE_WIDTH: u16 = 256;
/// Tree levels that one tile spans.
pub const TILE_HEIGHT: u8 = 8;
/// Highest tile level: eight of them span 2^64 leaves.
pub const TILE_LEVEL_MAX: u8 = 7;

/// A Merkle tree tile: `width` hashes of complete subtrees of `256^level` leaves each, from `index * 256` on.
/// Partial if narrower than 256. Ordered by level, index, width.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TileId {
    pub level: u8,
    pub index: u64,
    /// 1 to 256.
    pub width: u16,
}

/// A bundle of `width` log entries from `index * 256` on. Partial if narrower than 256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BundleId {
    pub index: u64,
    /// 1 to 256.
    pub width: u16,
}

impl TileId {
    pub const fn is_full(&self) -> bool {
        self.width == TILE_WIDTH
    }

    /// The tile that holds hash `position` of `level` in a tree of `size` leaves, as wide as that tree makes it;
    /// `None` if the tree has no such hash.
    pub fn holding(level: u8, position: u64, size: u64) -> Option<Self> {
        let hashes = hashes_at(level, size);
        if position >= hashes {
            return None;
        }
        let index = position / u64::from(TILE_WIDTH);
        Some(Self { level, index, width: width_of(index, hashes) })
    }
}

impl BundleId {
    pub const fn is_full(&self) -> bool {
        self.width == TILE_WIDTH
    }

    /// The bundle that holds entry `entry` of a log of `size` entries; `None` if it has no such entry.
    pub fn holding(entry: u64, size: u64) -> Option<Self> {
        let tile = TileId::holding(0, entry, size)?;
        Some(Self { index: tile.index, width: tile.width })
    }

    /// Index of its first entry.
    pub const fn first_entry(&self) -> u64 {
        self.index * TILE_WIDTH as u64
    }
}

/// floor(size / 256^level): hashes that tiles of this level hold.
fn hashes_at(level: u8, size: u64) -> u64 {
    size.checked_shr(u32::from(TILE_HEIGHT) * u32::from(level)).unwrap_or(0)
}

/// Width of tile `index` among `hashes` hashes; `index` is within them.
fn width_of(index: u64, hashes: u64) -> u16 {
    let rest = hashes - index * u64::from(TILE_WIDTH);
    rest.min(u64::from(TILE_WIDTH)) as u16
}

/// What a log that grew from `old` to `new` entries writes, and what it may then remove.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Growth {
    /// Tiles to write before the checkpoint of `new`, lowest level first.
    pub tiles: Vec<TileId>,
    /// Bundles to write before the checkpoint of `new`.
    pub bundles: Vec<BundleId>,
    /// Partial tiles of `old` that a full one of `new` replaces: to be removed once that one is written.
    pub obsolete_tiles: Vec<TileId>,
    /// Partial bundles of `old` that a full one of `new` replaces.
    pub obsolete_bundles: Vec<BundleId>,
}

/// Which tiles and bundles a growth needs. Nothing if the log has not grown.
pub fn growth(old: u64, new: u64) -> Growth {
    let mut growth = Growth::default();
    for level in 0..=TILE_LEVEL_MAX {
        let (before, after) = (hashes_at(level, old), hashes_at(level, new));
        if after <= before {
            continue;
        }
        let width = u64::from(TILE_WIDTH);
        for index in before / width..after.div_ceil(width) {
            growth.tiles.push(TileId { level, index, width: width_of(index, after) });
        }
        if before % width != 0 && after / width > before / width {
            let index = before / width;
            growth.obsolete_tiles.push(TileId { level, index, width: width_of(index, before) });
        }
    }
    let bundles = |tiles: &[TileId]| {
        tiles.iter().filter(|t| t.level == 0).map(|t| BundleId { index: t.index, width: t.width }).collect()
    };
    growth.bundles = bundles(&growth.tiles);
    growth.obsolete_bundles = bundles(&growth.obsolete_tiles);
    growth
}
