//! Agents as processes of their own.

use std::{fs, os::unix::fs::PermissionsExt as _};

use openarchive_domain::Digest;
use openarchive_e2e::{Agent, AgentOptions, Archive, eventually};
use openarchive_testkit::{
    sample_mail::{Numbers, sample_mail, wrapped},
    smtp_client::SmtpClient,
};

fn mail_with(attachment: &[u8], n: usize, width: usize) -> Vec<u8> {
    format!(
        "From: a@example.org\r\nTo: b@example.org\r\nSubject: copy {n}\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: text/plain\r\n\r\nnumber {n}\r\n--x\r\nContent-Type: application/pdf; name=plan.pdf\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=plan.pdf\r\n\r\n{}--x--\r\n",
        wrapped(attachment, width)
    )
    .into_bytes()
}

#[test]
fn two_agents_with_the_same_attachment_upload_it_once() {
    let archive = Archive::all();
    let attachment = Numbers::seeded(5).bytes(400_000);
    let mut uploaded = Vec::new();
    for (n, (name, width)) in [("default/mx1", 76), ("default/mx2", 72)].into_iter().enumerate() {
        let agent = Agent::start_new(&archive, AgentOptions { name: name.into(), ..AgentOptions::default() });
        let mut client = SmtpClient::connect(&agent.smtp()).unwrap();
        let reply = client
            .send("a@example.org", &["b@example.org".into()], &mail_with(&attachment, n, width))
            .unwrap();
        assert_eq!(reply.code, 250, "{reply:?}");
        agent.wait_drained(60);
        uploaded.push(eventually("the agent's figures tell of its mail", 10, || {
            let sync = agent.status()["sync"].clone();
            (sync["committed"].as_u64()? == 1).then(|| sync["uploadedBytes"].as_u64()).flatten()
        }));
    }
    assert!(uploaded[0] >= 400_000, "{uploaded:?}");
    assert!(uploaded[1] < 10_000, "the second agent sends its skeleton only: {uploaded:?}");
    archive.wait_searchable(2, 30);

    let rows = archive.ctl(&["completeness", "-o", "json"]).json();
    let rows = rows["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert!(rows.iter().all(|row| row["gaps"].as_array().is_some_and(Vec::is_empty)), "{rows:?}");
}

#[test]
fn a_mail_of_100_mib_goes_from_the_agent_to_the_archive_through_little_memory() {
    const KIB_MAX: u64 = 160 * 1024;
    let archive = Archive::all();
    let agent = Agent::start_new(&archive, AgentOptions::default());
    // 4 characters for 3 bytes, and two for each line's end.
    let mail = mail_with(&Numbers::seeded(6).bytes(75 * 1024 * 1024), 1, 76);
    assert!(mail.len() > 100 * 1024 * 1024, "{}", mail.len());
    let mut client = SmtpClient::connect(&agent.smtp()).unwrap();
    let reply = client.send("a@example.org", &["b@example.org".into()], &mail).unwrap();
    assert_eq!(reply.code, 250, "{reply:?}");
    agent.wait_drained(120);
    let status = fs::read_to_string(format!("/proc/{}/status", agent.pid())).unwrap();
    let peak = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    let peak: u64 = peak.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(peak <= KIB_MAX, "{peak} KiB");
    archive.wait_searchable(1, 60);
    let to = archive.scratch("large.eml");
    let digest = Digest::of(&mail).to_string();
    let got = archive.ctl(&["message", "get", &digest, "-o", to.to_str().unwrap()]);
    assert_eq!(got.code, 0, "{got:?}");
    assert!(fs::read(&to).unwrap() == mail, "it came back with other bytes");
}

#[test]
fn a_full_buffer_answers_452_and_once_drained_250() {
    let mut archive = Archive::all();
    let options = AgentOptions { high_water: "2MiB".into(), ..AgentOptions::default() };
    let mut agent = Agent::start_new(&archive, options);
    archive.kill();

    let mails: Vec<Vec<u8>> =
        (0..20).map(|n| mail_with(&Numbers::seeded(n).bytes(300_000), n as usize, 76)).collect();
    let to = ["b@example.org".to_owned()];
    let mut accepted = 0;
    let mut client = SmtpClient::connect(&agent.smtp()).unwrap();
    let refused_at = mails.iter().position(|mail| {
        let reply = client.send("a@example.org", &to, mail).unwrap();
        accepted += u64::from(reply.code == 250);
        assert!([250, 452].contains(&reply.code), "{reply:?}");
        reply.code == 452
    });
    assert!(refused_at.is_some_and(|at| at >= 4), "accepted {accepted} before 452");

    archive.start();
    agent.terminate();
    agent.configure(&archive);
    agent.start();
    agent.wait_drained(60);
    let mut client = SmtpClient::connect(&agent.smtp()).unwrap();
    let reply = client.send("a@example.org", &to, &mails[19]).unwrap();
    assert_eq!(reply.code, 250, "{reply:?}");
    archive.wait_searchable(accepted + 1, 60);
}

#[test]
fn an_agent_of_a_tenant_that_is_not_there_is_not_made() {
    let archive = Archive::all();
    let out = archive.scratch("stranger");
    let refused = std::process::Command::new(openarchive_e2e::program("openarchive"))
        .args(["agent", "add", "stranger/mx1", "--data"])
        .arg(archive.data())
        .arg("--out")
        .arg(&out)
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(!out.exists());
}

#[test]
fn a_core_that_was_away_for_a_while_gets_everything() {
    let mut archive = Archive::all();
    let mut agent = Agent::start_new(&archive, AgentOptions::default());
    archive.terminate();
    let mails = sample_mail(31, 30);
    let mut client = SmtpClient::connect(&agent.smtp()).unwrap();
    for mail in &mails {
        assert_eq!(client.send(&mail.from, &mail.to, &mail.bytes).unwrap().code, 250);
    }
    assert_eq!(agent.status()["bufferedMessages"].as_u64(), Some(30));
    archive.start();
    agent.terminate();
    agent.configure(&archive);
    agent.start();
    agent.wait_drained(60);
    archive.wait_searchable(30, 60);
    eventually("no alarm stands", 5, || {
        agent.status()["alarms"].as_array().is_some_and(Vec::is_empty).then_some(())
    });
}

#[test]
fn an_agent_that_enrols_with_its_one_time_token_archives_mail_until_it_is_revoked() {
    let archive = Archive::all();
    let options = AgentOptions { name: "default/mx9".into(), ..AgentOptions::default() };
    let mut agent = Agent::before_enrolment(&archive, options);
    let made = archive.ctl(&["agents", "enrol", "mx9"]);
    assert_eq!(made.code, 0, "{}", made.stderr);
    let token = archive.scratch("token");
    fs::write(&token, made.stdout).unwrap();
    let enrol = ["enrol", "--token-file", token.to_str().unwrap()];
    let enrolled = agent.command(&enrol);
    assert_eq!(enrolled.code, 0, "{enrolled:?}");
    let key = agent.identity().join("agent.key");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);

    // Another machine that got hold of the token comes too late, and the agent itself needs no second one.
    let options = AgentOptions { name: "default/thief".into(), ..AgentOptions::default() };
    let thief = Agent::before_enrolment(&archive, options);
    let refused = thief.command(&enrol);
    assert!(refused.code == 1 && refused.stderr.contains("PermissionDenied"), "{refused:?}");
    assert!(!thief.identity().join("agent.pem").exists());
    let again = agent.command(&enrol);
    assert!(again.code == 1 && again.stderr.contains("has enrolled"), "{again:?}");

    agent.start();
    let (mails, to) = (sample_mail(37, 3), ["b@example.org".to_owned()]);
    let mut client = SmtpClient::connect(&agent.smtp()).unwrap();
    for mail in &mails[..2] {
        assert_eq!(client.send(&mail.from, &to, &mail.bytes).unwrap().code, 250);
    }
    agent.wait_drained(60);
    archive.wait_searchable(2, 60);
    let id = Digest::of(&mails[0].bytes).to_string();
    let shown = archive.ctl(&["message", "show", &id, "-o", "json"]).json();
    assert_eq!(shown["observations"][0]["agent"], "mx9", "it is who the token says: {shown}");

    let revoked = archive.ctl(&["agents", "revoke", "mx9", "--reason", "the machine is sold"]);
    assert_eq!(revoked.code, 0, "{}", revoked.stderr);
    assert_eq!(client.send(&mails[2].from, &to, &mails[2].bytes).unwrap().code, 250);
    eventually("the agent says that it is shut out", 30, || {
        let status = agent.status();
        let alarms = status["alarms"].as_array()?;
        alarms.iter().any(|alarm| alarm["kind"] == "agent-revoked").then_some(())
    });
    eventually("its metrics say so, too", 30, || {
        agent.metrics().contains("openarchive_edge_alarms{kind=\"agent-revoked\"} 1").then_some(())
    });
    assert_eq!(agent.status()["bufferedMessages"], 1, "what it took in stays with it");
    assert_eq!(archive.count("*"), 2);
}
