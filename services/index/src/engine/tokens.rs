//! Our analyser in tantivy's clothes.

use tantivy::tokenizer::{PreTokenizedString, Token, TokenStream, Tokenizer};

use crate::{Address, analyser};

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

/// The tokens of one address, with gaps in the positions so that no phrase reaches from one part into another.
pub(super) fn of_address(address: &Address) -> PreTokenizedString {
    let parts = analyser::AddressTokens::of(address);
    let mut tokens = Vec::new();
    let mut position = 0;
    for words in [parts.name, parts.local] {
        for word in words {
            tokens.push(token(word.text, position));
            position += 1;
        }
        position += 1;
    }
    for whole in [parts.whole, parts.domain].into_iter().flatten() {
        tokens.push(token(address_term(&whole), position));
        position += 2;
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
