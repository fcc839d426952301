//! The text of Exchange Server 2007 and later and of Microsoft 365: one field a line.
//!
//! ```text
//! Sender: <address>
//! On-Behalf-Of: <address>                      (if somebody sent for somebody else)
//! Subject: <text>
//! Message-Id: <id>
//! To|Cc|Bcc|Recipient: <address>[, Expanded: <list>][, Forwarded: <mailbox>]     (one or more)
//! ```
//! The subject is the sender's to choose and may hold line breaks of his. Therefore the order is demanded: no recipient
//! before the Message-Id, nothing of the head after it, no field of the head twice.

use super::{super::address, Recipient, RecipientKind, ReportEnvelope, Via};

/// What the server writes where it knows no address.
const UNSPECIFIED: &str = "unspecified address";

/// `None` if the text is not of this format.
pub(super) fn parse(text: &str) -> Option<ReportEnvelope> {
    let (mut sender, mut subject, mut message_id, mut on_behalf_of) = (None, None, None, None);
    let mut recipients = Vec::new();
    for (name, value) in fields(text)? {
        let (name, in_head) = (name.to_ascii_lowercase(), message_id.is_none());
        match (name.as_str(), in_head) {
            ("sender", true) => set(&mut sender, sender_address(&value)?)?,
            ("subject", true) => set(&mut subject, value)?,
            ("message-id", true) => message_id = Some(value),
            ("sender" | "subject" | "message-id", false) => return None,
            // Exchange 2007 has it among the recipients.
            ("on-behalf-of", _) => set(&mut on_behalf_of, sender_address(&value)?)?,
            (name, _) => match kind(name) {
                Some(_) if in_head => return None,
                Some(kind) => recipients.push(recipient(kind, &value)?),
                // Fields of later versions.
                None => {}
            },
        }
    }
    Some(ReportEnvelope { sender: sender?, on_behalf_of, subject, message_id: message_id?, recipients })
}

fn kind(name: &str) -> Option<RecipientKind> {
    match name {
        "to" => Some(RecipientKind::To),
        "cc" => Some(RecipientKind::Cc),
        "bcc" => Some(RecipientKind::Bcc),
        "recipient" => Some(RecipientKind::Recipient),
        _ => None,
    }
}

/// `None` the second time.
fn set(field: &mut Option<String>, value: String) -> Option<()> {
    let is_first = field.is_none();
    *field = Some(value);
    is_first.then_some(())
}

/// Names and values; a line that begins with white space continues the one before.
fn fields(text: &str) -> Option<Vec<(&str, String)>> {
    let mut fields: Vec<(&str, String)> = Vec::new();
    for line in text.split('\n') {
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.trim().is_empty() {
            continue;
        }
        if line.starts_with([' ', '\t']) {
            let (_, value) = fields.last_mut()?;
            value.push(' ');
            value.push_str(line.trim());
            continue;
        }
        let (name, value) = line.split_once(':')?;
        let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if !is_name {
            return None;
        }
        fields.push((name, value.trim().to_owned()));
    }
    Some(fields)
}

fn sender_address(value: &str) -> Option<String> {
    if value.is_empty() || value.eq_ignore_ascii_case(UNSPECIFIED) {
        return Some(String::new());
    }
    address::one(value)
}

fn recipient(kind: RecipientKind, value: &str) -> Option<Recipient> {
    let pieces = address::pieces(value)?;
    let (first, suffixes) = pieces.split_first()?;
    let via = suffixes.iter().map(|piece| via(piece)).collect::<Option<_>>()?;
    Some(Recipient { address: address::one(first)?, kind, via })
}

fn via(piece: &str) -> Option<Via> {
    let (name, value) = piece.split_once(':')?;
    let address = address::one(value).filter(|address| !address.is_empty())?;
    match name.trim().to_ascii_lowercase().as_str() {
        "expanded" => Some(Via::Expanded(address)),
        "forwarded" => Some(Via::Forwarded(address)),
        _ => None,
    }
}
