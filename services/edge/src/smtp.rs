//! The journal listener: SMTP (RFC 5321) with what mail servers use, strict about line endings, lenient about content.
//!
//! [`session`] is the protocol without I/O; [`connection`] drives it over a socket; [`listener`] accepts sockets.

mod address;
mod body;
pub mod certificate;
mod command;
mod connection;
pub mod limits;
mod listener;
mod reply;
pub mod session;

pub use listener::{Listener, ListenerContext, Peer, Stop};
