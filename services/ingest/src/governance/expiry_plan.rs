//! The file that an expiry plan is: what a person reads before mail goes, and what a run follows to the letter.
//!
//! JSON lines, each canonical (RFC 8785): a header, one line for each mail by id, an end with the SHA-256 of all bytes
//! before it. The digest finds what was changed by accident; that a plan asks for nothing that is not due is checked
//! against the archive, mail by mail, when it is run.

use openarchive_domain::{Digest, RetentionClass, Tenant, Timestamp};
use openarchive_ledger::jcs;
use serde_json::{Value, json};

/// Mails of one plan, at most.
pub const EXPIRY_PLAN_MESSAGES_MAX: u32 = 10_000;
/// Longest plan that is read, in bytes: of as many mails under a few holds each.
pub const EXPIRY_PLAN_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Holds that a line names, at most; one is enough to keep the mail.
pub(super) const HOLDS_NAMED_MAX: i64 = 10;

const KIND: &str = "expiry-plan";
const VERSION: u64 = 1;

/// Which mail's time is over at a moment, as it was seen at another. Public for the crate that fuzzes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpiryPlan {
    pub(crate) tenant: Tenant,
    /// Mail that expires by then.
    pub(crate) at: Timestamp,
    pub(crate) made_at: Timestamp,
    /// Of the ids behind this; none: from the first.
    pub(crate) after: Option<Digest>,
    /// Up to this one; none: to the last.
    pub(crate) through: Option<Digest>,
    /// By id.
    pub(crate) lines: Vec<PlanLine>,
}

/// One mail whose time is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlanLine {
    pub(crate) message: Digest,
    pub(crate) class: RetentionClass,
    pub(crate) expires_at: Timestamp,
    /// Of the mail, in bytes.
    pub(crate) length: u64,
    /// How often it was archived: as many records go.
    pub(crate) observations: u32,
    /// Its attachments; those that other mail needs stay.
    pub(crate) parts: u32,
    /// Names of holds that keep it.
    pub(crate) holds: Vec<String>,
    /// Until when a key of it cannot be destroyed; none: it can now.
    pub(crate) locked_until: Option<Timestamp>,
}

impl PlanLine {
    /// Whether a run shreds it.
    pub(crate) fn expires(&self) -> bool {
        self.holds.is_empty() && self.locked_until.is_none()
    }

    fn encode(&self) -> Value {
        json!({
            "action": if self.expires() { "expire" } else { "keep" },
            "class": self.class.to_string(),
            "expires_at": self.expires_at.to_string(),
            "holds": self.holds,
            "length": self.length.to_string(),
            "locked_until": self.locked_until.map(|until| until.to_string()),
            "message": self.message.to_string(),
            "observations": self.observations,
            "parts": self.parts,
        })
    }

    fn decode(line: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(line).ok()?;
        let text = |field: &str| value[field].as_str();
        let count = |field: &str| u32::try_from(value[field].as_u64()?).ok();
        let holds = value["holds"].as_array()?.iter().map(|hold| hold.as_str().map(str::to_owned));
        let locked_until = match &value["locked_until"] {
            Value::Null => None,
            until => Some(until.as_str()?.parse().ok()?),
        };
        Some(Self {
            message: text("message")?.parse().ok()?,
            class: text("class")?.parse().ok()?,
            expires_at: text("expires_at")?.parse().ok()?,
            length: text("length")?.parse().ok()?,
            observations: count("observations")?,
            parts: count("parts")?,
            holds: holds.collect::<Option<_>>()?,
            locked_until,
        })
    }
}

impl ExpiryPlan {
    pub(crate) fn expiring(&self) -> impl Iterator<Item = &PlanLine> {
        self.lines.iter().filter(|line| line.expires())
    }

    pub fn encode(&self) -> String {
        let id = |message: Option<&Digest>| message.map_or_else(String::new, Digest::to_string);
        let header = json!({
            "after": id(self.after.as_ref()),
            "at": self.at.to_string(),
            "kind": KIND,
            "made_at": self.made_at.to_string(),
            "tenant": self.tenant.as_str(),
            "through": id(self.through.as_ref()),
            "v": VERSION,
        });
        let mut text = String::new();
        for line in std::iter::once(header).chain(self.lines.iter().map(PlanLine::encode)) {
            push(&mut text, &line);
        }
        let bytes: u64 = self.expiring().map(|line| line.length).fold(0, u64::saturating_add);
        let expire = self.expiring().count();
        let end = json!({
            "bytes": bytes.to_string(),
            "expire": expire,
            "keep": self.lines.len() - expire,
            "sha256": Digest::of(text.as_bytes()).to_string(),
        });
        push(&mut text, &end);
        text
    }

    /// Reads exactly what [`Self::encode`] writes, with ids that ascend.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > EXPIRY_PLAN_BYTES_MAX {
            return None;
        }
        let text = std::str::from_utf8(bytes).ok()?;
        let mut lines: Vec<&str> = text.lines().collect();
        if lines.len() > EXPIRY_PLAN_MESSAGES_MAX as usize + 2 {
            return None;
        }
        let _end = lines.pop()?;
        let (header, lines) = lines.split_first()?;
        let header: Value = serde_json::from_str(header).ok()?;
        let field = |name: &str| header[name].as_str();
        let id = |name: &str| match field(name)? {
            "" => Some(None),
            text => text.parse().ok().map(Some),
        };
        let plan = Self {
            tenant: field("tenant")?.parse().ok()?,
            at: field("at")?.parse().ok()?,
            made_at: field("made_at")?.parse().ok()?,
            after: id("after")?,
            through: id("through")?,
            lines: lines.iter().map(|line| PlanLine::decode(line)).collect::<Option<_>>()?,
        };
        let ascends = plan.lines.windows(2).all(|pair| pair[0].message < pair[1].message);
        (ascends && plan.encode().as_bytes() == bytes).then_some(plan)
    }
}

fn push(text: &mut String, line: &Value) {
    let line = jcs::canonicalize(line).expect("a plan's line is strings and small numbers under ASCII keys");
    text.push_str(&line);
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(number: u8) -> PlanLine {
        PlanLine {
            message: Digest::from_bytes([number; 32]),
            class: RetentionClass::DEFAULT,
            expires_at: "2036-01-15T10:00:00.000Z".parse().unwrap(),
            length: u64::MAX,
            observations: 2,
            parts: 3,
            holds: Vec::new(),
            locked_until: None,
        }
    }

    fn plan(lines: Vec<PlanLine>) -> ExpiryPlan {
        ExpiryPlan {
            tenant: "acme".parse().unwrap(),
            at: "2036-02-01T00:00:00.000Z".parse().unwrap(),
            made_at: "2036-02-01T00:00:00.000Z".parse().unwrap(),
            after: None,
            through: Some(Digest::from_bytes([9; 32])),
            lines,
        }
    }

    #[test]
    fn a_plan_says_in_lines_what_goes_and_what_stays_and_why() {
        let held = PlanLine { holds: vec!["case-1".to_owned()], length: 5, ..line(2) };
        let locked = PlanLine { locked_until: Some(Timestamp::from_millis(0)), length: 5, ..line(3) };
        let plan = plan(vec![PlanLine { length: 7, ..line(1) }, held, locked]);
        let text = plan.encode();
        let mail = |action: &str, holds: &str, length: &str, locked: &str, number: u8| {
            let (id, common) = (hex::encode([number; 32]), r#""observations":2,"parts":3"#);
            format!(
                r#"{{"action":"{action}","class":"10y-received-forbidden","expires_at":"2036-01-15T10:00:00.000Z","#
            ) + &format!(r#""holds":[{holds}],"length":"{length}","locked_until":{locked},"#)
                + &format!(r#""message":"sha256:{id}",{common}}}"#)
        };
        let nines = hex::encode([9; 32]);
        let time = "2036-02-01T00:00:00.000Z";
        let expected = [
            format!(r#"{{"after":"","at":"{time}","kind":"expiry-plan","made_at":"{time}","tenant":"acme","#)
                + &format!(r#""through":"sha256:{nines}","v":1}}"#),
            mail("expire", "", "7", "null", 1),
            mail("keep", r#""case-1""#, "5", "null", 2),
            mail("keep", "", "5", r#""1970-01-01T00:00:00.000Z""#, 3),
        ];
        let before = expected.join("\n") + "\n";
        let sha256 = Digest::of(before.as_bytes());
        let end = format!(r#"{{"bytes":"7","expire":1,"keep":2,"sha256":"{sha256}"}}"#);
        assert_eq!(text, format!("{before}{end}\n"));
        assert_eq!(ExpiryPlan::decode(text.as_bytes()), Some(plan));
    }

    #[test]
    fn nothing_but_a_plan_as_it_was_written_is_one() {
        let whole = plan(vec![line(1), line(2)]);
        let text = whole.encode();
        assert_eq!(ExpiryPlan::decode(text.as_bytes()), Some(whole));
        let refused = |text: &str| assert_eq!(ExpiryPlan::decode(text.as_bytes()), None, "{text}");
        refused("");
        refused("\n\n\n");
        refused(text.trim_end());
        refused(&format!("{text}\n"));
        refused(&text.replace("\"observations\":2", "\"observations\":1"));
        refused(&text.replace("expire\",", "keep\","));
        refused(&text.replace("\"v\":1", "\"v\":2"));
        refused(&text.replace("\"tenant\":\"acme\"", "\"tenant\":\"other\""));
        // A line gone, and one twice.
        let lines: Vec<&str> = text.lines().collect();
        refused(&([lines[0], lines[2], lines[3]].join("\n") + "\n"));
        refused(&([lines[0], lines[1], lines[1], lines[3]].join("\n") + "\n"));
        // Lines in another order, with a digest that fits.
        refused(&plan(vec![line(2), line(1)]).encode());
        refused(&plan(vec![line(1), line(1)]).encode());
    }

    #[test]
    fn a_plan_has_as_many_lines_as_its_limit() {
        let of = |count: u32| {
            let lines = (0..count).map(|number| {
                let mut id = [0; 32];
                id[..4].copy_from_slice(&number.to_be_bytes());
                PlanLine { message: Digest::from_bytes(id), ..line(1) }
            });
            plan(lines.collect()).encode()
        };
        let longest = of(EXPIRY_PLAN_MESSAGES_MAX);
        assert!(longest.len() <= EXPIRY_PLAN_BYTES_MAX);
        assert!(ExpiryPlan::decode(longest.as_bytes()).is_some());
        assert!(ExpiryPlan::decode(of(EXPIRY_PLAN_MESSAGES_MAX + 1).as_bytes()).is_none());
    }
}
