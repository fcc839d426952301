use std::collections::VecDeque;

use openarchive_domain::Digest;
use openarchive_ledger::{
    Hash,
    origin::LogId,
    tiles::{RightEdge, TILE_HEIGHT, TileId},
    tree::{HashReader as _, NodeId},
};

use super::{PublishError, SigningRefusal};
use crate::{
    heads::{self, Head},
    log_rows::{self, CheckpointRow, LogRow, Nodes},
    log_state::LogName,
    shared::Shared,
};

/// Where a log stands with its checkpoints: what was signed last, and what comes next.
pub(super) struct Published {
    pub(super) row: LogRow,
    /// The tree at the latest checkpoint.
    pub(super) edge: RightEdge,
    pub(super) next_ordinal: u64,
    /// Of the head before `next_ordinal`.
    pub(super) previous: Option<Digest>,
    /// Heads that were made but whose checkpoints were not recorded: exactly these are signed next.
    pub(super) pending: VecDeque<Head>,
}

impl Published {
    /// Reads it from rows and heads, and refuses what does not fit together.
    pub(super) async fn take_up(shared: &Shared, name: &LogName) -> Result<Self, PublishError> {
        let row = log_rows::current_log(&shared.pool, name).await?.ok_or(sqlx::Error::RowNotFound)?;
        let log = row.log().clone();
        let checkpoint = log_rows::latest_checkpoint(&shared.pool, &row).await?;
        let (mut next_ordinal, mut previous) = (0, None);
        if let Some(checkpoint) = &checkpoint {
            next_ordinal = checkpoint.ordinal + 1;
            previous = Some(signed_head(shared, &row, checkpoint).await?.digest());
        }
        let size = checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.size);
        let edge = load_edge(shared, &row, size).await?;
        if let Some(checkpoint) = checkpoint
            && edge.root() != checkpoint.root
        {
            let ordinal = checkpoint.ordinal;
            return Err(SigningRefusal::OtherHistory { log: log.to_string(), ordinal, size }.into());
        }
        let pending = pending_heads(shared, &row, size, next_ordinal, previous).await?;
        Ok(Self { row, edge, next_ordinal, previous, pending })
    }

    pub(super) fn log(&self) -> &LogId {
        self.row.log()
    }
}

/// The head of a recorded checkpoint: it must be there and say the same.
async fn signed_head(
    shared: &Shared,
    row: &LogRow,
    checkpoint: &CheckpointRow,
) -> Result<Head, PublishError> {
    let (log, ordinal) = (row.log(), checkpoint.ordinal);
    let head = heads::read(&shared.objects, log, ordinal).await?;
    let head = head.ok_or_else(|| SigningRefusal::HeadMissing { log: log.to_string(), ordinal })?;
    if head.origin != row.origin || head.size != checkpoint.size || head.root != checkpoint.root {
        let size = checkpoint.size;
        return Err(SigningRefusal::OtherHistory { log: log.to_string(), ordinal, size }.into());
    }
    Ok(head)
}

/// The heads behind the latest recorded checkpoint, each of which must follow from the one before and lie within the
/// rows that are there.
async fn pending_heads(
    shared: &Shared,
    row: &LogRow,
    mut size: u64,
    next_ordinal: u64,
    mut previous: Option<Digest>,
) -> Result<VecDeque<Head>, PublishError> {
    let log = row.log();
    let mut pending = VecDeque::new();
    let ordinals = heads::ordinals(&shared.objects, log, next_ordinal.checked_sub(1)).await?;
    for (ordinal, expected) in ordinals.into_iter().zip(next_ordinal..) {
        let broken = || SigningRefusal::HeadChain { log: log.to_string(), ordinal };
        let head = heads::read(&shared.objects, log, ordinal).await?.ok_or_else(broken)?;
        let follows = ordinal == expected && head.previous == previous && head.size > size;
        if !follows || head.origin != row.origin {
            return Err(broken().into());
        }
        if head.size > row.size {
            let (signed, rows) = (head.size, row.size);
            return Err(SigningRefusal::Rewound { log: log.to_string(), ordinal, signed, rows }.into());
        }
        size = head.size;
        previous = Some(head.digest());
        pending.push_back(head);
    }
    Ok(pending)
}

/// The right edge of the tree of `size` leaves, from the rows.
async fn load_edge(shared: &Shared, row: &LogRow, size: u64) -> Result<RightEdge, PublishError> {
    let wanted = RightEdge::tiles(size).into_iter().flat_map(nodes_of);
    let nodes = log_rows::nodes(&shared.pool, row, wanted).await?;
    let mut tiles = Vec::new();
    for tile in RightEdge::tiles(size) {
        tiles.push((tile, hashes_of(&nodes, tile)?));
    }
    let find = |id| tiles.iter().find(|(tile, _)| *tile == id).map(|(_, hashes)| hashes.clone());
    let edge = RightEdge::load(size, |id| find(id).unwrap_or_default());
    Ok(edge.expect("every tile of the edge was read with as many hashes as it is wide"))
}

/// The subtrees whose hashes a tile holds.
fn nodes_of(tile: TileId) -> impl Iterator<Item = NodeId> {
    let first = tile.index * 256;
    (first..first + u64::from(tile.width)).map(move |index| NodeId { level: tile.level * TILE_HEIGHT, index })
}

fn hashes_of(nodes: &Nodes, tile: TileId) -> Result<Vec<Hash>, PublishError> {
    let hashes: Result<Vec<Hash>, _> = nodes_of(tile).map(|node| nodes.hash(node)).collect();
    hashes.map_err(|damage| PublishError::Rows(damage.into()))
}
