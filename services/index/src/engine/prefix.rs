//! All terms that begin with a text: no limit on how many.

use std::ops::Bound;

use tantivy::{
    Term,
    query::{InvertedIndexRangeQuery, Query},
    schema::Field,
};

pub(super) fn query(field: Field, prefix: &str) -> Box<dyn Query> {
    let after = match after_prefix(prefix) {
        Some(after) => Bound::Excluded(Term::from_field_text(field, &after)),
        None => Bound::Unbounded,
    };
    Box::new(InvertedIndexRangeQuery::new(Bound::Included(Term::from_field_text(field, prefix)), after))
}

/// The smallest text after all that begin with `prefix`, in the order of code points (which is UTF-8's byte order).
pub(super) fn after_prefix(prefix: &str) -> Option<String> {
    let mut after = prefix.to_owned();
    loop {
        let last = after.pop()?;
        // `nth` steps over the surrogates, which are no characters.
        if let Some(next) = (last..=char::MAX).nth(1) {
            after.push(next);
            return Some(after);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_a_prefix_follows_everything_that_begins_with_it() {
        for (prefix, after) in [
            ("a", Some("b")),
            ("abz", Some("ab{")),
            ("日", Some("旦")),
            ("x\u{D7FF}", Some("x\u{E000}")),
            ("a\u{10FFFF}", Some("b")),
            ("\u{10FFFF}", None),
        ] {
            assert_eq!(after_prefix(prefix).as_deref(), after, "{prefix:?}");
        }
    }
}
