use openarchive_domain::Timestamp;
use openarchive_ledger::tree::leaf_hash;
use sqlx::PgConnection;

use super::NewLeaf;
use crate::frontier::Frontier;

/// The rows that a group adds, of one log or of several: a column each, ready for `unnest`.
#[derive(Debug, Default)]
pub(crate) struct LeafRows {
    logs: Logs,
    leaves: Leaves,
    nodes: Nodes,
}

#[derive(Debug, Default)]
struct Logs {
    log_id: Vec<i64>,
    expected_index: Vec<i64>,
    next_index: Vec<i64>,
    last_time: Vec<i64>,
}

#[derive(Debug, Default)]
struct Leaves {
    log_id: Vec<i64>,
    leaf_index: Vec<i64>,
    body: Vec<Vec<u8>>,
    leaf_hash: Vec<Vec<u8>>,
    key: Vec<Vec<u8>>,
    recorded_at: Vec<i64>,
}

#[derive(Debug, Default)]
struct Nodes {
    log_id: Vec<i64>,
    level: Vec<i16>,
    node_index: Vec<i64>,
    hash: Vec<Vec<u8>>,
}

impl LeafRows {
    /// Adds the leaves of one log, each with its time, behind what `frontier` holds, and moves `frontier` on.
    pub(crate) fn add_log(
        &mut self,
        log_id: i64,
        frontier: &mut Frontier,
        leaves: impl IntoIterator<Item = (NewLeaf, Timestamp)>,
    ) {
        let expected = frontier.size().cast_signed();
        let mut last_time = None;
        for (leaf, time) in leaves {
            let hash = leaf_hash(&leaf.body);
            self.leaves.log_id.push(log_id);
            self.leaves.leaf_index.push(frontier.size().cast_signed());
            self.leaves.body.push(leaf.body);
            self.leaves.leaf_hash.push(hash.as_bytes().to_vec());
            self.leaves.key.push(leaf.key.as_bytes().to_vec());
            self.leaves.recorded_at.push(time.as_millis());
            last_time = Some(time.as_millis());
            let nodes = &mut self.nodes;
            frontier.push(hash, |node, hash| {
                nodes.log_id.push(log_id);
                nodes.level.push(node.level.into());
                nodes.node_index.push(node.index.cast_signed());
                nodes.hash.push(hash.as_bytes().to_vec());
            });
        }
        if let Some(last_time) = last_time {
            self.logs.log_id.push(log_id);
            self.logs.expected_index.push(expected);
            self.logs.next_index.push(frontier.size().cast_signed());
            self.logs.last_time.push(last_time);
        }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.leaves.log_id.is_empty()
    }
}

/// Why a group was not appended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GroupError {
    /// Nothing was appended to this log; to the others of the group it was.
    #[error("another sequencer appended to a log of the group")]
    Fenced,
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Appends the rows in one statement, which is one transaction: durable when this returns. The leaves of a log are
/// inserted only if its `next_index` is still the one they were planned for: that is the fence between sequencers.
pub(crate) async fn write_group(connection: &mut PgConnection, rows: &LeafRows) -> Result<(), GroupError> {
    let (logs, leaves, nodes) = (&rows.logs, &rows.leaves, &rows.nodes);
    let grown = sqlx::query!(
        r#"with grown as (
             update trust.log l set next_index = g.next_index, last_time = g.last_time
             from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[])
               as g (log_id, expected_index, next_index, last_time)
             where l.log_id = g.log_id and l.next_index = g.expected_index
             returning l.log_id
           ), new_leaves as (
             insert into trust.leaf (log_id, leaf_index, body, leaf_hash, idempotency_key, recorded_at)
             select n.log_id, n.leaf_index, n.body, n.leaf_hash, n.idempotency_key, n.recorded_at
             from unnest($5::bigint[], $6::bigint[], $7::bytea[], $8::bytea[], $9::bytea[], $10::bigint[])
               as n (log_id, leaf_index, body, leaf_hash, idempotency_key, recorded_at)
             join grown on grown.log_id = n.log_id
           ), new_nodes as (
             insert into trust.node (log_id, level, node_index, hash)
             select n.log_id, n.level, n.node_index, n.hash
             from unnest($11::bigint[], $12::smallint[], $13::bigint[], $14::bytea[])
               as n (log_id, level, node_index, hash)
             join grown on grown.log_id = n.log_id
           )
           select count(*) as "grown!" from grown"#,
        &logs.log_id,
        &logs.expected_index,
        &logs.next_index,
        &logs.last_time,
        &leaves.log_id,
        &leaves.leaf_index,
        &leaves.body,
        &leaves.leaf_hash,
        &leaves.key,
        &leaves.recorded_at,
        &nodes.log_id,
        &nodes.level,
        &nodes.node_index,
        &nodes.hash,
    )
    .fetch_one(connection)
    .await?
    .grown;
    if grown == logs.log_id.len() as i64 { Ok(()) } else { Err(GroupError::Fenced) }
}
