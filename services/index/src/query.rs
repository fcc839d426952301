//! The query language, version 1, and what a query means.
//!
//! ```text
//! query = and { "OR" and }
//! and   = not { [ "AND" ] not }                      words side by side must all match
//! not   = { "NOT" | "-" } term
//! term  = "(" query ")" | "*"                        `*` is every mail
//!       | [ field ":" ] ( word | "phrase" ) [ "*" ]  `*` right after it: the last word is only a beginning
//!       | [ field ":" ] "phrase" "~" number          its words in any order, at most so many others among them
//!       | "date:" ( day | [ day ] ".." [ day ] )     both days included
//!       | "after:" day | "before:" day               from the start of that day; until before its start
//!       | "size:" ( size | [ size ] ".." [ size ] )  both sizes included
//!       | "size:" ( ">" | ">=" | "<" | "<=" ) size
//!       | "has:attachment"
//! field = "from" | "to" | "cc" | "bcc" | "participant" | "subject" | "body" | "attachment" | "message-id" | "agent"
//! day   = YYYY-MM-DD, in UTC
//! size  = number [ "b" | "kb" | "mb" | "gb" | "kib" | "mib" | "gib" ]
//! ```
//!
//! The same as EBNF, with meanings, limits and examples: `docs/query.md`. What parses today means the same for ever:
//! a new operator is text that was an error before (so there is no word `NEAR`: it always was a word to look for).
//!
//! - AND, OR and NOT are operators only in capitals; field names are read in any case. In quotes `\"` is a quote and
//!   `\\` a backslash.
//! - Text is analysed like mail ([`crate::analyser`]): case and diacritics do not matter. Text of several words
//!   (`"quarterly report"`, `foo-bar`, CJK) is a phrase: the words stand side by side, in one field.
//! - Without a field a term is looked for in subject, body, attachment names and participants.
//! - In an address field, text with an `@` is a whole address (`alice@example.org`) or, after a leading `@`, a
//!   domain. Other text is words of the display name or of the part before the `@`, or a whole domain.
//! - `participant` is from, to, cc, bcc and the envelope. A `message-id` and an `agent` are compared whole, in any case.
//! - Near each other are words of one text: the subject, the body, one attachment's name, the display name or the
//!   part before the `@` of one address. Every word needs a place of its own: `"no no"~5` wants two of them.
//! - A mail without a date is in no range of dates. Its size is that of its exact bytes.

mod day;
mod error;
mod lexer;
mod parse;
mod size;
mod term;
mod write;

pub use day::{DateRange, Day, NoDay};
pub use error::{QueryError, QueryErrorKind};
pub use size::SizeRange;
pub use term::{Field, Form, TextTerm};

/// Longest query, in bytes.
pub const QUERY_BYTES_MAX: usize = 4096;

/// Deepest nesting of parentheses and negations.
pub const QUERY_DEPTH_MAX: usize = 32;

/// Most terms (words, phrases, ranges) in a query.
pub const QUERY_TERMS_MAX: usize = 128;

/// Most words of a phrase with `~`.
pub const PROXIMITY_WORDS_MAX: usize = 32;

/// Most other words among those of a phrase with `~`.
pub const PROXIMITY_DISTANCE_MAX: u16 = 100;

/// The version of grammar and meaning. Stored queries name it.
pub const QUERY_VERSION: u32 = 1;

/// What is asked for. Engines compile it, [`crate::scan`] evaluates it directly.
///
/// `Display` writes the canonical query, which parses to the same tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Query {
    /// Every mail.
    All,
    Text(TextTerm),
    Date(DateRange),
    Size(SizeRange),
    HasAttachment,
    Not(Box<Query>),
    /// At least two, none of them an `And`.
    And(Vec<Query>),
    /// At least two, none of them an `Or`.
    Or(Vec<Query>),
}

impl Query {
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        parse::parse(text)
    }

    /// All of them; every mail if there are none.
    pub fn all_of(parts: Vec<Query>) -> Self {
        let flat = parts.into_iter().flat_map(|part| match part {
            Self::And(inner) => inner,
            other => vec![other],
        });
        let mut flat: Vec<_> = flat.collect();
        match flat.len() {
            0 => Self::All,
            1 => flat.remove(0),
            _ => Self::And(flat),
        }
    }

    /// Any of them; `None` if there are none.
    pub fn any_of(parts: Vec<Query>) -> Option<Self> {
        let flat = parts.into_iter().flat_map(|part| match part {
            Self::Or(inner) => inner,
            other => vec![other],
        });
        let mut flat: Vec<_> = flat.collect();
        match flat.len() {
            0 => None,
            1 => Some(flat.remove(0)),
            _ => Some(Self::Or(flat)),
        }
    }

    #[must_use]
    pub fn negate(self) -> Self {
        Self::Not(Box::new(self))
    }
}

impl std::str::FromStr for Query {
    type Err = QueryError;

    fn from_str(text: &str) -> Result<Self, QueryError> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests;
