use super::{INDEXED_HEADER_BYTES_MAX, charset};

/// A header field that the index reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    From,
    To,
    Cc,
    Bcc,
    OtherAddress,
    Subject,
    Date,
    MessageId,
    ContentType,
    ContentDisposition,
    ContentTransferEncoding,
}

const NAMES: [(&str, Name); 18] = [
    ("from", Name::From),
    ("to", Name::To),
    ("cc", Name::Cc),
    ("bcc", Name::Bcc),
    ("sender", Name::OtherAddress),
    ("reply-to", Name::OtherAddress),
    ("resent-from", Name::OtherAddress),
    ("resent-sender", Name::OtherAddress),
    ("resent-to", Name::OtherAddress),
    ("resent-cc", Name::OtherAddress),
    ("resent-bcc", Name::OtherAddress),
    ("apparently-to", Name::OtherAddress),
    ("subject", Name::Subject),
    ("date", Name::Date),
    ("message-id", Name::MessageId),
    ("content-type", Name::ContentType),
    ("content-disposition", Name::ContentDisposition),
    ("content-transfer-encoding", Name::ContentTransferEncoding),
];

/// The fields of one header block that the index reads, as UTF-8 where that can be had.
#[derive(Debug, Default)]
pub(super) struct HeaderBlock {
    /// Values still folded and encoded; each ends with a line feed, as the field parsers need it.
    fields: Vec<(Name, Vec<u8>)>,
    /// Lines that are no header fields. Readers disagree about them, so the index takes them as body text.
    stray: Vec<u8>,
    /// Fields beyond `INDEXED_HEADER_BYTES_MAX` were passed over.
    pub(super) is_cut: bool,
}

impl HeaderBlock {
    /// Reads up to and with the empty line, or up to a line that is a delimiter; also says where the body begins.
    pub(super) fn read(bytes: &[u8], is_delimiter: impl Fn(&[u8]) -> bool) -> (Self, usize) {
        let mut block = Self::default();
        let mut at = 0;
        let mut open = Open::Nothing;
        while at < bytes.len() {
            let end = at + line_length(&bytes[at..]);
            let line = &bytes[at..end];
            if is_blank(line) || is_delimiter(line) {
                at = if is_blank(line) { end } else { at };
                break;
            }
            if end > INDEXED_HEADER_BYTES_MAX {
                block.is_cut = true;
            } else {
                open = block.take_line(line, at, open);
            }
            at = end;
        }
        block.repair_charsets();
        (block, at)
    }

    fn take_line(&mut self, line: &[u8], at: usize, open: Open) -> Open {
        if matches!(line.first(), Some(b' ' | b'\t')) {
            match open {
                Open::Wanted => {
                    if let Some((_, value)) = self.fields.last_mut() {
                        value.extend_from_slice(line);
                    }
                }
                Open::Nothing => self.stray.extend_from_slice(line),
                Open::Unwanted => {}
            }
            return open;
        }
        let Some((name, value)) = split_field(line) else {
            let is_envelope = at == 0 && (line.starts_with(b"From ") || line.starts_with(b">From "));
            if !is_envelope {
                self.stray.extend_from_slice(line);
            }
            return Open::Unwanted;
        };
        let wanted = NAMES.iter().find(|(known, _)| name.eq_ignore_ascii_case(known.as_bytes()));
        let Some((_, wanted)) = wanted else { return Open::Unwanted };
        self.fields.push((*wanted, value.to_vec()));
        Open::Wanted
    }

    /// RFC 6532 allows UTF-8 in headers; older mail has raw 8-bit text, usually in the charset of its body.
    fn repair_charsets(&mut self) {
        let readable = |(_, value): &(Name, Vec<u8>)| std::str::from_utf8(value).is_ok();
        let repair = !self.fields.iter().all(readable);
        let declared = if repair { super::content::ContentType::of(self).charset } else { None };
        for (_, value) in &mut self.fields {
            if repair && std::str::from_utf8(value).is_err() {
                *value = repaired(value, declared.as_deref());
            }
            if value.last() != Some(&b'\n') {
                value.push(b'\n');
            }
        }
    }

    pub(super) fn values(&self, name: Name) -> impl Iterator<Item = &[u8]> {
        self.fields.iter().filter(move |(field, _)| *field == name).map(|(_, value)| value.as_slice())
    }

    pub(super) fn take_stray(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.stray)
    }
}

/// Word by word, because encoded words (RFC 2047) name the charset of their own bytes, raw ones too.
fn repaired(value: &[u8], declared: Option<&str>) -> Vec<u8> {
    let mut text = Vec::with_capacity(value.len() * 2);
    for word in value.split_inclusive(u8::is_ascii_whitespace) {
        if word.windows(2).any(|pair| pair == b"=?") {
            text.extend_from_slice(word);
        } else {
            text.extend_from_slice(charset::decode(word, declared).text.as_bytes());
        }
    }
    text
}

/// The field that a folded line would continue.
#[derive(Debug, Clone, Copy)]
enum Open {
    Nothing,
    Wanted,
    Unwanted,
}

/// Length of the first line with its line feed, or of everything.
pub(super) fn line_length(bytes: &[u8]) -> usize {
    use std::io::BufRead;

    let mut rest = bytes;
    rest.skip_until(b'\n').unwrap_or(bytes.len())
}

pub(super) fn is_blank(line: &[u8]) -> bool {
    matches!(line, b"\n" | b"\r\n")
}

/// RFC 5322 section 2.2: printable ASCII but no colon; obsolete syntax allows white space before the colon.
fn split_field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|b| *b == b':')?;
    let name = line[..colon].trim_ascii_end();
    let valid = !name.is_empty() && name.iter().all(u8::is_ascii_graphic);
    valid.then(|| (name, &line[colon + 1..]))
}
