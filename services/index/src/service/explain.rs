//! A query as it is understood, for people.

use openarchive_proto::index::v1::{self, QueryNode, QueryNodeKind as Kind, TextForm, TextMeaning};

use crate::{
    analyser::{analyse, normalise_address, normalise_message_id},
    query::{DateRange, Field, Form, QUERY_VERSION, Query, SizeRange, TextTerm},
};

/// Canonical text, and the tree with what the analyser makes of each text.
pub(super) fn explain(query: &Query) -> v1::ExplainResponse {
    let mut nodes = Vec::new();
    describe(query, 0, &mut nodes);
    v1::ExplainResponse { version: QUERY_VERSION, canonical_query: query.to_string(), nodes }
}

fn describe(query: &Query, depth: u32, nodes: &mut Vec<QueryNode>) {
    let node = |kind: Kind| QueryNode { depth, kind: kind.into(), ..QueryNode::default() };
    let (node, parts) = match query {
        Query::All => (node(Kind::All), [].as_slice()),
        Query::Text(term) => (QueryNode { text: Some(meaning(term)), ..node(Kind::Text) }, [].as_slice()),
        Query::Date(range) => (dates(node(Kind::Date), range), [].as_slice()),
        Query::Size(range) => (sizes(node(Kind::Size), range), [].as_slice()),
        Query::HasAttachment => (node(Kind::HasAttachment), [].as_slice()),
        Query::Not(inner) => (node(Kind::Not), std::slice::from_ref(&**inner)),
        Query::And(parts) => (node(Kind::And), parts.as_slice()),
        Query::Or(parts) => (node(Kind::Or), parts.as_slice()),
    };
    nodes.push(node);
    for part in parts {
        describe(part, depth + 1, nodes);
    }
}

fn dates(node: QueryNode, range: &DateRange) -> QueryNode {
    let end = |day: Option<crate::query::Day>| day.map(|day| day.to_string()).unwrap_or_default();
    QueryNode { first: end(range.first()), last: end(range.last()), ..node }
}

fn sizes(node: QueryNode, range: &SizeRange) -> QueryNode {
    let end = |bytes: Option<u64>| bytes.map(|bytes| bytes.to_string()).unwrap_or_default();
    QueryNode { first: end(range.first()), last: end(range.last()), ..node }
}

fn meaning(term: &TextTerm) -> TextMeaning {
    let (form, distance) = match term.form() {
        Form::Whole => (TextForm::Whole, 0),
        Form::Prefix => (TextForm::Prefix, 0),
        Form::Near(distance) => (TextForm::Near, distance),
    };
    let (words, whole) = looked_for(term);
    TextMeaning {
        text: term.text().to_owned(),
        fields: term.field().looked_into().iter().map(|field| field.name().to_owned()).collect(),
        form: form.into(),
        distance: distance.into(),
        words,
        whole,
    }
}

/// Words, and what stands as a whole.
fn looked_for(term: &TextTerm) -> (Vec<String>, Vec<String>) {
    let words = || analyse(term.text()).into_iter().map(|token| token.text).collect();
    let address = || normalise_address(term.text());
    let has_people = term.field().looked_into().iter().any(|field| field.is_of_addresses());
    match (term.field(), term.form()) {
        (Field::MessageId, _) => (Vec::new(), vec![normalise_message_id(term.text())]),
        (Field::Agent, _) => (Vec::new(), vec![term.text().to_ascii_lowercase()]),
        (_, Form::Near(_)) => (words(), Vec::new()),
        (field, _) if term.text().contains('@') => {
            let words = if field.is_of_addresses() { Vec::new() } else { words() };
            (words, if has_people { vec![address()] } else { Vec::new() })
        }
        (_, form) if has_people && !address().contains(char::is_whitespace) => {
            let begins = (form == Form::Prefix).then(address);
            (words(), std::iter::once(format!("@{}", address())).chain(begins).collect())
        }
        _ => (words(), Vec::new()),
    }
}
