//! Where a query's words stand in a mail, for people who look at hits.
//!
//! By the same analyser as the index and on the archived text, so that what is marked is what was found. A fragment is
//! plain text with ranges: whoever shows it cannot be tricked into showing it as markup. What is negated is not looked
//! for. Work is one pass over each text, and memory grows with the matches only, of which there are at most
//! [`MATCHES_MAX`].

mod fragments;
mod marks;
mod person;

use std::ops::Range;

use crate::{
    Address,
    query::{Field, Query, TextTerm},
};

/// Most fragments of one mail.
pub const FRAGMENTS_MAX: usize = 6;

/// Most fragments of one text of a mail.
pub const TEXT_FRAGMENTS_MAX: usize = 3;

/// Longest fragment, in bytes.
pub const FRAGMENT_BYTES_MAX: usize = 240;

/// Most matches of one term in one text that are looked at; those behind are not marked.
pub const MATCHES_MAX: usize = 1_000;

/// The text of one mail.
#[derive(Debug, Clone, Default)]
pub struct MailText {
    pub from: Vec<Address>,
    pub to: Vec<Address>,
    pub cc: Vec<Address>,
    pub bcc: Vec<Address>,
    pub subject: String,
    pub body: String,
    pub attachments: Vec<String>,
}

/// A piece of a mail's text. `matches` are characters of `text`, in order and not overlapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fragment {
    pub field: Field,
    pub text: String,
    pub matches: Vec<Range<usize>>,
}

/// At most [`FRAGMENTS_MAX`], in the order subject, body, attachments, people.
pub fn highlight(query: &Query, mail: &MailText) -> Vec<Fragment> {
    let mut terms = Vec::new();
    collect(query, Sign::Wanted, &mut terms);
    let mut found = Vec::new();
    in_text(&terms, Field::Subject, &mail.subject, &mut found);
    in_text(&terms, Field::Body, &mail.body, &mut found);
    for name in &mail.attachments {
        in_text(&terms, Field::Attachment, name, &mut found);
    }
    for (field, people) in
        [(Field::From, &mail.from), (Field::To, &mail.to), (Field::Cc, &mail.cc), (Field::Bcc, &mail.bcc)]
    {
        for who in people {
            if found.len() < FRAGMENTS_MAX {
                found.extend(person::fragment(&terms, field, who));
            }
        }
    }
    found.truncate(FRAGMENTS_MAX);
    found
}

fn in_text(terms: &[&TextTerm], field: Field, text: &str, found: &mut Vec<Fragment>) {
    if found.len() >= FRAGMENTS_MAX {
        return;
    }
    let terms = terms.iter().filter(|term| term.field().looked_into().contains(&field));
    let marks = marks::of_words(terms.copied(), text);
    found.extend(fragments::cut(field, text, &marks));
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    Wanted,
    Unwanted,
}

/// The texts that a hit can owe its place to.
fn collect<'q>(query: &'q Query, sign: Sign, terms: &mut Vec<&'q TextTerm>) {
    match query {
        Query::Text(term) if sign == Sign::Wanted => terms.push(term),
        Query::Not(inner) => {
            let turned = if sign == Sign::Wanted { Sign::Unwanted } else { Sign::Wanted };
            collect(inner, turned, terms);
        }
        Query::And(parts) | Query::Or(parts) => {
            for part in parts {
                collect(part, sign, terms);
            }
        }
        Query::All | Query::Text(_) | Query::Date(_) | Query::Size(_) | Query::HasAttachment => {}
    }
}

#[cfg(test)]
mod tests;
