//! How far an import is, for a person who waits.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Whether a person is looking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProgressDisplay {
    /// On stderr, if that is a terminal.
    Bar,
    Hidden,
}

const TEMPLATE: &str = "{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta} {msg}";
const REDRAW_INTERVAL: Duration = Duration::from_millis(500);
const WAITING: &str = "waiting: the buffer is full until the agent has handed mail on";

pub(super) struct Bar {
    bar: ProgressBar,
    waiting: AtomicUsize,
}

impl Bar {
    pub(super) fn new(display: ProgressDisplay, bytes: u64) -> Self {
        let target = match display {
            // Draws nothing where there is no terminal.
            ProgressDisplay::Bar => ProgressDrawTarget::stderr(),
            ProgressDisplay::Hidden => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(Some(bytes), target);
        if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
            bar.set_style(style);
        }
        if !bar.is_hidden() {
            bar.enable_steady_tick(REDRAW_INTERVAL);
        }
        Self { bar, waiting: AtomicUsize::new(0) }
    }

    pub(super) fn passed(&self, bytes: u64) {
        self.bar.inc(bytes);
    }

    /// Until the answer is dropped, the bar says that it waits for room.
    pub(super) fn waiting(&self) -> Waiting<'_> {
        if self.waiting.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::info!("the buffer is full; the import waits until the agent has handed mail on");
            self.bar.set_message(WAITING);
        }
        Waiting(self)
    }

    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

pub(super) struct Waiting<'a>(&'a Bar);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.0.waiting.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.bar.set_message("");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_says_that_it_waits_as_long_as_anybody_does() {
        let bar = Bar::new(ProgressDisplay::Hidden, 100);
        let (one, other) = (bar.waiting(), bar.waiting());
        drop(one);
        assert_eq!(bar.bar.message(), WAITING);
        drop(other);
        assert_eq!(bar.bar.message(), "");
        ProgressStyle::with_template(TEMPLATE).unwrap();
    }
}
