//! Ordering mail to be shredded: what may go, what goes with it, and the order's way to the ledger. The worker does the
//! rest: storage destroys the keys that the leaf names, the index forgets, the rows are cleared.

use std::collections::BTreeSet;

use openarchive_domain::{Digest, Erasure, RetentionClass, Tenant, Timestamp, expires_at};
use openarchive_ledger::{
    jcs,
    leaf::{LEAF_BYTES_MAX, LeafError, ShredCause, ShredLeaf, ShredPlaces, stamp},
};
use openarchive_schema::{TenantScope, begin};
use tonic::Code;
use uuid::Uuid;

use super::{
    RETAINED, acts, check_leaf, refused,
    shred_blobs::{ClassedBlob, Observed, blobs_of, observations},
};
use crate::{
    blob_store::BlobPlace,
    core::Core,
    failure::{Failure, FieldError},
    observation_rows::undecodable,
};

/// An order of this id was given before, for other mail.
pub const SHRED_EXISTS: &str = "SHRED_EXISTS";
/// An order has one leaf, and the keys of this one do not fit into it.
pub const SHRED_TOO_LARGE: &str = "SHRED_TOO_LARGE";

/// Mails of one order, at most: its leaf names every key.
pub const SHRED_MESSAGES_MAX: usize = 100;
/// How often an order is put together anew because the archive changed meanwhile.
const ATTEMPTS_MAX: u32 = 4;

/// Mail that is to be shredded, all of it or none.
#[derive(Debug, Clone)]
pub(crate) struct ShredOrder {
    pub(crate) shred: [u8; 16],
    pub(crate) cause: ShredCause,
    pub(crate) messages: BTreeSet<Digest>,
    pub(crate) actor: String,
}

/// How far an order is.
pub(crate) struct Ordered {
    pub(crate) leaf_index: u64,
    pub(crate) cause: ShredCause,
    pub(crate) messages: BTreeSet<Digest>,
    pub(crate) shredded: bool,
}

/// Answers the index of the order's leaf, durable. The same order again answers the same.
pub(crate) async fn order(core: &Core, tenant: &Tenant, order: &ShredOrder) -> Result<u64, Failure> {
    if order.messages.is_empty() || order.messages.len() > SHRED_MESSAGES_MAX {
        return Err(FieldError::new("messages", format!("1 to {SHRED_MESSAGES_MAX} mails")).into());
    }
    if let Some(known) = find(core, tenant, order.shred).await? {
        if known.cause != order.cause || messages_of(core, tenant, order.shred).await? != order.messages {
            let message = "an order of this id was given before, for other mail";
            return Err(Failure::refused(Code::FailedPrecondition, SHRED_EXISTS, message));
        }
        return acts::settle(&core.pool, &core.ledger, &tenant.clone().into(), &known.key).await;
    }
    for _ in 0..ATTEMPTS_MAX {
        let prepared = prepare(core, tenant, order).await?;
        match mark(core, tenant, order, &prepared).await?.as_deref() {
            Some("marked") => {
                let key = prepared.leaf.idempotency_key();
                return acts::settle(&core.pool, &core.ledger, &tenant.clone().into(), &key).await;
            }
            Some("changed") => {}
            other => return Err(refused(other)),
        }
    }
    Err(refused(None))
}

struct Prepared {
    leaf: ShredLeaf,
    blobs: BTreeSet<ClassedBlob>,
}

async fn prepare(core: &Core, tenant: &Tenant, order: &ShredOrder) -> Result<Prepared, Failure> {
    let messages: Vec<Digest> = order.messages.iter().copied().collect();
    let now = core.clock.now();
    refuse_gone(core, tenant, &messages).await?;
    let observed = observations(core, tenant, &messages).await?;
    for message in &messages {
        let of_message: Vec<&Observed> =
            observed.iter().filter(|observed| observed.message == *message).collect();
        may_go(message, order.cause, &of_message, now)?;
    }
    let leaves: Option<BTreeSet<u64>> = observed.iter().map(|observed| observed.leaf_index).collect();
    // Of a mail that came this very moment.
    let leaves = leaves.ok_or_else(|| refused(None))?;
    let blobs = blobs_of(core, tenant, &messages, &observed).await?;
    let places = core.blobs.locate(tenant, &blobs.iter().cloned().collect::<Vec<_>>()).await?;
    let leaf = ShredLeaf {
        tenant: tenant.clone().into(),
        shred: order.shred,
        cause: order.cause,
        leaves,
        places: unlocked_places(places, now)?,
        actor: order.actor.clone(),
        occurred_at: now,
    };
    check_size(&leaf, &messages)?;
    check_leaf(&leaf.body())?;
    Ok(Prepared { leaf, blobs })
}

/// Says in figures that an order is too large, before anything is done.
fn check_size(leaf: &ShredLeaf, messages: &[Digest]) -> Result<(), Failure> {
    let Err(LeafError::TooLong { bytes }) = stamp(leaf.body(), leaf.occurred_at) else { return Ok(()) };
    let (copies, packs) = (leaf.leaves.len(), leaf.places.len());
    let keys: usize = leaf.places.values().map(BTreeSet::len).sum();
    let (what, advice) = match messages {
        [one] => (format!("{one} was archived {copies} times"), "such a mail cannot be shredded yet"),
        all => (format!("these {} mails were archived {copies} times", all.len()), "order fewer at once"),
    };
    let message = format!(
        "{what}; their {keys} keys in {packs} packs make a leaf of {bytes} bytes, and {LEAF_BYTES_MAX} are allowed: {advice}"
    );
    Err(Failure::refused(Code::FailedPrecondition, SHRED_TOO_LARGE, message))
}

/// Says clearly what is not there before it is looked for.
async fn refuse_gone(core: &Core, tenant: &Tenant, messages: &[Digest]) -> Result<(), Failure> {
    let keys: Vec<Vec<u8>> = messages.iter().map(|message| message.as_bytes().to_vec()).collect();
    let row = sqlx::query!(
        r#"select count(*) as "known!", count(shred) as "gone!" from ingest.message
           where tenant = $1 and message = any($2)"#,
        tenant.as_str(),
        &keys,
    )
    .fetch_one(&mut *begin(&core.pool, TenantScope::One(tenant)).await?)
    .await?;
    match (row.known as usize, row.gone) {
        (known, 0) if known == messages.len() => Ok(()),
        (known, _) if known == messages.len() => Err(refused(Some("shredding"))),
        _ => Err(refused(Some("unknown"))),
    }
}

/// Whether the classes let this mail go: every observation's, since each promised to keep it.
fn may_go(
    message: &Digest,
    cause: ShredCause,
    observed: &[&Observed],
    now: Timestamp,
) -> Result<(), Failure> {
    for observed in observed {
        let expired = expires_at(observed.class, observed.recorded_at).is_ok_and(|expires| expires <= now);
        let permitted = match observed.class {
            RetentionClass::System => false,
            RetentionClass::Mail { erasure, .. } => erasure == Erasure::Permitted,
        };
        let allowed = match cause {
            ShredCause::Erasure => permitted || expired,
            ShredCause::Expiry => expired,
        };
        if !allowed {
            let class = observed.class;
            let message = format!("{message} is kept as {class}, which does not let it go yet");
            return Err(Failure::refused(Code::FailedPrecondition, RETAINED, message));
        }
    }
    Ok(())
}

fn unlocked_places(places: Vec<BlobPlace>, now: Timestamp) -> Result<ShredPlaces, Failure> {
    let mut named = ShredPlaces::new();
    for place in places {
        if let Some(until) = place.key_locked_until.filter(|until| *until > now) {
            let message = format!("the keys of pack {} are locked until {until}", place.pack);
            return Err(Failure::refused(Code::FailedPrecondition, RETAINED, message));
        }
        named.entry(place.pack.into_bytes()).or_default().insert(place.ordinal);
    }
    Ok(named)
}

async fn mark(
    core: &Core,
    tenant: &Tenant,
    order: &ShredOrder,
    prepared: &Prepared,
) -> Result<Option<String>, Failure> {
    let messages: Vec<Vec<u8>> = order.messages.iter().map(|message| message.as_bytes().to_vec()).collect();
    let leaves: Vec<i64> = prepared.leaf.leaves.iter().map(|leaf| *leaf as i64).collect();
    let (mut kinds, mut digests, mut classes) = (Vec::new(), Vec::new(), Vec::new());
    for (class, blob) in &prepared.blobs {
        let (kind, digest) = blob.column();
        kinds.push(kind);
        digests.push(digest.as_bytes().to_vec());
        classes.push(class.clone());
    }
    let body = jcs::canonicalize(&prepared.leaf.body());
    let body = body.map_err(|error| Failure::Damaged(error.to_string()))?;
    let key = prepared.leaf.idempotency_key();
    let mut tx = begin(&core.pool, TenantScope::One(tenant)).await?;
    let outcome = sqlx::query_scalar!(
        "select ingest.mark_shredding($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
        tenant.as_str(),
        Uuid::from_bytes(order.shred),
        order.cause.as_str(),
        order.actor,
        prepared.leaf.occurred_at.as_millis(),
        &messages,
        &leaves,
        &kinds,
        &digests,
        &classes,
        i16::from(openarchive_envelope::BlobKind::Part.code()),
        key.as_bytes().as_slice(),
        body,
    )
    .fetch_one(&mut *tx)
    .await?;
    if outcome.as_deref() == Some("marked") {
        tx.commit().await?;
    }
    Ok(outcome)
}

struct Known {
    key: Digest,
    cause: ShredCause,
    shredded: bool,
}

async fn find(core: &Core, tenant: &Tenant, shred: [u8; 16]) -> Result<Option<Known>, Failure> {
    let row = sqlx::query!(
        "select s.cause, s.state, a.idempotency_key from ingest.shred s join ingest.act a using (act_id)
         where s.tenant = $1 and s.shred = $2",
        tenant.as_str(),
        Uuid::from_bytes(shred),
    )
    .fetch_optional(&mut *begin(&core.pool, TenantScope::One(tenant)).await?)
    .await?;
    let known = row.map(|row| {
        Ok::<_, sqlx::Error>(Known {
            key: row.idempotency_key.as_slice().try_into().map_err(undecodable)?,
            cause: row.cause.parse().map_err(undecodable)?,
            shredded: row.state == "shredded",
        })
    });
    Ok(known.transpose()?)
}

/// An order and how far it is. Its leaf is durable when this answers.
pub(crate) async fn get(core: &Core, tenant: &Tenant, shred: [u8; 16]) -> Result<Ordered, Failure> {
    let known = find(core, tenant, shred).await?;
    let known = known.ok_or_else(|| Failure::not_found("there is no such order"))?;
    let leaf_index = acts::settle(&core.pool, &core.ledger, &tenant.clone().into(), &known.key).await?;
    let messages = messages_of(core, tenant, shred).await?;
    Ok(Ordered { leaf_index, cause: known.cause, messages, shredded: known.shredded })
}

/// The order's mail; after a rebuild only that which could still be named.
async fn messages_of(core: &Core, tenant: &Tenant, shred: [u8; 16]) -> Result<BTreeSet<Digest>, Failure> {
    let rows = sqlx::query_scalar!(
        "select message from ingest.shred_message where tenant = $1 and shred = $2 order by message",
        tenant.as_str(),
        Uuid::from_bytes(shred),
    )
    .fetch_all(&mut *begin(&core.pool, TenantScope::One(tenant)).await?)
    .await?;
    let messages = rows.iter().map(|row| row.as_slice().try_into().map_err(undecodable));
    Ok(messages.collect::<Result<_, sqlx::Error>>()?)
}

/// The keys are gone: the rows say nothing of the mail any more. What came again meanwhile is indexed anew. May be
/// repeated.
pub(crate) async fn finish(core: &Core, tenant: &Tenant, shred: [u8; 16]) -> Result<(), Failure> {
    let mut tx = begin(&core.pool, TenantScope::One(tenant)).await?;
    sqlx::query!(
        r#"select ingest.finish_shred($1, $2, $3)::text as "done""#,
        tenant.as_str(),
        Uuid::from_bytes(shred),
        core.clock.now().as_millis(),
    )
    .fetch_one(&mut *tx)
    .await?;
    Ok(tx.commit().await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An order of mail that was archived so many times, each time in a pack of its own.
    fn order_of(copies: u64) -> ShredLeaf {
        let pack = |copy: u64| [copy.to_be_bytes(), [7; 8]].concat().try_into().unwrap();
        ShredLeaf {
            tenant: "acme".parse().unwrap(),
            shred: [7; 16],
            cause: ShredCause::Erasure,
            leaves: (10_000..10_000 + copies).collect(),
            places: (0..copies).map(|copy| (pack(copy), [1].into())).collect(),
            actor: "tok-1".to_owned(),
            occurred_at: "2026-01-02T03:04:05.678Z".parse().unwrap(),
        }
    }

    #[test]
    fn an_order_is_as_large_as_its_leaf_may_be_and_a_larger_one_is_refused_in_figures() {
        let (one, two) = (Digest::of(b"1"), Digest::of(b"2"));
        let fits = |copies: &u64| check_size(&order_of(*copies), &[one]).is_ok();
        let most = (800..1_200).rev().find(fits).unwrap();
        assert!(most < 1_199 && !fits(&(most + 1)), "{most}");
        assert!(check_leaf(&order_of(most).body()).is_ok());
        assert!(check_leaf(&order_of(most + 1).body()).is_err());
        let said = |messages: &[Digest]| match check_size(&order_of(1_000), messages) {
            Err(Failure::Refused { code: Code::FailedPrecondition, reason: SHRED_TOO_LARGE, message }) => {
                message
            }
            other => format!("{other:?}"),
        };
        let figures = "archived 1000 times; their 1000 keys in 1000 packs make a leaf of ";
        assert!(said(&[one]).starts_with(&format!("{one} was {figures}")), "{}", said(&[one]));
        assert!(said(&[one]).ends_with("such a mail cannot be shredded yet"), "{}", said(&[one]));
        assert!(
            said(&[one, two]).starts_with(&format!("these 2 mails were {figures}")),
            "{}",
            said(&[one, two])
        );
        assert!(said(&[one, two]).ends_with("order fewer at once"), "{}", said(&[one, two]));
    }
}
