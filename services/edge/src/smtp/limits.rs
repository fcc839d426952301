//! Every bound on a session, with the sections of RFC 5321 they come from.

use std::time::Duration;

/// Longest command line with its CRLF. RFC 5321 section 4.5.3.1.4 asks for 512, SIZE, BODY and SMTPUTF8 add 53, and
/// `jrn+LOCAL=DOMAIN@HOST` holds a second address.
pub const COMMAND_LINE_BYTES_MAX: usize = 1024;

/// Recipients of one mail; the sender brings the rest in a second transaction (RFC 5321 section 4.5.3.1.8 asks for 100).
pub const RECIPIENTS_MAX: usize = 1000;

/// What is read beyond the size limit of a mail that is too large, in the hope of its end, before we hang up. A refused
/// BDAT chunk is read over up to this size; with a longer one the session ends at once.
pub const REFUSED_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Commands that are answered with an error before the session is closed.
pub const ERRORS_MAX: u32 = 20;

/// Longest answer of a client to a command of ours, and between its commands (RFC 5321 section 4.5.3.2.7). For a whole
/// command: single bytes do not extend it.
pub const COMMAND_TIMEOUT: Duration = Duration::from_mins(5);

/// A mail's body must be over after this time and one second for each [`BODY_BYTES_PER_SECOND_MIN`] received.
pub const BODY_TIMEOUT: Duration = Duration::from_mins(3);

pub const BODY_BYTES_PER_SECOND_MIN: u64 = 1024;

pub const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_mins(1);

/// How long a client may take to read what we answer.
pub const WRITE_TIMEOUT: Duration = Duration::from_mins(1);

/// After our last word, how long and how much we still read so that the client gets to see it.
pub const LINGER_TIMEOUT: Duration = Duration::from_secs(2);
pub const LINGER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Sessions of one listener at a time, by default.
pub const CONNECTIONS_MAX: usize = 2000;

/// Sessions of one peer entry at a time, by default: fewer than [`CONNECTIONS_MAX`], so that one peer cannot shut out
/// the others.
pub const PEER_CONNECTIONS_MAX: usize = 1500;

/// Read at a time between mails; small, since most sessions are idle most of the time.
pub const COMMAND_READ_BYTES: usize = 2 * 1024;

/// Read at a time within a mail.
pub const BODY_READ_BYTES: usize = 64 * 1024;

const _: () = assert!(COMMAND_READ_BYTES >= COMMAND_LINE_BYTES_MAX);
