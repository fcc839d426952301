//! HTML to text in one pass: no tree, no recursion, no memory beyond the text itself. Follows the tokenisation
//! rules of the HTML standard as far as they decide what is text: quoted attribute values, comments, the raw text
//! of scripts and styles, character references. Other markup of the kind (enriched text, XML) is read the same way.

use encoding_rs::WINDOWS_1252;
use mail_parser::decoders::html::add_html_token;

/// Longest character reference that is looked up, in bytes between `&` and `;`.
const REFERENCE_BYTES_MAX: usize = 32;

/// Elements that do not interrupt a word or a line. All others, known or not, end a word.
const INLINE_ELEMENTS: [&str; 43] = [
    "a",
    "abbr",
    "acronym",
    "b",
    "bdi",
    "bdo",
    "big",
    "bold",
    "cite",
    "code",
    "color",
    "del",
    "dfn",
    "em",
    "fixed",
    "font",
    "fontfamily",
    "i",
    "ins",
    "italic",
    "kbd",
    "label",
    "mark",
    "nobr",
    "o:p",
    "param",
    "q",
    "s",
    "samp",
    "small",
    "smaller",
    "span",
    "st1:personname",
    "strike",
    "strong",
    "sub",
    "sup",
    "tt",
    "u",
    "underline",
    "var",
    "wbr",
    "x-color",
];

/// The text of a markup source.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) text: String,
    /// The limit was not reached, and no unterminated construct swallowed the end.
    pub(super) is_complete: bool,
}

/// Converts at most as much as yields `bytes_max` bytes of text.
pub(super) fn to_text(source: &str, bytes_max: usize) -> Text {
    let mut reader = Reader { rest: source, text: String::new(), space: Space::None, is_complete: true };
    while !reader.rest.is_empty() {
        if reader.text.len() >= bytes_max {
            reader.is_complete = false;
            break;
        }
        reader.step();
    }
    Text { text: reader.text, is_complete: reader.is_complete }
}

/// What stands between the last word and the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Space {
    None,
    Blank,
    Break,
}

struct Reader<'s> {
    rest: &'s str,
    text: String,
    space: Space,
    is_complete: bool,
}

impl Reader<'_> {
    fn step(&mut self) {
        let rest = self.rest;
        let end = rest.bytes().position(|b| matches!(b, b'<' | b'&')).unwrap_or(rest.len());
        if end > 0 {
            self.push(&rest[..end]);
            self.rest = &rest[end..];
            return;
        }
        match rest.as_bytes() {
            [b'&', ..] => self.reference(),
            [b'<', b'/', letter, ..] if letter.is_ascii_alphabetic() => self.tag(2),
            [b'<', letter, ..] if letter.is_ascii_alphabetic() => self.tag(1),
            [b'<', b'!' | b'?' | b'/', ..] => self.declaration(),
            _ => {
                self.push("<");
                self.rest = &rest[1..];
            }
        }
    }

    /// Appends text; runs of white space become one blank or line break.
    fn push(&mut self, raw: &str) {
        let is_space = |c: char| c.is_ascii_whitespace() || c == '\u{a0}';
        for (place, word) in raw.split(is_space).enumerate() {
            if place > 0 {
                self.space = self.space.max(Space::Blank);
            }
            if word.is_empty() {
                continue;
            }
            if !self.text.is_empty() {
                match self.space {
                    Space::None => {}
                    Space::Blank => self.text.push(' '),
                    Space::Break => self.text.push('\n'),
                }
            }
            self.space = Space::None;
            self.text.push_str(word);
        }
    }

    /// Goes on after `length` bytes, or ends where the source does.
    fn skip(&mut self, length: Option<usize>) {
        if length.is_none() {
            self.is_complete = false;
        }
        self.rest = length.map_or("", |length| &self.rest[length..]);
    }

    fn declaration(&mut self) {
        let rest = self.rest;
        if let Some(comment) = rest.strip_prefix("<!--") {
            let end = if comment.starts_with('>') {
                Some(1)
            } else if comment.starts_with("->") {
                Some(2)
            } else {
                comment_length(comment)
            };
            self.skip(end.map(|end| end + 4));
        } else if rest.starts_with("<![CDATA[") {
            self.skip(Some("<![CDATA[".len()));
        } else {
            self.skip(rest.find('>').map(|end| end + 1));
        }
    }

    /// A start or end tag whose name begins at `name_at`.
    fn tag(&mut self, name_at: usize) {
        let rest = self.rest;
        let after = &rest[name_at..];
        let is_end = |b: u8| b.is_ascii_whitespace() || matches!(b, b'/' | b'>');
        let name = &after[..after.bytes().position(is_end).unwrap_or(after.len())];
        let is_inline = INLINE_ELEMENTS.iter().any(|inline| name.eq_ignore_ascii_case(inline));
        if !is_inline {
            self.space = Space::Break;
        }
        let is_start = name_at == 1;
        let raw = ["script", "style"].into_iter().find(|raw| is_start && name.eq_ignore_ascii_case(raw));
        let attributes_at = name_at + name.len();
        let end = tag_end(&rest.as_bytes()[attributes_at..]).map(|end| attributes_at + end);
        self.skip(end);
        if let Some(raw) = raw {
            // The end tag itself is read as any other tag.
            self.skip(end_tag_position(self.rest.as_bytes(), raw.as_bytes()));
        }
    }

    /// A character reference, or an ampersand that is none.
    fn reference(&mut self) {
        let rest = self.rest;
        let body = &rest.as_bytes()[1..];
        let is_name = |b: &&u8| b.is_ascii_alphanumeric() || **b == b'#';
        let length = body.iter().take(REFERENCE_BYTES_MAX).take_while(is_name).count();
        let next = body.get(length).copied();
        // The final semicolon may be missing, but `?a=1&copy=2` in a link is no reference.
        let found = if next == Some(b'=') { None } else { character(&rest[1..=length]) };
        let Some(found) = found else {
            self.push("&");
            self.rest = &rest[1..];
            return;
        };
        // A soft hyphen is a place where a word may be broken, not a part of the word.
        if found != "\u{ad}" {
            self.push(&found);
        }
        self.rest = &rest[1 + length + usize::from(next == Some(b';'))..];
    }
}

/// Length of a comment with its end, after `<!--`.
fn comment_length(comment: &str) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + comment[from..].find("--")?;
        let after = &comment[at + 2..];
        if after.starts_with('>') {
            return Some(at + 3);
        }
        if after.starts_with("!>") {
            return Some(at + 4);
        }
        from = at + 1;
    }
}

/// Length of a tag's attributes with the final `>`; a `>` inside a quoted value does not count.
fn tag_end(attributes: &[u8]) -> Option<usize> {
    let mut quote = None;
    let mut after_equals = false;
    for (at, byte) in attributes.iter().copied().enumerate() {
        match (quote, byte) {
            (Some(open), _) if open == byte => quote = None,
            (None, b'>') => return Some(at + 1),
            (None, b'"' | b'\'') if after_equals => quote = Some(byte),
            _ => {}
        }
        after_equals = byte == b'=' || after_equals && byte.is_ascii_whitespace();
    }
    None
}

/// Where the end tag of a raw text element begins.
fn end_tag_position(source: &[u8], name: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + source[from..].iter().position(|b| *b == b'<')?;
        let tag = &source[at + 1..];
        if tag.first() == Some(&b'/')
            && tag.get(1..=name.len()).is_some_and(|found| found.eq_ignore_ascii_case(name))
            && !tag.get(1 + name.len()).is_some_and(u8::is_ascii_alphanumeric)
        {
            return Some(at);
        }
        from = at + 1;
    }
}

/// The character that a reference without `&` and `;` names.
fn character(name: &str) -> Option<String> {
    let Some(number) = name.strip_prefix('#') else {
        if name.is_empty() || name.contains('#') {
            return None;
        }
        let literal = format!("&{name};");
        let mut found = String::new();
        add_html_token(&mut found, literal.as_bytes(), false);
        return (found != literal).then_some(found);
    };
    let code = match number.strip_prefix(['x', 'X']) {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => number.parse(),
    };
    // HTML standard: numbers 128 to 159 mean windows-1252, as old mail programs wrote them.
    match code.ok()? {
        code @ 128..=159 => Some(WINDOWS_1252.decode_without_bom_handling(&[code as u8]).0.into_owned()),
        code => Some(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER).to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str, expected: &str) {
        assert_eq!(
            to_text(source, usize::MAX),
            Text { text: expected.to_owned(), is_complete: true },
            "{source}"
        );
    }

    #[test]
    fn markup_scripts_styles_and_comments_are_no_text() {
        check(
            "<html><head><style>p { color: red }</style></head><body><p>One</p>two</body></html>",
            "One\ntwo",
        );
        check("a<script>if (1 < 2) alert('x </b> y')</SCRIPT >b", "a\nb");
        check("a<!-- <b>hidden</b> -- > -->b<!-->c<!--->d<!-- e --!>f", "abcdf");
        check("<!DOCTYPE html><?xml version='1.0'?>text</ bogus>", "text");
        check("<![CDATA[kept]]", "kept]]");
        check("<a title='x > y' href=\"a>b\">link</a> <img alt=x>", "link");
        check("<p class=foo\">kept", "kept");
    }

    #[test]
    fn inline_elements_keep_words_together_and_all_others_part_them() {
        check("Arch<b>ive</b>d <SPAN lang=de>Grü<font>ße</font></span>", "Archived Grüße");
        check("<tr><td>one</td><td>two</td></tr><li>three<br/>four", "one\ntwo\nthree\nfour");
        check("  many \r\n\t blanks&nbsp;here  ", "many blanks here");
        check("super<wbr>cali&shy;fragi&#173;listic", "supercalifragilistic");
    }

    #[test]
    fn character_references_become_characters() {
        check("Gr&uuml;&szlig;e &amp; K&uuml;sse &lt;b&gt;", "Grüße & Küsse <b>");
        check("&#252;&#xFC;&#XfC; &#20320;&#x597d; &#1513;&#1500;", "üüü 你好 של");
        check("don&#146;t &#150; &#0; &#xD800; &#99999999999;", "don’t – \0 \u{fffd} &#99999999999;");
        check("AT&T, &nosuchthing; & ?a=1&copy=2 &uuml &;", "AT&T, &nosuchthing; & ?a=1&copy=2 ü &;");
        check("1 < 2 <3 <", "1 < 2 <3 <");
    }

    #[test]
    fn what_is_cut_or_swallowed_is_said() {
        for swallowed in
            ["seen <a href=\"never ends>hidden", "seen <!-- hidden", "seen <script>hidden", "seen <b"]
        {
            assert_eq!(
                to_text(swallowed, 100),
                Text { text: "seen".to_owned(), is_complete: false },
                "{swallowed}"
            );
        }
        let long = "<p>word".repeat(10);
        assert!(to_text(&long, 4 * 10 + 10).is_complete);
        assert!(!to_text(&long, 4 * 9 + 8).is_complete);
    }
}
