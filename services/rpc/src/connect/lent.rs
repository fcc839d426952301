//! A request body that can be had back when its call was not taken after all.
//!
//! A server that says GOAWAY does not process what it had not seen by then (RFC 9113 section 6.8). hyper does not give such
//! requests back, and may have read of their bodies already.

use std::{
    collections::VecDeque,
    mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tonic::{Status, body::Body};

/// Most bytes of a body that are kept, until its call is answered, to be sent again: any small request. Of a longer one
/// nothing is kept.
pub const REPLAY_BYTES_MAX: usize = 64 * 1024;

/// What is sent.
pub(super) struct Lent(Arc<Mutex<Slot>>);

/// What the lender keeps.
pub(super) struct Lender(Arc<Mutex<Slot>>);

struct Slot {
    /// `None` once it has ended.
    rest: Option<Body>,
    /// What was read before `rest`; `None` if it was too long.
    read: Option<VecDeque<Bytes>>,
    read_bytes: usize,
}

impl Slot {
    fn keep(&mut self, frame: &Frame<Bytes>) {
        // gRPC clients send no trailers.
        let Some(data) = frame.data_ref() else { return self.read = None };
        self.read_bytes += data.len();
        match &mut self.read {
            Some(read) if self.read_bytes <= REPLAY_BYTES_MAX => read.push_back(data.clone()),
            _ => self.read = None,
        }
    }
}

fn lock(slot: &Mutex<Slot>) -> MutexGuard<'_, Slot> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lender {
    pub(super) fn of(body: Body) -> Self {
        Self(Arc::new(Mutex::new(Slot { rest: Some(body), read: Some(VecDeque::new()), read_bytes: 0 })))
    }

    pub(super) fn lend(&self) -> Lent {
        Lent(self.0.clone())
    }

    /// The whole body, unless more than [`REPLAY_BYTES_MAX`] of it were read. What was lent is empty from now on.
    pub(super) fn take_back(self) -> Option<Body> {
        let mut slot = lock(&self.0);
        let (read, rest) = (mem::take(&mut slot.read)?, mem::take(&mut slot.rest));
        Some(Body::new(Replay { read, rest: rest.unwrap_or_default() }))
    }
}

impl http_body::Body for Lent {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let mut slot = lock(&self.0);
        let Some(rest) = &mut slot.rest else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(rest).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => slot.keep(frame),
            Some(Err(_)) => slot.read = None,
            None => slot.rest = None,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        lock(&self.0).rest.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        lock(&self.0).rest.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

struct Replay {
    read: VecDeque<Bytes>,
    rest: Body,
}

impl http_body::Body for Replay {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match self.read.pop_front() {
            Some(data) => Poll::Ready(Some(Ok(Frame::data(data)))),
            None => Pin::new(&mut self.rest).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.read.is_empty() && self.rest.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, StreamBody};

    use super::*;

    fn body(frames: &[usize]) -> Body {
        let frames: Vec<_> = frames.iter().map(|length| Bytes::from(vec![b'x'; *length])).collect();
        Body::new(StreamBody::new(futures::stream::iter(
            frames.into_iter().map(|data| Ok::<_, Status>(Frame::data(data))),
        )))
    }

    #[tokio::test]
    async fn a_body_comes_back_whole_or_not_at_all() {
        let check = async |frames: &[usize], read: usize, expected: Option<usize>| {
            let lender = Lender::of(body(frames));
            let mut lent = lender.lend();
            for _ in 0..read {
                lent.frame().await;
            }
            let Some(back) = lender.take_back() else {
                return assert_eq!(expected, None, "{frames:?} {read}");
            };
            // Once more: what was sent twice may have to be sent again.
            let lender = Lender::of(back);
            lender.lend().frame().await;
            let whole = lender.take_back().unwrap().collect().await.unwrap().to_bytes();
            assert_eq!(Some(whole.len()), expected, "{frames:?} {read}");
            assert!(lent.frame().await.is_none(), "what was lent is empty");
        };
        check(&[3, 4, 5], 0, Some(12)).await;
        check(&[3, 4, 5], 2, Some(12)).await;
        check(&[3, 4, 5], 4, Some(12)).await;
        check(&[REPLAY_BYTES_MAX - 1, 1, 9], 2, Some(REPLAY_BYTES_MAX + 9)).await;
        check(&[REPLAY_BYTES_MAX, 1, 9], 2, None).await;
        check(&[REPLAY_BYTES_MAX, 1, 9], 3, None).await;
    }
}
