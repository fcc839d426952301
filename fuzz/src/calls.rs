//! What callers hand over: agents, and people by way of the gateway. A request for a certificate comes from whoever
//! reaches the port.

use std::sync::LazyLock;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use openarchive_domain::{AgentName, AgentRef, Digest, RetentionClass, Tenant, Timestamp};
use openarchive_index::engine::Cursor;
use openarchive_ingest::{ExpiryPlan, ObservationRecord, Offer};
use openarchive_ledger::{commitment::Salt, leaf::Envelope};
use openarchive_mail::limits::{MESSAGE_BYTES_MAX, REFERENCES_MAX, SKELETON_BYTES_MAX};
use openarchive_proto::ingest::v1 as proto;
use openarchive_trust::{CSR_BYTES_MAX, certified_key};
use prost::Message as _;
use serde_json::Value;

/// One request for each kind of key that is certified. Their private keys are gone: whatever else is certified was
/// forged.
const TRUE_REQUESTS: [&[u8]; 4] = [
    include_bytes!("../seeds/csr/ed25519.der"),
    include_bytes!("../seeds/csr/p256.der"),
    include_bytes!("../seeds/csr/p384.der"),
    include_bytes!("../seeds/csr/rsa-2048.der"),
];

static TRUE_KEYS: LazyLock<Vec<Vec<u8>>> =
    LazyLock::new(|| TRUE_REQUESTS.iter().filter_map(|request| certified_key(request).ok()).collect());

/// Only a key whose owner signed the request is certified.
pub(crate) fn csr(input: &[u8]) {
    assert_eq!(TRUE_KEYS.len(), TRUE_REQUESTS.len());
    let Ok(key) = certified_key(input) else { return };
    assert!(input.len() <= CSR_BYTES_MAX);
    assert!(TRUE_KEYS.contains(&key), "a key is certified that nobody has");
    assert_eq!(certified_key(input), Ok(key));
}

/// An offer that is taken keeps every limit, and its record can be read back as long as the mail is kept.
pub(crate) fn offer(input: &[u8]) {
    let Ok(sent) = proto::Offer::decode(input) else { return };
    let Ok(offer) = Offer::parse(Some(sent), "offer") else { return };
    assert!(offer.seat.seq > 0 && i64::try_from(offer.seat.seq).is_ok());
    assert!(offer.length <= MESSAGE_BYTES_MAX && offer.skeleton_length <= SKELETON_BYTES_MAX as u64);
    assert!(offer.parts.len() <= REFERENCES_MAX);
    assert!(offer.parts.values().all(|length| (1..=MESSAGE_BYTES_MAX).contains(length)));
    assert_eq!(Envelope::parse(&offer.envelope.value()).as_ref(), Ok(&offer.envelope));
    let (Ok(tenant), Ok(name)) = ("acme".parse::<Tenant>(), "mx1".parse::<AgentName>()) else { return };
    let record = ObservationRecord {
        agent: AgentRef { tenant, name },
        offer,
        class: RetentionClass::DEFAULT,
        recorded_at: Timestamp::from_millis(0),
        salt: Salt::new([7; 32]),
    };
    assert_eq!(ObservationRecord::decode(&record.encode()).as_ref(), Ok(&record));
}

/// A plan is read in one writing only; a run of it shreds nothing that is held or locked.
pub(crate) fn expiry_plan(input: &[u8]) {
    for bytes in [input.to_vec(), with_fitting_end(input)] {
        let Some(plan) = ExpiryPlan::decode(&bytes) else { continue };
        let text = plan.encode();
        assert_eq!(text.as_bytes(), bytes);
        for line in text.lines().filter(|line| line.starts_with(r#"{"action":"expire","#)) {
            let line: Value = serde_json::from_str(line).unwrap_or_default();
            assert_eq!(line["holds"].as_array().map(Vec::len), Some(0), "{line}");
            assert!(line["locked_until"].is_null(), "{line}");
        }
    }
}

/// The lines above the last one, under an end that fits them: whoever changes a plan by hand can write that, too.
fn with_fitting_end(input: &[u8]) -> Vec<u8> {
    let Ok(text) = str::from_utf8(input) else { return Vec::new() };
    let text = text.trim_end_matches('\n');
    let above = text.rfind('\n').map_or("", |at| &text[..=at]);
    let (mut bytes, mut expire, mut keep) = (0_u64, 0_u64, 0_u64);
    for line in above.lines().skip(1) {
        let line: Value = serde_json::from_str(line).unwrap_or_default();
        if line["action"] == "expire" {
            let length = line["length"].as_str().and_then(|length| length.parse().ok());
            bytes = bytes.saturating_add(length.unwrap_or(0));
            expire += 1;
        } else {
            keep += 1;
        }
    }
    let sha256 = Digest::of(above.as_bytes());
    let end = format!(r#"{{"bytes":"{bytes}","expire":{expire},"keep":{keep},"sha256":"{sha256}"}}"#);
    format!("{above}{end}\n").into_bytes()
}

/// A cursor is read in one writing only: as text, and as the bytes that the text stands for.
pub(crate) fn cursor(input: &[u8]) {
    for text in [String::from_utf8_lossy(input).into_owned(), URL_SAFE_NO_PAD.encode(input)] {
        if let Ok(cursor) = text.parse::<Cursor>() {
            assert_eq!(cursor.to_string(), text);
        }
    }
}
