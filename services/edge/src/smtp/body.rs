//! The content of DATA (RFC 5321 sections 4.1.1.4 and 4.5.2): only CRLF.CRLF ends it.

use std::io::BufRead;

/// Reads a mail's lines in pieces as they come, and takes the extra dots out.
#[derive(Debug, Clone)]
pub(crate) struct BodyReader {
    place: Place,
    received_bytes: u64,
}

/// What has been read of the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Nothing: the last bytes were CRLF, or DATA has just begun.
    LineStart,
    /// `.`, which is either stuffing or the end.
    Dot,
    /// `.` CR: the end if LF follows, else a stuffed line with a CR in it.
    DotCr,
    Text,
    /// Something that ends in CR.
    Cr,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyEvent {
    /// All input was taken; there is more to come.
    More,
    /// CRLF.CRLF was taken; what follows are commands.
    End,
    /// An LF without its CR. Where the mail ends is a matter of opinion then, which is what smuggling lives on.
    BareLf,
}

impl BodyReader {
    pub(crate) const fn new() -> Self {
        Self { place: Place::LineStart, received_bytes: 0 }
    }

    /// Bytes taken so far, as they came over the wire.
    pub(crate) const fn received_bytes(&self) -> u64 {
        self.received_bytes
    }

    /// Appends content to `body`. Returns how many bytes of `input` were taken.
    pub(crate) fn advance(&mut self, input: &[u8], body: &mut Vec<u8>) -> (usize, BodyEvent) {
        let mut at = 0;
        let event = loop {
            let Some(byte) = input.get(at).copied() else { break BodyEvent::More };
            match (self.place, byte) {
                (Place::LineStart, b'.') => {
                    self.place = Place::Dot;
                    at += 1;
                }
                (Place::Dot, b'\r') => {
                    self.place = Place::DotCr;
                    at += 1;
                }
                (Place::DotCr, b'\n') => {
                    at += 1;
                    break BodyEvent::End;
                }
                (Place::DotCr, _) => {
                    body.push(b'\r');
                    self.place = Place::Cr;
                }
                (Place::Cr, b'\n') => {
                    body.push(b'\n');
                    self.place = Place::LineStart;
                    at += 1;
                }
                _ => {
                    let Some(taken) = self.take_text(&input[at..], body) else { break BodyEvent::BareLf };
                    at += taken;
                }
            }
        };
        self.received_bytes += at as u64;
        (at, event)
    }

    /// Takes everything up to and with the next CRLF, over bare CRs. `None` at a bare LF.
    fn take_text(&mut self, input: &[u8], body: &mut Vec<u8>) -> Option<usize> {
        // Searches with the platform's memchr; a slice is never an I/O error.
        let taken = (&mut &*input).skip_until(b'\n').unwrap_or(input.len());
        let text = &input[..taken];
        self.place = match text {
            [.., b'\r', b'\n'] => Place::LineStart,
            [.., b'\n'] => return None,
            [.., b'\r'] => Place::Cr,
            _ => Place::Text,
        };
        body.extend_from_slice(text);
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(input: &[u8], piece_bytes: usize) -> (Vec<u8>, usize, BodyEvent) {
        let (mut reader, mut body, mut total) = (BodyReader::new(), Vec::new(), 0);
        for piece in input.chunks(piece_bytes) {
            let (taken, event) = reader.advance(piece, &mut body);
            total += taken;
            assert_eq!(reader.received_bytes(), total as u64);
            if event != BodyEvent::More {
                return (body, total, event);
            }
            assert_eq!(taken, piece.len());
        }
        (body, total, BodyEvent::More)
    }

    fn check(input: &[u8], body: &[u8], rest: &[u8], event: BodyEvent) {
        for piece_bytes in [1, 2, 3, input.len().max(1)] {
            let (found, taken, found_event) = read(input, piece_bytes);
            assert_eq!(found_event, event, "{input:?} in pieces of {piece_bytes}");
            if event != BodyEvent::BareLf {
                assert_eq!(found, body, "{input:?} in pieces of {piece_bytes}");
                assert_eq!(&input[taken..], rest, "{input:?} in pieces of {piece_bytes}");
            }
        }
    }

    #[test]
    fn only_crlf_dot_crlf_ends_a_mail() {
        check(b"a\r\n.\r\nQUIT\r\n", b"a\r\n", b"QUIT\r\n", BodyEvent::End);
        check(b".\r\n", b"", b"", BodyEvent::End);
        check(b"\r\n.\r\n", b"\r\n", b"", BodyEvent::End);
        check(b"a\r.\rb\r\n.\r\n", b"a\r.\rb\r\n", b"", BodyEvent::End);
        check(b"a\r\n.\r.\r\n.\r\n", b"a\r\n\r.\r\n", b"", BodyEvent::End);
        check(b"a\r\n.\r\r\n.\r\n", b"a\r\n\r\r\n", b"", BodyEvent::End);
        check(b"a\r\r\n.\r\n", b"a\r\r\n", b"", BodyEvent::End);
        check(b"a\0b\r\n.\r\n", b"a\0b\r\n", b"", BodyEvent::End);
        check(b"a\r\n.", b"a\r\n", b"", BodyEvent::More);
        check(b"a.\r\n", b"a.\r\n", b"", BodyEvent::More);
    }

    #[test]
    fn one_leading_dot_is_taken_out() {
        check(b"..\r\n...a\r\n.b\r\n.\r\n", b".\r\n..a\r\nb\r\n", b"", BodyEvent::End);
    }

    #[test]
    fn a_bare_lf_is_never_a_line_end() {
        for input in
            [b"a\n.\n".as_slice(), b"a\n.\r\n", b"a\r\n.\n", b"a\r\n\n.\r\n", b"\n", b".\n", b"a\r\n.\rb\n"]
        {
            check(input, b"", b"", BodyEvent::BareLf);
        }
    }

    proptest! {
        #[test]
        fn what_a_sender_stuffs_comes_out_unchanged(
            lines in proptest::collection::vec("[.a\r\0]{0,5}", 0..8),
            piece_bytes in 1usize..9,
        ) {
            let mut content = String::new();
            let mut sent = String::new();
            for line in &lines {
                content += &format!("{line}\r\n");
                sent += &format!("{}{line}\r\n", if line.starts_with('.') { "." } else { "" });
            }
            sent.push_str(".\r\nNOOP\r\n");
            let (body, taken, event) = read(sent.as_bytes(), piece_bytes);
            prop_assert_eq!(event, BodyEvent::End);
            prop_assert_eq!(body, content.as_bytes());
            prop_assert_eq!(taken, sent.len() - "NOOP\r\n".len());
        }
    }
}
