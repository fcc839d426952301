//! A correspondent as `Name <address>`.

use std::ops::Range;

use super::{Fragment, fragments, marks};
use crate::{
    Address,
    analyser::normalise_address,
    query::{Field, Form, TextTerm},
};

/// The correspondent, if some term finds it.
pub(super) fn fragment(terms: &[&TextTerm], field: Field, who: &Address) -> Option<Fragment> {
    let terms = terms.iter().filter(|term| {
        let fields = term.field().looked_into();
        fields.contains(&field) || fields.contains(&Field::Participant)
    });
    let (text, name, address) = written(who);
    let mut found = Vec::new();
    for term in terms {
        found.extend(in_person(term, &text, &name, &address));
    }
    fragments::whole(field, &text, &marks::merged(found))
}

/// The text, and where name and address stand in it.
fn written(who: &Address) -> (String, Range<usize>, Range<usize>) {
    let address = who.address.trim_matches(|c: char| c.is_whitespace() || matches!(c, '<' | '>'));
    if who.name.is_empty() {
        return (address.to_owned(), 0..0, 0..address.len());
    }
    let start = who.name.len() + 2;
    (format!("{} <{address}>", who.name), 0..who.name.len(), start..start + address.len())
}

fn in_person(term: &TextTerm, text: &str, name: &Range<usize>, address: &Range<usize>) -> Vec<Range<usize>> {
    let at = address.start + text[address.clone()].rfind('@').unwrap_or(address.len());
    let whole = || same(term, &normalise_address(&text[address.clone()]), &normalise_address(term.text()));
    let domain = |asked: &str| same(term, &normalise_address(&text[at..address.end]), asked);
    let is_near = matches!(term.form(), Form::Near(_));
    if term.text().contains('@') && !is_near {
        return match (whole(), domain(&normalise_address(term.text()))) {
            (true, _) => vec![address.clone()],
            (false, true) => std::iter::once(at..address.end).collect(),
            (false, false) => Vec::new(),
        };
    }
    let words = |part: Range<usize>| {
        let found = marks::of_words(std::iter::once(term), &text[part.clone()]);
        found.into_iter().map(move |mark| part.start + mark.start..part.start + mark.end)
    };
    let mut found: Vec<_> = words(name.clone()).chain(words(address.start..at)).collect();
    if !is_near && at < address.end && domain(&format!("@{}", normalise_address(term.text()))) {
        found.push(at..address.end);
    }
    if term.form() == Form::Prefix
        && !term.text().contains(char::is_whitespace)
        && at < address.end
        && whole()
    {
        found.push(address.clone());
    }
    found
}

fn same(term: &TextTerm, found: &str, asked: &str) -> bool {
    match term.form() {
        Form::Prefix => found.starts_with(asked),
        Form::Whole | Form::Near(_) => found == asked,
    }
}
