//! Calls, each to the next replica that has a connection.

use std::{
    error::Error,
    io, iter,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderMap, Request, Response, Uri, uri::Scheme};
use http_body_util::BodyExt as _;
use hyper::client::conn::TrySendError;
use tokio::{
    sync::{Semaphore, watch},
    time::timeout,
};
use tokio_util::task::AbortOnDropHandle;
use tonic::{Status, body::Body, codegen::Service};

use super::{
    Pace,
    dial::{Dialer, Sender},
    lent::{Lender, Lent},
    members::{Members, Names, Pick, keep},
    target::Target,
};
use crate::tls::ReloadingTls;

/// Most calls at a time on one channel that have no answer yet; further ones wait, within their deadline.
pub const CALLS_IN_HAND_MAX: usize = 1024;

/// How often a call that no service has seen is given to a replica.
const SENDS: usize = 8;

/// Cheap to clone; the last clone takes the connections with it once their calls have ended.
#[derive(Clone)]
pub(crate) struct Balanced(Arc<Shared>);

struct Shared {
    targets: Arc<[Target]>,
    members: watch::Receiver<Members>,
    turn: AtomicUsize,
    calls: Semaphore,
    _keeper: AbortOnDropHandle<()>,
}

impl Balanced {
    pub(super) fn new(targets: &[Target], tls: Arc<ReloadingTls>, names: Names, pace: Pace) -> Self {
        let targets: Arc<[Target]> = targets.into();
        let (sender, members) = watch::channel(Members::default());
        let keeper = tokio::spawn(keep(targets.clone(), names, Dialer { tls, pace }, sender));
        Self(Arc::new(Shared {
            targets,
            members,
            turn: AtomicUsize::new(0),
            calls: Semaphore::new(CALLS_IN_HAND_MAX),
            _keeper: AbortOnDropHandle::new(keeper),
        }))
    }
}

impl Service<Request<Body>> for Balanced {
    type Response = Response<Body>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Status>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let shared = self.0.clone();
        Box::pin(async move {
            let Some(deadline) = grpc_timeout(request.headers()) else { return shared.send(request).await };
            timeout(deadline, shared.send(request))
                .await
                .unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer within the call's deadline")))
        })
    }
}

impl Shared {
    async fn send(&self, request: Request<Body>) -> Result<Response<Body>, Status> {
        // Never closed.
        let _turn = self.calls.acquire().await;
        let mut members = self.members.clone();
        let (mut head, mut body) = request.into_parts();
        for _ in 0..SENDS {
            let (target, mut sender) = self.pick(&mut members).await?;
            head.uri = uri_at(target, head.uri)?;
            let lender = Lender::of(body);
            let answer = sender.try_send_request(Request::from_parts(head.clone(), lender.lend()));
            // A request that is queued at the very moment at which its connection ends comes back only when the last
            // sender of that connection is gone: whoever waited for the answer with one in his hand would wait for ever.
            drop(sender);
            match answer.await {
                Ok(response) => return Ok(response.map(|body| Body::new(body.map_err(status_of)))),
                Err(failed) if was_not_taken(&failed) => match lender.take_back() {
                    Some(whole) => body = whole,
                    None => return Err(status_of(failed.into_error())),
                },
                Err(failed) => return Err(status_of(failed.into_error())),
            }
        }
        Err(Status::unavailable("each replica stopped before it took the call"))
    }

    async fn pick(&self, members: &mut watch::Receiver<Members>) -> Result<(&Target, Sender), Status> {
        loop {
            let pick = members.borrow_and_update().pick(self.turn.fetch_add(1, Ordering::Relaxed));
            match pick {
                Pick::Use(member, sender) => return Ok((&self.targets[member.target], sender)),
                Pick::Nobody(why) => {
                    return Err(Status::unavailable(format!("no replica can be reached: {why}")));
                }
                Pick::Wait => members
                    .changed()
                    .await
                    .map_err(|_| Status::unavailable("the channel's runtime has ended"))?,
            }
        }
    }
}

fn uri_at(target: &Target, uri: Uri) -> Result<Uri, Status> {
    let mut parts = uri.into_parts();
    parts.scheme = Some(Scheme::HTTPS);
    parts.authority = Some(target.authority.clone());
    Uri::from_parts(parts).map_err(|_| Status::internal("a method without a path"))
}

/// Whether no service has seen the call, so that another replica may have it as if it had been chosen at first: the
/// connection had ended before, or its server said that it had seen only calls before this one (RFC 9113 section 6.8).
fn was_not_taken(failed: &TrySendError<Request<Lent>>) -> bool {
    failed.message().is_some()
        || h2_errors(failed.error()).any(|error| error.is_go_away() && error.is_remote())
}

/// A lost connection is UNAVAILABLE, whichever way it was lost; what the server says about one call is that.
fn status_of(error: hyper::Error) -> Status {
    let lost = error.is_timeout()
        || error.is_canceled()
        || error.is_closed()
        || causes(&error).any(<dyn Error>::is::<io::Error>)
        || h2_errors(&error).any(|error| error.is_io() || error.is_go_away());
    if lost {
        Status::unavailable(format!("the connection to a replica was lost: {error}"))
    } else {
        Status::from_error(error.into())
    }
}

fn h2_errors(error: &hyper::Error) -> impl Iterator<Item = &h2::Error> {
    causes(error).filter_map(|cause| cause.downcast_ref())
}

fn causes(error: &hyper::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    iter::successors(error.source(), |&cause| cause.source())
}

/// The gRPC deadline of a request (`grpc-timeout`: up to eight digits and a unit).
fn grpc_timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let count: u32 = digits.parse().ok()?;
    let unit = match unit {
        "H" => Duration::from_secs(3600),
        "M" => Duration::from_secs(60),
        "S" => Duration::from_secs(1),
        "m" => Duration::from_millis(1),
        "u" => Duration::from_micros(1),
        "n" => Duration::from_nanos(1),
        _ => return None,
    };
    Some(unit * count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_read_in_each_unit() {
        let check = |text: &str, expected: Option<Duration>| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", text.parse().unwrap());
            assert_eq!(grpc_timeout(&headers), expected, "{text}");
        };
        check("99999999H", Some(Duration::from_secs(99_999_999 * 3600)));
        check("2M", Some(Duration::from_secs(120)));
        check("3S", Some(Duration::from_secs(3)));
        check("30000000u", Some(Duration::from_secs(30)));
        check("5m", Some(Duration::from_millis(5)));
        check("7n", Some(Duration::from_nanos(7)));
        for wrong in ["", "S", "3", "3s", "-3S", "99999999999S"] {
            check(wrong, None);
        }
        assert_eq!(grpc_timeout(&HeaderMap::new()), None);
    }
}
