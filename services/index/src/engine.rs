//! The embedded engine: tantivy, one writer, one folder.
//!
//! Nothing of the mail is stored but the words in their order; hits are digests, and what people are shown comes
//! from the archive. All blocking work runs on tokio's blocking threads. All methods are cancel-safe in this sense:
//! a dropped `index` or `delete` may still be carried out, and both may be repeated.

mod collect;
mod compile;
mod cursor;
mod documents;
mod error;
mod generation;
mod near;
mod open;
mod phrase_prefix;
mod prefix;
mod schema;
mod search;
mod settled;
mod tokens;
mod writer;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use openarchive_domain::{Digest, Tenant, Timestamp};

pub use cursor::{Cursor, CursorError};
pub use error::{EngineError, OpenError, SearchError};
pub use generation::Generation;
pub use phrase_prefix::ENDINGS_MAX;

use crate::{Document, TooLarge, query::Query};
use schema::Fields;
use writer::Writer;

/// Most hits of one page.
pub const PAGE_HITS_MAX: usize = 1000;

/// An open index. Clones are the same index; it is closed when the last one is dropped.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    index: tantivy::Index,
    fields: Fields,
    reader: tantivy::IndexReader,
    generation: Generation,
    /// As the last commit says.
    filled: AtomicBool,
    writer: Mutex<Writer>,
}

/// What became of a document that was to be indexed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Durable and visible to every search that starts from now on.
    Indexed,
    /// It was there already, or twice in the batch, and knows of no further observation.
    Skipped,
    /// It cannot be indexed, and trying again will not help.
    Rejected(TooLarge),
}

/// A found mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hit {
    pub message: Digest,
    pub date: Option<Timestamp>,
    pub partly_indexed: bool,
}

/// A page of hits: newest first, mail without a date last, equal dates by digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    pub hits: Vec<Hit>,
    /// Exact number of all hits of the query, on all pages.
    pub total: u64,
    /// Asks for the page after this one; `None` on the last.
    pub next: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Mails of all tenants.
    pub documents: u64,
    /// Another one than before: the index was lost and has to be fed anew.
    pub generation: Generation,
    /// [`Engine::mark_filled`] was called since it was made.
    pub filled: bool,
}

impl Engine {
    /// Opens the index in `folder`; makes an empty one, with the generation `fresh`, if there is none. What an older
    /// or newer version of this program left there is thrown away.
    pub async fn open(folder: impl AsRef<Path>, fresh: Generation) -> Result<Self, OpenError> {
        let folder = folder.as_ref().to_owned();
        opening(folder, move |folder| open::open(folder, fresh)).await
    }

    /// Throws away the index in `folder`, damaged or not, and makes an empty one.
    pub async fn recreate(folder: impl AsRef<Path>, fresh: Generation) -> Result<Self, OpenError> {
        let folder = folder.as_ref().to_owned();
        opening(folder, move |folder| open::recreate(folder, fresh)).await
    }

    /// Adds documents; the outcomes are in their order. A document that is in the index already is skipped, so a
    /// batch may be repeated after any error; one that knows of more observations takes the place of the old one, on
    /// every page of a search that has begun as well. Durable when it returns.
    pub async fn index(&self, documents: Vec<Document>) -> Result<Vec<Outcome>, EngineError> {
        self.blocking(move |inner| inner.writer().index(inner, documents)).await
    }

    /// Removes mails of a tenant and says how many of them were there. Durable when it returns.
    pub async fn delete(&self, tenant: &Tenant, messages: Vec<Digest>) -> Result<u64, EngineError> {
        let tenant = tenant.clone();
        self.blocking(move |inner| inner.writer().delete(inner, &tenant, &messages)).await
    }

    /// One page of at most `limit` (1 to [`PAGE_HITS_MAX`]) hits.
    ///
    /// The first page fixes which mails take part; later pages, asked for with the cursor, show the rest of exactly
    /// those, each once, whatever arrives meanwhile. Mail that is deleted meanwhile is left out.
    pub async fn search(
        &self,
        tenant: &Tenant,
        query: &Query,
        cursor: Option<Cursor>,
        limit: usize,
    ) -> Result<Page, SearchError> {
        let (tenant, query) = (tenant.clone(), query.clone());
        self.blocking(move |inner| Ok(inner.search(&tenant, &query, cursor.as_ref(), limit))).await?
    }

    /// Exact number of hits.
    pub async fn count(&self, tenant: &Tenant, query: &Query) -> Result<u64, EngineError> {
        let (tenant, query) = (tenant.clone(), query.clone());
        self.blocking(move |inner| inner.count(&tenant, &query)).await
    }

    /// Says that whatever belongs into this index is in it, or waits in a queue that will not forget it. Durable when
    /// it returns; `false`, and nothing is done, if the index is of another generation by now.
    pub async fn mark_filled(&self, generation: Generation) -> Result<bool, EngineError> {
        if self.0.generation != generation {
            return Ok(false);
        }
        self.blocking(|inner| inner.writer().mark_filled(inner)).await?;
        Ok(true)
    }

    pub fn stats(&self) -> Stats {
        let inner = &self.0;
        Stats {
            documents: inner.reader.searcher().num_docs(),
            generation: inner.generation,
            filled: inner.filled.load(Ordering::Acquire),
        }
    }

    /// Reads the whole index and compares checksums: the files that are damaged, none if all is well.
    pub async fn damaged_files(&self) -> Result<Vec<PathBuf>, EngineError> {
        self.blocking(|inner| {
            let mut files: Vec<_> =
                inner.index.validate_checksum().map_err(EngineError::Read)?.into_iter().collect();
            files.sort();
            Ok(files)
        })
        .await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, EngineError> {
        let inner = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || work(&inner)).await.map_err(|_| EngineError::Panicked)?
    }
}

impl Inner {
    /// A panic of an earlier holder leaves no broken state: the writer notes failure before it starts.
    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn opening(
    folder: PathBuf,
    work: impl FnOnce(&Path) -> Result<Inner, OpenError> + Send + 'static,
) -> Result<Engine, OpenError> {
    let place = folder.clone();
    let opened = tokio::task::spawn_blocking(move || work(&place)).await;
    // tantivy panics on some kinds of damage.
    opened.map_err(|_| OpenError::damaged(&folder, None))?.map(|inner| Engine(Arc::new(inner)))
}

#[cfg(test)]
mod tests;
