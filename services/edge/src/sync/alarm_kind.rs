//! What sync raises alarms for. The words stand in `status` and are what a person clears.

use std::{fmt, str::FromStr};

use openarchive_domain::ParseError;
use openarchive_ledger::agent_check::{GrowthError, ReceiptError};

use crate::buffer::{Alarm, Buffer, BufferError};

/// Kinds of alarm. Those that [halt](AlarmKind::halts_sync) say that the core was caught at a lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AlarmKind {
    ReceiptMissing,
    ReceiptMalformed,
    ReceiptOfOtherLog,
    ReceiptForeignKey,
    ReceiptBadSignature,
    ReceiptNotInTree,
    ReceiptOfOtherMail,
    ReceiptBadOpening,
    LogRolledBack,
    LogForked,
    LogGrowthUnproved,
    SeatTaken,
    Mismatch,
    MailRefused,
    MailDamaged,
    BlobsKeepMissing,
    ClassKeepsChanging,
    CoreRefuses,
    AgentRevoked,
    CertificateEnding,
    DiskRolledBack,
}

impl AlarmKind {
    pub const ALL: [Self; 21] = [
        Self::ReceiptMissing,
        Self::ReceiptMalformed,
        Self::ReceiptOfOtherLog,
        Self::ReceiptForeignKey,
        Self::ReceiptBadSignature,
        Self::ReceiptNotInTree,
        Self::ReceiptOfOtherMail,
        Self::ReceiptBadOpening,
        Self::LogRolledBack,
        Self::LogForked,
        Self::LogGrowthUnproved,
        Self::SeatTaken,
        Self::Mismatch,
        Self::MailRefused,
        Self::MailDamaged,
        Self::BlobsKeepMissing,
        Self::ClassKeepsChanging,
        Self::CoreRefuses,
        Self::AgentRevoked,
        Self::CertificateEnding,
        Self::DiskRolledBack,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ReceiptMissing => "receipt-missing",
            Self::ReceiptMalformed => "receipt-malformed",
            Self::ReceiptOfOtherLog => "receipt-of-other-log",
            Self::ReceiptForeignKey => "receipt-foreign-key",
            Self::ReceiptBadSignature => "receipt-bad-signature",
            Self::ReceiptNotInTree => "receipt-not-in-tree",
            Self::ReceiptOfOtherMail => "receipt-of-other-mail",
            Self::ReceiptBadOpening => "receipt-bad-opening",
            Self::LogRolledBack => "log-rolled-back",
            Self::LogForked => "log-forked",
            Self::LogGrowthUnproved => "log-growth-unproved",
            Self::SeatTaken => "seat-taken",
            Self::Mismatch => "mismatch",
            Self::MailRefused => "mail-refused",
            Self::MailDamaged => "mail-damaged",
            Self::BlobsKeepMissing => "blobs-keep-missing",
            Self::ClassKeepsChanging => "class-keeps-changing",
            Self::CoreRefuses => "core-refuses",
            Self::AgentRevoked => "agent-revoked",
            Self::CertificateEnding => "certificate-ending",
            Self::DiskRolledBack => "disk-rolled-back",
        }
    }

    /// While such an alarm is up nothing is sent and nothing pruned, whatever the core says and across restarts.
    pub const fn halts_sync(self) -> bool {
        match self {
            Self::ReceiptMissing
            | Self::ReceiptMalformed
            | Self::ReceiptOfOtherLog
            | Self::ReceiptForeignKey
            | Self::ReceiptBadSignature
            | Self::ReceiptNotInTree
            | Self::ReceiptOfOtherMail
            | Self::ReceiptBadOpening
            | Self::LogRolledBack
            | Self::LogForked
            | Self::LogGrowthUnproved => true,
            Self::SeatTaken
            | Self::Mismatch
            | Self::MailRefused
            | Self::MailDamaged
            | Self::BlobsKeepMissing
            | Self::ClassKeepsChanging
            | Self::CoreRefuses
            | Self::AgentRevoked
            | Self::CertificateEnding
            | Self::DiskRolledBack => false,
        }
    }

    /// The halting alarm among `alarms`, if there is one.
    pub(super) fn halting(alarms: &[Alarm]) -> Option<Self> {
        alarms.iter().filter_map(|alarm| alarm.kind.parse().ok()).find(|kind: &Self| kind.halts_sync())
    }
}

impl fmt::Display for AlarmKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for AlarmKind {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let kind = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        kind.ok_or_else(|| ParseError::new("kind of alarm", text, "one that `openarchive-edge status` shows"))
    }
}

impl From<ReceiptError> for AlarmKind {
    fn from(error: ReceiptError) -> Self {
        match error {
            ReceiptError::NoProof => Self::ReceiptMissing,
            ReceiptError::Malformed(_) => Self::ReceiptMalformed,
            ReceiptError::WrongOrigin => Self::ReceiptOfOtherLog,
            ReceiptError::ForeignKey => Self::ReceiptForeignKey,
            ReceiptError::BadSignature => Self::ReceiptBadSignature,
            ReceiptError::BadInclusion(_) => Self::ReceiptNotInTree,
            ReceiptError::LeafMismatch { .. } => Self::ReceiptOfOtherMail,
            ReceiptError::BadOpening { .. } => Self::ReceiptBadOpening,
        }
    }
}

impl From<GrowthError> for AlarmKind {
    fn from(error: GrowthError) -> Self {
        match error {
            GrowthError::OtherLog => Self::ReceiptOfOtherLog,
            GrowthError::OlderCheckpoint { .. } => Self::LogRolledBack,
            GrowthError::ForkedTree { .. } => Self::LogForked,
        }
    }
}

/// A person has looked at an alarm: takes it down. A halted agent, in this or another process, goes on within
/// [`super::SyncOptions::halted_poll`]; if the core still lies, the alarm comes back.
pub async fn clear_alarm(buffer: &Buffer, kind: AlarmKind) -> Result<(), BufferError> {
    buffer.clear_alarm(kind.as_str()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_own_word_and_reads_back() {
        for kind in AlarmKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
        let words: std::collections::BTreeSet<_> = AlarmKind::ALL.map(AlarmKind::as_str).into();
        assert_eq!(words.len(), AlarmKind::ALL.len());
        assert!("seat_taken".parse::<AlarmKind>().is_err());
    }

    #[test]
    fn only_lies_halt() {
        let halting = AlarmKind::ALL.into_iter().filter(|kind| kind.halts_sync());
        assert!(
            halting
                .clone()
                .all(|kind| kind.as_str().starts_with("receipt-") || kind.as_str().starts_with("log-"))
        );
        assert_eq!(halting.count(), 11);
    }
}
