use futures::{StreamExt as _, TryStreamExt as _};
use openarchive_domain::Timestamp;
use openarchive_ledger::{
    Hash,
    tiles::{BundleId, RightEdge, TILE_WIDTH, TileId, TileSet, encode_bundle, growth, tiles_of_plan},
    tree::{Range, leaf_hash, root_at, root_of},
};
use openarchive_objects::ObjectError;
use sqlx::PgPool;

use super::{PublishError, SigningRefusal};
use crate::{
    log_objects::{LogObjects, TileReadError},
    log_rows::{self, LogRow},
};

/// Objects that are written or read at the same time.
const CONCURRENT_OBJECTS: usize = 8;

/// Writes everything that the growth from `edge` to `size` needs: bundles as their leaves are read, 256 at a time,
/// then tiles; what is full is locked until `lock`. `edge` is at `size` afterwards. Safe to repeat.
pub(super) async fn write_growth(
    pool: &PgPool,
    objects: &LogObjects,
    row: &LogRow,
    edge: &mut RightEdge,
    size: u64,
    lock: Timestamp,
) -> Result<(), PublishError> {
    let old = edge.size();
    let growth = growth(old, size);
    let mut tiles = Vec::new();
    for bundle in growth.bundles {
        let leaves = read_leaves(pool, row, bundle).await?;
        let new = old.max(bundle.first_entry()) - bundle.first_entry();
        let hashes: Vec<Hash> = leaves[new as usize..].iter().map(|leaf| leaf_hash(leaf)).collect();
        // Partial tiles on the way are of no checkpoint.
        tiles.extend(edge.append(&hashes).into_iter().filter(|tile| growth.tiles.contains(&tile.id)));
        let bytes = encode_bundle(&leaves).expect("1 to 256 leaves of at most 65,535 bytes: the row's check");
        write(objects, &bundle, bundle.is_full().then_some(lock), bytes).await?;
    }
    futures::stream::iter(tiles)
        .map(|tile| async move {
            write(objects, &tile.id, tile.id.is_full().then_some(lock), tile.bytes()).await
        })
        .buffer_unordered(CONCURRENT_OBJECTS)
        .try_collect()
        .await
}

async fn write(
    objects: &LogObjects,
    path: &impl std::fmt::Display,
    full_until: Option<Timestamp>,
    bytes: Vec<u8>,
) -> Result<(), PublishError> {
    match objects.write(path, full_until, bytes).await {
        Err(ObjectError::Exists { key }) => Err(SigningRefusal::ObjectDiffers { key }.into()),
        other => Ok(other?),
    }
}

/// The leaves of a bundle, each of which hashes to what its row says.
async fn read_leaves(pool: &PgPool, row: &LogRow, bundle: BundleId) -> Result<Vec<Vec<u8>>, PublishError> {
    let first = bundle.first_entry();
    let rows = sqlx::query!(
        "select leaf_index, body, leaf_hash from trust.leaf
         where log_id = $1 and leaf_index >= $2 and leaf_index < $3 order by leaf_index",
        row.log_id,
        first.cast_signed(),
        (first + u64::from(bundle.width)).cast_signed(),
    )
    .fetch_all(&mut *row.begin(pool).await?)
    .await?;
    let changed = |index| SigningRefusal::RowChanged { log: row.log().to_string(), index };
    let mut leaves = Vec::with_capacity(rows.len());
    for (found, index) in rows.into_iter().zip(first..) {
        let same = leaf_hash(&found.body).as_bytes()[..] == found.leaf_hash[..];
        if !same || found.leaf_index.cast_unsigned() != index {
            return Err(changed(index).into());
        }
        leaves.push(found.body);
    }
    if leaves.len() != usize::from(bundle.width) {
        return Err(changed(first + leaves.len() as u64).into());
    }
    Ok(leaves)
}

/// Computes the root of the tree of `size` leaves from what stands in the object store: everything that the growth
/// from `old` wrote is read back and hashed, and must lead to the rows' own root.
pub(super) async fn prove_written(
    pool: &PgPool,
    objects: &LogObjects,
    row: &LogRow,
    old: u64,
    size: u64,
) -> Result<Hash, PublishError> {
    let whole = Range { start: 0, end: size };
    let growth = growth(old, size);
    let mut wanted = growth.tiles.clone();
    wanted.extend(tiles_of_plan(&[whole], size));
    wanted.sort_unstable();
    wanted.dedup();
    let read: Vec<(TileId, Vec<Hash>)> = futures::stream::iter(wanted)
        .map(|tile| async move { Ok::<_, TileReadError>((tile, objects.tile(tile).await?)) })
        .buffered(CONCURRENT_OBJECTS)
        .try_collect()
        .await?;
    for bundle in growth.bundles {
        let tile = TileId { level: 0, index: bundle.index, width: bundle.width };
        let hashes: Vec<Hash> = objects.bundle(bundle).await?.iter().map(|leaf| leaf_hash(leaf)).collect();
        if hash_of_tile(&read, tile) != Some(hashes.as_slice()) {
            return Err(SigningRefusal::ObjectDiffers { key: objects.key(&bundle) }.into());
        }
    }
    check_parents(objects, &read)?;
    let mut set = TileSet::default();
    for (tile, hashes) in read {
        set.insert(tile.level, tile.index, hashes);
    }
    let differs = || SigningRefusal::RootDiffers { log: row.log().to_string(), size };
    let root = root_at(size, &set).map_err(|_| differs())?;
    let nodes = log_rows::nodes(pool, row, whole.nodes()).await?;
    let of_rows = root_at(size, &nodes).map_err(log_rows::RowsError::from)?;
    if root == of_rows { Ok(root) } else { Err(differs().into()) }
}

/// Every full tile must hash to its place in the tile above it.
fn check_parents(objects: &LogObjects, read: &[(TileId, Vec<Hash>)]) -> Result<(), SigningRefusal> {
    for (tile, hashes) in read.iter().filter(|(tile, _)| tile.is_full()) {
        let width = u64::from(TILE_WIDTH);
        let above =
            read.iter().find(|(above, _)| (above.level, above.index) == (tile.level + 1, tile.index / width));
        let expected = above.and_then(|(_, above)| above.get((tile.index % width) as usize));
        if expected != Some(&root_of(hashes)) {
            return Err(SigningRefusal::ObjectDiffers { key: objects.key(tile) });
        }
    }
    Ok(())
}

fn hash_of_tile(read: &[(TileId, Vec<Hash>)], wanted: TileId) -> Option<&[Hash]> {
    read.iter().find(|(tile, _)| *tile == wanted).map(|(_, hashes)| hashes.as_slice())
}

/// Removes the partial forms of what is full since `old`. They are harmless, so a failure is only told.
pub(super) async fn remove_obsolete(objects: &LogObjects, old: u64, size: u64) {
    let growth = growth(old, size);
    let full_tiles =
        growth.obsolete_tiles.iter().map(|tile| TileId { width: TILE_WIDTH, ..*tile }.to_string());
    let full_bundles =
        growth.obsolete_bundles.iter().map(|bundle| BundleId { width: TILE_WIDTH, ..*bundle }.to_string());
    for full in full_tiles.chain(full_bundles) {
        if let Err(error) = objects.remove_partial(&full).await {
            tracing::warn!(full, %error, "leaves partial tiles behind");
        }
    }
}
