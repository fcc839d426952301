use std::fmt;

use openarchive_domain::Digest;
use openarchive_ledger::{leaf::uuid_text, receipt::Verified};
use serde_json::{Value, json};

/// Exit status of a program whose report is [`Outcome::Verified`].
pub const EXIT_VERIFIED: u8 = 0;
/// Exit status of a program whose report is [`Outcome::Failed`].
pub const EXIT_FAILED: u8 = 3;
/// Exit status of a program whose report is [`Outcome::ConsistentNotAnchored`].
pub const EXIT_CONSISTENT_NOT_ANCHORED: u8 = 4;

/// What it means that no policy was given.
pub const SENTENCE_NOT_ANCHORED: &str = "No policy was given, so no signature was checked: message, leaf and tree \
     agree with each other, but anybody could have made such a proof.";

/// What came of a verification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Everything holds, up to a key that the policy trusts.
    Verified,
    /// Something is broken: see the findings.
    Failed,
    /// All parts agree, but no policy says whose they are.
    ConsistentNotAnchored,
}

impl Outcome {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Failed => "failed",
            Self::ConsistentNotAnchored => "consistent but not anchored",
        }
    }

    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Verified => EXIT_VERIFIED,
            Self::Failed => EXIT_FAILED,
            Self::ConsistentNotAnchored => EXIT_CONSISTENT_NOT_ANCHORED,
        }
    }
}

/// One thing that is broken or missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Stable, for programs: lowercase words joined by underscores.
    pub code: &'static str,
    /// For people.
    pub sentence: String,
}

/// What a proof shows about the message. Under [`Outcome::ConsistentNotAnchored`] it is only what the proof says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proved(Box<Verified>);

impl Proved {
    /// All of it: log, checkpoint, leaf, envelope.
    pub const fn receipt(&self) -> &Verified {
        &self.0
    }
}

impl From<Verified> for Proved {
    fn from(verified: Verified) -> Self {
        Self(Box::new(verified))
    }
}

/// The answer to one verification. `Display` is for people, [`Report::to_json`] for programs; both hold addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    outcome: Outcome,
    message: Digest,
    findings: Vec<Finding>,
    proved: Option<Proved>,
}

impl Report {
    pub(crate) const fn verified(message: Digest, proved: Proved) -> Self {
        Self { outcome: Outcome::Verified, message, findings: Vec::new(), proved: Some(proved) }
    }

    pub(crate) const fn failed(message: Digest, findings: Vec<Finding>) -> Self {
        Self { outcome: Outcome::Failed, message, findings, proved: None }
    }

    pub(crate) fn not_anchored(message: Digest, proved: Proved) -> Self {
        let finding = Finding { code: "not_anchored", sentence: SENTENCE_NOT_ANCHORED.to_owned() };
        let outcome = Outcome::ConsistentNotAnchored;
        Self { outcome, message, findings: vec![finding], proved: Some(proved) }
    }

    pub const fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// Each broken thing; empty if and only if verified.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Nothing if the verification failed.
    pub const fn proved(&self) -> Option<&Proved> {
        self.proved.as_ref()
    }

    pub fn to_json(&self) -> Value {
        let finding = |finding: &Finding| json!({ "code": finding.code, "sentence": finding.sentence });
        json!({
            "outcome": self.outcome.as_str(),
            "exit_code": self.outcome.exit_code(),
            "message": self.message.to_string(),
            "findings": self.findings.iter().map(finding).collect::<Vec<_>>(),
            "proved": self.proved.as_ref().map(proved_to_json),
        })
    }
}

fn proved_to_json(proved: &Proved) -> Value {
    let Verified { origin, checkpoint, index, leaf, time, envelope, witnesses } = proved.receipt();
    json!({
        "log": origin.to_string(),
        "tree_size": checkpoint.size,
        "tree_root": checkpoint.root.to_string(),
        "index": index,
        "witnesses": witnesses,
        "appended_at": time.to_string(),
        "time_stamped": false,
        "occurred_at": leaf.occurred_at.to_string(),
        "tenant": leaf.tenant.as_str(),
        "agent": leaf.agent.as_str(),
        "instance": uuid_text(&leaf.seat.instance),
        "agent_epoch": leaf.seat.agent_epoch.to_string(),
        "seq": leaf.seat.seq.to_string(),
        "class": leaf.class.to_string(),
        "state": leaf.state.as_str(),
        "envelope": {
            "from": envelope.from, "to": envelope.to, "mode": envelope.mode, "peer": envelope.peer,
        },
    })
}

/// Lines of text; what comes out of the proof is shown without control characters.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.outcome.as_str())?;
        for finding in &self.findings {
            writeln!(f, "  - {}", finding.sentence)?;
        }
        writeln!(f, "  message   {}", self.message)?;
        self.proved.as_ref().map_or(Ok(()), |proved| write_proved(proved.receipt(), f))
    }
}

fn write_proved(verified: &Verified, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Verified { origin, checkpoint, index, leaf, time, envelope, witnesses } = verified;
    writeln!(f, "  log       {origin}")?;
    writeln!(f, "  leaf      number {index} in a tree of {} leaves", checkpoint.size)?;
    if !witnesses.is_empty() {
        writeln!(f, "  seen by   {}", shown(&witnesses.join(", ")))?;
    }
    writeln!(f, "  appended  {time} by the archive's own clock, not time-stamped")?;
    let seat = &leaf.seat;
    writeln!(f, "  accepted  {} by agent {}/{}", leaf.occurred_at, leaf.tenant, leaf.agent)?;
    writeln!(
        f,
        "  number    {} of instance {} epoch {}",
        seat.seq,
        uuid_text(&seat.instance),
        seat.agent_epoch
    )?;
    writeln!(f, "  state     {}, kept as {}", leaf.state, leaf.class)?;
    writeln!(f, "  from      <{}>", shown(&envelope.from))?;
    for recipient in &envelope.to {
        writeln!(f, "  to        <{}>", shown(recipient))?;
    }
    writeln!(f, "  received  from peer {} in mode {}", shown(&envelope.peer), shown(&envelope.mode))
}

/// Foreign text must not steer the reader's terminal, nor turn what stands beside it (bidirectional controls).
pub(crate) fn shown(text: &str) -> String {
    let steers = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if steers(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}
