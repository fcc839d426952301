use super::prepare::{Person, Prepared, Words};
use crate::{
    analyser::{analyse, normalise_address, normalise_message_id},
    query::{DateRange, Field, Form, Query, TextTerm},
};

impl Prepared {
    pub(super) fn matches(&self, query: &Query) -> bool {
        match query {
            Query::All => true,
            Query::Text(term) => self.has_text(term),
            Query::Date(range) => self.is_dated_in(range),
            Query::Size(range) => range.contains(self.length),
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
            Field::Agent => {
                let name = term.text().to_ascii_lowercase();
                self.agents.iter().any(|own| wanted.same(own, &name))
            }
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
        match self.term.form() {
            Form::Whole | Form::Near(_) => found == asked,
            Form::Prefix => found.starts_with(asked),
        }
    }

    /// The words stand side by side in the text; with a prefix the last of them only begins so.
    fn is_in(&self, text: &Words) -> bool {
        if let Form::Near(distance) = self.term.form() {
            return self.is_gathered_in(text, usize::from(distance));
        }
        let Some((last, before)) = self.words.split_last() else { return false };
        text.windows(self.words.len()).any(|window| {
            window
                .split_last()
                .is_some_and(|(found, found_before)| found_before == before && self.same(found, last))
        })
    }

    /// Some stretch of the text, as long as the words and those that may stand among them, holds each word as often
    /// as it was asked for.
    fn is_gathered_in(&self, text: &Words, others: usize) -> bool {
        let length = self.words.len() + others;
        let times = |word: &String, among: &[String]| among.iter().filter(|other| *other == word).count();
        (0..text.len()).any(|start| {
            let stretch = &text[start..text.len().min(start + length)];
            self.words.iter().all(|word| times(word, stretch) >= times(word, &self.words))
        })
    }

    fn is_person(&self, person: &Person) -> bool {
        let same =
            |own: &Option<String>, asked: &str| own.as_deref().is_some_and(|own| self.same(own, asked));
        if matches!(self.term.form(), Form::Near(_)) {
            return self.is_in(&person.name) || self.is_in(&person.local);
        }
        if self.term.text().contains('@') {
            return same(&person.whole, &self.address) || same(&person.domain, &self.address);
        }
        let begins_address = || {
            self.term.form() == Form::Prefix
                && !self.address.contains(char::is_whitespace)
                && same(&person.whole, &self.address)
        };
        self.is_in(&person.name)
            || self.is_in(&person.local)
            || same(&person.domain, &format!("@{}", self.address))
            || begins_address()
    }
}
