//! JSON Canonicalization Scheme (RFC 8785), the subset that stored formats use: ASCII keys, no floating point numbers.

use std::fmt::Write as _;

use serde_json::{Number, Value};

/// Largest magnitude of an integer: every IEEE 754 double below holds its integer exactly (RFC 8785 appendix B).
pub const INTEGER_MAX: u64 = 1 << 53;

/// Deepest nesting of arrays and objects that is written.
pub const DEPTH_MAX: usize = 16;

/// Why a value has no canonical text here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JcsError {
    #[error("a JSON key is not ASCII: only ASCII keys are allowed in stored formats")]
    KeyNotAscii,
    #[error("a JSON number is not an integer: write it as a decimal string")]
    NotAnInteger,
    #[error("a JSON integer is beyond 2^53: write it as a decimal string")]
    IntegerTooLarge,
    #[error("JSON is nested deeper than {DEPTH_MAX} levels")]
    TooDeep,
}

/// The canonical text of `value` (RFC 8785 section 3.2).
pub fn canonicalize(value: &Value) -> Result<String, JcsError> {
    let mut out = String::new();
    write_value(value, 0, &mut out)?;
    Ok(out)
}

fn write_value(value: &Value, depth: usize, out: &mut String) -> Result<(), JcsError> {
    if depth > DEPTH_MAX {
        return Err(JcsError::TooDeep);
    }
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => write_integer(number, out)?,
        Value::String(text) => write_string(text, out),
        Value::Array(items) => {
            out.push('[');
            for (position, item) in items.iter().enumerate() {
                if position > 0 {
                    out.push(',');
                }
                write_value(item, depth + 1, out)?;
            }
            out.push(']');
        }
        Value::Object(fields) => {
            // RFC 8785 section 3.2.3 sorts by UTF-16 code units; for ASCII keys that is the order of bytes. Sorted here
            // and not left to serde_json, whose map keeps insertion order when any crate in the build asks for it.
            let mut keys: Vec<&String> = fields.keys().collect();
            if !keys.iter().all(|key| key.is_ascii()) {
                return Err(JcsError::KeyNotAscii);
            }
            keys.sort_unstable();
            out.push('{');
            for (position, key) in keys.into_iter().enumerate() {
                if position > 0 {
                    out.push(',');
                }
                write_string(key, out);
                out.push(':');
                write_value(&fields[key], depth + 1, out)?;
            }
            out.push('}');
        }
    }
    Ok(())
}

fn write_integer(number: &Number, out: &mut String) -> Result<(), JcsError> {
    let (sign, magnitude) = if let Some(positive) = number.as_u64() {
        ("", positive)
    } else if let Some(negative) = number.as_i64() {
        ("-", negative.unsigned_abs())
    } else {
        return Err(JcsError::NotAnInteger);
    };
    if magnitude > INTEGER_MAX {
        return Err(JcsError::IntegerTooLarge);
    }
    let _ = write!(out, "{sign}{magnitude}"); // writing to a String cannot fail
    Ok(())
}

/// RFC 8785 section 3.2.2.2: two-character escapes where there are any, `\u00xx` for other control characters, all
/// else as it is.
fn write_string(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            control if control < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(control)); // as above
            }
            other => out.push(other),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn check(json: &str, expected: Result<&str, JcsError>) {
        let value: Value = serde_json::from_str(json).unwrap();
        assert_eq!(canonicalize(&value).as_deref(), expected.as_ref().map(|text| *text), "{json}");
    }

    #[test]
    fn the_examples_of_rfc_8785_that_this_subset_allows_come_out_as_printed_there() {
        // Section 3.2.2 without its floating point numbers.
        check(
            r#"{ "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/", "literals": [null, true, false] }"#,
            Ok(r#"{"literals":[null,true,false],"string":"€$\u000f\nA'B\"\\\\\"/"}"#),
        );
        // Appendix B: the largest exact integers, and zero.
        check("9007199254740992", Ok("9007199254740992"));
        check("-9007199254740992", Ok("-9007199254740992"));
        check("0", Ok("0"));
        // Section 3.2.3's keys that are ASCII: carriage return before "1".
        check(r#"{"1":"One","\r":"Carriage Return"}"#, Ok(r#"{"\r":"Carriage Return","1":"One"}"#));
        // The test data "structures" and "values" of the RFC's repository, without numbers that are not integers.
        check(
            r#"{ "1": {"f": {"f": "hi","F": 5} ,"\n": 56}, "10": { }, "": "empty", "a": { }, "111": [ {"e": "yes","E": "no" } ], "A": { } }"#,
            Ok(
                r#"{"":"empty","1":{"\n":56,"f":{"F":5,"f":"hi"}},"10":{},"111":[{"E":"no","e":"yes"}],"A":{},"a":{}}"#,
            ),
        );
        check(r#"[56,{"d":true,"10":null,"1":[]}]"#, Ok(r#"[56,{"1":[],"10":null,"d":true}]"#));
    }

    #[test]
    fn what_the_subset_does_not_allow_is_refused() {
        check("9007199254740993", Err(JcsError::IntegerTooLarge));
        check("-9007199254740993", Err(JcsError::IntegerTooLarge));
        check("18446744073709551615", Err(JcsError::IntegerTooLarge));
        check("1.5", Err(JcsError::NotAnInteger));
        check("1.0", Err(JcsError::NotAnInteger));
        check("-0", Err(JcsError::NotAnInteger));
        check("1e3", Err(JcsError::NotAnInteger));
        check(r#"{"ö":1}"#, Err(JcsError::KeyNotAscii));
    }

    #[test]
    fn nesting_is_limited_on_both_sides_of_its_bound() {
        let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        assert!(canonicalize(&serde_json::from_str(&nested(DEPTH_MAX + 1)).unwrap()).is_ok());
        let deeper: Value = serde_json::from_str(&nested(DEPTH_MAX + 2)).unwrap();
        assert_eq!(canonicalize(&deeper), Err(JcsError::TooDeep));
    }

    #[test]
    fn every_control_character_is_escaped_as_the_rfc_says() {
        let text: String = (0..0x20u8).map(char::from).chain(['\u{7f}']).collect();
        let expected = concat!(
            r#""\u0000\u0001\u0002\u0003\u0004\u0005\u0006\u0007\b\t\n\u000b\f\r\u000e\u000f\u0010\u0011\u0012"#,
            r"\u0013\u0014\u0015\u0016\u0017\u0018\u0019\u001a\u001b\u001c\u001d\u001e\u001f",
            "\u{7f}\""
        );
        assert_eq!(canonicalize(&json!(text)).unwrap(), expected);
    }

    proptest! {
        #[test]
        fn canonical_text_reads_back_as_the_same_value_and_is_a_fixed_point(
            fields in proptest::collection::btree_map("[ -~]{0,8}", any::<String>(), 0..6),
            number in -(1i64 << 53)..=(1i64 << 53),
        ) {
            let value = json!({ "fields": fields, "n": number });
            let text = canonicalize(&value).unwrap();
            let again: Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(&again, &value);
            prop_assert_eq!(canonicalize(&again).unwrap(), text);
        }
    }
}
