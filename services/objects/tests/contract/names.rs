use super::key;
use crate::Subject;

/// In byte order, with names that sort otherwise when folders are walked naively.
const SORTED: [&str; 9] =
    ["a-b/x", "a.b", "a/0", "a/1/2", "a/10", "a0", "b/tile/x001/067", "b/tile/x001/067.p/8", "c"];

async fn filled(subject: &Subject) {
    for name in SORTED.iter().rev() {
        subject.store.create(&key(name), b"abc".to_vec(), None).await.unwrap();
    }
}

pub(crate) async fn a_listing_is_in_byte_order_and_only_of_the_prefix(subject: Subject) {
    filled(&subject).await;
    for prefix in ["", "a", "a/", "a/1", "b/tile/x001/067", "b/t", "c", "c/", "d", "/", ".."] {
        let expected: Vec<_> =
            SORTED.iter().filter(|name| name.starts_with(prefix)).map(|n| key(n)).collect();
        assert_eq!(subject.store.list(prefix).await.unwrap(), expected, "{prefix}");
    }
}

pub(crate) async fn pages_together_are_the_listing(subject: Subject) {
    filled(&subject).await;
    for prefix in ["", "a", "a/", "b/"] {
        let whole = subject.store.list(prefix).await.unwrap();
        for limit in 1..=SORTED.len() + 1 {
            let mut paged = Vec::new();
            loop {
                let page = subject.store.list_page(prefix, paged.last(), limit).await.unwrap();
                let last = page.len() < limit;
                paged.extend(page);
                if last {
                    break;
                }
            }
            assert_eq!(paged, whole, "{prefix} {limit}");
        }
        for after in SORTED {
            let expected: Vec<_> = whole.iter().filter(|k| **k > key(after)).cloned().collect();
            assert_eq!(
                subject.store.list_page(prefix, Some(&key(after)), 100).await.unwrap(),
                expected,
                "{after}"
            );
        }
    }
}
