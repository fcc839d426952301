use std::sync::Arc;

use futures::StreamExt as _;
use openarchive_domain::{RetentionClass, Tenant};
use openarchive_proto::ingest::v1::{OfferMessagesRequest, OfferMessagesResponse};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::{
    commit::{MissingBlobs, missing_blobs},
    core::Core,
    failure::Failure,
    offer::Offer,
};

/// Most offers answered together: what has arrived, up to this.
const OFFERS_TOGETHER_MAX: usize = 128;

type Answer = Result<OfferMessagesResponse, Status>;

/// Answers offers in their order, as they come. A slow reader of the answers slows the reading of offers.
pub(super) fn answer(
    core: Arc<Core>,
    tenant: Tenant,
    offers: Streaming<OfferMessagesRequest>,
) -> ReceiverStream<Answer> {
    let (answers, receiver) = mpsc::channel(OFFERS_TOGETHER_MAX);
    tokio::spawn(async move {
        let mut offers = offers.ready_chunks(OFFERS_TOGETHER_MAX);
        while let Some(group) = offers.next().await {
            let answered = match answer_group(&core, &tenant, group).await {
                Ok(group) => group.into_iter().map(Ok).collect(),
                Err(status) => vec![Err(status)],
            };
            let failed = answered.iter().any(Result::is_err);
            for answer in answered {
                // An agent that no longer listens needs no further answers.
                if answers.send(answer).await.is_err() {
                    return;
                }
            }
            if failed {
                return;
            }
        }
    });
    ReceiverStream::new(receiver)
}

async fn answer_group(
    core: &Core,
    tenant: &Tenant,
    group: Vec<Result<OfferMessagesRequest, Status>>,
) -> Result<Vec<OfferMessagesResponse>, Status> {
    let mut offers = Vec::with_capacity(group.len());
    for request in group {
        offers.push(Offer::parse(request?.offer, "offer").map_err(Failure::from)?);
    }
    let offers: Vec<(RetentionClass, &Offer)> =
        offers.iter().map(|offer| (core.retention.class_of(offer), offer)).collect();
    let missing = missing_blobs(core, tenant, &offers).await?;
    let answer =
        |((class, offer), missing): (&(RetentionClass, &Offer), MissingBlobs)| OfferMessagesResponse {
            seq: offer.seat.seq,
            class: class.to_string(),
            skeleton_missing: missing.skeleton,
            missing_parts: missing.parts.iter().map(|part| part.as_bytes().to_vec().into()).collect(),
        };
    Ok(offers.iter().zip(missing).map(answer).collect())
}
