use crate::analyser::{analyse, normalise_message_id};

use super::QueryErrorKind;

/// Where a term is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Field {
    /// No field was named: subject, body, attachment names, participants.
    Anywhere,
    From,
    To,
    Cc,
    Bcc,
    Participant,
    Subject,
    Body,
    Attachment,
    MessageId,
}

impl Field {
    /// The fields that a query can name.
    pub const NAMED: [Self; 9] = [
        Self::From,
        Self::To,
        Self::Cc,
        Self::Bcc,
        Self::Participant,
        Self::Subject,
        Self::Body,
        Self::Attachment,
        Self::MessageId,
    ];

    /// Its name in a query; empty for [`Field::Anywhere`].
    pub const fn name(self) -> &'static str {
        match self {
            Self::Anywhere => "",
            Self::From => "from",
            Self::To => "to",
            Self::Cc => "cc",
            Self::Bcc => "bcc",
            Self::Participant => "participant",
            Self::Subject => "subject",
            Self::Body => "body",
            Self::Attachment => "attachment",
            Self::MessageId => "message-id",
        }
    }

    /// It holds addresses (besides other things, for [`Field::Anywhere`]).
    pub(crate) const fn has_addresses(self) -> bool {
        matches!(self, Self::Anywhere | Self::From | Self::To | Self::Cc | Self::Bcc | Self::Participant)
    }
}

/// How a text ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ending {
    /// Every word is whole.
    Whole,
    /// The last word is a beginning: `report*`.
    Prefix,
}

/// A word, phrase or address to look for. There is something searchable in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TextTerm {
    field: Field,
    text: String,
    ending: Ending,
}

impl TextTerm {
    /// The text is kept as written and analysed by whoever evaluates it.
    pub fn new(field: Field, text: impl Into<String>, ending: Ending) -> Result<Self, QueryErrorKind> {
        let text = text.into();
        let searchable = match field {
            Field::MessageId => !normalise_message_id(&text).is_empty(),
            _ => !analyse(&text).is_empty(),
        };
        if !searchable {
            return Err(QueryErrorKind::NothingSearchable);
        }
        let only_addresses = field.has_addresses() && field != Field::Anywhere;
        if only_addresses && text.contains('@') && text.trim().contains(char::is_whitespace) {
            return Err(QueryErrorKind::AddressWithSpaces);
        }
        Ok(Self { field, text, ending })
    }

    pub const fn field(&self) -> Field {
        self.field
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    pub const fn ending(&self) -> Ending {
        self.ending
    }
}
