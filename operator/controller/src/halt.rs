//! Why a pass ends early. The class says what happens next; the reason stands in conditions, events and metrics.

use std::time::Duration;

/// Typed reasons, as conditions and events show them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Everything is as specified.
    Reconciled,
    Progressing,
    Paused,
    Stopped,
    /// The specification cannot be carried out.
    InvalidSpec,
    /// This version of the archive does not work with what the specification asks for yet.
    EngineNotAvailable,
    /// An object that this version of the operator cannot read.
    Unreadable,
    /// An object that the specification names is not there.
    ReferenceNotFound,
    /// A service is not rolled out yet.
    RolloutPending,
    /// The migrate Job failed.
    MigrationFailed,
    /// Somebody else's change was undone.
    DriftCorrected,
    /// Somebody else's change stays after it was undone, as an admission webhook makes it with each write.
    DriftRemains,
    /// An object of that name belongs to somebody else.
    NotOurs,
    /// The Kubernetes API refused or did not answer.
    KubernetesApi,
    /// A service of the archive did not answer.
    CoreUnreachable,
    /// The archive keeps to what it accepted under that name.
    LockedInCore,
    /// The archive was asked and says no: a person must look.
    RefusedByCore,
    /// An agent that goes sends on what it holds first.
    Draining,
    /// Something about certificates needs a person.
    CertificateAuthority,
    /// Pods start anew: another version was specified.
    VersionChanged,
    /// Pods start anew: they read another configuration, or run otherwise.
    ConfigurationChanged,
    /// Pods start anew: they sign with another authority.
    AuthorityExchanged,
    /// A connection came through that the network policies do not list.
    NotEnforced,
}

impl Reason {
    const ALL: [Self; Self::NotEnforced as usize + 1] = [
        Self::Reconciled,
        Self::Progressing,
        Self::Paused,
        Self::Stopped,
        Self::InvalidSpec,
        Self::EngineNotAvailable,
        Self::Unreadable,
        Self::ReferenceNotFound,
        Self::RolloutPending,
        Self::MigrationFailed,
        Self::DriftCorrected,
        Self::DriftRemains,
        Self::NotOurs,
        Self::KubernetesApi,
        Self::CoreUnreachable,
        Self::LockedInCore,
        Self::RefusedByCore,
        Self::Draining,
        Self::CertificateAuthority,
        Self::VersionChanged,
        Self::ConfigurationChanged,
        Self::AuthorityExchanged,
        Self::NotEnforced,
    ];

    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.name() == name)
    }

    /// Whether it is on its way, or as somebody wants it: nobody has to look.
    pub const fn is_progress(self) -> bool {
        matches!(
            self,
            Self::Reconciled
                | Self::Progressing
                | Self::Paused
                | Self::Stopped
                | Self::RolloutPending
                | Self::Draining
                | Self::VersionChanged
                | Self::ConfigurationChanged
                | Self::AuthorityExchanged
        )
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Reconciled => "Reconciled",
            Self::Progressing => "Progressing",
            Self::Paused => "Paused",
            Self::Stopped => "Stopped",
            Self::InvalidSpec => "InvalidSpec",
            Self::EngineNotAvailable => "EngineNotAvailable",
            Self::Unreadable => "Unreadable",
            Self::ReferenceNotFound => "ReferenceNotFound",
            Self::RolloutPending => "RolloutPending",
            Self::MigrationFailed => "MigrationFailed",
            Self::DriftCorrected => "DriftCorrected",
            Self::DriftRemains => "DriftRemains",
            Self::NotOurs => "NotOurs",
            Self::KubernetesApi => "KubernetesApi",
            Self::CoreUnreachable => "CoreUnreachable",
            Self::LockedInCore => "LockedInCore",
            Self::RefusedByCore => "RefusedByCore",
            Self::Draining => "Draining",
            Self::CertificateAuthority => "CertificateAuthority",
            Self::VersionChanged => "VersionChanged",
            Self::ConfigurationChanged => "ConfigurationChanged",
            Self::AuthorityExchanged => "AuthorityExchanged",
            Self::NotEnforced => "NotEnforced",
        }
    }
}

/// A step could not go on.
#[derive(Debug, thiserror::Error)]
pub enum Halt {
    /// Nothing gets better until somebody changes something: shown as `Stalled`, tried again on change.
    #[error("{message}")]
    Terminal { reason: Reason, message: String },
    /// Not an error: something will come by itself.
    #[error("{message}")]
    Waiting { reason: Reason, message: String, after: Duration },
    /// Tried again with growing pauses. The message never carries what an object holds.
    #[error("{what}")]
    Transient { reason: Reason, what: String, source: anyhow::Error },
}

impl Halt {
    pub fn terminal(reason: Reason, message: impl Into<String>) -> Self {
        Self::Terminal { reason, message: message.into() }
    }

    pub fn waiting(reason: Reason, message: impl Into<String>, after: Duration) -> Self {
        Self::Waiting { reason, message: message.into(), after }
    }

    /// A call to the Kubernetes API that failed, in words: `what` is "list Secrets in NAMESPACE".
    pub fn kubernetes(what: impl Into<String>, source: kube::Error) -> Self {
        let what = format!("cannot {}: {}", what.into(), cause(&source));
        Self::Transient { reason: Reason::KubernetesApi, what, source: source.into() }
    }

    pub const fn reason(&self) -> Reason {
        match self {
            Self::Terminal { reason, .. } | Self::Waiting { reason, .. } | Self::Transient { reason, .. } => {
                *reason
            }
        }
    }
}

/// The answer's reason and code; never its message, which may quote what was sent.
fn cause(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => format!("{} ({})", status.reason, status.code),
        kube::Error::Service(_) | kube::Error::HyperError(_) => "the API server cannot be reached".to_owned(),
        kube::Error::SerdeError(_) => "this version of the operator cannot read the answer".to_owned(),
        _ => "the exchange with the API server failed".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_found_by_its_name() {
        for reason in Reason::ALL {
            assert_eq!(Reason::of_name(reason.name()), Some(reason));
        }
        assert_eq!(Reason::of_name("Verified"), None);
    }
}
