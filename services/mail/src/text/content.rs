//! What a part is: its MIME type, its file name, how its bytes are encoded.

use mail_parser::{HeaderValue, parsers::MessageStream};

use super::{
    content_field::bounded,
    header_block::{HeaderBlock, Name},
    transfer::TransferEncoding,
};

/// RFC 2045 section 5. Type and subtype in lower case; empty where the field is missing or unreadable.
#[derive(Debug, Default)]
pub(super) struct ContentType {
    pub(super) main: String,
    pub(super) sub: String,
    pub(super) charset: Option<String>,
    pub(super) boundary: Option<Vec<u8>>,
    name: Option<String>,
    is_cut: bool,
}

impl ContentType {
    pub(super) fn of(block: &HeaderBlock) -> Self {
        let Some(value) = block.values(Name::ContentType).next() else { return Self::default() };
        let (value, is_cut) = bounded(value);
        let HeaderValue::ContentType(parsed) = MessageStream::new(&value).parse_content_type() else {
            return Self { is_cut, ..Self::default() };
        };
        let attribute = |name| parsed.attribute(name).map(str::trim).filter(|text| !text.is_empty());
        Self {
            main: parsed.ctype().to_ascii_lowercase(),
            sub: parsed.subtype().unwrap_or_default().to_ascii_lowercase(),
            charset: attribute("charset").map(str::to_owned),
            boundary: attribute("boundary").map(|text| text.as_bytes().to_vec()),
            name: attribute("name").map(str::to_owned),
            is_cut,
        }
    }

    fn is(&self, main: &str, subs: &[&str]) -> bool {
        self.main == main && subs.contains(&self.sub.as_str())
    }
}

/// What the index does with a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Multipart {
        is_digest: bool,
    },
    Message,
    PlainText,
    Markup,
    /// Holds text that cannot be read without a key or another format's reader: the index is then incomplete.
    Sealed,
    Binary,
}

/// Where a part stands, which decides what it is when it does not say so itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The outermost entity of a message: body, whatever its disposition.
    Root,
    InMultipart,
    /// RFC 2046 section 5.1.5: a message unless it says otherwise.
    InDigest,
}

/// A part's own description of itself.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) kind: Kind,
    pub(super) mime: ContentType,
    pub(super) transfer: TransferEncoding,
    pub(super) file_name: Option<String>,
    pub(super) is_attachment: bool,
    /// A field was longer than `CONTENT_FIELD_BYTES_MAX`, or had too many parameters.
    pub(super) is_cut: bool,
}

impl Content {
    pub(super) fn of(block: &HeaderBlock, place: Place) -> Self {
        let mime = ContentType::of(block);
        let (is_attachment, disposition_name, disposition_is_cut) = disposition(block);
        let file_name = disposition_name.or_else(|| mime.name.clone());
        let is_container = file_name.as_deref().is_some_and(is_sealed_container);
        let kind = if is_container { Kind::Sealed } else { kind(&mime, place) };
        Self {
            kind,
            transfer: TransferEncoding::of(block.values(Name::ContentTransferEncoding).next()),
            file_name,
            is_attachment: is_attachment && place != Place::Root,
            is_cut: mime.is_cut || disposition_is_cut,
            mime,
        }
    }
}

fn kind(content_type: &ContentType, place: Place) -> Kind {
    match content_type.main.as_str() {
        "" if place == Place::InDigest => Kind::Message,
        "" => Kind::PlainText,
        "multipart" => Kind::Multipart { is_digest: content_type.sub == "digest" },
        "message" => message_kind(&content_type.sub),
        "text" => text_kind(&content_type.sub),
        _ if content_type.is("application", &["pkcs7-mime", "x-pkcs7-mime", "ms-tnef", "vnd.ms-tnef"])
            || content_type.is("application", &["pgp-encrypted", "pgp"]) =>
        {
            Kind::Sealed
        }
        _ if content_type.is("application", &["xhtml+xml"]) => Kind::Markup,
        _ => Kind::Binary,
    }
}

fn message_kind(sub: &str) -> Kind {
    match sub {
        "rfc822" | "global" | "news" => Kind::Message,
        // RFC 3464, RFC 8098, RFC 5965, RFC 6533: header-like lines in clear text.
        "delivery-status"
        | "disposition-notification"
        | "feedback-report"
        | "global-delivery-status"
        | "global-disposition-notification"
        | "global-headers" => Kind::PlainText,
        // Fragments and pointers (RFC 2046 section 5.2): the text is elsewhere.
        "partial" => Kind::Sealed,
        _ => Kind::Binary,
    }
}

fn text_kind(sub: &str) -> Kind {
    match sub {
        "html" | "enriched" | "richtext" | "xml" | "x-amp-html" => Kind::Markup,
        "css" | "javascript" | "ecmascript" | "x-javascript" | "rtf" | "x-rtf" => Kind::Binary,
        _ => Kind::PlainText,
    }
}

/// Containers of whole messages that often travel as application/octet-stream: TNEF and S/MIME.
fn is_sealed_container(file_name: &str) -> bool {
    ["winmail.dat", "smime.p7m"].iter().any(|name| file_name.eq_ignore_ascii_case(name))
}

/// RFC 2183: is it an attachment, its file name, was the field cut.
fn disposition(block: &HeaderBlock) -> (bool, Option<String>, bool) {
    let Some(value) = block.values(Name::ContentDisposition).next() else { return (false, None, false) };
    let (value, is_cut) = bounded(value);
    let HeaderValue::ContentType(parsed) = MessageStream::new(&value).parse_content_type() else {
        return (false, None, is_cut);
    };
    let name = parsed.attribute("filename").map(str::trim).filter(|name| !name.is_empty());
    (parsed.ctype().eq_ignore_ascii_case("attachment"), name.map(str::to_owned), is_cut)
}
