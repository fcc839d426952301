//! One command line (RFC 5321 section 4.1).

use super::{
    address::{PathError, parse_path},
    reply::{self, Reply},
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    Ehlo,
    Helo,
    /// RFC 2033.
    Lhlo,
    Mail {
        from: String,
        declared_bytes: Option<u64>,
        body: BodyType,
    },
    Rcpt {
        to: String,
    },
    Data,
    Rset,
    Noop,
    Vrfy,
    Quit,
    StartTls,
    /// RFC 3030: so many octets follow the line.
    Bdat {
        bytes: u64,
        is_last: bool,
    },
}

/// What the client says of a mail's lines (RFC 6152, RFC 3030).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum BodyType {
    /// 7BIT, 8BITMIME, or nothing said.
    #[default]
    Lines,
    /// BINARYMIME: there may be none.
    Binary,
}

/// `line` is without its CRLF. The error is the answer.
pub(crate) fn parse(line: &[u8]) -> Result<Command, Reply> {
    if line.iter().any(|byte| matches!(byte, b'\0' | b'\r' | b'\n')) {
        return Err(reply::NOT_CRLF);
    }
    let (verb, rest) = line.split_at(line.iter().position(|byte| *byte == b' ').unwrap_or(line.len()));
    let verb = verb.to_ascii_uppercase();
    let alone = |command| if rest.trim_ascii().is_empty() { Ok(command) } else { Err(reply::SYNTAX) };
    match verb.as_slice() {
        b"EHLO" | b"HELO" | b"LHLO" if rest.trim_ascii().is_empty() => Err(reply::SYNTAX),
        b"EHLO" => Ok(Command::Ehlo),
        b"HELO" => Ok(Command::Helo),
        b"LHLO" => Ok(Command::Lhlo),
        b"MAIL" => parse_mail(rest),
        b"RCPT" => parse_rcpt(rest),
        b"DATA" => alone(Command::Data),
        b"RSET" => alone(Command::Rset),
        b"NOOP" => Ok(Command::Noop),
        b"VRFY" => Ok(Command::Vrfy),
        b"QUIT" => alone(Command::Quit),
        b"STARTTLS" => alone(Command::StartTls),
        b"BDAT" => parse_bdat(rest),
        b"EXPN" | b"HELP" | b"TURN" | b"ETRN" | b"AUTH" => Err(reply::NOT_IMPLEMENTED),
        _ => Err(reply::UNKNOWN),
    }
}

/// What follows the keyword (`FROM:` or `TO:`), in any case.
fn after_keyword<'a>(rest: &'a [u8], keyword: &str) -> Result<&'a [u8], Reply> {
    let rest = rest.trim_ascii_start();
    match rest.split_at_checked(keyword.len()) {
        Some((found, after)) if found.eq_ignore_ascii_case(keyword.as_bytes()) => Ok(after),
        _ => Err(reply::SYNTAX),
    }
}

fn parse_mail(rest: &[u8]) -> Result<Command, Reply> {
    let (from, parameters) = parse_path(after_keyword(rest, "FROM:")?).map_err(|error| match error {
        PathError::Syntax => reply::SENDER_SYNTAX,
        PathError::NotUtf8 => reply::SENDER_NOT_UTF8,
    })?;
    let (mut declared_bytes, mut body) = (None, BodyType::Lines);
    for parameter in words(parameters) {
        let (keyword, value) = match parameter.split_once('=') {
            Some((keyword, value)) => (keyword, Some(value)),
            None => (parameter.as_str(), None),
        };
        match (keyword.to_ascii_uppercase().as_str(), value) {
            ("SIZE", Some(value)) => {
                if declared_bytes.is_some() || value.is_empty() || !value.bytes().all(|b| b.is_ascii_digit())
                {
                    return Err(reply::SYNTAX);
                }
                // Beyond u64 is beyond any limit.
                declared_bytes = Some(value.parse().unwrap_or(u64::MAX));
            }
            ("BODY", Some(value))
                if value.eq_ignore_ascii_case("7BIT") || value.eq_ignore_ascii_case("8BITMIME") => {}
            ("BODY", Some(value)) if value.eq_ignore_ascii_case("BINARYMIME") => body = BodyType::Binary,
            ("BODY", _) => return Err(reply::SYNTAX),
            // Addresses beyond ASCII are taken with and without it: an archive keeps what is sent.
            ("SMTPUTF8", None) => {}
            _ => return Err(reply::PARAMETER_UNKNOWN),
        }
    }
    Ok(Command::Mail { from, declared_bytes, body })
}

/// The error must end the session: nobody knows how many octets follow.
fn parse_bdat(rest: &[u8]) -> Result<Command, Reply> {
    let mut words = words(rest);
    let bytes = words.next().filter(|word| word.bytes().all(|byte| byte.is_ascii_digit()));
    let bytes = bytes.and_then(|word| word.parse().ok()).ok_or(reply::CHUNK_SYNTAX)?;
    let is_last = match words.next() {
        None => false,
        Some(word) if word.eq_ignore_ascii_case("LAST") => true,
        Some(_) => return Err(reply::CHUNK_SYNTAX),
    };
    if words.next().is_some() { Err(reply::CHUNK_SYNTAX) } else { Ok(Command::Bdat { bytes, is_last }) }
}

fn parse_rcpt(rest: &[u8]) -> Result<Command, Reply> {
    let (to, parameters) = parse_path(after_keyword(rest, "TO:")?).map_err(|error| match error {
        PathError::Syntax => reply::RECIPIENT_SYNTAX,
        PathError::NotUtf8 => reply::RECIPIENT_NOT_UTF8,
    })?;
    if to.is_empty() {
        return Err(reply::RECIPIENT_SYNTAX);
    }
    if words(parameters).next().is_some() {
        return Err(reply::PARAMETER_UNKNOWN);
    }
    Ok(Command::Rcpt { to })
}

fn words(parameters: &[u8]) -> impl Iterator<Item = String> {
    parameters
        .split(|byte| *byte == b' ')
        .filter(|word| !word.is_empty())
        .map(|word| String::from_utf8_lossy(word).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail(from: &str, declared_bytes: Option<u64>) -> Command {
        Command::Mail { from: from.to_owned(), declared_bytes, body: BodyType::Lines }
    }

    #[test]
    fn each_command_is_read_in_any_case() {
        let check = |line: &str, expected: Result<Command, Reply>| {
            assert_eq!(parse(line.as_bytes()), expected, "{line:?}");
        };
        check("EHLO mx.example", Ok(Command::Ehlo));
        check("helo mx.example", Ok(Command::Helo));
        check("LHLO mx.example", Ok(Command::Lhlo));
        check("EHLO", Err(reply::SYNTAX));
        check("LHLO", Err(reply::SYNTAX));
        check("MAIL FROM:<>", Ok(mail("", None)));
        check("mail from: <a@b.example> size=17 body=8bitmime smtputf8", Ok(mail("a@b.example", Some(17))));
        check("MAIL FROM:<a@b> SIZE=99999999999999999999999", Ok(mail("a@b", Some(u64::MAX))));
        let binary = Command::Mail { from: "a@b".to_owned(), declared_bytes: None, body: BodyType::Binary };
        check("MAIL FROM:<a@b> BODY=BinaryMIME", Ok(binary));
        check("MAIL FROM:<a@b> BODY=9BIT", Err(reply::SYNTAX));
        check("MAIL FROM:<a@b> SIZE=1 SIZE=2", Err(reply::SYNTAX));
        check("MAIL FROM:<a@b> SIZE=-1", Err(reply::SYNTAX));
        check("MAIL FROM:<a@b> SIZE", Err(reply::PARAMETER_UNKNOWN));
        check("MAIL FROM:<a@b> RET=FULL", Err(reply::PARAMETER_UNKNOWN));
        check("MAIL FROM:a@b", Err(reply::SENDER_SYNTAX));
        check("MAIL TO:<a@b>", Err(reply::SYNTAX));
        check("RCPT TO:<a@b>", Ok(Command::Rcpt { to: "a@b".to_owned() }));
        check("RCPT TO:<>", Err(reply::RECIPIENT_SYNTAX));
        check("RCPT TO:<a@b> NOTIFY=NEVER", Err(reply::PARAMETER_UNKNOWN));
        check("DATA", Ok(Command::Data));
        check("DATA now", Err(reply::SYNTAX));
        check("RSET ", Ok(Command::Rset));
        check("NOOP anything", Ok(Command::Noop));
        check("VRFY root", Ok(Command::Vrfy));
        check("QUIT", Ok(Command::Quit));
        check("STARTTLS", Ok(Command::StartTls));
        check("BDAT 5 LAST", Ok(Command::Bdat { bytes: 5, is_last: true }));
        check("bdat 0 last ", Ok(Command::Bdat { bytes: 0, is_last: true }));
        check("BDAT 18446744073709551615", Ok(Command::Bdat { bytes: u64::MAX, is_last: false }));
        for broken in [
            "BDAT",
            "BDAT LAST",
            "BDAT -1",
            "BDAT +1",
            "BDAT 1x",
            "BDAT 5 FIRST",
            "BDAT 5 LAST 5",
            "BDAT 18446744073709551616",
        ] {
            check(broken, Err(reply::CHUNK_SYNTAX));
        }
        check("EXPN list", Err(reply::NOT_IMPLEMENTED));
        check("GET / HTTP/1.1", Err(reply::UNKNOWN));
        check("", Err(reply::UNKNOWN));
        check("NOOP \0", Err(reply::NOT_CRLF));
        check("NOOP\rQUIT", Err(reply::NOT_CRLF));
    }

    #[test]
    fn an_address_that_is_not_utf8_has_its_own_answer() {
        assert_eq!(parse(b"MAIL FROM:<\xfc@b.example>"), Err(reply::SENDER_NOT_UTF8));
        assert_eq!(parse(b"RCPT TO:<\xfc@b.example>"), Err(reply::RECIPIENT_NOT_UTF8));
    }
}
