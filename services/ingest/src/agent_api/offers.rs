use std::sync::Arc;

use futures::StreamExt as _;
use openarchive_domain::{AgentRef, RetentionClass};
use openarchive_proto::ingest::v1::{OfferMessagesRequest, OfferMessagesResponse};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use tracing::Instrument as _;

use crate::{
    commit::{MissingBlobs, missing_blobs},
    core::Core,
    failure::Failure,
    offer::Offer,
    offered_class::{OfferedClass, classes_of},
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
    let mut offers = Vec::with_capacity(group.len());
    for request in group {
        offers.push(Offer::parse(request?.offer, "offer").map_err(Failure::from)?);
    }
    let classes = classes_of(core, agent, &offers.iter().collect::<Vec<_>>()).await?;
    // A mail that stands lacks nothing: its receipt is made again from what is archived.
    let fresh: Vec<(RetentionClass, &Offer)> = offers
        .iter()
        .zip(&classes)
        .filter_map(|(offer, class)| match class {
            OfferedClass::Rule(class) => Some((*class, offer)),
            OfferedClass::Standing(_) => None,
        })
        .collect();
    let mut missing = missing_blobs(core, &agent.tenant, &fresh, core.clock.now()).await?.into_iter();
    let answer = |(offer, class): (&Offer, &OfferedClass)| {
        let missing = match class {
            OfferedClass::Rule(_) => missing.next().unwrap_or_default(),
            OfferedClass::Standing(_) => MissingBlobs::default(),
        };
        OfferMessagesResponse {
            seq: offer.seat.seq,
            class: class.class().to_string(),
            skeleton_missing: missing.skeleton,
            missing_parts: missing.parts.iter().map(|part| part.as_bytes().to_vec().into()).collect(),
        }
    };
    Ok(offers.iter().zip(&classes).map(answer).collect())
}
