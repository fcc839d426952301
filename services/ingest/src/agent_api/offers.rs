use std::sync::Arc;

use futures::StreamExt as _;
use openarchive_domain::{AgentRef, RetentionClass, Tenant, Timestamp};
use openarchive_proto::ingest::v1::{OfferMessagesRequest, OfferMessagesResponse};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use tracing::Instrument as _;

use crate::{
    catalogue_entry::{Participants, hinted_participants},
    commit::{MissingBlobs, missing_blobs},
    core::Core,
    failure::Failure,
    offer::Offer,
    offered_class::{OfferedClass, classes_of, look_into_headers},
};

/// Most offers answered together: what has arrived, up to this.
const OFFERS_TOGETHER_MAX: usize = 128;

type Answer = Result<OfferMessagesResponse, Status>;

/// Answers offers in their order, as they come. A slow reader of the answers slows the reading of offers.
pub(super) fn answer(
    core: Arc<Core>,
    agent: AgentRef,
    offers: Streaming<OfferMessagesRequest>,
) -> ReceiverStream<Answer> {
    let (answers, receiver) = mpsc::channel(OFFERS_TOGETHER_MAX);
    let answering = async move {
        let mut offers = offers.ready_chunks(OFFERS_TOGETHER_MAX);
        while let Some(group) = offers.next().await {
            let answered = match answer_group(&core, &agent, group).await {
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
    };
    tokio::spawn(answering.in_current_span());
    ReceiverStream::new(receiver)
}

async fn answer_group(
    core: &Core,
    agent: &AgentRef,
    group: Vec<Result<OfferMessagesRequest, Status>>,
) -> Result<Vec<OfferMessagesResponse>, Status> {
    let (mut offers, mut hints) = (Vec::with_capacity(group.len()), Vec::with_capacity(group.len()));
    for request in group {
        let mut offer = request?.offer;
        let header = offer.as_mut().and_then(|offer| offer.header.take());
        hints.push(header.map_or_else(Participants::new, hinted_participants));
        offers.push(Offer::parse(offer, "offer").map_err(Failure::from)?);
    }
    let (rule, now) = (core.retention.rule(&core.pool).await?, core.clock.now());
    let classes = classes_of(core, &rule, agent, &offers, &hints, now).await?;
    let mut offered: Vec<(OfferedClass, &Offer)> = classes.into_iter().zip(&offers).collect();
    let mut missing = missing_of(core, &agent.tenant, &offered, now).await?;
    if look_into_headers(core, &rule, &agent.tenant, &mut offered, &missing, now).await? {
        missing = missing_of(core, &agent.tenant, &offered, now).await?;
    }
    let answer = |((class, offer), missing): (&(OfferedClass, &Offer), MissingBlobs)| OfferMessagesResponse {
        seq: offer.seat.seq,
        class: class.class().to_string(),
        skeleton_missing: missing.skeleton,
        missing_parts: missing.parts.iter().map(|part| part.as_bytes().to_vec().into()).collect(),
    };
    Ok(offered.iter().zip(missing).map(answer).collect())
}

/// In the order of the offers. A mail that stands lacks nothing: its receipt is made again from what is archived.
async fn missing_of(
    core: &Core,
    tenant: &Tenant,
    offered: &[(OfferedClass, &Offer)],
    now: Timestamp,
) -> Result<Vec<MissingBlobs>, Failure> {
    let fresh: Vec<(RetentionClass, &Offer)> = offered
        .iter()
        .filter(|(class, _)| !class.is_standing())
        .map(|(class, offer)| (class.class(), *offer))
        .collect();
    let mut missing = missing_blobs(core, tenant, &fresh, now).await?.into_iter();
    let of_each = offered.iter().map(|(class, _)| {
        if class.is_standing() { MissingBlobs::default() } else { missing.next().unwrap_or_default() }
    });
    Ok(of_each.collect())
}
