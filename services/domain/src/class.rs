use std::{fmt, str::FromStr};

use crate::ParseError;

/// How long mail is kept. Calendar arithmetic in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeepFor {
    Days(u32),
    Months(u32),
    Years(u32),
}

/// From when the time counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StartFrom {
    Received,
    YearEnd,
}

/// Whether content may be shredded before it expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Erasure {
    Forbidden,
    Permitted,
}

/// Retention class: what decides which pack a blob joins and how long that pack is locked.
/// Written like `10y-yearend-forbidden`, or `system` for state and configuration blobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RetentionClass {
    System,
    Mail { keep_for: KeepFor, start_from: StartFrom, erasure: Erasure },
}

impl RetentionClass {
    /// What an archive uses until it is told otherwise: ten years from receipt, no erasure.
    pub const DEFAULT: Self = Self::Mail {
        keep_for: KeepFor::Years(10),
        start_from: StartFrom::Received,
        erasure: Erasure::Forbidden,
    };
}

impl fmt::Display for RetentionClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Mail { keep_for, start_from, erasure } = self else { return f.write_str("system") };
        let (count, unit) = match keep_for {
            KeepFor::Days(n) => (n, 'd'),
            KeepFor::Months(n) => (n, 'm'),
            KeepFor::Years(n) => (n, 'y'),
        };
        let start = match start_from {
            StartFrom::Received => "received",
            StartFrom::YearEnd => "yearend",
        };
        let erasure = match erasure {
            Erasure::Forbidden => "forbidden",
            Erasure::Permitted => "permitted",
        };
        write!(f, "{count}{unit}-{start}-{erasure}")
    }
}

impl FromStr for RetentionClass {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = || ParseError::new("retention class", text, "`system`, or like `10y-yearend-forbidden`");
        if text == "system" {
            return Ok(Self::System);
        }
        let mut fields = text.split('-');
        let (Some(keep), Some(start), Some(erasure), None) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            return Err(error());
        };
        let unit = keep.chars().last().ok_or_else(error)?;
        let digits = &keep[..keep.len() - unit.len_utf8()];
        let count: u32 = digits.parse().ok().filter(|n| *n > 0).ok_or_else(error)?;
        let keep_for = match unit {
            'd' => KeepFor::Days(count),
            'm' => KeepFor::Months(count),
            'y' => KeepFor::Years(count),
            _ => return Err(error()),
        };
        let start_from = match start {
            "received" => StartFrom::Received,
            "yearend" => StartFrom::YearEnd,
            _ => return Err(error()),
        };
        let erasure = match erasure {
            "forbidden" => Erasure::Forbidden,
            "permitted" => Erasure::Permitted,
            _ => return Err(error()),
        };
        let class = Self::Mail { keep_for, start_from, erasure };
        if class.to_string() == text { Ok(class) } else { Err(error()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_reads_back_as_it_is_written_and_nothing_else_is_one() {
        for good in ["system", "10y-yearend-forbidden", "30d-received-permitted", "6m-received-forbidden"] {
            assert_eq!(good.parse::<RetentionClass>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "y-yearend-forbidden",
            "0y-yearend-forbidden",
            "010y-yearend-forbidden",
            "10w-received-forbidden",
            "10y-yearend",
            "10y-yearend-forbidden-x",
            "1ä-yearend-forbidden",
        ] {
            assert!(bad.parse::<RetentionClass>().is_err(), "{bad}");
        }
        assert_eq!(RetentionClass::DEFAULT.to_string(), "10y-received-forbidden");
    }
}
