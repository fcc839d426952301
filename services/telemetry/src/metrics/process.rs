//! The process itself.

use std::{fs, sync::OnceLock, time::Instant};

use super::{PROCESS_RESIDENT_MEMORY, PROCESS_UPTIME};

static STARTED: OnceLock<Instant> = OnceLock::new();

pub(super) fn start() {
    STARTED.get_or_init(Instant::now);
}

pub(super) fn measure() {
    PROCESS_UPTIME.set([], STARTED.get_or_init(Instant::now).elapsed().as_secs_f64());
    if let Some(bytes) = resident_bytes() {
        PROCESS_RESIDENT_MEMORY.set([], bytes as f64);
    }
}

/// `VmRSS` of proc(5), which is in KiB.
fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let kibibytes =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().strip_suffix(" kB")?;
    kibibytes.trim().parse::<u64>().ok()?.checked_mul(1024)
}
