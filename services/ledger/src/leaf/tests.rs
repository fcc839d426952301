use openarchive_domain::{Digest, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    commitment::{Field, Salt},
    fixtures::{ORIGIN, message_leaf, signer, time},
    origin::TenantOrArchive,
};

macro_rules! vector {
    ($name:literal) => {
        include_str!(concat!("../../fixtures/", $name, ".leaf.json"))
    };
}

const IDEMPOTENCY_KEYS: &str = include_str!("../../fixtures/idempotency-keys.txt");

fn pack_leaf() -> PackLeaf {
    PackLeaf {
        tenant: "acme".parse().unwrap(),
        class: "10y-received-forbidden".parse().unwrap(),
        pack: parse_uuid_text("018f0000-1111-7222-8333-444444444444").unwrap(),
        sha256: Digest::of(b"pack"),
        version_id: "null".to_owned(),
    }
}

fn audit_leaf() -> AuditLeaf {
    let salt = Salt::new(std::array::from_fn(|i| i as u8));
    AuditLeaf {
        tenant: "acme".parse().unwrap(),
        action: "message.read".to_owned(),
        actor: "token:first".to_owned(),
        request: "req-1".to_owned(),
        object: Some(salt.commit(Field::Object, b"object".to_vec()).0),
        occurred_at: time(),
    }
}

fn audit_leaf_without_object() -> AuditLeaf {
    AuditLeaf {
        tenant: TenantOrArchive::Archive,
        action: "search".to_owned(),
        request: "req-2".to_owned(),
        object: None,
        ..audit_leaf()
    }
}

fn first_leaf() -> FirstLeaf {
    FirstLeaf {
        origin: ORIGIN.parse().unwrap(),
        trust_mode: TrustMode::NonQualified,
        log_key: signer(ORIGIN).verifier().clone(),
        seal_certificate: None,
    }
}

#[test]
fn leaves_are_the_committed_vectors_byte_for_byte_and_read_back() {
    let check = |name: &str, vector: &str, body: Value, leaf: AnyLeaf| {
        let bytes = stamp(body, time()).unwrap();
        assert_eq!(std::str::from_utf8(&bytes).unwrap(), vector, "{name}");
        let key = IDEMPOTENCY_KEYS.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        assert_eq!(Some(leaf.idempotency_key().hex().as_str()), key, "{name}");
        assert_eq!(AnyLeaf::parse(&bytes), Ok(Stamped { leaf, time: time() }), "{name}");
    };
    let message = message_leaf().0;
    check("message", vector!("message"), message.body(), AnyLeaf::Message(message));
    check("pack", vector!("pack"), pack_leaf().body(), AnyLeaf::Pack(pack_leaf()));
    check("audit", vector!("audit"), audit_leaf().body(), AnyLeaf::Audit(audit_leaf()));
    let no_object = audit_leaf_without_object();
    check(
        "audit-without-object",
        vector!("audit-without-object"),
        no_object.body(),
        AnyLeaf::Audit(no_object),
    );
    check("first", vector!("first"), first_leaf().body(), AnyLeaf::First(first_leaf()));
}

#[test]
fn each_kind_reads_its_own_leaves_only() {
    assert_eq!(MessageLeaf::parse(vector!("message").as_bytes()).unwrap().leaf, message_leaf().0);
    assert_eq!(PackLeaf::parse(vector!("pack").as_bytes()).unwrap().leaf, pack_leaf());
    assert_eq!(AuditLeaf::parse(vector!("audit").as_bytes()).unwrap().leaf, audit_leaf());
    assert_eq!(FirstLeaf::parse(vector!("first").as_bytes()).unwrap().leaf, first_leaf());
    let other = MessageLeaf::parse(vector!("pack").as_bytes()).unwrap_err();
    assert_eq!(other, LeafError::OtherKind { expected: "message" });
}

#[test]
fn a_leaf_lacking_any_field_or_with_one_more_is_refused() {
    for vector in [vector!("message"), vector!("pack"), vector!("audit"), vector!("first")] {
        let leaf: Value = serde_json::from_str(vector).unwrap();
        for field in leaf.as_object().unwrap().keys().filter(|field| *field != "object") {
            let mut fields = leaf.as_object().unwrap().clone();
            fields.remove(field);
            let error = parse(&Value::Object(fields)).unwrap_err();
            assert!(matches!(error, LeafError::Missing(missing) if missing == field), "{field}: {error}");
        }
        let mut more = leaf.clone();
        more["extra"] = json!("x");
        assert_eq!(parse(&more), Err(LeafError::UnknownField));
    }
}

fn parse(leaf: &Value) -> Result<Stamped<AnyLeaf>, LeafError> {
    AnyLeaf::parse(crate::jcs::canonicalize(leaf).unwrap().as_bytes())
}

#[test]
fn a_field_of_another_form_is_refused_by_name() {
    let check = |vector: &str, field: &str, bad: Value| {
        let mut leaf: Value = serde_json::from_str(vector).unwrap();
        leaf[field] = bad.clone();
        let error = parse(&leaf).unwrap_err();
        assert!(
            matches!(error, LeafError::Field { field: found, .. } if found == field),
            "{field} {bad}: {error}"
        );
    };
    let message = vector!("message");
    check(message, "v", json!(2));
    check(message, "v", json!("1"));
    check(message, "seq", json!(42));
    check(message, "seq", json!("042"));
    check(message, "agent_epoch", json!("18446744073709551616"));
    check(message, "instance", json!("000102030405060708090a0b0c0d0e0f"));
    check(message, "instance", json!("00010203-0405-0607-0809-0A0B0C0D0E0F"));
    check(message, "tenant", json!("_"));
    check(message, "agent", json!("MX1"));
    check(message, "class", json!("10y"));
    check(message, "state", json!("lost"));
    check(message, "message", json!("AAAA"));
    check(message, "envelope", json!(null));
    check(message, "time", json!("2026-01-02T03:04:05Z"));
    check(message, "occurred_at", json!("2026-01-02T03:04:05.678+00:00"));
    check(vector!("pack"), "sha256", json!(Digest::of(b"").hex()));
    check(vector!("pack"), "version_id", json!(""));
    check(vector!("pack"), "version_id", json!("x".repeat(VERSION_ID_BYTES_MAX + 1)));
    check(vector!("audit"), "object", json!(null));
    for (field, bytes_max) in
        [("action", ACTION_BYTES_MAX), ("actor", ACTOR_BYTES_MAX), ("request", REQUEST_BYTES_MAX)]
    {
        for bad in ["", "a@example.com", "a b", "ä"] {
            check(vector!("audit"), field, json!(bad));
        }
        check(vector!("audit"), field, json!("x".repeat(bytes_max + 1)));
        let mut leaf: Value = serde_json::from_str(vector!("audit")).unwrap();
        leaf[field] = json!("x".repeat(bytes_max));
        assert!(parse(&leaf).is_ok(), "{field}");
    }
    check(vector!("first"), "trust_mode", json!("very_qualified"));
    check(vector!("first"), "seal_certificate", json!("x"));
    check(vector!("first"), "origin", json!("example.com"));
    let foreign = signer("archive.example.com/main/acme/audit/1").verifier().to_string();
    check(vector!("first"), "log_key", json!(foreign));
}

#[test]
fn any_other_writing_of_the_same_leaf_is_refused() {
    let leaf = vector!("message");
    let check = |text: String, error| assert_eq!(AnyLeaf::parse(text.as_bytes()), Err(error), "{text}");
    check(format!("{leaf}\n"), LeafError::NotCanonical);
    check(leaf.replace(':', ": "), LeafError::NotCanonical);
    check(leaf.replace("\"v\":1", "\"v\":1,\"v\":1"), LeafError::NotCanonical);
    check(leaf.replace("stored", "st\\u006fred"), LeafError::NotCanonical);
    check(leaf.replace("\"v\":1", "\"v\":1.0"), LeafError::Jcs(crate::jcs::JcsError::NotAnInteger));
    check(leaf[1..].to_owned(), LeafError::NotAnObject);
    check("[]".to_owned(), LeafError::NotAnObject);
    check("{}".to_owned(), LeafError::Missing("kind"));
    check(r#"{"kind":"later"}"#.to_owned(), LeafError::UnknownKind);
    assert_eq!(AnyLeaf::parse(b"\xff"), Err(LeafError::NotAnObject));
}

#[test]
fn a_leaf_has_at_most_65535_bytes_and_is_stamped_once() {
    let body = |bytes: usize| json!({ "filler": "x".repeat(bytes) });
    let empty = stamp(body(0), time()).unwrap().len();
    let longest = stamp(body(LEAF_BYTES_MAX - empty), time()).unwrap();
    assert_eq!(longest.len(), LEAF_BYTES_MAX);
    assert_eq!(AnyLeaf::parse(&longest), Err(LeafError::Missing("kind")));
    let too_long = LeafError::TooLong { bytes: LEAF_BYTES_MAX + 1 };
    assert_eq!(stamp(body(LEAF_BYTES_MAX - empty + 1), time()), Err(too_long));
    assert_eq!(AnyLeaf::parse(&vec![b' '; LEAF_BYTES_MAX + 1]), Err(too_long));

    assert_eq!(stamp(json!({ "time": "x" }), time()), Err(LeafError::AlreadyStamped));
    assert_eq!(stamp(json!([]), time()), Err(LeafError::NotAnObject));
    let unwritable = stamp(json!({}), Timestamp::from_millis(i64::MAX));
    assert!(matches!(unwritable, Err(LeafError::Field { field: "time", .. })));
}

#[test]
fn idempotency_keys_differ_with_each_identifying_field_and_with_nothing_else() {
    let (leaf, _) = message_leaf();
    let key = leaf.idempotency_key();
    let check = |same: bool, change: &dyn Fn(&mut MessageLeaf)| {
        let mut changed = leaf.clone();
        change(&mut changed);
        assert_ne!(changed, leaf);
        assert_eq!(changed.idempotency_key() == key, same);
    };
    check(false, &|leaf| leaf.tenant = "other".parse().unwrap());
    check(false, &|leaf| leaf.agent = "mx2".parse().unwrap());
    check(false, &|leaf| leaf.seat.instance[0] ^= 1);
    check(false, &|leaf| leaf.seat.agent_epoch -= 1);
    check(false, &|leaf| leaf.seat.seq += 1);
    check(true, &|leaf| leaf.state = MessageState::Duplicate);
    check(true, &|leaf| leaf.occurred_at = Timestamp::from_millis(0));
    check(true, &|leaf| leaf.message = leaf.envelope);
    assert_eq!(MessageLeaf::idempotency_key_of(&leaf.tenant, &leaf.agent, &leaf.seat), key);
}

#[test]
fn an_envelope_is_canonical_json_that_shows_no_address_in_logs() {
    let envelope = Envelope {
        from: String::new(),
        mode: "jrn-plus".to_owned(),
        peer: "192.0.2.1".to_owned(),
        to: vec!["\"b c\"@example.org".to_owned(), "a@example.org".to_owned()],
    };
    let value = envelope.value();
    assert_eq!(
        std::str::from_utf8(&value).unwrap(),
        r#"{"from":"","mode":"jrn-plus","peer":"192.0.2.1","to":["\"b c\"@example.org","a@example.org"]}"#
    );
    assert_eq!(Envelope::parse(&value), Ok(envelope.clone()));
    assert_eq!(format!("{envelope:?}"), "Envelope(2 recipients)");
    for bad in [
        "",
        "[]",
        "{}",
        r#"{"from":"","mode":"","peer":"","to":"a"}"#,
        r#"{"from":"","mode":"","peer":"","to":[1]}"#,
        r#"{"from":"","mode":"","peer":"","to":[],"x":1}"#,
        r#"{"from":"","mode":"", "peer":"","to":[]}"#,
    ] {
        assert_eq!(Envelope::parse(bad.as_bytes()), Err(EnvelopeError), "{bad}");
    }
}

proptest! {
    #[test]
    fn any_message_leaf_reads_back(
        instance: [u8; 16], agent_epoch: u64, seq: u64, millis in 0..4_102_444_800_000i64, state in 0..3usize,
        message: [u8; 32], envelope: [u8; 32],
    ) {
        let mut leaf = message_leaf().0;
        leaf.seat = openarchive_domain::Seat { instance, agent_epoch, seq };
        leaf.state = MessageState::ALL[state];
        leaf.occurred_at = Timestamp::from_millis(millis);
        leaf.message = crate::commitment::Commitment::new(message);
        leaf.envelope = crate::commitment::Commitment::new(envelope);
        let bytes = stamp(leaf.body(), Timestamp::from_millis(millis)).unwrap();
        prop_assert_eq!(MessageLeaf::parse(&bytes).unwrap().leaf, leaf);
    }

    #[test]
    fn any_envelope_reads_back(from: String, mode: String, peer: String, to: Vec<String>) {
        let envelope = Envelope { from, mode, peer, to };
        prop_assert_eq!(Envelope::parse(&envelope.value()), Ok(envelope));
    }

    #[test]
    fn no_bytes_make_the_readers_panic(bytes: Vec<u8>) {
        let _ = AnyLeaf::parse(&bytes);
        let _ = Envelope::parse(&bytes);
    }
}

fn shred_leaf() -> ShredLeaf {
    ShredLeaf {
        tenant: "acme".parse().unwrap(),
        shred: [7; 16],
        cause: ShredCause::Erasure,
        leaves: [3, 20].into(),
        places: [([1; 16], [1, 5].into()), ([2; 16], [9].into())].into(),
        actor: "tok-1".to_owned(),
        occurred_at: Timestamp::from_millis(1_700_000_000_000),
    }
}

#[test]
fn acts_of_governance_read_back_and_have_keys_of_their_own() {
    let occurred_at = Timestamp::from_millis(1_700_000_000_000);
    let hold = |action| HoldLeaf {
        tenant: "acme".parse().unwrap(),
        hold: "case-1".to_owned(),
        action,
        actor: "tok-1".to_owned(),
        occurred_at,
    };
    let resume = ResumeLeaf { tenant: "acme".parse().unwrap(), actor: "tok-1".to_owned(), occurred_at };
    let all = [
        (shred_leaf().body(), AnyLeaf::Shred(shred_leaf())),
        (
            hold(HoldAction::Set { record: Digest::of(b"x") }).body(),
            AnyLeaf::Hold(hold(HoldAction::Set { record: Digest::of(b"x") })),
        ),
        (hold(HoldAction::Released).body(), AnyLeaf::Hold(hold(HoldAction::Released))),
        (resume.body(), AnyLeaf::Resume(resume)),
        (released(&[3, 20]).body(), AnyLeaf::QuarantineRelease(released(&[3, 20]))),
        (released(&[3]).body(), AnyLeaf::QuarantineRelease(released(&[3]))),
    ];
    let mut keys = std::collections::BTreeSet::new();
    for (body, leaf) in all {
        let bytes = stamp(body, time()).unwrap();
        keys.insert(leaf.idempotency_key());
        assert_eq!(AnyLeaf::parse(&bytes), Ok(Stamped { leaf, time: time() }));
    }
    assert_eq!(keys.len(), 6);
}

fn released(leaves: &[u64]) -> QuarantineReleaseLeaf {
    QuarantineReleaseLeaf {
        tenant: "acme".parse().unwrap(),
        leaves: leaves.iter().copied().collect(),
        actor: "tok-1".to_owned(),
        occurred_at: Timestamp::from_millis(1_700_000_000_000),
    }
}

#[test]
fn a_release_from_quarantine_names_at_least_one_leaf_and_each_once() {
    let body = released(&[3, 20]).body();
    assert_eq!(
        crate::jcs::canonicalize(&body).unwrap(),
        "{\"actor\":\"tok-1\",\"kind\":\"quarantine-release\",\"leaves\":[\"3\",\"20\"],\
         \"occurred_at\":\"2023-11-14T22:13:20.000Z\",\"tenant\":\"acme\",\"v\":1}"
    );
    for bad in [serde_json::json!([]), serde_json::json!(["20", "3"]), serde_json::json!(["3", "3"])] {
        let mut body = body.clone();
        body["leaves"] = bad;
        let parsed = QuarantineReleaseLeaf::parse(&stamp(body, time()).unwrap());
        assert!(matches!(parsed, Err(LeafError::Field { field: "leaves", .. })), "{parsed:?}");
    }
}

#[test]
fn a_shred_leaf_names_each_key_once_and_in_order() {
    let body = shred_leaf().body();
    assert_eq!(
        crate::jcs::canonicalize(&body).unwrap(),
        "{\"actor\":\"tok-1\",\"cause\":\"erasure\",\"kind\":\"shred\",\"leaves\":[\"3\",\"20\"],\
         \"occurred_at\":\"2023-11-14T22:13:20.000Z\",\"packs\":[{\"keys\":[1,5],\
         \"pack\":\"01010101-0101-0101-0101-010101010101\"},{\"keys\":[9],\
         \"pack\":\"02020202-0202-0202-0202-020202020202\"}],\
         \"shred\":\"07070707-0707-0707-0707-070707070707\",\"tenant\":\"acme\",\"v\":1}"
    );
    assert!(shred_leaf().covers(&[1; 16], 5) && !shred_leaf().covers(&[2; 16], 5));
    let refused = |change: fn(&mut serde_json::Value), field| {
        let mut body = shred_leaf().body();
        change(&mut body);
        let parsed = ShredLeaf::parse(&stamp(body, time()).unwrap());
        assert!(matches!(parsed, Err(LeafError::Field { field: found, .. }) if found == field), "{parsed:?}");
    };
    refused(|body| body["leaves"] = serde_json::json!(["20", "3"]), "leaves");
    refused(|body| body["leaves"] = serde_json::json!([3]), "leaves");
    refused(|body| body["packs"][0]["keys"] = serde_json::json!([5, 5]), "packs");
    refused(|body| body["packs"][0]["keys"] = serde_json::json!([]), "packs");
    refused(|body| body["packs"][0]["more"] = serde_json::json!(1), "packs");
    refused(|body| body["packs"][1]["pack"] = body["packs"][0]["pack"].clone(), "packs");
    refused(|body| body["cause"] = serde_json::json!("whim"), "cause");
}
