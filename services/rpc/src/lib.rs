//! What every gRPC service and caller shares.

mod authorise;
mod channel;
mod connect;
mod errors;
mod identity;
mod in_process;
mod serve;
mod tls;

pub use authorise::{Authorise, Authorised};
pub use channel::{CALL_SECONDS_MAX, RpcChannel};
pub use connect::{
    ATTEMPTS_MAX, CALLS_IN_HAND_MAX, CONNECT_FAR_SECONDS_MAX, CONNECT_SECONDS_MAX, Pace, REPLAY_BYTES_MAX,
    RESOLVE_SECONDS, Target, connect, retry_unavailable,
};
pub use errors::{has_reason, refusal};
pub use identity::{AgentIdentity, IdentityError, PeerIdentity};
pub use in_process::{in_process, in_process_as};
pub use openarchive_topology::Role;
pub use serve::{
    CALLS_PER_CONNECTION_MAX, CONNECTION_AGE_SECONDS_MAX, CONNECTIONS_MAX, DRAIN_SECONDS_MAX,
    HANDSHAKE_SECONDS_MAX, HANDSHAKES_AT_ONCE_MAX, ServeLimits, ServerTls, serve, serve_within,
    server_builder,
};
pub use tls::{
    ClientCertificates, ReloadingCertificate, ReloadingTls, TLS_CHECK_SECONDS, TLS_FILE_BYTES_MAX, TlsError,
    TlsFiles,
};

/// Largest gRPC message, both ways, in bytes: a full index batch (32 MiB) with its framing. Longer content is streamed.
pub const RPC_MESSAGE_BYTES_MAX: usize = 34 * 1024 * 1024;

/// Largest piece of a streamed body, in bytes.
pub const CHUNK_BYTES_MAX: usize = 256 * 1024;
