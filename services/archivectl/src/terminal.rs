//! Foreign text on a terminal: it must not steer it, nor turn or hide what stands beside it.

/// Stands for what is not shown.
const SHOWN_INSTEAD: char = char::REPLACEMENT_CHARACTER;

/// Whether a character does something to a terminal or to its neighbours instead of being seen: control characters
/// (C0, DEL, C1), line and paragraph separators, bidirectional controls, invisible characters and tags.
const fn steers(c: char) -> bool {
    matches!(
        c,
        '\0'..='\u{1f}'
            | '\u{7f}'..='\u{9f}'
            | '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

/// One line of foreign text.
pub(crate) fn line(text: &str) -> String {
    text.chars().map(|c| if steers(c) { SHOWN_INSTEAD } else { c }).collect()
}

/// Foreign text that keeps its line breaks (CRLF becomes LF) and tabs.
pub(crate) fn paragraphs(text: &str) -> String {
    let kept = |c: char| if steers(c) && c != '\n' && c != '\t' { SHOWN_INSTEAD } else { c };
    text.replace("\r\n", "\n").chars().map(kept).collect()
}

/// At most so many characters; what is cut off is shown as `…`.
pub(crate) fn shortened(text: &str, characters_max: usize) -> String {
    if text.chars().count() <= characters_max {
        return text.to_owned();
    }
    text.chars().take(characters_max.saturating_sub(1)).chain(['…']).collect()
}

/// JSON in which everything that could steer a terminal is escaped. The same value for every parser.
pub(crate) fn json(value: &serde_json::Value) -> String {
    let mut text = String::new();
    // Outside of strings JSON has no such characters but line breaks.
    for c in format!("{value:#}").chars() {
        if steers(c) && c != '\n' {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                text.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            text.push(c);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "a\u{1b}]0;x\u{7}b\u{9b}2Jc\u{202e}d\u{200b}e\u{e0041}f\u{7f}g\r\nh\ti";

    #[test]
    fn nothing_that_steers_a_terminal_gets_through() {
        assert_eq!(
            line(HOSTILE),
            "a\u{fffd}]0;x\u{fffd}b\u{fffd}2Jc\u{fffd}d\u{fffd}e\u{fffd}f\u{fffd}g\u{fffd}\u{fffd}h\u{fffd}i"
        );
        assert_eq!(paragraphs("a\r\nb\n\tc\rd\u{1b}e"), "a\nb\n\tc\u{fffd}d\u{fffd}e");
        for harmless in ["Grüße, 日本語, שלום, 😀", "a b"] {
            assert_eq!(line(harmless), harmless);
        }
        for c in (0..=0x10_ffff).filter_map(char::from_u32).filter(|c| c.is_control()) {
            assert!(steers(c), "{c:?}");
        }
    }

    #[test]
    fn json_is_harmless_and_still_means_the_same() {
        let value = serde_json::json!({ "subject": HOSTILE, "n": [1, null] });
        let text = json(&value);
        assert!(text.chars().all(|c| c == '\n' || !steers(c)), "{text}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }

    #[test]
    fn long_text_is_cut_with_a_mark() {
        assert_eq!(shortened("abcdef", 6), "abcdef");
        assert_eq!(shortened("abcdefg", 6), "abcde…");
        assert_eq!(shortened("äöüß", 3), "äö…");
    }
}
