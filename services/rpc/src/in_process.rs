use std::{convert::Infallible, io};

use bytes::Bytes;
use http::{Request, Response};
use hyper_util::rt::TokioIo;
use openarchive_telemetry::TraceServer;
use tokio::{io::DuplexStream, sync::mpsc};
use tokio_stream::{StreamExt, wrappers::UnboundedReceiverStream};
use tonic::{
    body::Body,
    codegen::{Service, StdError},
    server::NamedService,
    service::Routes,
    transport::{Endpoint, Server, Uri, server::Router},
};
use tower::Layer;
use tracing::error;

use crate::{Authorise, PeerIdentity, RpcChannel};

/// Buffer of an in-process connection, each way, in bytes.
const PIPE_BYTES: usize = 1024 * 1024;

/// A channel to `service` that only `caller` may hold: in one process the same table rules, and the same spans are made,
/// as over the network.
pub fn in_process_as<S>(caller: impl Into<PeerIdentity>, service: S) -> RpcChannel
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S: NamedService + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
{
    let mut server = Server::builder().layer(TraceServer).layer(Authorise::fixed(caller.into()));
    in_process(server.add_service(service))
}

/// Serves `router` without a socket and answers a channel to it: the same gRPC code as over the network, in one
/// process. The server ends when the last clone of the channel is dropped.
pub fn in_process<L, B>(router: Router<L>) -> RpcChannel
where
    L: Layer<Routes> + Send + 'static,
    L::Service: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
    <L::Service as Service<Request<Body>>>::Future: Send,
    <L::Service as Service<Request<Body>>>::Error: Into<StdError> + Send,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<StdError>,
{
    let (connect, incoming) = mpsc::unbounded_channel::<DuplexStream>();
    let incoming = UnboundedReceiverStream::new(incoming).map(Ok::<_, io::Error>);
    tokio::spawn(async move {
        if let Err(error) = router.serve_with_incoming(incoming).await {
            error!(%error, "an in-process gRPC server ends");
        }
    });
    let connector = tower::service_fn(move |_: Uri| {
        let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
        let sent = connect.send(theirs);
        async move {
            sent.map_err(|_| io::Error::other("the in-process server has ended"))?;
            Ok::<_, io::Error>(TokioIo::new(ours))
        }
    });
    Endpoint::from_static("http://in-process").connect_with_connector_lazy(connector).into()
}
