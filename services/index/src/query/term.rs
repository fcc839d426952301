use openarchive_domain::AgentName;

use super::{PROXIMITY_DISTANCE_MAX, PROXIMITY_WORDS_MAX, QueryErrorKind};
use crate::analyser::{analyse, normalise_message_id};

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
    /// Agents that saw the mail.
    Agent,
}

impl Field {
    /// The fields that a query can name.
    pub const NAMED: [Self; 10] = [
        Self::From,
        Self::To,
        Self::Cc,
        Self::Bcc,
        Self::Participant,
        Self::Subject,
        Self::Body,
        Self::Attachment,
        Self::MessageId,
        Self::Agent,
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
            Self::Agent => "agent",
        }
    }

    /// The fields of a mail that it stands for: itself, but for [`Field::Anywhere`].
    pub const fn looked_into(self) -> &'static [Self] {
        match self {
            Self::Anywhere => &[Self::Subject, Self::Body, Self::Attachment, Self::Participant],
            Self::From => &[Self::From],
            Self::To => &[Self::To],
            Self::Cc => &[Self::Cc],
            Self::Bcc => &[Self::Bcc],
            Self::Participant => &[Self::Participant],
            Self::Subject => &[Self::Subject],
            Self::Body => &[Self::Body],
            Self::Attachment => &[Self::Attachment],
            Self::MessageId => &[Self::MessageId],
            Self::Agent => &[Self::Agent],
        }
    }

    /// It holds addresses and nothing else.
    pub(crate) const fn is_of_addresses(self) -> bool {
        matches!(self, Self::From | Self::To | Self::Cc | Self::Bcc | Self::Participant)
    }

    /// It is compared whole, not by its words.
    pub(crate) const fn is_whole(self) -> bool {
        matches!(self, Self::MessageId | Self::Agent)
    }
}

/// How the words of a text stand in the mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// Side by side, every word whole.
    Whole,
    /// Side by side, and the last word is a beginning: `report*`.
    Prefix,
    /// In any order, with at most so many other words among them: `"report annual"~3`.
    Near(u16),
}

/// A word, phrase or address to look for. There is something searchable in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TextTerm {
    field: Field,
    text: String,
    form: Form,
}

impl TextTerm {
    /// The text is kept as written and analysed by whoever evaluates it.
    pub fn new(field: Field, text: impl Into<String>, form: Form) -> Result<Self, QueryErrorKind> {
        let text = text.into();
        let words = match field {
            Field::MessageId => usize::from(!normalise_message_id(&text).is_empty()),
            Field::Agent => usize::from(!text.is_empty()),
            _ => analyse(&text).len(),
        };
        if words == 0 {
            return Err(QueryErrorKind::NothingSearchable);
        }
        if field == Field::Agent && !names_agent(&text, form) {
            return Err(QueryErrorKind::NoAgentName);
        }
        if field.is_of_addresses() && text.contains('@') && text.trim().contains(char::is_whitespace) {
            return Err(QueryErrorKind::AddressWithSpaces);
        }
        if let Form::Near(distance) = form {
            near(field, &text, words, distance)?;
        }
        Ok(Self { field, text, form })
    }

    pub const fn field(&self) -> Field {
        self.field
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    pub const fn form(&self) -> Form {
        self.form
    }
}

fn near(field: Field, text: &str, words: usize, distance: u16) -> Result<(), QueryErrorKind> {
    if field.is_whole() || field.is_of_addresses() && text.contains('@') {
        Err(QueryErrorKind::DistanceWithoutWords)
    } else if words < 2 {
        Err(QueryErrorKind::DistanceOfOneWord)
    } else if words > PROXIMITY_WORDS_MAX {
        Err(QueryErrorKind::TooManyNear)
    } else if distance > PROXIMITY_DISTANCE_MAX {
        Err(QueryErrorKind::DistanceTooLarge)
    } else {
        Ok(())
    }
}

/// Names are lower case; a query may be written in any.
fn names_agent(text: &str, form: Form) -> bool {
    let name = text.to_ascii_lowercase();
    match form {
        // What follows a beginning makes a name of it: `mx-*`.
        Form::Prefix => format!("{name}0").parse::<AgentName>().is_ok() || name.parse::<AgentName>().is_ok(),
        Form::Whole | Form::Near(_) => name.parse::<AgentName>().is_ok(),
    }
}
