//! Which caller may use which log: the method alone does not say.

use openarchive_proto::trust::v1 as proto;
use openarchive_rpc::{PeerIdentity, refusal};
use openarchive_topology::{Caller, may_append, may_read};
use tonic::{Code, Request, Status};

pub(super) fn may_be_appended_to<T>(request: &Request<T>, log: Option<&proto::Log>) -> Result<(), Status> {
    allowed(PeerIdentity::of(request).caller(), log, may_append)
}

pub(super) fn may_be_read<T>(request: &Request<T>, log: Option<&proto::Log>) -> Result<(), Status> {
    allowed(PeerIdentity::of(request).caller(), log, may_read)
}

fn allowed(caller: Caller, log: Option<&proto::Log>, table: fn(&str, Caller) -> bool) -> Result<(), Status> {
    // The table of methods lets nobody without a certificate reach trust: this is a server of a test's own.
    if caller == Caller::Anonymous || log.is_none_or(|log| table(&log.stream, caller)) {
        return Ok(());
    }
    let message = format!("a caller of class {} may not do this to that log", caller.class());
    Err(refusal(Code::PermissionDenied, "NOT_AUTHORISED", message))
}

#[cfg(test)]
mod tests {
    use openarchive_rpc::Role;

    use super::*;

    #[test]
    fn a_role_uses_its_own_logs_only() {
        let check = |role: Role, stream: &str, appends: bool, reads: bool| {
            let mut request = Request::new(());
            request.extensions_mut().insert(PeerIdentity::Service(role));
            let log = proto::Log { tenant: "acme".to_owned(), stream: stream.to_owned() };
            assert_eq!(may_be_appended_to(&request, Some(&log)).is_ok(), appends, "{role:?} {stream}");
            assert_eq!(may_be_read(&request, Some(&log)).is_ok(), reads, "{role:?} {stream}");
        };
        check(Role::Ingest, "evidence", true, true);
        check(Role::Ingest, "audit", false, false);
        check(Role::Ingest, "config", false, false);
        check(Role::Gateway, "evidence", false, true);
        check(Role::Gateway, "audit", true, true);
        check(Role::Operator, "evidence", false, false);
        check(Role::Operator, "audit", false, false);
        check(Role::Operator, "config", true, true);
        check(Role::Storage, "evidence", true, true);
        check(Role::Storage, "other", false, false);
    }
}
