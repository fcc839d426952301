//! What every role shows of itself: traces, logs, metrics, health.
//!
//! Architecture invariants:
//! - No address, subject, body, key or token gets into a span, a metric or a log line. Spans have the fields that are
//!   written in `span.rs` and no other; labels of metrics come from closed sets, and a tenant's name is the most personal
//!   thing among them.
//! - Nothing here may hold up the archive: spans that cannot be sent are dropped, and a collector that is away is no error.

mod admin;
mod config;
mod grpc;
mod http_call;
mod http_get;
mod ids;
mod log;
pub mod metrics;
pub mod propagation;
mod request_id;
mod span;
mod start;

pub use admin::{
    ADMIN_CONNECTION_SECONDS_MAX, ADMIN_CONNECTIONS_MAX, AdminLimits, AdminServer, READY_CHECK_SECONDS_MAX,
    Readiness,
};
pub use config::{ConfigError, LogFormat, TelemetryConfig};
pub use grpc::{TraceServer, Traced, TracedBody};
pub use http_call::HttpCall;
pub use http_get::http_get;
pub use request_id::{REQUEST_ID_BYTES_MAX, REQUEST_ID_HEADER};
pub use span::{batch_span, job_span, record_caller, work_span};
pub use start::{FLUSH_SECONDS_MAX, InitError, TelemetryGuard, build, init};
