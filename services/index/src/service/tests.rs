use openarchive_proto::index::v1::{self, DocumentOutcome, index_service_client::IndexServiceClient};
use openarchive_rpc::{RpcChannel, has_reason, in_process};
use tonic::Code;

use super::*;
use crate::{
    engine::Generation,
    query::{QUERY_DEPTH_MAX, QUERY_TERMS_MAX},
};

struct Running {
    client: IndexServiceClient<RpcChannel>,
    _folder: tempfile::TempDir,
}

async fn start() -> Running {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::open(folder.path(), Generation::from_bytes([3; 16])).await.unwrap();
    let router = tonic::transport::Server::builder().add_service(IndexServer::new(engine).into_service());
    let client = IndexServiceClient::new(in_process(router)).max_encoding_message_size(RPC_MESSAGE_BYTES_MAX);
    Running { client, _folder: folder }
}

fn digest(name: &str) -> Vec<u8> {
    Digest::of(name.as_bytes()).as_bytes().to_vec()
}

fn document(name: &str, date_millis: i64) -> v1::Document {
    v1::Document {
        tenant: "acme".into(),
        message: digest(name).into(),
        from: vec![v1::Address { name: "Alice".into(), address: "alice@example.org".into() }],
        bcc: vec![v1::Address { name: String::new(), address: "secret@example.org".into() }],
        subject: format!("report {name}"),
        date_millis,
        ..v1::Document::default()
    }
}

fn search(query: &str) -> SearchRequest {
    let scope = Some(Scope { kind: Some(scope::Kind::All(scope::All {})) });
    SearchRequest { scope, tenant: "acme".into(), query: query.into(), ..SearchRequest::default() }
}

#[tokio::test]
async fn mail_is_indexed_found_page_by_page_counted_and_deleted() {
    let Running { mut client, _folder } = start().await;
    let mut with_file = document("b", 2000);
    with_file.attachments = vec!["plan.pdf".into()];
    let documents = vec![document("a", 1000), with_file, document("c", 3000), document("a", 1000)];
    let results =
        client.index_messages(IndexMessagesRequest { documents }).await.unwrap().into_inner().results;
    let outcomes: Vec<_> = results.iter().map(v1::DocumentResult::outcome).collect();
    assert_eq!(
        outcomes,
        [
            DocumentOutcome::Indexed,
            DocumentOutcome::Indexed,
            DocumentOutcome::Indexed,
            DocumentOutcome::Skipped
        ]
    );

    let mut request = SearchRequest { limit: 2, ..search("participant:secret@example.org AND report") };
    let first = client.search(request.clone()).await.unwrap().into_inner();
    assert_eq!(first.canonical_query, "participant:secret@example.org report");
    assert_eq!(first.total, 3);
    assert_eq!(first.hits.iter().map(|hit| hit.date_millis).collect::<Vec<_>>(), [3000, 2000]);
    request.cursor = first.next_cursor;
    let second = client.search(request).await.unwrap().into_inner();
    assert_eq!(second.hits.iter().map(|hit| hit.message.to_vec()).collect::<Vec<_>>(), [digest("a")]);
    assert_eq!((second.total, second.next_cursor.as_str()), (3, ""));

    let SearchRequest { scope, tenant, query, .. } = search("has:attachment");
    let count = client.count(CountRequest { scope, tenant, query }).await.unwrap().into_inner();
    assert_eq!(count.total, 1);
    let messages = vec![digest("a").into(), digest("nothing").into()];
    let deleted =
        client.delete_messages(DeleteMessagesRequest { tenant: "acme".into(), messages }).await.unwrap();
    assert_eq!(deleted.into_inner().deleted, 1);
    let status = client.index_status(IndexStatusRequest {}).await.unwrap().into_inner();
    assert_eq!((status.documents, status.generation), (2, "03".repeat(16)));
}

#[tokio::test]
async fn a_document_that_cannot_be_read_is_rejected_alone() {
    let Running { mut client, _folder } = start().await;
    let mut no_tenant = document("x", 0);
    no_tenant.tenant = "Not A Tenant".into();
    let mut no_digest = document("y", 0);
    no_digest.message = vec![1, 2, 3].into();
    let documents = vec![no_tenant, document("good", 0), no_digest];
    let results =
        client.index_messages(IndexMessagesRequest { documents }).await.unwrap().into_inner().results;
    let outcomes: Vec<_> = results.iter().map(v1::DocumentResult::outcome).collect();
    assert_eq!(outcomes, [DocumentOutcome::Rejected, DocumentOutcome::Indexed, DocumentOutcome::Rejected]);
    assert!(results[0].reason.contains("tenant") && results[2].reason.contains("32 bytes"));
}

#[tokio::test]
async fn what_is_wrong_with_a_search_is_said_with_a_reason() {
    let Running { mut client, _folder } = start().await;
    client
        .index_messages(IndexMessagesRequest { documents: vec![document("a", 1), document("b", 2)] })
        .await
        .unwrap();
    let next =
        client.search(SearchRequest { limit: 1, ..search("report") }).await.unwrap().into_inner().next_cursor;
    for (request, reason) in [
        (search("(report"), "QUERY_INVALID"),
        (search(""), "QUERY_INVALID"),
        (SearchRequest { scope: None, ..search("report") }, "SCOPE_MISSING"),
        (SearchRequest { scope: Some(Scope { kind: None }), ..search("report") }, "SCOPE_MISSING"),
        (SearchRequest { tenant: "A".into(), ..search("report") }, "ARGUMENT_INVALID"),
        (SearchRequest { cursor: "x".into(), ..search("report") }, "CURSOR_INVALID"),
        (SearchRequest { cursor: next, ..search("other") }, "CURSOR_OF_OTHER_QUERY"),
        (SearchRequest { limit: PAGE_HITS_MAX as u32 + 1, ..search("report") }, "LIMIT_INVALID"),
    ] {
        let status = client.search(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{reason}: {status:?}");
        assert!(has_reason(&status, reason), "{reason}: {status:?}");
    }
    assert!(client.search(SearchRequest { limit: PAGE_HITS_MAX as u32, ..search("report") }).await.is_ok());
}

#[tokio::test]
async fn every_read_names_its_scope_and_its_tenant() {
    let Running { mut client, _folder } = start().await;
    let SearchRequest { scope, tenant, query, .. } = search("report");
    for (scope, tenant, reason) in [
        (None, tenant.clone(), "SCOPE_MISSING"),
        (Some(Scope { kind: None }), tenant.clone(), "SCOPE_MISSING"),
        (scope, String::new(), "ARGUMENT_INVALID"),
    ] {
        let query = query.clone();
        let answers = [
            client
                .count(CountRequest { scope, tenant: tenant.clone(), query: query.clone() })
                .await
                .map(drop),
            client
                .explain(ExplainRequest { scope, tenant: tenant.clone(), query: query.clone() })
                .await
                .map(drop),
            client
                .highlight(HighlightRequest {
                    scope,
                    tenant: tenant.clone(),
                    query: query.clone(),
                    mail: None,
                })
                .await
                .map(drop),
            client.search(SearchRequest { scope, tenant, query, ..SearchRequest::default() }).await.map(drop),
        ];
        for answer in answers {
            let status = answer.unwrap_err();
            assert!(has_reason(&status, reason), "{reason}: {status:?}");
        }
    }
}

#[tokio::test]
async fn the_deepest_and_the_widest_query_are_explained() {
    let Running { mut client, _folder } = start().await;
    let deepest = (0..QUERY_DEPTH_MAX).fold("a".to_owned(), |inner, level| {
        format!("({} {inner})", if level % 2 == 0 { "b OR" } else { "c" })
    });
    let widest = vec!["a OR b"; QUERY_TERMS_MAX / 2].join(" ");
    for query in [deepest, widest] {
        let SearchRequest { scope, tenant, .. } = search("");
        let explained = client
            .explain(ExplainRequest { scope, tenant, query: query.clone() })
            .await
            .unwrap()
            .into_inner();
        assert_eq!(explained.canonical_query, Query::parse(&query).unwrap().to_string());
        assert!(explained.nodes.len() > QUERY_DEPTH_MAX);
    }
}

#[tokio::test]
async fn an_index_is_said_to_be_filled_only_by_its_own_name() {
    let Running { mut client, _folder } = start().await;
    let status = client.index_status(IndexStatusRequest {}).await.unwrap().into_inner();
    assert!(!status.filled);
    let other = MarkFilledRequest { generation: "04".repeat(16) };
    let refused = client.mark_filled(other).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(has_reason(&refused, "INDEX_REBUILT"), "{refused:?}");
    let unnamed = client.mark_filled(MarkFilledRequest { generation: String::new() }).await.unwrap_err();
    assert_eq!(unnamed.code(), Code::InvalidArgument);
    client.mark_filled(MarkFilledRequest { generation: status.generation }).await.unwrap();
    assert!(client.index_status(IndexStatusRequest {}).await.unwrap().into_inner().filled);
}

#[tokio::test]
async fn batches_have_limits_on_both_sides() {
    let Running { mut client, _folder } = start().await;
    let batch = |count: usize| IndexMessagesRequest {
        documents: (0..count).map(|number| document(&number.to_string(), 0)).collect(),
    };
    assert!(client.index_messages(batch(BATCH_DOCUMENTS_MAX)).await.is_ok());
    let status = client.index_messages(batch(BATCH_DOCUMENTS_MAX + 1)).await.unwrap_err();
    assert!(has_reason(&status, "BATCH_TOO_LARGE"), "{status:?}");
    let deletions = |count: usize| DeleteMessagesRequest {
        tenant: "acme".into(),
        messages: vec![digest("x").into(); count],
    };
    assert!(client.delete_messages(deletions(BATCH_DELETIONS_MAX)).await.is_ok());
    let status = client.delete_messages(deletions(BATCH_DELETIONS_MAX + 1)).await.unwrap_err();
    assert!(has_reason(&status, "BATCH_TOO_LARGE"), "{status:?}");

    let mut large = document("large", 0);
    large.body = "word ".repeat(30 * 1024 * 1024 / 5);
    let request = IndexMessagesRequest { documents: vec![large] };
    let results = client.index_messages(request).await.unwrap().into_inner().results;
    assert_eq!(results[0].outcome(), DocumentOutcome::Indexed);
}
