use futures::{StreamExt as _, TryStreamExt as _, stream};
use openarchive_domain::{Digest, Tenant, Timestamp};
use openarchive_proto::ingest::v1::{
    Envelope, GetMessageResponse, GetMessagesResponse, MessageSummary, ObservationSummary,
};
use openarchive_schema::{TenantScope, begin};

use super::open;
use crate::{
    core::Core,
    failure::{Failure, FieldError},
    observation_record::ObservationRecord,
    observation_rows::{self, ObservationRow},
    receipts::record_of,
};

/// Most messages of one list.
pub(crate) const LIST_MESSAGES_MAX: u32 = 1_000;
/// Most messages of one read of several: a page of hits.
pub(crate) const GET_MESSAGES_MAX: usize = 1_000;
/// Text of the rows of one read of several, in bytes, from which on no further row is added. A row has at most a few MiB,
/// so that the answer fits into one gRPC message.
pub(crate) const GET_MESSAGES_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Most observations that are shown of one message: the oldest.
pub(crate) const OBSERVATIONS_SHOWN_MAX: i64 = 1_000;
/// Observation blobs read at a time.
const RECORDS_READ_AT_ONCE: usize = 16;

struct RawMessage {
    ordinal: i64,
    message: Vec<u8>,
    length: i64,
    class: String,
    flags: Vec<String>,
    subject: String,
    header_from: String,
    header_to: Vec<String>,
    header_cc: Vec<String>,
    header_date: Option<i64>,
    message_id: String,
    attachments: Vec<String>,
    archived_at: i64,
}

impl RawMessage {
    fn text_bytes(&self) -> usize {
        let lists = [&self.flags, &self.header_to, &self.header_cc, &self.attachments];
        let listed: usize = lists.into_iter().flatten().map(String::len).sum();
        listed + self.subject.len() + self.header_from.len() + self.message_id.len()
    }

    fn summary(self, tenant: &Tenant) -> MessageSummary {
        let time = |millis: i64| Timestamp::from_millis(millis).to_string();
        MessageSummary {
            tenant: tenant.to_string(),
            message: self.message.into(),
            length: self.length as u64,
            class: self.class,
            flags: self.flags,
            ordinal: self.ordinal as u64,
            subject: self.subject,
            from: self.header_from,
            to: self.header_to,
            cc: self.header_cc,
            date: self.header_date.map(time).unwrap_or_default(),
            message_id: self.message_id,
            archived_at: time(self.archived_at),
            attachments: self.attachments,
        }
    }
}

pub(super) async fn get(
    core: &Core,
    tenant: &Tenant,
    message: &Digest,
) -> Result<GetMessageResponse, Failure> {
    let found = sqlx::query_as!(
        RawMessage,
        "select ordinal, message, length, class, flags, subject, header_from, header_to, header_cc, header_date,
           message_id, attachments, archived_at
         from ingest.message where tenant = $1 and message = $2 and shred is null",
        tenant.as_str(),
        message.as_bytes().as_slice()
    )
    .fetch_optional(&mut *begin(&core.pool, TenantScope::One(tenant)).await?)
    .await?;
    let Some(found) = found else { return Err(open::not_here(core, tenant, message).await?) };
    let rows = observation_rows::of_message(&core.pool, tenant, message, OBSERVATIONS_SHOWN_MAX).await?;
    let reads: Vec<_> = rows
        .into_iter()
        .map(|row| async move {
            let record = record_of(core, tenant, &row).await?;
            Ok::<_, Failure>(observation_summary(row, record))
        })
        .collect();
    let observations = stream::iter(reads).buffered(RECORDS_READ_AT_ONCE).try_collect().await?;
    let seen = seen(core, tenant, message).await?;
    Ok(GetMessageResponse {
        message: Some(found.summary(tenant)),
        observations,
        agents: seen.agents,
        observation_count: seen.count as u64,
    })
}

struct Seen {
    agents: Vec<String>,
    count: i64,
}

/// Who saw the message, and how often, however often that is.
async fn seen(core: &Core, tenant: &Tenant, message: &Digest) -> Result<Seen, sqlx::Error> {
    sqlx::query_as!(
        Seen,
        r#"select coalesce(array_agg(distinct agent order by agent), '{}') as "agents!", count(*) as "count!"
           from ingest.observation where tenant = $1 and message = $2"#,
        tenant.as_str(),
        message.as_bytes().as_slice()
    )
    .fetch_one(&mut *begin(&core.pool, TenantScope::One(tenant)).await?)
    .await
}

/// The rows of several messages in one statement, in the order asked for, as many as fit into an answer.
pub(super) async fn get_several(
    core: &Core,
    tenant: &Tenant,
    messages: &[Digest],
) -> Result<GetMessagesResponse, Failure> {
    if messages.len() > GET_MESSAGES_MAX {
        return Err(FieldError::new("messages", format!("at most {GET_MESSAGES_MAX}")).into());
    }
    let digests: Vec<Vec<u8>> = messages.iter().map(|message| message.as_bytes().to_vec()).collect();
    let mut tx = begin(&core.pool, TenantScope::One(tenant)).await?;
    let mut rows = sqlx::query_as!(
        RawMessage,
        "select m.ordinal, m.message, m.length, m.class, m.flags, m.subject, m.header_from, m.header_to, m.header_cc,
           m.header_date, m.message_id, m.attachments, m.archived_at
         from unnest($2::bytea[]) with ordinality as asked (message, place)
           join ingest.message m on m.tenant = $1 and m.message = asked.message and m.shred is null
         order by asked.place",
        tenant.as_str(),
        &digests
    )
    .fetch(&mut *tx);
    let mut answer = GetMessagesResponse::default();
    let (mut bytes, mut asked) = (0, digests.iter());
    while let Some(row) = rows.try_next().await? {
        if bytes >= GET_MESSAGES_BYTES_MAX {
            return Ok(answer);
        }
        // Everything up to this row was looked for; what lies between was not found.
        let passed = asked.position(|digest| *digest == row.message).unwrap_or_default() + 1;
        answer.answered += passed as u32;
        bytes += row.text_bytes();
        answer.messages.push(row.summary(tenant));
    }
    answer.answered = digests.len() as u32;
    Ok(answer)
}

fn observation_summary(row: ObservationRow, record: ObservationRecord) -> ObservationSummary {
    let envelope = record.offer.envelope;
    ObservationSummary {
        agent: row.agent.to_string(),
        instance: row.seat.instance.to_vec().into(),
        agent_epoch: row.seat.agent_epoch,
        seq: row.seat.seq,
        state: row.state.to_string(),
        reason: row.reason,
        envelope: Some(Envelope {
            from: envelope.from,
            to: envelope.to,
            peer: envelope.peer,
            mode: envelope.mode,
        }),
        occurred_at: row.occurred_at.to_string(),
        recorded_at: row.recorded_at.to_string(),
        leaf_index: row.leaf_index,
    }
}

/// In the order of ordinals. A transaction that commits late may still insert an ordinal below one that was listed.
pub(super) async fn list(
    core: &Core,
    tenant: &Tenant,
    after_ordinal: u64,
    limit: u32,
) -> Result<Vec<MessageSummary>, Failure> {
    if limit > LIST_MESSAGES_MAX {
        return Err(FieldError::new("limit", format!("at most {LIST_MESSAGES_MAX}")).into());
    }
    let limit = if limit == 0 { LIST_MESSAGES_MAX } else { limit };
    let found = sqlx::query_as!(
        RawMessage,
        "select ordinal, message, length, class, flags, subject, header_from, header_to, header_cc, header_date,
           message_id, attachments, archived_at
         from ingest.message where tenant = $1 and ordinal > $2 and shred is null order by ordinal limit $3",
        tenant.as_str(),
        i64::try_from(after_ordinal).unwrap_or(i64::MAX),
        i64::from(limit)
    )
    .fetch_all(&mut *begin(&core.pool, TenantScope::One(tenant)).await?)
    .await?;
    Ok(found.into_iter().map(|found| found.summary(tenant)).collect())
}
