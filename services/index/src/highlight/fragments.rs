//! Pieces of a text around its marks.

use std::ops::Range;

use super::{FRAGMENT_BYTES_MAX, Fragment, TEXT_FRAGMENTS_MAX};
use crate::query::Field;

/// Bytes before the first mark of a fragment, at most: a person wants to see what leads there.
const LEAD_BYTES: usize = 60;

/// The first pieces of `text` that hold marks. `marks` are in order and do not overlap.
pub(super) fn cut(field: Field, text: &str, marks: &[Range<usize>]) -> Vec<Fragment> {
    let mut fragments = Vec::new();
    let mut marks = marks.iter().peekable();
    let mut end = 0;
    while fragments.len() < TEXT_FRAGMENTS_MAX
        && let Some(first) = marks.peek()
    {
        let start = lead(text, end, first.start);
        end = tail(text, start, first.end);
        let mut own = Vec::new();
        while let Some(mark) = marks.next_if(|mark| mark.start < end) {
            own.push(mark.start..mark.end.min(end));
        }
        fragments.push(fragment(field, text, start..end, &own));
    }
    fragments
}

/// A whole text as one fragment, cut only where it is too long.
pub(super) fn whole(field: Field, text: &str, marks: &[Range<usize>]) -> Option<Fragment> {
    cut(field, text, marks).into_iter().next()
}

/// Where a fragment begins: after a space if there is one, not before `from`.
fn lead(text: &str, from: usize, mark: usize) -> usize {
    let start = text.ceil_char_boundary(mark.saturating_sub(LEAD_BYTES).max(from)).min(mark);
    if start == from {
        return start;
    }
    text[start..mark]
        .find(char::is_whitespace)
        .map_or(start, |space| text.ceil_char_boundary(start + space + 1))
}

/// Where it ends: before a space if there is one behind its first mark.
fn tail(text: &str, start: usize, mark_end: usize) -> usize {
    let end = text.floor_char_boundary((start + FRAGMENT_BYTES_MAX).min(text.len()));
    if end == text.len() || mark_end >= end {
        return end;
    }
    text[mark_end..end].rfind(char::is_whitespace).map_or(end, |space| mark_end + space)
}

fn fragment(field: Field, text: &str, piece: Range<usize>, marks: &[Range<usize>]) -> Fragment {
    let shown = &text[piece.clone()];
    let trimmed = shown.trim_start();
    let skipped = piece.start + shown.len() - trimmed.len();
    let trimmed = trimmed.trim_end();
    // A whole address that was cut may end in white space.
    let end = skipped + trimmed.len();
    let marks = marks.iter().filter(|mark| mark.start < end);
    let characters = |byte: usize| text[skipped..byte.min(end)].chars().count();
    Fragment {
        field,
        text: trimmed.to_owned(),
        matches: marks.map(|mark| characters(mark.start)..characters(mark.end)).collect(),
    }
}
