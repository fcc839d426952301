use std::cmp::Ordering;

use tantivy::{DocId, DocSet, TERMINATED};

/// Documents of a segment, ascending.
pub(super) struct Documents {
    docs: Vec<DocId>,
    at: usize,
}

impl Documents {
    pub(super) const fn new(docs: Vec<DocId>) -> Self {
        Self { docs, at: 0 }
    }
}

impl DocSet for Documents {
    fn advance(&mut self) -> DocId {
        self.at = (self.at + 1).min(self.docs.len());
        self.doc()
    }

    fn seek(&mut self, target: DocId) -> DocId {
        self.at += self.docs[self.at..].partition_point(|doc| doc.cmp(&target) == Ordering::Less);
        self.doc()
    }

    fn doc(&self) -> DocId {
        self.docs.get(self.at).copied().unwrap_or(TERMINATED)
    }

    fn size_hint(&self) -> u32 {
        self.docs.len() as u32
    }
}
