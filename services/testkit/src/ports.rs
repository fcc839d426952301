//! Ports for servers that are stopped and started again.

use std::{
    net::TcpListener,
    sync::atomic::{AtomicU32, Ordering},
};

/// Ports that nobody gets by chance: below those from which Linux takes the near ends of connections (32768 and up).
const PORTS: std::ops::Range<u32> = 12_000..32_000;

/// A port that was free a moment ago, and that this process has given to nobody else. A server that is killed and started
/// again finds it free, unless another test process chose the same one.
pub fn free_port() -> u16 {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let count = PORTS.end - PORTS.start;
    // Test processes that run at the same time begin at different places.
    let first = std::process::id().wrapping_mul(7_919);
    (0..count)
        .map(|_| PORTS.start + first.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed)) % count)
        .filter_map(|port| u16::try_from(port).ok())
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .unwrap_or(0)
}
