use openarchive_domain::Timestamp;
use openarchive_ledger::checkpoint::Checkpoint;
use openarchive_objects::ObjectError;

use super::{PublishError, SigningRefusal, published::Published, tiles};
use crate::{
    heads::{self, Head},
    locks::locked_from_now,
    log_objects::LogObjects,
    log_state::LogState,
    shared::Shared,
};

/// Most leaves that one checkpoint adds: those who wait for the first of many need not wait for the last.
const ROUND_LEAVES_MAX: u64 = 65_536;

/// Publishes one checkpoint: of the pending head if there is one, of what is durable otherwise. Nothing if the log has
/// not grown. On an error the caller takes everything up anew.
pub(super) async fn publish(
    shared: &Shared,
    state: &LogState,
    mut published: Published,
) -> Result<Published, PublishError> {
    let old = published.edge.size();
    let size = match published.pending.front() {
        Some(head) => head.size,
        None => (*state.durable.borrow()).min(old + ROUND_LEAVES_MAX),
    };
    if size <= old {
        state.covered(old);
        return Ok(published);
    }
    let objects = LogObjects::new(shared.objects.clone(), published.log());
    let lock = locked_from_now(&*shared.clock)?;
    tiles::write_growth(&shared.pool, &objects, &published.row, &mut published.edge, size, lock).await?;
    let root = tiles::prove_written(&shared.pool, &objects, &published.row, old, size).await?;
    let log = published.log().clone();
    if root != published.edge.root() {
        return Err(SigningRefusal::RootDiffers { log: log.to_string(), size }.into());
    }
    let ordinal = published.next_ordinal;
    let head = Head { origin: published.row.origin.clone(), size, root, previous: published.previous };
    claim(shared, &published, &head, lock).await?;
    let checkpoint = Checkpoint { origin: head.origin.to_string(), size, root };
    let note = checkpoint
        .sign(&shared.keys.signer(&head.origin))
        .expect("an origin has no newline, so its checkpoint reads back")
        .to_string();
    objects.write_checkpoint(&note).await?;
    record(shared, &published, &head, &note).await?;
    let now_seconds = shared.clock.now().as_millis() as f64 / 1000.0;
    openarchive_telemetry::metrics::CHECKPOINT_TIME.set([&state.name.to_string()], now_seconds);
    published.next_ordinal = ordinal + 1;
    published.previous = Some(head.digest());
    published.pending.pop_front();
    state.covered(size);
    tracing::debug!(%log, size, ordinal, "publishes a checkpoint");
    tiles::remove_obsolete(&objects, old, size).await;
    Ok(published)
}

/// Makes the head that nobody can make twice, and sees it stand: a signature without it would be forgotten by an
/// archive that is set back. A pending one must be exactly this one.
async fn claim(
    shared: &Shared,
    published: &Published,
    head: &Head,
    lock: Timestamp,
) -> Result<(), PublishError> {
    let (log, ordinal) = (published.log(), published.next_ordinal);
    if let Some(pending) = published.pending.front() {
        if pending == head {
            return Ok(());
        }
        return Err(SigningRefusal::OtherHistory { log: log.to_string(), ordinal, size: head.size }.into());
    }
    let key = heads::key(log, ordinal);
    match shared.objects.create(&key, head.bytes(), Some(lock)).await {
        Ok(version) => Ok(shared.objects.read_back(&key, &version, Some(lock)).await?),
        // Another signer's, or our own whose answer was lost: taking up anew finds out.
        Err(ObjectError::Exists { .. }) => {
            Err(SigningRefusal::HeadTaken { log: log.to_string(), ordinal }.into())
        }
        Err(error) => Err(error.into()),
    }
}

/// Records the checkpoint. One that stands under the ordinal already must be the same: Ed25519 signs deterministically.
async fn record(shared: &Shared, published: &Published, head: &Head, note: &str) -> Result<(), PublishError> {
    let ordinal = published.next_ordinal;
    let mut tx = published.row.begin(&shared.pool).await?;
    let recorded = sqlx::query!(
        r#"with added as (
             insert into trust.checkpoint (log_id, ordinal, size, root, note, published_at)
             values ($1, $2, $3, $4, $5, $6) on conflict do nothing returning note
           )
           select note as "note!" from added
           union all
           select note from trust.checkpoint where log_id = $1 and ordinal = $2"#,
        published.row.log_id,
        ordinal.cast_signed(),
        head.size.cast_signed(),
        &head.root.as_bytes()[..],
        note,
        shared.clock.now().as_millis(),
    )
    .fetch_one(&mut *tx)
    .await?;
    tx.commit().await?;
    if recorded.note == note {
        return Ok(());
    }
    Err(SigningRefusal::HeadTaken { log: published.log().to_string(), ordinal }.into())
}
