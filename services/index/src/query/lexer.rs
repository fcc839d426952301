//! Cuts a query into symbols, each with its place.

use super::{PROXIMITY_DISTANCE_MAX, QueryError, QueryErrorKind as Kind};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Symbol<'a> {
    Open,
    Close,
    And,
    Or,
    /// `NOT`, or a `-` right before a term.
    Not,
    Value(Value<'a>),
}

/// `field:text*` or `field:"text"~distance`, as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Value<'a> {
    pub(super) field: Option<&'a str>,
    pub(super) text: Text<'a>,
    pub(super) star: bool,
    /// Only behind quotes, and not with a star.
    pub(super) distance: Option<u16>,
    /// Where the text starts.
    pub(super) at: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Text<'a> {
    Bare(&'a str),
    Quoted(String),
}

pub(super) fn symbols(query: &str) -> Result<Vec<(usize, Symbol<'_>)>, QueryError> {
    let mut lexer = Lexer { query, at: 0 };
    let mut symbols = Vec::new();
    while let Some(symbol) = lexer.next()? {
        symbols.push(symbol);
    }
    Ok(symbols)
}

/// The field name that a bare word starts with, if it does: letters and hyphens before the first colon.
pub(super) fn field_before_colon(word: &str) -> Option<&str> {
    let (name, _) = word.split_once(':')?;
    let letters = name.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'-');
    (letters && name.starts_with(|c: char| c.is_ascii_alphabetic())).then_some(name)
}

pub(super) fn ends_bare_word(c: char) -> bool {
    c.is_whitespace() || matches!(c, '(' | ')' | '"')
}

struct Lexer<'a> {
    query: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.query[self.at..]
    }

    fn next(&mut self) -> Result<Option<(usize, Symbol<'a>)>, QueryError> {
        self.at = self.query.len() - self.rest().trim_start().len();
        let start = self.at;
        let Some(first) = self.rest().chars().next() else { return Ok(None) };
        let symbol = match first {
            '(' => self.skip(1, Symbol::Open),
            ')' => self.skip(1, Symbol::Close),
            '-' => {
                let after = self.rest()[1..].chars().next();
                if after.is_none_or(|c| c.is_whitespace() || c == ')') {
                    return Err(Kind::LoneMinus.at(start));
                }
                self.skip(1, Symbol::Not)
            }
            '"' => Symbol::Value(self.quoted(None)?),
            _ => self.word()?,
        };
        Ok(Some((start, symbol)))
    }

    fn skip(&mut self, bytes: usize, symbol: Symbol<'a>) -> Symbol<'a> {
        self.at += bytes;
        symbol
    }

    fn word(&mut self) -> Result<Symbol<'a>, QueryError> {
        let word = self.bare();
        if let Some(field) = field_before_colon(word) {
            self.at += field.len() + 1;
            return self.value(field).map(Symbol::Value);
        }
        match word {
            "AND" => Ok(self.skip(3, Symbol::And)),
            "OR" => Ok(self.skip(2, Symbol::Or)),
            "NOT" => Ok(self.skip(3, Symbol::Not)),
            _ => self.bare_value(None).map(Symbol::Value),
        }
    }

    fn bare(&self) -> &'a str {
        let rest = self.rest();
        &rest[..rest.find(ends_bare_word).unwrap_or(rest.len())]
    }

    fn value(&mut self, field: &'a str) -> Result<Value<'a>, QueryError> {
        match self.rest().chars().next() {
            Some('"') => self.quoted(Some(field)),
            Some('(') => Err(Kind::FieldBeforeParenthesis.at(self.at)),
            Some(c) if !c.is_whitespace() && c != ')' => self.bare_value(Some(field)),
            _ => Err(Kind::NothingAfterField.at(self.at)),
        }
    }

    fn bare_value(&mut self, field: Option<&'a str>) -> Result<Value<'a>, QueryError> {
        let (at, word) = (self.at, self.bare());
        self.at += word.len();
        if self.rest().starts_with('"') {
            return Err(Kind::QuoteInTerm.at(self.at));
        }
        let (text, star) = word.strip_suffix('*').map_or((word, false), |text| (text, true));
        if let Some(star) = text.find('*') {
            return Err(Kind::StarNotAtEnd.at(at + star));
        }
        Ok(Value { field, text: Text::Bare(text), star, distance: None, at })
    }

    fn quoted(&mut self, field: Option<&'a str>) -> Result<Value<'a>, QueryError> {
        let open = self.at;
        let mut text = String::new();
        let mut chars = self.query[open + 1..].char_indices().map(|(at, c)| (open + 1 + at, c));
        let close = loop {
            match chars.next() {
                None => return Err(Kind::UnclosedQuote.at(open)),
                Some((at, '"')) => break at,
                Some((at, '\\')) => match chars.next() {
                    Some((_, c @ ('"' | '\\'))) => text.push(c),
                    _ => return Err(Kind::UnknownEscape.at(at)),
                },
                Some((_, c)) => text.push(c),
            }
        };
        self.at = close + 1;
        let star = self.rest().starts_with('*');
        self.at += usize::from(star);
        let distance = self.distance(star)?;
        if self.rest().chars().next().is_some_and(|c| !c.is_whitespace() && c != ')' && c != '(') {
            return Err(Kind::QuoteInTerm.at(self.at));
        }
        Ok(Value { field, text: Text::Quoted(text), star, distance, at: open })
    }

    /// `~number`, if it stands here.
    fn distance(&mut self, after_star: bool) -> Result<Option<u16>, QueryError> {
        let (start, Some(rest)) = (self.at, self.rest().strip_prefix('~')) else { return Ok(None) };
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        if after_star || rest[digits..].starts_with('*') {
            return Err(Kind::StarAndDistance.at(start));
        }
        if digits == 0 {
            return Err(Kind::NoDistance.at(start));
        }
        let distance = rest[..digits].parse().ok().filter(|distance| *distance <= PROXIMITY_DISTANCE_MAX);
        self.at += 1 + digits;
        distance.map(Some).ok_or(Kind::DistanceTooLarge.at(start))
    }
}
