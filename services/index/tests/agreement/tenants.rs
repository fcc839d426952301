//! A tenant's answers are what they would be if there were no other.

use std::collections::BTreeSet;

use openarchive_domain::Tenant;
use openarchive_index::{
    Document,
    engine::{CursorError, Engine, SearchError},
    query::Query,
};

use crate::{
    agree::GENERATION,
    generate::{Random, TENANTS, document, query},
};

/// Two tenants, of whose mail half is the same to the byte.
fn documents(random: &mut Random) -> Vec<Document> {
    (0..240)
        .flat_map(|number| {
            let mut first = document(random, number);
            first.tenant = TENANTS[0].parse().unwrap();
            let mut second = if number % 2 == 0 { first.clone() } else { document(random, number + 1000) };
            second.tenant = TENANTS[1].parse().unwrap();
            [first, second]
        })
        .collect()
}

#[tokio::test]
async fn no_hit_count_or_page_of_a_tenant_depends_on_another() {
    let mut random = Random::seeded(77);
    let documents = documents(&mut random);
    let (shared_folder, alone_folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let shared = Engine::open(shared_folder.path(), GENERATION).await.unwrap();
    let alone = Engine::open(alone_folder.path(), GENERATION).await.unwrap();
    let (acme, globex): (Tenant, Tenant) = (TENANTS[0].parse().unwrap(), TENANTS[1].parse().unwrap());
    for batch in documents.chunks(96) {
        shared.index(batch.to_vec()).await.unwrap();
        let own = batch.iter().filter(|document| document.tenant == acme).cloned().collect();
        alone.index(own).await.unwrap();
    }
    let own: BTreeSet<_> = documents
        .iter()
        .filter(|document| document.tenant == acme)
        .map(|document| document.message)
        .collect();
    for _ in 0..200 {
        let text = query(&mut random, 2);
        let parsed = Query::parse(&text).unwrap();
        assert_eq!(
            shared.count(&acme, &parsed).await.unwrap(),
            alone.count(&acme, &parsed).await.unwrap(),
            "{text}"
        );
        let (mut cursor, mut cursor_alone) = (None, None);
        loop {
            let page = shared.search(&acme, &parsed, cursor, 40).await.unwrap();
            let expected = alone.search(&acme, &parsed, cursor_alone, 40).await.unwrap();
            assert_eq!((&page.hits, page.total), (&expected.hits, expected.total), "{text}");
            assert!(page.hits.iter().all(|hit| own.contains(&hit.message)), "{text}");
            assert_eq!(page.next.is_some(), expected.next.is_some(), "{text}");
            let (Some(next), Some(next_alone)) = (page.next, expected.next) else { break };
            cursor = Some(next.parse().unwrap());
            cursor_alone = Some(next_alone.parse().unwrap());
            // What pages through one tenant's mail is no way into another's.
            let elsewhere = shared.search(&globex, &parsed, cursor, 40).await;
            assert!(matches!(elsewhere, Err(SearchError::Cursor(CursorError::OtherQuery))));
        }
    }
}
