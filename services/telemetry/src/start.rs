//! Sets a process's logs and traces up, and sends what is left of them at its end.

use std::{
    io::{self, IsTerminal as _},
    time::Duration,
};

use openarchive_domain::random;
use opentelemetry::{SpanId, TraceId, trace::TracerProvider as _};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::{
    Resource,
    trace::{BatchConfigBuilder, BatchSpanProcessor, IdGenerator, Sampler, SdkTracerProvider},
};
use tokio::runtime::Handle;
use tracing::Dispatch;
use tracing_subscriber::{
    EnvFilter, Layer as _, Registry,
    filter::{FilterExt as _, ParseError},
    fmt::MakeWriter,
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use crate::{
    config::{LogFormat, TelemetryConfig},
    ids::{KeepIds, our_spans},
    log, metrics,
};

/// Longest that the end of a process waits for its last spans to be taken, in seconds.
pub const FLUSH_SECONDS_MAX: u64 = 5;

/// How long spans are gathered before they are sent.
const SEND_EVERY: Duration = Duration::from_secs(1);
/// Longest that a collector may take for a batch.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub enum InitError {
    #[error("the log filter {filter:?} cannot be read: {source}")]
    Filter { filter: String, source: ParseError },
    #[error("the collector's address cannot be used: {0}")]
    Collector(#[from] ExporterBuildError),
    #[error("traces are sent from within a tokio runtime, and there is none")]
    NoRuntime,
    #[error("logs were set up before")]
    Twice,
}

/// Sends what is left when it is dropped; keep it until the end of `main`, inside of the runtime.
#[derive(Debug)]
#[must_use = "dropped, it ends the traces"]
pub struct TelemetryGuard(SdkTracerProvider);

impl TelemetryGuard {
    /// Sends the spans that have ended so far; whether a collector took them. Blocks its thread, at most
    /// [`FLUSH_SECONDS_MAX`]; needs another thread of the runtime.
    pub fn flush(&self) -> bool {
        self.0.force_flush().is_ok()
    }
}

impl Drop for TelemetryGuard {
    fn drop(&mut self) {
        // A collector that is away is no reason to fail, or to say so at every end.
        let _ = self.0.shutdown_with_timeout(Duration::from_secs(FLUSH_SECONDS_MAX));
    }
}

/// Logs to stderr and traces to the collector, for the whole process and once. With a collector, call it inside of a
/// multi-threaded tokio runtime.
pub fn init(config: &TelemetryConfig) -> Result<TelemetryGuard, InitError> {
    let (dispatch, guard) = build(config, io::stderr, io::stderr().is_terminal())?;
    dispatch.try_init().map_err(|_| InitError::Twice)?;
    metrics::start(&config.role);
    Ok(guard)
}

/// What [`init`] sets up, for a test that sets it up for itself.
pub fn build<W>(
    config: &TelemetryConfig,
    writer: W,
    ansi: bool,
) -> Result<(Dispatch, TelemetryGuard), InitError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(&config.filter)
        .map_err(|source| InitError::Filter { filter: config.filter.clone(), source })?;
    let provider = provider(config)?;
    let traces = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("openarchive"))
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        .with_context_activation(false)
        // Log lines stay in the log.
        .with_filter(our_spans());
    // Whatever the filter says of lines, the spans that they stand in must be seen: they hold the ids.
    let lines = filter.or(our_spans());
    let lines = match config.format {
        LogFormat::Json => tracing_subscriber::fmt::layer()
            .event_format(log::Json { role: config.role.clone() })
            .with_writer(writer)
            .with_filter(lines)
            .boxed(),
        LogFormat::Text => tracing_subscriber::fmt::layer()
            .event_format(log::Text)
            .with_ansi(ansi)
            .with_writer(writer)
            .with_filter(lines)
            .boxed(),
    };
    let dispatch = Registry::default().with(KeepIds.with_filter(our_spans())).with(lines).with(traces).into();
    Ok((dispatch, TelemetryGuard(provider)))
}

fn provider(config: &TelemetryConfig) -> Result<SdkTracerProvider, InitError> {
    let ratio = Sampler::TraceIdRatioBased(config.sample_ratio);
    let builder = SdkTracerProvider::builder()
        .with_resource(
            Resource::builder_empty().with_service_name(format!("openarchive-{}", config.role)).build(),
        )
        .with_sampler(Sampler::ParentBased(Box::new(ratio)))
        .with_id_generator(Ids);
    let Some(endpoint) = &config.otlp_endpoint else { return Ok(builder.build()) };
    Handle::try_current().map_err(|_| InitError::NoRuntime)?;
    let exporter =
        SpanExporter::builder().with_tonic().with_endpoint(endpoint).with_timeout(SEND_TIMEOUT).build()?;
    let batches = BatchConfigBuilder::default().with_scheduled_delay(SEND_EVERY).build();
    let processor = BatchSpanProcessor::builder(exporter).with_batch_config(batches).build();
    Ok(builder.with_span_processor(processor).build())
}

/// Ids from the one place that reads randomness.
#[derive(Debug)]
struct Ids;

impl IdGenerator for Ids {
    fn new_trace_id(&self) -> TraceId {
        TraceId::from_bytes(random::bytes())
    }

    fn new_span_id(&self) -> SpanId {
        SpanId::from_bytes(random::bytes())
    }
}
