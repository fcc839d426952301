//! Holds, shredding and expiry, as a person does them with the command line.

use std::{collections::BTreeSet, fs};

use openarchive_domain::Digest;
use openarchive_e2e::{Archive, eventually};
use openarchive_testkit::sample_mail::{Numbers, SampleMail, wrapped};
use serde_json::Value;
use sqlx::{Connection as _, PgConnection};

use crate::first_day::send_all;

fn mail(subject: &str, attachment: Option<&[u8]>) -> SampleMail {
    let head = format!("From: alice@example.org\r\nTo: bob@example.org\r\nSubject: {subject}\r\n");
    let bytes = match attachment {
        None => format!("{head}\r\nplain text of {subject}\r\n"),
        Some(content) => format!(
            "{head}MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: \
             text/plain\r\n\r\ntext of {subject}\r\n--x\r\nContent-Type: application/pdf; name=plan.pdf\r\n\
             Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=plan.pdf\r\n\r\n{}--x--\r\n",
            wrapped(content, 76)
        ),
    };
    SampleMail {
        from: "alice@example.org".into(),
        to: vec!["bob@example.org".into()],
        bytes: bytes.into_bytes(),
    }
}

fn id(mail: &SampleMail) -> String {
    Digest::of(&mail.bytes).to_string()
}

/// An archive whose mail may be erased, and expires after two days.
fn permitting() -> Archive {
    let mut archive = Archive::dev();
    archive.terminate();
    let path = archive.data().join("archive.yaml");
    let text = fs::read_to_string(&path).unwrap();
    let changed = text.replace("10y-received-forbidden", "2d-received-permitted");
    assert_ne!(text, changed);
    fs::write(&path, changed).unwrap();
    archive.start();
    archive
}

fn path(archive: &Archive, name: &str) -> String {
    archive.scratch(name).to_str().unwrap().to_owned()
}

fn assert_says(archive: &Archive, arguments: &[&str], code: i32, words: &[&str]) {
    let answer = archive.ctl(arguments);
    assert_eq!(answer.code, code, "{arguments:?}: {answer:?}");
    for word in words {
        let said = [answer.stdout.as_str(), answer.stderr.as_str()].concat();
        assert!(said.contains(word), "{arguments:?}: {word:?} is not in {said}");
    }
}

fn assert_byte_exact(archive: &Archive, mail: &SampleMail) {
    let to = archive.scratch("one.eml");
    let got = archive.ctl(&["message", "get", &id(mail), "-o", to.to_str().unwrap()]);
    assert_eq!(got.code, 0, "{got:?}");
    assert_eq!(fs::read(&to).unwrap(), mail.bytes);
}

/// By every command that reads.
fn assert_unreadable(archive: &Archive, mail: &SampleMail) {
    let (id, to) = (id(mail), path(archive, "gone"));
    for arguments in [
        &["message", "show", id.as_str()][..],
        &["message", "show", &id, "-o", "json"],
        &["message", "get", &id, "-o", &to],
        &["proof", &id, "-o", &to],
    ] {
        assert_says(archive, arguments, 1, &["404"]);
    }
    assert!(!archive.scratch("gone").exists());
}

/// Ids of an order's mail, once its keys are gone.
fn wait_shredded(archive: &Archive, order: &str) -> Vec<String> {
    eventually("the order is carried out", 60, || {
        let shown = archive.ctl(&["shred", "show", order, "-o", "json"]).json();
        let ids = shown["messages"].as_array()?.iter().map(|id| id.as_str().unwrap_or_default().to_owned());
        (shown["state"] == "shredded").then(|| ids.collect())
    })
}

#[test]
fn a_hold_beats_a_shred_and_what_is_shredded_is_gone_by_every_path_and_proven_to_be() {
    let mut archive = permitting();
    let shared = Numbers::seeded(7).bytes(50_000);
    let (gone, sharing, plain) =
        (mail("quagga", Some(&shared)), mail("okapi", Some(&shared)), mail("zebra", None));
    for mail in [&gone, &sharing, &plain] {
        send_all(&archive.smtp(), &archive.authority(), std::slice::from_ref(mail));
    }
    archive.wait_searchable(3, 60);
    let (receipt, eml) = (path(&archive, "gone.tlog-proof"), path(&archive, "gone.eml"));
    assert_says(&archive, &["proof", &id(&gone), "-o", &receipt], 0, &[]);
    fs::write(&eml, &gone.bytes).unwrap();

    let set = ["hold", "set", "--query", "quagga", "--reason", "a case", "--name", "case-1"];
    assert_says(&archive, &set, 0, &["hold case-1 keeps 1 mail\n"]);
    assert_says(&archive, &["hold", "list"], 0, &["case-1", "a case", "quagga"]);
    let shred = ["shred", &id(&gone), "--reason", "asked for by its sender", "--yes"];
    assert_says(&archive, &shred[..4], 1, &["--yes"]);
    assert_says(&archive, &shred, 1, &["409", "hold"]);
    assert_byte_exact(&archive, &gone);
    assert_says(&archive, &["hold", "release", "case-1", "--reason", "closed"], 0, &["released"]);
    let ordered = archive.ctl(&shred);
    assert_eq!(ordered.code, 0, "{ordered:?}");
    let order = ordered.stdout.trim().to_owned();
    assert_unreadable(&archive, &gone);
    assert_eq!(wait_shredded(&archive, &order), [id(&gone)]);
    assert_unreadable(&archive, &gone);
    archive.wait_searchable(2, 30);
    assert_eq!(archive.count("quagga"), 0);
    assert_eq!(archive.count("has:attachment"), 1);
    assert_byte_exact(&archive, &sharing);

    certificate_verifies(&archive, &gone, &receipt);
    // The ledger says what it said: the old receipt still verifies, and a new one of other mail does.
    let policy = archive.data().join("trust.policy").to_str().unwrap().to_owned();
    assert_says(&archive, &["verify", &eml, "--proof", &receipt, "--policy", &policy], 0, &["verified"]);
    let (other, other_eml) = (path(&archive, "plain.tlog-proof"), path(&archive, "plain.eml"));
    fs::write(&other_eml, &plain.bytes).unwrap();
    assert_says(&archive, &["proof", &id(&plain), "-o", &other], 0, &[]);
    assert_says(&archive, &["verify", &other_eml, "--proof", &other, "--policy", &policy], 0, &["verified"]);
    archive.terminate();
    archive.assert_clean();

    // Neither a restart nor a rebuild brings it back, and a rebuild lets nothing more go before somebody has looked.
    fs::remove_dir_all(archive.data().join("postgres")).unwrap();
    fs::remove_dir_all(archive.data().join("index")).unwrap();
    let rebuilt = archive.offline("rebuild", &[]);
    assert_eq!(rebuilt.code, 0, "{rebuilt:?}");
    archive.assert_clean();
    archive.start();
    archive.wait_searchable(2, 60);
    assert_unreadable(&archive, &gone);
    assert_byte_exact(&archive, &sharing);
    let shred = ["shred", &id(&sharing), "--reason", "asked for, too", "--yes"];
    assert_says(&archive, &shred, 1, &["409", "suspended"]);
    assert_says(&archive, &["expiry", "resume", "--reason", "the holds are all there"], 0, &["go on"]);
    let ordered = archive.ctl(&shred);
    assert_eq!(ordered.code, 0, "{ordered:?}");
    assert_eq!(wait_shredded(&archive, ordered.stdout.trim()), [id(&sharing)]);
    assert_byte_exact(&archive, &plain);
    archive.terminate();
    archive.assert_clean();
}

fn certificate_verifies(archive: &Archive, mail: &SampleMail, receipt: &str) {
    let certificate = path(archive, "certificate.json");
    let policy = archive.data().join("trust.policy").to_str().unwrap().to_owned();
    assert_says(archive, &["shred", "certificate", &id(mail), "-o", &certificate], 0, &["verify-shred"]);
    let text = fs::read_to_string(&certificate).unwrap();
    assert!(!text.contains("quagga") && !text.contains("example.org"), "no content: {text}");
    let verify = |arguments: &[&str], code, words: &[&str]| {
        assert_says(archive, &[&["verify-shred"], arguments].concat(), code, words);
    };
    verify(&[&certificate, "--policy", &policy], 4, &["not anchored", "No receipt", &id(mail)]);
    verify(
        &[&certificate, "--policy", &policy, "--receipt", receipt],
        0,
        &["verified", "shown by the receipt", &id(mail)],
    );
    verify(&[&certificate], 4, &["not anchored"]);
    let forged = path(archive, "forged.json");
    fs::write(&forged, text.replace(&id(mail), &Digest::of(b"another").to_string())).unwrap();
    verify(&[&forged, "--policy", &policy, "--receipt", receipt], 3, &["failed"]);
    fs::write(&forged, text.replacen("\"shredded_at\":\"2", "\"shredded_at\":\"1", 1)).unwrap();
    verify(&[&forged, "--policy", &policy], 3, &["failed"]);
}

/// Lets time pass for all mail: what was archived was archived so many days earlier. Stands for waiting; what is asked
/// after it, expiry, goes by these rows alone. fsck would see it.
fn let_pass(archive: &Archive, days: i64) {
    let pid_file = fs::read_to_string(archive.data().join("postgres/cluster/postmaster.pid")).unwrap();
    let socket = pid_file.lines().nth(4).unwrap().replace('/', "%2F");
    let url = format!("postgres://postgres@{socket}/postgres");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut connection = PgConnection::connect(&url).await.unwrap();
        let moved = sqlx::query("update ingest.observation set recorded_at = recorded_at - $1")
            .bind(days * 24 * 60 * 60 * 1000)
            .execute(&mut connection)
            .await
            .unwrap();
        assert!(moved.rows_affected() > 0);
    });
}

#[test]
fn what_an_expiry_plan_says_is_what_is_done() {
    let mut archive = permitting();
    let mails: Vec<SampleMail> = (0..5).map(|n| mail(&format!("number{n}"), None)).collect();
    send_all(&archive.smtp(), &archive.authority(), &mails);
    archive.wait_searchable(5, 60);
    let (file, json) = (path(&archive, "expiry.plan"), path(&archive, "early.plan"));
    assert_says(&archive, &["expiry", "plan", "-o", &json], 0, &["0 mails expire, 0 mails are kept"]);
    assert_says(
        &archive,
        &["expiry", "plan", "-o", &json, "--at", "2999-01-01T00:00:00.000Z"],
        0,
        &["5 mails expire"],
    );
    assert_says(&archive, &["expiry", "run", &json, "--yes"], 1, &["409", "to come"]);

    let ids = path(&archive, "ids");
    fs::write(&ids, format!("# the case\n{}\n\n{}\n", id(&mails[0]), id(&mails[1]))).unwrap();
    assert_says(&archive, &["hold", "set", "--ids", &ids, "--reason", "a case"], 0, &["keeps 2 mails"]);
    let_pass(&archive, 3);
    assert_says(&archive, &["expiry", "plan", "-o", &file], 0, &["3 mails expire, 2 mails are kept"]);
    let said = fs::read_to_string(&file).unwrap();
    let lines: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of_action = |action: &str| -> BTreeSet<String> {
        let lines = lines.iter().filter(|line| line["action"] == action);
        lines.map(|line| line["message"].as_str().unwrap().to_owned()).collect()
    };
    let (expire, keep) = (of_action("expire"), of_action("keep"));
    assert_eq!(keep, mails[..2].iter().map(id).collect());
    assert_eq!(expire, mails[2..].iter().map(id).collect());

    assert_says(&archive, &["expiry", "run", &file], 1, &["--yes"]);
    let cut = path(&archive, "cut.plan");
    let without: Vec<&str> = said.lines().filter(|line| !line.contains(&id(&mails[2]))).collect();
    fs::write(&cut, without.join("\n") + "\n").unwrap();
    assert_says(&archive, &["expiry", "run", &cut, "--yes"], 1, &["400"]);
    archive.wait_searchable(5, 30);
    let run = archive.ctl(&["expiry", "run", &file, "--yes", "-o", "json"]);
    assert_eq!(run.code, 0, "{run:?}");
    let run = run.json();
    let orders = run["orders"].as_array().unwrap();
    let done: BTreeSet<String> =
        orders.iter().flat_map(|order| wait_shredded(&archive, order["shred"].as_str().unwrap())).collect();
    assert_eq!(done, expire, "what the plan says is what was done");
    let again = archive.ctl(&["expiry", "run", &file, "--yes", "-o", "json"]);
    assert_eq!(again.json(), run, "the same plan again does nothing more");
    archive.wait_searchable(2, 30);
    for (n, mail) in mails.iter().enumerate() {
        if n < 2 { assert_byte_exact(&archive, mail) } else { assert_unreadable(&archive, mail) }
    }
    let_pass(&archive, -3);
    archive.terminate();
    archive.assert_clean();
}
