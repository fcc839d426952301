use std::{
    fmt::{self, Write as _},
    str::FromStr,
};

use super::{BundleId, TILE_LEVEL_MAX, TILE_WIDTH, TileId};

/// A path that names no tile and no bundle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path:?} is not a path of a tile or entry bundle (C2SP tlog-tiles)")]
pub struct PathError {
    pub path: String,
}

/// `tile/<L>/<N>[.p/<W>]`, relative to the log's prefix.
impl fmt::Display for TileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tile/{}/{}", self.level, index_and_width(self.index, self.width))
    }
}

/// `tile/entries/<N>[.p/<W>]`, relative to the log's prefix.
impl fmt::Display for BundleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tile/entries/{}", index_and_width(self.index, self.width))
    }
}

impl FromStr for TileId {
    type Err = PathError;

    fn from_str(path: &str) -> Result<Self, PathError> {
        let parse = || {
            let (level, rest) = path.strip_prefix("tile/")?.split_once('/')?;
            let level: u8 = level.parse().ok().filter(|level| *level <= TILE_LEVEL_MAX)?;
            let (index, width) = parse_index_and_width(rest)?;
            Some(Self { level, index, width })
        };
        written_back(path, parse())
    }
}

impl FromStr for BundleId {
    type Err = PathError;

    fn from_str(path: &str) -> Result<Self, PathError> {
        let parse = || {
            let (index, width) = parse_index_and_width(path.strip_prefix("tile/entries/")?)?;
            Some(Self { index, width })
        };
        written_back(path, parse())
    }
}

/// Whatever was read must be written in exactly this way: no second path for one tile.
fn written_back<T: fmt::Display>(path: &str, parsed: Option<T>) -> Result<T, PathError> {
    parsed.filter(|id| id.to_string() == path).ok_or_else(|| PathError { path: path.to_owned() })
}

/// Groups of three digits, all but the last preceded by `x`: 1234067 is `x001/x234/067`.
fn index_and_width(index: u64, width: u16) -> String {
    let mut path = format!("{:03}", index % 1000);
    let mut rest = index / 1000;
    while rest > 0 {
        path = format!("x{:03}/{path}", rest % 1000);
        rest /= 1000;
    }
    if width < TILE_WIDTH {
        let _ = write!(path, ".p/{width}"); // writing to a String cannot fail
    }
    path
}

fn parse_index_and_width(text: &str) -> Option<(u64, u16)> {
    let (groups, width) = match text.split_once(".p/") {
        Some((groups, width)) => (groups, width.parse().ok().filter(|w| (1..TILE_WIDTH).contains(w))?),
        None => (text, TILE_WIDTH),
    };
    let mut index: u64 = 0;
    for group in groups.split('/') {
        let digits = group.strip_prefix('x').unwrap_or(group);
        index = index.checked_mul(1000)?.checked_add(digits.parse().ok()?)?;
    }
    // The last hash of the tile must still have an index.
    index.checked_mul(u64::from(TILE_WIDTH))?;
    Some((index, width))
}
