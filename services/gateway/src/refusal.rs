//! The one map from what the services answer to what a client is told.

use openarchive_rpc::has_reason;
use tonic::{Code, Status};
use tracing::error;

use crate::problem::{Kind, Problem};

/// Reasons for which the catalogue does not act, each with its problem's name and title. Its own words say what to do.
const CONFLICTS: &[(&str, &str, &str)] = &[
    ("HELD", "held", "The mail is under a hold"),
    ("SHREDDED", "shredded", "The mail is being shredded, or was"),
    ("RETAINED", "retained", "The mail must still be kept"),
    ("SUSPENDED", "suspended", "Shredding is suspended"),
    ("NOT_SUSPENDED", "not-suspended", "Shredding is not suspended"),
    ("HOLD_EXISTS", "hold-exists", "There was a hold of this name"),
    ("HOLD_RELEASED", "hold-released", "The hold was released before"),
    ("NOT_QUARANTINED", "not-quarantined", "The mail is not in quarantine"),
    ("SHRED_EXISTS", "shred-exists", "There is another order of this id"),
    ("SHRED_TOO_LARGE", "shred-too-large", "The order does not fit into one leaf"),
    ("PLAN_CHANGED", "plan-changed", "The plan no longer holds"),
    ("PLAN_EARLY", "plan-early", "The plan is of a time to come"),
];

/// Which service did not answer. Shown to people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    Catalogue,
    Index,
    Trust,
    Worker,
}

impl Service {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Catalogue => "catalogue",
            Self::Index => "index",
            Self::Trust => "trust",
            Self::Worker => "worker",
        }
    }

    /// What a refusal of this service means to the client. What is the archive's own fault is logged here, once,
    /// and told in general words.
    pub(crate) fn refused(self, status: &Status) -> Problem {
        let said = || status.message().to_owned();
        if has_reason(status, "INDEX_REBUILT") {
            return Problem::new(Kind::CursorExpired, "the index was rebuilt since: begin the search again");
        }
        let conflict = CONFLICTS.iter().find(|(reason, ..)| has_reason(status, reason));
        if let (Code::FailedPrecondition, Some(&(_, slug, title))) = (status.code(), conflict) {
            return Problem::new(Kind::Conflict { slug, title }, said());
        }
        match status.code() {
            Code::InvalidArgument | Code::OutOfRange => Problem::invalid(said()),
            Code::NotFound => Problem::not_found(said()),
            Code::Unavailable
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::Cancelled => {
                self.log(status);
                Problem::unavailable(format!("the {} cannot answer: try again", self.as_str()))
            }
            Code::DataLoss => {
                self.log(status);
                Problem::new(Kind::Damaged, "what is stored is not what was archived: run `openarchive fsck`")
            }
            _ => {
                self.log(status);
                Problem::new(Kind::Internal, format!("the {} failed: its log says why", self.as_str()))
            }
        }
    }

    fn log(self, status: &Status) {
        error!(service = self.as_str(), code = ?status.code(), message = status.message(), "a call is refused");
    }
}

/// A failure of the gateway's own database.
pub(crate) fn database(error: &sqlx::Error) -> Problem {
    error!(%error, "the gateway's database does not answer");
    Problem::unavailable("the gateway's database cannot answer: try again")
}

#[cfg(test)]
mod tests {
    use openarchive_rpc::refusal;

    use super::*;

    #[test]
    fn only_what_the_client_can_act_on_is_passed_on_in_the_services_own_words() {
        let check = |status: Status, kind, words: &str| {
            let problem = Service::Index.refused(&status);
            assert_eq!(problem.kind(), kind, "{status}");
            assert!(format!("{problem:?}").contains(words), "{problem:?}");
        };
        let secret = "alice@example.com";
        check(Status::invalid_argument("the query is empty"), Kind::Invalid, "the query is empty");
        check(Status::not_found("no such message"), Kind::NotFound, "no such message");
        check(
            refusal(Code::FailedPrecondition, "INDEX_REBUILT", "x"),
            Kind::CursorExpired,
            "begin the search",
        );
        let held = Kind::Conflict { slug: "held", title: "The mail is under a hold" };
        check(refusal(Code::FailedPrecondition, "HELD", "a mail is held"), held, "a mail is held");
        // A reason counts only with its code: what was shredded is not there for who reads.
        check(refusal(Code::NotFound, "SHREDDED", "x was shredded"), Kind::NotFound, "x was shredded");
        check(refusal(Code::FailedPrecondition, "ANOTHER", secret), Kind::Internal, "");
        for (code, kind) in [
            (Code::Unavailable, Kind::Unavailable),
            (Code::DeadlineExceeded, Kind::Unavailable),
            (Code::DataLoss, Kind::Damaged),
            (Code::Internal, Kind::Internal),
            (Code::Unknown, Kind::Internal),
            (Code::PermissionDenied, Kind::Internal),
        ] {
            check(Status::new(code, secret), kind, "");
            assert!(!format!("{:?}", Service::Trust.refused(&Status::new(code, secret))).contains(secret));
        }
    }
}
