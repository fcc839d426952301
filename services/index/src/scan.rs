//! Reference evaluation: what a query means, read off the documents one by one.
//!
//! It shares the analyser and the query tree with the engines and nothing else. Tests and `fsck` compare an engine
//! with it; it keeps all its documents in memory, so it is no engine itself.

mod evaluate;
mod prepare;

use std::cmp::Reverse;

use openarchive_domain::Tenant;

use crate::{Document, TooLarge, engine::Hit, query::Query};
use prepare::Prepared;

/// Documents, analysed once and searched one after the other.
#[derive(Debug, Default)]
pub struct Scan {
    documents: Vec<Prepared>,
}

impl Scan {
    /// Adds a document as the engine would: cut to its limits; one that is there stays unless the new one has seen
    /// more observations.
    pub fn add(&mut self, mut document: Document) -> Result<(), TooLarge> {
        document.cut_to_limits()?;
        let is_there =
            |known: &Prepared| known.tenant == document.tenant && known.hit.message == document.message;
        match self.documents.iter_mut().find(|known| is_there(known)) {
            None => self.documents.push(Prepared::of(&document)),
            Some(known) if known.observations < document.observations => *known = Prepared::of(&document),
            Some(_) => {}
        }
        Ok(())
    }

    /// All hits: newest first, mail without a date last, equal dates by digest.
    pub fn search(&self, tenant: &Tenant, query: &Query) -> Vec<Hit> {
        let mut hits: Vec<_> = self
            .documents
            .iter()
            .filter(|document| document.tenant == *tenant && document.matches(query))
            .map(|document| document.hit)
            .collect();
        hits.sort_by_key(|hit| (Reverse(hit.date), hit.message));
        hits
    }
}

/// Whether one document, whatever its tenant, is a hit.
pub fn matches(document: &Document, query: &Query) -> bool {
    Prepared::of(document).matches(query)
}
