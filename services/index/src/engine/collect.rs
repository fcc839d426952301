//! Finds the first hits of a page and counts all, in memory that grows with the page only.

use std::{cmp::Ordering, collections::BinaryHeap, sync::Arc};

use openarchive_domain::Digest;
use tantivy::{
    DocId, Score, SegmentOrdinal, SegmentReader,
    collector::{Collector, SegmentCollector},
    columnar::ColumnValues,
};

use super::schema::{DATE, DIGEST, PARTLY_INDEXED, SEQUENCE, digest_of_words, digest_words};

/// Where a hit stands among all: newest first, then by digest. Smaller is earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// Milliseconds, or `NO_DATE`.
    pub(super) date: i64,
    words: [u64; 4],
}

impl Place {
    pub(super) fn new(date: i64, digest: Digest) -> Self {
        Self { date, words: digest_words(&digest) }
    }

    pub(super) fn digest(&self) -> Digest {
        digest_of_words(self.words)
    }
}

impl Ord for Place {
    fn cmp(&self, other: &Self) -> Ordering {
        other.date.cmp(&self.date).then(self.words.cmp(&other.words))
    }
}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Ordered by place first; no two documents of a tenant share one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Found {
    pub(super) place: Place,
    pub(super) partly_indexed: bool,
}

#[derive(Debug, Default)]
pub(super) struct Collected {
    /// The first hits after the given place, in order.
    pub(super) hits: Vec<Found>,
    /// All matches.
    pub(super) total: u64,
    /// Matches after the given place, those in `hits` included.
    pub(super) following: u64,
}

pub(super) struct PageCollector {
    pub(super) limit: usize,
    /// Highest insertion sequence that takes part.
    pub(super) pin: u64,
    pub(super) after: Option<Place>,
}

impl Collector for PageCollector {
    type Fruit = Collected;
    type Child = SegmentPage;

    fn for_segment(&self, _: SegmentOrdinal, reader: &SegmentReader) -> tantivy::Result<SegmentPage> {
        let columns = reader.fast_fields();
        let numbers = |name: &str| columns.column_first_or_default::<u64>(name);
        let sequence = numbers(SEQUENCE)?;
        Ok(SegmentPage {
            date: columns.column_first_or_default::<i64>(DATE)?,
            digest: [numbers(DIGEST[0])?, numbers(DIGEST[1])?, numbers(DIGEST[2])?, numbers(DIGEST[3])?],
            partly_indexed: numbers(PARTLY_INDEXED)?,
            newer: (sequence.max_value() > self.pin).then_some(sequence),
            pin: self.pin,
            after: self.after,
            limit: self.limit,
            first: BinaryHeap::with_capacity(self.limit + 1),
            total: 0,
            following: 0,
        })
    }

    fn requires_scoring(&self) -> bool {
        false
    }

    fn merge_fruits(&self, segments: Vec<Collected>) -> tantivy::Result<Collected> {
        let mut all = Collected::default();
        for segment in segments {
            all.hits.extend(segment.hits);
            all.hits.sort_unstable();
            all.hits.truncate(self.limit);
            all.total += segment.total;
            all.following += segment.following;
        }
        Ok(all)
    }
}

pub(super) struct SegmentPage {
    date: Arc<dyn ColumnValues<i64>>,
    digest: [Arc<dyn ColumnValues<u64>>; 4],
    partly_indexed: Arc<dyn ColumnValues<u64>>,
    /// The sequences, if some here are beyond the pin.
    newer: Option<Arc<dyn ColumnValues<u64>>>,
    pin: u64,
    after: Option<Place>,
    limit: usize,
    /// The first `limit` hits so far; the last of them on top.
    first: BinaryHeap<Found>,
    total: u64,
    following: u64,
}

impl SegmentCollector for SegmentPage {
    type Fruit = Collected;

    fn collect(&mut self, doc: DocId, _: Score) {
        if self.newer.as_ref().is_some_and(|sequence| sequence.get_val(doc) > self.pin) {
            return;
        }
        self.total += 1;
        let date = self.date.get_val(doc);
        if self.after.is_some_and(|after| date > after.date) {
            return;
        }
        // Most of a large result is older than what the page shows already: no need to read its digest.
        let last = self.first.peek().filter(|_| self.first.len() >= self.limit).map(|found| found.place);
        if last.is_some_and(|last| date < last.date) {
            self.following += 1;
            return;
        }
        let place = Place { date, words: [0, 1, 2, 3].map(|at: usize| self.digest[at].get_val(doc)) };
        if self.after.is_some_and(|after| place <= after) {
            return;
        }
        self.following += 1;
        if last.is_none_or(|last| place < last) {
            self.first.push(Found { place, partly_indexed: self.partly_indexed.get_val(doc) != 0 });
            if self.first.len() > self.limit {
                self.first.pop();
            }
        }
    }

    fn harvest(self) -> Collected {
        Collected { hits: self.first.into_sorted_vec(), total: self.total, following: self.following }
    }
}
