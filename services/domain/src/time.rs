use std::{fmt, str::FromStr, sync::Mutex};

use crate::ParseError;

/// A moment in UTC, to the millisecond. Written `YYYY-MM-DDTHH:MM:SS.mmmZ`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    pub const fn as_millis(self) -> i64 {
        self.0
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(time) => write!(f, "{time:.3}"),
            Err(_) => write!(f, "{}ms", self.0),
        }
    }
}

impl FromStr for Timestamp {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let expected = "a UTC time as YYYY-MM-DDTHH:MM:SS.mmmZ";
        let error = || ParseError::new("time", text, expected);
        let time: jiff::Timestamp = text.parse().map_err(|_| error())?;
        let parsed = Self(time.as_millisecond());
        if parsed.to_string() == text { Ok(parsed) } else { Err(error()) }
    }
}

/// Where the time comes from. Two implementations: the system's, and a fixed one that tests move by hand.
pub trait Clock: Send + Sync + 'static {
    fn now(&self) -> Timestamp;
}

/// The system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system clock")]
    fn now(&self) -> Timestamp {
        Timestamp(jiff::Timestamp::now().as_millisecond())
    }
}

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub struct FixedClock(Mutex<Timestamp>);

impl FixedClock {
    pub const fn at(time: Timestamp) -> Self {
        Self(Mutex::new(time))
    }

    pub fn set(&self, time: Timestamp) {
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = time;
    }
}

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_written_in_utc_with_milliseconds_and_nothing_else_is_read() {
        let time = Timestamp::from_millis(1_700_000_000_120);
        assert_eq!(time.to_string(), "2023-11-14T22:13:20.120Z");
        assert_eq!("2023-11-14T22:13:20.120Z".parse(), Ok(time));
        assert_eq!(Timestamp::from_millis(0).to_string(), "1970-01-01T00:00:00.000Z");
        for bad in ["2023-11-14T22:13:20Z", "2023-11-14T23:13:20.120+01:00", "yesterday", ""] {
            assert!(bad.parse::<Timestamp>().is_err(), "{bad}");
        }
    }
}
