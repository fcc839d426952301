//! Which mail's time is over. Only says so: what a plan names is shredded by a run of it, which checks everything again.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use openarchive_domain::{Digest, RetentionClass, Tenant, Timestamp, expires_at};
use openarchive_proto::ingest::v1::PlanExpiryResponse;
use openarchive_schema::{TenantScope, begin};

use super::{
    expiry_plan::{EXPIRY_PLAN_MESSAGES_MAX, ExpiryPlan, HOLDS_NAMED_MAX, PlanLine},
    shred_blobs::{ClassedBlob, shared_parts},
    suspension::suspended_at,
};
use crate::{
    blob_store::BlobName,
    core::Core,
    failure::{Failure, FieldError},
    observation_rows::undecodable,
};

/// Mails that are looked through at once.
const MESSAGES_PAGE: i64 = 1_000;
/// Mails whose keys storage is asked about together.
const LOCATED_TOGETHER: usize = 50;
/// Such questions under way at once.
const LOCATES_AT_ONCE: usize = 4;

/// The next mails behind `after` that expire by `at`, at most `limit`. A mail that was observed more than once is kept
/// for as long as the longest of its observations promised.
pub(crate) async fn plan(
    core: &Core,
    tenant: &Tenant,
    at: Option<Timestamp>,
    after: Option<Digest>,
    limit: u32,
) -> Result<PlanExpiryResponse, Failure> {
    if limit > EXPIRY_PLAN_MESSAGES_MAX {
        return Err(FieldError::new("limit", format!("at most {EXPIRY_PLAN_MESSAGES_MAX}")).into());
    }
    let limit = if limit == 0 { EXPIRY_PLAN_MESSAGES_MAX } else { limit } as usize;
    let made_at = core.clock.now();
    let at = at.unwrap_or(made_at);
    let (mut lines, mut behind, mut through) = (Vec::new(), after, None);
    'pages: loop {
        let page = due(core, tenant, Page::Behind(behind)).await?;
        let Some(last) = page.last() else { break };
        behind = Some(last.message);
        for mail in page {
            if lines.len() == limit {
                break 'pages;
            }
            through = Some(mail.message);
            lines.extend(mail.line().filter(|line| line.expires_at <= at));
        }
    }
    // Where the last mail was looked at, nothing is left.
    let next = through.filter(|through| behind != Some(*through));
    let mut plan = ExpiryPlan { tenant: tenant.clone(), at, made_at, after, through: next, lines };
    name_locks(core, tenant, &mut plan.lines, at).await?;
    let suspended_at = suspended_at(core, tenant).await?.map(|at| at.to_string()).unwrap_or_default();
    Ok(PlanExpiryResponse {
        next: next.map(|next| next.as_bytes().to_vec()).unwrap_or_default().into(),
        suspended_at,
        lines: plan.lines.len() as u32,
        expiring: plan.expiring().count() as u32,
        plan: plan.encode().into(),
    })
}

/// Which mails to look at.
pub(super) enum Page<'p> {
    /// The next ones by id.
    Behind(Option<Digest>),
    /// These.
    Of(&'p [Digest]),
}

/// What decides over a mail's end.
pub(super) struct Due {
    message: Digest,
    length: u64,
    parts: u32,
    /// Of each observation that is still there.
    promises: Vec<(RetentionClass, Timestamp)>,
    holds: Vec<String>,
}

impl Due {
    /// None: one of the observations has no end that can be written, or none is left.
    pub(super) fn line(&self) -> Option<PlanLine> {
        let mut latest: Option<(Timestamp, RetentionClass)> = None;
        for (class, received) in &self.promises {
            let expires = expires_at(*class, *received).ok()?;
            if latest.is_none_or(|(other, _)| expires > other) {
                latest = Some((expires, *class));
            }
        }
        let (expires_at, class) = latest?;
        Some(PlanLine {
            message: self.message,
            class,
            expires_at,
            length: self.length,
            observations: self.promises.len() as u32,
            parts: self.parts,
            holds: self.holds.clone(),
            locked_until: None,
        })
    }
}

/// By id; mail that was shredded is not among them.
pub(super) async fn due(core: &Core, tenant: &Tenant, page: Page<'_>) -> Result<Vec<Due>, Failure> {
    let (after, of): (Vec<u8>, Option<Vec<Vec<u8>>>) = match page {
        Page::Behind(after) => (after.map_or_else(Vec::new, |after| after.as_bytes().to_vec()), None),
        Page::Of(messages) => {
            (Vec::new(), Some(messages.iter().map(|message| message.as_bytes().to_vec()).collect()))
        }
    };
    let limit = if of.is_some() { i64::from(EXPIRY_PLAN_MESSAGES_MAX) } else { MESSAGES_PAGE };
    let rows = sqlx::query!(
        r#"select m.message, m.length,
             (select count(*) from ingest.message_part p
               where p.tenant = m.tenant and p.message = m.message) as "parts!",
             array(select o.class from ingest.observation o
               where o.tenant = m.tenant and o.message = m.message and not exists (
                 select from ingest.shred_observation s where s.tenant = o.tenant and s.leaf_index = o.leaf_index)
               order by o.recorded_at, o.agent, o.instance, o.seq) as "classes!: Vec<String>",
             array(select o.recorded_at from ingest.observation o
               where o.tenant = m.tenant and o.message = m.message and not exists (
                 select from ingest.shred_observation s where s.tenant = o.tenant and s.leaf_index = o.leaf_index)
               order by o.recorded_at, o.agent, o.instance, o.seq) as "times!: Vec<i64>",
             array(select h.hold from ingest.hold_message hm join ingest.hold h using (tenant, hold)
               where hm.tenant = m.tenant and hm.message = m.message and h.released_at is null
               order by h.hold limit $5) as "holds!: Vec<String>"
           from ingest.message m
           where m.tenant = $1 and m.message > $2 and ($3::bytea[] is null or m.message = any($3)) and m.shred is null
           order by m.message limit $4"#,
        tenant.as_str(),
        after,
        of.as_deref(),
        limit,
        HOLDS_NAMED_MAX,
    )
    .fetch_all(&mut *begin(&core.pool, TenantScope::One(tenant)).await?)
    .await?;
    let due = rows.into_iter().map(|row| {
        let promises = row
            .classes
            .iter()
            .zip(row.times)
            .map(|(class, time)| Ok((class.parse().map_err(undecodable)?, Timestamp::from_millis(time))));
        Ok(Due {
            message: row.message.as_slice().try_into().map_err(undecodable)?,
            length: row.length as u64,
            parts: row.parts as u32,
            promises: promises.collect::<Result<_, sqlx::Error>>()?,
            holds: row.holds,
        })
    });
    Ok(due.collect::<Result<_, sqlx::Error>>()?)
}

/// Says of each line until when its keys are locked, where that is later than `at`.
async fn name_locks(
    core: &Core,
    tenant: &Tenant,
    lines: &mut [PlanLine],
    at: Timestamp,
) -> Result<(), Failure> {
    let messages: Vec<Digest> = lines.iter().map(|line| line.message).collect();
    let (all, shared) = blobs_of(core, tenant, &messages).await?;
    let own = |line: &PlanLine| -> Vec<ClassedBlob> {
        let blobs = all.get(&line.message).into_iter().flatten();
        blobs.filter(|blob| !shared.contains(*blob)).cloned().collect()
    };
    let asked: Vec<_> = lines
        .chunks_mut(LOCATED_TOGETHER)
        .map(|group| async move {
            // Usually none is locked, and one question is enough.
            let together: Vec<ClassedBlob> = group.iter().flat_map(own).collect();
            if locked_until(core, tenant, &together, at).await?.is_some() {
                for line in group {
                    line.locked_until = locked_until(core, tenant, &own(line), at).await?;
                }
            }
            Ok::<_, Failure>(())
        })
        .collect();
    stream::iter(asked).buffer_unordered(LOCATES_AT_ONCE).try_collect().await
}

/// The latest lock of a key of these blobs, where it is later than `at`.
async fn locked_until(
    core: &Core,
    tenant: &Tenant,
    blobs: &[ClassedBlob],
    at: Timestamp,
) -> Result<Option<Timestamp>, Failure> {
    let places = core.blobs.locate(tenant, blobs).await?;
    Ok(places.into_iter().filter_map(|place| place.key_locked_until).filter(|until| *until > at).max())
}

/// The blobs of each mail as the catalogue knows them, and the parts among them that other mail needs.
async fn blobs_of(
    core: &Core,
    tenant: &Tenant,
    messages: &[Digest],
) -> Result<(BTreeMap<Digest, BTreeSet<ClassedBlob>>, BTreeSet<ClassedBlob>), Failure> {
    let keys: Vec<Vec<u8>> = messages.iter().map(|message| message.as_bytes().to_vec()).collect();
    let rows = sqlx::query!(
        r#"select o.message, o.class, o.record, m.skeleton,
             array(select p.part from ingest.message_part p
               where p.tenant = o.tenant and p.message = o.message) as "parts!: Vec<Vec<u8>>"
           from ingest.observation o join ingest.message m on m.tenant = o.tenant and m.message = o.message
           where o.tenant = $1 and o.message = any($2) and not exists (
             select from ingest.shred_observation s where s.tenant = o.tenant and s.leaf_index = o.leaf_index)"#,
        tenant.as_str(),
        &keys,
    )
    .fetch_all(&mut *begin(&core.pool, TenantScope::One(tenant)).await?)
    .await?;
    let digest = |bytes: &[u8]| Digest::try_from(bytes).map_err(undecodable);
    let mut all: BTreeMap<Digest, BTreeSet<ClassedBlob>> = BTreeMap::new();
    for row in rows {
        let blobs = all.entry(digest(&row.message)?).or_default();
        blobs.insert((row.class.clone(), BlobName::Observation(digest(&row.record)?)));
        blobs.insert((row.class.clone(), BlobName::Skeleton(digest(&row.skeleton)?)));
        for part in &row.parts {
            blobs.insert((row.class.clone(), BlobName::Part(digest(part)?)));
        }
    }
    let every: BTreeSet<ClassedBlob> = all.values().flatten().cloned().collect();
    let shared = shared_parts(core, tenant, messages, &every).await?;
    Ok((all, shared))
}
