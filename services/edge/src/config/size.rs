//! Sizes as people write them.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// Bytes: a number, or a number with Ki, Mi, Gi, Ti (or KiB, MiB, GiB, TiB).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size(pub(super) u64);

fn parse(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit.strip_suffix('B').unwrap_or(unit) {
        "" => 0,
        "Ki" => 10,
        "Mi" => 20,
        "Gi" => 30,
        "Ti" => 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = Size;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes as a number, or like 512MiB, 8GiB")
            }

            fn visit_u64<E: Error>(self, bytes: u64) -> Result<Size, E> {
                Ok(Size(bytes))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Size, E> {
                parse(text)
                    .map(Size)
                    .ok_or_else(|| E::custom(format!("{text:?} is no size: write bytes, or like 8GiB")))
            }
        }

        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_a_number_with_a_binary_unit() {
        for (text, bytes) in
            [("0", 0), ("17", 17), ("1Ki", 1024), ("2MiB", 2 << 20), ("8GiB", 8 << 30), ("1Ti", 1 << 40)]
        {
            assert_eq!(parse(text), Some(bytes), "{text}");
        }
        for text in ["", "GiB", "8GB", "8 GiB", "-1", "8g", "99999999999TiB"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
