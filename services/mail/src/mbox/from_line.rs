use openarchive_domain::Timestamp;

/// Whether a line begins a message; `after_blank` says that an empty line, or nothing, stands before it.
pub(super) fn begins_message(line: &[u8], after_blank: bool) -> bool {
    let Some(rest) = line.strip_prefix(b"From ") else { return false };
    has_time_of_day(rest) && (after_blank || has_year(rest))
}

/// `9:05` or `09:05`.
fn has_time_of_day(rest: &[u8]) -> bool {
    let is_time =
        |w: &[u8]| w[0].is_ascii_digit() && w[1] == b':' && w[2].is_ascii_digit() && w[3].is_ascii_digit();
    rest.windows(4).any(is_time)
}

fn has_year(rest: &[u8]) -> bool {
    let is_year = |word: &[u8]| {
        word.len() == 4
            && (word.starts_with(b"19") || word.starts_with(b"20"))
            && word.iter().all(u8::is_ascii_digit)
    };
    rest.split(u8::is_ascii_whitespace).any(is_year)
}

/// RFC 4155: sender and time in UTC as asctime writes it. Anything that could break the line is taken out of the
/// sender; an empty one (a bounce) is written MAILER-DAEMON.
pub(super) fn from_line(sender: &str, time: Timestamp) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    const SECONDS_A_DAY: i64 = 86_400;

    let sender: String = sender.chars().filter(|c| !c.is_whitespace() && !c.is_control()).take(320).collect();
    let sender = if sender.is_empty() { "MAILER-DAEMON" } else { &sender };
    let seconds = time.as_millis().div_euclid(1000);
    let days = seconds.div_euclid(SECONDS_A_DAY);
    let of_day = seconds.rem_euclid(SECONDS_A_DAY);
    let (year, month, day) = civil_date(days);
    let weekday = DAYS[days.rem_euclid(7) as usize];
    let month = MONTHS[(month - 1) as usize];
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("From {sender} {weekday} {month} {day:>2} {hour:02}:{minute:02}:{second:02} {year:04}\n")
}

/// Year, month (1 to 12) and day of a day counted from 1970-01-01, in the proleptic Gregorian calendar. Counted in
/// years that begin in March, so that a leap day is a year's last.
fn civil_date(days: i64) -> (i64, i64, i64) {
    const DAYS_IN_400_YEARS: i64 = 146_097;
    const DAYS_TO_MARCH_OF_YEAR_0: i64 = 719_468;

    let days = days + DAYS_TO_MARCH_OF_YEAR_0;
    let (era, of_era) = (days.div_euclid(DAYS_IN_400_YEARS), days.rem_euclid(DAYS_IN_400_YEARS));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_from_line_is_known_by_its_date() {
        for begins in [
            "From ilug-admin@linux.ie  Tue Aug  6 11:51:02 2002\n",
            "From - Sat Jan 01 9:00:00 2000\r\n",
            "From 1234567890@xxx Mon Jan 01 00:00:00 +0000 2024\n",
            "From user at example.com  Tue Aug  6 11:51:02 2002\n",
        ] {
            assert!(begins_message(begins.as_bytes(), false), "{begins}");
        }
        for text in
            ["From 10:30 on we meet\n", "From now on\n", "From\n", "from a Tue Aug  6 11:51:02 2002\n"]
        {
            assert!(!begins_message(text.as_bytes(), false), "{text}");
        }
        assert!(!begins_message(b"From this point, paragraph two\n", true));
        assert!(begins_message(b"From a@b.example 11:51 Tue\n", true));
    }

    #[test]
    fn a_from_line_is_written_as_asctime_in_utc() {
        let check = |sender: &str, millis: i64, expected: &str| {
            let line = from_line(sender, Timestamp::from_millis(millis));
            assert_eq!(line, expected);
            assert!(begins_message(line.as_bytes(), false));
        };
        check("a@b.example", 1_700_000_000_120, "From a@b.example Tue Nov 14 22:13:20 2023\n");
        check("", 0, "From MAILER-DAEMON Thu Jan  1 00:00:00 1970\n");
        check("a b\r\nFrom c", -1, "From abFromc Wed Dec 31 23:59:59 1969\n");
        check("x", 951_782_400_000, "From x Tue Feb 29 00:00:00 2000\n");
        check("x", 1_709_251_199_000, "From x Thu Feb 29 23:59:59 2024\n");
    }
}
