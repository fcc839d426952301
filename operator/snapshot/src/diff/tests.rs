use insta::assert_snapshot;
use serde_json::json;

use super::*;
use crate::{Applied, Snapshot, fixtures};

fn taken(generation: u64, spec: Value, objects: Vec<Value>) -> Snapshot {
    let applied = Applied { spec, objects, ..fixtures::applied(generation) };
    fixtures::after(None, applied)
}

fn pod(name: &str, spec: &Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "namespace": "mail" }, "spec": spec })
}

/// The text without its two digests.
fn lines(from: &Snapshot, to: &Snapshot) -> String {
    diff(from, to).to_string().lines().skip(2).collect::<Vec<_>>().join("\n")
}

#[test]
fn two_generations_differ_in_what_was_changed() {
    let [first, second] = fixtures::snapshots::<2>();
    let text = diff(&first, &second).to_string();
    assert!(text.starts_with(&format!("--- {}\n+++ {}\n", first.digest(), second.digest())));
    assert_snapshot!(lines(&first, &second), @r#"
    ~ generation: 1 -> 2
    ~ spec.services.gateway.replicas: 1 -> 2
    apps/v1 Deployment mail/main-gateway
      ~ spec.replicas: 1 -> 2
      ~ spec.template.spec.containers[name="gateway"].image: "openarchive:0.1.0" -> "openarchive:0.2.0"
    "#);
    assert_snapshot!(lines(&first, &first), @"no difference");
}

#[test]
fn a_diff_back_names_the_same_places() {
    let [first, second] = fixtures::snapshots::<2>();
    let places = |diff: Diff| -> Vec<_> { diff.changes.into_iter().map(|c| (c.object, c.place)).collect() };
    assert_eq!(places(diff(&first, &second)), places(diff(&second, &first)));
}

#[test]
fn objects_and_places_come_and_go() {
    let from = taken(
        1,
        json!({ "a": 1, "b/c": true }),
        vec![pod("gone", &json!({})), pod("stays", &json!({ "x": [1, 2] }))],
    );
    let to = taken(
        1,
        json!({ "a": { "b": null } }),
        vec![pod("new", &json!({})), pod("stays", &json!({ "x": [1, 3, 4] }))],
    );
    assert_snapshot!(lines(&from, &to), @r#"
    ~ spec.a: 1 -> {"b":null}
    - spec["b/c"]: true
    - v1 Pod mail/gone
    + v1 Pod mail/new
    v1 Pod mail/stays
      ~ spec.x[1]: 2 -> 3
      + spec.x[2]: 4
    "#);
}

#[test]
fn items_with_names_are_compared_by_name() {
    let containers = |items: Value| taken(1, json!({}), vec![pod("a", &json!({ "containers": items }))]);
    let one = json!({ "name": "one", "image": "a:1" });
    let two = json!({ "name": "two", "image": "b:1" });
    let (before, after) =
        (containers(json!([one])), containers(json!([two, { "name": "one", "image": "a:2" }])));
    assert_snapshot!(lines(&before, &after), @r#"
    v1 Pod mail/a
      ~ spec.containers[name="one"].image: "a:1" -> "a:2"
      + spec.containers[name="two"]: {"image":"b:1","name":"two"}
    "#);
    // Order alone is a change, too.
    assert_snapshot!(lines(&containers(json!([one, two])), &containers(json!([two, one]))), @r#"
    v1 Pod mail/a
      ~ spec.containers: [{"image":"a:1","name":"one"},{"image":"b:1","name":"two"}] -> [{"image":"b:1","name":"two"},{"image":"a:1","name":"one"}]
    "#);
    // Items without names, or with one name twice, are compared by position.
    assert_snapshot!(lines(&containers(json!([one, one])), &containers(json!([one, two]))), @r#"
    v1 Pod mail/a
      ~ spec.containers[1].image: "a:1" -> "b:1"
      ~ spec.containers[1].name: "one" -> "two"
    "#);
}

#[test]
fn a_changed_secret_shows_as_another_hmac() {
    let secret = |value: &str| {
        let metadata = json!({ "name": "main-keys", "namespace": "mail" });
        json!({ "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": { "kek": value } })
    };
    let (from, to) =
        (taken(1, json!({}), vec![secret("hunter2")]), taken(1, json!({}), vec![secret("hunter3")]));
    assert_snapshot!(lines(&from, &to), @r#"
    v1 Secret mail/main-keys
      ~ stringData.kek: "hmac-sha256:a67c0188f7c26e570b9b3ee16bec38a68c6a59bc028c3e53303896da319ae9c9" -> "hmac-sha256:12cb2fbd22ae3a40224cf524ebe68323d13d23bb7d2503531a7f4d1724a4ad95"
    "#);
    assert!(!serde_json::to_string(&diff(&from, &to)).unwrap().contains("hunter"));
}

#[test]
fn programs_read_the_same_changes_as_json() {
    let from = taken(1, json!({ "a": 1, "b": 2 }), vec![pod("gone", &json!(1))]);
    let to = taken(1, json!({ "a": 3, "c": 4 }), vec![]);
    let changes = serde_json::to_value(diff(&from, &to)).unwrap()["changes"].clone();
    assert_eq!(
        changes,
        json!([
            { "place": "spec.a", "change": "changed", "from": 1, "to": 3 },
            { "place": "spec.b", "change": "removed", "from": 2 },
            { "place": "spec.c", "change": "added", "to": 4 },
            {
                "object": { "apiVersion": "v1", "kind": "Pod", "namespace": "mail", "name": "gone" },
                "place": "", "change": "removed", "from": pod("gone", &json!(1)),
            },
        ])
    );
}
