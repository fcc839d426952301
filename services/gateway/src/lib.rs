//! REST for people and programs.
//!
//! Architecture invariant: every read is an audit leaf first. No byte of an answer leaves before the leaf that says so
//! is durable and its opening is kept; where that fails, there is no answer. Tenant and actor come from the token only.
//!
//! Life of a request: [`server`](serve) takes the connection, `request_id` names it and renders what goes wrong,
//! `caller` knows the token, a file under `routes` parses, calls and maps, `audit` records.

mod audit;
mod backends;
mod caller;
mod extract;
mod gateway;
mod openapi;
mod problem;
mod refusal;
mod request_id;
mod routes;
mod server;
mod stalled_write;
mod token;

pub use caller::TOKEN_PREFIX;
pub use extract::{BODY_BYTES_MAX, LARGE_BODIES_AT_ONCE_MAX, LARGE_BODY_BYTES_MAX};
pub use gateway::{Gateway, GatewayConfig};
pub use openapi::openapi_document;
pub use request_id::{REQUEST_ID_BYTES_MAX, REQUEST_TIME_MAX};
pub use routes::{
    AUDIT_LEAVES_DEFAULT, AUDIT_LEAVES_MAX, EXPIRY_PLAN_MESSAGES_MAX, HIGHLIGHT_SOURCE_BYTES_MAX,
    HIGHLIGHTED_HITS_MAX, HIGHLIGHTS_AT_ONCE_MAX, HIGHLIGHTS_TIME_MAX, HOLD_MESSAGES_MAX,
    QUARANTINE_LIST_MAX, QUERY_BYTES_MAX, REASON_BYTES_MAX, SHRED_MESSAGES_MAX, TEXT_SOURCE_BYTES_MAX,
    TEXT_VIEWS_MAX,
};
pub use server::{
    CONNECTIONS_MAX, GatewayTls, HANDSHAKE_TIME_MAX, HEADER_TIME_MAX, SHUTDOWN_TIME_MAX,
    WRITE_STALL_TIME_MAX, serve,
};
pub use token::TokenSummary;
