use std::{io, sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::State,
    http::{HeaderName, header},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures::Stream;
use openarchive_domain::Digest;
use openarchive_proto::ingest::v1::{OpenMessageRequest, OpenMessageResponse};
use tokio::time::timeout;
use tonic::{Request, Status, Streaming};

use super::message;
use crate::{
    audit::Action, backends::everything, caller::Caller, extract::MessageId, gateway::Services,
    problem::Problem, refusal::Service,
};

/// Longest wait for the next piece of a message.
const PIECE_TIME_MAX: Duration = Duration::from_secs(30);

/// RFC 9530 section 3.
const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");

/// Read a mail: its exact bytes as they arrived. Compare `Repr-Digest` with what you received: the connection breaks
/// off if the archive finds damage on the way.
#[utoipa::path(
    get,
    path = "/api/v1/archive/emails/{id}/eml",
    operation_id = "readEmail",
    tag = "mail",
    params(("id" = String, Path, description = "`sha256:` and 64 hex digits.")),
    responses(
        (status = 200, description = "The mail.", content_type = "message/rfc822", body = Vec<u8>,
         headers(("Repr-Digest" = String, description = "SHA-256 of the mail (RFC 9530)."))),
        (status = 404, description = "No such mail.", body = crate::problem::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn read(
    caller: Caller,
    MessageId(message): MessageId,
    State(services): State<Arc<Services>>,
) -> Result<Response, Problem> {
    let read = async {
        let (known, opened) =
            tokio::try_join!(message::get(&caller, &services, message), open(&caller, &services, message))?;
        Ok((known.message.unwrap_or_default().length, opened))
    };
    let (length, opened) =
        services.audited_after(&caller, Action::MessageRead, &message.to_string(), read).await?;
    let headers = [
        (header::CONTENT_TYPE, "message/rfc822".to_owned()),
        (header::CONTENT_LENGTH, length.to_string()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{}.eml\"", message.hex())),
        (REPR_DIGEST, format!("sha-256=:{}:", STANDARD.encode(message.as_bytes()))),
    ];
    Ok((headers, Body::from_stream(opened.into_stream())).into_response())
}

/// A message whose first bytes are there, so that what cannot be read at all is a problem and not a broken answer.
pub(super) struct OpenedMessage {
    first: Option<Bytes>,
    rest: Streaming<OpenMessageResponse>,
}

pub(super) async fn open(
    caller: &Caller,
    services: &Services,
    message: Digest,
) -> Result<OpenedMessage, Problem> {
    let open = OpenMessageRequest {
        scope: Some(everything()),
        tenant: caller.tenant.to_string(),
        message: message.as_bytes().to_vec().into(),
    };
    // No deadline for the whole, which may be long; each piece has one.
    let mut open = Request::new(open);
    *open.metadata_mut() = caller.call(()).metadata().clone();
    open.metadata_mut().remove("grpc-timeout");
    let refused = |status: Status| Service::Catalogue.refused(&status);
    let mut catalogue = services.backends.catalogue.clone();
    let mut rest = in_time(catalogue.open_message(open)).await.map_err(refused)?.into_inner();
    let first = in_time(rest.message()).await.map_err(refused)?.map(|piece| piece.chunk);
    Ok(OpenedMessage { first, rest })
}

async fn in_time<T>(piece: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    let late = |_| Status::deadline_exceeded("the next piece of a message does not come");
    timeout(PIECE_TIME_MAX, piece).await.map_err(late)?
}

impl OpenedMessage {
    /// The next bytes; `None` after the last.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        match self.first.take() {
            Some(first) => Ok(Some(first)),
            None => Ok(in_time(self.rest.message()).await?.map(|piece| piece.chunk)),
        }
    }

    /// At most so many bytes from its beginning, and whether there are more.
    pub(super) async fn beginning(&mut self, bytes_max: usize) -> Result<(Vec<u8>, bool), Status> {
        let mut source = Vec::new();
        while let Some(piece) = self.next().await? {
            let room = bytes_max - source.len();
            source.extend_from_slice(&piece[..piece.len().min(room)]);
            if piece.len() > room {
                return Ok((source, true));
            }
        }
        Ok((source, false))
    }

    fn into_stream(self) -> impl Stream<Item = io::Result<Bytes>> + Send {
        futures::stream::try_unfold(self, async |mut opened| match opened.next().await {
            Ok(piece) => Ok(piece.map(|piece| (piece, opened))),
            Err(status) => {
                // Logs it; the client sees a connection that breaks off.
                let _ = Service::Catalogue.refused(&status);
                Err(io::Error::other("the message cannot be read to its end"))
            }
        })
    }
}
