use std::{
    collections::{HashMap, HashSet},
    sync::atomic::Ordering,
};

use openarchive_domain::{Digest, Tenant};
use tantivy::{
    DocSet as _, Index, IndexWriter, Searcher, TERMINATED, TantivyDocument, TantivyError, Term,
    indexer::IndexWriterOptions, schema::IndexRecordOption,
};

use super::{
    EngineError, Inner, Outcome,
    open::Header,
    schema::{Fields, HAS_ATTACHMENT, NO_DATE, OBSERVATIONS, SEQUENCE, digest_words, identity},
    tokens::{of_address, of_text},
};
use crate::{Document, analyser::normalise_message_id};

/// What tantivy may hold in memory before it writes a segment, in bytes.
pub(super) const WRITER_MEMORY_BYTES: usize = 64 * 1024 * 1024;

/// The one writer of an index.
pub(super) struct Writer {
    /// `None` after a failure: it is opened anew, at the last commit, by whoever writes next.
    tantivy: Option<IndexWriter>,
    /// Never given out twice, not even after a failure.
    next_sequence: u64,
}

impl Writer {
    pub(super) fn new(tantivy: IndexWriter, next_sequence: u64) -> Self {
        Self { tantivy: Some(tantivy), next_sequence }
    }

    /// Takes the index's lock, which is freed with the writer.
    pub(super) fn open(index: &Index) -> tantivy::Result<IndexWriter> {
        let options = IndexWriterOptions::builder()
            .num_worker_threads(1)
            .num_merge_threads(1)
            .memory_budget_per_thread(WRITER_MEMORY_BYTES)
            .build();
        index.writer_with_options(options)
    }

    pub(super) fn index(
        &mut self,
        inner: &Inner,
        documents: Vec<Document>,
    ) -> Result<Vec<Outcome>, EngineError> {
        self.transaction(inner, |writer, sequence, searcher| {
            let mut outcomes = Vec::with_capacity(documents.len());
            let mut in_batch = HashMap::new();
            for mut document in documents {
                if let Err(reason) = document.cut_to_limits() {
                    outcomes.push(Outcome::Rejected(reason));
                    continue;
                }
                let term = inner.fields.identity_term(&document.tenant, &document.message);
                let known = match in_batch.get(&term) {
                    Some(known) => Some(*known),
                    None => find(searcher, &term)?,
                };
                // What takes another's place takes its sequence too: searches that began before still show it.
                let place = match known {
                    Some(known) if known.observations >= document.observations => {
                        outcomes.push(Outcome::Skipped);
                        continue;
                    }
                    Some(known) => {
                        writer.delete_term(term.clone());
                        known.sequence
                    }
                    None => {
                        *sequence += 1;
                        *sequence - 1
                    }
                };
                writer.add_document(tantivy_document(&inner.fields, &document, place))?;
                in_batch.insert(term, Known { sequence: place, observations: document.observations });
                outcomes.push(Outcome::Indexed);
            }
            Ok((outcomes, !in_batch.is_empty()))
        })
    }

    pub(super) fn delete(
        &mut self,
        inner: &Inner,
        tenant: &Tenant,
        messages: &[Digest],
    ) -> Result<u64, EngineError> {
        self.transaction(inner, |writer, _, searcher| {
            let mut deleted = HashSet::new();
            for message in messages {
                let term = inner.fields.identity_term(tenant, message);
                if find(searcher, &term)?.is_some() && deleted.insert(term.clone()) {
                    writer.delete_term(term);
                }
            }
            Ok((deleted.len() as u64, !deleted.is_empty()))
        })
    }

    pub(super) fn mark_filled(&mut self, inner: &Inner) -> Result<(), EngineError> {
        inner.filled.store(true, Ordering::Release);
        let marked = self.transaction(inner, |_, _, _| Ok(((), true)));
        if marked.is_err() {
            inner.filled.store(false, Ordering::Release);
        }
        marked
    }

    /// Runs `work`, which says whether it changed anything; then commits and makes the change visible. After an
    /// error (or a panic) nothing of `work` is kept, except when only the answer of the commit was lost.
    pub(super) fn transaction<T>(
        &mut self,
        inner: &Inner,
        work: impl FnOnce(&mut IndexWriter, &mut u64, &Searcher) -> tantivy::Result<(T, bool)>,
    ) -> Result<T, EngineError> {
        let mut writer = self.take(inner).map_err(EngineError::Write)?;
        let searcher = inner.reader.searcher();
        let done = work(&mut writer, &mut self.next_sequence, &searcher).and_then(|(answer, changed)| {
            if changed {
                let header = Header {
                    generation: inner.generation,
                    next_sequence: self.next_sequence,
                    filled: inner.filled.load(Ordering::Acquire),
                };
                let mut commit = writer.prepare_commit()?;
                commit.set_payload(&header.to_string());
                commit.commit()?;
                inner.reader.reload()?;
            }
            Ok(answer)
        });
        if done.is_ok() {
            self.tantivy = Some(writer);
        }
        done.map_err(EngineError::Write)
    }

    /// Takes the writer out: it is put back only when all went well. With a new one the reader is brought up to
    /// date, so that nothing is taken for missing that a failed call did commit.
    fn take(&mut self, inner: &Inner) -> tantivy::Result<IndexWriter> {
        if let Some(writer) = self.tantivy.take() {
            return Ok(writer);
        }
        let writer = Self::open(&inner.index)?;
        inner.reader.reload()?;
        Ok(writer)
    }
}

/// What the index knows of a document that it holds.
#[derive(Debug, Clone, Copy)]
struct Known {
    sequence: u64,
    observations: u64,
}

fn find(searcher: &Searcher, identity: &Term) -> Result<Option<Known>, TantivyError> {
    for segment in searcher.segment_readers() {
        let inverted = segment.inverted_index(identity.field())?;
        let Some(mut postings) = inverted.read_postings(identity, IndexRecordOption::Basic)? else {
            continue;
        };
        let mut doc = postings.doc();
        while doc != TERMINATED {
            if !segment.is_deleted(doc) {
                let column = |name| segment.fast_fields().column_first_or_default::<u64>(name);
                let (sequence, observations) =
                    (column(SEQUENCE)?.get_val(doc), column(OBSERVATIONS)?.get_val(doc));
                return Ok(Some(Known { sequence, observations }));
            }
            doc = postings.advance();
        }
    }
    Ok(None)
}

fn tantivy_document(fields: &Fields, document: &Document, sequence: u64) -> TantivyDocument {
    let mut out = TantivyDocument::new();
    out.add_bytes(fields.identity, &identity(&document.tenant, &document.message));
    out.add_bytes(fields.tenant, document.tenant.as_str().as_bytes());
    for (field, addresses) in [
        (fields.from, &document.from),
        (fields.to, &document.to),
        (fields.cc, &document.cc),
        (fields.bcc, &document.bcc),
    ] {
        for address in addresses {
            out.add_pre_tokenized_text(field, of_address(address));
        }
    }
    for address in document.all_participants() {
        out.add_pre_tokenized_text(fields.participant, of_address(address));
    }
    out.add_text(fields.subject, &document.subject);
    out.add_text(fields.body, &document.body);
    for name in &document.attachments {
        out.add_pre_tokenized_text(fields.attachment, of_text(name));
    }
    if let Some(id) = document.message_id.as_deref().map(normalise_message_id).filter(|id| !id.is_empty()) {
        out.add_text(fields.message_id, id);
    }
    for name in &document.agents {
        out.add_text(fields.agent, name);
    }
    out.add_u64(fields.length, document.length);
    out.add_u64(fields.observations, document.observations);
    if document.has_attachment {
        out.add_u64(fields.has_attachment, HAS_ATTACHMENT);
    }
    let date = document.date.map_or(NO_DATE, |date| date.as_millis().max(NO_DATE + 1));
    out.add_i64(fields.date, date);
    out.add_u64(fields.sequence, sequence);
    out.add_u64(fields.partly_indexed, u64::from(document.partly_indexed));
    for (field, word) in fields.digest.into_iter().zip(digest_words(&document.message)) {
        out.add_u64(field, word);
    }
    out
}
