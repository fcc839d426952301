use std::{collections::BTreeMap, fmt};

use openarchive_domain::Timestamp;
use openarchive_ledger::{checkpoint::Checkpoint, origin::Origin};
use openarchive_verify::{EXIT_CONSISTENT_NOT_ANCHORED, EXIT_FAILED, EXIT_VERIFIED};
use serde_json::{Value, json};

use super::ExportFinding;
use crate::{place::shown, subject::Subject};

/// What it means that no policy was given.
pub const SENTENCE_NOT_ANCHORED: &str = "No policy was given, so no signature was checked: snapshots, leaves and tree \
     agree with each other, but anybody could have made such an export.";

/// What came of the verification of an export. `Display` is for people, [`Outcome::to_json`] for programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The history is whole, up to a checkpoint by a key that the policy trusts.
    Verified(Proved),
    /// All parts agree, but no policy says whose they are.
    NotAnchored(Proved),
    /// At least one.
    Failed(Vec<ExportFinding>),
}

/// What an export shows: the whole history up to a size of the log. That no later one exists it cannot show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proved {
    pub origin: Origin,
    pub checkpoint: Checkpoint,
    /// Of the last leaf, by the archive's own clock: not time-stamped.
    pub until: Option<Timestamp>,
    /// How many configurations of each object were recorded.
    pub snapshots: BTreeMap<Subject, usize>,
    /// Witnesses of the policy that cosigned the checkpoint, by their names in it.
    pub witnesses: Vec<String>,
}

impl Outcome {
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Verified(_) => "verified",
            Self::NotAnchored(_) => "consistent but not anchored",
            Self::Failed(_) => "failed",
        }
    }

    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Verified(_) => EXIT_VERIFIED,
            Self::NotAnchored(_) => EXIT_CONSISTENT_NOT_ANCHORED,
            Self::Failed(_) => EXIT_FAILED,
        }
    }

    pub fn findings(&self) -> &[ExportFinding] {
        match self {
            Self::Failed(findings) => findings,
            Self::Verified(_) | Self::NotAnchored(_) => &[],
        }
    }

    /// Nothing if the verification failed. Under [`Outcome::NotAnchored`] it is only what the export says.
    pub const fn proved(&self) -> Option<&Proved> {
        match self {
            Self::Verified(proved) | Self::NotAnchored(proved) => Some(proved),
            Self::Failed(_) => None,
        }
    }

    pub fn to_json(&self) -> Value {
        json!({
            "outcome": self.as_str(),
            "exit_code": self.exit_code(),
            "findings": self.findings(),
            "proved": self.proved().map(Proved::to_json),
        })
    }
}

impl Proved {
    fn to_json(&self) -> Value {
        let count =
            |(subject, snapshots): (&Subject, &usize)| json!({ "object": subject, "snapshots": snapshots });
        json!({
            "log": self.origin.to_string(),
            "complete_to_size": self.checkpoint.size,
            "complete_to_time": self.until.map(|time| time.to_string()),
            "time_stamped": false,
            "tree_root": self.checkpoint.root.to_string(),
            "witnesses": self.witnesses,
            "objects": self.snapshots.iter().map(count).collect::<Vec<_>>(),
        })
    }
}

/// Lines of text; what comes out of the export is shown without control characters.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.as_str())?;
        if matches!(self, Self::NotAnchored(_)) {
            writeln!(f, "  - {SENTENCE_NOT_ANCHORED}")?;
        }
        for finding in self.findings() {
            writeln!(f, "  - {}\n    What to do: {}.", shown(&finding.to_string()), finding.remedy())?;
        }
        self.proved().map_or(Ok(()), |proved| proved.fmt(f))
    }
}

impl fmt::Display for Proved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin, checkpoint, until, snapshots, witnesses } = self;
        writeln!(f, "  log       {origin}")?;
        write!(f, "  complete  up to {} leaves", checkpoint.size)?;
        match until {
            Some(time) => writeln!(f, ", {time} by the archive's own clock, not time-stamped")?,
            None => writeln!(f)?,
        }
        if !witnesses.is_empty() {
            writeln!(f, "  seen by   {}", shown(&witnesses.join(", ")))?;
        }
        for (subject, snapshots) in snapshots {
            writeln!(f, "  object    {subject}, configurations: {snapshots}")?;
        }
        Ok(())
    }
}
