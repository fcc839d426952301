//! Every role a process of its own over TCP with mTLS; ingest, storage, worker and gateway twice.

use std::{
    collections::BTreeSet,
    fs,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use openarchive_domain::Digest;
use openarchive_e2e::{Agent, AgentOptions, Cluster, eventually};
use openarchive_testkit::{
    sample_mail::{Numbers, SampleMail, sample_mail},
    smtp_client::SmtpClient,
};

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

fn count(cluster: &Cluster, gateway: usize, token: &std::path::Path, query: &str) -> Option<u64> {
    let answer = cluster.ctl(gateway, token, &["search", query, "--limit", "1", "-o", "json"]);
    (answer.code == 0).then(|| answer.json()["total"].as_u64()).flatten()
}

/// Sends each mail over one connection, slowly enough that kills fall between them.
fn send(smtp: &str, mails: &[SampleMail], done: &AtomicBool) {
    let mut client = SmtpClient::connect(smtp).unwrap();
    for mail in mails {
        let reply = client.send(&mail.from, &mail.to, &mail.bytes).unwrap();
        assert_eq!(reply.code, 250, "{reply:?}");
        thread::sleep(Duration::from_millis(40));
    }
    client.quit().unwrap();
    done.store(true, Ordering::Relaxed);
}

#[test]
fn the_first_day_holds_with_every_role_apart_and_replicas_killed_under_load() {
    let mut cluster = Cluster::start(&["acme", "other"]).unwrap();
    let agents = [agent(&cluster, 0, "acme/mx1"), agent(&cluster, 1, "acme/mx2")];
    let token = token_file(&cluster, "acme");
    let mails = sample_mail(41, 240);
    let (half, rest) = mails.split_at(120);
    let done = [AtomicBool::new(false), AtomicBool::new(false)];

    thread::scope(|scope| {
        for ((agent, mails), done) in agents.iter().zip([half, rest]).zip(&done) {
            let smtp = agent.smtp();
            scope.spawn(move || send(&smtp, mails, done));
        }
        let mut numbers = Numbers::seeded(4);
        for kill in 0..KILLS {
            thread::sleep(Duration::from_millis(200 + numbers.below(800) as u64));
            let role = KILLED[kill % KILLED.len()];
            let replicas: Vec<usize> =
                cluster.services().iter().filter(|(_, r, _)| *r == role).map(|(index, ..)| *index).collect();
            cluster.kill_and_restart(replicas[numbers.below(replicas.len())]);
        }
    });
    assert!(done.iter().all(|done| done.load(Ordering::Relaxed)), "every mail was accepted");
    for agent in &agents {
        agent.wait_drained(120);
    }

    let distinct: BTreeSet<Digest> = mails.iter().map(|mail| Digest::of(&mail.bytes)).collect();
    for gateway in 0..2 {
        eventually("every mail is searchable", 120, || {
            (count(&cluster, gateway, &token, "*") == Some(distinct.len() as u64)).then_some(())
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

    let rows = cluster.ctl(0, &token, &["completeness", "-o", "json"]).json();
    let rows = rows["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 2, "two agents");
    for row in rows {
        assert_eq!(row["gaps"].as_array().map(Vec::len), Some(0), "{row}");
    }

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

fn proof_verifies(cluster: &Cluster, token: &std::path::Path, mail: &SampleMail) {
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
