use futures::{StreamExt as _, TryStreamExt as _, stream};
use openarchive_domain::{Digest, RetentionClass};
use openarchive_schema::{TenantScope, begin};

use super::Check;
use crate::{
    blob_store::BlobError,
    commit::parts_of,
    failure::Failure,
    finding::{Finding, Step},
    message_reader::{MessageReader, MessageSource, ReadError},
    observation_rows::undecodable,
    offer::Parts,
};

/// Messages in one query.
const MESSAGES_PAGE: i64 = 500;
/// Messages that are rebuilt at a time.
const REBUILDS_AT_ONCE: usize = 8;

/// One message as the catalogue has it.
struct Message {
    ordinal: i64,
    digest: Digest,
    length: u64,
    class: RetentionClass,
    skeleton: Digest,
    /// Parts with two lengths are the catalogue's contradiction and equal no skeleton's.
    parts: Parts,
}

impl Check<'_> {
    /// Every message comes out of storage byte for byte.
    pub(super) async fn messages(&mut self) -> Result<(), Failure> {
        let (mut after, mut done) = (0, 0);
        loop {
            let messages = self.messages_after(after).await?;
            let Some(last) = messages.last() else { return Ok(()) };
            after = last.ordinal;
            done += messages.len() as u64;
            let this = &*self;
            let checks: Vec<_> = messages.iter().map(|message| this.message(message)).collect();
            let found: Vec<Vec<Finding>> =
                stream::iter(checks).buffered(REBUILDS_AT_ONCE).try_collect().await?;
            self.findings.extend(found.into_iter().flatten());
            self.say(Step::Messages, done, 0);
        }
    }

    async fn messages_after(&self, ordinal: i64) -> Result<Vec<Message>, Failure> {
        let rows = sqlx::query!(
            r#"select m.ordinal, m.message, m.length, m.class, m.skeleton,
                 coalesce(array_agg(p.part) filter (where p.part is not null), '{}') as "parts!: Vec<Vec<u8>>",
                 coalesce(array_agg(p.length) filter (where p.part is not null), '{}') as "lengths!: Vec<i64>"
               from (select * from ingest.message where tenant = $1 and ordinal > $2 and shred is null order by ordinal limit $3) m
               left join ingest.message_part p using (tenant, message)
               group by m.ordinal, m.message, m.length, m.class, m.skeleton
               order by m.ordinal"#,
            self.tenant.as_str(),
            ordinal,
            MESSAGES_PAGE
        )
        .fetch_all(&mut *begin(self.pool, TenantScope::One(self.tenant)).await?)
        .await?;
        let digest = |bytes: &[u8]| Digest::try_from(bytes).map_err(undecodable);
        rows.into_iter()
            .map(|row| {
                let parts = row.parts.iter().zip(row.lengths);
                let parts = parts.map(|(part, length)| Ok::<_, sqlx::Error>((digest(part)?, length as u64)));
                Ok(Message {
                    ordinal: row.ordinal,
                    digest: digest(&row.message)?,
                    length: row.length as u64,
                    class: row.class.parse().map_err(undecodable)?,
                    skeleton: digest(&row.skeleton)?,
                    parts: parts.collect::<Result<_, _>>()?,
                })
            })
            .collect()
    }

    async fn message(&self, message: &Message) -> Result<Vec<Finding>, Failure> {
        let (tenant, digest) = (self.tenant.clone(), message.digest);
        match self.rebuild(message).await {
            Ok(findings) => Ok(findings),
            Err(ReadError::Blob(BlobError::Unavailable(status))) => {
                Err(BlobError::Unavailable(status).into())
            }
            Err(damage) => {
                Ok(vec![Finding::MessageDamaged { tenant, message: digest, why: damage.to_string() }])
            }
        }
    }

    async fn rebuild(&self, message: &Message) -> Result<Vec<Finding>, ReadError> {
        let (tenant, digest) = (self.tenant.clone(), message.digest);
        let source =
            MessageSource { blobs: self.blobs.clone(), tenant: tenant.clone(), class: message.class };
        let skeleton = source.skeleton(message.skeleton).await?;
        let (found, length) = MessageReader::new(&source, &skeleton).digest().await?;
        if found != digest {
            let why = "what it joins to has another SHA-256".to_owned();
            return Ok(vec![Finding::MessageDamaged { tenant, message: digest, why }]);
        }
        let mut findings = Vec::new();
        if length != message.length {
            findings.push(Finding::LengthDiffers { tenant: tenant.clone(), message: digest });
        }
        if parts_of(&skeleton).as_ref() != Some(&message.parts) {
            findings.push(Finding::PartsDiffer { tenant, message: digest });
        }
        Ok(findings)
    }
}
