//! Health and metrics of an agent, where its configuration asks for them.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use openarchive_domain::Clock;
use openarchive_telemetry::{AdminServer, Readiness, metrics};
use tokio::{net::TcpListener, sync::watch, time::sleep};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::StartError;
use crate::buffer::{Buffer, BufferError, Stats};

pub(super) const NAME: &str = "admin";

/// How often the buffer's figures are read.
const MEASURE_INTERVAL: Duration = Duration::from_secs(5);

pub(super) async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let error = |source| StartError::Bind { listener: NAME.to_owned(), address, source };
    let listener = TcpListener::bind(address).await.map_err(error)?;
    let bound = listener.local_addr().map_err(error)?;
    Ok((listener, bound))
}

/// Answers until `stopping`. Ready: the buffer takes mail.
pub(super) fn start(
    listener: TcpListener,
    buffer: Buffer,
    clock: Arc<dyn Clock>,
    tasks: &TaskTracker,
    stopping: &CancellationToken,
) {
    let asked = buffer.clone();
    let readiness = Readiness::new().needs("buffer", move || {
        let has_room = asked.has_room();
        async move { has_room }
    });
    let stop = stopping.clone();
    tasks.spawn(async move {
        // Its port closes when the agent begins to stop, so nobody is told to stay away before.
        let (_going_on, stopped) = watch::channel(false);
        stop.run_until_cancelled(AdminServer::new(readiness).serve(listener, stopped)).await;
    });
    let stop = stopping.clone();
    tasks.spawn(async move {
        stop.run_until_cancelled(keep_measuring(&buffer, &*clock)).await;
    });
}

async fn keep_measuring(buffer: &Buffer, clock: &dyn Clock) {
    loop {
        if let Err(error) = measure(buffer, clock).await {
            tracing::warn!(%error, "the buffer cannot be measured");
        }
        sleep(MEASURE_INTERVAL).await;
    }
}

async fn measure(buffer: &Buffer, clock: &dyn Clock) -> Result<(), BufferError> {
    let Stats { messages, bytes, oldest_pending, .. } = buffer.stats().await?;
    let lag_millis = oldest_pending.map_or(0, |since| clock.now().as_millis() - since.as_millis());
    metrics::EDGE_BUFFER_MESSAGES.set([], messages as f64);
    metrics::EDGE_BUFFER_BYTES.set([], bytes as f64);
    metrics::EDGE_SYNC_LAG.set([], lag_millis.max(0) as f64 / 1000.0);
    Ok(())
}
