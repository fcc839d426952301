//! Content-Type and Content-Disposition (RFC 2045 section 5.1, RFC 2183) that would cost a reader more than their length.

use std::borrow::Cow;

use super::{CONTENT_FIELD_BYTES_MAX, encoded_word};

/// Most semicolons and apostrophes that are read of one field. They begin parameters and parts of their values; a file
/// name of 255 characters in the continuations of RFC 2231 takes some forty.
pub(crate) const CONTENT_FIELD_MARKS_MAX: usize = 256;

/// `value`, which ends with a line feed, in a form that mail-parser reads in linear time, and whether something is missing
/// in it. The parser looks at every parameter before for each further one, and for each apostrophe.
pub(crate) fn bounded(value: &[u8]) -> (Cow<'_, [u8]>, bool) {
    let mut marks = value.iter().enumerate().filter(|(_, byte)| matches!(byte, b';' | b'\''));
    let end = marks.nth(CONTENT_FIELD_MARKS_MAX).map_or(value.len(), |(at, _)| at);
    let end = end.min(CONTENT_FIELD_BYTES_MAX);
    if end == value.len() {
        return (encoded_word::bounded(value), false);
    }
    let cut = [&value[..end], b"\n"].concat();
    (encoded_word::bounded(&cut).into_owned().into(), true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: &str, read: usize, is_cut: bool) {
        let (bounded, said) = bounded(value.as_bytes());
        let expected = if is_cut { value[..read].to_owned() + "\n" } else { value.to_owned() };
        assert_eq!((String::from_utf8_lossy(&bounded).as_ref(), said), (&*expected, is_cut));
    }

    #[test]
    fn a_field_is_read_up_to_its_marks_and_its_bytes() {
        for mark in ["; a=b", "'"] {
            let of = |marks: usize| format!("text/plain{}\n", mark.repeat(marks));
            check(&of(CONTENT_FIELD_MARKS_MAX), 0, false);
            check(&of(CONTENT_FIELD_MARKS_MAX + 1), 10 + mark.len() * CONTENT_FIELD_MARKS_MAX, true);
        }
        let of = |bytes: usize| "x".repeat(bytes - 1) + "\n";
        check(&of(CONTENT_FIELD_BYTES_MAX), 0, false);
        check(&of(CONTENT_FIELD_BYTES_MAX + 1), CONTENT_FIELD_BYTES_MAX, true);
        check("\n", 0, false);
    }
}
