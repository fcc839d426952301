use std::fmt;

use serde_json::{Value, json};

use crate::jcs;

/// Bytes that are no envelope value. Says nothing of what they hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the envelope is not canonical JSON of exactly from, mode, peer and to")]
pub struct EnvelopeError;

/// What the mail server said beside the message. Personal data: it stands in leaves as a commitment only.
#[derive(Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The sender; empty for the null sender.
    pub from: String,
    /// The journal mode of the peer entry.
    pub mode: String,
    /// The peer that sent it.
    pub peer: String,
    /// Every recipient, in the order of RCPT commands.
    pub to: Vec<String>,
}

impl Envelope {
    /// The bytes that are committed to.
    pub fn value(&self) -> Vec<u8> {
        let value = json!({ "from": self.from, "mode": self.mode, "peer": self.peer, "to": self.to });
        jcs::canonicalize(&value).expect("an envelope is strings under ASCII keys, nested twice").into_bytes()
    }

    /// Reads what [`Envelope::value`] writes.
    pub fn parse(value: &[u8]) -> Result<Self, EnvelopeError> {
        let parsed: Value = serde_json::from_slice(value).map_err(|_| EnvelopeError)?;
        let string = |value: &Value| value.as_str().map(str::to_owned).ok_or(EnvelopeError);
        let to = parsed["to"].as_array().ok_or(EnvelopeError)?;
        let envelope = Self {
            from: string(&parsed["from"])?,
            mode: string(&parsed["mode"])?,
            peer: string(&parsed["peer"])?,
            to: to.iter().map(string).collect::<Result<_, _>>()?,
        };
        // Refuses further fields and any other writing.
        if envelope.value() == value { Ok(envelope) } else { Err(EnvelopeError) }
    }
}

/// Shows no address.
impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Envelope({} recipients)", self.to.len())
    }
}
