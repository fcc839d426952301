//! Each call is authorised by the caller's certificate and the one table, before any handler sees it.

#[cfg(test)]
mod tests;

use std::{
    future::{Ready, ready},
    sync::Arc,
    task::{Context, Poll},
};

use futures::future::Either;
use http::{Request, Response};
use openarchive_telemetry::{metrics::AUTHORISATION_REFUSALS, record_caller};
use openarchive_topology::{may_call, method_at};
use tonic::{
    Code, Status,
    codegen::Service,
    transport::server::{TcpConnectInfo, TlsConnectInfo},
};
use tower::Layer;
use tracing::warn;

use crate::{PeerIdentity, refusal};

/// A layer over a server: identifies the caller, asks `openarchive_topology`, and refuses or hands on with the
/// [`PeerIdentity`] in the request's extensions. A refusal is logged with method and class of caller, and counted.
#[derive(Debug, Clone)]
pub struct Authorise(Source);

#[derive(Debug, Clone)]
enum Source {
    /// The client certificate of the connection, within this trust domain.
    Certificate {
        domain: Arc<str>,
    },
    Fixed(PeerIdentity),
}

struct Refusal {
    /// Class of the caller; never who exactly it is.
    caller: &'static str,
    status: Status,
}

impl Authorise {
    /// Over a socket: who calls is who the client certificate names.
    pub fn by_certificate(domain: &str) -> Self {
        Self(Source::Certificate { domain: domain.into() })
    }

    /// In one process: whoever holds this channel is `caller`.
    pub fn fixed(caller: PeerIdentity) -> Self {
        Self(Source::Fixed(caller))
    }

    fn check<B>(&self, request: &Request<B>) -> Result<PeerIdentity, Refusal> {
        let identity = self.identify(request)?;
        let caller = identity.caller();
        if may_call(request.uri().path(), caller) {
            return Ok(identity);
        }
        let status = match identity {
            PeerIdentity::Anonymous => refusal(
                Code::Unauthenticated,
                "NO_CERTIFICATE",
                "this call needs a client certificate of this archive",
            ),
            PeerIdentity::Service(_) | PeerIdentity::Agent(_) => {
                let message = format!("a caller of class {} may not call this", caller.class());
                refusal(Code::PermissionDenied, "NOT_AUTHORISED", message)
            }
        };
        Err(Refusal { caller: caller.class(), status })
    }

    fn identify<B>(&self, request: &Request<B>) -> Result<PeerIdentity, Refusal> {
        let domain = match &self.0 {
            Source::Fixed(identity) => return Ok(identity.clone()),
            Source::Certificate { domain } => domain,
        };
        let certificates =
            request.extensions().get::<TlsConnectInfo<TcpConnectInfo>>().and_then(TlsConnectInfo::peer_certs);
        // The first is the client's own (RFC 8446 section 4.4.2); the others are its issuers.
        match certificates.as_deref().and_then(|certificates| certificates.first()) {
            Some(own) => PeerIdentity::of_certificate(own, domain)
                .map_err(|error| Refusal { caller: UNIDENTIFIED, status: error.status() }),
            None => Ok(PeerIdentity::Anonymous),
        }
    }
}

impl Refusal {
    /// Logs and counts. A path that is not in the table is the caller's own text, of any length: it is taken for none.
    fn note(&self, path: &str) {
        let method = method_at(path).map_or(UNKNOWN_METHOD, |method| method.path);
        let method = method.strip_prefix('/').unwrap_or(method);
        AUTHORISATION_REFUSALS.inc([method, self.caller]);
        record_caller(self.caller);
        warn!(method, caller = self.caller, code = ?self.status.code(), "a call is refused");
    }
}

/// Class of a caller whose certificate names nobody of this archive.
const UNIDENTIFIED: &str = "unidentified";
/// Stands for every method that does not exist.
const UNKNOWN_METHOD: &str = "unknown";

impl<S> Layer<S> for Authorise {
    type Service = Authorised<S>;

    fn layer(&self, inner: S) -> Authorised<S> {
        Authorised { rule: self.clone(), inner }
    }
}

/// A server behind [`Authorise`].
#[derive(Debug, Clone)]
pub struct Authorised<S> {
    rule: Authorise,
    inner: S,
}

impl<S, B, R> Service<Request<B>> for Authorised<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Default,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<Response<R>, S::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        match self.rule.check(&request) {
            Ok(identity) => {
                record_caller(identity.caller().class());
                request.extensions_mut().insert(identity);
                Either::Left(self.inner.call(request))
            }
            Err(refusal) => {
                refusal.note(request.uri().path());
                Either::Right(ready(Ok(refusal.status.into_http())))
            }
        }
    }
}
