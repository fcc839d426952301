//! Cuts a stream into lines, and lines that are too long into pieces, the same whatever the chunks it comes in.

use crate::LineEnd;

/// Longest piece, in bytes with its line ending. Real lines of mail are far shorter.
pub(crate) const PIECE_BYTES_MAX: usize = 16 * 1024;

/// A line, or a piece of one longer than [`PIECE_BYTES_MAX`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Piece<'a> {
    /// With the line ending, which is never torn.
    pub(crate) bytes: &'a [u8],
    pub(crate) starts_line: bool,
    pub(crate) line_end: LineEnd,
}

impl<'a> Piece<'a> {
    fn new(bytes: &'a [u8], starts_line: bool) -> Self {
        let line_end = match bytes {
            [.., b'\r', b'\n'] => LineEnd::CrLf,
            [.., b'\n'] => LineEnd::Lf,
            _ => LineEnd::None,
        };
        Self { bytes, starts_line, line_end }
    }

    /// Without the line ending.
    pub(crate) fn text(&self) -> &'a [u8] {
        &self.bytes[..self.bytes.len() - self.line_end.bytes().len()]
    }

    pub(crate) fn is_empty_line(&self) -> bool {
        self.starts_line && self.text().is_empty()
    }
}

#[derive(Debug, Default)]
pub(crate) struct LineCutter {
    /// Beginning of a piece that is not complete.
    carried: Vec<u8>,
    /// The carried bytes were given out as a piece.
    spent: bool,
    mid_line: bool,
}

impl LineCutter {
    /// Nothing is carried and the next byte begins a line.
    pub(crate) fn is_at_line_start(&self) -> bool {
        (self.spent || self.carried.is_empty()) && !self.mid_line
    }

    /// Takes bytes from the front of `input` and returns how many, with the piece that they complete, if any.
    /// `input` is not empty. Zero bytes taken always come with a piece, so repeating makes progress.
    pub(crate) fn cut<'a>(&'a mut self, input: &'a [u8]) -> (usize, Option<Piece<'a>>) {
        self.forget_spent();
        let room = PIECE_BYTES_MAX - self.carried.len();
        let window = &input[..input.len().min(room)];
        let taken = match find_line_feed(window) {
            Some(at) => at + 1,
            None if window.len() < room => {
                self.carried.extend_from_slice(window);
                return (window.len(), None);
            }
            // A CR at the very end may belong to an LF that is still to come.
            None if window.ends_with(b"\r") => room - 1,
            None => room,
        };
        let bytes = if self.carried.is_empty() {
            &input[..taken]
        } else {
            self.carried.extend_from_slice(&input[..taken]);
            self.spent = true;
            &self.carried
        };
        let piece = Piece::new(bytes, !self.mid_line);
        self.mid_line = piece.line_end == LineEnd::None;
        (taken, Some(piece))
    }

    /// The end of the stream: what is carried is the last piece.
    pub(crate) fn finish(&mut self) -> Option<Piece<'_>> {
        self.forget_spent();
        let starts_line = !self.mid_line;
        (!self.carried.is_empty()).then(|| Piece::new(&self.carried, starts_line))
    }

    fn forget_spent(&mut self) {
        if self.spent {
            self.carried.clear();
            self.spent = false;
        }
    }
}

/// Position of the first LF. Compares 32 bytes at a time, which compiles to vector instructions.
fn find_line_feed(bytes: &[u8]) -> Option<usize> {
    let (blocks, rest) = bytes.as_chunks::<32>();
    let is_line_feed = |byte: &u8| *byte == b'\n';
    for (index, block) in blocks.iter().enumerate() {
        if block.iter().fold(false, |found, byte| found | is_line_feed(byte)) {
            return block.iter().position(is_line_feed).map(|at| index * 32 + at);
        }
    }
    rest.iter().position(is_line_feed).map(|at| blocks.len() * 32 + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Kept = (Vec<u8>, bool, LineEnd);

    fn pieces(input: &[u8], chunk: usize) -> Vec<Kept> {
        let mut cutter = LineCutter::default();
        let mut found = Vec::new();
        let keep = |piece: Piece<'_>| (piece.bytes.to_vec(), piece.starts_line, piece.line_end);
        for mut chunk in input.chunks(chunk) {
            while !chunk.is_empty() {
                let (taken, piece) = cutter.cut(chunk);
                found.extend(piece.map(keep));
                chunk = &chunk[taken..];
            }
        }
        found.extend(cutter.finish().map(keep));
        found
    }

    #[test]
    fn lines_end_at_lf_and_a_bare_cr_ends_none() {
        let expected = [
            (b"a\r\n".to_vec(), true, LineEnd::CrLf),
            (b"b\rc\n".to_vec(), true, LineEnd::Lf),
            (b"\r\r\n".to_vec(), true, LineEnd::CrLf),
            (b"d\r".to_vec(), true, LineEnd::None),
        ];
        for chunk in [1, 2, 3, 100] {
            assert_eq!(pieces(b"a\r\nb\rc\n\r\r\nd\r", chunk), expected);
        }
    }

    #[test]
    fn a_long_line_is_cut_at_the_same_places_and_never_inside_its_ending() {
        for length in PIECE_BYTES_MAX - 3..PIECE_BYTES_MAX + 3 {
            for end in ["", "\r\n", "\n", "\rx\r\n"] {
                let input = [&vec![b'x'; length], end.as_bytes(), b"next"].concat();
                let whole = pieces(&input, input.len());
                assert_eq!(whole.iter().flat_map(|piece| piece.0.clone()).collect::<Vec<_>>(), input);
                assert!(whole.iter().all(|piece| piece.0.len() <= PIECE_BYTES_MAX));
                let is_torn = |pair: &[Kept]| pair[0].0.ends_with(b"\r") && pair[1].0.starts_with(b"\n");
                assert!(!whole.windows(2).any(is_torn));
                for chunk in [1, 7, PIECE_BYTES_MAX - 1, PIECE_BYTES_MAX, PIECE_BYTES_MAX + 1] {
                    assert_eq!(pieces(&input, chunk), whole, "{length} {end:?} {chunk}");
                }
            }
        }
    }
}
