//! How text becomes searchable words. One analyser for mail and for queries, and for every engine.
//!
//! - Words by Unicode rules (UAX #29), then also split at punctuation inside a word: `rechnung_2024.pdf` gives
//!   `rechnung`, `2024`, `pdf`, so that each of them finds the mail.
//! - Folded: compatibility forms (NFKD), case (`ß` is `ss`), diacritics (`Müller` is `muller`), invisible characters.
//! - Han, kana and Hangul have no (or unreliable) spaces: every two neighbours form a token, so that a query of two
//!   or more characters finds them anywhere. A character that stands alone is a token of its own.
//! - A token is cut at [`TOKEN_BYTES_MAX`]; longer words are found by their first part.

mod address;
mod fold;
mod script;
mod units;

pub use address::{
    ADDRESS_BYTES_MAX, AddressTokens, MESSAGE_ID_BYTES_MAX, normalise_address, normalise_message_id,
};

use units::{Unit, Units};

/// Longest token, in bytes after folding. What is longer is cut at a character boundary.
pub const TOKEN_BYTES_MAX: usize = 128;

/// A searchable word. `start..end` are the bytes of the source that it stands for; neighbours in the text have
/// neighbouring positions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Token {
    pub text: String,
    pub position: usize,
    pub start: usize,
    pub end: usize,
}

/// All tokens of a text. Pure; never fails; positions count from 0 without gaps.
pub fn analyse(text: &str) -> Vec<Token> {
    let mut stream = TokenStream::of(text);
    let mut tokens = Vec::new();
    while stream.advance() {
        tokens.push(stream.token().clone());
    }
    tokens
}

/// The same tokens one by one, in memory that does not grow with the text.
pub struct TokenStream<'a> {
    units: Units<'a>,
    /// A unit that was read ahead.
    held: Option<Unit>,
    /// The last CJK character, as long as its right neighbour is not known.
    last: Option<Character>,
    token: Token,
    next_position: usize,
}

struct Character {
    start: usize,
    end: usize,
    text: String,
    /// It is already the right half of a token.
    used: bool,
}

impl<'a> TokenStream<'a> {
    pub fn of(text: &'a str) -> Self {
        Self { units: Units::of(text), held: None, last: None, token: Token::default(), next_position: 0 }
    }

    /// The token that the last successful [`Self::advance`] reached.
    pub fn token(&self) -> &Token {
        &self.token
    }

    /// Goes to the next token; false at the end of the text.
    pub fn advance(&mut self) -> bool {
        loop {
            let unit = self.held.take().or_else(|| self.units.next());
            let Some(Unit::Character { start, end }) = unit else {
                if let Some(alone) = self.last.take()
                    && !alone.used
                {
                    self.held = unit;
                    self.emit(alone.start, alone.end, &alone.text);
                    return true;
                }
                match unit {
                    Some(Unit::Word { start, end }) if self.emit_word(start, end) => return true,
                    Some(_) => continue,
                    None => return false,
                }
            };
            let text = fold::character(self.units.source(start, end));
            if text.is_empty() {
                continue;
            }
            match self.last.take() {
                Some(left) if left.end == start => {
                    self.emit(left.start, end, &format!("{}{text}", left.text));
                    self.last = Some(Character { start, end, text, used: true });
                    return true;
                }
                Some(alone) if !alone.used => {
                    self.held = unit;
                    self.emit(alone.start, alone.end, &alone.text);
                    return true;
                }
                _ => self.last = Some(Character { start, end, text, used: false }),
            }
        }
    }

    fn emit(&mut self, start: usize, end: usize, text: &str) {
        self.token.text.clear();
        self.token.text.push_str(text);
        self.place(start, end);
    }

    /// False if nothing searchable is left of the word.
    fn emit_word(&mut self, start: usize, end: usize) -> bool {
        fold::word(self.units.source(start, end), &mut self.token.text);
        if self.token.text.is_empty() {
            return false;
        }
        self.place(start, end);
        true
    }

    fn place(&mut self, start: usize, end: usize) {
        (self.token.start, self.token.end) = (start, end);
        self.token.position = self.next_position;
        self.next_position += 1;
    }
}

#[cfg(test)]
mod tests;
