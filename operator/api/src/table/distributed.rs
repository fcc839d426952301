//! ArchiveCore, profile Distributed.

use serde_json::{Value, json};

use super::{Row, archive_core::metadata, rows::Rows};
use crate::Kind;

pub(super) fn object_store() -> Value {
    json!({
        "endpoint": "https://s3.example.org",
        "bucket": "mail-packs",
        "keyBucket": "mail-keys",
        "secretRef": {"name": "s3"},
        "cidrs": ["198.51.100.0/24"],
    })
}

fn base() -> Value {
    json!({
        "apiVersion": "openarchive.dev/v1alpha1",
        "kind": "ArchiveCore",
        "metadata": metadata("mail"),
        "spec": {
            "domain": "archive.example.org",
            "tenants": [{"name": "acme", "domains": ["example.org"]}],
            "profile": "Distributed",
            "version": "0.1.0",
            "services": {
                "ingest": {"replicas": 3, "resources": {"requests": {"cpu": "500m"}}},
                "storage": {"replicas": 2},
                "index": {"replicas": 2},
                "trust": {"replicas": 1},
                "gateway": {"replicas": 2},
                "worker": {"replicas": 2},
            },
            "database": {"adminSecretRef": {"name": "postgres"}, "cidrs": ["192.0.2.0/28"]},
            "objectStore": object_store(),
            "search": {"elasticsearch": {
                "urls": ["https://es-0.search.svc:9200"],
                "secretRef": {"name": "elasticsearch"},
                "cidrs": ["203.0.113.0/24"],
            }},
            "retention": {"default": "6y-yearend-permitted"},
        },
    })
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Rows::new(Kind::ArchiveCore, "a whole Distributed archive", base());
    services(&mut rows);
    stores(&mut rows);
    search(&mut rows);
    profiles(&mut rows);
    changes(&mut rows);
    rows.done()
}

fn services(rows: &mut Rows) {
    for role in ["ingest", "storage", "index", "gateway", "worker"] {
        rows.numbers(&format!("/spec/services/{role}/replicas"), (1, 50));
    }
    for role in ["ingest", "storage", "index", "gateway", "worker", "trust"] {
        let at = format!("/spec/services/{role}");
        rows.closed(&[&at, &format!("{at}/resources")]);
        rows.wrong_type(&[&at], "object", &json!(3));
        rows.wrong_type(&[&format!("{at}/replicas")], "integer", &json!("3"));
    }
    rows.closed(&["/spec/services"]);
    rows.accepted("a service without replicas has one", &[("/spec/services/trust", json!({}))]);
    let one = ("spec.services", "trust has one replica");
    rows.refused("two trusts", one, &[("/spec/services/trust/replicas", json!(2))]);
    rows.refused("fifty trusts", one, &[("/spec/services/trust/replicas", json!(50))]);
    let at = "spec.services.trust.replicas";
    for (count, words) in
        [(0, "should be greater than or equal to 1"), (51, "should be less than or equal to 50")]
    {
        let edit = ("/spec/services/trust/replicas", json!(count));
        rows.refused(&format!("{count} trusts"), (at, words), &[edit]);
    }
    let index = ("spec", "index has one replica without search.elasticsearch");
    rows.refused("two indexes without Elasticsearch", index, &[("/spec/search", Value::Null)]);
    rows.accepted(
        "one index without Elasticsearch",
        &[("/spec/search", Value::Null), ("/spec/services/index", json!({}))],
    );
    rows.accepted("no word of services", &[("/spec/services", Value::Null), ("/spec/search", Value::Null)]);
}

fn stores(rows: &mut Rows) {
    rows.required(&["/spec/database/adminSecretRef", "/spec/database/adminSecretRef/name"]);
    rows.object_name("/spec/database/adminSecretRef/name");
    rows.cidrs("/spec/database/cidrs");
    let store = "/spec/objectStore";
    for field in ["endpoint", "bucket", "keyBucket", "secretRef", "secretRef/name"] {
        rows.required(&[&format!("{store}/{field}")]);
    }
    rows.closed(&["/spec/database", "/spec/database/adminSecretRef", store, "/spec/objectStore/secretRef"]);
    rows.object_name("/spec/objectStore/secretRef/name");
    rows.cidrs("/spec/objectStore/cidrs");
    for bucket in ["/spec/objectStore/bucket", "/spec/objectStore/keyBucket"] {
        rows.lengths(bucket, (3, 63), |length| "b".repeat(length));
        rows.pattern(bucket, &["a-b", "a.b", "123"], &["Abc", "a_b", "-ab", "ab-", "a b"]);
    }
    url(rows, "/spec/objectStore/endpoint");
    let same = ("spec.objectStore", "keyBucket must be another bucket");
    rows.refused("one bucket for all", same, &[("/spec/objectStore/keyBucket", json!("mail-packs"))]);
}

fn url(rows: &mut Rows, pointer: &str) {
    rows.longest(pointer, 512, |length| format!("https://{}", "h".repeat(length - 8)));
    rows.pattern(
        pointer,
        &[
            "https://s3.example.org",
            "http://10.0.0.1:9000",
            "https://s3.example.org/",
            "https://[2001:db8::1]:9000",
        ],
        &[
            "s3.example.org",
            "ftp://s3.example.org",
            "https://",
            "https://s3/a",
            "https://u:p@s3",
            "https://s3?a",
            "",
        ],
    );
    rows.pattern(pointer, &[], &["https://s3 ", "https://s3\n", "https://s3#a", "HTTPS://s3"]);
}

fn search(rows: &mut Rows) {
    let at = "/spec/search/elasticsearch";
    rows.required(&[at, "/spec/search/elasticsearch/urls", "/spec/search/elasticsearch/secretRef/name"]);
    rows.closed(&["/spec/search", at, "/spec/search/elasticsearch/secretRef"]);
    let urls = "/spec/search/elasticsearch/urls";
    let node = |index| json!(format!("https://es-{index}.search.svc:9200"));
    rows.fewest(urls, 1, node);
    rows.most(urls, 16, node);
    rows.duplicate(urls, &json!("https://es-0.search.svc:9200"));
    url(rows, "/spec/search/elasticsearch/urls/0");
    rows.object_name("/spec/search/elasticsearch/secretRef/name");
    rows.cidrs("/spec/search/elasticsearch/cidrs");
    rows.accepted(
        "Elasticsearch without a password",
        &[("/spec/search/elasticsearch/secretRef", Value::Null)],
    );
}

fn profiles(rows: &mut Rows) {
    let needs = ("spec", "profile Distributed needs database and objectStore");
    rows.refused("no database", needs, &[("/spec/database", Value::Null)]);
    rows.refused("no object store", needs, &[("/spec/objectStore", Value::Null)]);
    let standalone = ("spec", "standalone is for profile Standalone");
    rows.refused("Distributed with a Standalone's pod", standalone, &[("/spec/standalone", json!({}))]);

    let profile = ("/spec/profile", json!("Standalone"));
    let none = |field| (field, Value::Null);
    let own = ("spec", "profile Standalone has its own database, object store and search");
    let stores = ["/spec/database", "/spec/objectStore", "/spec/search"];
    for kept in stores {
        let mut edits = vec![profile.clone(), none("/spec/services")];
        edits.extend(stores.into_iter().filter(|store| *store != kept).map(none));
        rows.refused(&format!("Standalone with {kept}"), own, &edits);
    }
    let mut edits = vec![profile];
    edits.extend(stores.into_iter().map(none));
    edits.push(("/spec/services", json!({})));
    rows.refused("Standalone with services", ("spec", "profile Standalone is one pod"), &edits);
}

fn changes(rows: &mut Rows) {
    let fixed = ("spec.objectStore", "the object store is immutable");
    for (field, value) in [("endpoint", "https://other"), ("bucket", "other"), ("keyBucket", "other")] {
        let pointer = format!("/spec/objectStore/{field}");
        rows.change_refused(&format!("{field} changes"), fixed, &[], &[(&pointer, json!(value))]);
    }
    rows.change_accepted(
        "credentials and address ranges change",
        &[],
        &[("/spec/objectStore/secretRef/name", json!("s3-b")), ("/spec/objectStore/cidrs", json!([]))],
    );
    rows.change_accepted("more replicas", &[], &[("/spec/services/ingest/replicas", json!(5))]);
}
