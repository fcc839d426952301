//! Which bytes of a text some terms stand at.

use std::{collections::HashMap, ops::Range};

use super::MATCHES_MAX;
use crate::{
    analyser::{Token, TokenStream, analyse},
    query::{Form, TextTerm},
};

/// Bytes of `text` where the words of some term stand in its form. One pass over the text, whatever the terms.
pub(super) fn of_words<'t>(terms: impl Iterator<Item = &'t TextTerm>, text: &str) -> Vec<Range<usize>> {
    let mut wanted: Vec<Wanted> = terms.map(Wanted::of).filter(|wanted| !wanted.words.is_empty()).collect();
    let mut by_word: HashMap<String, Vec<usize>> = HashMap::new();
    let mut by_start = Vec::new();
    for (number, Wanted { words, form, .. }) in wanted.iter().enumerate() {
        let (whole, start) = match form {
            Form::Prefix => words.split_at(words.len() - 1),
            Form::Whole | Form::Near(_) => (words.as_slice(), [].as_slice()),
        };
        for word in whole {
            let numbers = by_word.entry(word.clone()).or_default();
            if numbers.last() != Some(&number) {
                numbers.push(number);
            }
        }
        by_start.extend(start.iter().map(|start| (start.clone(), number)));
    }
    let mut stream = TokenStream::of(text);
    while stream.advance() {
        let token = stream.token();
        for number in by_word.get(&token.text).into_iter().flatten() {
            wanted[*number].take(token);
        }
        for (_, number) in by_start.iter().filter(|(start, _)| token.text.starts_with(start)) {
            wanted[*number].take(token);
        }
    }
    merged(wanted.iter().flat_map(Wanted::marks).collect())
}

/// A term, and the words of the text that belong to it.
struct Wanted {
    words: Vec<String>,
    form: Form,
    /// In order of position.
    found: Vec<Token>,
}

impl Wanted {
    fn of(term: &TextTerm) -> Self {
        let words = analyse(term.text()).into_iter().map(|token| token.text).collect();
        Self { words, form: term.form(), found: Vec::new() }
    }

    /// Once, though it may be wanted as a whole word and as a beginning.
    fn take(&mut self, token: &Token) {
        let is_there = self.found.last().is_some_and(|last| last.position == token.position);
        if self.found.len() < MATCHES_MAX && !is_there {
            self.found.push(token.clone());
        }
    }

    fn marks(&self) -> Vec<Range<usize>> {
        match self.form {
            Form::Near(others) => self.gathered(usize::from(others)),
            Form::Whole => self.side_by_side(|window| is_phrase(window, &self.words)),
            Form::Prefix => self.side_by_side(|window| {
                let ([start @ .., end], [before @ .., last]) = (window, self.words.as_slice()) else {
                    return false;
                };
                is_phrase(start, before) && end.text.starts_with(last)
            }),
        }
    }

    fn side_by_side(&self, is_match: impl Fn(&[Token]) -> bool) -> Vec<Range<usize>> {
        let windows = self.found.windows(self.words.len()).filter(|window| {
            let neighbours = window.windows(2).all(|pair| pair[0].position + 1 == pair[1].position);
            neighbours && is_match(window)
        });
        windows.flatten().map(bytes).collect()
    }

    /// The words of each stretch of text that begins and ends with one of them and is short enough.
    fn gathered(&self, others: usize) -> Vec<Range<usize>> {
        let mut marks = Vec::new();
        for (at, first) in self.found.iter().enumerate() {
            let reach = first.position + self.words.len() + others;
            let near = &self.found[at..];
            let near = &near[..near.partition_point(|token| token.position < reach)];
            let mut missing: Vec<&String> = self.words.iter().collect();
            for (count, token) in near.iter().enumerate() {
                if let Some(word) = missing.iter().position(|word| **word == token.text) {
                    missing.swap_remove(word);
                }
                if missing.is_empty() {
                    marks.extend(near[..=count].iter().map(bytes));
                    break;
                }
            }
        }
        marks
    }
}

fn bytes(token: &Token) -> Range<usize> {
    token.start..token.end
}

fn is_phrase(tokens: &[Token], words: &[String]) -> bool {
    tokens.iter().map(|token| &token.text).eq(words)
}

/// In order; what overlaps or touches becomes one.
pub(super) fn merged(mut marks: Vec<Range<usize>>) -> Vec<Range<usize>> {
    marks.sort_unstable_by_key(|mark| (mark.start, mark.end));
    let mut merged: Vec<Range<usize>> = Vec::with_capacity(marks.len());
    for mark in marks {
        match merged.last_mut() {
            Some(last) if mark.start <= last.end => last.end = last.end.max(mark.end),
            _ => merged.push(mark),
        }
    }
    merged
}
