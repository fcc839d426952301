//! A phrase whose last word is only a beginning. tantivy's own stops after a number of words; this one is exact.

use tantivy::{
    DocId, Score, SegmentReader, TantivyError, Term,
    query::{ConstScorer, EnableScoring, Explanation, PhraseQuery, Query, Scorer, Weight},
    schema::Field,
};

use super::{documents::Documents, error::too_broad, prefix::after_prefix};

/// Most words that the last word of a phrase may be the beginning of, in one segment of the index: each is a phrase to
/// look for. Beyond it the query is refused rather than answered with a part. A word alone has no such limit.
pub const ENDINGS_MAX: usize = 65_536;

#[derive(Debug, Clone)]
pub(super) struct PhrasePrefixQuery {
    pub(super) field: Field,
    /// The whole words before the last; at least one.
    pub(super) words: Vec<String>,
    pub(super) prefix: String,
}

impl Query for PhrasePrefixQuery {
    fn weight(&self, _: EnableScoring<'_>) -> tantivy::Result<Box<dyn Weight>> {
        Ok(Box::new(self.clone()))
    }
}

impl PhrasePrefixQuery {
    /// Marks the documents of a segment that match: one phrase after the other, for each word with the prefix.
    fn matching(&self, reader: &SegmentReader) -> tantivy::Result<Vec<DocId>> {
        let words: Vec<_> = self.words.iter().map(|word| Term::from_field_text(self.field, word)).collect();
        let inverted = reader.inverted_index(self.field)?;
        for word in &words {
            if inverted.get_term_info(word)?.is_none() {
                return Ok(Vec::new());
            }
        }
        let mut marked = vec![false; reader.max_doc() as usize];
        let mut range = inverted.terms().range().ge(&self.prefix);
        if let Some(after) = after_prefix(&self.prefix) {
            range = range.lt(after);
        }
        let mut endings = range.into_stream()?;
        let mut count = 0;
        while endings.advance() {
            count += 1;
            if count > ENDINGS_MAX {
                return Err(too_broad());
            }
            let ending = str::from_utf8(endings.key())
                .map_err(|_| TantivyError::InternalError("a word in the index is no text".to_owned()))?;
            let mut phrase = words.clone();
            phrase.push(Term::from_field_text(self.field, ending));
            let scoring = EnableScoring::disabled_from_schema(reader.schema());
            PhraseQuery::new(phrase).weight(scoring)?.for_each_no_score(reader, &mut |docs| {
                for &doc in docs {
                    marked[doc as usize] = true;
                }
            })?;
        }
        Ok((0..reader.max_doc()).filter(|doc| marked[*doc as usize]).collect())
    }
}

impl Weight for PhrasePrefixQuery {
    fn scorer(&self, reader: &SegmentReader, boost: Score) -> tantivy::Result<Box<dyn Scorer>> {
        Ok(Box::new(ConstScorer::new(Documents::new(self.matching(reader)?), boost)))
    }

    fn explain(&self, _: &SegmentReader, _: DocId) -> tantivy::Result<Explanation> {
        Ok(Explanation::new("phrase with a prefix", 1.0))
    }
}
