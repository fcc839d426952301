//! Every role a process of its own over TCP with mTLS; ingest, storage, worker and gateway twice.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use openarchive_domain::Digest;
use openarchive_e2e::{Agent, AgentOptions, Cluster, eventually};
use openarchive_testkit::{
    sample_mail::{Numbers, SampleMail, sample_mail},
    smtp_client::SmtpClient,
};
use serde_json::json;
use sqlx::{Connection as _, PgConnection};

/// Replicas of these roles are killed under load.
const KILLED: [&str; 4] = ["ingest", "storage", "worker", "gateway"];
const KILLS: usize = 4;

pub(crate) fn agent(cluster: &Cluster, replica: usize, name: &str) -> Agent {
    let options = AgentOptions { name: name.to_owned(), ..AgentOptions::default() };
    let mut agent = Agent::in_cluster(cluster, replica, options).unwrap();
    agent.start();
    agent
}

pub(crate) fn token_file(cluster: &Cluster, tenant: &str) -> PathBuf {
    let path = cluster.root().join(format!("{tenant}.token"));
    fs::write(&path, cluster.token(tenant)).unwrap();
    path
}

fn count(cluster: &Cluster, gateway: usize, token: &Path, query: &str) -> Option<u64> {
    let answer = cluster.ctl(gateway, token, &["search", query, "--limit", "1", "-o", "json"]);
    (answer.code == 0).then(|| answer.json()["total"].as_u64()).flatten()
}

/// A mail server that sends over one connection, slowly enough that kills fall between its mails.
struct Sender {
    accepted: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Sender {
    /// Each mail once, then all of them again and again: until it is stopped it is never done.
    fn start(smtp: String, mails: Vec<SampleMail>) -> Self {
        let (accepted, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, told) = (accepted.clone(), stop.clone());
        let thread = thread::spawn(move || {
            let mut client = SmtpClient::connect(&smtp).unwrap();
            for (number, mail) in mails.iter().cycle().enumerate() {
                if number >= mails.len() && told.load(Ordering::Relaxed) {
                    break;
                }
                let reply = client.send(&mail.from, &mail.to, &mail.bytes).unwrap();
                assert_eq!(reply.code, 250, "{reply:?}");
                count.fetch_add(1, Ordering::Relaxed);
                thread::sleep(Duration::from_millis(40));
            }
            client.quit().unwrap();
        });
        Self { accepted, stop, thread }
    }

    fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Answers how many were accepted: as many as were sent.
    fn stop(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        self.accepted.load(Ordering::Relaxed)
    }
}

/// Kills one replica after the other and starts it again, each while both senders send.
fn kill_under_load(cluster: &mut Cluster, senders: &[Sender]) {
    let mut numbers = Numbers::seeded(4);
    for kill in 0..KILLS {
        let before: Vec<usize> = senders.iter().map(Sender::accepted).collect();
        thread::sleep(Duration::from_millis(200 + numbers.below(800) as u64));
        eventually("both agents have taken mail since the last kill", 30, || {
            senders.iter().zip(&before).all(|(sender, before)| sender.accepted() > *before).then_some(())
        });
        let role = KILLED[kill % KILLED.len()];
        let replicas: Vec<usize> =
            cluster.services().iter().filter(|(_, r, _)| *r == role).map(|(index, ..)| *index).collect();
        let killed = replicas[numbers.below(replicas.len())];
        cluster.kill(killed);
        assert!(senders.iter().all(|sender| !sender.thread.is_finished()), "the load goes on at kill {kill}");
        cluster.start_again(killed);
    }
}

#[test]
fn the_first_day_holds_with_every_role_apart_and_replicas_killed_under_load() {
    let mut cluster = Cluster::start(&["acme", "other"]).unwrap();
    let agents = [agent(&cluster, 0, "acme/mx1"), agent(&cluster, 1, "acme/mx2")];
    let token = token_file(&cluster, "acme");
    let mails = sample_mail(41, 240);
    let (half, rest) = mails.split_at(120);
    let senders: Vec<Sender> = agents
        .iter()
        .zip([half, rest])
        .map(|(agent, mails)| Sender::start(agent.smtp(), mails.to_vec()))
        .collect();
    kill_under_load(&mut cluster, &senders);
    let sent: Vec<usize> = senders.into_iter().map(Sender::stop).collect();
    for agent in &agents {
        agent.wait_drained(120);
    }

    let mut expected: BTreeMap<Digest, i64> = BTreeMap::new();
    for (mails, sent) in [half, rest].into_iter().zip(&sent) {
        for mail in mails.iter().cycle().take(*sent) {
            *expected.entry(Digest::of(&mail.bytes)).or_default() += 1;
        }
    }
    for gateway in 0..2 {
        eventually("every mail is searchable", 120, || {
            (count(&cluster, gateway, &token, "*") == Some(expected.len() as u64)).then_some(())
        });
    }
    let out = cluster.root().join("out.eml");
    for (n, mail) in mails.iter().enumerate() {
        let id = Digest::of(&mail.bytes).to_string();
        let got = cluster.ctl(n % 2, &token, &["message", "get", &id, "-o", out.to_str().unwrap()]);
        assert_eq!(got.code, 0, "{got:?}");
        assert_eq!(fs::read(&out).unwrap(), mail.bytes, "{id} comes back byte for byte");
    }
    proof_verifies(&cluster, &token, &mails[7]);

    each_accepted_mail_has_one_observation(&cluster, &token, &sent, &expected);
    a_lost_number_is_told(&cluster, &token);

    // The other tenant sees nothing of it.
    let other = token_file(&cluster, "other");
    assert_eq!(count(&cluster, 0, &other, "*"), Some(0));
    let id = Digest::of(&mails[0].bytes).to_string();
    let out = cluster.root().join("foreign.out");
    for arguments in [
        ["message", "show", &id].as_slice(),
        &["message", "get", &id, "-o", out.to_str().unwrap()],
        &["proof", &id, "-o", out.to_str().unwrap()],
    ] {
        let refused = cluster.ctl(1, &other, arguments);
        // As for a mail that nobody has, and by a gateway that is there.
        assert!(refused.code == 1 && refused.stderr.contains("(404 from"), "{arguments:?}: {refused:?}");
        assert!(!out.exists(), "{arguments:?}");
    }

    for (index, role, replica) in cluster.services().into_iter().rev() {
        assert!(cluster.terminate(index), "{role} {replica} ends well at SIGTERM");
    }
}

/// By what the archive says of itself and by its rows: as many as were sent, each under a number of its own.
fn each_accepted_mail_has_one_observation(
    cluster: &Cluster,
    token: &Path,
    sent: &[usize],
    expected: &BTreeMap<Digest, i64>,
) {
    let answer = cluster.ctl(0, token, &["completeness", "-o", "json"]);
    assert_eq!(answer.code, 0, "{answer:?}");
    let answer = answer.json();
    let rows = answer["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 2, "two agents, each with one buffer: {rows:?}");
    for ((row, name), sent) in rows.iter().zip(["mx1", "mx2"]).zip(sent) {
        let number = |name: &str| row[name].as_u64().unwrap();
        let sent = *sent as u64;
        assert_eq!(
            (row["agent"].as_str(), row["gaps"].as_array().map(Vec::len)),
            (Some(name), Some(0)),
            "{row}"
        );
        assert_eq!((number("stored") + number("duplicate"), number("last_seq")), (sent, sent), "{row}");
        assert_eq!((number("first_seq"), number("quarantined"), number("pending")), (1, 0, 0), "{row}");
    }

    let (of_agents, of_mails) = in_database(cluster, async |connection: &mut PgConnection| {
        let of_agents: Vec<(String, i64, i64)> = sqlx::query_as(
            "select agent, count(*), count(distinct seq) from ingest.observation where tenant = 'acme'
             group by agent order by agent",
        )
        .fetch_all(&mut *connection)
        .await
        .unwrap();
        let of_mails: Vec<(Vec<u8>, i64)> = sqlx::query_as(
            "select message, count(*) from ingest.observation where tenant = 'acme' group by message",
        )
        .fetch_all(&mut *connection)
        .await
        .unwrap();
        (of_agents, of_mails)
    });
    let sent: Vec<i64> = sent.iter().map(|sent| *sent as i64).collect();
    assert_eq!(of_agents, [("mx1".to_owned(), sent[0], sent[0]), ("mx2".to_owned(), sent[1], sent[1])]);
    let of_mails: BTreeMap<Digest, i64> = of_mails
        .into_iter()
        .map(|(message, count)| (Digest::try_from(message.as_slice()).unwrap(), count))
        .collect();
    assert_eq!(of_mails, *expected, "each mail as often as it was accepted");
}

/// Stands for a catalogue that lost a row: the number that the agent gave out is there no more, and that is exit code 3.
fn a_lost_number_is_told(cluster: &Cluster, token: &Path) {
    let lost = in_database(cluster, async |connection: &mut PgConnection| {
        let lost = "delete from ingest.observation where tenant = 'acme' and agent = 'mx2' and seq = 7";
        sqlx::query(lost).execute(connection).await.unwrap().rows_affected()
    });
    assert_eq!(lost, 1);
    let told = cluster.ctl(0, token, &["completeness", "-o", "json"]);
    assert!(told.code == 3 && told.stderr.contains("mail is missing"), "{told:?}");
    assert_eq!(told.json()["rows"][1]["gaps"], json!([{ "first": 7, "last": 7 }]));
    let told = cluster.ctl(1, token, &["completeness", "--agent", "mx1"]);
    assert!(told.code == 0 && told.stderr.contains("complete"), "{told:?}");
}

/// As the database's superuser.
fn in_database<T>(cluster: &Cluster, act: impl AsyncFnOnce(&mut PgConnection) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut connection = PgConnection::connect(&cluster.database_url()).await.unwrap();
        act(&mut connection).await
    })
}

fn proof_verifies(cluster: &Cluster, token: &Path, mail: &SampleMail) {
    let root = cluster.root();
    let (eml, proof, policy) = (root.join("one.eml"), root.join("one.proof"), root.join("one.policy"));
    fs::write(&eml, &mail.bytes).unwrap();
    fs::write(&policy, cluster.policy("acme")).unwrap();
    let id = Digest::of(&mail.bytes).to_string();
    let made = cluster.ctl(0, token, &["proof", &id, "-o", proof.to_str().unwrap()]);
    assert_eq!(made.code, 0, "{made:?}");
    let arguments = [
        "verify",
        eml.to_str().unwrap(),
        "--proof",
        proof.to_str().unwrap(),
        "--policy",
        policy.to_str().unwrap(),
    ];
    let verified = cluster.ctl(0, token, &arguments);
    assert_eq!(verified.code, 0, "{verified:?}");
}
