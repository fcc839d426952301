use std::io;

use hyper_util::rt::TokioIo;
use tokio::{io::DuplexStream, sync::mpsc};
use tokio_stream::{StreamExt, wrappers::UnboundedReceiverStream};
use tonic::transport::{Channel, Endpoint, Uri, server::Router};
use tracing::error;

/// Buffer of an in-process connection, each way, in bytes.
const PIPE_BYTES: usize = 1024 * 1024;

/// Serves `router` without a socket and answers a channel to it: the same gRPC code as over the network, in one
/// process. The server ends when the last clone of the channel is dropped.
pub fn in_process(router: Router) -> Channel {
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
    Endpoint::from_static("http://in-process").connect_with_connector_lazy(connector)
}
