use openarchive_domain::{Tenant, Timestamp};
use tantivy::{Searcher, collector::Count};

use super::{
    Cursor, EngineError, Hit, Inner, PAGE_HITS_MAX, Page, SearchError,
    collect::{Found, PageCollector},
    compile,
    schema::{NO_DATE, SEQUENCE},
};
use crate::query::Query;

impl Inner {
    pub(super) fn search(
        &self,
        tenant: &Tenant,
        query: &Query,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page, SearchError> {
        if !(1..=PAGE_HITS_MAX).contains(&limit) {
            return Err(SearchError::Limit { limit });
        }
        if let Some(cursor) = cursor {
            cursor.check(self.generation, tenant, query)?;
        }
        let searcher = self.reader.searcher();
        let pin = match cursor {
            Some(cursor) => cursor.pin,
            None => highest_sequence(&searcher).map_err(EngineError::of_read)?,
        };
        let collector = PageCollector { limit, pin, after: cursor.map(|cursor| cursor.last) };
        let compiled = compile::for_tenant(&self.fields, tenant, query);
        let found = searcher.search(&compiled, &collector).map_err(EngineError::of_read)?;
        let next = match found.hits.last() {
            Some(last) if found.following > found.hits.len() as u64 => {
                Some(Cursor::new(self.generation, tenant, query, pin, last.place).to_string())
            }
            _ => None,
        };
        Ok(Page { hits: found.hits.iter().map(hit).collect(), total: found.total, next })
    }

    pub(super) fn count(&self, tenant: &Tenant, query: &Query) -> Result<u64, EngineError> {
        let compiled = compile::for_tenant(&self.fields, tenant, query);
        let count = self.reader.searcher().search(&compiled, &Count).map_err(EngineError::of_read)?;
        Ok(count as u64)
    }
}

/// Highest insertion sequence that the searcher sees; 0 if it sees nothing. Sequences are given in the order of
/// commits, so whatever is committed later is beyond it.
fn highest_sequence(searcher: &Searcher) -> tantivy::Result<u64> {
    let mut highest = 0;
    for segment in searcher.segment_readers() {
        let sequences = segment.fast_fields().column_first_or_default::<u64>(SEQUENCE)?;
        highest = highest.max(sequences.max_value());
    }
    Ok(highest)
}

fn hit(found: &Found) -> Hit {
    let date = Some(found.place.date).filter(|date| *date != NO_DATE).map(Timestamp::from_millis);
    Hit { message: found.place.digest(), date, partly_indexed: found.partly_indexed }
}
