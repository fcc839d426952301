//! Our analyser in tantivy's clothes.

use tantivy::tokenizer::{PreTokenizedString, Token, TokenStream, Tokenizer};

use crate::{Address, analyser, query::PROXIMITY_DISTANCE_MAX};

/// Its name in the schema. A change of the analyser's answers is a new name.
pub(super) const TOKENIZER: &str = "openarchive-1";

#[derive(Clone)]
pub(super) struct Analyser;

pub(super) struct Stream<'a> {
    words: analyser::TokenStream<'a>,
    token: Token,
}

impl Tokenizer for Analyser {
    type TokenStream<'a> = Stream<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> Stream<'a> {
        Stream { words: analyser::TokenStream::of(text), token: Token::default() }
    }
}

impl TokenStream for Stream<'_> {
    fn advance(&mut self) -> bool {
        let more = self.words.advance();
        if more {
            let word = self.words.token();
            self.token.text.clear();
            self.token.text.push_str(&word.text);
            self.token.position = word.position;
            (self.token.offset_from, self.token.offset_to) = (word.start, word.end);
        }
        more
    }

    fn token(&self) -> &Token {
        &self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        &mut self.token
    }
}

/// Positions that stay free between two texts of a field, so that neither a phrase nor words near each other reach from
/// one into the next.
pub(super) const BREAK_POSITIONS: usize = PROXIMITY_DISTANCE_MAX as usize + 1;

/// The tokens of one of several texts of a field.
pub(super) fn of_text(text: &str) -> PreTokenizedString {
    let words = analyser::analyse(text).into_iter();
    let tokens = words.map(|word| token(word.text, BREAK_POSITIONS + word.position)).collect();
    PreTokenizedString { text: String::new(), tokens }
}

/// The tokens of one address, each part of it a text of its own.
pub(super) fn of_address(address: &Address) -> PreTokenizedString {
    let parts = analyser::AddressTokens::of(address);
    let mut tokens = Vec::new();
    let mut position = BREAK_POSITIONS;
    for words in [parts.name, parts.local] {
        for word in words {
            tokens.push(token(word.text, position));
            position += 1;
        }
        position += BREAK_POSITIONS;
    }
    for whole in [parts.whole, parts.domain].into_iter().flatten() {
        tokens.push(token(address_term(&whole), position));
        position += BREAK_POSITIONS;
    }
    // The text itself is never read: nothing is stored.
    PreTokenizedString { text: String::new(), tokens }
}

/// How a whole address, or a domain with its `@`, stands among the words: no word begins with `=` or `@`, so the
/// beginning of a word is never taken for that of an address.
pub(super) fn address_term(normalised: &str) -> String {
    if normalised.starts_with('@') { normalised.to_owned() } else { format!("={normalised}") }
}

fn token(text: String, position: usize) -> Token {
    Token { text, position, ..Token::default() }
}
