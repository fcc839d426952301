use std::{
    thread,
    time::{Duration, Instant},
};

/// Waits until `condition` answers a value; fails with what was waited for after `seconds`.
pub fn eventually<T>(what: &str, seconds: u64, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited {seconds} s in vain: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}
