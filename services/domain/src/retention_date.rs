//! When a retention class ends, and until when what it holds is locked. Calendar steps in UTC.

use jiff::{
    Span, Timestamp as Instant,
    civil::{DateTime, date},
    tz::TimeZone,
};

use crate::{KeepFor, RetentionClass, StartFrom, Timestamp};

/// Years that `system` packs (state, configuration) are locked at a time; extended while the archive lives.
const SYSTEM_LOCK_YEARS: i64 = 10;
/// Years that a lock may be extended beyond the date it began with, so that a part which is sent again and again does
/// not pin the pack it first came in for ever.
pub const LOCK_EXTENSION_YEARS_MAX: i64 = 1;

/// The class keeps for longer than dates can be written (beyond the year 9999).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("retention class {class} counted from {from} ends beyond the year 9999: choose a shorter one")]
pub struct LockDateError {
    class: RetentionClass,
    from: Timestamp,
}

/// The moment mail of `class` expires that was received at `received`. A day that a month does not have becomes its last
/// day. A year end is 00:00 on 1 January of the next year.
pub fn expires_at(class: RetentionClass, received: Timestamp) -> Result<Timestamp, LockDateError> {
    end_of(class, received).and_then(timestamp).ok_or(LockDateError { class, from: received })
}

/// The moment the lock ends of a pack whose youngest content was received at `received`: the class counted in
/// calendar steps in UTC, rounded up to the end of the month (00:00 on the first of the next month).
pub fn lock_until(class: RetentionClass, received: Timestamp) -> Result<Timestamp, LockDateError> {
    let end = end_of(class, received).and_then(round_up_to_month_end).and_then(timestamp);
    end.ok_or(LockDateError { class, from: received })
}

/// The earliest first lock date of a pack whose lock may still be extended to `until`.
pub fn extendable_from(until: Timestamp) -> Timestamp {
    let moved = date_time(until)
        .and_then(|until| until.checked_sub(Span::new().try_years(LOCK_EXTENSION_YEARS_MAX).ok()?).ok())
        .and_then(timestamp);
    // Before the calendar begins every date is later.
    moved.unwrap_or(Timestamp::from_millis(i64::MIN))
}

fn end_of(class: RetentionClass, received: Timestamp) -> Option<DateTime> {
    let received = date_time(received)?;
    let (keep, start) = match class {
        RetentionClass::System => (Span::new().try_years(SYSTEM_LOCK_YEARS).ok()?, received),
        RetentionClass::Mail { keep_for, start_from, erasure: _ } => {
            let start = match start_from {
                StartFrom::Received => received,
                StartFrom::YearEnd => first_of(received.year().checked_add(1)?, 1)?,
            };
            (span_of(keep_for)?, start)
        }
    };
    start.checked_add(keep).ok()
}

fn date_time(moment: Timestamp) -> Option<DateTime> {
    Some(Instant::from_millisecond(moment.as_millis()).ok()?.to_zoned(TimeZone::UTC).datetime())
}

fn timestamp(moment: DateTime) -> Option<Timestamp> {
    Some(Timestamp::from_millis(moment.to_zoned(TimeZone::UTC).ok()?.timestamp().as_millisecond()))
}

fn span_of(keep_for: KeepFor) -> Option<Span> {
    let span = Span::new();
    match keep_for {
        KeepFor::Days(days) => span.try_days(i64::from(days)),
        KeepFor::Months(months) => span.try_months(i64::from(months)),
        KeepFor::Years(years) => span.try_years(i64::from(years)),
    }
    .ok()
}

fn round_up_to_month_end(moment: DateTime) -> Option<DateTime> {
    let month = first_of(moment.year(), moment.month())?;
    if moment == month { Some(month) } else { month.checked_add(Span::new().months(1)).ok() }
}

fn first_of(year: i16, month: i8) -> Option<DateTime> {
    (year <= 9999).then(|| date(year, month, 1).at(0, 0, 0, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(class: &str, received: &str, expected: &str) {
        let until = lock_until(class.parse().unwrap(), received.parse().unwrap()).unwrap();
        assert_eq!(until.to_string(), expected, "{class} from {received}");
    }

    #[test]
    fn a_lock_ends_with_the_month_in_which_the_class_ends() {
        check("10y-received-forbidden", "2026-02-03T04:05:06.789Z", "2036-03-01T00:00:00.000Z");
        check("10y-received-forbidden", "2026-12-31T23:59:59.999Z", "2037-01-01T00:00:00.000Z");
        check("6m-received-permitted", "2026-08-31T12:00:00.000Z", "2027-03-01T00:00:00.000Z");
        check("30d-received-forbidden", "2026-01-01T00:00:00.000Z", "2026-02-01T00:00:00.000Z");
        check("31d-received-forbidden", "2026-01-01T00:00:00.000Z", "2026-02-01T00:00:00.000Z");
        check("31d-received-forbidden", "2026-01-01T00:00:00.001Z", "2026-03-01T00:00:00.000Z");
        check("1y-received-forbidden", "2028-02-29T10:00:00.000Z", "2029-03-01T00:00:00.000Z");
        check("system", "2026-06-15T00:00:00.000Z", "2036-07-01T00:00:00.000Z");
    }

    #[test]
    fn a_year_end_is_the_end_of_the_year_of_receipt() {
        check("10y-yearend-forbidden", "2026-01-01T00:00:00.000Z", "2037-01-01T00:00:00.000Z");
        check("10y-yearend-forbidden", "2026-12-31T23:59:59.999Z", "2037-01-01T00:00:00.000Z");
        check("6m-yearend-forbidden", "2026-07-01T00:00:00.000Z", "2027-07-01T00:00:00.000Z");
        check("45d-yearend-permitted", "2026-07-01T00:00:00.000Z", "2027-03-01T00:00:00.000Z");
    }

    #[test]
    fn a_class_beyond_the_calendar_is_refused() {
        let received = "2026-07-15T00:00:00.000Z".parse().unwrap();
        for (class, fits) in [
            ("7972y-received-forbidden", true),
            ("7973y-received-forbidden", true),
            ("7974y-received-forbidden", false),
            ("4294967295y-received-forbidden", false),
            ("4294967295m-yearend-forbidden", false),
            ("4294967295d-received-forbidden", false),
        ] {
            assert_eq!(lock_until(class.parse().unwrap(), received).is_ok(), fits, "{class}");
        }
        let december = "2026-12-15T00:00:00.000Z".parse().unwrap();
        assert!(lock_until("7973y-received-forbidden".parse().unwrap(), december).is_err());
    }

    #[test]
    fn mail_expires_on_the_day_and_its_lock_is_never_shorter() {
        for (class, received, expected) in [
            ("10y-received-forbidden", "2026-02-03T04:05:06.789Z", "2036-02-03T04:05:06.789Z"),
            ("1y-received-permitted", "2028-02-29T10:00:00.000Z", "2029-02-28T10:00:00.000Z"),
            ("30d-received-permitted", "2026-01-31T00:00:00.000Z", "2026-03-02T00:00:00.000Z"),
            ("6m-yearend-forbidden", "2026-07-01T00:00:00.000Z", "2027-07-01T00:00:00.000Z"),
        ] {
            let (class, received) = (class.parse().unwrap(), received.parse().unwrap());
            let expires = expires_at(class, received).unwrap();
            assert_eq!(expires.to_string(), expected);
            assert!(lock_until(class, received).unwrap() >= expires);
        }
    }

    #[test]
    fn a_lock_is_extended_by_at_most_a_year() {
        let until = "2037-03-01T00:00:00.000Z".parse().unwrap();
        assert_eq!(extendable_from(until).to_string(), "2036-03-01T00:00:00.000Z");
    }
}
