use super::{PROXIMITY_DISTANCE_MAX, PROXIMITY_WORDS_MAX, QUERY_BYTES_MAX, QUERY_DEPTH_MAX, QUERY_TERMS_MAX};

/// Why a query is none, and where. `Display` says what to do and never repeats the query's text; [`Self::caret`]
/// shows the place to the person who wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{kind} (at byte {at} of the query)")]
pub struct QueryError {
    pub kind: QueryErrorKind,
    /// Byte offset into the query; always between characters, at most its length.
    pub at: usize,
}

/// What is wrong. `Display` is what and what to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QueryErrorKind {
    #[error("the query is empty: write a word, or `*` for every mail")]
    Empty,
    #[error("the query is {bytes} bytes long, the limit is {QUERY_BYTES_MAX}: ask for less at once")]
    TooLong { bytes: usize },
    #[error("more than {QUERY_DEPTH_MAX} levels of parentheses and negations: simplify the query")]
    TooDeep,
    #[error("more than {QUERY_TERMS_MAX} terms: ask for less at once")]
    TooManyTerms,
    #[error("this quote is not closed: add `\"`; to search for a quote write `\\\"` inside quotes")]
    UnclosedQuote,
    #[error("unknown escape: inside quotes write `\\\"` for a quote and `\\\\` for a backslash")]
    UnknownEscape,
    #[error("a quote in the middle of a term: put a space before and after a quoted phrase")]
    QuoteInTerm,
    #[error("this parenthesis is not closed: add `)`")]
    UnclosedParenthesis,
    #[error(
        "nothing was opened that this `)` could close: remove it, or put it in quotes to search for text"
    )]
    UnopenedParenthesis,
    #[error("nothing between these parentheses: write a term, or remove them")]
    EmptyParentheses,
    #[error(
        "an operator needs a term after it: write one, or put the operator in quotes to search for the word"
    )]
    NothingAfterOperator,
    #[error(
        "an operator needs a term before it: write one, or put the operator in quotes to search for the word"
    )]
    NothingBeforeOperator,
    #[error("`-` excludes the term right after it: remove the space, or put it in quotes")]
    LoneMinus,
    #[error(
        "unknown field: there are from, to, cc, bcc, participant, subject, body, attachment, message-id, agent, \
         date, after, before, size, has; to search for text with a colon, put it in quotes"
    )]
    UnknownField,
    #[error("nothing after the colon: write what to look for right behind it")]
    NothingAfterField,
    #[error("a field takes one word or phrase: write (from:a OR from:b) instead of from:(a OR b)")]
    FieldBeforeParenthesis,
    #[error("`*` stands for the rest of a word and so only at its end: `report*`")]
    StarNotAtEnd,
    #[error(
        "`~` needs a number right behind it: \"annual report\"~3 finds both words with at most 3 others among them"
    )]
    NoDistance,
    #[error(
        "at most {PROXIMITY_DISTANCE_MAX} words may stand among those of a phrase: write a smaller number after `~`"
    )]
    DistanceTooLarge,
    #[error("a phrase takes either `*` or `~`: words that are near each other are whole")]
    StarAndDistance,
    #[error("`~` needs at least two words in the quotes: write another, or leave `~` out")]
    DistanceOfOneWord,
    #[error("at most {PROXIMITY_WORDS_MAX} words can be near each other: write fewer in the quotes")]
    TooManyNear,
    #[error("addresses, message-id and agent are compared whole and have no words to be near: leave `~` out")]
    DistanceWithoutWords,
    #[error("there is no letter or digit to look for: write a word")]
    NothingSearchable,
    #[error(
        "an address has no spaces: write from:alice@example.org, or from:\"Alice Smith\" without the address"
    )]
    AddressWithSpaces,
    #[error(
        "this is no day: write YYYY-MM-DD, or a range like 2024-01-01..2024-01-31, 2024-01-01.. or ..2024-01-31"
    )]
    NoDay,
    #[error("the first day of the range is after the last: swap them")]
    ReversedRange,
    #[error("both ends of the range are open: write at least one day")]
    OpenRange,
    #[error("there is no day before that: write a later one")]
    NothingBefore,
    #[error(
        "this is no size: write a whole number of bytes, or with kb, mb, gb, kib, mib, gib behind it: size:>1mb, \
         size:<=500kb, size:10kb..2mb, size:10kb.. or size:..2mb"
    )]
    NoSize,
    #[error("this size is too large: the largest is 18446744073709551615 bytes")]
    SizeTooLarge,
    #[error("the first size of the range is above the last: swap them")]
    ReversedSizes,
    #[error("both ends of the range are open: write at least one size")]
    OpenSizes,
    #[error("nothing is smaller than that: write a larger size")]
    NothingSmaller,
    #[error(
        "this is no agent's name: 1 to 63 letters, digits and hyphens, no hyphen at either end; mx* finds several"
    )]
    NoAgentName,
    #[error("only has:attachment is known")]
    UnknownHas,
    #[error("dates, size and has: take neither quotes nor `*`: write the value alone")]
    PlainValueOnly,
}

/// Most characters of the query that are shown on either side of the caret.
const CARET_CONTEXT_CHARS: usize = 40;

impl QueryErrorKind {
    pub(crate) const fn at(self, at: usize) -> QueryError {
        QueryError { kind: self, at }
    }
}

impl QueryError {
    /// Two lines: the query around the place, and a `^` below it. For the person who wrote the query, not for logs.
    pub fn caret(&self, query: &str) -> String {
        let (before, after) = query.split_at(query.floor_char_boundary(self.at));
        let skipped = before.chars().count().saturating_sub(CARET_CONTEXT_CHARS);
        let shown = |c: char| if c.is_control() { ' ' } else { c };
        let left: String = before.chars().skip(skipped).map(shown).collect();
        let right: String = after.chars().take(CARET_CONTEXT_CHARS).map(shown).collect();
        format!("{left}{right}\n{}^", " ".repeat(left.chars().count()))
    }
}
