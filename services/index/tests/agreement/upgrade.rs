//! What another version left, what further observations bring, and what asks for too much.

use std::{collections::BTreeSet, fs};

use openarchive_domain::{Digest, Tenant};
use openarchive_index::{
    Document,
    engine::{ENDINGS_MAX, Engine, EngineError, Generation, OpenError, Outcome, SearchError},
    query::Query,
};

use crate::agree::GENERATION;

const LATER: Generation = Generation::from_bytes([10; 16]);

fn acme() -> Tenant {
    "acme".parse().unwrap()
}

fn mail(name: &str) -> Document {
    let mut document = Document::new(acme(), Digest::of(name.as_bytes()));
    document.subject = format!("report {name}");
    document.agents = vec!["mx1".into()];
    document.observations = 1;
    document
}

async fn count(engine: &Engine, query: &str) -> u64 {
    engine.count(&acme(), &Query::parse(query).unwrap()).await.unwrap()
}

/// The folder of an index that this version does not read: this version's own under another name.
async fn left_by_another_version(folder: &std::path::Path, format: &str) {
    let engine = Engine::open(folder, GENERATION).await.unwrap();
    engine.index(vec![mail("a")]).await.unwrap();
    assert!(engine.mark_filled(GENERATION).await.unwrap());
    drop(engine);
    fs::rename(folder.join("v2"), folder.join(format)).unwrap();
}

#[tokio::test]
async fn an_index_of_another_version_is_thrown_away_and_the_new_one_says_that_it_is_not_filled() {
    for format in ["v1", "v3"] {
        let folder = tempfile::tempdir().unwrap();
        left_by_another_version(folder.path(), format).await;
        fs::create_dir(folder.path().join("kept")).unwrap();
        let engine = Engine::open(folder.path(), LATER).await.unwrap();
        let stats = engine.stats();
        assert_eq!((stats.documents, stats.generation, stats.filled), (0, LATER, false));
        let names: BTreeSet<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["kept".into(), "v2".into()].into(), "nothing of its mail stays behind");
    }
}

#[tokio::test]
async fn an_index_that_another_process_of_another_version_has_open_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    left_by_another_version(folder.path(), "other").await;
    // Open where nothing looks for it, then moved: its lock goes along.
    fs::rename(folder.path().join("other"), folder.path().join("v2")).unwrap();
    let engine = Engine::open(folder.path(), LATER).await.unwrap();
    fs::rename(folder.path().join("v2"), folder.path().join("v1")).unwrap();
    assert!(matches!(Engine::open(folder.path(), LATER).await, Err(OpenError::InUse { .. })));
    assert!(folder.path().join("v1/meta.json").is_file());
    drop(engine);
    assert!(Engine::open(folder.path(), LATER).await.is_ok());
    assert!(!folder.path().join("v1").exists());
}

#[tokio::test]
async fn filled_is_remembered_with_the_index_and_said_only_of_the_one_that_was_meant() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::open(folder.path(), GENERATION).await.unwrap();
    assert!(!engine.mark_filled(LATER).await.unwrap());
    assert!(!engine.stats().filled);
    assert!(engine.mark_filled(GENERATION).await.unwrap());
    assert!(engine.stats().filled);
    engine.index(vec![mail("a")]).await.unwrap();
    drop(engine);
    let engine = Engine::open(folder.path(), LATER).await.unwrap();
    assert!(engine.stats().filled && engine.stats().generation == GENERATION);
    drop(engine);
    let engine = Engine::recreate(folder.path(), LATER).await.unwrap();
    assert!(!engine.stats().filled);
}

#[tokio::test]
async fn a_further_observation_takes_the_place_of_the_document_on_every_page() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::open(folder.path(), GENERATION).await.unwrap();
    engine.index(["a", "b", "c"].map(mail).to_vec()).await.unwrap();
    let report = Query::parse("report").unwrap();
    let first = engine.search(&acme(), &report, None, 1).await.unwrap();
    let mut again = mail("b");
    again.agents.push("mx2".into());
    again.observations = 2;
    assert_eq!(
        engine.index(vec![again.clone(), mail("d")]).await.unwrap(),
        [Outcome::Indexed, Outcome::Indexed]
    );
    assert_eq!((count(&engine, "agent:mx2").await, count(&engine, "agent:mx1").await), (1, 4));
    assert_eq!((count(&engine, "*").await, engine.stats().documents), (4, 4));

    // Whoever began to page before still sees each of the three, and nothing else.
    let mut shown: Vec<Digest> = first.hits.iter().map(|hit| hit.message).collect();
    let mut next = first.next;
    while let Some(cursor) = next {
        let page = engine.search(&acme(), &report, Some(cursor.parse().unwrap()), 1).await.unwrap();
        assert_eq!(page.total, 3);
        shown.extend(page.hits.iter().map(|hit| hit.message));
        next = page.next;
    }
    shown.sort();
    let mut expected = ["a", "b", "c"].map(|name| mail(name).message).to_vec();
    expected.sort();
    assert_eq!(shown, expected);

    // An older word comes late, and the same twice in one batch.
    assert_eq!(engine.index(vec![mail("b"), again.clone()]).await.unwrap(), [Outcome::Skipped; 2]);
    let mut third = again.clone();
    third.agents.push("mx3".into());
    third.observations = 3;
    let batch = vec![mail("e"), third.clone(), again, third];
    let outcomes = engine.index(batch).await.unwrap();
    assert_eq!(outcomes, [Outcome::Indexed, Outcome::Indexed, Outcome::Skipped, Outcome::Skipped]);
    assert_eq!((count(&engine, "agent:mx3 agent:mx2").await, count(&engine, "*").await), (1, 5));
}

#[tokio::test]
async fn a_phrase_that_ends_in_too_many_words_is_refused_and_not_answered_in_part() {
    let with = async |endings: usize| {
        let folder = tempfile::tempdir().unwrap();
        let engine = Engine::open(folder.path(), GENERATION).await.unwrap();
        let mut document = mail("a");
        document.body =
            format!("first {}", (0..endings).map(|n| format!("w{n}")).collect::<Vec<_>>().join(" "));
        engine.index(vec![document]).await.unwrap();
        (folder, engine)
    };
    let phrase = Query::parse("body:\"first w\"*").unwrap();
    let (_folder, engine) = with(ENDINGS_MAX).await;
    assert_eq!(engine.count(&acme(), &phrase).await.unwrap(), 1);
    let (_folder, engine) = with(ENDINGS_MAX + 1).await;
    assert!(matches!(engine.count(&acme(), &phrase).await, Err(EngineError::TooBroad)));
    let refused = engine.search(&acme(), &phrase, None, 1).await;
    assert!(matches!(refused, Err(SearchError::Engine(EngineError::TooBroad))));
    assert_eq!(count(&engine, "body:w*").await, 1, "a word alone has no such limit");
}
