use std::{fmt, str::FromStr};

use jiff::{ToSpan as _, civil::Date};

/// A calendar day in UTC, year 0 to 9999. Written `YYYY-MM-DD`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(Date);

/// Not a day of the calendar, or not written as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no day of the calendar: write YYYY-MM-DD")]
pub struct NoDay;

const DAY_MILLIS: i64 = 24 * 60 * 60 * 1000;
const EPOCH: Date = Date::constant(1970, 1, 1);

impl Day {
    /// Its first millisecond, since 1970-01-01T00:00:00Z.
    pub fn start_millis(self) -> i64 {
        self.0.duration_since(EPOCH).as_secs() * 1000
    }

    /// The first millisecond after it.
    pub fn end_millis(self) -> i64 {
        self.start_millis() + DAY_MILLIS
    }

    /// The day before; `None` before year 0.
    pub fn previous(self) -> Option<Self> {
        self.0.checked_sub(1.day()).ok().filter(|date| date.year() >= 0).map(Self)
    }
}

impl FromStr for Day {
    type Err = NoDay;

    fn from_str(text: &str) -> Result<Self, NoDay> {
        let shape = text.len() == 10
            && text.bytes().enumerate().all(|(at, byte)| match at {
                4 | 7 => byte == b'-',
                _ => byte.is_ascii_digit(),
            });
        if !shape {
            return Err(NoDay);
        }
        let number = |range: std::ops::Range<usize>| text[range].parse::<i16>().map_err(|_| NoDay);
        let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
        Date::new(year, month as i8, day as i8).map(Self).map_err(|_| NoDay)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.0.year(), self.0.month(), self.0.day())
    }
}

/// A range of days, both ends included; open where `None`. Never open at both ends, never reversed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DateRange {
    first: Option<Day>,
    last: Option<Day>,
}

impl DateRange {
    /// `None` if both ends are open or the first day is after the last.
    pub fn new(first: Option<Day>, last: Option<Day>) -> Option<Self> {
        let valid = match (first, last) {
            (None, None) => false,
            (Some(first), Some(last)) => first <= last,
            _ => true,
        };
        valid.then_some(Self { first, last })
    }

    pub const fn first(&self) -> Option<Day> {
        self.first
    }

    pub const fn last(&self) -> Option<Day> {
        self.last
    }
}

impl fmt::Display for DateRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.first, self.last) {
            (Some(first), Some(last)) if first == last => write!(f, "date:{first}"),
            (first, last) => {
                f.write_str("date:")?;
                first.map_or(Ok(()), |day| write!(f, "{day}"))?;
                f.write_str("..")?;
                last.map_or(Ok(()), |day| write!(f, "{day}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_a_day_of_the_calendar_in_one_form_only() {
        for (text, start) in [
            ("1970-01-01", 0),
            ("1969-12-31", -DAY_MILLIS),
            ("2024-02-29", 1_709_164_800_000),
            ("0000-01-01", -62_167_219_200_000),
            ("9999-12-31", 253_402_214_400_000),
        ] {
            let day: Day = text.parse().unwrap();
            assert_eq!((day.to_string().as_str(), day.start_millis()), (text, start));
            assert_eq!(day.end_millis() - start, DAY_MILLIS);
        }
        for bad in [
            "2023-02-29",
            "2024-13-01",
            "2024-00-10",
            "2024-1-1",
            "24-01-01",
            "2024-01-0１",
            "+024-01-01",
            "",
        ] {
            assert_eq!(bad.parse::<Day>(), Err(NoDay), "{bad}");
        }
        assert_eq!("0000-01-01".parse::<Day>().unwrap().previous(), None);
        assert_eq!("2024-03-01".parse::<Day>().unwrap().previous().unwrap().to_string(), "2024-02-29");
    }
}
