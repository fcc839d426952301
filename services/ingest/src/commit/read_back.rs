//! Reading a message back before it is committed: proof of the write, and that the agent had what it referred to.

use openarchive_domain::Tenant;
use openarchive_mail::Skeleton;
use tracing::error;

use super::{CommitItem, MissingBlobs, Outcome};
use crate::{
    blob_store::{BlobError, BlobName},
    catalogue_entry::CatalogueEntry,
    core::Core,
    failure::Failure,
    message_reader::{MessageReader, MessageSource, ReadError},
    offer::{Offer, Parts},
};

/// What reading back showed.
pub(super) enum ReadBack {
    Rebuilt(CatalogueEntry),
    Refused(Outcome),
}

/// Rebuilds one mail from what storage holds and compares it with the offer.
pub(super) async fn read_back(core: &Core, tenant: &Tenant, item: &CommitItem) -> Result<ReadBack, Failure> {
    let _turn = core.read_backs.acquire().await.map_err(|_| Failure::Task)?;
    let source = core.source(tenant, item.class);
    match rebuild_offered(&source, &item.offer).await {
        Ok(Ok(entry)) => Ok(ReadBack::Rebuilt(entry)),
        Ok(Err(mismatch)) => Ok(ReadBack::Refused(Outcome::Mismatch(mismatch.to_owned()))),
        Err(ReadError::Blob(BlobError::Missing(blob))) => {
            Ok(ReadBack::Refused(Outcome::Missing(missing(blob))))
        }
        Err(ReadError::Blob(BlobError::Unavailable(status))) => Err(BlobError::Unavailable(status).into()),
        // Sent whole, the mail does not need the blob that is damaged.
        Err(damage) => {
            error!(%tenant, %damage, "a blob cannot be read back, the mail is asked for whole");
            Ok(ReadBack::Refused(Outcome::Mismatch(damage.to_string())))
        }
    }
}

/// Joins what an offer refers to. `Ok(Err(why))`: it joins, but to something else than was offered.
pub(crate) async fn rebuild_offered(
    source: &MessageSource,
    offer: &Offer,
) -> Result<Result<CatalogueEntry, &'static str>, ReadError> {
    let skeleton = source.skeleton(offer.skeleton).await?;
    if skeleton.message_length() != offer.length {
        return Ok(Err("the skeleton is of a message of another length than was offered"));
    }
    if parts_of(&skeleton) != Some(offer.parts.clone()) {
        return Ok(Err("the skeleton refers to other parts than were offered"));
    }
    let (digest, length) = MessageReader::new(source, &skeleton).digest().await?;
    if (digest, length) != (offer.message, offer.length) {
        return Ok(Err("the rebuilt message has another SHA-256 than was offered"));
    }
    CatalogueEntry::read(source, &skeleton).await.map(Ok)
}

/// Each part of a skeleton once; none if it gives one part two lengths.
pub(crate) fn parts_of(skeleton: &Skeleton) -> Option<Parts> {
    let mut parts = Parts::new();
    for part in skeleton.parts() {
        let earlier = parts.insert(part.digest, part.decoded_length);
        if earlier.is_some_and(|length| length != part.decoded_length) {
            return None;
        }
    }
    Some(parts)
}

/// It was there a moment ago: its key has been shredded meanwhile.
fn missing(blob: BlobName) -> MissingBlobs {
    match blob {
        BlobName::Part(digest) => MissingBlobs { skeleton: false, parts: vec![digest] },
        BlobName::Skeleton(_) | BlobName::Observation(_) | BlobName::State(_) => {
            MissingBlobs { skeleton: true, parts: Vec::new() }
        }
    }
}
