//! A wrapper around a real gRPC service in which one call goes wrong.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use tonic::{
    Status,
    body::Body,
    codegen::{Service, http},
    server::NamedService,
};

/// When a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fails {
    /// Nothing was done.
    Before,
    /// It was done; only the answer is lost.
    After,
}

/// The next call of one method goes wrong, once.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults(Arc<Mutex<Option<(&'static str, Fails)>>>);

impl Faults {
    pub(crate) fn plan(&self, method: &'static str, fails: Fails) {
        *self.0.lock().unwrap() = Some((method, fails));
    }

    /// Whether the planned fault has happened.
    pub(crate) fn is_spent(&self) -> bool {
        self.0.lock().unwrap().is_none()
    }

    fn take(&self, path: &str) -> Option<Fails> {
        let mut plan = self.0.lock().unwrap();
        let (method, fails) = (*plan)?;
        if path.rsplit('/').next() != Some(method) {
            return None;
        }
        *plan = None;
        Some(fails)
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Faulty<S> {
    pub(crate) inner: S,
    pub(crate) faults: Faults,
}

impl<S: NamedService> NamedService for Faulty<S> {
    const NAME: &'static str = S::NAME;
}

type Answer = http::Response<Body>;

impl<S> Service<http::Request<Body>> for Faulty<S>
where
    S: Service<http::Request<Body>, Response = Answer, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Answer;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Answer, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let fault = || Ok(Status::unavailable("a planned fault").into_http());
        match self.faults.take(request.uri().path()) {
            Some(Fails::Before) => Box::pin(async move { fault() }),
            Some(Fails::After) => {
                let answer = self.inner.call(request);
                Box::pin(async move {
                    drop(answer.await);
                    fault()
                })
            }
            None => Box::pin(self.inner.call(request)),
        }
    }
}
