//! The canonical form of a query.

use std::fmt;

use super::{
    Field, Form, Query, TextTerm,
    lexer::{ends_bare_word, field_before_colon},
};

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::Text(term) => fmt::Display::fmt(term, f),
            Self::Date(range) => fmt::Display::fmt(range, f),
            Self::Size(range) => fmt::Display::fmt(range, f),
            Self::HasAttachment => f.write_str("has:attachment"),
            Self::Not(inner) => {
                f.write_str("-")?;
                grouped(inner, matches!(**inner, Self::And(_) | Self::Or(_)), f)
            }
            Self::And(parts) => joined(parts, " ", f),
            Self::Or(parts) => joined(parts, " OR ", f),
        }
    }
}

fn joined(parts: &[Query], between: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (at, part) in parts.iter().enumerate() {
        if at > 0 {
            f.write_str(between)?;
        }
        // AND binds tighter than OR, so only an OR needs parentheses.
        grouped(part, matches!(part, Query::Or(_)), f)?;
    }
    Ok(())
}

fn grouped(query: &Query, parentheses: bool, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if parentheses { write!(f, "({query})") } else { write!(f, "{query}") }
}

impl fmt::Display for TextTerm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.text();
        if self.field() != Field::Anywhere {
            write!(f, "{}:", self.field().name())?;
        }
        let is_near = matches!(self.form(), Form::Near(_));
        if !is_near && stays_bare(self.field(), text) {
            f.write_str(text)?;
        } else {
            write!(f, "\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))?;
        }
        match self.form() {
            Form::Whole => Ok(()),
            Form::Prefix => f.write_str("*"),
            Form::Near(distance) => write!(f, "~{distance}"),
        }
    }
}

/// Without quotes it would be read as the same text.
fn stays_bare(field: Field, text: &str) -> bool {
    let one_word = !text.is_empty() && !text.contains(ends_bare_word) && !text.contains('*');
    let looks_like_more = field == Field::Anywhere
        && (matches!(text, "AND" | "OR" | "NOT")
            || text.starts_with('-')
            || field_before_colon(text).is_some());
    one_word && !looks_like_more
}
