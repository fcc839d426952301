//! The archive as the operator runs and calls it: all in one process, and its roles apart.

mod archive;
mod callers;

use std::{
    fs,
    net::TcpStream,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use openarchive_e2e::{Cluster, eventually};
use openarchive_proto::{
    ingest::v1::{
        ApplyPoliciesRequest, CreateEnrolmentRequest, Direction, Erasure, GetMessageRequest,
        ListAgentsRequest, PolicyDecision, RetentionPolicy, StartFrom,
        catalogue_service_client::CatalogueServiceClient, retention_policy::KeepFor,
    },
    storage::v1::{BlobKind, GetWormStatusRequest, storage_service_client::StorageServiceClient},
    trust::v1::{
        GetTrustModeRequest, ListLeavesRequest, UnwrapKeysRequest, WrapKeysRequest,
        trust_service_client::TrustServiceClient,
    },
};
use openarchive_rpc::RpcChannel;
use openarchive_testkit::{
    sample_mail::{SampleMail, sample_mail},
    smtp_client::SmtpClient,
};
use rustix::process::Signal;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use sqlx::{Connection as _, PgConnection};
use tonic::Code;

use self::{
    archive::{Standalone, signal},
    callers::{
        append, assert_refused, channel, get, log, put, snapshot_leaf, the_operator_keeps_its_configuration,
    },
};

/// Longest orderly stop of an archive that has nothing in hand. It may take 80 s (docs/configuration.md), 30 of them
/// until its database would be killed.
const STOP_TIME_MAX: Duration = Duration::from_secs(29);

async fn enrolment(operator: &RpcChannel, tenant: &str, agent: &str) -> String {
    let (tenant, agent) = (tenant.to_owned(), agent.to_owned());
    let request = CreateEnrolmentRequest { tenant, agent, hours: 1 };
    let made = CatalogueServiceClient::new(operator.clone()).create_enrolment(request).await.unwrap();
    made.into_inner().token
}

fn send(smtp: &str, mails: &[SampleMail]) {
    let mut client = SmtpClient::connect(smtp).unwrap();
    for mail in mails {
        assert_eq!(client.send(&mail.from, &mail.to, &mail.bytes).unwrap().code, 250);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_with_every_role_archives_mail_keeps_configuration_and_lives_through_restarts() {
    let mut archive = Standalone::prepare(&["acme"]);
    archive.start();
    let operator = channel(&archive.path("tls"), "operator", archive.grpc);
    let agent = archive.agent("acme/mx1", &enrolment(&operator, "acme", "mx1").await);
    let mails = sample_mail(91, 4);
    send(&agent.smtp(), &mails[..2]);
    agent.wait_drained(60);
    let token = archive.path("data/api-token");
    eventually("both mails are found", 60, || (archive.count(&token)? == 2).then_some(()));
    the_operator_keeps_its_configuration(&operator, &operator).await;

    // Without its database it is nothing: the process ends, so that somebody starts it again.
    let postgres = archive.postgres().unwrap();
    signal(postgres, Signal::KILL);
    assert_eq!(archive.ended(), Some(1));
    assert!(archive.log().contains("the private PostgreSQL has ended by itself"), "{}", archive.log());
    archive.start();
    assert_eq!(archive.count(&token), Some(2));

    let asked = Instant::now();
    assert_eq!(archive.terminate(), Some(0));
    assert!(asked.elapsed() < STOP_TIME_MAX, "{:?}", asked.elapsed());
    assert_eq!(archive.postgres(), None, "the database has stopped in order");
    assert_eq!(fs::read_dir(archive.path("tmp")).unwrap().count(), 0);

    archive.configure(&["other"]);
    assert_eq!(archive.start_in_vain(), Some(1));
    assert!(archive.log().contains("archive.tenants: acme is missing"), "{}", archive.log());
    archive.configure(&["acme", "other"]);
    archive.start();
    send(&agent.smtp(), &mails[2..3]);
    agent.wait_drained(60);
    let added = archive.agent("other/mx1", &enrolment(&operator, "other", "mx1").await);
    send(&added.smtp(), &mails[3..]);
    added.wait_drained(60);
    let issued = archive.command(&["token", "issue", "--config", "all.yaml", "other"]);
    assert_eq!(issued.code, 0, "{issued:?}");
    let other = archive.path("other.token");
    fs::write(&other, issued.stdout).unwrap();
    eventually("the added tenant finds its own mail", 60, || (archive.count(&other)? == 1).then_some(()));
    eventually("the first finds its three", 60, || (archive.count(&token)? == 3).then_some(()));
    for tenant in ["acme", "other"] {
        let policy = archive.command(&["trust-policy", "--config", "all.yaml", "--tenant", tenant]);
        assert!(policy.stdout.contains(&format!("/main/{tenant}/evidence/1")), "{policy:?}");
    }
    let leaves = ListLeavesRequest { log: Some(log("_", "config")), start: 0, limit: 0 };
    let leaves = TrustServiceClient::new(operator).list_leaves(leaves).await.unwrap().into_inner();
    assert_eq!(leaves.size, 3, "the configuration's log stands as it stood");

    assert_eq!(archive.terminate(), Some(0));
    let report = archive.command(&["fsck", "--data", "data"]);
    assert_eq!(report.code, 0, "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_calls_a_pod_with_every_role_may_do_what_the_table_says_and_no_more() {
    let mut archive = Standalone::prepare(&["acme"]);
    archive.start();
    let tls = archive.path("tls");
    let agents = || ListAgentsRequest { tenant: "acme".to_owned(), agent: String::new() };
    let mail = || GetMessageRequest { tenant: "acme".to_owned(), ..GetMessageRequest::default() };

    let operator = channel(&tls, "operator", archive.grpc);
    let mut catalogue = CatalogueServiceClient::new(operator.clone());
    let mut trust = TrustServiceClient::new(operator.clone());
    catalogue.list_agents(agents()).await.unwrap();
    assert_refused("mail", catalogue.get_message(mail()).await, Code::PermissionDenied);
    assert_refused("keys", trust.wrap_keys(WrapKeysRequest::default()).await, Code::PermissionDenied);
    assert_refused("keys", trust.unwrap_keys(UnwrapKeysRequest::default()).await, Code::PermissionDenied);
    for stream in ["evidence", "audit"] {
        let leaf = append(&operator, log("acme", stream), vec![snapshot_leaf(b"x", None)]).await;
        assert_refused(stream, leaf, Code::PermissionDenied);
    }
    let part = put(&operator, BlobKind::Part, "10y-received-forbidden", b"x").await;
    assert_refused("a part of a mail", part, Code::PermissionDenied);
    let part = get(&operator, BlobKind::Part, b"x").await;
    assert_refused("a part of a mail", part, Code::PermissionDenied);

    let applied = catalogue.apply_policies(policies()).await.unwrap().into_inner();
    assert_eq!(applied.outcomes[0].decision(), PolicyDecision::Accepted, "{applied:?}");

    let gateway = channel(&tls, "gateway", archive.grpc);
    let mut of_gateway = CatalogueServiceClient::new(gateway.clone());
    of_gateway.list_agents(agents()).await.unwrap();
    assert_refused("policies", of_gateway.apply_policies(policies()).await, Code::PermissionDenied);
    let mut trust = TrustServiceClient::new(gateway.clone());
    trust.get_trust_mode(GetTrustModeRequest {}).await.unwrap();
    StorageServiceClient::new(gateway.clone()).get_worm_status(GetWormStatusRequest {}).await.unwrap();
    assert_refused("keys", trust.unwrap_keys(UnwrapKeysRequest::default()).await, Code::PermissionDenied);
    let leaf = append(&gateway, log("_", "config"), vec![snapshot_leaf(b"x", None)]).await;
    assert_refused("the operator's log", leaf, Code::PermissionDenied);
    let snapshot = put(&gateway, BlobKind::Config, "system", b"x").await;
    assert_refused("a snapshot", snapshot, Code::PermissionDenied);

    // The archive's own certificate names no role, an agent's no service.
    let own = channel(&tls, "all", archive.grpc);
    let answer = CatalogueServiceClient::new(own).list_agents(agents()).await;
    assert_refused("the archive's own certificate", answer, Code::PermissionDenied);
    archive.pki.write_agent(&tls, "acme", "mx1").unwrap();
    let agent = channel(&tls, "agent", archive.grpc);
    let answer = CatalogueServiceClient::new(agent).list_agents(agents()).await;
    assert_refused("an agent", answer, Code::PermissionDenied);
    let answer =
        TrustServiceClient::new(nobody(&tls, archive.grpc)).wrap_keys(WrapKeysRequest::default()).await;
    assert_refused("nobody", answer, Code::Unauthenticated);

    // A new certificate is taken up by both ports while calls go on.
    let before = served(&tls, archive.grpc);
    assert_eq!(before, served(&tls, archive.rest));
    archive.issue();
    eventually("both ports show the new certificate", 30, || {
        let (grpc, rest) = (served(&tls, archive.grpc), served(&tls, archive.rest));
        (grpc != before && grpc == rest).then_some(())
    });
    catalogue.list_agents(agents()).await.unwrap();
    one_role_that_is_not_ready_makes_the_whole_not_ready(&archive).await;
    assert!(archive.probe("/livez").starts_with("HTTP/1.1 200"));
    assert_eq!(archive.terminate(), Some(0));
}

fn policies() -> ApplyPoliciesRequest {
    let policy = RetentionPolicy {
        name: "short".to_owned(),
        uid: "1".to_owned(),
        generation: 1,
        direction: Direction::Any.into(),
        keep_for: Some(KeepFor::Days(30)),
        start_from: StartFrom::Received.into(),
        erasure: Erasure::Permitted.into(),
        ..RetentionPolicy::default()
    };
    ApplyPoliciesRequest { tenants: Vec::new(), policies: vec![policy] }
}

async fn one_role_that_is_not_ready_makes_the_whole_not_ready(archive: &Standalone) {
    let mut database = PgConnection::connect(&archive.database_url()).await.unwrap();
    sqlx::raw_sql("alter role openarchive_gateway nologin").execute(&mut database).await.unwrap();
    let end = "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'openarchive_gateway'";
    sqlx::raw_sql(end).execute(&mut database).await.unwrap();
    eventually("the gateway is not ready, and nobody else", 30, || {
        archive.probe("/readyz").ends_with("not ready: gateway\n").then_some(())
    });
    sqlx::raw_sql("alter role openarchive_gateway login").execute(&mut database).await.unwrap();
    eventually("every role is ready again", 30, || {
        archive.probe("/readyz").starts_with("HTTP/1.1 200").then_some(())
    });
}

/// A client without a certificate.
fn nobody(tls: &Path, port: u16) -> tonic::transport::Channel {
    let authority = tonic::transport::Certificate::from_pem(fs::read(tls.join("ca.pem")).unwrap());
    let config = tonic::transport::ClientTlsConfig::new().ca_certificate(authority);
    let endpoint = tonic::transport::Endpoint::from_shared(format!("https://localhost:{port}")).unwrap();
    endpoint.tls_config(config).unwrap().connect_lazy()
}

/// The certificate that a port shows.
fn served(tls: &Path, port: u16) -> Vec<u8> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(tls.join("ca.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
    let name = ServerName::try_from("acme-all.mail.svc").unwrap();
    let mut connection = ClientConnection::new(config, name).unwrap();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    while connection.is_handshaking() {
        connection.complete_io(&mut stream).unwrap();
    }
    connection.peer_certificates().unwrap()[0].to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_apart_keep_the_operators_configuration_and_take_a_tenant_that_is_added() {
    let mut cluster = Cluster::start(&["acme"]).unwrap();
    let tls = cluster.root().join("tls");
    cluster.pki().write_service(&tls, "operator").unwrap();
    let to = |role: &str| {
        let text = fs::read_to_string(cluster.root().join(format!("{role}-0.yaml"))).unwrap();
        let (_, rest) = text.split_once("grpc: 127.0.0.1:").unwrap();
        channel(&tls, "operator", rest.split(',').next().unwrap().parse().unwrap())
    };
    let (trust, storage, ingest) = (to("trust"), to("storage"), to("ingest"));
    the_operator_keeps_its_configuration(&trust, &storage).await;
    let leaf = append(&trust, log("acme", "evidence"), vec![snapshot_leaf(b"x", None)]).await;
    assert_refused("mail's log", leaf, Code::PermissionDenied);
    assert_refused("mail", get(&storage, BlobKind::Part, b"x").await, Code::PermissionDenied);

    // A log of the first tenant, so that it cannot be forgotten.
    let mut agent = crate::separate::agent(&cluster, 0, "acme/mx1");
    send(&agent.smtp(), &sample_mail(92, 1));
    agent.wait_drained(60);
    agent.terminate();

    let list = |cluster: &Cluster, tenants: &str| {
        for (_, role, replica) in cluster.services() {
            let path = cluster.root().join(format!("{role}-{replica}.yaml"));
            let text = fs::read_to_string(&path).unwrap();
            let (before, rest) = text.split_once("tenants: [").unwrap();
            let (_, after) = rest.split_once(']').unwrap();
            fs::write(&path, format!("{before}tenants: [{tenants}]{after}")).unwrap();
        }
    };
    for (index, ..) in cluster.services().into_iter().rev() {
        assert!(cluster.terminate(index));
    }
    list(&cluster, "other");
    let refused = cluster.openarchive(&["trust", "--config", "trust-0.yaml"]);
    assert!(refused.code == 1 && refused.stderr.contains("logs of tenant acme"), "{refused:?}");
    list(&cluster, "acme, other");
    for (index, ..) in cluster.services() {
        cluster.start_again(index);
    }
    let mut catalogue = CatalogueServiceClient::new(ingest.clone());
    let both = ["acme", "other"].map(str::to_owned);
    for tenant in both {
        catalogue.list_agents(ListAgentsRequest { tenant, agent: String::new() }).await.unwrap();
    }
    enrolment(&ingest, "other", "mx1").await;
    let agent = crate::separate::agent(&cluster, 0, "other/mx2");
    send(&agent.smtp(), &sample_mail(93, 1));
    agent.wait_drained(60);
    let token = crate::separate::token_file(&cluster, "other");
    eventually("the added tenant finds its mail", 60, || {
        let answer = cluster.ctl(0, &token, &["search", "*", "--limit", "1", "-o", "json"]);
        (answer.code == 0 && answer.json()["total"] == 1).then_some(())
    });
}
