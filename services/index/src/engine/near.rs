//! Words near each other, in any order. tantivy's own slop counts moves of words that have an order; this one counts the
//! words that stand among them.

use std::collections::BTreeMap;

use tantivy::{
    DocId, DocSet as _, Score, SegmentReader, TERMINATED, Term,
    postings::{Postings as _, SegmentPostings},
    query::{ConstScorer, EnableScoring, Explanation, Query, Scorer, Weight},
    schema::{Field, IndexRecordOption},
};

use super::documents::Documents;

#[derive(Debug, Clone)]
pub(super) struct NearQuery {
    field: Field,
    /// Each word once, and how many places it needs.
    words: Vec<(String, usize)>,
    others: usize,
}

impl NearQuery {
    /// At most `others` other words between the first and the last of `words`. One text of a field never reaches into
    /// the next: [`super::tokens::BREAK_POSITIONS`] lie between them.
    pub(super) fn new(field: Field, words: &[String], others: usize) -> Self {
        let mut times = BTreeMap::<&String, usize>::new();
        for word in words {
            *times.entry(word).or_default() += 1;
        }
        let words = times.into_iter().map(|(word, times)| (word.clone(), times)).collect();
        Self { field, words, others }
    }

    fn matching(&self, reader: &SegmentReader) -> tantivy::Result<Vec<DocId>> {
        let inverted = reader.inverted_index(self.field)?;
        let mut words = Vec::with_capacity(self.words.len());
        for (word, times) in &self.words {
            let term = Term::from_field_text(self.field, word);
            let Some(postings) = inverted.read_postings(&term, IndexRecordOption::WithFreqsAndPositions)?
            else {
                return Ok(Vec::new());
            };
            words.push(Word { postings, times: *times });
        }
        // The rarest leads.
        words.sort_by_key(|word| word.postings.doc_freq());
        let length = words.iter().map(|word| word.times).sum::<usize>() + self.others;
        let mut found = Vec::new();
        let mut places = Vec::new();
        while let Some(doc) = next_with_all(&mut words) {
            places_in(&mut words, &mut places);
            if fits(&places, &words, length) {
                found.push(doc);
            }
            words[0].postings.advance();
        }
        Ok(found)
    }
}

struct Word {
    postings: SegmentPostings,
    times: usize,
}

/// Brings all words to the next document that holds all of them, the one they stand at included.
fn next_with_all(words: &mut [Word]) -> Option<DocId> {
    let mut doc = words.first()?.postings.doc();
    'documents: while doc != TERMINATED {
        for word in &mut *words {
            let at = word.postings.doc();
            let at = if at < doc { word.postings.seek(doc) } else { at };
            if at > doc {
                doc = at;
                continue 'documents;
            }
        }
        return Some(doc);
    }
    None
}

/// Position and number of each word where they stand, in the order of the text.
fn places_in(words: &mut [Word], places: &mut Vec<(u32, usize)>) {
    places.clear();
    let mut positions = Vec::new();
    for (number, word) in words.iter_mut().enumerate() {
        word.postings.positions(&mut positions);
        places.extend(positions.iter().map(|position| (*position, number)));
    }
    places.sort_unstable();
}

/// Whether some stretch of `length` positions holds each word as often as needed.
fn fits(places: &[(u32, usize)], words: &[Word], length: usize) -> bool {
    let mut missing: Vec<usize> = words.iter().map(|word| word.times).collect();
    let mut wanting = missing.len();
    // How many more of each word stand in the stretch than are needed.
    let mut spare = vec![0_usize; words.len()];
    let mut first = 0;
    for (last, number) in places {
        match &mut missing[*number] {
            0 => spare[*number] += 1,
            more => {
                *more -= 1;
                wanting -= usize::from(*more == 0);
            }
        }
        // Leaves out what is not needed at the front, and what has come too far from the last word.
        while let Some((start, number)) = places.get(first) {
            let reaches = (last - start) as usize + 1;
            if wanting == 0 && reaches <= length {
                return true;
            }
            if spare[*number] > 0 {
                spare[*number] -= 1;
            } else if reaches > length {
                wanting += usize::from(missing[*number] == 0);
                missing[*number] += 1;
            } else {
                break;
            }
            first += 1;
        }
    }
    false
}

impl Query for NearQuery {
    fn weight(&self, _: EnableScoring<'_>) -> tantivy::Result<Box<dyn Weight>> {
        Ok(Box::new(self.clone()))
    }
}

impl Weight for NearQuery {
    fn scorer(&self, reader: &SegmentReader, boost: Score) -> tantivy::Result<Box<dyn Scorer>> {
        Ok(Box::new(ConstScorer::new(Documents::new(self.matching(reader)?), boost)))
    }

    fn explain(&self, _: &SegmentReader, _: DocId) -> tantivy::Result<Explanation> {
        Ok(Explanation::new("words near each other", 1.0))
    }
}
