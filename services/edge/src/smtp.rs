//! The journal listener: SMTP (RFC 5321) or LMTP (RFC 2033) with what mail servers use, strict about line endings,
//! lenient about content.
//!
//! [`session`] is the protocol without I/O; [`connection`] drives it over a socket; [`listener`] accepts sockets.

mod address;
mod body;
pub mod certificate;
mod command;
mod connection;
pub mod limits;
mod listener;
mod peer;
mod rate;
mod reply;
pub mod session;

pub use listener::{Listener, ListenerContext, Stop};
pub use peer::{Peer, PeerLimits};
pub use rate::RATE_PER_MINUTE_MAX;
