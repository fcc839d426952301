use insta::assert_snapshot;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::fixtures::{self, applied, mac, snapshots};

fn taken(change: impl FnOnce(&mut Applied)) -> Result<Snapshot, SnapshotError> {
    let mut applied = applied(1);
    change(&mut applied);
    Snapshot::take(applied, &mac(), None)
}

#[test]
fn the_canonical_text_is_that_of_version_1() {
    let [first] = snapshots();
    assert_snapshot!(first.canonical(), @r#"{"clientDeclaredManager":"kubectl-client-side-apply","generation":1,"kind":"ArchiveCore","name":"main","namespace":"mail","objects":[{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"labels":{"app.kubernetes.io/name":"openarchive"},"name":"main-gateway","namespace":"mail"},"spec":{"replicas":1,"template":{"spec":{"containers":[{"image":"openarchive:0.1.0","name":"gateway"}]}}}},{"apiVersion":"v1","data":{"kek":"hmac-sha256:a67c0188f7c26e570b9b3ee16bec38a68c6a59bc028c3e53303896da319ae9c9"},"kind":"Secret","metadata":{"labels":{"app.kubernetes.io/name":"openarchive"},"name":"main-keys","namespace":"mail"},"type":"Opaque"}],"operatorVersion":"0.1.0","previous":null,"secretsMac":{"key":"main-snapshot-mac","version":1},"skippedGenerations":[],"spec":{"domain":"archive.example.com","services":{"gateway":{"replicas":1}}},"uid":"6f1c1a52-0d55-4b7e-9c68-2f6a4c0d9e11","v":1}"#);
    assert_snapshot!(first.digest(), @"sha256:5062ecfaa68cdcf34006d9ffbce1e83db34f030b3d5d158d2c1527760d20f952");
    assert_eq!(first.digest(), Digest::of(first.canonical().as_bytes()));
}

#[test]
fn each_snapshot_holds_the_digest_of_the_one_before_it() {
    let [first, second, third] = snapshots();
    assert_eq!(first.previous(), None);
    assert_eq!(second.previous(), Some(first.digest()));
    assert_eq!(third.previous(), Some(second.digest()));
    assert!(third.canonical().contains(&second.digest().to_string()));
}

#[test]
fn a_chain_is_of_one_object_and_its_generation_never_goes_back() {
    let [first, second] = snapshots();
    let after = |generation, previous: &Snapshot| Snapshot::take(applied(generation), &mac(), Some(previous));
    let other = fixtures::other();
    assert_eq!(after(2, &other), Err(SnapshotError::OtherSubject(other.subject().clone())));
    assert_eq!(after(1, &second), Err(SnapshotError::GenerationWentBack { generation: 1, applied: 2 }));
    // An operator of another version applies the same generation.
    assert_eq!(after(2, &second).unwrap().skipped_generations(), []);
    let skipped = after(5, &first).unwrap();
    assert_eq!(skipped.skipped_generations(), [GenerationRange { first: 2, last: 4 }]);
    assert!(skipped.canonical().contains(r#""skippedGenerations":[{"first":2,"last":4}]"#));
    let again = Applied { uid: "00000000-0000-4000-8000-000000000002".to_owned(), ..applied(1) };
    let again = fixtures::after(Some(&second), again);
    assert_eq!((again.previous(), again.skipped_generations()), (Some(second.digest()), [].as_slice()));
}

#[test]
fn the_last_snapshot_says_that_its_object_was_deleted_and_by_nobody_who_is_known() {
    let [first] = snapshots();
    let last = Snapshot::take_deletion(applied(3), &mac(), Some(&ConfigLeaf::of(&first))).unwrap();
    assert_snapshot!(last.canonical(), @r#"{"clientDeclaredManager":"unknown","deleted":true,"generation":3,"kind":"ArchiveCore","name":"main","namespace":"mail","objects":[],"operatorVersion":"0.1.0","previous":"sha256:5062ecfaa68cdcf34006d9ffbce1e83db34f030b3d5d158d2c1527760d20f952","secretsMac":{"key":"main-snapshot-mac","version":1},"skippedGenerations":[{"first":2,"last":2}],"spec":{"domain":"archive.example.com","services":{"gateway":{"replicas":3}}},"uid":"6f1c1a52-0d55-4b7e-9c68-2f6a4c0d9e11","v":2}"#);
    assert!(last.is_deletion() && !first.is_deletion());
    assert_eq!(Snapshot::parse(last.canonical()), Ok(last.clone()));
    for (from, to) in [
        (r#""deleted":true,"#, ""),
        (r#""v":2"#, r#""v":1"#),
        (r#""objects":[]"#, r#""objects":[{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"}}]"#),
    ] {
        let changed = last.canonical().replacen(from, to, 1);
        assert_eq!(Snapshot::parse(&changed), Err(SnapshotError::Form), "{changed}");
    }
    // An object of the same name goes on with the chain.
    let again = Applied { uid: "00000000-0000-4000-8000-000000000002".to_owned(), ..applied(1) };
    assert_eq!(fixtures::after(Some(&last), again).previous(), Some(last.digest()));
}

#[test]
fn what_has_no_canonical_text_is_refused_and_named_by_its_place() {
    let check = |spec: Value, place: &str, reason: JcsError| {
        let error = taken(|applied| applied.spec = spec).unwrap_err();
        assert_eq!(error, SnapshotError::Value { place: place.to_owned(), reason });
    };
    check(json!({ "a": [{ "ratio": 1.5 }] }), "spec.a[0].ratio", JcsError::NotAnInteger);
    check(json!({ "a": 1.0 }), "spec.a", JcsError::NotAnInteger);
    check(json!({ "a": u64::MAX }), "spec.a", JcsError::IntegerTooLarge);
    check(json!({ "ä": 1 }), "spec", JcsError::KeyNotAscii);
    assert!(taken(|applied| applied.spec = json!({ "a": 1u64 << 53, "b": "1.5", "c": "ä" })).is_ok());
}

#[test]
fn objects_have_names_of_their_own() {
    assert_eq!(taken(|a| a.objects.push(json!({ "kind": "Pod" }))), Err(SnapshotError::Unnamed(2)));
    let unnamed = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "generateName": "a" } });
    assert_eq!(taken(|a| a.objects.push(unnamed)), Err(SnapshotError::Unnamed(2)));
    let error = taken(|a| a.objects.push(a.objects[0].clone())).unwrap_err();
    assert_eq!(error.to_string(), "the configuration holds v1 Secret mail/main-keys twice");
    let secret =
        json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s" }, "data": { "k": "?" } });
    let error = taken(|a| a.objects = vec![secret]).unwrap_err();
    assert_snapshot!(error, @"v1 Secret s cannot be recorded without its secret values: its value `k` is not what that field of a Secret holds");
    assert_eq!(taken(|a| a.uid = "1".to_owned()), Err(SnapshotError::Uid));
}

#[test]
fn a_snapshot_is_as_large_as_it_can_be_kept_and_no_larger() {
    let empty = taken(|applied| applied.spec = json!("")).unwrap().canonical().len();
    let filled = |bytes: usize| taken(|applied| applied.spec = json!("x".repeat(bytes - empty)));
    let largest = filled(SNAPSHOT_BYTES_MAX).unwrap();
    assert_eq!(largest.canonical().len(), SNAPSHOT_BYTES_MAX);
    assert_eq!(Snapshot::parse(largest.canonical()), Ok(largest));
    let bytes = SNAPSHOT_BYTES_MAX + 1;
    assert_eq!(filled(bytes), Err(SnapshotError::TooLarge { bytes }));
    assert_eq!(Snapshot::parse(&" ".repeat(bytes)), Err(SnapshotError::TooLarge { bytes }));
}

#[test]
fn text_that_is_not_exactly_a_snapshot_is_refused() {
    let [_, second] = snapshots();
    let check = |from: &str, to: &str, expected: SnapshotError| {
        let changed = second.canonical().replacen(from, to, 1);
        assert_ne!(changed, second.canonical(), "{from}");
        assert_eq!(Snapshot::parse(&changed), Err(expected), "{changed}");
    };
    check(r#""v":1"#, r#""v": 1"#, SnapshotError::Form);
    check(r#","v":1"#, r#","u":1,"v":1"#, SnapshotError::Form);
    check(r#","v":1"#, "", SnapshotError::Form);
    check(r#""v":1"#, r#""v":3"#, SnapshotError::Version(3));
    check(r#""v":1"#, r#""v":2"#, SnapshotError::Form);
    check(r#""generation":2"#, r#""deleted":true,"generation":2"#, SnapshotError::Form);
    check(r#""generation":2"#, r#""deleted":false,"generation":2"#, SnapshotError::Form);
    check(r#""generation":2"#, r#""generation":"2""#, SnapshotError::Form);
    check(r#""previous":"sha256:"#, r#""previous":"SHA256:"#, SnapshotError::Form);
    check(
        r#"{"clientDeclaredManager""#,
        r#"{"clientDeclaredManager":"a","clientDeclaredManager""#,
        SnapshotError::Form,
    );
    check(r#""apiVersion":"apps/v1""#, r#""apiVersion":"zeppelin/v1""#, SnapshotError::Form);
    let secret = ObjectId::of(&second.objects()[1]).unwrap();
    check(r#""kek":"hmac-sha256:"#, r#""kek":"aHVudGVyMg=="#, SnapshotError::NotRedacted(secret.clone()));
    check(
        r#""name":"main-keys""#,
        r#""managedFields":[],"name":"main-keys""#,
        SnapshotError::NotRedacted(secret),
    );
}

proptest! {
    #[test]
    fn any_configuration_reads_back_and_its_order_does_not_matter(
        names in proptest::collection::btree_set("[a-z]{1,6}", 0..6),
        values in proptest::collection::vec(any::<String>(), 6),
        generation in 1..1000u64,
        rotation: usize,
    ) {
        let objects: Vec<Value> = names.iter().zip(&values).map(|(name, value)| json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": { "text": value },
        })).collect();
        let mut rotated = objects.clone();
        rotated.rotate_left(rotation % objects.len().max(1));
        let [a, b] = [objects, rotated].map(|objects| {
            Snapshot::take(Applied { objects, ..applied(generation) }, &mac(), None).unwrap()
        });
        prop_assert_eq!(&a, &b);
        prop_assert_eq!(Snapshot::parse(a.canonical()), Ok(a.clone()));
        // As it comes back from an API server that writes JSON in its own way.
        let pretty = serde_json::to_string_pretty(a.json()).unwrap();
        prop_assert_eq!(Snapshot::of_value(&serde_json::from_str(&pretty).unwrap()), Ok(a));
    }
}
