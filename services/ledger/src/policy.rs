//! C2SP tlog-policy: which logs a verifier trusts, and which witnesses must have seen a checkpoint.

mod parse;

#[cfg(test)]
mod tests;

use std::fmt::Write as _;

pub use parse::{PolicyError, PolicyErrorKind};

use crate::{
    checkpoint::Checkpoint,
    cosignature::WitnessKey,
    note::{Note, Verifier, VerifyError},
};

/// Longest policy file that is read, in bytes: room for some five thousand logs.
pub const POLICY_BYTES_MAX: usize = 1024 * 1024;

/// A parsed policy. Never taken from what it is to judge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    logs: Vec<Verifier>,
    /// Witnesses and groups in the order of their definition, which is the order of their references too.
    members: Vec<Member>,
    quorum: Quorum,
}

/// Whose cosignature is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quorum {
    Nobody,
    /// A position in the policy's members.
    Member(usize),
}

/// A witness or a group of what was defined before it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Member {
    Witness {
        /// As opaque bytes; shown with replacement characters where they are not UTF-8.
        name: Vec<u8>,
        key: WitnessKey,
    },
    Group {
        name: Vec<u8>,
        threshold: usize,
        members: Vec<usize>,
    },
}

/// Why a policy does not accept a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PolicyFailure {
    #[error("its origin is not that of any log in the policy")]
    UnknownLog,
    #[error("it carries no signature of the log's key in the policy")]
    ForeignKey,
    #[error("its signature in the name of the log's key does not verify")]
    BadSignature,
    #[error("its cosignature in the name of a witness in the policy does not verify")]
    BadCosignature,
    #[error("too few witnesses of the policy cosigned it")]
    NoQuorum,
}

/// What a policy found below a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endorsement {
    /// Names, within the policy, of all witnesses that cosigned.
    pub witnesses: Vec<String>,
}

impl Policy {
    /// Trusts these logs, without witnesses: what an archive writes at its first start.
    pub fn of_logs(logs: Vec<Verifier>) -> Self {
        Self { logs, members: Vec::new(), quorum: Quorum::Nobody }
    }

    /// Keys of the logs.
    pub fn logs(&self) -> &[Verifier] {
        &self.logs
    }

    /// Whether any cosignature is needed.
    pub fn needs_witnesses(&self) -> bool {
        self.quorum != Quorum::Nobody
    }

    /// The policy file: log lines, witnesses and groups, quorum. Comments and URLs of a parsed file are not kept.
    pub fn to_text(&self) -> Vec<u8> {
        let mut text = String::new();
        for log in &self.logs {
            let _ = writeln!(text, "log {log}"); // writing to a String cannot fail
        }
        let mut text = text.into_bytes();
        for member in &self.members {
            match member {
                Member::Witness { name, key } => {
                    text.extend([b"witness ", name.as_slice(), format!(" {key}\n").as_bytes()].concat());
                }
                Member::Group { name, threshold, members } => {
                    text.extend([b"group ", name.as_slice(), format!(" {threshold}").as_bytes()].concat());
                    for member in members {
                        text.extend([b" ", self.members[*member].name()].concat());
                    }
                    text.push(b'\n');
                }
            }
        }
        let quorum = match self.quorum {
            Quorum::Nobody => b"none",
            Quorum::Member(position) => self.members[position].name(),
        };
        text.extend([b"quorum ", quorum, b"\n"].concat());
        text
    }

    /// Accepts a checkpoint that one of the logs signed, whose origin is that log's key name, and that enough
    /// witnesses cosigned. `checkpoint` is what `note` says.
    pub fn check(&self, checkpoint: &Checkpoint, note: &Note) -> Result<Endorsement, PolicyFailure> {
        let mut failure = PolicyFailure::UnknownLog;
        let mut signed = false;
        for log in self.logs.iter().filter(|log| log.name() == checkpoint.origin) {
            match log.verify(note) {
                Ok(()) => signed = true,
                Err(VerifyError::NotSigned) => failure = PolicyFailure::ForeignKey,
                Err(VerifyError::BadSignature) => return Err(PolicyFailure::BadSignature),
            }
        }
        if !signed {
            return Err(failure);
        }
        self.check_witnesses(note)
    }

    fn check_witnesses(&self, note: &Note) -> Result<Endorsement, PolicyFailure> {
        let mut witnesses = Vec::new();
        let mut witnessed: Vec<bool> = Vec::with_capacity(self.members.len());
        for member in &self.members {
            let agrees = match member {
                Member::Witness { name, key } => match key.verify(note) {
                    Ok(_time) => {
                        witnesses.push(String::from_utf8_lossy(name).into_owned());
                        true
                    }
                    Err(VerifyError::NotSigned) => false,
                    Err(VerifyError::BadSignature) => return Err(PolicyFailure::BadCosignature),
                },
                // Only what was defined before can be a member, so the answer for each is already there.
                Member::Group { threshold, members, .. } => {
                    members.iter().filter(|member| witnessed[**member]).count() >= *threshold
                }
            };
            witnessed.push(agrees);
        }
        match self.quorum {
            Quorum::Member(position) if !witnessed[position] => Err(PolicyFailure::NoQuorum),
            _ => Ok(Endorsement { witnesses }),
        }
    }
}

impl Member {
    fn name(&self) -> &[u8] {
        match self {
            Self::Witness { name, .. } | Self::Group { name, .. } => name,
        }
    }
}
