//! Addresses as mail servers write them into headers and reports: `a@b`, `<a@b>`, `"A, B" <SMTP:a@b> (comment)`.

/// Longest address that a journaled envelope may hold, in bytes; the core takes no longer one.
pub const JOURNALED_ADDRESS_BYTES_MAX: usize = 2048;

/// Most recipients of a journaled envelope; the core takes no more.
pub const JOURNALED_RECIPIENTS_MAX: usize = 10_000;

/// Longest name of an address type (`SMTP:`, `EX:`, `X400:`), in bytes.
const ADDRESS_TYPE_BYTES_MAX: usize = 16;

/// Addresses separated by commas; a line break after a `>` separates as well. `None` if there is anything else.
pub(super) fn list(text: &str) -> Option<Vec<String>> {
    pieces(text)?.iter().map(|piece| one(piece)).collect()
}

/// One address; "" for the null path `<>`.
pub(super) fn one(text: &str) -> Option<String> {
    let (mut bare, mut path): (String, Option<String>) = (String::new(), None);
    let mut lexer = Lexer::new(text);
    while let Some((c, within)) = lexer.next() {
        match within {
            Within::Comment => {}
            Within::Brackets => path.get_or_insert_default().push(c),
            Within::Quotes | Within::Nothing if path.is_none() => bare.push(c),
            Within::Quotes | Within::Nothing if c.is_whitespace() => {}
            Within::Quotes | Within::Nothing => return None,
        }
    }
    if !lexer.is_balanced() {
        return None;
    }
    let Some(path) = path else { return mailbox(bare.trim()) };
    match path.strip_prefix('<')?.strip_suffix('>')?.trim() {
        "" => Some(String::new()),
        path => typed(path),
    }
}

/// The text between commas, without line breaks; nothing for what is empty. `None` if a quote or bracket stays open.
pub(super) fn pieces(text: &str) -> Option<Vec<String>> {
    let (mut pieces, mut current, mut after_path) = (Vec::new(), String::new(), false);
    let mut lexer = Lexer::new(text);
    while let Some((c, within)) = lexer.next() {
        let ends = match c {
            ',' => within == Within::Nothing,
            '\n' => within == Within::Nothing && after_path,
            _ => false,
        };
        if ends {
            pieces.push(std::mem::take(&mut current));
            after_path = false;
        } else if !matches!(c, '\r' | '\n') {
            current.push(c);
            after_path = match within {
                Within::Brackets => !lexer.in_brackets,
                _ => after_path && c.is_whitespace(),
            };
        } else if within == Within::Nothing {
            current.push(' ');
        }
    }
    pieces.push(current);
    pieces.retain(|piece| !piece.trim().is_empty());
    lexer.is_balanced().then_some(pieces)
}

/// `SMTP:a@b` is `a@b`; an address of another system (`EX:/o=…`) stays as it is.
fn typed(path: &str) -> Option<String> {
    let is_type = |name: &str| {
        (1..=ADDRESS_TYPE_BYTES_MAX).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    match path.split_once(':') {
        Some((name, address)) if name.eq_ignore_ascii_case("smtp") => mailbox(address),
        Some((name, address)) if is_type(name) => {
            let fits = path.len() <= JOURNALED_ADDRESS_BYTES_MAX && !address.trim().is_empty();
            (fits && is_printable(path)).then(|| path.to_owned())
        }
        _ => mailbox(path),
    }
}

/// A local part, with or without a domain. Spaces and brackets only within quotes.
fn mailbox(address: &str) -> Option<String> {
    let (mut quoted, mut escaped) = (false, false);
    for c in address.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ' ' | '<' | '>' | ',' | ';' | '(' | ')' if !quoted => return None,
            _ => {}
        }
    }
    let fits = !address.is_empty()
        && address.len() <= JOURNALED_ADDRESS_BYTES_MAX
        && !quoted
        && is_printable(address);
    fits.then(|| address.to_owned())
}

/// Without what stands for undecodable bytes.
fn is_printable(text: &str) -> bool {
    !text.chars().any(|c| c.is_control() || c == char::REPLACEMENT_CHARACTER)
}

/// What a character stands in; quotes, brackets and parentheses stand in themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Within {
    Nothing,
    Quotes,
    Comment,
    Brackets,
}

#[expect(
    clippy::struct_excessive_bools,
    reason = "quotes, brackets and escapes are open or not, each by itself"
)]
struct Lexer<'t> {
    rest: std::str::Chars<'t>,
    escaped: bool,
    quoted: bool,
    in_brackets: bool,
    comments: usize,
    /// Something was closed that was not open, or opened twice.
    is_broken: bool,
}

impl<'t> Lexer<'t> {
    fn new(text: &'t str) -> Self {
        Self {
            rest: text.chars(),
            escaped: false,
            quoted: false,
            in_brackets: false,
            comments: 0,
            is_broken: false,
        }
    }

    fn next(&mut self) -> Option<(char, Within)> {
        let c = self.rest.next()?;
        let before = self.within();
        if self.escaped {
            self.escaped = false;
            return Some((c, before));
        }
        match (c, before) {
            ('\\', _) if self.quoted || self.comments > 0 => self.escaped = true,
            ('(', Within::Comment | Within::Nothing) => self.comments += 1,
            (')', Within::Comment) => self.comments -= 1,
            (_, Within::Comment) => {}
            ('"', _) => self.quoted = !self.quoted,
            _ if self.quoted => {}
            ('<', Within::Nothing) => self.in_brackets = true,
            ('>', Within::Brackets) => self.in_brackets = false,
            ('<' | '>' | ')', _) => self.is_broken = true,
            _ => {}
        }
        let within = if before == Within::Nothing { self.within() } else { before };
        Some((c, within))
    }

    fn within(&self) -> Within {
        if self.comments > 0 {
            Within::Comment
        } else if self.in_brackets {
            Within::Brackets
        } else if self.quoted {
            Within::Quotes
        } else {
            Within::Nothing
        }
    }

    fn is_balanced(&self) -> bool {
        !self.is_broken && !self.escaped && self.within() == Within::Nothing
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_address_is_read_however_it_is_dressed() {
        let check = |text: &str, expected: &str| assert_eq!(one(text).as_deref(), Some(expected), "{text}");
        check("a@b.example", "a@b.example");
        check(" <a@b.example> ", "a@b.example");
        check("<>", "");
        check("Postmaster", "Postmaster");
        check("\"Archer, Alice\" <SMTP:alice@b.example>", "alice@b.example");
        check("Alice Archer <smtp:alice@b.example> (uid 0)", "alice@b.example");
        check("\"a \\\" > b\" <alice@b.example>", "alice@b.example");
        check("\"john doe\"@b.example", "\"john doe\"@b.example");
        check("<\"a>b\"@b.example>", "\"a>b\"@b.example");
        check("grüße@bücher.example", "grüße@bücher.example");
        check(
            "<EX:/O=First Organization/CN=Recipients/CN=alice>",
            "EX:/O=First Organization/CN=Recipients/CN=alice",
        );
        check("user@[IPv6:2001:db8::1]", "user@[IPv6:2001:db8::1]");
        check("a@b (one (two) \\) three)", "a@b");
    }

    #[test]
    fn what_is_not_one_address_is_none() {
        for text in [
            "",
            "a b@c",
            "a@b c@d",
            "<a@b",
            "a@b>",
            "<a@b> c",
            "<a@b><c@d>",
            "\"a@b",
            "(a@b",
            "a@b)",
            "<<a@b>>",
            "a@b; c@d",
            "a\u{7}@b",
            "a\u{fffd}@b",
            "<SMTP:>",
            "<EX:>",
        ] {
            assert_eq!(one(text), None, "{text:?}");
        }
    }

    #[test]
    fn lists_are_separated_by_commas_and_by_lines_that_end_in_brackets() {
        let check = |text: &str, expected: &[&str]| {
            assert_eq!(list(text).unwrap(), expected, "{text:?}");
        };
        check("", &[]);
        check("a@b, c@d", &["a@b", "c@d"]);
        check("a@b,\r\n c@d,", &["a@b", "c@d"]);
        check("\"Doe, J\" <SMTP:a@b>,\r\n\"X\" <SMTP:c@d>\r\n", &["a@b", "c@d"]);
        check("\"X\" <SMTP:a@b>\r\n\"Y\" <SMTP:c@d>", &["a@b", "c@d"]);
        check("\"long na\r\nme\" <SMTP:a@exam\r\nple.org>", &["a@example.org"]);
        for broken in ["a@b c@d", "a@b\r\nc@d", "a@b, \"", "<a@b, c@d", "a@b, see below"] {
            assert_eq!(list(broken), None, "{broken:?}");
        }
    }

    #[test]
    fn an_address_of_the_limit_is_read_and_a_longer_one_is_not() {
        let domain = "@example.org";
        let local = "x".repeat(JOURNALED_ADDRESS_BYTES_MAX - domain.len());
        assert!(one(&format!("{local}{domain}")).is_some());
        assert_eq!(one(&format!("{local}x{domain}")), None);
        let path = format!("EX:{}", "x".repeat(JOURNALED_ADDRESS_BYTES_MAX - 3));
        assert!(one(&format!("<{path}>")).is_some());
        assert_eq!(one(&format!("<{path}x>")), None);
    }

    proptest! {
        #![proptest_config(crate::split::seeded(256))]

        #[test]
        fn what_is_written_as_a_list_is_read_as_the_same_list(
            locals in proptest::collection::vec("[a-zß0-9+=._-]{1,12}|\"[a-z ,<>@()]{1,12}\"", 0..6),
            name in "[a-zA-Z ,<>()]{0,12}",
        ) {
            let expected: Vec<String> = locals.iter().map(|local| format!("{local}@example.org")).collect();
            let plain = expected.join(", ");
            prop_assert_eq!(list(&plain), Some(expected.clone()));
            let dressed: Vec<String> = expected.iter().map(|a| format!("\"{name}\" <SMTP:{a}>")).collect();
            prop_assert_eq!(list(&dressed.join(",\r\n")), Some(expected));
        }

        #[test]
        fn any_text_is_answered(text in any::<String>()) {
            let _ = (list(&text), one(&text));
        }
    }
}
