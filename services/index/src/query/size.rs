use std::fmt;

use super::QueryErrorKind;

/// A range of sizes in bytes, both ends included; open where `None`. Never open at both ends, never reversed.
///
/// The size of a mail is that of its exact bytes as they are archived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SizeRange {
    first: Option<u64>,
    last: Option<u64>,
}

impl SizeRange {
    /// `None` if both ends are open or the smallest size is above the largest.
    pub fn new(first: Option<u64>, last: Option<u64>) -> Option<Self> {
        let valid = match (first, last) {
            (None, None) => false,
            (Some(first), Some(last)) => first <= last,
            _ => true,
        };
        valid.then_some(Self { first, last })
    }

    pub const fn first(&self) -> Option<u64> {
        self.first
    }

    pub const fn last(&self) -> Option<u64> {
        self.last
    }

    pub const fn contains(&self, bytes: u64) -> bool {
        let above = match self.first {
            Some(first) => first <= bytes,
            None => true,
        };
        let below = match self.last {
            Some(last) => bytes <= last,
            None => true,
        };
        above && below
    }

    /// What stands behind `size:`. An error comes with its place in `text`.
    pub(super) fn parse(text: &str) -> Result<Self, (QueryErrorKind, usize)> {
        use QueryErrorKind as Kind;
        let behind = |operator: &str| text.strip_prefix(operator).map(|rest| size(rest, operator.len()));
        let from = |first| Ok(Self { first: Some(first), last: None });
        let until = |last| Ok(Self { first: None, last: Some(last) });
        if let Some(bytes) = behind(">=") {
            return from(bytes?);
        }
        if let Some(bytes) = behind("<=") {
            return until(bytes?);
        }
        if let Some(bytes) = behind(">") {
            return from(bytes?.checked_add(1).ok_or((Kind::SizeTooLarge, 1))?);
        }
        if let Some(bytes) = behind("<") {
            return until(bytes?.checked_sub(1).ok_or((Kind::NothingSmaller, 1))?);
        }
        let Some((first, last)) = text.split_once("..") else {
            let bytes = size(text, 0)?;
            return Ok(Self { first: Some(bytes), last: Some(bytes) });
        };
        let end = |text: &str, at| if text.is_empty() { Ok(None) } else { size(text, at).map(Some) };
        let (first, last) = (end(first, 0)?, end(last, first.len() + 2)?);
        let wrong = if first.is_none() && last.is_none() { Kind::OpenSizes } else { Kind::ReversedSizes };
        Self::new(first, last).ok_or((wrong, 0))
    }
}

/// Bytes: a whole number and a unit, in any case. `at` is where the text stands.
fn size(text: &str, at: usize) -> Result<u64, (QueryErrorKind, usize)> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        _ => return Err((QueryErrorKind::NoSize, at)),
    };
    if number.is_empty() {
        return Err((QueryErrorKind::NoSize, at));
    }
    // Only digits, so that nothing but their number can be wrong.
    let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    bytes.ok_or((QueryErrorKind::SizeTooLarge, at))
}

/// In bytes, without a unit.
impl fmt::Display for SizeRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.first, self.last) {
            (Some(first), Some(last)) if first == last => write!(f, "size:{first}"),
            (first, last) => {
                f.write_str("size:")?;
                first.map_or(Ok(()), |bytes| write!(f, "{bytes}"))?;
                f.write_str("..")?;
                last.map_or(Ok(()), |bytes| write!(f, "{bytes}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_decimal_and_binary_units_in_any_case() {
        let check = |text: &str, first: Option<u64>, last: Option<u64>| {
            let range = SizeRange::parse(text).unwrap_or_else(|error| panic!("{text}: {error:?}"));
            assert_eq!((range.first(), range.last()), (first, last), "{text}");
        };
        check("0", Some(0), Some(0));
        check("12b", Some(12), Some(12));
        check(">1mb", Some(1_000_001), None);
        check(">=1MB", Some(1_000_000), None);
        check("<1KiB", None, Some(1_023));
        check("<=1kib", None, Some(1_024));
        check("10kb..2mb", Some(10_000), Some(2_000_000));
        check("1gb..", Some(1_000_000_000), None);
        check("..1GiB", None, Some(1 << 30));
        check("18446744073709551615", Some(u64::MAX), Some(u64::MAX));
        check(">18446744073709551614", Some(u64::MAX), None);
        check("<=17179869183gib", None, Some(17_179_869_183 << 30));
    }

    #[test]
    fn what_is_no_size_is_refused_with_its_place() {
        use QueryErrorKind as Kind;
        for (text, kind, at) in [
            ("", Kind::NoSize, 0),
            ("mb", Kind::NoSize, 0),
            ("1.5mb", Kind::NoSize, 0),
            ("-1", Kind::NoSize, 0),
            ("+1", Kind::NoSize, 0),
            ("1m", Kind::NoSize, 0),
            ("１", Kind::NoSize, 0),
            (">", Kind::NoSize, 1),
            (">=x", Kind::NoSize, 2),
            (">1..2", Kind::NoSize, 1),
            ("1..x", Kind::NoSize, 3),
            ("1...2", Kind::NoSize, 3),
            ("..", Kind::OpenSizes, 0),
            ("2..1", Kind::ReversedSizes, 0),
            ("<0", Kind::NothingSmaller, 1),
            (">18446744073709551615", Kind::SizeTooLarge, 1),
            ("18446744073709551616", Kind::SizeTooLarge, 0),
            ("1..17179869184gib", Kind::SizeTooLarge, 3),
        ] {
            assert_eq!(SizeRange::parse(text), Err((kind, at)), "{text}");
        }
    }
}
