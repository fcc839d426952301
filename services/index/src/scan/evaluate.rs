use super::prepare::{Person, Prepared, Words};
use crate::{
    analyser::{analyse, normalise_address, normalise_message_id},
    query::{DateRange, Ending, Field, Query, TextTerm},
};

impl Prepared {
    pub(super) fn matches(&self, query: &Query) -> bool {
        match query {
            Query::All => true,
            Query::Text(term) => self.has_text(term),
            Query::Date(range) => self.is_dated_in(range),
            Query::HasAttachment => self.has_attachment,
            Query::Not(inner) => !self.matches(inner),
            Query::And(parts) => parts.iter().all(|part| self.matches(part)),
            Query::Or(parts) => parts.iter().any(|part| self.matches(part)),
        }
    }

    fn is_dated_in(&self, range: &DateRange) -> bool {
        let Some(date) = self.hit.date else { return false };
        range.first().is_none_or(|day| date.as_millis() >= day.start_millis())
            && range.last().is_none_or(|day| date.as_millis() < day.end_millis())
    }

    fn has_text(&self, term: &TextTerm) -> bool {
        let wanted = Wanted::of(term);
        let people = |people: &[Person]| people.iter().any(|person| wanted.is_person(person));
        match term.field() {
            Field::Anywhere => {
                wanted.is_in(&self.subject)
                    || wanted.is_in(&self.body)
                    || self.attachments.iter().any(|name| wanted.is_in(name))
                    || people(&self.participants)
            }
            Field::From => people(&self.from),
            Field::To => people(&self.to),
            Field::Cc => people(&self.cc),
            Field::Bcc => people(&self.bcc),
            Field::Participant => people(&self.participants),
            Field::Subject => wanted.is_in(&self.subject),
            Field::Body => wanted.is_in(&self.body),
            Field::Attachment => self.attachments.iter().any(|name| wanted.is_in(name)),
            Field::MessageId => {
                let id = normalise_message_id(term.text());
                self.message_id.as_deref().is_some_and(|own| !own.is_empty() && wanted.same(own, &id))
            }
        }
    }
}

struct Wanted<'a> {
    term: &'a TextTerm,
    words: Vec<String>,
    address: String,
}

impl<'a> Wanted<'a> {
    fn of(term: &'a TextTerm) -> Self {
        let words = analyse(term.text()).into_iter().map(|token| token.text).collect();
        Self { term, words, address: normalise_address(term.text()) }
    }

    /// `found` is what was asked for, or begins with it.
    fn same(&self, found: &str, asked: &str) -> bool {
        match self.term.ending() {
            Ending::Whole => found == asked,
            Ending::Prefix => found.starts_with(asked),
        }
    }

    /// The words stand side by side in the text; with a prefix the last of them only begins so.
    fn is_in(&self, text: &Words) -> bool {
        let Some((last, before)) = self.words.split_last() else { return false };
        text.windows(self.words.len()).any(|window| {
            window
                .split_last()
                .is_some_and(|(found, found_before)| found_before == before && self.same(found, last))
        })
    }

    fn is_person(&self, person: &Person) -> bool {
        let same =
            |own: &Option<String>, asked: &str| own.as_deref().is_some_and(|own| self.same(own, asked));
        if self.term.text().contains('@') {
            return same(&person.whole, &self.address) || same(&person.domain, &self.address);
        }
        let begins_address = || {
            self.term.ending() == Ending::Prefix
                && !self.address.contains(char::is_whitespace)
                && same(&person.whole, &self.address)
        };
        self.is_in(&person.name)
            || self.is_in(&person.local)
            || same(&person.domain, &format!("@{}", self.address))
            || begins_address()
    }
}
