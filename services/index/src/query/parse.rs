use super::{
    DateRange, Day, Field, Form, QUERY_BYTES_MAX, QUERY_DEPTH_MAX, QUERY_TERMS_MAX, Query, QueryError,
    QueryErrorKind as Kind, SizeRange, TextTerm,
    lexer::{Symbol, Text, Value, symbols},
};

pub(super) fn parse(text: &str) -> Result<Query, QueryError> {
    if text.len() > QUERY_BYTES_MAX {
        let at = text.floor_char_boundary(QUERY_BYTES_MAX);
        return Err(Kind::TooLong { bytes: text.len() }.at(at));
    }
    let symbols = symbols(text)?;
    if symbols.is_empty() {
        return Err(Kind::Empty.at(0));
    }
    let mut parser = Parser { symbols: symbols.into_iter().peekable(), end: text.len(), depth: 0, terms: 0 };
    let query = parser.or()?;
    match parser.symbols.next() {
        None => Ok(query),
        Some((at, _)) => Err(Kind::UnopenedParenthesis.at(at)),
    }
}

struct Parser<'a> {
    symbols: std::iter::Peekable<std::vec::IntoIter<(usize, Symbol<'a>)>>,
    /// Length of the query: where a missing term is missing.
    end: usize,
    depth: usize,
    terms: usize,
}

impl<'a> Parser<'a> {
    fn peek(&mut self) -> Option<&Symbol<'a>> {
        self.symbols.peek().map(|(_, symbol)| symbol)
    }

    /// Where the next symbol stands, or the end.
    fn place(&mut self) -> usize {
        let end = self.end;
        self.symbols.peek().map_or(end, |(at, _)| *at)
    }

    fn or(&mut self) -> Result<Query, QueryError> {
        let first = self.and()?;
        let mut parts = Vec::new();
        while let Some(Symbol::Or) = self.peek() {
            self.operator()?;
            parts.push(self.and()?);
        }
        if parts.is_empty() {
            return Ok(first);
        }
        parts.insert(0, first);
        Ok(Query::any_of(parts).unwrap_or(Query::All))
    }

    fn and(&mut self) -> Result<Query, QueryError> {
        let mut parts = vec![self.not()?];
        loop {
            match self.peek() {
                None | Some(Symbol::Or | Symbol::Close) => return Ok(Query::all_of(parts)),
                Some(Symbol::And) => self.operator()?,
                Some(Symbol::Open | Symbol::Not | Symbol::Value(_)) => {}
            }
            parts.push(self.not()?);
        }
    }

    /// Goes past an operator that needs a term after it.
    fn operator(&mut self) -> Result<(), QueryError> {
        let at = self.place();
        self.symbols.next();
        match self.peek() {
            None | Some(Symbol::And | Symbol::Or | Symbol::Close) => Err(Kind::NothingAfterOperator.at(at)),
            Some(_) => Ok(()),
        }
    }

    fn not(&mut self) -> Result<Query, QueryError> {
        if self.peek() != Some(&Symbol::Not) {
            return self.term();
        }
        let at = self.place();
        self.operator()?;
        self.deeper(at)?;
        let inner = self.not()?;
        self.depth -= 1;
        Ok(inner.negate())
    }

    fn deeper(&mut self, at: usize) -> Result<(), QueryError> {
        self.depth += 1;
        if self.depth > QUERY_DEPTH_MAX { Err(Kind::TooDeep.at(at)) } else { Ok(()) }
    }

    fn term(&mut self) -> Result<Query, QueryError> {
        match self.symbols.next() {
            Some((at, Symbol::Open)) => self.parenthesised(at),
            Some((at, Symbol::Value(value))) => {
                self.terms += 1;
                if self.terms > QUERY_TERMS_MAX {
                    return Err(Kind::TooManyTerms.at(at));
                }
                term(value, at)
            }
            Some((at, Symbol::Close)) => Err(Kind::UnopenedParenthesis.at(at)),
            Some((at, Symbol::And | Symbol::Or | Symbol::Not)) => Err(Kind::NothingBeforeOperator.at(at)),
            None => Err(Kind::Empty.at(self.end)),
        }
    }

    fn parenthesised(&mut self, open: usize) -> Result<Query, QueryError> {
        self.deeper(open)?;
        if self.peek() == Some(&Symbol::Close) {
            return Err(Kind::EmptyParentheses.at(open));
        }
        if self.peek().is_none() {
            return Err(Kind::UnclosedParenthesis.at(open));
        }
        let inner = self.or()?;
        self.depth -= 1;
        match self.symbols.next() {
            Some((_, Symbol::Close)) => Ok(inner),
            _ => Err(Kind::UnclosedParenthesis.at(open)),
        }
    }
}

/// `start` is where the term begins, field included.
fn term(value: Value<'_>, start: usize) -> Result<Query, QueryError> {
    let Some(name) = value.field else {
        if value.text == Text::Bare("") && value.star {
            return Ok(Query::All);
        }
        return text_term(Field::Anywhere, value);
    };
    let name = name.to_ascii_lowercase();
    if let Some(field) = Field::NAMED.into_iter().find(|field| field.name() == name) {
        return text_term(field, value);
    }
    if !matches!(name.as_str(), "date" | "after" | "before" | "has" | "size") {
        return Err(Kind::UnknownField.at(start));
    }
    let (Text::Bare(text), false) = (&value.text, value.star) else {
        return Err(Kind::PlainValueOnly.at(value.at));
    };
    let range = match name.as_str() {
        "has" if text.eq_ignore_ascii_case("attachment") => return Ok(Query::HasAttachment),
        "size" => {
            return SizeRange::parse(text)
                .map(Query::Size)
                .map_err(|(kind, within)| kind.at(value.at + within));
        }
        "has" => Err(Kind::UnknownHas.at(value.at)),
        "after" => day(text, value.at).map(|day| DateRange::new(Some(day), None)),
        "before" => {
            let last = day(text, value.at)?.previous().ok_or(Kind::NothingBefore.at(value.at))?;
            Ok(DateRange::new(None, Some(last)))
        }
        _ => range(text, value.at),
    };
    // Only a range with two ends can be refused.
    range?.map(Query::Date).ok_or(Kind::ReversedRange.at(value.at))
}

fn text_term(field: Field, value: Value<'_>) -> Result<Query, QueryError> {
    let text = match value.text {
        Text::Bare(text) => text.to_owned(),
        Text::Quoted(text) => text,
    };
    let form = match value.distance {
        Some(distance) => Form::Near(distance),
        None if value.star => Form::Prefix,
        None => Form::Whole,
    };
    TextTerm::new(field, text, form).map(Query::Text).map_err(|kind| kind.at(value.at))
}

fn day(text: &str, at: usize) -> Result<Day, QueryError> {
    text.parse().map_err(|_| Kind::NoDay.at(at))
}

fn range(text: &str, at: usize) -> Result<Option<DateRange>, QueryError> {
    let Some((first, last)) = text.split_once("..") else {
        let day = day(text, at)?;
        return Ok(DateRange::new(Some(day), Some(day)));
    };
    let end = |text: &str, at| if text.is_empty() { Ok(None) } else { day(text, at).map(Some) };
    let last_at = at + first.len() + 2;
    let (first, last) = (end(first, at)?, end(last, last_at)?);
    if first.is_none() && last.is_none() {
        return Err(Kind::OpenRange.at(at));
    }
    Ok(DateRange::new(first, last))
}
