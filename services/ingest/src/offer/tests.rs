use super::*;

fn sample() -> proto::Offer {
    proto::Offer {
        instance: vec![7; 16].into(),
        agent_epoch: u64::MAX,
        seq: 1,
        message: vec![1; 32].into(),
        length: 10,
        skeleton: vec![2; 32].into(),
        skeleton_length: 27,
        parts: vec![part(3, 5)],
        envelope: Some(proto::Envelope {
            from: String::new(),
            to: vec!["a@example.org".to_owned()],
            peer: "192.0.2.1".to_owned(),
            mode: "plain".to_owned(),
        }),
        occurred_at: "2024-05-01T10:00:00.000Z".to_owned(),
        state: proto::State::Stored.into(),
        reason: String::new(),
        flags: vec!["bare-cr".to_owned()],
        header: None,
    }
}

fn part(byte: u8, length: u64) -> proto::OfferPart {
    proto::OfferPart { digest: vec![byte; 32].into(), length }
}

fn envelope(offer: &mut proto::Offer) -> &mut proto::Envelope {
    offer.envelope.as_mut().unwrap()
}

/// `change` must make the field `named` the one that is refused.
fn refused(named: &str, change: impl FnOnce(&mut proto::Offer)) {
    let mut offer = sample();
    change(&mut offer);
    let error = Offer::parse(Some(offer), "offer").expect_err(named);
    assert_eq!(error.field, named, "{error}");
}

fn accepted(change: impl FnOnce(&mut proto::Offer)) -> Offer {
    let mut offer = sample();
    change(&mut offer);
    Offer::parse(Some(offer), "offer").unwrap()
}

#[test]
fn an_offer_is_read_whole() {
    let offer = accepted(|_| {});
    assert_eq!(offer.seat, Seat { instance: [7; 16], agent_epoch: u64::MAX, seq: 1 });
    assert_eq!(offer.parts, Parts::from([(Digest::from_bytes([3; 32]), 5)]));
    assert_eq!(offer.arrival, Arrival::Accepted);
    assert_eq!(offer.envelope.to, ["a@example.org"]);
    assert_eq!(offer.flags, ["bare-cr"]);
}

#[test]
fn each_field_that_is_wrong_is_named() {
    assert_eq!(Offer::parse(None, "items[4].offer").unwrap_err().field, "items[4].offer");
    refused("offer.instance", |offer| offer.instance = vec![7; 15].into());
    refused("offer.seq", |offer| offer.seq = 0);
    refused("offer.seq", |offer| offer.seq = 1 << 63);
    refused("offer.message", |offer| offer.message = vec![1; 31].into());
    refused("offer.skeleton", |offer| offer.skeleton = vec![1; 33].into());
    refused("offer.parts[1].digest", |offer| {
        offer.parts.push(proto::OfferPart { digest: vec![].into(), length: 1 });
    });
    refused("offer.parts[0].length", |offer| offer.parts[0].length = 0);
    refused("offer.parts[1].length", |offer| offer.parts.push(part(3, 6)));
    refused("offer.envelope", |offer| offer.envelope = None);
    refused("offer.envelope.peer", |offer| envelope(offer).peer = String::new());
    refused("offer.envelope.peer", |offer| envelope(offer).peer = "a b".to_owned());
    refused("offer.envelope.mode", |offer| envelope(offer).mode = String::new());
    refused("offer.occurred_at", |offer| offer.occurred_at = "2024-05-01T10:00:00Z".to_owned());
    refused("offer.state", |offer| offer.state = proto::State::Unspecified.into());
    refused("offer.state", |offer| offer.state = 77);
    refused("offer.reason", |offer| offer.state = proto::State::Quarantined.into());
    refused("offer.reason", |offer| offer.reason = "from a@example.org".to_owned());
    refused("offer.flags", |offer| offer.flags.push("Sp ace".to_owned()));
}

#[test]
fn every_limit_holds_on_both_sides() {
    accepted(|offer| offer.length = MESSAGE_BYTES_MAX);
    refused("offer.length", |offer| offer.length = MESSAGE_BYTES_MAX + 1);
    accepted(|offer| offer.skeleton_length = SKELETON_BYTES_MAX as u64);
    refused("offer.skeleton_length", |offer| offer.skeleton_length = SKELETON_BYTES_MAX as u64 + 1);
    accepted(|offer| offer.parts = vec![part(3, MESSAGE_BYTES_MAX)]);
    refused("offer.parts[0].length", |offer| offer.parts = vec![part(3, MESSAGE_BYTES_MAX + 1)]);
    accepted(|offer| offer.parts = vec![part(3, 5); REFERENCES_MAX]);
    refused("offer.parts", |offer| offer.parts = vec![part(3, 5); REFERENCES_MAX + 1]);
    accepted(|offer| envelope(offer).to = vec![String::new(); RECIPIENTS_MAX]);
    refused("offer.envelope.to", |offer| envelope(offer).to = vec![String::new(); RECIPIENTS_MAX + 1]);
    accepted(|offer| envelope(offer).from = "x".repeat(ADDRESS_BYTES_MAX));
    refused("offer.envelope.from", |offer| envelope(offer).from = "x".repeat(ADDRESS_BYTES_MAX + 1));
    refused("offer.envelope.to", |offer| envelope(offer).to = vec!["x".repeat(ADDRESS_BYTES_MAX + 1)]);
    let of_length = |offer: &mut proto::Offer, bytes: usize| {
        let address = "x".repeat(ADDRESS_BYTES_MAX);
        let written = address.len() + r#","""#.len();
        envelope(offer).to = vec![address; bytes / written - 1];
        let value =
            |offer: &mut proto::Offer| parse_envelope(offer.envelope.clone(), "").unwrap().value().len();
        let missing = bytes - value(offer);
        envelope(offer).to.push("y".repeat((missing - 3) / 2));
        envelope(offer).to.push("y".repeat(missing - 3 - (missing - 3) / 2 - 3));
        assert_eq!(value(offer), bytes);
    };
    accepted(|offer| of_length(offer, ENVELOPE_BYTES_MAX));
    refused("offer.envelope", |offer| {
        of_length(offer, ENVELOPE_BYTES_MAX);
        envelope(offer).from = "y".to_owned();
    });
    accepted(|offer| envelope(offer).peer = "x".repeat(PEER_BYTES_MAX));
    refused("offer.envelope.peer", |offer| envelope(offer).peer = "x".repeat(PEER_BYTES_MAX + 1));
    accepted(|offer| envelope(offer).mode = "x".repeat(MODE_BYTES_MAX));
    refused("offer.envelope.mode", |offer| envelope(offer).mode = "x".repeat(MODE_BYTES_MAX + 1));
    accepted(|offer| offer.reason = "x".repeat(REASON_BYTES_MAX));
    refused("offer.reason", |offer| offer.reason = "x".repeat(REASON_BYTES_MAX + 1));
    accepted(|offer| offer.flags = vec!["x".repeat(FLAG_BYTES_MAX); FLAGS_MAX]);
    refused("offer.flags", |offer| offer.flags = vec!["x".repeat(FLAG_BYTES_MAX + 1)]);
    refused("offer.flags", |offer| offer.flags = vec!["x".to_owned(); FLAGS_MAX + 1]);
}

#[test]
fn quarantined_mail_says_why() {
    let offer = accepted(|offer| {
        offer.state = proto::State::Quarantined.into();
        offer.reason = "not jrn-plus".to_owned();
    });
    assert_eq!(offer.arrival, Arrival::Quarantined { reason: "not jrn-plus".to_owned() });
}
