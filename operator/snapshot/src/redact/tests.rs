use proptest::prelude::*;
use serde_json::json;

use super::*;

fn mac() -> MacKey {
    crate::fixtures::mac()
}

fn redacted(mut object: Value) -> Value {
    redact(&mut object, &mac()).unwrap();
    assert!(is_redacted(&object), "{object}");
    object
}

fn secret_with(fields: &Value) -> Value {
    let mut secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "main-keys", "namespace": "mail" } });
    for (field, value) in fields.as_object().unwrap() {
        secret[field] = value.clone();
    }
    secret
}

/// Made with Python's hmac module from the formula in `MacKey::text`, key 00 01 .. 1f, value `hunter2`.
#[test]
fn the_mac_equals_that_of_an_independent_implementation() {
    let annotated = json!({ "name": "main-keys", "namespace": "mail", "annotations": { "note": "hunter2" } });
    let secret = redacted(secret_with(&json!({ "data": { "kek": "aHVudGVyMg==" }, "metadata": annotated })));
    let expected = "hmac-sha256:a67c0188f7c26e570b9b3ee16bec38a68c6a59bc028c3e53303896da319ae9c9";
    assert_eq!(secret["data"]["kek"], expected);
    let expected = "hmac-sha256:7f5ba344ae3bfa5bfa02a9640b892499f152e8bea1ff9f537f2a6706748c8974";
    assert_eq!(secret["metadata"]["annotations"]["note"], expected);
}

#[test]
fn the_same_bytes_have_the_same_mac_in_data_and_string_data_and_another_elsewhere() {
    let hidden = |fields: Value| redacted(secret_with(&fields));
    let data = hidden(json!({ "data": { "a": "aHVudGVyMg==", "b": "aHVudGVyMg==" } }));
    let text = hidden(json!({ "stringData": { "a": "hunter2" } }));
    assert_eq!(data["data"]["a"], text["stringData"]["a"]);
    assert_ne!(data["data"]["a"], data["data"]["b"]);
    let mut elsewhere = secret_with(&json!({ "stringData": { "a": "hunter2" } }));
    elsewhere["metadata"]["name"] = json!("other");
    assert_ne!(redacted(elsewhere)["stringData"]["a"], text["stringData"]["a"]);
    let mut by_other_key = secret_with(&json!({ "stringData": { "a": "hunter2" } }));
    redact(&mut by_other_key, &MacKey::new("k", 2, [9; MAC_KEY_BYTES])).unwrap();
    assert_ne!(by_other_key["stringData"]["a"], text["stringData"]["a"]);
}

#[test]
fn what_is_not_configuration_is_dropped_from_every_object() {
    let config_map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "data": { "kind": "Secret", "k": "v" },
        "metadata": { "name": "a", "managedFields": [{}], "annotations": { LAST_APPLIED: "{}", "kept": "yes" } },
    });
    assert_eq!(
        redacted(config_map),
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "data": { "kind": "Secret", "k": "v" },
            "metadata": { "name": "a", "annotations": { "kept": "yes" } },
        })
    );
    let plain = json!({ "kind": "Pod", "metadata": { "name": "a" } });
    let mut annotated = plain.clone();
    annotated["metadata"]["annotations"] = json!({ LAST_APPLIED: "{}" });
    assert_eq!(redacted(annotated), plain);
}

#[test]
fn a_reference_to_a_secret_is_no_secret() {
    let reference = json!({ "kind": "Issuer", "spec": { "ref": { "kind": "Secret", "name": "main-ca" } } });
    assert_eq!(redacted(reference.clone()), reference);
}

#[test]
fn a_secret_that_could_hold_its_values_elsewhere_is_refused() {
    let check = |fields: Value, expected: RedactError| {
        let mut secret = secret_with(&fields);
        assert_eq!(redact(&mut secret, &mac()), Err(expected), "{fields}");
    };
    check(json!({ "spec": "hunter2" }), RedactError::Field("spec".to_owned()));
    check(json!({ "type": { "a": "hunter2" } }), RedactError::Field("type".to_owned()));
    check(json!({ "immutable": "hunter2" }), RedactError::Field("immutable".to_owned()));
    check(
        json!({ "metadata": { "name": "a", "note": "hunter2" } }),
        RedactError::Field("metadata.note".to_owned()),
    );
    check(json!({ "data": { "kek": "not base64!" } }), RedactError::Value("kek".to_owned()));
    check(json!({ "data": { "kek": 1 } }), RedactError::Value("kek".to_owned()));
    check(json!({ "data": "hunter2" }), RedactError::Value("data".to_owned()));
    check(json!({ "stringData": ["hunter2"] }), RedactError::Value("data".to_owned()));
}

#[test]
fn a_value_in_clear_is_seen() {
    let hidden = format!("{PREFIX}{}", "a".repeat(64));
    assert!(is_redacted(&secret_with(&json!({ "data": { "kek": hidden } }))));
    for clear in [
        json!({ "data": { "kek": "aHVudGVyMg==" } }),
        json!({ "stringData": { "kek": &hidden[1..] } }),
        json!({ "data": { "kek": format!("{hidden}a") } }),
        json!({ "data": { "kek": hidden.to_uppercase() } }),
        json!({ "metadata": { "name": "a", "annotations": { "kek": "hunter2" } } }),
    ] {
        assert!(!is_redacted(&secret_with(&clear)), "{clear}");
    }
    assert!(!is_redacted(&json!({ "metadata": { "managedFields": [] } })));
}

fn policy(mailboxes: &Value) -> Value {
    json!({
        "apiVersion": "openarchive.dev/v1alpha1", "kind": "RetentionPolicy",
        "metadata": { "name": "books", "namespace": "mail" },
        "spec": { "archiveRef": { "name": "main" }, "keepFor": { "years": 10 },
                  "match": { "mailboxes": mailboxes, "domains": ["acme.example"] } },
    })
}

#[test]
fn addresses_of_a_retention_policy_stand_as_macs_and_domains_in_clear() {
    let both = redacted(policy(&json!(["jane@acme.example", "joe@acme.example"])));
    let text = both.to_string();
    assert!(
        !text.contains("jane") && !text.contains("joe") && text.contains(r#"["acme.example"]"#),
        "{text}"
    );
    let joe = redacted(policy(&json!(["joe@acme.example"])));
    let mailbox = |policy: &Value, place: usize| policy["spec"]["match"]["mailboxes"][place].clone();
    assert_eq!(mailbox(&both, 1), mailbox(&joe, 0));
    assert_ne!(mailbox(&both, 0), mailbox(&joe, 0));
    let mut elsewhere = policy(&json!(["joe@acme.example"]));
    elsewhere["metadata"]["name"] = json!("other");
    assert_ne!(mailbox(&redacted(elsewhere), 0), mailbox(&joe, 0));
    assert!(!is_redacted(&policy(&json!(["joe@acme.example"]))), "an address in clear is seen");
    assert_eq!(redact(&mut policy(&json!("joe@acme.example")), &mac()), Err(RedactError::Mailboxes));
    let nobodys = json!({ "kind": "RetentionPolicy", "apiVersion": "example.org/v1", "metadata": { "name": "a" },
                          "spec": { "match": { "mailboxes": "all" } } });
    assert_eq!(redacted(nobodys.clone()), nobodys);
}

fn addresses(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("person{number}@acme.example")).collect()
}

#[test]
fn a_long_list_of_addresses_has_one_mac() {
    let mailboxes = |policy: &Value| policy["spec"]["match"]["mailboxes"].clone();
    let short = redacted(policy(&json!(addresses(MAILBOXES_MAX))));
    assert_eq!(mailboxes(&short).as_array().unwrap().len(), MAILBOXES_MAX);
    let long = redacted(policy(&json!(addresses(MAILBOXES_MAX + 1))));
    assert_eq!(mailboxes(&long)["count"], MAILBOXES_MAX + 1);
    assert!(!long.to_string().contains("person"), "{long}");
    assert_eq!(redacted(policy(&json!(addresses(MAILBOXES_MAX + 1)))), long);
    let mut others = addresses(MAILBOXES_MAX + 1);
    others[7] = "joe@acme.example".to_owned();
    assert_ne!(mailboxes(&redacted(policy(&json!(others))))["hmac"], mailboxes(&long)["hmac"]);
    assert!(!is_redacted(&policy(&json!(others))), "addresses in clear are seen");
}

#[test]
fn a_long_list_with_a_mac_each_as_earlier_versions_wrote_it_is_still_read() {
    let hidden: Vec<String> = (0..=MAILBOXES_MAX).map(|number| format!("{PREFIX}{number:064x}")).collect();
    assert!(is_redacted(&policy(&json!(hidden))));
    let one = || format!("{PREFIX}{:064x}", 1);
    for (list, expected) in [
        (json!({"count": MAILBOXES_MAX + 1, "hmac": one()}), true),
        (json!({"count": MAILBOXES_MAX, "hmac": one()}), false),
        (json!({"count": MAILBOXES_MAX + 1, "hmac": "joe@acme.example"}), false),
        (json!({"count": MAILBOXES_MAX + 1, "hmac": one(), "of": "joe@acme.example"}), false),
        (json!({"count": "joe@acme.example", "hmac": one()}), false),
    ] {
        assert_eq!(is_redacted(&policy(&list)), expected, "{list}");
    }
}

#[test]
fn a_thousand_long_policies_stay_far_below_the_size_of_a_snapshot() {
    let one = redacted(policy(&json!(addresses(256)))).to_string().len();
    assert!(one * 1_000 < crate::SNAPSHOT_BYTES_MAX / 2, "{one}");
}

#[test]
fn a_key_shows_nothing_of_itself() {
    assert_eq!(format!("{:?}", mac()), "MacKey(main-snapshot-mac, version 1, hidden)");
}

/// The secret as somebody may have written it, with its values wherever values have been seen.
fn leaky(values: &[String]) -> Value {
    let data: Map<String, Value> =
        (0..).zip(values).map(|(n, value)| (format!("d{n}"), json!(STANDARD.encode(value)))).collect();
    let text: Map<String, Value> =
        (0..).zip(values).map(|(n, value): (u32, _)| (format!("s{n}"), json!(value))).collect();
    let mut secret = secret_with(&json!({ "data": data, "stringData": text, "type": "Opaque" }));
    let applied = secret.to_string();
    secret["metadata"]["annotations"] = json!({
        LAST_APPLIED: applied, "kapp.k14s.io/original": applied, "note": values.join(" "),
    });
    secret
}

proptest! {
    #[test]
    fn no_value_of_a_secret_is_left_by_any_path(
        values in proptest::collection::vec("\\PC{12,40}", 1..4),
        nesting in 0..4u8,
    ) {
        let secret = leaky(&values);
        let mut whole = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {
                "name": "a", "annotations": { LAST_APPLIED: secret.to_string() },
                "managedFields": [{ "fieldsV1": secret.clone() }],
            },
            "spec": { "template": { "metadata": { "annotations": { LAST_APPLIED: values.join("") } } } },
        });
        for depth in 0..=nesting {
            let inner = if depth == 0 { secret.clone() } else { std::mem::take(&mut whole["items"]) };
            whole["items"] = json!([{ "kind": "List", "items": inner }]);
        }
        redact(&mut whole, &mac()).unwrap();
        let text = whole.to_string();
        for value in &values {
            let escaped = json!(value).to_string();
            prop_assert!(!text.contains(value.as_str()), "{}", text);
            prop_assert!(!text.contains(escaped.trim_matches('"')), "{}", text);
            prop_assert!(!text.contains(&STANDARD.encode(value)), "{}", text);
            prop_assert!(!text.contains(&hex::encode(value)), "{}", text);
        }
        prop_assert!(is_redacted(&whole));
    }
}
