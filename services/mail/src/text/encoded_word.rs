//! Encoded words (RFC 2047) that would cost a reader more than their length.

use std::borrow::Cow;

/// Longest encoded word within another one that is read, in bytes; the standard allows 75.
pub(super) const NESTED_WORD_BYTES_MAX: usize = 512;

/// `value` in a form that mail-parser reads in linear time. It tries to decode wherever an encoded word begins, and where
/// that comes to nothing it begins anew right behind: words that begin within one another and never end cost it the square
/// of their length. Of such words the long ones lose the question mark that makes them one. A word that begins after the
/// one before has ended stays as it is, however long.
pub(super) fn bounded(value: &[u8]) -> Cow<'_, [u8]> {
    let mut bounded = Cow::Borrowed(value);
    // Where the words that were read so far have ended, and the next end of any.
    let (mut read_to, mut end) = (0, 0);
    for at in beginnings(value) {
        let Some(content) = content_of(value, at) else { continue };
        // Padding and the end of the word before.
        if at + 3 == read_to {
            continue;
        }
        if end < content + 2 {
            end = find(value, content, b"?=").map_or(value.len(), |mark| mark + 2);
        }
        if at < read_to && end - at > NESTED_WORD_BYTES_MAX {
            bounded.to_mut()[at + 1] = b' ';
        } else {
            read_to = end;
        }
    }
    bounded
}

fn beginnings(value: &[u8]) -> impl Iterator<Item = usize> {
    value.windows(2).enumerate().filter_map(|(at, pair)| (pair == b"=?").then_some(at))
}

/// Where the text of the word at `at` begins; `None` if it is no word. Looks no further than the next question mark.
fn content_of(value: &[u8], at: usize) -> Option<usize> {
    let mark = find(value, at + 2, b"?")?;
    let is_word = matches!(value.get(mark + 1..mark + 3), Some([b'q' | b'Q' | b'b' | b'B', b'?']));
    is_word.then_some(mark + 3)
}

fn find(value: &[u8], from: usize, what: &[u8]) -> Option<usize> {
    let rest = value.get(from..)?;
    rest.windows(what.len()).position(|window| window == what).map(|at| from + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_unchanged(value: &str) {
        assert_eq!(bounded(value.as_bytes()), value.as_bytes());
    }

    #[test]
    fn words_that_end_stay_as_they_are_however_long_and_so_does_all_that_is_no_word() {
        let long = "=C3=BC".repeat(10_000);
        check_unchanged(&format!("=?utf-8?q?{long}?= =?utf-8?Q?{long}?==?utf-8*de?b?AAAA?= a <a@x.example>"));
        check_unchanged(&format!("=?utf-8?q?{long}"));
        check_unchanged(&format!("=?utf-8?b?QQ=?= why?q?{long}"));
        check_unchanged(&"=?ab?x? =? =?= =?ab?q ?= =?=?=".repeat(1_000));
        check_unchanged("");
        check_unchanged("=?");
        check_unchanged("=?ab?q?");
    }

    #[test]
    fn a_word_within_another_is_read_up_to_its_limit_and_the_text_behind_both_is_kept() {
        let value = |bytes: usize| {
            let inner = "x".repeat(bytes - "=?ab?q??=".len());
            format!("=?ab?q?=zz =?ab?q?{inner}?= end")
        };
        check_unchanged(&value(NESTED_WORD_BYTES_MAX));
        let beyond = value(NESTED_WORD_BYTES_MAX + 1);
        assert_eq!(bounded(beyond.as_bytes()), beyond.replace("=zz =?", "=zz = ").as_bytes());
    }
}
