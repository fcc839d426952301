//! The gRPC service over the engine: parse, call, map.

mod convert;
mod explain;
mod refuse;

use std::time::Instant;

use openarchive_domain::{Digest, Tenant};
use openarchive_proto::{
    index::v1::{
        CountRequest, CountResponse, DeleteMessagesRequest, DeleteMessagesResponse, DocumentResult,
        ExplainRequest, ExplainResponse, HighlightRequest, HighlightResponse, IndexMessagesRequest,
        IndexMessagesResponse, IndexStatusRequest, IndexStatusResponse, MarkFilledRequest,
        MarkFilledResponse, SearchRequest, SearchResponse,
        index_service_server::{IndexService, IndexServiceServer},
    },
    ingest::v1::{Scope, scope},
};
use openarchive_rpc::RPC_MESSAGE_BYTES_MAX;
use openarchive_telemetry::metrics;
use tonic::{Request, Response, Status};

use crate::{
    Document,
    engine::{Cursor, CursorError, Engine, EngineError, PAGE_HITS_MAX},
    highlight::{MailText, highlight},
    query::Query,
};

/// Most documents of one `IndexMessages` call.
pub const BATCH_DOCUMENTS_MAX: usize = 256;

/// Most mails of one `DeleteMessages` call.
pub const BATCH_DELETIONS_MAX: usize = 10_000;

/// Hits of a page if the caller does not say.
pub const PAGE_HITS_DEFAULT: usize = 50;

const _: () = assert!(PAGE_HITS_DEFAULT <= PAGE_HITS_MAX);

/// `openarchive.index.v1.IndexService` over an open engine.
#[derive(Clone)]
pub struct IndexServer {
    engine: Engine,
}

impl IndexServer {
    pub const fn new(engine: Engine) -> Self {
        Self { engine }
    }

    fn show_documents(&self) {
        metrics::INDEX_DOCUMENTS.set([], self.engine.stats().documents as f64);
    }

    /// As a service for a tonic server, with the size limits of the archive's gRPC.
    pub fn into_service(self) -> IndexServiceServer<Self> {
        self.show_documents();
        IndexServiceServer::new(self)
            .max_decoding_message_size(RPC_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(RPC_MESSAGE_BYTES_MAX)
    }
}

#[tonic::async_trait]
impl IndexService for IndexServer {
    /// A document that cannot be read or is too large is rejected alone; the others of the batch are indexed.
    async fn index_messages(
        &self,
        request: Request<IndexMessagesRequest>,
    ) -> Result<Response<IndexMessagesResponse>, Status> {
        let documents = request.into_inner().documents;
        if documents.len() > BATCH_DOCUMENTS_MAX {
            return Err(refuse::batch(documents.len(), BATCH_DOCUMENTS_MAX));
        }
        let mut results: Vec<Result<(), DocumentResult>> = Vec::with_capacity(documents.len());
        let mut good = Vec::with_capacity(documents.len());
        for document in documents {
            results.push(match Document::try_from(document) {
                Ok(document) => {
                    good.push(document);
                    Ok(())
                }
                Err(error) => Err(convert::rejected(&error)),
            });
        }
        let mut outcomes = self.engine.index(good).await.map_err(|error| refuse::engine(&error))?.into_iter();
        self.show_documents();
        let results = results.into_iter().filter_map(|result| match result {
            Ok(()) => outcomes.next().map(DocumentResult::from),
            Err(rejected) => Some(rejected),
        });
        Ok(Response::new(IndexMessagesResponse { results: results.collect() }))
    }

    async fn search(&self, request: Request<SearchRequest>) -> Result<Response<SearchResponse>, Status> {
        let SearchRequest { scope, tenant, query, cursor, limit } = request.into_inner();
        let (tenant, query) = read(scope.as_ref(), &tenant, &query)?;
        let cursor: Option<Cursor> = match cursor.as_str() {
            "" => None,
            text => Some(text.parse().map_err(refuse::cursor)?),
        };
        let limit = if limit == 0 { PAGE_HITS_DEFAULT } else { limit as usize };
        let started = Instant::now();
        let page = self.engine.search(&tenant, &query, cursor, limit).await.map_err(refuse::search)?;
        metrics::SEARCH_SECONDS.observe([], started.elapsed().as_secs_f64());
        Ok(Response::new(SearchResponse {
            hits: page.hits.into_iter().map(Into::into).collect(),
            total: page.total,
            next_cursor: page.next.unwrap_or_default(),
            canonical_query: query.to_string(),
        }))
    }

    async fn count(&self, request: Request<CountRequest>) -> Result<Response<CountResponse>, Status> {
        let CountRequest { scope, tenant, query } = request.into_inner();
        let (tenant, query) = read(scope.as_ref(), &tenant, &query)?;
        let started = Instant::now();
        let total = self.engine.count(&tenant, &query).await.map_err(|error| refuse::engine(&error))?;
        metrics::SEARCH_SECONDS.observe([], started.elapsed().as_secs_f64());
        Ok(Response::new(CountResponse { total }))
    }

    async fn explain(&self, request: Request<ExplainRequest>) -> Result<Response<ExplainResponse>, Status> {
        let ExplainRequest { scope, tenant, query } = request.into_inner();
        let (_, query) = read(scope.as_ref(), &tenant, &query)?;
        Ok(Response::new(explain::explain(&query)))
    }

    async fn highlight(
        &self,
        request: Request<HighlightRequest>,
    ) -> Result<Response<HighlightResponse>, Status> {
        let HighlightRequest { scope, tenant, query, mail } = request.into_inner();
        let (_, query) = read(scope.as_ref(), &tenant, &query)?;
        let mail = MailText::from(mail.unwrap_or_default());
        let found = tokio::task::spawn_blocking(move || highlight(&query, &mail)).await;
        let fragments = found.map_err(|_| refuse::engine(&EngineError::Panicked))?;
        Ok(Response::new(HighlightResponse { fragments: fragments.into_iter().map(Into::into).collect() }))
    }

    async fn delete_messages(
        &self,
        request: Request<DeleteMessagesRequest>,
    ) -> Result<Response<DeleteMessagesResponse>, Status> {
        let DeleteMessagesRequest { tenant, messages } = request.into_inner();
        if messages.len() > BATCH_DELETIONS_MAX {
            return Err(refuse::batch(messages.len(), BATCH_DELETIONS_MAX));
        }
        let tenant = parse_tenant(&tenant)?;
        let messages: Result<Vec<_>, _> = messages.iter().map(|bytes| Digest::try_from(&bytes[..])).collect();
        let messages = messages.map_err(|error| refuse::argument(&error))?;
        let deleted = self.engine.delete(&tenant, messages).await.map_err(|error| refuse::engine(&error))?;
        self.show_documents();
        Ok(Response::new(DeleteMessagesResponse { deleted }))
    }

    async fn index_status(
        &self,
        _: Request<IndexStatusRequest>,
    ) -> Result<Response<IndexStatusResponse>, Status> {
        let stats = self.engine.stats();
        Ok(Response::new(IndexStatusResponse {
            documents: stats.documents,
            generation: stats.generation.to_string(),
            filled: stats.filled,
        }))
    }

    async fn mark_filled(
        &self,
        request: Request<MarkFilledRequest>,
    ) -> Result<Response<MarkFilledResponse>, Status> {
        let generation = request.into_inner().generation.parse().map_err(|error| refuse::argument(&error))?;
        let marked = self.engine.mark_filled(generation).await.map_err(|error| refuse::engine(&error))?;
        if marked {
            Ok(Response::new(MarkFilledResponse {}))
        } else {
            Err(refuse::cursor(CursorError::IndexRebuilt))
        }
    }
}

/// What every read names: a scope (there is only `all` as yet), a tenant, a query.
fn read(scope: Option<&Scope>, tenant: &str, query: &str) -> Result<(Tenant, Query), Status> {
    let Some(Scope { kind: Some(scope::Kind::All(_)) }) = scope else {
        return Err(refuse::scope());
    };
    Ok((parse_tenant(tenant)?, Query::parse(query).map_err(refuse::query)?))
}

fn parse_tenant(text: &str) -> Result<Tenant, Status> {
    text.parse().map_err(|error| refuse::argument(&error))
}

#[cfg(test)]
mod tests;
