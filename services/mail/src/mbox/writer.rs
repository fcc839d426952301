use std::io::{self, Write};

use openarchive_domain::Timestamp;

use super::from_line::from_line;

/// Whether the message ended in a line feed. mbox cannot say that one does not, so it gets one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinalBreak {
    Present,
    Added,
}

const FROM: &[u8] = b"From ";

/// Writes mboxrd, message by message and each in as many pieces as it comes. What `MboxReader` reads from it is
/// byte for byte what went in, but for a final line feed that was missing (`FinalBreak`). Does not flush.
#[derive(Debug)]
pub struct MboxWriter<W> {
    output: W,
    place: Place,
    last: Option<u8>,
}

/// Where in a line the writer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// At its beginning or after nothing but `>`, and then after this many bytes of `From `, not yet written.
    Head {
        matched: usize,
    },
    Inside,
}

impl<W: Write> MboxWriter<W> {
    pub fn new(output: W) -> Self {
        Self { output, place: Place::Head { matched: 0 }, last: None }
    }

    /// Begins a message: its envelope sender (empty for a bounce) and the time it was received.
    pub fn begin(&mut self, sender: &str, received: Timestamp) -> io::Result<()> {
        self.place = Place::Head { matched: 0 };
        self.last = None;
        self.output.write_all(from_line(sender, received).as_bytes())
    }

    /// The next bytes of the message.
    pub fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.last = bytes.last().copied().or(self.last);
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = match self.place {
                Place::Head { matched } => self.head(matched, rest)?,
                Place::Inside => self.inside(rest)?,
            };
        }
        Ok(())
    }

    /// Ends the message.
    pub fn finish(&mut self) -> io::Result<FinalBreak> {
        if let Place::Head { matched } = self.place {
            self.output.write_all(&FROM[..matched])?;
        }
        let missing = self.last.is_some_and(|last| last != b'\n');
        self.output.write_all(if missing { b"\n\n" } else { b"\n" })?;
        Ok(if missing { FinalBreak::Added } else { FinalBreak::Present })
    }

    pub fn into_inner(self) -> W {
        self.output
    }

    /// Takes one byte of a line's head. `>` can be written at once: one more of them may stand anywhere among them.
    fn head<'b>(&mut self, matched: usize, bytes: &'b [u8]) -> io::Result<&'b [u8]> {
        let Some((first, rest)) = bytes.split_first() else { return Ok(bytes) };
        if matched == 0 && *first == b'>' {
            self.output.write_all(b">")?;
            return Ok(rest);
        }
        if *first == FROM[matched] {
            if matched + 1 < FROM.len() {
                self.place = Place::Head { matched: matched + 1 };
            } else {
                self.output.write_all(b">From ")?;
                self.place = Place::Inside;
            }
            return Ok(rest);
        }
        self.output.write_all(&FROM[..matched])?;
        self.place = Place::Inside;
        Ok(bytes)
    }

    fn inside<'b>(&mut self, bytes: &'b [u8]) -> io::Result<&'b [u8]> {
        let end = bytes.iter().position(|b| *b == b'\n');
        let (line, rest) = bytes.split_at(end.map_or(bytes.len(), |end| end + 1));
        self.output.write_all(line)?;
        if end.is_some() {
            self.place = Place::Head { matched: 0 };
        }
        Ok(rest)
    }
}
