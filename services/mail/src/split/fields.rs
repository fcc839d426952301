//! The three header fields that decide what an entity is (RFC 2045, RFC 2183), read from any bytes.

use super::lines::Piece;

/// Bytes of one field that are read. A boundary or file name beyond that is not seen.
const FIELD_BYTES_MAX: usize = 16 * 1024;

const NAMES: [&[u8]; 3] = [b"content-type", b"content-transfer-encoding", b"content-disposition"];

/// What the header says about its entity.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Entity {
    Multipart { boundary: Vec<u8>, is_digest: bool },
    Message,
    Leaf(Body),
}

/// How a leaf's body is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body {
    Verbatim,
    Identity,
    Base64,
}

/// Type of an entity that names none (RFC 2046 section 5.1.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DefaultType {
    Text,
    Message,
}

/// Collects the fields while the header block passes by.
#[derive(Debug)]
pub(crate) struct HeaderBlock {
    default_type: DefaultType,
    /// Bytes of the block so far.
    pub(crate) bytes: usize,
    /// In the order of [`NAMES`]; of a field that is there twice, the first.
    fields: [Option<Vec<u8>>; 3],
    current: Option<usize>,
}

impl HeaderBlock {
    pub(crate) fn new(default_type: DefaultType) -> Self {
        Self { default_type, bytes: 0, fields: [None, None, None], current: None }
    }

    pub(crate) fn push(&mut self, piece: &Piece<'_>) {
        self.bytes += piece.bytes.len();
        let text = piece.text();
        let continues = !piece.starts_line || matches!(text.first(), Some(b' ' | b'\t'));
        let value = if continues {
            text
        } else {
            self.current = None;
            let Some(colon) = text.iter().position(|byte| *byte == b':') else { return };
            let name = text[..colon].trim_ascii_end();
            let Some(index) = NAMES.iter().position(|known| name.eq_ignore_ascii_case(known)) else { return };
            if self.fields[index].is_some() {
                return;
            }
            self.current = Some(index);
            &text[colon + 1..]
        };
        if let Some(index) = self.current {
            let field = self.fields[index].get_or_insert_default();
            field.extend_from_slice(&value[..value.len().min(FIELD_BYTES_MAX - field.len())]);
        }
    }

    pub(crate) fn entity(&self) -> Entity {
        let [content_type, encoding, disposition] = &self.fields;
        let content_type = Field::parse(content_type.as_deref().unwrap_or_default());
        let disposition = Field::parse(disposition.as_deref().unwrap_or_default());
        let encoding = transfer_encoding(encoding.as_deref().unwrap_or_default());

        let (main, sub) = match (content_type.media_type(), self.default_type) {
            (Some(given), _) => given,
            (None, DefaultType::Text) => ("text".into(), "plain".into()),
            (None, DefaultType::Message) => ("message".into(), "rfc822".into()),
        };
        match (main.as_str(), sub.as_str()) {
            ("multipart", _) => match content_type.boundary() {
                Some(boundary) => Entity::Multipart { boundary, is_digest: sub == "digest" },
                None => Entity::Leaf(Body::Verbatim),
            },
            ("message", "rfc822" | "global") if encoding == Body::Identity => Entity::Message,
            _ => {
                let is_attached = main != "text"
                    || content_type.has_parameter(b"name")
                    || disposition.has_parameter(b"filename")
                    || disposition.first == "attachment";
                Entity::Leaf(if is_attached { encoding } else { Body::Verbatim })
            }
        }
    }
}

fn transfer_encoding(field: &[u8]) -> Body {
    match Field::parse(field).first.as_str() {
        "base64" => Body::Base64,
        "" | "7bit" | "8bit" | "binary" => Body::Identity,
        _ => Body::Verbatim,
    }
}

/// `first; name=value; name="value"`, lower case but for values.
struct Field {
    first: String,
    parameters: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Field {
    fn parse(value: &[u8]) -> Self {
        let end = value.iter().position(|byte| *byte == b';').unwrap_or(value.len());
        let (first, mut rest) = value.split_at(end);
        let first = first.trim_ascii();
        let token = first.split(|byte| *byte == b'(' || byte.is_ascii_whitespace()).next().unwrap_or(first);
        let mut parameters = Vec::new();
        while let Some((parameter, after)) = next_parameter(rest) {
            parameters.push(parameter);
            rest = after;
        }
        Self { first: String::from_utf8_lossy(token).to_ascii_lowercase(), parameters }
    }

    fn media_type(&self) -> Option<(String, String)> {
        let (main, sub) = self.first.split_once('/')?;
        (!main.is_empty() && !sub.is_empty()).then(|| (main.to_owned(), sub.to_owned()))
    }

    fn boundary(&self) -> Option<Vec<u8>> {
        let (_, value) = self.parameters.iter().find(|(name, _)| name == b"boundary")?;
        let boundary = value.trim_ascii_end();
        (!boundary.is_empty()).then(|| boundary.to_vec())
    }

    /// Also in the forms of RFC 2231: `name*`, `name*0`, `name*0*`.
    fn has_parameter(&self, wanted: &[u8]) -> bool {
        self.parameters.iter().any(|(name, _)| name.split(|byte| *byte == b'*').next() == Some(wanted))
    }
}

type Parameter = (Vec<u8>, Vec<u8>);

fn next_parameter(rest: &[u8]) -> Option<(Parameter, &[u8])> {
    let start = rest.iter().position(|byte| *byte != b';' && !byte.is_ascii_whitespace())?;
    let rest = &rest[start..];
    let end = rest.iter().position(|byte| matches!(byte, b'=' | b';')).unwrap_or(rest.len());
    let name = rest[..end].trim_ascii_end().to_ascii_lowercase();
    let Some((b'=', value)) = rest[end..].split_first() else {
        return Some(((name, Vec::new()), &rest[end..]));
    };
    let value = value.trim_ascii_start();
    let (value, after) = if let Some((b'"', quoted)) = value.split_first() {
        quoted_string(quoted)
    } else {
        let end = value.iter().position(|byte| *byte == b';' || byte.is_ascii_whitespace());
        let (token, after) = value.split_at(end.unwrap_or(value.len()));
        (token.to_vec(), after)
    };
    Some(((name, value), after))
}

/// The content up to the closing quote, or to the end where there is none.
fn quoted_string(rest: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut content = Vec::new();
    let mut at = 0;
    while let Some(byte) = rest.get(at) {
        match byte {
            b'"' => return (content, &rest[at + 1..]),
            b'\\' => {
                content.extend(rest.get(at + 1));
                at += 2;
            }
            byte => {
                content.push(*byte);
                at += 1;
            }
        }
    }
    (content, &[])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::split::lines::LineCutter;

    fn entity(header: &str, default_type: DefaultType) -> Entity {
        let mut block = HeaderBlock::new(default_type);
        let (mut cutter, mut rest) = (LineCutter::default(), header.as_bytes());
        while !rest.is_empty() {
            let (taken, piece) = cutter.cut(rest);
            if let Some(piece) = piece {
                block.push(&piece);
            }
            rest = &rest[taken..];
        }
        if let Some(piece) = cutter.finish() {
            block.push(&piece);
        }
        block.entity()
    }

    fn check(header: &str, expected: &Entity) {
        assert_eq!(&entity(header, DefaultType::Text), expected, "{header}");
    }

    fn multipart(boundary: &str) -> Entity {
        Entity::Multipart { boundary: boundary.into(), is_digest: false }
    }

    #[test]
    fn a_boundary_is_found_however_it_is_written() {
        check("Content-Type: multipart/mixed; boundary=abc", &multipart("abc"));
        check(
            "CONTENT-TYPE :\tMultiPart/Mixed;\r\n\tcharset=x;\r\n BOUNDARY=\"a b;\\\"c \"\r\n",
            &multipart("a b;\"c"),
        );
        check("Content-Type: multipart/mixed (old); boundary = \"abc", &multipart("abc"));
        check("Content-Type: multipart/signed; micalg=pgp-sha1;; boundary=a=b; x", &multipart("a=b"));
        check("Content-Type: multipart/mixed; boundary=1\nContent-Type: text/plain", &multipart("1"));
        check("Content-Type: multipart/mixed; boundary=\"\"", &Entity::Leaf(Body::Verbatim));
        check("Content-Type: multipart/mixed", &Entity::Leaf(Body::Verbatim));
        check(
            "Content-Type: multipart/digest; boundary=a",
            &Entity::Multipart { boundary: b"a".to_vec(), is_digest: true },
        );
    }

    #[test]
    fn attachments_and_all_that_is_not_text_are_taken_out() {
        let base64 = "Content-Transfer-Encoding: base64\r\n";
        for header in [
            "Content-Type: application/pdf",
            "Content-Type: image/png; name*0*=utf-8''a",
            "Content-Type: text/csv; name=a.csv",
            "Content-Type: text/csv\nContent-Disposition: inline;\n filename*=utf-8''a.csv",
            "Content-Disposition: ATTACHMENT",
            "Content-Type: message/rfc822",
        ] {
            check(&format!("{base64}{header}"), &Entity::Leaf(Body::Base64));
        }
        for header in ["", "Content-Type: text/html; charset=x", "Content-Type: nonsense", "no colon here"] {
            check(&format!("{base64}{header}"), &Entity::Leaf(Body::Verbatim));
        }
    }

    #[test]
    fn the_encoding_decides_how() {
        for (encoding, expected) in [
            ("7bit", Body::Identity),
            (" 8BIT ", Body::Identity),
            ("binary", Body::Identity),
            ("BASE64 (rfc 2045)", Body::Base64),
            ("quoted-printable", Body::Verbatim),
            ("x-uuencode", Body::Verbatim),
        ] {
            let header = format!("Content-Type: application/x\r\nContent-Transfer-Encoding: {encoding}");
            check(&header, &Entity::Leaf(expected));
        }
    }

    #[test]
    fn messages_are_descended_into_and_are_the_default_in_a_digest() {
        check("Content-Type: message/rfc822; name=mail.eml", &Entity::Message);
        check("Content-Type: message/global", &Entity::Message);
        check("Content-Type: message/delivery-status", &Entity::Leaf(Body::Identity));
        assert_eq!(entity("", DefaultType::Message), Entity::Message);
        assert_eq!(entity("Content-Type: text/plain", DefaultType::Message), Entity::Leaf(Body::Verbatim));
    }

    #[test]
    fn a_boundary_beyond_the_bytes_of_a_field_that_are_read_is_not_seen() {
        let with =
            |padding: usize| format!("Content-Type: multipart/mixed;{}boundary=b", " ".repeat(padding));
        let room = FIELD_BYTES_MAX - " multipart/mixed;boundary=b".len();
        check(&with(room), &multipart("b"));
        check(&with(room + 1), &Entity::Leaf(Body::Verbatim));
    }
}
