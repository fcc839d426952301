use openarchive_domain::Clock;
use openarchive_ledger::{
    checkpoint::Checkpoint,
    tiles::{BundleId, TILE_WIDTH},
};
use openarchive_schema::begin;
use sqlx::PgPool;

use super::{LogFailure, RebuildError, survey::Survey};
use crate::{
    finding::{FindingCode, Progress},
    frontier::Frontier,
    keys::Keys,
    leaf_key,
    log_rows::{LogRow, rows_of},
    sequencer::{LeafRows, NewLeaf, frontier_of, write_group},
};

/// Writes the rows of a surveyed log that are not there yet, and its latest checkpoint. Answers how many leaves were
/// added.
pub(super) async fn replay(
    pool: &PgPool,
    keys: &Keys,
    clock: &dyn Clock,
    survey: &Survey,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<u64, LogFailure> {
    let row = match &survey.row {
        Some(row) => row.clone(),
        None => insert_log(pool, keys, survey).await?,
    };
    let added = append_leaves(pool, survey, &row, progress).await?;
    sign_again(pool, keys, clock, survey, &row).await?;
    Ok(added)
}

async fn insert_log(pool: &PgPool, keys: &Keys, survey: &Survey) -> Result<LogRow, LogFailure> {
    let (origin, log) = (&survey.origin, survey.origin.log());
    let verifier_key = keys.verifier(origin).to_string();
    let epoch = i32::try_from(log.epoch()).map_err(|_| {
        LogFailure::damaged(FindingCode::LogMissing, origin, "its epoch is beyond what the database can hold")
    })?;
    let mut tx = begin(pool, rows_of(log.owner())).await?;
    let inserted = sqlx::query!(
        "insert into trust.log (tenant, stream, epoch, origin, verifier_key) values ($1, $2, $3, $4, $5)
         returning log_id",
        log.owner().as_str(),
        log.stream(),
        epoch,
        origin.to_string(),
        verifier_key,
    )
    .fetch_one(&mut *tx)
    .await?;
    tx.commit().await?;
    let last_time = openarchive_domain::Timestamp::from_millis(0);
    Ok(LogRow { log_id: inserted.log_id, origin: origin.clone(), verifier_key, size: 0, last_time })
}

/// A bundle a statement, from where the rows end.
async fn append_leaves(
    pool: &PgPool,
    survey: &Survey,
    row: &LogRow,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<u64, LogFailure> {
    let mut frontier: Frontier = frontier_of(pool, row).await.map_err(LogFailure::of_rows)?;
    while frontier.size() < survey.size {
        let bundle = BundleId::holding(frontier.size(), survey.size)
            .expect("the loop's condition: the leaf is among those surveyed");
        let leaves = survey.objects.bundle(bundle).await.map_err(LogFailure::of_tile)?;
        let known = (frontier.size() % u64::from(TILE_WIDTH)) as usize;
        let mut new = Vec::with_capacity(leaves.len());
        for body in leaves.into_iter().skip(known) {
            let (Ok(key), Ok(time)) = (leaf_key::of_leaf(&body), leaf_key::time_of(&body)) else {
                let place = survey.objects.key(&bundle);
                return Err(LogFailure::damaged(
                    FindingCode::BundleDiffers,
                    place,
                    "it changed since it was surveyed",
                ));
            };
            new.push((NewLeaf { key, body }, time));
        }
        let mut rows = LeafRows::default();
        rows.add_log(row.log_id, &mut frontier, new);
        let mut tx = row.begin(pool).await?;
        write_group(&mut tx, &rows).await.map_err(RebuildError::from)?;
        tx.commit().await?;
        progress(Progress { log: survey.origin.to_string(), done: frontier.size(), total: survey.size });
    }
    Ok(survey.size.saturating_sub(row.size))
}

/// Signs exactly the latest head again, which is always allowed, records the checkpoint, and publishes it if an
/// older one stands there.
async fn sign_again(
    pool: &PgPool,
    keys: &Keys,
    clock: &dyn Clock,
    survey: &Survey,
    row: &LogRow,
) -> Result<(), LogFailure> {
    let Some((ordinal, head)) = &survey.head else { return Ok(()) };
    let checkpoint = Checkpoint { origin: survey.origin.to_string(), size: head.size, root: head.root };
    let note = checkpoint
        .sign(&keys.signer(&survey.origin))
        .expect("an origin has no newline, so its checkpoint reads back")
        .to_string();
    if !survey.checkpoint_is_current {
        survey.objects.write_checkpoint(&note).await?;
    }
    let mut tx = row.begin(pool).await?;
    sqlx::query!(
        "insert into trust.checkpoint (log_id, ordinal, size, root, note, published_at)
         values ($1, $2, $3, $4, $5, $6) on conflict do nothing",
        row.log_id,
        ordinal.cast_signed(),
        head.size.cast_signed(),
        &head.root.as_bytes()[..],
        note,
        clock.now().as_millis(),
    )
    .execute(&mut *tx)
    .await?;
    Ok(tx.commit().await?)
}
