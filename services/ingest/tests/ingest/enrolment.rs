//! Agents come in with a token, stay in, and are shut out: with the agent's own code against real servers.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::future::join_all;
use openarchive_domain::{Clock as _, FixedClock, SystemClock, Timestamp};
use openarchive_edge::{
    accept::{Acceptor, Arrival, Mode},
    buffer::{Buffer, BufferOptions},
    config::CoreConfig,
    enrol::{EnrolError, Renewal, RenewalPace, enrol, enrol_if_needed},
    spool::Spool,
    sync::{BackOff, CoreAddress, LogTrust, SyncOptions, SyncWorker},
};
use openarchive_ingest::RebuildReport;
use openarchive_ledger::policy::Policy;
use openarchive_mail::journal::JournalMode;
use openarchive_proto::ingest::v1::{
    CreateEnrolmentRequest, EnrolRequest, EnrolResponse, RevokeAgentRequest, RevokeAgentResponse,
    agent_service_client::AgentServiceClient,
};
use openarchive_rpc::{Authorise, PeerIdentity, RpcChannel, has_reason, in_process_as};
use openarchive_topology::{Caller, METHODS};
use rcgen::{CertificateParams, KeyPair, SanType};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use tokio::{sync::watch, time::Instant};
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::{
    Code, Request, Status,
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    service::interceptor::InterceptedService,
    transport::{Certificate, Identity, Server, ServerTlsConfig},
};
use tonic_prost::ProstCodec;

use crate::{
    archive::{Archive, TENANT, WAIT_MAX},
    faults::Fails,
};

const DAY_MILLIS: i64 = 86_400_000;
/// What an agent's certificate lets it call, written out: not what the code under test takes it to be.
const METHODS_OF_AGENTS: [&str; 6] = [
    "/openarchive.ingest.v1.AgentService/OfferMessages",
    "/openarchive.ingest.v1.AgentService/UploadBlobs",
    "/openarchive.ingest.v1.AgentService/CommitMessages",
    "/openarchive.ingest.v1.AgentService/ReportStatus",
    "/openarchive.ingest.v1.AgentService/GetConsistency",
    "/openarchive.ingest.v1.AgentService/RenewCertificate",
];
const REFUSED: &str = "the token lets nobody in: it is unknown, used or over; have another one made";

impl Archive {
    async fn token(&self, tenant: &str, agent: &str) -> Result<String, Status> {
        let request = CreateEnrolmentRequest { tenant: tenant.to_owned(), agent: agent.to_owned(), hours: 0 };
        Ok(self.catalogue.clone().create_enrolment(request).await?.into_inner().token)
    }

    async fn revoke(&self, agent: &str) -> RevokeAgentResponse {
        self.try_revoke(agent).await.unwrap()
    }

    async fn try_revoke(&self, agent: &str) -> Result<RevokeAgentResponse, Status> {
        let request = RevokeAgentRequest {
            tenant: TENANT.to_owned(),
            agent: agent.to_owned(),
            reason: "the machine was stolen".to_owned(),
        };
        Ok(self.catalogue.clone().revoke_agent(request).await?.into_inner())
    }

    /// As one calls who has no certificate.
    async fn enrol(&self, token: &str, csr: &[u8]) -> Result<EnrolResponse, Status> {
        let channel = in_process_as(PeerIdentity::Anonymous, self.ingest.agent_server());
        let request = EnrolRequest { token: token.to_owned(), csr: csr.to_vec().into() };
        Ok(AgentServiceClient::new(channel).enrol(request).await?.into_inner())
    }
}

fn request_of(params: &CertificateParams) -> Vec<u8> {
    params.serialize_request(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
}

fn fresh_request() -> Vec<u8> {
    request_of(&CertificateParams::default())
}

/// Whom a chain names, as the archive's own servers read it.
fn named(chain: &str) -> (String, String) {
    let der = CertificateDer::from_pem_slice(chain.as_bytes()).unwrap();
    match PeerIdentity::of_certificate(&der, "archive.example").unwrap() {
        PeerIdentity::Agent(agent) => (agent.agent.to_string(), agent.serial),
        other => panic!("{other:?}"),
    }
}

fn assert_token_refused(answer: Result<EnrolResponse, Status>) {
    let status = answer.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::PermissionDenied, REFUSED));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_lets_one_request_in_for_whom_it_was_made_while_it_is_valid() {
    let now = SystemClock.now().as_millis();
    let clock = Arc::new(FixedClock::at(Timestamp::from_millis(now)));
    let archive = Archive::start_at(clock.clone()).await;
    let request = CreateEnrolmentRequest { tenant: TENANT.to_owned(), agent: "mx7".to_owned(), hours: 0 };
    let made = archive.catalogue.clone().create_enrolment(request.clone()).await.unwrap().into_inner();
    let token = made.token;

    // What is wrong with a request costs no token.
    let broken = archive.enrol(&token, b"nonsense").await.unwrap_err();
    assert_eq!(broken.code(), Code::InvalidArgument, "{broken:?}");
    let weak = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512).unwrap();
    let weak = CertificateParams::default().serialize_request(&weak).unwrap().der().to_vec();
    assert_eq!(archive.enrol(&token, &weak).await.unwrap_err().code(), Code::InvalidArgument);

    // Names in a request are wishes, and nobody's names.
    let mut wishes = CertificateParams::default();
    let foreign = "spiffe://archive.example/tenant/other/edge/mx9";
    wishes.subject_alt_names = vec![SanType::URI(foreign.try_into().unwrap())];
    let csr = request_of(&wishes);
    let first = archive.enrol(&token, &csr).await.unwrap();
    assert_eq!(named(&first.certificate_chain).0, "acme/mx7");
    assert!(Policy::parse(first.log_policy.as_bytes()).is_ok());
    assert_eq!(made.log_policy, first.log_policy, "it was told with the token");
    archive.faults.plan("GetLogPolicy", Fails::Before);
    let failed = archive.catalogue.clone().create_enrolment(request).await.unwrap_err();
    assert!(failed.code() == Code::Unavailable && archive.faults.is_spent(), "{failed:?}");

    // The answer was lost: the same again. Another request: no.
    let again = archive.enrol(&token, &csr).await.unwrap();
    assert_eq!(named(&again.certificate_chain).0, "acme/mx7");
    assert_token_refused(archive.enrol(&token, &fresh_request()).await);
    assert_token_refused(archive.enrol("", &csr).await);
    assert_token_refused(archive.enrol(&format!("oae_{}", "A".repeat(43)), &csr).await);

    // Another tenant's token gives that tenant's certificate; one that this archive does not have gets none.
    let others = archive.token("other", "mx7").await.unwrap();
    let others = archive.enrol(&others, &fresh_request()).await.unwrap();
    assert_eq!(named(&others.certificate_chain).0, "other/mx7");
    assert_eq!(archive.token("unknown", "mx7").await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(archive.token(TENANT, "MX7").await.unwrap_err().code(), Code::InvalidArgument);

    let (early, late) =
        (archive.token(TENANT, "mx8").await.unwrap(), archive.token(TENANT, "mx8").await.unwrap());
    clock.set(Timestamp::from_millis(now + DAY_MILLIS - 1));
    assert!(archive.enrol(&early, &fresh_request()).await.is_ok());
    clock.set(Timestamp::from_millis(now + DAY_MILLIS));
    assert_token_refused(archive.enrol(&late, &fresh_request()).await);
    assert_token_refused(archive.enrol(&token, &csr).await);

    // Two at the same moment: one is let in.
    let token = archive.token(TENANT, "mx9").await.unwrap();
    let (one, two) = (fresh_request(), fresh_request());
    let (one, two) = tokio::join!(archive.enrol(&token, &one), archive.enrol(&token, &two));
    assert_eq!([one.is_ok(), two.is_ok()].into_iter().filter(|entered| *entered).count(), 1);

    // Nothing of a token is kept but its SHA-256.
    let rows: Vec<String> = sqlx::query_scalar!(r#"select e::text as "row!" from ingest.enrolment e"#)
        .fetch_all(&archive.pool)
        .await
        .unwrap();
    assert_eq!(rows.len(), 5);
    assert!(!rows.concat().contains(&token[4..]));
}

/// Callers that have no certificate, while the table of their tokens is locked: those beyond the limit wait without a
/// connection to the database, and an agent is served.
#[tokio::test(flavor = "multi_thread")]
async fn callers_without_a_certificate_hold_few_connections_to_the_database() {
    const SERVED_AT_ONCE: i64 = 4;
    let archive = Archive::start().await;
    let archive = &archive;
    let tokens: Vec<String> = join_all(
        (0..8).map(|number| async move { archive.token(TENANT, &format!("mx{number}")).await.unwrap() }),
    )
    .await;
    let mut lock = archive.pool.begin().await.unwrap();
    sqlx::raw_sql("lock table ingest.enrolment in access exclusive mode").execute(&mut *lock).await.unwrap();
    let request = fresh_request();
    let calls = join_all(tokens.iter().map(|token| archive.enrol(token, &request)));
    let waiting = "pg_stat_activity where wait_event_type = 'Lock' and query like '%use_enrolment%'";
    let looks = async {
        until("the limit is reached", async || archive.count(waiting).await == SERVED_AT_ONCE).await;
        archive.agent("acme/mx99").report(0).await.unwrap();
        assert_eq!(archive.count(waiting).await, SERVED_AT_ONCE);
        lock.rollback().await.unwrap();
    };
    let (answers, ()) = tokio::join!(calls, looks);
    assert!(answers.iter().all(Result::is_ok), "each is served in its turn: {answers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_agent_is_refused_by_every_method_and_others_are_not() {
    let archive = Archive::start().await;
    let pending = archive.token(TENANT, "mx7").await.unwrap();
    let revoked_at = archive.revoke("mx7").await.revoked_at;
    assert_eq!(archive.revoke("mx7").await.revoked_at, revoked_at, "the first time stands");
    assert_token_refused(archive.enrol(&pending, &fresh_request()).await);
    let again = archive.token(TENANT, "mx7").await.unwrap_err();
    assert!(has_reason(&again, "AGENT_REVOKED"), "{again:?}");

    // Also after the database was lost; then the one that was revoked while storage was away is shut out as well, once
    // somebody was told that it is.
    archive.faults.plan("PutBlobs", Fails::Before);
    let half_done = archive.try_revoke("mx9").await.unwrap_err();
    assert_eq!(half_done.code(), Code::Unavailable, "{half_done:?}");
    archive.revoke("mx9").await;
    archive.execute("truncate ingest.revoked_agent").await;
    assert_eq!(archive.rebuild().await, RebuildReport::default());
    assert_eq!(archive.revoke("mx7").await.revoked_at, revoked_at);
    assert_eq!(archive.count("ingest.revoked_agent").await, 2);

    let channel = |agent: &str| {
        let caller = PeerIdentity::local_agent(agent.parse().unwrap());
        in_process_as(caller, archive.ingest.agent_server())
    };
    // A method that is new has to be called here, too.
    let known = METHODS.iter().filter(|method| method.callers.contains(&Caller::Agent));
    assert_eq!(known.map(|method| method.path).collect::<BTreeSet<_>>(), BTreeSet::from(METHODS_OF_AGENTS));
    for path in METHODS_OF_AGENTS {
        let call = async |agent: &str| {
            let mut client = Grpc::new(channel(agent));
            let codec = ProstCodec::<(), ()>::default();
            client.unary(Request::new(()), PathAndQuery::from_static(path), codec).await.err()
        };
        let refused = call("acme/mx7").await.unwrap();
        assert_eq!(refused.code(), Code::PermissionDenied, "{path} {refused:?}");
        assert!(has_reason(&refused, "AGENT_REVOKED"), "{path} {refused:?}");
        for other in ["acme/mx8", "other/mx7"] {
            let answer = call(other).await;
            assert!(answer.is_none_or(|status| status.code() != Code::PermissionDenied), "{path} {other}");
        }
    }

    // The agent says so, and keeps its mail.
    let site = Site::new();
    let policy = Policy::parse(
        archive
            .enrol(&archive.token(TENANT, "mx8").await.unwrap(), &fresh_request())
            .await
            .unwrap()
            .log_policy
            .as_bytes(),
    )
    .unwrap();
    let trust = LogTrust::from_policy("acme/mx7".parse().unwrap(), &policy).unwrap();
    let stop = CancellationToken::new();
    site.accept(1).await;
    let worker =
        SyncWorker::new(site.buffer.clone(), channel("acme/mx7"), trust, site.clock.clone(), eager());
    let running = tokio::spawn(worker.run(stop.clone()));
    until("the agent raises an alarm", async || {
        site.buffer.alarms().await.unwrap().iter().any(|alarm| alarm.kind == "agent-revoked")
    })
    .await;
    stop.cancel();
    running.await.unwrap();
    assert_eq!(site.buffer.stats().await.unwrap().messages, 1);
    assert_eq!(archive.count("ingest.message").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_enrolled_agent_archives_mail_and_gets_its_next_certificate_while_it_runs() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let archive = Archive::start().await;
    let (url, serials) = serve(&archive).await;
    let site = Site::new();
    let core = site.core(url, &archive.authority().0);
    let token_file = site.file("token");
    fs::write(&token_file, archive.token(TENANT, "mx7").await.unwrap() + "\n").unwrap();
    let enrolled = enrol(&core, &token_file).await.unwrap();
    assert_eq!((enrolled.agent.to_string().as_str(), enrolled.other_policy), ("acme/mx7", false));
    assert_eq!(fs::metadata(&core.key).unwrap().permissions().mode() & 0o777, 0o600);
    let files: BTreeSet<_> =
        fs::read_dir(site.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    for name in ["agent.key", "agent.pem", "log.policy"] {
        assert!(files.contains(std::ffi::OsStr::new(name)), "{files:?}");
    }
    let key = fs::read(&core.key).unwrap();
    assert!(matches!(enrol(&core, &token_file).await, Err(EnrolError::AlreadyEnrolled { .. })));
    assert_eq!(enrol_if_needed(&core, &token_file, site.clock.now()).await.unwrap(), None);
    // As after a crash before the certificate was written: the same command mends it; the token was used, but by this key
    // and another request, so another token is needed, and the key stays.
    fs::remove_file(&core.certificate).unwrap();
    assert!(matches!(enrol(&core, &token_file).await, Err(EnrolError::Refused { .. })));
    fs::write(&token_file, archive.token(TENANT, "mx7").await.unwrap()).unwrap();
    enrol(&core, &token_file).await.unwrap();
    assert_eq!(fs::read(&core.key).unwrap(), key);
    assert!(!site.file("agent.csr").exists());
    // Once it has ended nobody renews it. A token for the same agent gets the next one; any other leaves it as it is.
    let first = fs::read(&core.certificate).unwrap();
    let ended = site.clock.now().as_millis() + 91 * 86_400_000;
    let again = async || enrol_if_needed(&core, &token_file, Timestamp::from_millis(ended)).await;
    assert!(matches!(again().await, Err(EnrolError::Ended { .. })), "its token was used");
    fs::write(&token_file, archive.token(TENANT, "mx8").await.unwrap()).unwrap();
    assert!(matches!(again().await, Err(EnrolError::Ended { .. })), "it is another agent's");
    assert_eq!(fs::read(&core.certificate).unwrap(), first);
    fs::write(&token_file, archive.token(TENANT, "mx7").await.unwrap()).unwrap();
    assert_eq!(again().await.unwrap().unwrap().agent.to_string(), "acme/mx7");
    assert_ne!(fs::read(&core.certificate).unwrap(), first);
    assert_eq!(fs::read(&core.key).unwrap(), key);

    let address = CoreAddress::of(&core);
    let policy = Policy::parse(&fs::read(&core.log_policy).unwrap()).unwrap();
    let trust = LogTrust::from_policy(address.agent().unwrap(), &policy).unwrap();
    let channel = watch::Sender::new(address.connect().unwrap());
    let first_channel: RpcChannel = channel.borrow().clone();
    let worker = SyncWorker::new(site.buffer.clone(), first_channel, trust, site.clock.clone(), eager())
        .following(channel.subscribe());
    let pace = RenewalPace { look: Duration::from_millis(20), after_a_try: Duration::from_millis(200) };
    let (buffer, clock) = (site.buffer.clone(), site.clock.clone());
    let renewal = Renewal { address, buffer, clock, channel, pace };
    let stop = CancellationToken::new();
    let tasks = [tokio::spawn(worker.run(stop.clone())), tokio::spawn(renewal.run(stop.clone()))];

    let before = fs::read_to_string(&core.certificate).unwrap();
    site.accept(1).await;
    until("the first mail is archived", async || site.is_drained().await).await;
    // Two thirds of 90 days, and the spread.
    let now = site.clock.now().as_millis();
    site.clock.set(Timestamp::from_millis(now + 59 * DAY_MILLIS));
    site.accept(2).await;
    until("the second mail is archived", async || site.is_drained().await).await;
    assert_eq!(fs::read_to_string(&core.certificate).unwrap(), before, "it is not time yet");
    site.clock.set(Timestamp::from_millis(now + 65 * DAY_MILLIS));
    let mut accepted = 2;
    until("there is another certificate", async || {
        accepted += 1;
        site.accept(accepted).await;
        fs::read_to_string(&core.certificate).unwrap() != before
    })
    .await;
    site.clock.set(Timestamp::from_millis(now));
    until("all mail is archived", async || site.is_drained().await).await;
    let (agent, serial) = named(&fs::read_to_string(&core.certificate).unwrap());
    assert_eq!(agent, "acme/mx7");
    assert_ne!(serial, named(&before).1);
    accepted += 1;
    site.accept(accepted).await;
    until("the agent shows its new certificate", async || {
        site.is_drained().await && serials.lock().unwrap().contains(&named(&read(&core.certificate)).1)
    })
    .await;
    stop.cancel();
    for task in tasks {
        task.await.unwrap();
    }
    let rows = archive.completeness("mx7", "").await;
    assert_eq!((rows.len(), rows[0].stored, rows[0].gaps.len()), (1, u64::from(accepted), 0));
    assert_eq!(site.buffer.alarms().await.unwrap().len(), 0);
    assert_eq!(fs::read(&core.key).unwrap(), key, "the key stays");
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

/// Ingest over mutual TLS; the serial numbers of the certificates that callers showed are noted.
async fn serve(archive: &Archive) -> (String, Arc<Mutex<BTreeSet<String>>>) {
    let (certificate, key) = archive.authority();
    let authority = read(&certificate);
    let issuer =
        rcgen::Issuer::from_ca_cert_pem(&authority, KeyPair::from_pem(&read(&key)).unwrap()).unwrap();
    let own = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let identity = Identity::from_pem(params.signed_by(&own, &issuer).unwrap().pem(), own.serialize_pem());
    let tls = ServerTlsConfig::new()
        .identity(identity)
        .client_ca_root(Certificate::from_pem(&authority))
        .client_auth_optional(true);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serials = Arc::new(Mutex::new(BTreeSet::new()));
    let noted = serials.clone();
    let note = move |request: Request<()>| {
        if let PeerIdentity::Agent(agent) = PeerIdentity::of(&request) {
            noted.lock().unwrap().insert(agent.serial);
        }
        Ok(request)
    };
    let router = Server::builder()
        .tls_config(tls)
        .unwrap()
        .layer(Authorise::by_certificate("archive.example"))
        .add_service(InterceptedService::new(archive.ingest.agent_server(), note));
    tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
    (format!("https://localhost:{port}"), serials)
}

/// An agent's machine.
struct Site {
    folder: tempfile::TempDir,
    buffer: Buffer,
    clock: Arc<FixedClock>,
}

impl Site {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = folder.path().join("buffer");
        fs::create_dir(&data_dir).unwrap();
        let buffer = Buffer::open(BufferOptions { data_dir, high_water_bytes: 1 << 30 }).unwrap();
        Self { folder, buffer, clock: Arc::new(FixedClock::at(SystemClock.now())) }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn core(&self, address: String, ca: &Path) -> CoreConfig {
        CoreConfig {
            address,
            ca: ca.to_owned(),
            certificate: self.file("agent.pem"),
            key: self.file("agent.key"),
            log_policy: self.file("log.policy"),
        }
    }

    async fn accept(&self, number: u32) {
        let mut message = Spool::new(self.buffer.spool_dir());
        message
            .tail()
            .extend_from_slice(format!("Subject: mail {number}\r\n\r\nnumber {number}\r\n").as_bytes());
        let arrival = Arrival {
            message,
            from: "a@example.org".to_owned(),
            rcpt: vec!["b@example.org".to_owned()],
            peer: "192.0.2.1".to_owned(),
            mode: Mode::Journal(JournalMode::Plain),
            progress: None,
        };
        Acceptor::new(self.buffer.clone(), self.clock.clone()).accept(arrival).await.unwrap();
    }

    async fn is_drained(&self) -> bool {
        self.buffer.stats().await.unwrap().messages == 0
    }
}

fn eager() -> SyncOptions {
    SyncOptions {
        back_off: BackOff { first: Duration::from_millis(5), max: Duration::from_millis(50) },
        poll_interval: Duration::from_millis(50),
        report_interval: Duration::from_millis(500),
        ..SyncOptions::default()
    }
}

async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !condition().await {
        assert!(begun.elapsed() < WAIT_MAX, "it is not so: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
