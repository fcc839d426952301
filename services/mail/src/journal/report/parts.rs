//! The parts of a report (RFC 2046 section 5.1), line by line: the envelope's text, and where the mails stand.

use mail_parser::{HeaderValue, decoders::charsets::map::charset_decoder, parsers::MessageStream};

use super::{
    super::{decode::decode, header::HeaderFields},
    Generation, JOURNALED_MAILS_MAX, JournaledMail, REPORT_TEXT_BYTES_MAX, TransferEncoding, Unfit,
};
use crate::{split::lines::Piece, text::content_field::bounded};

/// Most bytes of one header block's wanted fields.
const FIELDS_BYTES_MAX: usize = 16 * 1024;

const CONTENT_TYPE: &str = "content-type";
const CONTENT_ENCODING: &str = "content-transfer-encoding";
const JOURNAL_REPORT: &str = "x-ms-journal-report";
/// The second is how Exchange itself misspells it.
const CONTENT_IDENTIFIERS: [&str; 2] = ["content-identifier", "content-identifer"];
const JOURNAL_IDENTIFIER: &[u8] = b"exjournalreport";

const REPORT_FIELDS: &[&str] =
    &[CONTENT_TYPE, JOURNAL_REPORT, CONTENT_IDENTIFIERS[0], CONTENT_IDENTIFIERS[1]];
const PART_FIELDS: &[&str] = &[CONTENT_TYPE, CONTENT_ENCODING];

/// A report's parts.
pub(super) struct Found {
    pub(super) generation: Generation,
    pub(super) text: String,
    pub(super) mails: Vec<JournaledMail>,
}

#[derive(Debug)]
pub(super) struct Parts {
    state: State,
    generation: Option<Generation>,
    /// Of the report, and of an alternative inside its first part.
    boundaries: Vec<Vec<u8>>,
    /// Parts of the report begun so far.
    begun: usize,
    text: Option<Text>,
    mails: Vec<JournaledMail>,
    unfit: Option<Unfit>,
    /// Bytes of the report so far, and of the last line's ending.
    position: u64,
    line_end_bytes: u64,
}

#[derive(Debug)]
enum State {
    ReportHeader(HeaderFields),
    PartHeader(HeaderFields),
    Text,
    Mail {
        start: u64,
        encoding: TransferEncoding,
    },
    /// A preamble, an epilogue, or a part of no interest.
    Other,
    /// After the report's last boundary.
    Over,
}

#[derive(Debug)]
struct Text {
    encoded: Vec<u8>,
    encoding: TransferEncoding,
    charset: Option<String>,
}

impl Default for Parts {
    fn default() -> Self {
        Self {
            state: State::ReportHeader(HeaderFields::new(REPORT_FIELDS, FIELDS_BYTES_MAX)),
            generation: None,
            boundaries: Vec::new(),
            begun: 0,
            text: None,
            mails: Vec::new(),
            unfit: None,
            position: 0,
            line_end_bytes: 0,
        }
    }
}

impl Parts {
    pub(super) fn push(&mut self, piece: &Piece<'_>) {
        if self.unfit.is_none()
            && let Err(unfit) = self.take(piece)
        {
            self.unfit = Some(unfit);
        }
        self.position += piece.bytes.len() as u64;
        self.line_end_bytes = piece.line_end.bytes().len() as u64;
    }

    pub(super) fn finish(mut self) -> Result<Found, Unfit> {
        if self.unfit.is_none() && matches!(self.state, State::ReportHeader(_)) {
            self.end_header(self.position)?;
        }
        if let Some(unfit) = self.unfit {
            return Err(unfit);
        }
        if !matches!(self.state, State::Over) {
            return Err(Unfit::ReportCutOff);
        }
        let (Some(generation), Some(text), false) = (self.generation, self.text, self.mails.is_empty())
        else {
            return Err(Unfit::ReportStructure);
        };
        let text = text.decode().ok_or(Unfit::ReportEnvelope)?;
        Ok(Found { generation, text, mails: self.mails })
    }

    fn take(&mut self, piece: &Piece<'_>) -> Result<(), Unfit> {
        if let Some((depth, delimiter)) = self.delimiter(piece) {
            self.end_part();
            self.boundaries.truncate(depth + 1);
            self.state = match delimiter {
                Delimiter::Opens => {
                    self.begun += usize::from(depth == 0);
                    State::PartHeader(HeaderFields::new(PART_FIELDS, FIELDS_BYTES_MAX))
                }
                Delimiter::Closes => {
                    self.boundaries.pop();
                    if depth == 0 { State::Over } else { State::Other }
                }
            };
            return Ok(());
        }
        match &mut self.state {
            State::ReportHeader(_) | State::PartHeader(_) if piece.is_empty_line() => {
                self.end_header(self.position + piece.bytes.len() as u64)
            }
            State::ReportHeader(fields) | State::PartHeader(fields) => {
                fields.push(piece);
                Ok(())
            }
            State::Text => match &mut self.text {
                Some(text) if text.encoded.len() + piece.bytes.len() <= REPORT_TEXT_BYTES_MAX => {
                    text.encoded.extend_from_slice(piece.bytes);
                    Ok(())
                }
                _ => Err(Unfit::TooManyRecipients),
            },
            State::Mail { .. } | State::Other | State::Over => Ok(()),
        }
    }

    fn end_header(&mut self, body_start: u64) -> Result<(), Unfit> {
        match std::mem::replace(&mut self.state, State::Other) {
            State::ReportHeader(fields) => self.begin_report(&fields),
            State::PartHeader(fields) => self.begin_part(&fields, body_start),
            other => {
                self.state = other;
                Ok(())
            }
        }
    }

    fn begin_report(&mut self, fields: &HeaderFields) -> Result<(), Unfit> {
        let is_2003 = CONTENT_IDENTIFIERS
            .iter()
            .flat_map(|name| fields.all(name))
            .any(|value| value.trim_ascii().eq_ignore_ascii_case(JOURNAL_IDENTIFIER));
        self.generation = Some(match fields.first(JOURNAL_REPORT) {
            Some(_) => Generation::Exchange2007,
            None if is_2003 => Generation::Exchange2003,
            None => return Err(Unfit::NotAReport),
        });
        let content_type = ContentType::of(fields);
        match content_type.boundary {
            Some(boundary) if content_type.is("multipart", "mixed") => self.boundaries.push(boundary),
            _ => return Err(Unfit::ReportStructure),
        }
        Ok(())
    }

    fn begin_part(&mut self, fields: &HeaderFields, body_start: u64) -> Result<(), Unfit> {
        let content_type = ContentType::of(fields);
        let encoding = TransferEncoding::of(fields.first(CONTENT_ENCODING));
        let is_top = self.boundaries.len() == 1;
        let is_mail = content_type.is("message", "rfc822") || content_type.is("message", "global");
        if is_top && is_mail {
            // The envelope comes first: a mail before it is somebody's attachment.
            if self.text.is_none() || self.mails.len() == JOURNALED_MAILS_MAX {
                return Err(Unfit::ReportStructure);
            }
            let encoding = encoding.ok_or(Unfit::MailEncoding)?;
            self.state = State::Mail { start: body_start, encoding };
        } else if self.begun == 1 && self.text.is_none() && content_type.is("text", "plain") {
            let encoding = encoding.ok_or(Unfit::ReportEnvelope)?;
            self.text = Some(Text { encoded: Vec::new(), encoding, charset: content_type.charset });
            self.state = State::Text;
        } else if let Some(boundary) = content_type.boundary
            && is_top
            && self.begun == 1
            && content_type.main == "multipart"
        {
            self.boundaries.push(boundary);
        }
        Ok(())
    }

    fn end_part(&mut self) {
        let end = self.position.saturating_sub(self.line_end_bytes);
        if let State::Mail { start, encoding } = self.state {
            self.mails.push(JournaledMail { range: start..end.max(start), encoding });
        }
        if let (State::Text, Some(text)) = (&self.state, &mut self.text) {
            text.encoded.truncate(text.encoded.len().saturating_sub(self.line_end_bytes as usize));
        }
    }

    /// The innermost open multipart that the line delimits. Within a mail only the report's own boundary counts: it
    /// is not to occur there.
    fn delimiter(&self, piece: &Piece<'_>) -> Option<(usize, Delimiter)> {
        if !piece.starts_line || matches!(self.state, State::Over) {
            return None;
        }
        let line = piece.text().strip_prefix(b"--")?.trim_ascii_end();
        self.boundaries.iter().enumerate().rev().find_map(|(depth, boundary)| {
            match line.strip_prefix(boundary.as_slice())? {
                b"" => Some((depth, Delimiter::Opens)),
                b"--" => Some((depth, Delimiter::Closes)),
                _ => None,
            }
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Delimiter {
    Opens,
    Closes,
}

#[derive(Debug, Default)]
struct ContentType {
    main: String,
    sub: String,
    boundary: Option<Vec<u8>>,
    charset: Option<String>,
}

impl ContentType {
    fn of(fields: &HeaderFields) -> Self {
        let text_plain = Self { main: "text".to_owned(), sub: "plain".to_owned(), ..Self::default() };
        // RFC 2045 section 5.2.
        let Some(value) = fields.first(CONTENT_TYPE) else { return text_plain };
        // The parser wants the field's end. What is cut off of a field no server has written.
        let value = [value, b"\n"].concat();
        let (value, _) = bounded(&value);
        let HeaderValue::ContentType(parsed) = MessageStream::new(&value).parse_content_type() else {
            return Self::default();
        };
        let attribute = |name| parsed.attribute(name).map(str::trim).filter(|text| !text.is_empty());
        Self {
            main: parsed.ctype().to_ascii_lowercase(),
            sub: parsed.subtype().unwrap_or_default().to_ascii_lowercase(),
            boundary: attribute("boundary").map(|text| text.as_bytes().to_vec()),
            charset: attribute("charset").map(str::to_ascii_lowercase),
        }
    }

    fn is(&self, main: &str, sub: &str) -> bool {
        self.main == main && self.sub == sub
    }
}

impl Text {
    /// What is no text becomes U+FFFD, which no address may hold.
    fn decode(&self) -> Option<String> {
        let bytes = decode(self.encoding, &self.encoded).ok()?;
        let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&bytes);
        let charset = self.charset.as_deref().unwrap_or("us-ascii");
        let is_ascii_superset = ["us-ascii", "utf-8", "utf8", "ascii"].contains(&charset);
        if is_ascii_superset || bytes.is_ascii() && !charset.starts_with("utf-") {
            return Some(String::from_utf8_lossy(bytes).into_owned());
        }
        charset_decoder(charset.as_bytes()).map(|decoder| decoder(bytes))
    }
}
