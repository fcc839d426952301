//! The agents' intermediate in the hands of a real trust service.

use std::{fs, sync::Arc};

use openarchive_domain::{Clock as _, SystemClock};
use openarchive_objects::LocalStore;
use openarchive_operator_pki::{
    AGENT_CERTIFICATE_DAYS_MAX, Phase, SECRETS_LOADED_SECONDS_MIN, SecretData, TLS_CERTIFICATE, TLS_KEY,
};
use openarchive_proto::trust::v1::{IssueAgentCertificateRequest, trust_service_client::TrustServiceClient};
use openarchive_rpc::{PeerIdentity, Role, in_process_as};
use openarchive_schema::DatabaseRole;
use openarchive_testkit::database::TestDatabase;
use openarchive_trust::{AgentsCa, AgentsCaError, Keys, Trust, TrustConfig};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair, SanType};
use sqlx::postgres::PgPoolOptions;
use tempfile::TempDir;

use crate::{
    verifier::{Believed, Shown},
    world::{START, World, after, agent_chain},
};

fn load(secret: &SecretData) -> Result<AgentsCa, AgentsCaError> {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
    fs::write(&certificate, &secret[TLS_CERTIFICATE]).unwrap();
    fs::write(&key, &secret[TLS_KEY]).unwrap();
    AgentsCa::load(&certificate, &key)
}

struct Running {
    trust: Trust,
    _database: TestDatabase,
    _folder: TempDir,
}

async fn start_trust(agents_ca: &SecretData) -> Running {
    let database = TestDatabase::start();
    let admin = PgPoolOptions::new().max_connections(2).connect(&database.url()).await.unwrap();
    openarchive_schema::migrate(&admin).await.unwrap();
    let url = database.url_as(DatabaseRole::Trust.as_str());
    let pool = PgPoolOptions::new().max_connections(4).connect_lazy(&url).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let objects = LocalStore::open(&folder.path().join("objects"), Arc::new(SystemClock)).unwrap();
    let keys = Keys::from_secrets([1; 32], [2; 32]);
    let mut config = TrustConfig::new(pool, objects.into(), keys, "archive.example", "main");
    config.agents_ca = Some(load(agents_ca).unwrap());
    let trust = Trust::start(config).await.unwrap();
    Running { trust, _database: database, _folder: folder }
}

async fn issue(running: &Running) -> Shown {
    let csr = CertificateParams::default().serialize_request(&KeyPair::generate().unwrap()).unwrap();
    let mut client = TrustServiceClient::new(in_process_as(Role::Ingest, running.trust.server()));
    let request = IssueAgentCertificateRequest {
        tenant: "acme".to_owned(),
        agent: "mx1".to_owned(),
        csr: csr.der().to_vec().into(),
    };
    let issued = client.issue_agent_certificate(request).await.unwrap().into_inner();
    Shown::of_pem(issued.certificate_chain.as_bytes())
}

#[tokio::test]
async fn what_trust_signs_with_it_is_let_in_by_every_service_also_while_the_authority_is_exchanged() {
    let mut world = World::new(&[Role::Trust, Role::Ingest]);
    world.now = SystemClock.now();
    world.whole_pass();
    let running = start_trust(world.found.agents_ca.as_ref().unwrap()).await;
    let early = issue(&running).await;
    let identity = PeerIdentity::of_certificate(&early.first(), "archive.example").unwrap();
    let PeerIdentity::Agent(agent) = identity else { panic!("{identity:?}") };
    assert_eq!(agent.agent.to_string(), "acme/mx1");
    let let_in = |world: &World, shown: &Shown| {
        for name in ["trust", "ingest"] {
            let believed = Believed::of_secret(&world.found.leaves[name]);
            believed.client(shown, SystemClock.now()).unwrap();
            let server = believed.server(shown, "localhost", SystemClock.now());
            assert!(server.is_err(), "an agent is nobody's server");
        }
    };
    let_in(&world, &early);

    world.request = Some("now".to_owned());
    world.whole_pass();
    world.now = after(world.now, i64::from(SECRETS_LOADED_SECONDS_MIN) * 1000);
    world.whole_pass();
    assert_eq!(world.phase(), Phase::ReIssue);
    running.trust.shutdown().await;
    let running = start_trust(world.found.agents_ca.as_ref().unwrap()).await;
    let late = issue(&running).await;
    let_in(&world, &early);
    let_in(&world, &late);
    running.trust.shutdown().await;
}

#[test]
fn the_intermediate_is_what_trust_takes_and_makes_no_server() {
    assert_eq!(AGENT_CERTIFICATE_DAYS_MAX, openarchive_trust::AGENT_CERTIFICATE_DAYS_MAX);
    let world = World::started(&[Role::Trust, Role::Ingest]);
    let secret = world.found.agents_ca.clone().unwrap();
    load(&secret).unwrap();
    let mut mixed = secret.clone();
    mixed.insert(TLS_KEY.to_owned(), world.found.leaves["trust"][TLS_KEY].clone());
    assert!(matches!(load(&mixed), Err(AgentsCaError::Mismatch { .. })));

    // Whoever has its key can name himself a server, and is believed by nobody.
    let text = |key: &str| String::from_utf8(secret[key].clone()).unwrap();
    let issuer =
        Issuer::from_ca_cert_pem(&text(TLS_CERTIFICATE), KeyPair::from_pem(&text(TLS_KEY)).unwrap()).unwrap();
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::DnsName("main-ingest.archive.svc".try_into().unwrap())];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let forged = params.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap().pem();
    let believed = Believed::of_secret(&world.found.leaves["trust"]);
    let shown = Shown::of_pem((forged + &text(TLS_CERTIFICATE)).as_bytes());
    assert!(believed.server(&shown, "main-ingest.archive.svc", START).is_err());
    let agent = Shown::of_pem(agent_chain(&secret, START).as_bytes());
    believed.client(&agent, START).unwrap();
}
