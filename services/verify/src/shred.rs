use std::fmt;

use openarchive_ledger::{leaf::uuid_text, shred_certificate::VerifiedCertificate};
use serde_json::{Value, json};

use crate::report::{Finding, Outcome, shown};

/// What it means that no policy was given.
pub const SENTENCE_SHRED_NOT_ANCHORED: &str = "No policy was given, so no signature was checked: order, leaves and \
     tree agree with each other, but anybody could have made such a certificate.";
/// What it means that no receipt was given.
pub const SENTENCE_NOT_IDENTIFIED: &str = "No receipt of the message from before the shredding was given: which message \
     it was is the word of whoever made this file, for nothing signs it.";

/// The answer to the verification of one shred certificate. `Display` is for people, [`ShredReport::to_json`] for
/// programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShredReport {
    outcome: Outcome,
    findings: Vec<Finding>,
    proved: Option<Box<VerifiedCertificate>>,
}

impl ShredReport {
    pub(crate) fn verified(proved: VerifiedCertificate) -> Self {
        Self { outcome: Outcome::Verified, findings: Vec::new(), proved: Some(Box::new(proved)) }
    }

    pub(crate) const fn failed(findings: Vec<Finding>) -> Self {
        Self { outcome: Outcome::Failed, findings, proved: None }
    }

    pub(crate) fn not_anchored(findings: Vec<Finding>, proved: VerifiedCertificate) -> Self {
        Self { outcome: Outcome::ConsistentNotAnchored, findings, proved: Some(Box::new(proved)) }
    }

    pub const fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// Each thing that is broken or missing; empty if and only if verified.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Nothing if the verification failed.
    pub fn proved(&self) -> Option<&VerifiedCertificate> {
        self.proved.as_deref()
    }

    pub fn to_json(&self) -> Value {
        let finding = |finding: &Finding| json!({ "code": finding.code, "sentence": finding.sentence });
        json!({
            "outcome": self.outcome.as_str(),
            "exit_code": self.outcome.exit_code(),
            "findings": self.findings.iter().map(finding).collect::<Vec<_>>(),
            "proved": self.proved.as_deref().map(proved_to_json),
        })
    }
}

fn proved_to_json(proved: &VerifiedCertificate) -> Value {
    let VerifiedCertificate { message, order, observations, shredded_at, identified } = proved;
    let leaves: Vec<String> = observations.iter().map(|(index, _)| index.to_string()).collect();
    json!({
        "message": message.to_string(),
        "identified_by_receipt": identified.is_some(),
        "tenant": order.leaf.tenant.as_str(),
        "log": order.origin.to_string(),
        "tree_size": order.checkpoint.size,
        "tree_root": order.checkpoint.root.to_string(),
        "witnesses": order.witnesses,
        "order": {
            "shred": uuid_text(&order.leaf.shred),
            "cause": order.leaf.cause.as_str(),
            "index": order.index,
            "appended_at": order.time.to_string(),
            "occurred_at": order.leaf.occurred_at.to_string(),
            "actor": order.leaf.actor,
            "leaves": order.leaf.leaves.len(),
            "keys": keys(proved),
        },
        "observations": leaves,
        "shredded_at": shredded_at.to_string(),
        "time_stamped": false,
    })
}

/// Keys that the order names, of all its mail.
fn keys(proved: &VerifiedCertificate) -> usize {
    proved.order.leaf.places.values().map(std::collections::BTreeSet::len).sum()
}

/// Lines of text; what comes out of the certificate is shown without control characters.
impl fmt::Display for ShredReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.outcome.as_str())?;
        for finding in &self.findings {
            writeln!(f, "  - {}", finding.sentence)?;
        }
        self.proved.as_deref().map_or(Ok(()), |proved| write_proved(proved, f))
    }
}

fn write_proved(proved: &VerifiedCertificate, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let VerifiedCertificate { message, order, observations, shredded_at, identified } = proved;
    writeln!(f, "  message   {message}")?;
    if let Some(index) = identified {
        writeln!(f, "            shown by the receipt to be leaf {index}")?;
    }
    writeln!(f, "  log       {}", order.origin)?;
    let cause = order.leaf.cause;
    writeln!(f, "  order     {} for {cause}, by {}", uuid_text(&order.leaf.shred), shown(&order.leaf.actor))?;
    writeln!(f, "            leaf {} in a tree of {} leaves", order.index, order.checkpoint.size)?;
    if !order.witnesses.is_empty() {
        writeln!(f, "  seen by   {}", shown(&order.witnesses.join(", ")))?;
    }
    writeln!(f, "  ordered   {} by the archive's own clock, not time-stamped", order.time)?;
    writeln!(f, "  shredded  {shredded_at}, which nothing signs")?;
    for (index, leaf) in observations {
        writeln!(
            f,
            "  leaf      {index}: accepted {} by agent {}/{}",
            leaf.occurred_at, leaf.tenant, leaf.agent
        )?;
    }
    writeln!(f, "  keys      {} destroyed, of this message and others of the order", keys(proved))
}
