use futures::{StreamExt as _, TryStreamExt as _, stream};
use openarchive_domain::{Digest, Tenant, Timestamp};
use openarchive_proto::ingest::v1::{Envelope, GetMessageResponse, MessageSummary, ObservationSummary};

use crate::{
    core::Core,
    failure::{Failure, FieldError},
    observation_record::ObservationRecord,
    observation_rows::{self, ObservationRow},
    receipts::record_of,
};

/// Most messages of one list.
pub(crate) const LIST_MESSAGES_MAX: u32 = 1_000;
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
         from ingest.message where tenant = $1 and message = $2",
        tenant.as_str(),
        message.as_bytes().as_slice()
    )
    .fetch_optional(&core.pool)
    .await?;
    let found =
        found.ok_or_else(|| Failure::not_found(format!("{message} is not in the archive of {tenant}")))?;
    let rows = observation_rows::of_message(&core.pool, tenant, message, OBSERVATIONS_SHOWN_MAX).await?;
    let reads: Vec<_> = rows
        .into_iter()
        .map(|row| async move {
            let record = record_of(core, tenant, &row).await?;
            Ok::<_, Failure>(observation_summary(row, record))
        })
        .collect();
    let observations = stream::iter(reads).buffered(RECORDS_READ_AT_ONCE).try_collect().await?;
    Ok(GetMessageResponse { message: Some(found.summary(tenant)), observations })
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
         from ingest.message where tenant = $1 and ordinal > $2 order by ordinal limit $3",
        tenant.as_str(),
        i64::try_from(after_ordinal).unwrap_or(i64::MAX),
        i64::from(limit)
    )
    .fetch_all(&core.pool)
    .await?;
    Ok(found.into_iter().map(|found| found.summary(tenant)).collect())
}
