use openarchive_ledger::{
    Hash,
    tree::{
        ProofError, Range, TreeError, consistency_plan, consistency_proof, inclusion_plan, inclusion_proof,
    },
};
use sqlx::PgPool;

use crate::log_rows::{self, LogRow, RowDamage, RowsError};

/// Why there is no proof.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProveError {
    #[error(transparent)]
    Tree(#[from] TreeError),
    #[error(transparent)]
    Rows(#[from] RowsError),
}

impl From<ProofError<RowDamage>> for ProveError {
    fn from(error: ProofError<RowDamage>) -> Self {
        match error {
            ProofError::Tree(error) => error.into(),
            ProofError::Read(damage) => Self::Rows(damage.into()),
        }
    }
}

/// Inclusion proofs of all `indices` in the tree of `size` leaves: two queries for all of them together.
pub(crate) async fn inclusion(
    pool: &PgPool,
    log: &LogRow,
    indices: &[u64],
    size: u64,
) -> Result<Vec<Vec<Hash>>, ProveError> {
    let plans: Result<Vec<Vec<Range>>, TreeError> =
        indices.iter().map(|index| inclusion_plan(*index, size)).collect();
    let wanted = plans?.into_iter().flatten().flat_map(Range::nodes);
    let nodes = log_rows::nodes(pool, log, wanted).await?;
    indices.iter().map(|index| Ok(inclusion_proof(*index, size, &nodes)?)).collect()
}

/// The consistency proof between the trees of the first `old` and the first `new` leaves.
pub(crate) async fn consistency(
    pool: &PgPool,
    log: &LogRow,
    old: u64,
    new: u64,
) -> Result<Vec<Hash>, ProveError> {
    let wanted = consistency_plan(old, new)?.into_iter().flat_map(Range::nodes);
    let nodes = log_rows::nodes(pool, log, wanted).await?;
    Ok(consistency_proof(old, new, &nodes)?)
}

#[cfg(test)]
mod tests {
    use openarchive_domain::{Digest, Timestamp};
    use openarchive_ledger::tree::{leaf_hash, root_of, verify_consistency, verify_inclusion};
    use openarchive_testkit::database::TestDatabase;
    use sqlx::PgConnection;

    use super::*;
    use crate::{
        frontier::Frontier,
        log_state::LogName,
        sequencer::{GroupError, LeafRows, NewLeaf, write_group},
    };

    async fn log_in(pool: &PgPool) -> LogRow {
        openarchive_schema::migrate(pool).await.unwrap();
        sqlx::query!(
            "insert into trust.log (tenant, stream, origin, verifier_key)
             values ('acme', 'evidence', 'a.example/main/acme/evidence/1', '')"
        )
        .execute(pool)
        .await
        .unwrap();
        let name = LogName::parse("acme", "evidence").unwrap();
        log_rows::current_log(pool, &name).await.unwrap().unwrap()
    }

    async fn append(
        connection: &mut PgConnection,
        log: &LogRow,
        frontier: &mut Frontier,
        leaves: std::ops::Range<u64>,
    ) -> Result<(), GroupError> {
        let leaf = |index: u64| {
            let body = index.to_be_bytes().to_vec();
            (NewLeaf { key: Digest::of(&body), body }, Timestamp::from_millis(0))
        };
        let mut rows = LeafRows::default();
        rows.add_log(log.log_id, frontier, leaves.map(leaf));
        write_group(connection, &rows).await
    }

    #[tokio::test]
    async fn proofs_from_the_rows_hold_at_every_size_up_to_600() {
        let database = TestDatabase::start();
        let pool = PgPool::connect(&database.url()).await.unwrap();
        let log = log_in(&pool).await;
        let mut connection = pool.acquire().await.unwrap();
        let mut frontier = Frontier::default();
        let hashes: Vec<Hash> = (0..600u64).map(|index| leaf_hash(&index.to_be_bytes())).collect();
        for size in 1..=600u64 {
            append(&mut connection, &log, &mut frontier, size - 1..size).await.unwrap();
            let root = root_of(&hashes[..size as usize]);
            assert_eq!(frontier.root(), root);
            let indices: Vec<u64> =
                (0..size).filter(|i| i % 37 == size % 37 || i + 1 == size || *i == 0).collect();
            let proofs = inclusion(&pool, &log, &indices, size).await.unwrap();
            for (index, proof) in indices.iter().zip(proofs) {
                verify_inclusion(&hashes[*index as usize], *index, size, &proof, &root).unwrap();
            }
            for old in [0, size / 3, size / 2, size - 1, size] {
                let proof = consistency(&pool, &log, old, size).await.unwrap();
                verify_consistency(old, &root_of(&hashes[..old as usize]), size, &root, &proof).unwrap();
            }
        }
        // All of one tree, at once.
        let indices: Vec<u64> = (0..600).collect();
        for (index, proof) in indices.iter().zip(inclusion(&pool, &log, &indices, 600).await.unwrap()) {
            verify_inclusion(&hashes[*index as usize], *index, 600, &proof, &root_of(&hashes)).unwrap();
        }
        assert!(matches!(inclusion(&pool, &log, &[600], 600).await, Err(ProveError::Tree(_))));
    }

    #[tokio::test]
    async fn of_two_sequencers_at_one_place_exactly_one_appends() {
        let database = TestDatabase::start();
        let pool = PgPool::connect(&database.url()).await.unwrap();
        let log = log_in(&pool).await;
        for round in 0..20u64 {
            let size = round * 3;
            let both = std::sync::Arc::new(tokio::sync::Barrier::new(2));
            let writers = [0, 1].map(|writer| {
                let (pool, log, both) = (pool.clone(), log.clone(), both.clone());
                tokio::spawn(async move {
                    let mut connection = pool.acquire().await.unwrap();
                    let name = LogName::parse("acme", "evidence").unwrap();
                    let row = log_rows::current_log(&pool, &name).await.unwrap().unwrap();
                    assert_eq!(row.size, size);
                    let mut frontier = crate::sequencer::frontier_of(&pool, &row).await.unwrap();
                    let first = round * 1000 + writer * 500;
                    both.wait().await;
                    append(&mut connection, &log, &mut frontier, first..first + 3).await
                })
            });
            let mut appended = 0;
            for writer in writers {
                match writer.await.unwrap() {
                    Ok(()) => appended += 1,
                    Err(error) => assert!(matches!(error, GroupError::Fenced), "{error}"),
                }
            }
            assert_eq!(appended, 1);
        }
        let rows =
            sqlx::query!(r#"select count(*) as "leaves!" from trust.leaf"#).fetch_one(&pool).await.unwrap();
        assert_eq!(rows.leaves, 60);
    }
}
