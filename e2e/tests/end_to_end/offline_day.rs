//! An agent whose archive is away for a whole day takes in the day's mail and catches up.
//!
//! Simulated is the agent's time: its clock begins a day ago and runs [`SPEED`] times as fast as the real one until it
//! has caught up with it, and its waits (back-off, looks at the certificate) are the product's own, divided by the same
//! number. The agent's parts run in this process, since the program reads the system's clock. Real are the archive, which
//! is stopped and started as a process, mutual TLS, the buffer with its fsyncs, and every mail, receipt and certificate.

use std::{
    collections::BTreeSet,
    fs,
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use openarchive_domain::{Clock, Digest, SystemClock, Timestamp};
use openarchive_e2e::Archive;
use openarchive_edge::{
    accept::{Acceptor, Arrival, Mode},
    buffer::{Buffer, BufferOptions},
    config::{CoreConfig, Intake},
    enrol::{Renewal, RenewalPace},
    spool::Spool,
    status::Status,
    sync::{BackOff, CoreAddress, LogTrust, SyncMonitor, SyncOptions, SyncState, SyncWorker},
};
use openarchive_ledger::policy::Policy;
use openarchive_mail::journal::JournalMode;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair, SanType};
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// Simulated seconds in a real one: a day in six seconds.
const SPEED: u32 = 14_400;
const HOUR_MILLIS: i64 = 3_600_000;
const DAY_MILLIS: i64 = 24 * HOUR_MILLIS;
/// One every three minutes of the day.
const MAILS: i64 = 480;
/// As `openarchive all` calls itself.
const DOMAIN: &str = "archive.localhost";

/// Stands still, then runs fast until it has caught up with the system's clock, then goes with it.
struct FastClock {
    from: Timestamp,
    begun: OnceLock<Instant>,
}

impl FastClock {
    fn a_day_ago() -> Self {
        let from = Timestamp::from_millis(SystemClock.now().as_millis() - DAY_MILLIS);
        Self { from, begun: OnceLock::new() }
    }

    fn run(&self) {
        self.begun.get_or_init(Instant::now);
    }

    async fn reach(&self, millis: i64) {
        while self.now().as_millis() < millis {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

impl Clock for FastClock {
    fn now(&self) -> Timestamp {
        let real = self.begun.get().map_or(Duration::ZERO, Instant::elapsed);
        let simulated = self.from.as_millis() + (real * SPEED).as_millis() as i64;
        Timestamp::from_millis(simulated).min(SystemClock.now())
    }
}

/// The agent, with the waits of the product at the clock's speed.
struct Agent {
    buffer: Buffer,
    acceptor: Acceptor,
    clock: Arc<FastClock>,
    core: CoreConfig,
    monitor: SyncMonitor,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Agent {
    fn start(core: CoreConfig, data_dir: PathBuf, clock: Arc<FastClock>) -> Self {
        fs::create_dir_all(&data_dir).unwrap();
        let buffer = Buffer::open(BufferOptions { data_dir, high_water_bytes: 1 << 30 }).unwrap();
        let address = CoreAddress::of(&core);
        let policy = Policy::parse(&fs::read(&core.log_policy).unwrap()).unwrap();
        let trust = LogTrust::from_policy(address.agent().unwrap(), &policy).unwrap();
        let (product, pace) = (SyncOptions::default(), RenewalPace::default());
        let back_off = BackOff { first: product.back_off.first / SPEED, max: product.back_off.max / SPEED };
        let pace = RenewalPace { look: pace.look / SPEED, after_a_try: pace.after_a_try / SPEED };
        let channel = watch::Sender::new(address.connect().unwrap());
        let first = channel.borrow().clone();
        let options = SyncOptions { back_off, ..product };
        let worker = SyncWorker::new(buffer.clone(), first, trust, clock.clone(), options)
            .following(channel.subscribe());
        let monitor = worker.monitor();
        let renewal = Renewal { address, buffer: buffer.clone(), clock: clock.clone(), channel, pace };
        let stop = CancellationToken::new();
        let tasks = vec![tokio::spawn(worker.run(stop.clone())), tokio::spawn(renewal.run(stop.clone()))];
        let acceptor = Acceptor::new(buffer.clone(), clock.clone());
        Self { buffer, acceptor, clock, core, monitor, stop, tasks }
    }

    async fn accept(&self, mail: &[u8]) {
        let mut message = Spool::new(self.buffer.spool_dir());
        message.tail().extend_from_slice(mail);
        let arrival = Arrival {
            message,
            from: "a@example.org".to_owned(),
            rcpt: vec!["b@example.org".to_owned()],
            peer: "192.0.2.1".to_owned(),
            mode: Mode::Journal(JournalMode::Plain),
            progress: None,
        };
        self.acceptor.accept(arrival).await.unwrap();
    }

    async fn until(&self, what: &str, mut condition: impl AsyncFnMut() -> bool) {
        let begun = Instant::now();
        while !condition().await {
            let seen = self.monitor.stats();
            assert!(begun.elapsed() < Duration::from_secs(60), "it is not so: {what}: {seen:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn until_drained(&self) {
        self.until("the buffer is empty", async || self.buffer.stats().await.unwrap().messages == 0).await;
    }

    async fn alarms(&self) -> Vec<String> {
        self.buffer.alarms().await.unwrap().into_iter().map(|alarm| alarm.kind).collect()
    }

    async fn stop(self) {
        self.stop.cancel();
        for task in self.tasks {
            task.await.unwrap();
        }
    }
}

fn mail(number: i64) -> Vec<u8> {
    format!("From: a@example.org\r\nSubject: of the day {number}\r\n\r\nnumber {number}\r\n").into_bytes()
}

/// What an agent needs, with a certificate of 27 hours that began an hour before the clock did: its renewal is due in the
/// day, from its 18th hour on, and its alarm from 22 hours and a half on.
fn identity(archive: &Archive, clock: &FastClock) -> CoreConfig {
    let folder = archive.scratch("agent");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("ca.pem"), archive.authority()).unwrap();
    fs::copy(archive.data().join("trust.policy"), folder.join("log.policy")).unwrap();
    let key_of_authority = fs::read_to_string(archive.data().join("tls/ca.key")).unwrap();
    let issuer =
        Issuer::from_ca_cert_pem(&archive.authority(), KeyPair::from_pem(&key_of_authority).unwrap());
    let mut params = CertificateParams::default();
    let uri = format!("spiffe://{DOMAIN}/tenant/default/edge/mx1");
    params.subject_alt_names = vec![SanType::URI(uri.as_str().try_into().unwrap())];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let begin = Duration::from_millis((clock.from.as_millis() - HOUR_MILLIS).cast_unsigned());
    params.not_before = rcgen::date_time_ymd(1970, 1, 1) + begin;
    params.not_after = params.not_before + Duration::from_hours(27);
    let key = KeyPair::generate().unwrap();
    fs::write(folder.join("agent.pem"), params.signed_by(&key, &issuer.unwrap()).unwrap().pem()).unwrap();
    fs::write(folder.join("agent.key"), key.serialize_pem()).unwrap();
    CoreConfig {
        address: archive.ingest(),
        ca: folder.join("ca.pem"),
        certificate: folder.join("agent.pem"),
        key: folder.join("agent.key"),
        log_policy: folder.join("log.policy"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_whose_archive_is_away_for_a_day_keeps_every_mail_and_catches_up() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut archive = Archive::all_at_one_address();
    let clock = Arc::new(FastClock::a_day_ago());
    let core = identity(&archive, &clock);
    let agent = Agent::start(core, archive.scratch("agent-buffer"), clock.clone());
    agent.accept(&mail(0)).await;
    agent.until_drained().await;
    let first_certificate = fs::read(&agent.core.certificate).unwrap();
    assert!(archive.terminate());

    clock.run();
    let begin = clock.from.as_millis();
    for number in 1..=MAILS {
        clock.reach(begin + number * DAY_MILLIS / (MAILS + 1)).await;
        agent.accept(&mail(number)).await;
    }
    clock.reach(begin + DAY_MILLIS).await;
    at_the_end_of_the_day(&agent).await;
    assert_eq!(fs::read(&agent.core.certificate).unwrap(), first_certificate);

    archive.start();
    agent.until_drained().await;
    agent
        .until("the certificate is renewed and its alarm is down", async || {
            fs::read(&agent.core.certificate).unwrap() != first_certificate && agent.alarms().await.is_empty()
        })
        .await;
    agent.accept(&mail(MAILS + 1)).await;
    agent.until_drained().await;
    let stats = agent.monitor.stats();
    assert_eq!((stats.committed, stats.duplicates), (MAILS.cast_unsigned() + 2, 0), "{stats:?}");
    agent.stop().await;
    everything_is_there(&archive, &clock);
}

/// The mail waits; the agent has tried again and again, never in a hurry; what a person must know of is up.
async fn at_the_end_of_the_day(agent: &Agent) {
    let status = Status::of(&agent.buffer, Intake::Open, agent.clock.now(), None).await.unwrap();
    assert_eq!(status.buffered_messages, MAILS.cast_unsigned(), "{status}");
    let hours = status.oldest_pending_seconds.unwrap() / 3600;
    assert!((23..=24).contains(&hours), "the oldest waits since {hours} h");
    // At any one moment it may be just about a try.
    agent.until("it waits", async || agent.monitor.stats().state == SyncState::BackingOff).await;
    let stats = agent.monitor.stats();
    // The wait grows to between 2.5 and 5 minutes; ten tries more while it grows.
    let most = Duration::from_millis(DAY_MILLIS.cast_unsigned()).as_secs() / 150 + 10;
    println!("{} tries in the day", stats.failures);
    assert!((20..=most).contains(&stats.failures), "{} tries in a day, at most {most}", stats.failures);
    // To be away is normal; that the certificate ends soon is not.
    assert_eq!(agent.alarms().await, ["certificate-ending"]);
}

/// Each mail once, counted by the day in which the agent took it, and found.
fn everything_is_there(archive: &Archive, clock: &FastClock) {
    let total = MAILS.cast_unsigned() + 2;
    archive.wait_searchable(total, 120);
    let now = SystemClock.now().as_millis();
    let days: BTreeSet<String> = [clock.from.as_millis(), clock.from.as_millis() + DAY_MILLIS, now]
        .map(|millis| Timestamp::from_millis(millis).to_string()[..10].to_owned())
        .into();
    let of_days: Vec<u64> = days
        .iter()
        .map(|day| {
            let rows = archive.ctl(&["completeness", "--day", day, "-o", "json"]).json();
            let row = &rows["rows"][0];
            assert_eq!(row["gaps"].as_array().map(Vec::len), Some(0), "{rows}");
            row["stored"].as_u64().unwrap()
        })
        .collect();
    assert!(of_days.len() >= 2 && of_days.iter().sum::<u64>() == total, "{days:?}: {of_days:?}");
    for number in [0, 1, MAILS / 2, MAILS, MAILS + 1] {
        let to = archive.scratch("one.eml");
        let id = Digest::of(&mail(number)).to_string();
        let got = archive.ctl(&["message", "get", &id, "-o", to.to_str().unwrap()]);
        assert_eq!(got.code, 0, "{got:?}");
        assert_eq!(fs::read(&to).unwrap(), mail(number));
    }
}
