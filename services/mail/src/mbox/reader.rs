use std::{
    convert::Infallible,
    io::{self, BufRead, Read, Seek, SeekFrom},
};

use super::{
    CONTENT_LENGTH_SEARCH_BYTES_MAX, CopyError, Dialect, FROM_LINE_BYTES_MAX, MBOX_MESSAGE_BYTES_MAX,
    MboxEntry, MboxError, MboxMessage, from_line::begins_message,
};

/// Bytes of a line that are looked at together; longer lines come in pieces.
const PIECE_BYTES: u64 = 64 * 1024;
/// Bytes that are handed on together.
const BLOCK_BYTES: usize = 64 * 1024;

const FROM: &[u8] = b"From ";

/// Reads an mbox file from any of its messages on. Memory is bounded by `PIECE_BYTES` and `BLOCK_BYTES` with
/// `copy_next`; as an iterator it holds one message at a time. Give it a `BufReader` of 64 KiB or more: it looks
/// ahead in header blocks and then goes back.
#[derive(Debug)]
pub struct MboxReader<R> {
    input: R,
    /// Bytes from the beginning of the file.
    position: u64,
    /// Length of the file when the reader was made; what is appended later may or may not be read.
    file_length: u64,
    message_bytes_max: u64,
    /// A piece of a line, or all of it.
    piece: Vec<u8>,
    /// Where the `From ` line stands that was read last and whose message was not.
    pending: Option<u64>,
    ended: bool,
}

impl<R: BufRead + Seek> MboxReader<R> {
    pub fn new(input: R) -> io::Result<Self> {
        Self::resume_at(input, 0)
    }

    /// Goes on at the offset of a message: `MboxEntry::next` of the last one that is safe.
    pub fn resume_at(mut input: R, offset: u64) -> io::Result<Self> {
        let file_length = input.seek(SeekFrom::End(0))?;
        input.seek(SeekFrom::Start(offset))?;
        Ok(Self {
            input,
            position: offset,
            file_length,
            message_bytes_max: MBOX_MESSAGE_BYTES_MAX,
            piece: Vec::new(),
            pending: None,
            ended: false,
        })
    }

    /// Skips messages longer than this many bytes (`MboxError::TooLarge`).
    #[must_use]
    pub fn with_message_bytes_max(mut self, bytes_max: u64) -> Self {
        self.message_bytes_max = bytes_max;
        self
    }

    /// Hands the next message to `sink` in pieces of about 64 KiB; None at the end of the file. On `TooLarge` the
    /// sink has had a part of the message and must forget it; the next call goes on after it.
    pub fn copy_next<E>(
        &mut self,
        sink: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<Option<MboxEntry>, CopyError<E>> {
        if self.ended {
            return Ok(None);
        }
        let begun_at = self.pending.unwrap_or(self.position);
        let copied = self.copy(sink);
        match copied {
            Ok(found) => {
                self.ended = found.is_none();
                found.map(|(entry, is_too_large)| self.checked(entry, is_too_large)).transpose()
            }
            Err(Failure::NoFromLine { offset }) => {
                Err(MboxError::NoFromLine { offset, next: self.pending.unwrap_or(self.position) }.into())
            }
            Err(Failure::Io(source)) => {
                self.ended = true;
                Err(MboxError::Io { offset: begun_at, source }.into())
            }
            Err(Failure::Sink(error)) => {
                self.ended = true;
                Err(CopyError::Sink(error))
            }
        }
    }

    fn checked<E>(&self, entry: MboxEntry, is_too_large: bool) -> Result<MboxEntry, CopyError<E>> {
        let MboxEntry { offset, next, .. } = entry;
        if is_too_large {
            return Err(MboxError::TooLarge { offset, next, bytes_max: self.message_bytes_max }.into());
        }
        Ok(entry)
    }

    fn copy<E>(
        &mut self,
        sink: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<Option<(MboxEntry, bool)>, Failure<E>> {
        let Some(offset) = self.take_from_line()? else { return Ok(None) };
        let mut out = Output { sink, block: Vec::new(), length: 0, bytes_max: self.message_bytes_max };
        let dialect = if let Some(length) = self.content_length_end()? {
            self.copy_counted(length, &mut out)?;
            Dialect::Mboxcl2
        } else {
            self.copy_quoted(&mut out)?;
            Dialect::Mboxrd
        };
        out.flush()?;
        let next = self.pending.unwrap_or(self.position);
        let entry = MboxEntry { offset, next, length: out.length, dialect };
        Ok(Some((entry, out.is_too_large())))
    }

    /// Takes the `From ` line of the next message and says where it stands.
    fn take_from_line<E>(&mut self) -> Result<Option<u64>, Failure<E>> {
        if let Some(offset) = self.pending.take() {
            return Ok(Some(offset));
        }
        let offset = loop {
            let offset = self.position;
            if !self.read_piece()? {
                return Ok(None);
            }
            if !is_blank(&self.piece) {
                break offset;
            }
        };
        // The file's last line is one by the same signs as where another message goes before it.
        let is_whole = self.ends_line() || begins_message(&self.piece, true);
        if self.piece.starts_with(FROM) && is_whole && self.piece.len() <= FROM_LINE_BYTES_MAX {
            return Ok(Some(offset));
        }
        self.pass_over_text()?;
        Err(Failure::NoFromLine { offset })
    }

    /// Reads up to the next `From ` line, or to the end.
    fn pass_over_text(&mut self) -> io::Result<()> {
        let mut after_blank = false;
        let mut at_line_start = self.ends_line();
        loop {
            let offset = self.position;
            if !self.read_piece()? {
                return Ok(());
            }
            if at_line_start && self.is_from_line(after_blank) {
                self.pending = Some(offset);
                return Ok(());
            }
            after_blank = at_line_start && is_blank(&self.piece);
            at_line_start = self.ends_line();
        }
    }

    /// Copies an mboxrd message up to the next `From ` line, or to the end.
    fn copy_quoted<E>(
        &mut self,
        out: &mut Output<'_, impl FnMut(&[u8]) -> Result<(), E>>,
    ) -> Result<(), Failure<E>> {
        // An empty line is held back: before a `From ` line it separates, elsewhere it is text.
        let mut blank: &[u8] = b"";
        let mut line = Line::Start;
        loop {
            let offset = self.position;
            if !self.read_piece()? {
                return match line {
                    Line::Head => out.push(b">"),
                    _ => Ok(()),
                };
            }
            if line == Line::Start {
                let is_first = out.length == 0 && blank.is_empty();
                if self.is_from_line(!blank.is_empty() || is_first) {
                    self.pending = Some(offset);
                    return Ok(());
                }
                out.push(blank)?;
                blank = b"";
                if is_blank(&self.piece) {
                    blank = if self.piece.len() == 1 { b"\n" } else { b"\r\n" };
                    continue;
                }
            }
            line = self.copy_piece(line, out)?;
        }
    }

    /// Copies the piece that was read, without one `>` where a quoted `From ` stands; says where in a line that ends.
    fn copy_piece<E>(
        &mut self,
        line: Line,
        out: &mut Output<'_, impl FnMut(&[u8]) -> Result<(), E>>,
    ) -> Result<Line, Failure<E>> {
        let next = if self.ends_line() { Line::Start } else { Line::Inside };
        if line == Line::Inside {
            out.push(&self.piece)?;
            return Ok(next);
        }
        let marks = self.piece.iter().take_while(|b| **b == b'>').count();
        if self.piece.len() == marks {
            // Nothing but `>` so far: one of them waits until it is known what it quotes.
            let written = if line == Line::Start { marks - 1 } else { marks };
            out.push(&self.piece[..written])?;
            return Ok(Line::Head);
        }
        let is_quoted = line == Line::Head || marks > 0;
        if is_quoted && self.piece[marks..].starts_with(FROM) {
            out.push(&self.piece[usize::from(line == Line::Start)..])?;
        } else {
            if line == Line::Head {
                out.push(b">")?;
            }
            out.push(&self.piece)?;
        }
        Ok(next)
    }

    /// Copies header and body of an mboxcl2 message, then takes what separates it from the next.
    fn copy_counted<E>(
        &mut self,
        length: u64,
        out: &mut Output<'_, impl FnMut(&[u8]) -> Result<(), E>>,
    ) -> Result<(), Failure<E>> {
        let mut left = length;
        while left > 0 {
            let available = self.input.fill_buf()?;
            let taken = (available.len() as u64).min(left) as usize;
            if taken == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            out.push(&available[..taken])?;
            self.input.consume(taken);
            self.position += taken as u64;
            left -= taken as u64;
        }
        self.pending = self.separator()?.filter(|next| *next < self.position);
        Ok(())
    }

    /// The length of header block and body together, if a Content-Length gives it. Leaves the position as it is.
    fn content_length_end(&mut self) -> io::Result<Option<u64>> {
        let start = self.position;
        let header = self.header()?;
        let body_at = self.position;
        let mut length = None;
        if let Some(body_length) = header
            && body_length <= self.file_length.saturating_sub(body_at)
        {
            self.move_to(body_at + body_length)?;
            if self.separator()?.is_some() {
                length = Some(body_at - start + body_length);
            }
        }
        self.move_to(start)?;
        Ok(length)
    }

    /// Reads a header block with its empty line: the value of its only Content-Length.
    fn header(&mut self) -> io::Result<Option<u64>> {
        let start = self.position;
        let mut found = None;
        let mut fields = 0;
        let mut at_line_start = true;
        while self.position - start <= CONTENT_LENGTH_SEARCH_BYTES_MAX && self.read_piece()? {
            if at_line_start && is_blank(&self.piece) {
                return Ok(found.filter(|_| fields == 1));
            }
            if at_line_start && self.is_from_line(false) {
                return Ok(None);
            }
            if at_line_start && let Some(value) = content_length(&self.piece) {
                fields += 1;
                found = number(value);
            }
            at_line_start = self.ends_line();
        }
        Ok(None)
    }

    /// At the end of a counted body: takes at most one empty line and a `From ` line. Says where the `From ` line
    /// stands, or the end of the file; None if there is something else.
    fn separator(&mut self) -> io::Result<Option<u64>> {
        let mut offset = self.position;
        if !self.read_piece()? {
            return Ok(Some(offset));
        }
        if is_blank(&self.piece) {
            offset = self.position;
            if !self.read_piece()? {
                return Ok(Some(offset));
            }
        }
        Ok(self.is_from_line(true).then_some(offset))
    }

    /// Reads a line, or of a long one the next piece: enough to see whether `From ` follows its first `>`.
    /// False at the end of the file.
    fn read_piece(&mut self) -> io::Result<bool> {
        self.piece.clear();
        loop {
            let read = self.input.by_ref().take(PIECE_BYTES).read_until(b'\n', &mut self.piece)?;
            self.position += read as u64;
            let marks = self.piece.iter().take_while(|b| **b == b'>').count();
            let shown = self.piece.len() - marks;
            if read == 0 || self.ends_line() || shown == 0 || shown >= FROM.len() {
                return Ok(!self.piece.is_empty());
            }
        }
    }

    fn move_to(&mut self, position: u64) -> io::Result<()> {
        self.input.seek_relative(position.cast_signed() - self.position.cast_signed())?;
        self.position = position;
        Ok(())
    }

    fn ends_line(&self) -> bool {
        self.piece.last() == Some(&b'\n')
    }

    /// The piece is a whole line that begins a message, or the last one of the file.
    fn is_from_line(&self, after_blank: bool) -> bool {
        self.piece.len() <= FROM_LINE_BYTES_MAX && begins_message(&self.piece, after_blank)
    }
}

impl<R: BufRead + Seek> Iterator for MboxReader<R> {
    type Item = Result<MboxMessage, MboxError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut bytes = Vec::new();
        let copied = self.copy_next(&mut |piece: &[u8]| {
            bytes.extend_from_slice(piece);
            Ok::<(), Infallible>(())
        });
        match copied {
            Ok(entry) => entry.map(|entry| Ok(MboxMessage { entry, bytes })),
            Err(CopyError::Mbox(error)) => Some(Err(error)),
            Err(CopyError::Sink(never)) => match never {},
        }
    }
}

/// Where in a line of an mboxrd message the copying is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Start,
    /// After nothing but `>`, one of which is held back.
    Head,
    Inside,
}

enum Failure<E> {
    NoFromLine { offset: u64 },
    Io(io::Error),
    Sink(E),
}

impl<E> From<io::Error> for Failure<E> {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The way of a message's bytes to their receiver, in blocks, up to the limit.
struct Output<'s, S> {
    sink: &'s mut S,
    block: Vec<u8>,
    length: u64,
    bytes_max: u64,
}

impl<S: FnMut(&[u8]) -> Result<(), E>, E> Output<'_, S> {
    fn push(&mut self, bytes: &[u8]) -> Result<(), Failure<E>> {
        self.length += bytes.len() as u64;
        if self.is_too_large() {
            return Ok(());
        }
        self.block.extend_from_slice(bytes);
        if self.block.len() >= BLOCK_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Failure<E>> {
        if !self.block.is_empty() && !self.is_too_large() {
            (self.sink)(&self.block).map_err(Failure::Sink)?;
        }
        self.block.clear();
        Ok(())
    }
}

impl<S> Output<'_, S> {
    fn is_too_large(&self) -> bool {
        self.length > self.bytes_max
    }
}

fn is_blank(line: &[u8]) -> bool {
    matches!(line, b"\n" | b"\r\n")
}

/// The value of a Content-Length field; None if the line is another field.
fn content_length(line: &[u8]) -> Option<&[u8]> {
    const NAME: &[u8] = b"content-length";

    let (name, value) = line.split_at_checked(NAME.len())?;
    let value = value.trim_ascii_start().strip_prefix(b":")?.trim_ascii();
    name.eq_ignore_ascii_case(NAME).then_some(value)
}

/// Digits and nothing else.
fn number(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?;
    if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}
