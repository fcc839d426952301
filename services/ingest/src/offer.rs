//! What an agent says of one mail, checked field by field.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use openarchive_domain::{Digest, Seat, Timestamp};
use openarchive_ledger::leaf::Envelope;
use openarchive_mail::limits::{MESSAGE_BYTES_MAX, REFERENCES_MAX, SKELETON_BYTES_MAX};
use openarchive_proto::ingest::v1 as proto;

use crate::failure::FieldError;

/// Most recipients of one envelope.
pub(crate) const RECIPIENTS_MAX: usize = 10_000;
/// Longest address of an envelope, in bytes.
pub(crate) const ADDRESS_BYTES_MAX: usize = 2_048;
/// Longest envelope in its canonical form, in bytes: twice base64 in a receipt, still within what a verifier reads.
pub(crate) const ENVELOPE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Longest name of a peer, in bytes.
pub(crate) const PEER_BYTES_MAX: usize = 256;
/// Longest name of a journal mode, in bytes.
pub(crate) const MODE_BYTES_MAX: usize = 32;
/// Longest reason of a quarantine, in bytes.
pub(crate) const REASON_BYTES_MAX: usize = 200;
/// Most splitter flags of one mail.
pub(crate) const FLAGS_MAX: usize = 32;
/// Longest splitter flag, in bytes.
pub(crate) const FLAG_BYTES_MAX: usize = 64;

/// Each part once, with the length of its decoded content in bytes.
pub type Parts = BTreeMap<Digest, u64>;

/// How the agent took the mail in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arrival {
    /// Whether it is the first of its bytes is the core's to decide.
    Accepted,
    /// It did not fit its peer's mode; the reason is a fixed phrase without personal data.
    Quarantined { reason: String },
}

/// A mail that an agent has and the archive may lack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    pub seat: Seat,
    /// SHA-256 of the message's exact bytes.
    pub message: Digest,
    /// Of the message, in bytes.
    pub length: u64,
    /// SHA-256 of the skeleton's encoding.
    pub skeleton: Digest,
    /// Of the skeleton's encoding, in bytes.
    pub skeleton_length: u64,
    pub parts: Parts,
    pub envelope: Envelope,
    /// The agent's clock when it accepted the mail.
    pub occurred_at: Timestamp,
    pub arrival: Arrival,
    /// Names of the splitter's flags.
    pub flags: Vec<String>,
}

impl Offer {
    /// Checks every field against its limit. `path`: where the offer stands in the request.
    pub fn parse(offer: Option<proto::Offer>, path: &str) -> Result<Self, FieldError> {
        let offer = offer.ok_or_else(|| FieldError::new(path, "there"))?;
        let at = |field: &str| format!("{path}.{field}");
        Ok(Self {
            seat: parse_seat(&offer.instance, offer.agent_epoch, offer.seq, path)?,
            message: parse_digest(&offer.message, &at("message"))?,
            length: at_most(offer.length, MESSAGE_BYTES_MAX, &at("length"))?,
            skeleton: parse_digest(&offer.skeleton, &at("skeleton"))?,
            skeleton_length: at_most(
                offer.skeleton_length,
                SKELETON_BYTES_MAX as u64,
                &at("skeleton_length"),
            )?,
            parts: parse_parts(&offer.parts, path)?,
            arrival: parse_arrival(offer.state(), &offer.reason, path)?,
            envelope: parse_envelope(offer.envelope, &at("envelope"))?,
            occurred_at: offer
                .occurred_at
                .parse()
                .map_err(|_| FieldError::new(at("occurred_at"), "a UTC time as YYYY-MM-DDTHH:MM:SS.mmmZ"))?,
            flags: parse_flags(offer.flags, &at("flags"))?,
        })
    }
}

/// Sixteen bytes and numbers that a signed 64-bit column can hold.
pub(crate) fn parse_seat(
    instance: &[u8],
    agent_epoch: u64,
    seq: u64,
    path: &str,
) -> Result<Seat, FieldError> {
    let instance = parse_instance(instance, path)?;
    if seq == 0 || i64::try_from(seq).is_err() {
        return Err(FieldError::new(format!("{path}.seq"), "from 1 to 2^63 - 1"));
    }
    Ok(Seat { instance, agent_epoch, seq })
}

pub(crate) fn parse_instance(instance: &[u8], path: &str) -> Result<[u8; 16], FieldError> {
    instance.try_into().map_err(|_| FieldError::new(format!("{path}.instance"), "16 bytes"))
}

pub(crate) fn parse_digest(digest: &[u8], field: &str) -> Result<Digest, FieldError> {
    digest.try_into().map_err(|_| FieldError::new(field, "a SHA-256 digest of 32 bytes"))
}

fn at_most(value: u64, max: u64, field: &str) -> Result<u64, FieldError> {
    if value <= max { Ok(value) } else { Err(FieldError::new(field, format!("at most {max}"))) }
}

fn parse_parts(parts: &[proto::OfferPart], path: &str) -> Result<Parts, FieldError> {
    if parts.len() > REFERENCES_MAX {
        return Err(FieldError::new(format!("{path}.parts"), format!("at most {REFERENCES_MAX}")));
    }
    let mut parsed = Parts::new();
    for (position, part) in parts.iter().enumerate() {
        let at = |field: &str| format!("{path}.parts[{position}].{field}");
        let digest = parse_digest(&part.digest, &at("digest"))?;
        if part.length == 0 {
            return Err(FieldError::new(at("length"), "from 1 on"));
        }
        let length = at_most(part.length, MESSAGE_BYTES_MAX, &at("length"))?;
        if parsed.insert(digest, length).is_some_and(|other| other != length) {
            return Err(FieldError::new(at("length"), "the same wherever the same part is named"));
        }
    }
    Ok(parsed)
}

fn parse_arrival(state: proto::State, reason: &str, path: &str) -> Result<Arrival, FieldError> {
    let is_phrase = reason.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    if reason.len() > REASON_BYTES_MAX || !is_phrase || reason.contains('@') {
        let expected = format!("a phrase of at most {REASON_BYTES_MAX} ASCII characters without @");
        return Err(FieldError::new(format!("{path}.reason"), expected));
    }
    match state {
        proto::State::Stored => Ok(Arrival::Accepted),
        proto::State::Quarantined if reason.is_empty() => {
            Err(FieldError::new(format!("{path}.reason"), "given for quarantined mail"))
        }
        proto::State::Quarantined => Ok(Arrival::Quarantined { reason: reason.to_owned() }),
        proto::State::Unspecified => {
            Err(FieldError::new(format!("{path}.state"), "STATE_STORED or STATE_QUARANTINED"))
        }
    }
}

fn parse_envelope(envelope: Option<proto::Envelope>, path: &str) -> Result<Envelope, FieldError> {
    let at = |field: &str| format!("{path}.{field}");
    let envelope = envelope.ok_or_else(|| FieldError::new(path, "there"))?;
    if envelope.to.len() > RECIPIENTS_MAX {
        return Err(FieldError::new(at("to"), format!("at most {RECIPIENTS_MAX} recipients")));
    }
    for (field, address) in
        [("from", &envelope.from)].into_iter().chain(envelope.to.iter().map(|to| ("to", to)))
    {
        if address.len() > ADDRESS_BYTES_MAX {
            return Err(FieldError::new(at(field), format!("at most {ADDRESS_BYTES_MAX} bytes an address")));
        }
    }
    let proto::Envelope { from, to, peer, mode } = envelope;
    let is_name = |text: &str, bytes_max: usize| {
        !text.is_empty() && text.len() <= bytes_max && text.bytes().all(|byte| byte.is_ascii_graphic())
    };
    if !is_name(&peer, PEER_BYTES_MAX) {
        return Err(FieldError::new(at("peer"), format!("1 to {PEER_BYTES_MAX} visible ASCII characters")));
    }
    if !is_name(&mode, MODE_BYTES_MAX) {
        return Err(FieldError::new(at("mode"), "the name of a journal mode, like plain or jrn-plus"));
    }
    let envelope = Envelope { from, mode, peer, to };
    if envelope.value().len() > ENVELOPE_BYTES_MAX {
        return Err(FieldError::new(path, format!("at most {ENVELOPE_BYTES_MAX} bytes as JSON")));
    }
    Ok(envelope)
}

fn parse_flags(flags: Vec<String>, field: &str) -> Result<Vec<String>, FieldError> {
    let is_name = |flag: &String| {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
        !flag.is_empty() && flag.len() <= FLAG_BYTES_MAX && flag.bytes().all(allowed)
    };
    if flags.len() <= FLAGS_MAX && flags.iter().all(is_name) {
        return Ok(flags);
    }
    let expected =
        format!("at most {FLAGS_MAX} names of a-z, 0-9, - and _ of at most {FLAG_BYTES_MAX} bytes");
    Err(FieldError::new(field, expected))
}
