//! Certificates by the operator's clock: a renewal, and the exchange of the authority. After each write of a Secret, a client
//! with what stands in the Secrets calls a server with what stands in the Secrets; so does an agent outside, which believes what
//! it was given on its first day.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
    runtime::{WatchStreamExt, wait::Condition as _, watcher},
};
use openarchive_domain::{Clock as _, FixedClock, SystemClock, Timestamp};
use openarchive_operator_api::{ANNOTATION_ROTATE_CA, ArchiveCore, NetworkPolicySet};
use openarchive_operator_controller::core::DialOverrides;
use openarchive_operator_pki::{Certificate, SECRETS_LOADED_SECONDS_MIN};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair, SanType};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig, crypto::aws_lc_rs, server::WebPkiClientVerifier,
    time_provider::TimeProvider,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::{Instant, sleep},
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::{
    life::{database, distributed, network_policy_set},
    support::{Site, WAIT, has, is, site, standalone},
};

const DAY: i64 = 86_400_000;
/// As trust signs them.
const AGENT_LIFE: i64 = 90 * DAY;
/// Until everybody has read his files.
const FILES_READ: i64 = SECRETS_LOADED_SECONDS_MIN as i64 * 1_000;
/// Of the clock, in one exchange.
const STEPS_MAX: usize = 20;
const SERVER: &str = "main-all-tls";
/// Services of profile Distributed, of which the first is called by the last, too.
const SERVICES: [&str; 6] = ["trust", "storage", "index", "ingest", "worker", "gateway"];
const CALLER: &str = "main-operator-tls";
const AGENTS_CA: &str = "main-agents-ca";
const AUTHORITY: &str = "main-ca";

/// What a process has read from its files.
struct Loaded {
    /// When it was written.
    since: Timestamp,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    believed: Arc<RootCertStore>,
}

impl Loaded {
    fn of(since: Timestamp, chain: &[u8], key: &[u8], believed: &[u8]) -> Arc<Self> {
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(believed) {
            roots.add(root.unwrap()).unwrap();
        }
        Arc::new(Self {
            since,
            chain: CertificateDer::pem_slice_iter(chain).collect::<Result<_, _>>().unwrap(),
            key: PrivateKeyDer::from_pem_slice(key).unwrap(),
            believed: Arc::new(roots),
        })
    }

    fn of_secret(secret: &Secret, since: Timestamp) -> Arc<Self> {
        Self::of(since, &bytes(secret, "tls.crt"), &bytes(secret, "tls.key"), &bytes(secret, "ca.crt"))
    }
}

fn bytes(secret: &Secret, key: &str) -> Vec<u8> {
    secret.data.as_ref().and_then(|data| data.get(key)).map(|value| value.0.clone()).unwrap_or_default()
}

fn text(secret: &Secret, key: &str) -> String {
    String::from_utf8(bytes(secret, key)).unwrap()
}

/// The first certificate in a Secret.
fn certificate(secret: &Secret) -> Certificate {
    Certificate::chain_of_pem(&bytes(secret, "tls.crt")).unwrap().remove(0)
}

/// The operator's clock for everybody.
#[derive(Debug)]
struct Time(Arc<FixedClock>);

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        let millis = u64::try_from(self.0.now().as_millis()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_millis(millis)))
    }
}

/// One call over mutual TLS: a question and its answer.
async fn call(client: &Loaded, server: &Loaded, name: &str, clock: &Arc<FixedClock>) -> std::io::Result<()> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let time = || Arc::new(Time(clock.clone()));
    let verifier =
        WebPkiClientVerifier::builder_with_provider(server.believed.clone(), provider.clone()).build();
    let tls = ServerConfig::builder_with_details(provider.clone(), time())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.unwrap())
        .with_single_cert(server.chain.clone(), server.key.clone_key())
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let tls = ClientConfig::builder_with_details(provider, time())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(client.believed.clone())
        .with_client_auth_cert(client.chain.clone(), client.key.clone_key())
        .unwrap();
    let connector = TlsConnector::from(Arc::new(tls));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let serve = async {
        let mut stream = acceptor.accept(listener.accept().await?.0).await?;
        let question = stream.read_u32().await?;
        stream.write_u32(question + 1).await?;
        stream.shutdown().await
    };
    let ask = async {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut stream = connector.connect(name, TcpStream::connect(address).await?).await?;
        stream.write_u32(41).await?;
        assert_eq!(stream.read_u32().await?, 42);
        Ok(())
    };
    tokio::try_join!(serve, ask).map(|_| ())
}

/// Everybody who reads the Secrets, some of them one write behind.
#[derive(Default)]
struct World {
    /// The Secret of each process that is called.
    servers: Vec<String>,
    /// Those of the processes that call, beside the agent.
    callers: Vec<String>,
    /// What was written last, and what before.
    versions: BTreeMap<String, Vec<Arc<Loaded>>>,
    agent: Option<Arc<Loaded>>,
    /// Phases of the authority, each once for as long as it stayed.
    phases: Vec<String>,
    /// Last resource version of each Secret that was tried.
    tried: BTreeMap<String, String>,
    writes: usize,
    calls: usize,
    failures: Vec<String>,
}

struct Watched {
    world: Arc<Mutex<World>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Calls after each write, from now on.
fn watch(site: &Site, clock: &Arc<FixedClock>, services: &[&str]) -> Watched {
    let servers: Vec<_> = services.iter().map(|service| secret_of(service)).collect();
    let mut callers = vec![CALLER.to_owned()];
    callers.extend(servers.iter().skip(1).next_back().cloned());
    let world = Arc::new(Mutex::new(World { servers, callers, ..World::default() }));
    let (shared, clock, api) = (world.clone(), clock.clone(), site.api::<Secret>());
    let namespace = site.namespace.clone();
    let task = tokio::spawn(async move {
        let ours = watcher::Config::default().labels("app.kubernetes.io/instance=main");
        let mut secrets = watcher(api, ours).default_backoff().applied_objects().boxed();
        while let Some(secret) = secrets.try_next().await.unwrap() {
            written(&shared, &secret, &namespace, &clock).await;
        }
    });
    Watched { world, task }
}

/// The Secret with a service's certificate.
fn secret_of(service: &str) -> String {
    format!("main-{service}-tls")
}

/// The name under which the service with that Secret is called.
fn address_of(secret: &str, namespace: &str) -> String {
    format!("{}.{namespace}.svc", secret.trim_end_matches("-tls"))
}

async fn written(world: &Mutex<World>, secret: &Secret, namespace: &str, clock: &Arc<FixedClock>) {
    let (servers, callers) = {
        let mut world = world.lock().unwrap();
        let name = secret.name_any();
        world.writes += 1;
        if name == AUTHORITY {
            let phase = text(secret, "phase");
            if world.phases.last() != Some(&phase) {
                world.phases.push(phase);
            }
        }
        if world.servers.contains(&name) || world.callers.contains(&name) {
            let versions = world.versions.entry(name).or_default();
            versions.push(Loaded::of_secret(secret, clock.now()));
            let gone = versions.len().saturating_sub(2);
            versions.drain(..gone);
        }
        // Who has had the time to read the last one has not kept the one before.
        let of = |name: &str| {
            let versions = world.versions.get(name).map(Vec::as_slice).unwrap_or_default();
            let is_read = versions.last().is_some_and(|last| later(last.since, FILES_READ) <= clock.now());
            let read = if is_read { versions.len() - 1 } else { 0 };
            versions[read..].to_vec()
        };
        let callers =
            world.callers.iter().flat_map(|name| of(name).into_iter().map(|one| (name.clone(), one)));
        let mut callers: Vec<_> = callers.collect();
        callers.extend(world.agent.clone().map(|agent| ("the agent outside".to_owned(), agent)));
        let servers = world.servers.iter().flat_map(|name| {
            let versions = of(name).into_iter().rev().enumerate();
            versions.map(|(age, one)| (age, address_of(name, namespace), one))
        });
        (servers.collect::<Vec<_>>(), callers)
    };
    for (who, caller) in callers {
        for (age, server, from) in &servers {
            let outcome = call(&caller, from, server, clock).await;
            let mut world = world.lock().unwrap();
            world.calls += 1;
            if let Err(error) = outcome {
                let phase = world.phases.last().cloned().unwrap_or_default();
                let failure = format!(
                    "{who} to {server} {age} writes behind, in {phase}, after {}: {error}",
                    secret.name_any()
                );
                world.failures.push(failure);
            }
        }
    }
    let version = secret.resource_version().unwrap();
    world.lock().unwrap().tried.insert(secret.name_any(), version);
}

impl Watched {
    /// Returns when everything that stands was tried.
    async fn settled(&self, site: &Site) {
        let begun = Instant::now();
        loop {
            let now: Vec<Secret> = secrets(site).await;
            let is_tried = |secret: &Secret| {
                self.world.lock().unwrap().tried.get(&secret.name_any()) == secret.resource_version().as_ref()
            };
            if now.iter().all(is_tried) {
                break;
            }
            assert!(begun.elapsed() < WAIT, "not every write was tried");
            sleep(Duration::from_millis(20)).await;
        }
        let failures = self.world.lock().unwrap().failures.clone();
        assert!(failures.is_empty(), "calls fail: {failures:#?}");
    }

    /// A certificate for the agent outside, by the intermediate that stands.
    async fn enrol(&self, site: &Site, now: Timestamp) {
        let intermediate = site.api::<Secret>().get(AGENTS_CA).await.unwrap();
        let first = self.world.lock().unwrap().servers[0].clone();
        let first = site.api::<Secret>().get(&first).await.unwrap();
        let mut world = self.world.lock().unwrap();
        // Whom it believes was handed over once.
        let believed = world.agent.as_ref().map(|agent| agent.believed.clone());
        let (chain, key) = agent_certificate(&intermediate, now);
        let new = Loaded::of(now, chain.as_bytes(), key.as_bytes(), &bytes(&first, "ca.crt"));
        world.agent = Some(match believed {
            None => new,
            Some(believed) => {
                Arc::new(Loaded { since: now, chain: new.chain.clone(), key: new.key.clone_key(), believed })
            }
        });
    }
}

async fn secrets(site: &Site) -> Vec<Secret> {
    let ours = kube::api::ListParams::default().labels("app.kubernetes.io/instance=main");
    site.api::<Secret>().list(&ours).await.unwrap().items
}

fn agent_certificate(intermediate: &Secret, now: Timestamp) -> (String, String) {
    let above = text(intermediate, "tls.crt");
    let signer = KeyPair::from_pem(&text(intermediate, "tls.key")).unwrap();
    let issuer = Issuer::from_ca_cert_pem(&above, signer).unwrap();
    let mut params = CertificateParams::default();
    let uri = "spiffe://archive.example.org/tenant/acme/edge/outside";
    params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let at = |millis: i64| {
        rcgen::date_time_ymd(1970, 1, 1) + Duration::from_millis(u64::try_from(millis).unwrap())
    };
    params.not_before = at(now.as_millis());
    params.not_after = at(now.as_millis() + AGENT_LIFE);
    let key = KeyPair::generate().unwrap();
    let chain = params.signed_by(&key, &issuer).unwrap().pem() + &above;
    (chain, key.serialize_pem())
}

/// An archive whose operator goes by a clock that stands.
async fn beginning(
    namespace: &str,
    archive: Value,
    services: &[&str],
) -> Option<(Site, Arc<FixedClock>, Watched)> {
    let mut site = site(namespace).await?;
    let clock = Arc::new(FixedClock::at(SystemClock.now()));
    let watched = watch(&site, &clock, services);
    let client = site.operator_client().await;
    site.start_at(client, DialOverrides::default(), clock.clone()).await;
    database(&site).await;
    site.apply::<ArchiveCore>(archive).await;
    stands(&site).await;
    site.quiet().await;
    watched.settled(&site).await;
    Some((site, clock, watched))
}

/// Everything of the archive is rolled out, as far as this version runs it.
async fn stands(site: &Site) {
    site.until::<ArchiveCore>("main", "is rolled out", |archive: Option<&ArchiveCore>| {
        has("Ready", "True").matches_object(archive)
            || (has("Stalled", "True").matches_object(archive)
                && is("Stalled", "True", "EngineNotAvailable").matches_object(archive)
                && has("Available", "True").matches_object(archive))
    })
    .await;
}

fn later(time: Timestamp, millis: i64) -> Timestamp {
    Timestamp::from_millis(time.as_millis() + millis)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leaf_is_renewed_at_two_thirds_of_its_life_and_no_call_fails() {
    let Some((site, clock, watched)) = beginning("renewal", standalone("main"), &["all"]).await else {
        return;
    };
    let api: Api<Secret> = site.api();
    let mut leaves = Vec::new();
    for name in [SERVER, CALLER] {
        leaves.push((certificate(&api.get(name).await.unwrap()).renew_at(), name));
    }
    leaves.sort();
    let (authority, intermediate) = (api.get(AUTHORITY).await.unwrap(), api.get(AGENTS_CA).await.unwrap());
    for (renew_at, name) in leaves {
        let before = api.get(name).await.unwrap();
        let read = certificate(&before);
        let life = read.not_after().as_millis() - read.not_before().as_millis();
        let age = renew_at.as_millis() - read.not_before().as_millis();
        assert!(age >= life / 3 * 2 && age <= life / 3 * 2 + life / 20, "{age} of {life}");
        clock.set(later(renew_at, -1));
        site.pass("main").await;
        assert_eq!(api.get(name).await.unwrap().data, before.data, "{name} is renewed too early");
        clock.set(renew_at);
        site.pass("main").await;
        let after = api.get(name).await.unwrap();
        assert_ne!(text(&after, "tls.key"), text(&before, "tls.key"), "{name} is not renewed");
        assert!(certificate(&after).not_after() > read.not_after());
        let not_after = certificate(&after).not_after().to_string();
        site.until::<ArchiveCore>("main", "tells of the new one", move |archive: Option<&ArchiveCore>| {
            let status = archive.and_then(|archive| archive.status.as_ref());
            let told = status.into_iter().flat_map(|status| &status.certificates);
            told.into_iter().any(|one| one.name == name && one.not_after == not_after)
        })
        .await;
        watched.settled(&site).await;
    }
    assert_eq!(api.get(AUTHORITY).await.unwrap().data, authority.data);
    assert_eq!(api.get(AGENTS_CA).await.unwrap().data, intermediate.data);
    let world = watched.world.lock().unwrap();
    println!("{} calls around {} writes", world.calls, world.writes);
}

#[tokio::test]
async fn a_leaf_is_renewed_also_while_nobody_can_tell_which_network_policies_count() {
    let begun = beginning("renewal-two-sets", standalone("main"), &["all"]).await;
    let Some((site, clock, watched)) = begun else { return };
    for name in ["one", "other"] {
        site.apply::<NetworkPolicySet>(network_policy_set(name, "main", "Enforce")).await;
    }
    site.until::<ArchiveCore>("main", "cannot be", is("Stalled", "True", "InvalidSpec")).await;
    let api: Api<Secret> = site.api();
    let before = api.get(SERVER).await.unwrap();
    clock.set(certificate(&before).renew_at());
    site.pass("main").await;
    let after = api.get(SERVER).await.unwrap();
    assert_ne!(text(&after, "tls.key"), text(&before, "tls.key"), "it is not renewed");
    watched.settled(&site).await;
    let archive = site.api::<ArchiveCore>().get("main").await.unwrap();
    assert!(is("Stalled", "True", "InvalidSpec").matches_object(Some(&archive)), "{:?}", archive.status);
    let mark = site.quiet().await;
    site.pass("main").await;
    assert_eq!(site.writes_since(mark), [], "a pass over an unchanged world writes");
}

/// Trust, started anew, signs with the intermediate that stands.
async fn trust_restarted(site: &Site) {
    let intermediate = site.api::<Secret>().get(AGENTS_CA).await.unwrap();
    let fingerprint = certificate(&intermediate).fingerprint().hex();
    let signs = |pod: &Pod| {
        let status = pod.status.as_ref();
        pod.annotations().values().any(|value| value.ends_with(&fingerprint))
            && status.and_then(|status| status.phase.as_deref()) == Some("Running")
    };
    let trust = "app.kubernetes.io/instance=main,app.kubernetes.io/component in (all,trust)";
    let begun = Instant::now();
    loop {
        let pods = site.api::<Pod>().list(&kube::api::ListParams::default().labels(trust)).await.unwrap();
        if !pods.items.is_empty() && pods.items.iter().all(signs) {
            return;
        }
        assert!(begun.elapsed() < WAIT, "trust does not sign with the new intermediate");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_authority_is_exchanged_in_three_steps_and_no_call_fails() {
    exchanged("exchange", standalone("main"), &["all"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_service_of_profile_distributed_goes_through_the_exchange_and_no_call_fails() {
    exchanged("exchange-services", distributed("main", "0.1.0", 1), &SERVICES).await;
}

async fn exchanged(namespace: &str, archive: Value, services: &[&str]) {
    let Some((site, clock, watched)) = beginning(namespace, archive, services).await else { return };
    let api: Api<Secret> = site.api();
    let leaves: Vec<_> =
        services.iter().map(|service| secret_of(service)).chain([CALLER.to_owned()]).collect();
    let mut first = Vec::new();
    for name in &leaves {
        first.push(text(&api.get(name).await.unwrap(), "tls.crt"));
    }
    let old = text(&api.get(AUTHORITY).await.unwrap(), "ca.crt");
    watched.enrol(&site, clock.now()).await;
    let mut enrolled = clock.now();

    let asked = json!({"metadata": {"annotations": {ANNOTATION_ROTATE_CA: "now"}}});
    let archives: Api<ArchiveCore> = site.api();
    archives.patch("main", &PatchParams::default(), &Patch::Merge(&asked)).await.unwrap();
    site.until::<Secret>(AUTHORITY, "is on its way", |secret: Option<&Secret>| {
        secret.is_some_and(|secret| text(secret, "phase") == "TrustNew")
    })
    .await;
    // Files are read; in the second step agents' certificates end, too, which takes longer.
    let mut before = String::new();
    for step in 0.. {
        assert!(step < STEPS_MAX, "the exchange does not end: {:?}", watched.world.lock().unwrap().phases);
        site.quiet().await;
        trust_restarted(&site).await;
        let phase = text(&api.get(AUTHORITY).await.unwrap(), "phase");
        if phase == "Stable" {
            break;
        }
        let is_long = phase == "ReIssue" && before == phase;
        clock.set(later(clock.now(), if is_long { 20 * DAY } else { FILES_READ }));
        before = phase;
        if clock.now().as_millis() >= enrolled.as_millis() + AGENT_LIFE / 3 * 2 {
            watched.enrol(&site, clock.now()).await;
            enrolled = clock.now();
        }
        site.pass("main").await;
        watched.settled(&site).await;
    }
    stands(&site).await;
    watched.settled(&site).await;
    let now = text(&api.get(AUTHORITY).await.unwrap(), "ca.crt");
    assert_ne!(now, old);
    for (name, first) in leaves.iter().zip(&first) {
        let leaf = api.get(name).await.unwrap();
        assert_eq!(text(&leaf, "ca.crt"), now, "{name} believes the new one alone");
        assert_ne!(&text(&leaf, "tls.crt"), first, "{name} is not issued anew");
    }
    let world = watched.world.lock().unwrap();
    assert_eq!(world.phases, ["Stable", "TrustNew", "ReIssue", "DropOld", "Stable"]);
    println!("{} calls around {} writes", world.calls, world.writes);
}
