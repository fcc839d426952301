use base64::{Engine as _, engine::general_purpose::STANDARD};
use openarchive_domain::{AgentRef, Digest};
use openarchive_ledger::{
    commitment::Salt,
    leaf::{Envelope, MessageState, parse_uuid_text},
};
use serde_json::Value;

use super::{ObservationRecord, RECORD_BYTES_MAX, VERSION};
use crate::offer::{Arrival, Offer, Parts};
use openarchive_domain::Seat;

/// Bytes that are no observation of this version. Says nothing of their content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error("the observation is {0} bytes long: at most {RECORD_BYTES_MAX} are read")]
    TooLong(usize),
    #[error("the observation is not JSON")]
    NotJson,
    #[error("the observation's field `{0}` is missing or has another form than version {VERSION} gives it")]
    Field(&'static str),
    #[error(
        "the observation is not written in its canonical form, or has fields that version {VERSION} lacks"
    )]
    NotCanonical,
}

impl ObservationRecord {
    /// Reads what [`ObservationRecord::encode`] writes and nothing else.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        if bytes.len() > RECORD_BYTES_MAX {
            return Err(RecordError::TooLong(bytes.len()));
        }
        let value: Value = serde_json::from_slice(bytes).map_err(|_| RecordError::NotJson)?;
        let record = read(&value)?;
        // Refuses further fields and any other writing of the same content.
        if record.encode() == bytes { Ok(record) } else { Err(RecordError::NotCanonical) }
    }
}

fn read(value: &Value) -> Result<ObservationRecord, RecordError> {
    if value["v"].as_u64() != Some(VERSION) {
        return Err(RecordError::Field("v"));
    }
    if value["kind"].as_str() != Some("observation") {
        return Err(RecordError::Field("kind"));
    }
    let agent = AgentRef { tenant: parsed(value, "tenant")?, name: parsed(value, "agent")? };
    let salt = text(value, "record_salt")?;
    let salt = STANDARD.decode(salt).ok().and_then(|salt| salt.try_into().ok());
    Ok(ObservationRecord {
        agent,
        class: parsed(value, "class")?,
        recorded_at: parsed(value, "recorded_at")?,
        salt: Salt::new(salt.ok_or(RecordError::Field("record_salt"))?),
        offer: read_offer(value)?,
    })
}

fn read_offer(value: &Value) -> Result<Offer, RecordError> {
    Ok(Offer {
        seat: Seat {
            instance: parse_uuid_text(text(value, "instance")?).ok_or(RecordError::Field("instance"))?,
            agent_epoch: parsed(value, "agent_epoch")?,
            seq: parsed(value, "seq")?,
        },
        message: parsed(value, "message")?,
        length: parsed(value, "length")?,
        skeleton: parsed(value, "skeleton")?,
        skeleton_length: parsed(value, "skeleton_length")?,
        parts: read_parts(value).ok_or(RecordError::Field("parts"))?,
        envelope: read_envelope(&value["envelope"]).ok_or(RecordError::Field("envelope"))?,
        occurred_at: parsed(value, "occurred_at")?,
        arrival: read_arrival(value)?,
        flags: strings(&value["flags"]).ok_or(RecordError::Field("flags"))?,
    })
}

fn read_arrival(value: &Value) -> Result<Arrival, RecordError> {
    match parsed(value, "state")? {
        MessageState::Stored => Ok(Arrival::Accepted),
        MessageState::Quarantined => Ok(Arrival::Quarantined { reason: text(value, "reason")?.to_owned() }),
        MessageState::Duplicate => Err(RecordError::Field("state")),
    }
}

fn read_parts(value: &Value) -> Option<Parts> {
    let part = |part: &Value| {
        let digest: Digest = part["digest"].as_str()?.parse().ok()?;
        Some((digest, part["length"].as_str()?.parse().ok()?))
    };
    value["parts"].as_array()?.iter().map(part).collect()
}

fn read_envelope(value: &Value) -> Option<Envelope> {
    let string = |field: &str| value[field].as_str().map(str::to_owned);
    Some(Envelope {
        from: string("from")?,
        mode: string("mode")?,
        peer: string("peer")?,
        to: strings(&value["to"])?,
    })
}

fn strings(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect()
}

fn text<'a>(value: &'a Value, field: &'static str) -> Result<&'a str, RecordError> {
    value[field].as_str().ok_or(RecordError::Field(field))
}

fn parsed<T: std::str::FromStr>(value: &Value, field: &'static str) -> Result<T, RecordError> {
    text(value, field)?.parse().map_err(|_| RecordError::Field(field))
}
