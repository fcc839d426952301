//! Why a try came to nothing, by what follows from it.

use openarchive_rpc::has_reason;
use tonic::{Code, Status};

use super::{alarm_kind::AlarmKind, limits::CORE_WORDS_CHARACTERS_MAX};
use crate::buffer::{BufferError, KnownCheckpoint};

/// A call that the core did not answer as it should.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// Repeating helps.
    #[error("the core does not answer {call}: {why}")]
    Unreachable { call: &'static str, why: String },
    /// For good: repeating does no harm, and shows when a person has pointed this agent elsewhere.
    #[error("the core has revoked this agent: enrol it under another name; mail is kept ({call})")]
    Revoked { call: &'static str },
    /// The mail is to be offered again: policies have changed since, or its header says otherwise than was known.
    #[error("the core names another class at {call}: {why}")]
    ClassChanged { call: &'static str, why: String },
    /// Repeating alone does not help, unless the core changes its mind.
    #[error("the core refuses {call} ({code:?}): {why}")]
    Refused { call: &'static str, code: Code, why: String },
}

impl CallError {
    pub(super) fn from_status(call: &'static str, status: &Status) -> Self {
        if has_reason(status, "AGENT_REVOKED") {
            return Self::Revoked { call };
        }
        let why = plain(status.message());
        if has_reason(status, "CLASS_CHANGED") {
            return Self::ClassChanged { call, why };
        }
        match status.code() {
            code @ (Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::Unimplemented
            | Code::DataLoss) => Self::Refused { call, code, why },
            code => Self::Unreachable { call, why: format!("{code:?}: {why}") },
        }
    }

    /// The core answers, and says that it cannot do what was asked: neither absence nor lack of permission.
    pub(super) const fn is_unable(&self) -> bool {
        matches!(
            self,
            Self::Refused {
                code: Code::InvalidArgument
                    | Code::NotFound
                    | Code::FailedPrecondition
                    | Code::OutOfRange
                    | Code::DataLoss,
                ..
            }
        )
    }

    /// It may be one mail of several that the core does not take.
    const fn is_about_content(&self) -> bool {
        matches!(self, Self::Refused { code: Code::InvalidArgument | Code::OutOfRange | Code::DataLoss, .. })
    }
}

/// The core's words without what could break a log or fill a disk.
fn plain(words: &str) -> String {
    words.chars().filter(|c| !c.is_control()).take(CORE_WORDS_CHARACTERS_MAX).collect()
}

/// The core was caught at something that cannot be an accident of the network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub(super) struct Lie {
    pub(super) kind: AlarmKind,
    pub(super) detail: String,
    /// The checkpoint that came with it.
    pub(super) suspect: Option<KnownCheckpoint>,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum SyncError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("the core's answer to {call} makes no sense: {what}")]
    Answer { call: &'static str, what: &'static str },
    #[error(transparent)]
    Lie(#[from] Lie),
    #[error(transparent)]
    Buffer(#[from] BufferError),
    #[error("the checkpoint kept for {origin} cannot be read back; check the disk")]
    KeptCheckpoint { origin: String },
    #[error("a task of this agent ended before its work was done")]
    Task,
}

impl SyncError {
    /// Sending fewer mails at a time may show which one the core does not take.
    pub(super) fn is_about_content(&self) -> bool {
        matches!(self, Self::Call(error) if error.is_about_content())
    }

    pub(super) const fn is_class_change(&self) -> bool {
        matches!(self, Self::Call(CallError::ClassChanged { .. }))
    }

    /// The core is there and does not do its part: repeated by itself, but a person should know.
    pub(super) const fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Call(CallError::Refused { .. } | CallError::Revoked { .. }) | Self::Answer { .. }
        )
    }

    pub(super) const fn alarm_of_refusal(&self) -> AlarmKind {
        match self {
            Self::Call(CallError::Revoked { .. }) => AlarmKind::AgentRevoked,
            _ => AlarmKind::CoreRefuses,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_that_is_away_raises_no_alarm_and_one_that_refuses_does() {
        let check = |code, is_refusal| {
            let error = SyncError::from(CallError::from_status("OfferMessages", &Status::new(code, "why")));
            assert_eq!(error.is_refusal(), is_refusal, "{code:?}");
        };
        for code in [
            Code::Unavailable,
            Code::DeadlineExceeded,
            Code::ResourceExhausted,
            Code::Unknown,
            Code::Internal,
        ] {
            check(code, false);
        }
        for code in
            [Code::PermissionDenied, Code::Unauthenticated, Code::InvalidArgument, Code::Unimplemented]
        {
            check(code, true);
        }
    }

    #[test]
    fn of_the_cores_words_little_is_kept_and_no_control_characters() {
        let words = format!("a\x1b[2J\n{}", "x".repeat(10_000));
        let kept = plain(&words);
        assert!(kept.starts_with("a[2Jx"), "{kept}");
        assert_eq!(kept.chars().count(), CORE_WORDS_CHARACTERS_MAX);
    }
}
