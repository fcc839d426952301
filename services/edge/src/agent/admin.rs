//! Health and metrics of an agent, where its configuration asks for them.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use openarchive_domain::Clock;
use openarchive_telemetry::{AdminServer, Readiness, metrics};
use tokio::{net::TcpListener, sync::watch, time::sleep};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::StartError;
use crate::{
    buffer::{Buffer, BufferError, Stats},
    sync::AlarmKind,
};

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
    let alarms = buffer.alarms().await?;
    for kind in AlarmKind::ALL {
        let is_up = alarms.iter().any(|alarm| alarm.kind == kind.as_str());
        metrics::EDGE_ALARMS.set([kind.as_str()], f64::from(u8::from(is_up)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use openarchive_domain::{SystemClock, Timestamp};

    use super::*;
    use crate::buffer::BufferOptions;

    /// What the metrics say of each kind.
    fn shown() -> Vec<(AlarmKind, bool)> {
        let text = metrics::render();
        let state = |kind: AlarmKind| {
            let line = |value: u8| format!("\nopenarchive_edge_alarms{{kind=\"{kind}\"}} {value}");
            let (down, up) = (text.contains(&line(0)), text.contains(&line(1)));
            assert_ne!(down, up, "{kind}: {text}");
            up
        };
        AlarmKind::ALL.into_iter().map(|kind| (kind, state(kind))).collect()
    }

    #[tokio::test]
    async fn an_alarm_is_shown_from_its_rise_until_it_is_taken_down() {
        let folder = tempfile::tempdir().unwrap();
        let options = BufferOptions { data_dir: folder.path().join("data"), high_water_bytes: 1 << 20 };
        let buffer = Buffer::open(options).unwrap();
        let up = |kinds: &[AlarmKind]| AlarmKind::ALL.map(|kind| (kind, kinds.contains(&kind)));

        measure(&buffer, &SystemClock).await.unwrap();
        assert_eq!(shown(), up(&[]));
        for kind in [AlarmKind::LogForked, AlarmKind::SeatTaken] {
            let at = Timestamp::from_millis(1_700_000_000_000);
            buffer.raise_alarm(kind.as_str(), "found".to_owned(), at).await.unwrap();
        }
        measure(&buffer, &SystemClock).await.unwrap();
        assert_eq!(shown(), up(&[AlarmKind::LogForked, AlarmKind::SeatTaken]));
        buffer.clear_alarm(AlarmKind::LogForked.as_str()).await.unwrap();
        measure(&buffer, &SystemClock).await.unwrap();
        assert_eq!(shown(), up(&[AlarmKind::SeatTaken]));
    }
}
