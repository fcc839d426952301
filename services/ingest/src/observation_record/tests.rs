use openarchive_domain::Seat;
use openarchive_ledger::leaf::Envelope;

use super::*;
use crate::offer::Parts;

/// Made with Python's json module from the table above; version 1 must read it for ever.
const VECTOR_V1: &str = concat!(
    r#"{"agent":"mx1","agent_epoch":"18446744073709551615","class":"10y-received-forbidden","#,
    r#""envelope":{"from":"","mode":"jrn-plus","peer":"192.0.2.1","#,
    r#""to":["b@example.org","ä@example.org","b@example.org"]},"flags":["bare-cr"],"#,
    r#""instance":"00112233-4455-6677-8899-aabbccddeeff","kind":"observation","length":"2048","#,
    r#""message":"sha256:ab530a13e45914982b79f9b7e3fba994cfd1f3fb22f71cea1afbf02b460c6d1d","#,
    r#""occurred_at":"2024-05-01T10:00:00.123Z","parts":["#,
    r#"{"digest":"sha256:1111111111111111111111111111111111111111111111111111111111111111","length":"1024"},"#,
    r#"{"digest":"sha256:2222222222222222222222222222222222222222222222222222222222222222","length":"4096"}],"#,
    r#""reason":"not jrn-plus","record_salt":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=","#,
    r#""recorded_at":"2024-05-01T10:00:05.000Z","seq":"42","#,
    r#""skeleton":"sha256:2ac11a92104c4d7d1403c56587d239f7a46d17192a2f2a9d12fda14dfa806574","#,
    r#""skeleton_length":"512","state":"quarantined","tenant":"acme","v":1}"#,
);

fn record() -> ObservationRecord {
    ObservationRecord {
        agent: "acme/mx1".parse().unwrap(),
        class: RetentionClass::DEFAULT,
        recorded_at: "2024-05-01T10:00:05.000Z".parse().unwrap(),
        salt: Salt::new(std::array::from_fn(|i| i as u8)),
        offer: Offer {
            seat: Seat { instance: std::array::from_fn(|i| i as u8 * 0x11), agent_epoch: u64::MAX, seq: 42 },
            message: Digest::of(b"message"),
            length: 2048,
            skeleton: Digest::of(b"skeleton"),
            skeleton_length: 512,
            parts: Parts::from([
                (Digest::from_bytes([0x22; 32]), 4096),
                (Digest::from_bytes([0x11; 32]), 1024),
            ]),
            envelope: Envelope {
                from: String::new(),
                mode: "jrn-plus".to_owned(),
                peer: "192.0.2.1".to_owned(),
                to: ["b@example.org", "ä@example.org", "b@example.org"].map(str::to_owned).to_vec(),
            },
            occurred_at: "2024-05-01T10:00:00.123Z".parse().unwrap(),
            arrival: Arrival::Quarantined { reason: "not jrn-plus".to_owned() },
            flags: vec!["bare-cr".to_owned()],
        },
    }
}

fn accepted() -> ObservationRecord {
    let mut record = record();
    record.offer.arrival = Arrival::Accepted;
    record
}

#[test]
fn the_stored_form_is_the_one_that_an_independent_program_writes() {
    assert_eq!(String::from_utf8(record().encode()).unwrap(), VECTOR_V1);
    assert_eq!(ObservationRecord::decode(VECTOR_V1.as_bytes()), Ok(record()));
    assert_eq!(
        Digest::of(VECTOR_V1.as_bytes()).hex(),
        "0ea2dbb15dbfd142ed86037bcc60d21ab3658466b3ca3c570870b63158879c3d"
    );
}

#[test]
fn the_leafs_commitments_are_the_ones_that_an_independent_program_makes() {
    let leaf = record().leaf(MessageState::Quarantined);
    assert_eq!(leaf.message.to_string(), "MHnpre85C8lFBaWxzZRMivFr/OtttjAcZ3xH6bI4rR4=");
    assert_eq!(leaf.envelope.to_string(), "Bv4KPDzpwuG41fi7kN2Nsel36Eaep3Sqy2qZCOZpzlA=");
}

#[test]
fn accepted_mail_reads_back_too() {
    assert_eq!(ObservationRecord::decode(&accepted().encode()), Ok(accepted()));
}

#[test]
fn nothing_but_the_canonical_form_is_read() {
    let check = |text: &str, error| {
        assert_eq!(ObservationRecord::decode(text.as_bytes()), Err(error), "{text}");
    };
    let changed = |from: &str, to: &str| VECTOR_V1.replacen(from, to, 1);
    check("", RecordError::NotJson);
    check("[]", RecordError::Field("v"));
    check(&changed(r#""v":1"#, r#""v":2"#), RecordError::Field("v"));
    check(&changed("observation", "message"), RecordError::Field("kind"));
    check(&changed(r#""seq":"42""#, r#""seq":42"#), RecordError::Field("seq"));
    check(&changed(r#""seq":"42""#, r#""seq":"042""#), RecordError::NotCanonical);
    check(&changed("AAEC", "AAE"), RecordError::Field("record_salt"));
    check(&changed("quarantined", "duplicate"), RecordError::Field("state"));
    // A reason belongs to a quarantine only.
    check(&changed("quarantined", "stored"), RecordError::NotCanonical);
    check(&changed(r#""flags":["bare-cr"],"#, ""), RecordError::Field("flags"));
    check(&changed(r#""v":1"#, r#""v":1,"w":1"#), RecordError::NotCanonical);
    check(&changed(r#""v":1}"#, "\"v\":1}\n"), RecordError::NotCanonical);
    let long = vec![b' '; RECORD_BYTES_MAX + 1];
    assert_eq!(ObservationRecord::decode(&long), Err(RecordError::TooLong(long.len())));
    assert_eq!(ObservationRecord::decode(&long[1..]), Err(RecordError::NotJson));
}

#[test]
fn a_record_opens_its_own_leaf_and_no_other() {
    let record = accepted();
    let leaf = record.leaf(MessageState::Duplicate);
    assert!(record.opens(&leaf) && record.opens(&record.leaf(MessageState::Stored)));
    // What was offered as ordinary mail cannot have ended in quarantine.
    assert!(!record.opens(&record.leaf(MessageState::Quarantined)));
    let mut other_salt = record.clone();
    other_salt.salt = Salt::new([9; 32]);
    assert!(!other_salt.opens(&leaf));
    let mut other_seat = record.clone();
    other_seat.offer.seat.seq += 1;
    assert!(!other_seat.opens(&leaf));
    let mut other_message = record;
    other_message.offer.message = Digest::of(b"other");
    assert!(!other_message.opens(&leaf));
}

#[test]
fn the_state_follows_from_how_it_arrived_and_whether_the_bytes_are_new() {
    assert_eq!(accepted().state(MessageIs::New), MessageState::Stored);
    assert_eq!(accepted().state(MessageIs::Known), MessageState::Duplicate);
    assert_eq!(record().state(MessageIs::New), MessageState::Quarantined);
    assert_eq!(record().state(MessageIs::Known), MessageState::Quarantined);
}

#[test]
fn debug_shows_no_address_and_no_salt() {
    let shown = format!("{:?}", record());
    assert!(!shown.contains("example.org") && !shown.contains("AAEC"), "{shown}");
}
