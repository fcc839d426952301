use std::borrow::Cow;

use mail_parser::decoders::base64::base64_decode;

/// RFC 2045 section 6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TransferEncoding {
    /// 7bit, 8bit, binary, or nothing said.
    Identity,
    Base64,
    QuotedPrintable,
    /// Read as it stands; the index is then incomplete.
    Unknown,
}

impl TransferEncoding {
    pub(super) fn of(value: Option<&[u8]>) -> Self {
        let value = value.unwrap_or_default();
        // Comments and parameters do not belong here, but they occur.
        let end = value.iter().position(|b| matches!(b, b';' | b'(')).unwrap_or(value.len());
        match value[..end].trim_ascii().to_ascii_lowercase().as_slice() {
            b"" | b"binary" => Self::Identity,
            b"base64" => Self::Base64,
            b"quoted-printable" => Self::QuotedPrintable,
            // 7bit, 8bit, and what people make of them.
            other if other.ends_with(b"bit") || other.ends_with(b"bits") => Self::Identity,
            _ => Self::Unknown,
        }
    }

    /// Decodes what can be decoded; damage costs the damaged characters only.
    pub(super) fn decode(self, bytes: &[u8]) -> Cow<'_, [u8]> {
        match self {
            Self::Identity | Self::Unknown => bytes.into(),
            Self::Base64 => base64(bytes).into(),
            Self::QuotedPrintable => quoted_printable(bytes).into(),
        }
    }
}

fn base64(bytes: &[u8]) -> Vec<u8> {
    base64_decode(bytes).unwrap_or_else(|| {
        let in_alphabet = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=');
        let kept: Vec<u8> = bytes.iter().copied().filter(in_alphabet).collect();
        base64_decode(&kept).unwrap_or_default()
    })
}

/// RFC 2045 section 6.7, robust: an `=` that begins neither an octet nor a soft break stands for itself.
fn quoted_printable(bytes: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|b| *b == b'=') {
        decoded.extend_from_slice(&rest[..at]);
        rest = &rest[at + 1..];
        if let [high, low, tail @ ..] = rest
            && let (Some(high), Some(low)) = (hex_digit(*high), hex_digit(*low))
        {
            decoded.push(high << 4 | low);
            rest = tail;
            continue;
        }
        match soft_break_length(rest) {
            Some(length) => rest = &rest[length..],
            None => decoded.push(b'='),
        }
    }
    decoded.extend_from_slice(rest);
    decoded
}

fn hex_digit(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

/// White space and a line break after `=`; at the end of the text nothing at all is one, too.
fn soft_break_length(rest: &[u8]) -> Option<usize> {
    let blanks = rest.iter().take_while(|b| matches!(b, b' ' | b'\t' | b'\r')).count();
    match rest.get(blanks) {
        Some(b'\n') => Some(blanks + 1),
        Some(_) => None,
        None => Some(blanks),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_printable_is_read_even_when_it_is_damaged() {
        let check = |encoded: &str, expected: &str| {
            let decoded = TransferEncoding::QuotedPrintable.decode(encoded.as_bytes());
            assert_eq!(String::from_utf8_lossy(&decoded), expected, "{encoded:?}");
        };
        check("Gr=C3=BC=c3=9fe", "Grüße");
        check("soft=\r\nbreak, soft= \t\nbreak", "softbreak, softbreak");
        check("1 = 1 and =XY and =4", "1 = 1 and =XY and =4");
        check("end=", "end");
        check("=", "");
    }

    #[test]
    fn base64_is_read_even_when_it_is_damaged() {
        let check = |encoded: &str, expected: &str| {
            let decoded = TransferEncoding::Base64.decode(encoded.as_bytes());
            assert_eq!(String::from_utf8_lossy(&decoded), expected, "{encoded:?}");
        };
        check("SGVsbG8gd29ybGQ=\r\n", "Hello world");
        check("SGVs\r\nbG8g\nd29y bGQ", "Hello world");
        check("SGVs!bG8g*d29ybGQ=", "Hello world");
        check("SGVsbG8=IHdvcmxk", "Hello world");
        check("", "");
        check("!!!", "");
    }

    #[test]
    fn encodings_are_named_loosely() {
        let check =
            |value: &str, expected| assert_eq!(TransferEncoding::of(Some(value.as_bytes())), expected);
        check(" BASE64 \r\n", TransferEncoding::Base64);
        check(" quoted-printable; charset=x\n", TransferEncoding::QuotedPrintable);
        check(" 8bit (really)\n", TransferEncoding::Identity);
        check(" 7-Bits\n", TransferEncoding::Identity);
        check(" x-uuencode\n", TransferEncoding::Unknown);
        assert_eq!(TransferEncoding::of(None), TransferEncoding::Identity);
    }
}
