use std::{fs, path::PathBuf};

use openarchive_domain::Timestamp;

use super::*;
use crate::{Address, query::Query};

const FIRST: Generation = Generation::from_bytes([1; 16]);
const SECOND: Generation = Generation::from_bytes([2; 16]);

fn tenant(name: &str) -> Tenant {
    name.parse().unwrap()
}

fn document(tenant_name: &str, name: &str) -> Document {
    let mut document = Document::new(tenant(tenant_name), Digest::of(name.as_bytes()));
    document.subject = name.to_owned();
    document
}

fn query(text: &str) -> Query {
    Query::parse(text).unwrap()
}

async fn subjects_found(engine: &Engine, tenant_name: &str, text: &str) -> u64 {
    let page = engine.search(&tenant(tenant_name), &query(text), None, 10).await.unwrap();
    assert_eq!(engine.count(&tenant(tenant_name), &query(text)).await.unwrap(), page.total);
    page.total
}

#[tokio::test]
async fn indexing_again_skips_and_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::open(folder.path(), FIRST).await.unwrap();
    let batch = || vec![document("acme", "alpha"), document("acme", "beta"), document("acme", "alpha")];
    let outcomes = engine.index(batch()).await.unwrap();
    assert_eq!(outcomes, [Outcome::Indexed, Outcome::Indexed, Outcome::Skipped]);
    assert_eq!(engine.index(batch()).await.unwrap(), [Outcome::Skipped; 3]);
    drop(engine);

    let engine = Engine::open(folder.path(), SECOND).await.unwrap();
    assert_eq!(engine.stats(), Stats { documents: 2, generation: FIRST, filled: false });
    assert_eq!(engine.index(batch()).await.unwrap(), [Outcome::Skipped; 3]);
    assert_eq!(subjects_found(&engine, "acme", "alpha").await, 1);
}

#[tokio::test]
async fn tenants_see_only_their_own_mail_even_when_it_is_the_same_mail() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::open(folder.path(), FIRST).await.unwrap();
    engine
        .index(vec![document("acme", "shared"), document("other", "shared"), document("acme", "own")])
        .await
        .unwrap();
    for (name, text, total) in [
        ("acme", "*", 2),
        ("other", "*", 1),
        ("acme", "NOT shared", 1),
        ("other", "NOT shared", 0),
        ("nobody", "*", 0),
        ("acme", "a* OR * OR NOT own", 2),
    ] {
        assert_eq!(subjects_found(&engine, name, text).await, total, "{name} {text}");
    }
    assert_eq!(
        engine.delete(&tenant("other"), vec![Digest::of(b"shared"), Digest::of(b"own")]).await.unwrap(),
        1
    );
    assert_eq!(subjects_found(&engine, "other", "*").await, 0);
    assert_eq!(subjects_found(&engine, "acme", "*").await, 2);
}

#[tokio::test]
async fn deleted_mail_is_gone_and_can_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::open(folder.path(), FIRST).await.unwrap();
    engine.index(vec![document("acme", "alpha"), document("acme", "beta")]).await.unwrap();
    let beta = vec![Digest::of(b"beta"), Digest::of(b"beta")];
    assert_eq!(engine.delete(&tenant("acme"), beta.clone()).await.unwrap(), 1);
    assert_eq!(engine.delete(&tenant("acme"), beta).await.unwrap(), 0);
    assert_eq!((subjects_found(&engine, "acme", "beta").await, engine.stats().documents), (0, 1));
    drop(engine);
    let engine = Engine::open(folder.path(), SECOND).await.unwrap();
    assert_eq!(engine.index(vec![document("acme", "beta")]).await.unwrap(), [Outcome::Indexed]);
    assert_eq!(subjects_found(&engine, "acme", "beta").await, 1);
}

#[tokio::test]
async fn a_sequence_is_not_used_again_after_its_mail_was_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let mut engine = Engine::open(folder.path(), FIRST).await.unwrap();
    engine.index(vec![document("acme", "a"), document("acme", "b"), document("acme", "c")]).await.unwrap();
    let first = engine.search(&tenant("acme"), &query("*"), None, 1).await.unwrap();
    let shown = first.hits[0].message;
    let rest: Vec<_> =
        ["a", "b", "c"].map(|name| Digest::of(name.as_bytes())).into_iter().filter(|d| *d != shown).collect();
    engine.delete(&tenant("acme"), rest).await.unwrap();
    drop(engine);
    engine = Engine::open(folder.path(), FIRST).await.unwrap();
    engine.index((0..20).map(|n| document("acme", &format!("later {n}"))).collect()).await.unwrap();
    let cursor = first.next.unwrap().parse().unwrap();
    let second = engine.search(&tenant("acme"), &query("*"), Some(cursor), 10).await.unwrap();
    assert_eq!((second.hits, second.next), (vec![], None));
}

#[tokio::test]
async fn one_bad_document_does_not_hold_up_a_batch() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::open(folder.path(), FIRST).await.unwrap();
    let mut huge = document("acme", "huge");
    huge.body = "x".repeat(crate::DOCUMENT_BYTES_MAX);
    let mut long = document("acme", "long");
    long.body = format!("{} needle", "word ".repeat(crate::BODY_BYTES_MAX / 5));
    long.participants = vec![Address::new("x".repeat(100_000), "@".repeat(100_000))];
    long.message_id = Some("y".repeat(100_000));
    long.date = Some(Timestamp::from_millis(i64::MIN));
    let bytes = crate::DOCUMENT_BYTES_MAX + "huge".len();
    let outcomes = engine.index(vec![huge, document("acme", "good"), long]).await.unwrap();
    assert_eq!(outcomes, [Outcome::Rejected(TooLarge { bytes }), Outcome::Indexed, Outcome::Indexed]);
    assert_eq!(subjects_found(&engine, "acme", "good").await, 1);
    let page = engine.search(&tenant("acme"), &query("long word"), None, 10).await.unwrap();
    assert!(page.hits[0].partly_indexed && page.hits[0].date.is_some());
    assert_eq!(subjects_found(&engine, "acme", "needle").await, 0);
}

#[tokio::test]
async fn a_page_has_a_bounded_number_of_hits() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::open(folder.path(), FIRST).await.unwrap();
    let (acme, all) = (tenant("acme"), query("*"));
    for (limit, allowed) in [(0, false), (1, true), (PAGE_HITS_MAX, true), (PAGE_HITS_MAX + 1, false)] {
        assert_eq!(engine.search(&acme, &all, None, limit).await.is_ok(), allowed, "{limit}");
    }
}

#[tokio::test]
async fn a_cursor_of_a_rebuilt_index_or_another_query_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::open(folder.path(), FIRST).await.unwrap();
    let batch = || vec![document("acme", "alpha"), document("acme", "beta")];
    engine.index(batch()).await.unwrap();
    let next = engine.search(&tenant("acme"), &query("*"), None, 1).await.unwrap().next.unwrap();
    let cursor: Cursor = next.parse().unwrap();
    let refused = async |engine: &Engine, name: &str, text: &str| match engine
        .search(&tenant(name), &query(text), Some(cursor), 1)
        .await
    {
        Err(SearchError::Cursor(error)) => error,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(&engine, "acme", "alpha").await, CursorError::OtherQuery);
    assert_eq!(refused(&engine, "other", "*").await, CursorError::OtherQuery);
    drop(engine);
    let engine = Engine::recreate(folder.path(), SECOND).await.unwrap();
    assert_eq!(engine.stats(), Stats { documents: 0, generation: SECOND, filled: false });
    engine.index(batch()).await.unwrap();
    assert_eq!(refused(&engine, "acme", "*").await, CursorError::IndexRebuilt);
}

#[tokio::test]
async fn an_index_is_open_only_once() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::open(folder.path(), FIRST).await.unwrap();
    engine.index(vec![document("acme", "alpha")]).await.unwrap();
    assert!(matches!(Engine::open(folder.path(), SECOND).await, Err(OpenError::InUse { .. })));
    assert!(matches!(Engine::recreate(folder.path(), SECOND).await, Err(OpenError::InUse { .. })));
    assert_eq!(subjects_found(&engine, "acme", "alpha").await, 1);
}

/// The files of the index that have this ending.
fn files(folder: &std::path::Path, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder.join("v2")).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.to_string_lossy().ends_with(ending)).collect()
}

async fn check_damage(damage: impl Fn(&std::path::Path)) {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::open(folder.path(), FIRST).await.unwrap();
    engine.index(vec![document("acme", "alpha")]).await.unwrap();
    drop(engine);
    damage(folder.path());
    match Engine::open(folder.path(), SECOND).await {
        Err(OpenError::Damaged { .. }) => {}
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("damage was not seen"),
    }
    let engine = Engine::recreate(folder.path(), SECOND).await.unwrap();
    assert_eq!(engine.stats(), Stats { documents: 0, generation: SECOND, filled: false });
    assert_eq!(engine.index(vec![document("acme", "alpha")]).await.unwrap(), [Outcome::Indexed]);
    assert_eq!(subjects_found(&engine, "acme", "alpha").await, 1);
}

#[tokio::test]
async fn a_damaged_index_is_refused_and_can_be_recreated() {
    check_damage(|folder| fs::remove_file(folder.join("v2/meta.json")).unwrap()).await;
    check_damage(|folder| fs::write(folder.join("v2/meta.json"), "{").unwrap()).await;
    check_damage(|folder| {
        let meta = folder.join("v2/meta.json");
        let text = fs::read_to_string(&meta).unwrap().replace("openarchive-index v2", "openarchive-index v9");
        fs::write(&meta, text).unwrap();
    })
    .await;
    for ending in [".term", ".idx", ".fast"] {
        check_damage(|folder| {
            for path in files(folder, ending) {
                fs::remove_file(path).unwrap();
            }
        })
        .await;
        check_damage(|folder| {
            for path in files(folder, ending) {
                fs::write(path, b"short").unwrap();
            }
        })
        .await;
    }
}

#[tokio::test]
async fn a_lost_index_is_made_anew_and_says_so_by_its_generation() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::open(folder.path(), FIRST).await.unwrap();
    engine.index(vec![document("acme", "alpha")]).await.unwrap();
    drop(engine);
    fs::remove_dir_all(folder.path().join("v2")).unwrap();
    let engine = Engine::open(folder.path(), SECOND).await.unwrap();
    assert_eq!(engine.stats(), Stats { documents: 0, generation: SECOND, filled: false });
}

#[tokio::test]
async fn changed_bytes_are_found_by_their_checksums() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::open(folder.path(), FIRST).await.unwrap();
    engine.index(vec![document("acme", "alpha")]).await.unwrap();
    assert_eq!(engine.damaged_files().await.unwrap(), Vec::<PathBuf>::new());
    let path = files(folder.path(), ".idx").remove(0);
    let mut bytes = fs::read(&path).unwrap();
    bytes[0] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert_eq!(engine.damaged_files().await.unwrap(), [PathBuf::from(path.file_name().unwrap())]);
}

#[tokio::test]
async fn after_a_failed_write_the_writer_comes_back_at_the_last_commit() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::open(folder.path(), FIRST).await.unwrap();
    engine.index(vec![document("acme", "alpha")]).await.unwrap();
    let failed = engine
        .blocking(|inner| {
            inner.writer().transaction::<()>(inner, |writer, sequence, _| {
                let mut half = tantivy::TantivyDocument::new();
                half.add_u64(inner.fields.sequence, *sequence);
                *sequence += 1;
                writer.add_document(half)?;
                Err(tantivy::TantivyError::InternalError("as if the disk were full".to_owned()))
            })
        })
        .await;
    assert!(matches!(failed, Err(EngineError::Write(_))));
    let panicked = engine
        .blocking(|inner| {
            inner.writer().transaction::<()>(inner, |_, _, _| panic!("as if an engine thread had died"))
        })
        .await;
    assert!(matches!(panicked, Err(EngineError::Panicked)));
    let batch = vec![document("acme", "alpha"), document("acme", "beta")];
    assert_eq!(engine.index(batch).await.unwrap(), [Outcome::Skipped, Outcome::Indexed]);
    assert_eq!(engine.stats().documents, 2);
}
