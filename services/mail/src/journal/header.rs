//! Chosen fields of a header block that passes by line by line.

use crate::split::lines::Piece;

/// Collects the fields of the wanted names, unfolded (RFC 5322 section 2.2.3), up to a number of bytes.
#[derive(Debug)]
pub(super) struct HeaderFields {
    /// In lower case.
    names: &'static [&'static str],
    values: Vec<(&'static str, Vec<u8>)>,
    room: usize,
    open: Option<usize>,
    /// There was more than the room for it.
    pub(super) is_cut: bool,
}

impl HeaderFields {
    pub(super) fn new(names: &'static [&'static str], bytes_max: usize) -> Self {
        Self { names, values: Vec::new(), room: bytes_max, open: None, is_cut: false }
    }

    /// A line of the block, or a piece of one; not the empty line that ends it.
    pub(super) fn push(&mut self, piece: &Piece<'_>) {
        let text = piece.text();
        let continues = !piece.starts_line || matches!(text.first(), Some(b' ' | b'\t'));
        let value = if continues {
            text
        } else {
            self.open = None;
            let Some(colon) = text.iter().position(|byte| *byte == b':') else { return };
            let name = text[..colon].trim_ascii_end();
            let wanted = self.names.iter().find(|wanted| name.eq_ignore_ascii_case(wanted.as_bytes()));
            let Some(wanted) = wanted else { return };
            self.open = Some(self.values.len());
            self.values.push((wanted, Vec::new()));
            &text[colon + 1..]
        };
        let Some(open) = self.open else { return };
        // One byte a field, so that empty fields cannot be without number.
        let taken = value.len().min(self.room.saturating_sub(1));
        self.is_cut |= taken < value.len() || self.room == 0;
        self.values[open].1.extend_from_slice(&value[..taken]);
        self.room = self.room.saturating_sub(taken + 1);
        if self.room == 0 {
            self.names = &[];
            self.is_cut = true;
        }
    }

    pub(super) fn all(&self, name: &'static str) -> impl Iterator<Item = &[u8]> {
        self.values.iter().filter(move |(found, _)| *found == name).map(|(_, value)| value.as_slice())
    }

    pub(super) fn first(&self, name: &'static str) -> Option<&[u8]> {
        self.all(name).next()
    }
}
