//! Which caller may put and read which kind of blob: the method alone does not say.

use openarchive_proto::storage::v1::{BlobKind, BlobRef};
use openarchive_rpc::{PeerIdentity, Role, refusal};
use tonic::{Code, Status};

/// Configuration snapshots are the operator's, and nothing else is: its certificate opens no mail.
pub(crate) fn may_use(caller: &PeerIdentity, blob: Option<&BlobRef>) -> Result<(), Status> {
    let Some(blob) = blob else { return Ok(()) };
    let of_operator = blob.kind() == BlobKind::Config;
    let allowed = match caller {
        PeerIdentity::Service(Role::Operator) => of_operator,
        PeerIdentity::Service(_) | PeerIdentity::Agent(_) => !of_operator,
        // The table of methods lets nobody without a certificate reach storage: this is a server of a test's own.
        PeerIdentity::Anonymous => true,
    };
    if allowed {
        return Ok(());
    }
    let message =
        format!("a caller of class {} has nothing to do with blobs of this kind", caller.caller().class());
    Err(refusal(Code::PermissionDenied, "NOT_AUTHORISED", message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configuration_is_the_operators_and_mail_is_not() {
        let check = |role: Role, kind: BlobKind, allowed: bool| {
            let blob = BlobRef { kind: kind.into(), ..BlobRef::default() };
            assert_eq!(may_use(&role.into(), Some(&blob)).is_ok(), allowed, "{role:?} {kind:?}");
        };
        for kind in [BlobKind::Part, BlobKind::Skeleton, BlobKind::Observation, BlobKind::State] {
            check(Role::Ingest, kind, true);
            check(Role::Operator, kind, false);
        }
        check(Role::Ingest, BlobKind::Config, false);
        check(Role::Operator, BlobKind::Config, true);
    }
}
