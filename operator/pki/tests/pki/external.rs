//! The bundle of an agent outside the cluster, used by the agent's own code.

use std::{fs, path::Path, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use openarchive_domain::{AgentRef, Clock as _, Digest, SystemClock};
use openarchive_edge::{
    config::Config,
    enrol::{EnrolError, enrol},
};
use openarchive_ledger::policy::Policy;
use openarchive_operator_pki::{
    BundleError, ENROLMENT_TOKEN_BYTES_MAX, ExternalAgent, Identity, LeafSpec, SecretData, external_bundle,
};
use openarchive_rpc::{
    Authorise, ClientCertificates, ReloadingTls, Role, ServerTls, TlsFiles, serve, server_builder,
};
use openarchive_trust::{Keys, policy_for};
use tokio::{net::TcpListener, sync::watch};
use tonic::{Code, service::Routes};

use crate::world::World;

/// As trust gives it to a tenant.
fn log_policy(tenant: &str) -> Vec<u8> {
    let keys = Keys::from_secrets([1; 32], [2; 32]);
    policy_for(&keys, "archive.example", "main", &tenant.parse().unwrap()).unwrap().to_text()
}

fn world() -> World {
    let mut world = World::new(&[]);
    world.now = SystemClock.now();
    let names = ["main-ingest.archive.svc", "localhost"];
    world.specs = vec![LeafSpec::new("ingest", Identity::Service(Role::Ingest), names).unwrap()];
    world.whole_pass();
    world
}

#[derive(Clone, Copy)]
struct Given<'a> {
    host: &'a str,
    port: u16,
    policy: &'a [u8],
    token: &'a str,
}

fn bundle(world: &World, given: Given<'_>) -> Result<SecretData, BundleError> {
    let Given { host, port, policy: log_policy, token } = given;
    let agent: AgentRef = "acme/mx1".parse().unwrap();
    let ingest = &world.specs[0];
    let authorities = world.state().bundle();
    let authorities = authorities.as_bytes();
    external_bundle(&ExternalAgent { agent: &agent, host, port, ingest, log_policy, token, authorities })
}

fn unpack(bundle: &SecretData, folder: &Path) {
    for (name, bytes) in bundle {
        fs::write(folder.join(name), bytes).unwrap();
    }
}

#[test]
fn a_bundle_is_a_folder_from_which_an_agent_can_enrol() {
    let world = world();
    let policy = log_policy("acme");
    let given = Given { host: "localhost", port: 7443, policy: &policy, token: "oae_token" };
    let bundle = bundle(&world, given).unwrap();
    assert_eq!(bundle.keys().collect::<Vec<_>>(), ["agent.yaml", "ca.pem", "log.policy", "token"]);
    assert_eq!(bundle["ca.pem"], world.state().bundle().into_bytes());
    let folder = tempfile::tempdir().unwrap();
    unpack(&bundle, folder.path());
    let config = Config::load(&folder.path().join("agent.yaml")).unwrap();
    let core = config.core.unwrap();
    assert_eq!(core.address, "https://localhost:7443");
    assert_eq!(core.ca, folder.path().join("ca.pem"));
    assert_eq!(core.log_policy, folder.path().join("log.policy"));
    assert!(config.listeners[0].address.ip().is_loopback());
    let policy = Policy::parse(&fs::read(core.log_policy).unwrap()).unwrap();
    assert_eq!(policy.to_text(), log_policy("acme"));
}

/// Up to the answer of a real listener with ingest's certificate: it serves nothing, and says so.
#[tokio::test]
async fn with_the_bundle_the_agent_believes_ingest_and_shows_its_token() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let world = world();
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    for (name, bytes) in &world.found.leaves["ingest"] {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    let file = |name| folder.path().join(name);
    let files = TlsFiles { certificate: file("tls.crt"), key: file("tls.key"), authorities: file("ca.crt") };
    let tls = ServerTls { files: ReloadingTls::load(&files).unwrap(), clients: ClientCertificates::Optional };
    let (_stop, stopped) = watch::channel(false);
    let router =
        server_builder().layer(Authorise::by_certificate("archive.example")).add_routes(Routes::default());
    let serving = tokio::spawn(serve(listener, router, tls, stopped));

    let agent = tempfile::tempdir().unwrap();
    let policy = log_policy("acme");
    let given = Given { host: "localhost", port, policy: &policy, token: "oae_token" };
    unpack(&bundle(&world, given).unwrap(), agent.path());
    let core = Config::load(&agent.path().join("agent.yaml")).unwrap().core.unwrap();
    let token = agent.path().join("token");
    let enrolled = tokio::time::timeout(Duration::from_secs(20), enrol(&core, &token)).await.unwrap();
    let Err(EnrolError::Refused { code: Code::Unimplemented, .. }) = enrolled else { panic!("{enrolled:?}") };

    // The same agent with the authority of another archive does not even say who it is.
    fs::write(&core.ca, crate::world::World::started(&[Role::Ingest]).state().bundle()).unwrap();
    let enrolled = tokio::time::timeout(Duration::from_secs(20), enrol(&core, &token)).await.unwrap();
    let Err(EnrolError::Refused { code: Code::Unavailable, .. }) = enrolled else { panic!("{enrolled:?}") };
    serving.abort();
}

/// A policy that demands a witness, whose key is that of a log.
fn witnessed() -> Vec<u8> {
    let policy = String::from_utf8(log_policy("acme")).unwrap();
    let key = policy.lines().next().unwrap().rsplit('+').next().unwrap();
    let mut key = STANDARD.decode(key).unwrap();
    // C2SP signed-note: the first byte is the kind of key, 4 for a cosignature.
    key[0] = 4;
    let id = Digest::of(&[b"witness.example\n".as_slice(), &key].concat()).hex();
    let key = format!("witness.example+{}+{}", &id[..8], STANDARD.encode(key));
    format!("witness w {key}\nquorum w\n").into_bytes()
}

#[test]
fn a_bundle_that_would_not_work_is_not_made() {
    let world = world();
    let (policy, others, witnessed) = (log_policy("acme"), log_policy("umbrella"), witnessed());
    let good = Given { host: "localhost", port: 7443, policy: &policy, token: "oae_token" };
    assert!(bundle(&world, Given { host: "LOCALHOST", ..good }).is_ok());
    let check = |expected: BundleError, given: Given<'_>| {
        assert_eq!(bundle(&world, given).unwrap_err(), expected);
    };
    check(BundleError::UnknownHost("other".to_owned()), Given { host: "other", ..good });
    check(BundleError::NoPort, Given { port: 0, ..good });
    check(BundleError::LogPolicy, Given { policy: b"log x\n", ..good });
    check(BundleError::NoLog("acme".to_owned()), Given { policy: b"quorum none\n", ..good });
    check(BundleError::NoLog("acme".to_owned()), Given { policy: &others, ..good });
    check(BundleError::Witnesses, Given { policy: &witnessed, ..good });
    check(BundleError::Token, Given { token: "", ..good });
    check(BundleError::Token, Given { token: "two words", ..good });
    let long = "x".repeat(ENROLMENT_TOKEN_BYTES_MAX);
    let bundled = bundle(&world, Given { token: &long, ..good }).unwrap();
    assert_eq!(bundled["token"], format!("{long}\n").into_bytes());
    check(BundleError::Token, Given { token: &(long + "x"), ..good });
}
