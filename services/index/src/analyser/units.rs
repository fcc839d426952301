//! Cuts a text into words and CJK characters, without folding them.

use unicode_segmentation::{UWordBoundIndices, UnicodeSegmentation};

use super::script::{attaches_to_cjk, is_attached, is_cjk, is_word_character};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Word {
        start: usize,
        end: usize,
    },
    /// One CJK character with what attaches to it.
    Character {
        start: usize,
        end: usize,
    },
}

pub(super) struct Units<'a> {
    text: &'a str,
    at: usize,
    /// The UAX #29 segments of a run that is not plain ASCII, and where that run starts.
    run: Option<(usize, UWordBoundIndices<'a>)>,
}

impl<'a> Units<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        Self { text, at: 0, run: None }
    }

    pub(super) fn source(&self, start: usize, end: usize) -> &'a str {
        &self.text[start..end]
    }

    /// Length of the longest start of `text[from..]` whose characters all belong.
    fn extent(&self, from: usize, belongs: impl Fn(char) -> bool) -> usize {
        let rest = &self.text[from..];
        rest.find(|c| !belongs(c)).unwrap_or(rest.len())
    }

    fn next_in_run(&mut self) -> Option<Unit> {
        let (base, segments) = self.run.as_mut()?;
        let found =
            segments.next().map(|(at, part)| Unit::Word { start: *base + at, end: *base + at + part.len() });
        if found.is_none() {
            self.run = None;
        }
        found
    }

    /// The ASCII word at `self.at`, unless it goes on in other characters.
    ///
    /// UAX #29 never breaks between ASCII letters and digits, so the whole run is one word: most mail goes this way.
    fn ascii_word(&mut self) -> Option<Unit> {
        let start = self.at;
        let rest = &self.text.as_bytes()[start..];
        let length = rest.iter().position(|byte| !byte.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let end = start + length;
        let goes_on = rest.get(length).is_some_and(|byte| !byte.is_ascii())
            && self.text[end..].starts_with(is_word_character);
        if length == 0 || goes_on {
            return None;
        }
        self.at = end;
        Some(Unit::Word { start, end })
    }
}

impl Iterator for Units<'_> {
    type Item = Unit;

    fn next(&mut self) -> Option<Unit> {
        loop {
            if let Some(unit) = self.next_in_run() {
                return Some(unit);
            }
            let rest = &self.text.as_bytes()[self.at..];
            let separator = |byte: &u8| byte.is_ascii() && !byte.is_ascii_alphanumeric();
            self.at += rest.iter().position(|byte| !separator(byte)).unwrap_or(rest.len());
            if let Some(unit) = self.ascii_word() {
                return Some(unit);
            }
            let start = self.at;
            let first = self.text[start..].chars().next()?;
            if is_cjk(first) {
                let after_first = start + first.len_utf8();
                self.at = after_first + self.extent(after_first, attaches_to_cjk);
                return Some(Unit::Character { start, end: self.at });
            }
            if is_attached(first) || !is_word_character(first) {
                self.at += first.len_utf8();
                continue;
            }
            // Boundaries inside a run of word characters do not depend on what stands before the run, because what
            // stands there is punctuation, at which words are split anyway.
            self.at += self.extent(start, |c| is_word_character(c) && !is_cjk(c));
            self.run = Some((start, self.text[start..self.at].split_word_bound_indices()));
        }
    }
}
