//! The text of Exchange 2000 and Exchange Server 2003: three fields, the last a list over many lines.
//!
//! ```text
//! Sender: "Display name" <SMTP:address>
//! Message-ID: <id>
//! Recipients:
//! "Display name" <SMTP:address>,
//! "Display name" <SMTP:address>
//! ```
//! Long lines are broken anywhere.

use super::{super::address, Recipient, RecipientKind, ReportEnvelope};

const FIELDS: [&str; 3] = ["sender:", "message-id:", "recipients:"];

/// How a null sender is written.
const NULL_SENDER: &str = ":<>>";

/// `None` if the text is not of this format.
pub(super) fn parse(text: &str) -> Option<ReportEnvelope> {
    let mut values: [Option<String>; 3] = [None, None, None];
    let mut open: Option<usize> = None;
    for line in text.split('\n') {
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.trim().is_empty() {
            open = None;
            continue;
        }
        let (index, value) = match field(line) {
            Some((index, value)) if values[index].is_none() => (index, value),
            Some(_) => return None,
            None => (open?, line),
        };
        open = Some(index);
        let field = values[index].get_or_insert_default();
        field.push_str(value);
        field.push('\n');
    }
    let [sender, message_id, recipients] = values;
    let recipients = address::list(&recipients?)?
        .into_iter()
        .map(|address| Recipient { address, kind: RecipientKind::Recipient, via: Vec::new() })
        .collect();
    Some(ReportEnvelope {
        sender: sender_address(&sender?)?,
        on_behalf_of: None,
        subject: None,
        message_id: message_id?.replace('\n', "").trim().to_owned(),
        recipients,
    })
}

fn field(line: &str) -> Option<(usize, &str)> {
    FIELDS.iter().enumerate().find_map(|(index, name)| {
        let (found, value) = line.split_at_checked(name.len())?;
        found.eq_ignore_ascii_case(name).then_some((index, value))
    })
}

fn sender_address(value: &str) -> Option<String> {
    if value.trim().is_empty() || value.trim_end().ends_with(NULL_SENDER) {
        return Some(String::new());
    }
    match address::pieces(value)?.as_slice() {
        [only] => address::one(only),
        _ => None,
    }
}
