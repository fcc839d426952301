//! A query that is always asked in the plain way.
//!
//! tantivy's scorers have a second, hasty way of being asked whether they hold a document, `seek_danger`, which may
//! leave them between two documents. A phrase must not be asked so for a document before its place, but an
//! exclusion does just that (tantivy 0.27, `query/exclude.rs` against `query/phrase_query/phrase_scorer.rs`), and
//! breaks off where debug assertions are on. Behind this wrapper the default of the trait answers, which leaves
//! every scorer on a document.

use tantivy::{
    DocId, DocSet, Score, SegmentReader,
    query::{EnableScoring, Explanation, Query, Scorer, Weight},
};

#[derive(Debug)]
pub(super) struct Settled(pub(super) Box<dyn Query>);

impl Clone for Settled {
    fn clone(&self) -> Self {
        Self(self.0.box_clone())
    }
}

impl Query for Settled {
    fn weight(&self, scoring: EnableScoring<'_>) -> tantivy::Result<Box<dyn Weight>> {
        Ok(Box::new(SettledWeight(self.0.weight(scoring)?)))
    }
}

struct SettledWeight(Box<dyn Weight>);

impl Weight for SettledWeight {
    fn scorer(&self, reader: &SegmentReader, boost: Score) -> tantivy::Result<Box<dyn Scorer>> {
        Ok(Box::new(SettledScorer(self.0.scorer(reader, boost)?)))
    }

    fn explain(&self, reader: &SegmentReader, doc: DocId) -> tantivy::Result<Explanation> {
        self.0.explain(reader, doc)
    }
}

struct SettledScorer(Box<dyn Scorer>);

impl DocSet for SettledScorer {
    fn advance(&mut self) -> DocId {
        self.0.advance()
    }

    fn seek(&mut self, target: DocId) -> DocId {
        self.0.seek(target)
    }

    fn doc(&self) -> DocId {
        self.0.doc()
    }

    fn size_hint(&self) -> u32 {
        self.0.size_hint()
    }

    fn cost(&self) -> u64 {
        self.0.cost()
    }
}

impl Scorer for SettledScorer {
    fn score(&mut self) -> Score {
        self.0.score()
    }
}
