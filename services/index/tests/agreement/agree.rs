use crate::generate::{self, Random, TENANTS, documents, query};
use openarchive_domain::Tenant;
use openarchive_index::{
    Document,
    engine::{Engine, Generation, Hit, PAGE_HITS_MAX},
    query::Query,
    scan::Scan,
};

pub(crate) const GENERATION: Generation = Generation::from_bytes([9; 16]);

/// All hits by paging, and the total that every page named.
async fn all_hits(engine: &Engine, tenant: &Tenant, query: &Query, limit: usize) -> Vec<Hit> {
    let mut hits = Vec::new();
    let mut cursor = None;
    loop {
        let page = engine.search(tenant, query, cursor, limit).await.unwrap();
        hits.extend(page.hits);
        let Some(next) = page.next else {
            assert_eq!(page.total, hits.len() as u64, "{query}");
            return hits;
        };
        assert!(page.total > hits.len() as u64, "{query}");
        cursor = Some(next.parse().unwrap());
    }
}

/// In several commits, so that there are several segments and some deletions.
async fn fill(engine: &Engine, documents: &[Document]) {
    for batch in documents.chunks(97) {
        engine.index(batch.to_vec()).await.unwrap();
    }
    let again: Vec<_> = documents.iter().step_by(7).cloned().collect();
    for document in &again {
        engine.delete(&document.tenant, vec![document.message]).await.unwrap();
    }
    engine.index(again).await.unwrap();
}

#[tokio::test]
async fn the_engine_and_the_reference_agree_on_random_queries() {
    let mut random = Random::seeded(2024);
    let documents = documents(&mut random, 500);
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::open(folder.path(), GENERATION).await.unwrap();
    fill(&engine, &documents).await;
    let mut scan = Scan::default();
    for document in &documents {
        scan.add(document.clone()).unwrap();
    }

    let (mut some, mut none) = (0, 0);
    for round in 0..800 {
        let text = query(&mut random, 3);
        let parsed = Query::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let tenant: Tenant = random.pick(&TENANTS).parse().unwrap();
        let expected = scan.search(&tenant, &parsed);
        let limit = [1 + random.below(20), PAGE_HITS_MAX][usize::from(round % 4 != 0)];
        let found = all_hits(&engine, &tenant, &parsed, limit).await;
        assert_eq!(found, expected, "round {round}: {text} for {tenant}");
        assert_eq!(engine.count(&tenant, &parsed).await.unwrap(), expected.len() as u64, "{text}");
        if expected.is_empty() { none += 1 } else { some += 1 }
    }
    assert!(some > 350 && none > 40, "the queries say something: {some} with hits, {none} without");
}

/// One mail with everything, and whether a query finds it: by reference, and by the engine.
#[tokio::test]
async fn queries_mean_what_the_grammar_says() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::open(folder.path(), GENERATION).await.unwrap();
    let document = generate::one_with_everything();
    engine.index(vec![document.clone()]).await.unwrap();
    for (text, found) in [
        ("quartalsbericht", true),
        ("QUARTALSBERICHT größe", true),
        ("\"der Größe nach\"", true),
        ("\"nach der größe\"", false),
        ("quartal", false),
        ("quartal*", true),
        ("\"der gro\"*", true),
        ("from:müller", true),
        ("from:MULLER", true),
        ("from:\"Jürgen Müller\"", true),
        ("from:\"müller j\"", false),
        ("from:j.mueller@example.org", true),
        ("from:<J.Mueller@Example.ORG>", true),
        ("from:j.mueller@example.or", false),
        ("from:j.mueller@example.or*", true),
        ("from:j.mue*", true),
        ("from:j.mueller", true),
        ("from:example.org", true),
        ("from:@example.org", true),
        ("from:@example*", true),
        ("from:exam*", true),
        ("from:org", false),
        ("to:example.org", false),
        ("j.mueller@example.org", true),
        ("cc:carol bcc:dave to:bob", true),
        ("cc:dave", false),
        ("participant:dave participant:envelope@mail.example", true),
        ("bcc:envelope@mail.example", false),
        ("envelope@mail.example", true),
        ("attachment:rechnung attachment:pdf", true),
        ("attachment:rechnung_2024.pdf", true),
        ("attachment:\"pdf logo\"", false),
        ("has:attachment", true),
        ("message-id:<CAF+1=x@mail.example>", true),
        ("message-id:caf+1=x@mail.example", true),
        ("message-id:caf*", true),
        ("message-id:mail.example", false),
        ("date:2024-02-29", true),
        ("date:2024-02-28", false),
        ("date:2024-02-01..2024-02-29 after:2024-02-29", true),
        ("before:2024-02-29 OR after:2024-03-01", false),
        ("subject:本語", true),
        ("subject:日本語の", true),
        ("subject:日語", false),
        ("subject:日*", true),
        ("body:שלום", true),
        ("body:محمد", true),
        ("body:subject", false),
        ("\"nach größe\"~0", true),
        ("\"größe nur\"~1", true),
        ("\"größe nur\"~0", false),
        ("\"nach nach\"~9", false),
        ("body:\"nur nach shalom\"~3", false),
        ("body:\"nur nach שלום\"~2", true),
        ("body:\"nur nach שלום\"~1", false),
        ("attachment:\"2024 rechnung\"~0", true),
        ("attachment:\"png pdf\"~100", false),
        ("\"quartalsbericht größe\"~100", false),
        ("from:\"müller jürgen\"~0", true),
        ("from:\"mueller jürgen\"~100", false),
        ("participant:\"bob jürgen\"~100", false),
        ("size:10kib", true),
        ("size:>10kib", false),
        ("size:>=10kib size:<=10240", true),
        ("size:<10kib", false),
        ("size:10kb..11kb", true),
        ("size:..10239 OR size:10241..", false),
        ("agent:mx1 agent:MX-2", true),
        ("agent:mx", false),
        ("agent:mx*", true),
        ("agent:2", false),
        ("mx1", false),
        ("-missing", true),
        ("quartalsbericht -größe", false),
        ("missing OR (größe AND NOT missing)", true),
        ("*", true),
        ("-*", false),
    ] {
        let query = Query::parse(text).unwrap();
        assert_eq!(openarchive_index::scan::matches(&document, &query), found, "reference: {text}");
        let count = engine.count(&document.tenant, &query).await.unwrap();
        assert_eq!(count, u64::from(found), "engine: {text}");
    }
}
