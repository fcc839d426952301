//! For every method and every identity: only the pairs of a table that is written out by hand pass.
//!
//! Real servers over real mutual TLS, each with the generated code of its services; their handlers only say who reached
//! them. A revoked agent is the one identity that is missing here: its certificate is as good as before for TLS and for the
//! table, and ingest refuses it by its name, which is tested with enrolment, in ingest. That name and the certificate's
//! serial number reach the handlers, which is tested here.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod certificates;
mod handlers;
mod servers;
mod table;

use std::collections::BTreeSet;

use openarchive_rpc::{PeerIdentity, RpcChannel, has_reason};
use tonic::{Code, Request, Status, client::Grpc, codegen::http::uri::PathAndQuery};
use tonic_prost::ProstCodec;

use crate::{
    certificates::{Pki, Who},
    handlers::{REACHED, seen},
    servers::{Servers, in_process_channels},
    table::TABLE,
};

/// Calls a method with an empty message; every handler refuses, so that there is a status in each case.
async fn call(channel: &RpcChannel, path: &'static str) -> Status {
    let mut client = Grpc::new(channel.clone());
    let codec = ProstCodec::<(), ()>::default();
    client.unary(Request::new(()), PathAndQuery::from_static(path), codec).await.unwrap_err()
}

fn was_reached(status: &Status) -> bool {
    status.code() == Code::Aborted && has_reason(status, REACHED)
}

/// What is answered to whom the table does not let in.
fn refusal_of(who: Who) -> (Code, Option<&'static str>) {
    match who {
        // TLS itself refuses: there is no call.
        Who::ExpiredAgent
        | Who::ExpiredGateway
        | Who::SelfSignedAgent
        | Who::SelfSignedGateway
        | Who::OtherAuthoritysAgent => (Code::Unavailable, None),
        Who::ForeignDomainsAgent | Who::ForeignDomainsGateway => {
            (Code::PermissionDenied, Some("FOREIGN_DOMAIN"))
        }
        Who::UnknownService => (Code::PermissionDenied, Some("UNKNOWN_IDENTITY")),
        Who::TwiceNamed => (Code::Unauthenticated, Some("NOT_ONE_URI")),
        Who::WithoutCertificate => (Code::Unauthenticated, Some("NO_CERTIFICATE")),
        _ => (Code::PermissionDenied, Some("NOT_AUTHORISED")),
    }
}

fn assert_refused(status: &Status, who: Who, path: &str) {
    let (code, reason) = refusal_of(who);
    assert_eq!(status.code(), code, "{who:?} {path} {status:?}");
    if let Some(reason) = reason {
        assert!(has_reason(status, reason), "{who:?} {path} {status:?}");
    }
}

#[test]
fn the_table_has_every_method_once() {
    let written: BTreeSet<&str> = TABLE.iter().map(|row| row.0).collect();
    assert_eq!(written.len(), TABLE.len());
    let methods: BTreeSet<&str> = openarchive_topology::METHODS.iter().map(|method| method.path).collect();
    let missing: Vec<_> = methods.difference(&written).collect();
    let invented: Vec<_> = written.difference(&methods).collect();
    assert!(missing.is_empty() && invented.is_empty(), "missing: {missing:#?}, invented: {invented:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_only_the_pairs_of_the_table_pass() {
    let pki = Pki::new();
    let servers = Servers::start(&pki).await;
    for who in Who::ALL {
        let credentials = pki.credentials(who);
        let channels = servers.channels(&pki, &credentials);
        for (path, passes) in TABLE {
            let status = call(&channels[&servers::service_of(path)], path).await;
            if passes.contains(&who) {
                assert!(was_reached(&status), "{who:?} is refused at {path}: {status:?}");
                assert_eq!(status.message(), credentials.seen, "{who:?} {path}");
            } else {
                assert!(!was_reached(&status), "{who:?} passes at {path}");
                assert_refused(&status, who, path);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_method_that_is_not_in_the_table_is_refused_for_everybody() {
    let pki = Pki::new();
    let servers = Servers::start(&pki).await;
    for who in Who::ALL {
        let channels = servers.channels(&pki, &pki.credentials(who));
        for path in [
            "/openarchive.trust.v1.TrustService/Nothing",
            "/openarchive.trust.v1.TrustService/append",
            "/openarchive.trust.v1.TrustService/%41ppend",
            "/openarchive.trust.v1.TrustService/Append/",
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        ] {
            let status = call(&channels["openarchive.trust.v1.TrustService"], path).await;
            assert_refused(&status, who, path);
        }
    }
}

#[tokio::test]
async fn in_one_process_the_same_table_rules() {
    let agent = PeerIdentity::local_agent("acme/mx1".parse().unwrap());
    let others_agent = PeerIdentity::local_agent("other/mx1".parse().unwrap());
    let callers = Who::SERVICES
        .map(|(who, role)| (who, PeerIdentity::Service(role)))
        .into_iter()
        .chain([(Who::Agent, agent), (Who::OtherTenantsAgent, others_agent)])
        .chain([(Who::WithoutCertificate, PeerIdentity::Anonymous)]);
    for (who, identity) in callers {
        let channels = in_process_channels(&identity);
        for (path, passes) in TABLE {
            let status = call(&channels[&servers::service_of(path)], path).await;
            assert_eq!(was_reached(&status), passes.contains(&who), "{who:?} {path} {status:?}");
            if was_reached(&status) {
                assert_eq!(status.message(), seen(&identity), "{who:?} {path}");
            } else {
                assert_refused(&status, who, path);
            }
        }
    }
}
