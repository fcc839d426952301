//! Channels to services with several replicas.
//!
//! Each target is resolved again and again, each address has one connection that is made anew when it ends, and each call
//! goes to the next replica that has a connection. Not tonic's balancer: that one keeps its certificate for ever, and gives
//! every second call to a replica that is gone.

mod balanced;
mod dial;
mod lent;
mod members;
mod retry;
mod target;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

pub(crate) use self::balanced::Balanced;
pub use self::balanced::CALLS_IN_HAND_MAX;
pub use self::dial::{CONNECT_FAR_SECONDS_MAX, CONNECT_SECONDS_MAX};
pub use self::lent::REPLAY_BYTES_MAX;
use self::members::Names;
pub use self::members::RESOLVE_SECONDS;
pub use self::retry::{ATTEMPTS_MAX, retry_unavailable};
pub use self::target::Target;
use crate::{channel::RpcChannel, tls::ReloadingTls};

/// A channel to whatever stands behind `targets`: the replicas of one service. Needs a tokio runtime; connects at once, in
/// the background, and until the last clone of the channel is dropped.
///
/// A call waits only while it is not known yet whether any replica can be reached; where none can, it fails at once with
/// UNAVAILABLE. A call that no replica has taken goes to another by itself; one that was in hand when its replica died
/// fails with UNAVAILABLE and may be repeated by a caller that knows it to be idempotent ([`retry_unavailable`]).
pub fn connect(targets: &[Target], tls: Arc<ReloadingTls>, pace: Pace) -> RpcChannel {
    RpcChannel::from(Balanced::new(targets, tls, Names::System, pace))
}

/// How often a channel looks whether something has changed, and how long it waits for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    resolve: Duration,
    connect: Duration,
    ping: Duration,
    ping_patience: Duration,
}

impl Pace {
    /// Between services of one network.
    pub const NEAR: Self = Self {
        resolve: Duration::from_secs(RESOLVE_SECONDS),
        connect: Duration::from_secs(CONNECT_SECONDS_MAX),
        ping: Duration::from_secs(10),
        ping_patience: Duration::from_secs(5),
    };

    /// Over a line that an upload may fill: a ping waits behind what is queued for sending.
    pub const FAR: Self = Self {
        resolve: Duration::from_secs(RESOLVE_SECONDS),
        connect: Duration::from_secs(CONNECT_FAR_SECONDS_MAX),
        ping: Duration::from_secs(30),
        ping_patience: Duration::from_secs(60),
    };
}
