//! Paths of MAIL and RCPT (RFC 5321 section 4.1.2, RFC 6531).

/// Why bytes are not a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PathError {
    Syntax,
    NotUtf8,
}

/// The address between `<` and `>` ("" for the null path) and what follows the `>`.
///
/// An archive keeps what is sent, so only what cannot be told apart is refused: the address is taken as it is, with its
/// quotes, and need not have a domain. A source route is left out (appendix C).
pub(crate) fn parse_path(text: &[u8]) -> Result<(String, &[u8]), PathError> {
    let text = text.trim_ascii_start().strip_prefix(b"<").ok_or(PathError::Syntax)?;
    let end = end_of_path(text).ok_or(PathError::Syntax)?;
    let (path, rest) = (without_route(&text[..end]), &text[end + 1..]);
    if rest.first().is_some_and(|byte| *byte != b' ') {
        return Err(PathError::Syntax);
    }
    let path = std::str::from_utf8(path).map_err(|_| PathError::NotUtf8)?;
    if path.chars().any(char::is_control) {
        return Err(PathError::Syntax);
    }
    Ok((path.to_owned(), rest))
}

/// The first `>` outside quotes. A space or `<` outside quotes is not part of any path.
fn end_of_path(text: &[u8]) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (place, byte) in text.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' if !quoted => return Some(place),
            b' ' | b'<' if !quoted => return None,
            _ => {}
        }
    }
    None
}

/// `@a,@b:local@domain` is `local@domain`.
fn without_route(path: &[u8]) -> &[u8] {
    match path.iter().position(|byte| *byte == b':') {
        Some(colon) if path.starts_with(b"@") => &path[colon + 1..],
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_what_stands_between_the_brackets() {
        let check = |text: &str, path: &str, rest: &str| {
            assert_eq!(parse_path(text.as_bytes()), Ok((path.to_owned(), rest.as_bytes())), "{text}");
        };
        check("<>", "", "");
        check("<a@b.example>", "a@b.example", "");
        check(" <a@b.example> SIZE=1", "a@b.example", " SIZE=1");
        check("<Postmaster>", "Postmaster", "");
        check("<\"john doe>\\\" <\"@b.example>", "\"john doe>\\\" <\"@b.example", "");
        check("<@relay.example,@other.example:a@b.example>", "a@b.example", "");
        check("<grüße@bücher.example>", "grüße@bücher.example", "");
        check("<jrn+a=b.example@journal.test>", "jrn+a=b.example@journal.test", "");
        check("<a@[IPv6:2001:db8::1]>", "a@[IPv6:2001:db8::1]", "");
    }

    #[test]
    fn what_cannot_be_told_apart_is_no_path() {
        for text in [
            "",
            "a@b.example",
            "<a@b.example",
            "<a b@c.example>",
            "<a<b@c.example>",
            "<a@b>x",
            "<a\tb@c>",
            "<\"a>",
        ] {
            assert_eq!(parse_path(text.as_bytes()), Err(PathError::Syntax), "{text}");
        }
        assert_eq!(parse_path(b"<gr\xfc\xdfe@b.example>"), Err(PathError::NotUtf8));
    }
}
