//! Our query tree into tantivy's.

use std::ops::Bound;

use openarchive_domain::Tenant;
use tantivy::{
    Term,
    query::{AllQuery, BooleanQuery, Occur, PhraseQuery, Query as Compiled, RangeQuery, TermQuery},
    schema::{Field, IndexRecordOption},
};

use super::{
    near::NearQuery,
    phrase_prefix::PhrasePrefixQuery,
    prefix,
    schema::{Fields, HAS_ATTACHMENT, NO_DATE},
    settled::Settled,
    tokens::address_term,
};
use crate::{
    analyser::{analyse, normalise_address, normalise_message_id},
    query::{self, DateRange, Form, Query, SizeRange, TextTerm},
};

/// The query for one tenant: the tenant's term is always demanded, whatever the query says.
pub(super) fn for_tenant(fields: &Fields, tenant: &Tenant, query: &Query) -> BooleanQuery {
    BooleanQuery::intersection(vec![term(fields.tenant_term(tenant)), compile(fields, query)])
}

fn compile(fields: &Fields, query: &Query) -> Box<dyn Compiled> {
    match query {
        Query::All => Box::new(AllQuery),
        Query::Text(text) => compile_text(fields, text),
        Query::Date(range) => compile_dates(fields, range),
        Query::Size(range) => compile_sizes(fields, range),
        Query::HasAttachment => term(Term::from_field_u64(fields.has_attachment, HAS_ATTACHMENT)),
        Query::Not(_) => all(fields, std::slice::from_ref(query)),
        Query::And(parts) => all(fields, parts),
        Query::Or(parts) => any(parts.iter().map(|part| compile(fields, part)).collect()),
    }
}

/// All of them. What is negated only takes away, so there must be something to take it from.
fn all(fields: &Fields, parts: &[Query]) -> Box<dyn Compiled> {
    let mut clauses: Vec<_> = parts
        .iter()
        .map(|part| match part {
            Query::Not(inner) => {
                let inner: Box<dyn Compiled> = Box::new(Settled(compile(fields, inner)));
                (Occur::MustNot, inner)
            }
            other => (Occur::Must, compile(fields, other)),
        })
        .collect();
    if clauses.iter().all(|(occur, _)| *occur == Occur::MustNot) {
        clauses.push((Occur::Must, Box::new(AllQuery)));
    }
    Box::new(BooleanQuery::new(clauses))
}

fn any(mut parts: Vec<Box<dyn Compiled>>) -> Box<dyn Compiled> {
    if parts.len() == 1 { parts.remove(0) } else { Box::new(BooleanQuery::union(parts)) }
}

fn compile_dates(fields: &Fields, range: &DateRange) -> Box<dyn Compiled> {
    let term = |millis| Term::from_field_i64(fields.date, millis);
    let from = range.first().map_or(NO_DATE + 1, query::Day::start_millis);
    let until = range.last().map_or(Bound::Unbounded, |day| Bound::Excluded(term(day.end_millis())));
    Box::new(RangeQuery::new(Bound::Included(term(from)), until))
}

fn compile_sizes(fields: &Fields, range: &SizeRange) -> Box<dyn Compiled> {
    let term = |bytes| Term::from_field_u64(fields.length, bytes);
    let from = Bound::Included(term(range.first().unwrap_or(0)));
    let until = range.last().map_or(Bound::Unbounded, |last| Bound::Included(term(last)));
    Box::new(RangeQuery::new(from, until))
}

fn compile_text(fields: &Fields, text: &TextTerm) -> Box<dyn Compiled> {
    let (worded, addressed) = fields.of(text.field());
    let whole = match text.field() {
        query::Field::MessageId => Some(normalise_message_id(text.text())),
        query::Field::Agent => Some(text.text().to_ascii_lowercase()),
        _ => None,
    };
    if let Some(whole) = whole {
        return any(worded.into_iter().map(|field| exact(field, &whole, text.form())).collect());
    }
    let words: Vec<_> = analyse(text.text()).into_iter().map(|token| token.text).collect();
    let mut choices: Vec<_> = worded.into_iter().map(|field| phrase(field, &words, text.form())).collect();
    for field in addressed {
        choices.extend(in_addresses(field, text, &words));
    }
    any(choices)
}

/// With an `@`: a whole address, or a domain (which is indexed with its `@`). Otherwise words, or a whole domain, or
/// the beginning of an address.
fn in_addresses(field: Field, text: &TextTerm, words: &[String]) -> Vec<Box<dyn Compiled>> {
    if matches!(text.form(), Form::Near(_)) {
        return vec![phrase(field, words, text.form())];
    }
    let normalised = normalise_address(text.text());
    if text.text().contains('@') {
        return vec![exact(field, &address_term(&normalised), text.form())];
    }
    let mut choices = vec![phrase(field, words, text.form())];
    if !normalised.contains(char::is_whitespace) {
        choices.push(exact(field, &format!("@{normalised}"), text.form()));
        if text.form() == Form::Prefix {
            choices.push(prefix::query(field, &address_term(&normalised)));
        }
    }
    choices
}

fn phrase(field: Field, words: &[String], form: Form) -> Box<dyn Compiled> {
    match (words, form) {
        (words, Form::Near(others)) => Box::new(NearQuery::new(field, words, usize::from(others))),
        ([word], form) => exact(field, word, form),
        (words, Form::Whole) => {
            let terms = words.iter().map(|word| Term::from_field_text(field, word)).collect();
            Box::new(Settled(Box::new(PhraseQuery::new(terms))))
        }
        ([words @ .., last], Form::Prefix) => {
            Box::new(PhrasePrefixQuery { field, words: words.to_vec(), prefix: last.clone() })
        }
        ([], Form::Prefix) => Box::new(tantivy::query::EmptyQuery),
    }
}

fn exact(field: Field, text: &str, form: Form) -> Box<dyn Compiled> {
    match form {
        Form::Whole | Form::Near(_) => term(Term::from_field_text(field, text)),
        Form::Prefix => prefix::query(field, text),
    }
}

fn term(term: Term) -> Box<dyn Compiled> {
    Box::new(TermQuery::new(term, IndexRecordOption::Basic))
}
