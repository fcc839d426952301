use std::borrow::Cow;

use encoding_rs::{Encoding, WINDOWS_1252};
use mail_parser::decoders::charsets::map::charset_decoder;

/// How far into an HTML text its own `charset=` is looked for, in bytes (HTML standard: 1,024).
const META_CHARSET_BYTES_MAX: usize = 1024;

/// Charsets in which plain ASCII bytes mean themselves, by the beginning of their names.
const ASCII_SUPERSETS: [&str; 11] = [
    "utf-8",
    "utf8",
    "us-ascii",
    "ascii",
    "ansi_x3.4",
    "iso-8859",
    "iso8859",
    "windows-12",
    "koi8",
    "euc",
    "gb",
];

/// Text, and whether its charset was known.
#[derive(Debug)]
pub(super) struct Decoded<'b> {
    pub(super) text: Cow<'b, str>,
    pub(super) is_certain: bool,
}

/// Decodes by byte order mark, else by the declared charset. Without one: UTF-8 where it is valid, else
/// windows-1252, line by line. Never fails; what has no meaning becomes U+FFFD.
pub(super) fn decode<'b>(bytes: &'b [u8], declared: Option<&str>) -> Decoded<'b> {
    if let Some((encoding, mark_length)) = Encoding::for_bom(bytes) {
        let (text, _) = encoding.decode_without_bom_handling(&bytes[mark_length..]);
        return Decoded { text, is_certain: true };
    }
    let label = declared.unwrap_or_default().trim_matches(['"', '\'', ' ', '\t']).to_ascii_lowercase();
    let is_superset = ASCII_SUPERSETS.iter().any(|name| label.starts_with(name));
    if is_superset && bytes.is_ascii() || is_utf8(&label) || is_ascii(&label) {
        return Decoded { text: utf8_or_windows_1252(bytes), is_certain: true };
    }
    let decoded = charset_decoder(label.as_bytes()).map(|decoder| decoder(bytes));
    // The web's rule for charsets that are dangerous there (ISO-2022-KR, HZ): one U+FFFD for everything.
    let is_refused = decoded.as_deref() == Some("\u{fffd}") && bytes.len() > 1;
    match decoded {
        Some(text) if !is_refused => Decoded { text: text.into(), is_certain: true },
        _ => Decoded { text: utf8_or_windows_1252(bytes), is_certain: bytes.is_ascii() && !is_refused },
    }
}

/// As `decode`, and believes a `<meta charset>` where the part's header names none.
pub(super) fn decode_html<'b>(bytes: &'b [u8], declared: Option<&str>) -> Decoded<'b> {
    let meta =
        if declared.is_none() && std::str::from_utf8(bytes).is_err() { meta_charset(bytes) } else { None };
    decode(bytes, declared.or(meta.as_deref()))
}

fn is_utf8(label: &str) -> bool {
    matches!(label, "utf-8" | "utf8")
}

/// Mail that declares ASCII, or nothing, often has 8-bit text all the same.
fn is_ascii(label: &str) -> bool {
    matches!(label, "" | "us-ascii" | "ascii" | "ansi_x3.4-1968")
}

fn utf8_or_windows_1252(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return text.into();
    }
    let mut text = String::with_capacity(bytes.len() + bytes.len() / 8);
    for line in bytes.split_inclusive(|b| *b == b'\n') {
        // A line with some valid UTF-8 beyond ASCII is damaged UTF-8; one without is another charset.
        if line.utf8_chunks().any(|chunk| !chunk.valid().is_ascii()) {
            text.push_str(&String::from_utf8_lossy(line));
        } else {
            text.push_str(&WINDOWS_1252.decode_without_bom_handling(line).0);
        }
    }
    text.into()
}

fn meta_charset(html: &[u8]) -> Option<String> {
    let head = html[..html.len().min(META_CHARSET_BYTES_MAX)].to_ascii_lowercase();
    let head = String::from_utf8_lossy(&head);
    let (_, after) = head.split_once("charset")?;
    let value = after.trim_start().strip_prefix('=')?.trim_start_matches([' ', '"', '\'']);
    let is_label = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let label: String = value.chars().take_while(|c| is_label(*c)).collect();
    (!label.is_empty()).then_some(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_charset_of_common_mail_is_read() {
        let check = |label: Option<&str>, bytes: &[u8], expected: &str| {
            let decoded = decode(bytes, label);
            assert_eq!(decoded.text, expected, "{label:?}");
            assert!(decoded.is_certain, "{label:?}");
        };
        check(Some("utf-8"), "Grüße 你好 שלום".as_bytes(), "Grüße 你好 שלום");
        check(Some("ISO-8859-1"), b"Gr\xfc\xdfe", "Grüße");
        check(Some("\"iso-8859-15\""), b"10 \xa4", "10 €");
        check(Some("windows-1252"), b"\x93Gr\xfc\xdfe\x94", "“Grüße”");
        check(Some("koi8-r"), b"\xf0\xd2\xc9\xd7\xc5\xd4", "Привет");
        check(Some("gb2312"), b"\xc4\xe3\xba\xc3", "你好");
        check(Some("big5"), b"\xa7A\xa6n", "你好");
        check(Some("shift_jis"), b"\x83n\x83\x8d\x81[", "ハロー");
        check(Some("iso-2022-jp"), b"\x1b$B%O%m!<\x1b(B", "ハロー");
        check(Some("euc-kr"), b"\xbe\xc8\xb3\xe7", "안녕");
        check(Some("iso-8859-8-i"), b"\xf9\xec\xe5\xed", "שלום");
        check(Some("windows-1256"), b"\xe3\xd1\xcd\xc8\xc7", "مرحبا");
        check(Some("utf-7"), b"Gr+APwA3w-e", "Grüße");
        check(Some("utf-16"), b"\xff\xfeG\0r\0\xfc\0", "Grü");
        check(Some("utf-8"), b"\xef\xbb\xbfmark", "mark");
    }

    #[test]
    fn eight_bit_text_without_a_charset_is_guessed() {
        let check = |label: Option<&str>, bytes: &[u8], expected: &str| {
            assert_eq!(decode(bytes, label).text, expected, "{label:?} {bytes:?}");
        };
        check(None, "Grüße".as_bytes(), "Grüße");
        check(None, b"Gr\xfc\xdfe", "Grüße");
        check(Some("us-ascii"), b"Gr\xfc\xdfe", "Grüße");
        check(Some("utf-8"), b"Gr\xfc\xdfe\n\xc3\xbc und \xfc\n", "Grüße\nü und \u{fffd}\n");
    }

    #[test]
    fn an_unknown_charset_is_guessed_and_said_to_be_uncertain() {
        assert!(!decode(b"Gr\xfc\xdfe", Some("x-klingon")).is_certain);
        assert!(decode(b"plain", Some("x-klingon")).is_certain);
        assert!(!decode(b"\x1b$)Cabcd", Some("iso-2022-kr")).is_certain);
    }

    #[test]
    fn html_may_name_its_own_charset() {
        let html = b"<meta http-equiv=content-type content='text/html; charset=GB2312'>\xc4\xe3\xba\xc3";
        assert!(decode_html(html, None).text.ends_with("你好"));
        assert!(decode_html(b"<meta charset=\"koi8-r\">\xf0\xd2", None).text.ends_with("Пр"));
        assert!(decode_html(b"<meta charset=koi8-r>\xfc", Some("iso-8859-1")).text.ends_with('ü'));
    }
}
