//! Which retention class an offered mail is in.
//!
//! An offer says the envelope, and as a hint who the header names. The header itself is known of mail that the archive
//! has, and of mail whose skeleton is in storage already. Of other mail envelope and hint decide, and the commit looks at
//! the header: where that changes the class, the agent offers again and the header is known. So what is committed always
//! has the class of its envelope and its header, whatever the agent says.

use std::collections::BTreeMap;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use openarchive_domain::{AgentRef, Correspondents, Digest, RetentionClass, Tenant, Timestamp};
use openarchive_ledger::leaf::Envelope;
use openarchive_schema::{TenantScope, begin};
use tonic::Code;

use crate::{
    blob_store::BlobError,
    catalogue_entry::{CatalogueEntry, Participants, Role},
    commit::{CommitItem, MissingBlobs},
    core::{Core, READ_BACKS_MAX},
    failure::Failure,
    message_reader::ReadError,
    observation_rows::{self, SeatKey, undecodable},
    offer::Offer,
    retention::RetentionRule,
};

/// The class of an offered mail, and what it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OfferedClass {
    /// The mail was observed at this seat: its leaf has said the class, whatever the rule says today.
    Standing(RetentionClass),
    /// Today's rule.
    Rule(RetentionClass),
    /// Today's rule for the envelope and what the header is said to be: the header itself may say otherwise.
    Guess(RetentionClass),
}

impl OfferedClass {
    pub(crate) const fn class(self) -> RetentionClass {
        match self {
            Self::Standing(class) | Self::Rule(class) | Self::Guess(class) => class,
        }
    }

    pub(crate) const fn is_standing(self) -> bool {
        matches!(self, Self::Standing(_))
    }
}

/// Who took part by the envelope, and by the header as far as `header` says.
pub(crate) fn correspondents(envelope: &Envelope, header: &Participants) -> Correspondents {
    let mut mail = Correspondents::of_envelope(&envelope.from, envelope.to.iter().map(String::as_str));
    for (role, address) in header {
        match role {
            Role::From => mail.add_author(address),
            Role::To | Role::Cc | Role::Bcc => mail.add_recipient(address),
            Role::EnvelopeFrom | Role::EnvelopeTo => {}
        }
    }
    mail
}

/// In the order of the offers. `hints`: who the header of each names, as far as the agent says it.
pub(crate) async fn classes_of(
    core: &Core,
    rule: &RetentionRule,
    agent: &AgentRef,
    offers: &[Offer],
    hints: &[Participants],
    now: Timestamp,
) -> Result<Vec<OfferedClass>, Failure> {
    let tenant = &agent.tenant;
    let seats: Vec<SeatKey> = offers.iter().map(|offer| (agent.name.clone(), offer.seat)).collect();
    let standing = observation_rows::at_seats(&core.pool, tenant, &seats).await?;
    let looks = rule.looks_at_addresses(tenant);
    let headers = if looks { headers_of(core, tenant, offers).await? } else { BTreeMap::new() };
    let class = |((offer, seat), hint): ((&Offer, &SeatKey), &Participants)| match standing.get(seat) {
        Some(row) if row.message == offer.message => OfferedClass::Standing(row.class),
        _ => {
            let header = headers.get(&offer.message).unwrap_or(hint);
            let class = rule.class_of(tenant, &correspondents(&offer.envelope, header), now);
            // Rows of the catalogue are a guess as the hint is: another version of the parser may have made them.
            if looks { OfferedClass::Guess(class) } else { OfferedClass::Rule(class) }
        }
    };
    Ok(offers.iter().zip(&seats).zip(hints).map(class).collect())
}

/// Header addresses of those mails that the archive has.
async fn headers_of(
    core: &Core,
    tenant: &Tenant,
    offers: &[Offer],
) -> Result<BTreeMap<Digest, Participants>, Failure> {
    let messages: Vec<Vec<u8>> = offers.iter().map(|offer| offer.message.as_bytes().to_vec()).collect();
    let rows = sqlx::query!(
        r#"select m.message, p.role as "role?", p.address as "address?"
           from ingest.message m
           left join ingest.participant p on p.tenant = m.tenant and p.message = m.message
             and p.role in ('from', 'to', 'cc', 'bcc')
           where m.tenant = $1 and m.message = any($2) and m.shred is null"#,
        tenant.as_str(),
        &messages,
    )
    .fetch_all(&mut *begin(&core.pool, TenantScope::One(tenant)).await?)
    .await?;
    let mut headers: BTreeMap<Digest, Participants> = BTreeMap::new();
    for row in rows {
        let message: Digest = row.message.as_slice().try_into().map_err(undecodable)?;
        let header = headers.entry(message).or_default();
        if let (Some(role), Some(address)) = (row.role.as_deref().and_then(Role::of_text), row.address) {
            header.insert((role, address));
        }
    }
    Ok(headers)
}

/// Looks into the headers of mail whose skeleton is in storage already: an earlier commit was told that the class is
/// another, or ended early. Says whether a class has changed by it.
pub(crate) async fn look_into_headers(
    core: &Core,
    rule: &RetentionRule,
    tenant: &Tenant,
    offered: &mut [(OfferedClass, &Offer)],
    missing: &[MissingBlobs],
    now: Timestamp,
) -> Result<bool, Failure> {
    let reads: Vec<_> = offered
        .iter()
        .zip(missing)
        .enumerate()
        .filter_map(|(position, ((class, offer), missing))| match class {
            OfferedClass::Guess(class) if !missing.skeleton => {
                let (class, offer) = (*class, *offer);
                Some(
                    async move { Ok::<_, Failure>((position, header_of(core, tenant, class, offer).await?)) },
                )
            }
            _ => None,
        })
        .collect();
    let read: Vec<(usize, Option<Participants>)> =
        stream::iter(reads).buffered(READ_BACKS_MAX).try_collect().await?;
    let mut changed = false;
    for (position, header) in read {
        let (Some(header), (class, offer)) = (header, &mut offered[position]) else { continue };
        let found = rule.class_of(tenant, &correspondents(&offer.envelope, &header), now);
        changed |= found != class.class();
        *class = OfferedClass::Rule(found);
    }
    Ok(changed)
}

/// None: what is stored cannot be read; the commit will say what is wrong with it.
async fn header_of(
    core: &Core,
    tenant: &Tenant,
    class: RetentionClass,
    offer: &Offer,
) -> Result<Option<Participants>, Failure> {
    let _turn = core.read_backs.acquire().await.map_err(|_| Failure::Task)?;
    let source = core.source(tenant, class);
    let read = async {
        let skeleton = source.skeleton(offer.skeleton).await?;
        CatalogueEntry::read(&source, &skeleton).await
    };
    match read.await {
        Ok(entry) => Ok(Some(entry.participants)),
        Err(ReadError::Blob(BlobError::Unavailable(status))) => Err(BlobError::Unavailable(status).into()),
        Err(_) => Ok(None),
    }
}

/// Before anything is locked or read for a commit: what stands keeps its class, other mail is in one that mail of today
/// may get. Which one is its own the header says, when it has been read back.
pub(crate) async fn refuse_other_classes(
    core: &Core,
    rule: &RetentionRule,
    agent: &AgentRef,
    items: &[CommitItem],
) -> Result<(), Failure> {
    let seats: Vec<SeatKey> = items.iter().map(|item| (agent.name.clone(), item.offer.seat)).collect();
    let standing = observation_rows::at_seats(&core.pool, &agent.tenant, &seats).await?;
    let is_other = |(item, seat): (&CommitItem, &SeatKey)| match standing.get(seat) {
        Some(row) if row.message == item.offer.message => item.class != row.class,
        _ => !rule.gives(&agent.tenant, item.class),
    };
    match items.iter().zip(&seats).position(is_other) {
        None => Ok(()),
        Some(position) => Err(class_changed(position)),
    }
}

/// Nothing was changed. The agent offers the same mail again and hears its class.
pub(crate) fn class_changed(position: usize) -> Failure {
    let message = format!("items[{position}] is of another class by now: offer it again");
    Failure::refused(Code::Aborted, "CLASS_CHANGED", message)
}
