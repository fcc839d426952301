//! What the built program answers without an archive: exit codes, complaints, offline verification.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use openarchive_ledger::{leaf_proof::LeafProof, receipt::Receipt, shred_certificate::ShredCertificate};
use serde_json::json;

fn archivectl(arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_archivectl"));
    for name in ["OPENARCHIVE_DATA", "OPENARCHIVE_URL", "OPENARCHIVE_TOKEN_FILE", "OPENARCHIVE_CA"] {
        command.env_remove(name);
    }
    let output = command.args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../ledger/fixtures").join(name)
}

/// Exit code, and that each of `words` stands in the output or the complaint.
fn check(arguments: &[&str], expected: i32, words: &[&str]) {
    let (code, stdout, stderr) = archivectl(arguments);
    let said = [stdout, stderr].concat();
    assert_eq!(code, Some(expected), "{arguments:?}: {said}");
    for word in words {
        assert!(said.contains(word), "{arguments:?}: {word:?} is not in {said}");
    }
    assert!(!said.contains('\x1b'), "no colour but on a terminal: {said:?}");
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn usage_is_2_anything_else_that_fails_is_1_and_a_proof_that_does_not_hold_is_3() {
    assert_eq!(archivectl(&["--no-such-flag"]).0, Some(2));
    assert_eq!(archivectl(&["search"]).0, Some(2));
    assert_eq!(archivectl(&["--help"]).0, Some(0));

    let (code, _, stderr) = archivectl(&["search", "x"]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("--data"), "it says what to do: {stderr}");

    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("mail.eml"), "Subject: x\r\n\r\n").unwrap();
    fs::write(path("no.tlog-proof"), "this is no proof\n").unwrap();
    let (code, stdout, _) = archivectl(&["verify", &path("mail.eml"), "--proof", &path("no.tlog-proof")]);
    assert_eq!(code, Some(3), "{stdout}");
    let (code, _, stderr) = archivectl(&["verify", &path("absent.eml"), "--proof", &path("no.tlog-proof")]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("absent.eml"), "{stderr}");
}

#[test]
fn an_archive_that_is_not_running_is_said_so_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let (code, _, stderr) = archivectl(&["--data", folder.path().to_str().unwrap(), "jobs", "list"]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("is the archive running"), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}

#[test]
fn verify_exits_with_what_it_found() {
    let (mail, proof, policy) =
        (fixture("message.eml"), fixture("receipt.tlog-proof"), fixture("trust.policy"));
    let (mail, proof, policy) = (path(&mail), path(&proof), path(&policy));
    check(&["verify", mail, "--proof", proof, "--policy", policy], 0, &["verified\n", "tree of"]);
    check(
        &["verify", mail, "--proof", proof],
        4,
        &["consistent but not anchored", "no signature was checked"],
    );
    check(&["verify", policy, "--proof", proof, "--policy", policy], 3, &["failed", "SHA-256 differs"]);
    check(&["verify", mail, "--proof", policy, "--policy", policy], 3, &["The proof cannot be read"]);
    check(&["verify", "/no/such.eml", "--proof", proof], 1, &["error: cannot read /no/such.eml"]);
    check(&["verify", mail, "--proof", "/no/such.proof"], 1, &["error: cannot read /no/such.proof"]);
    check(&["verify", mail], 2, &["--proof <FILE>"]);
}

#[test]
fn verify_says_the_same_to_programs() {
    let (mail, proof, policy) =
        (fixture("message.eml"), fixture("receipt.tlog-proof"), fixture("trust.policy"));
    let (_, stdout, _) = archivectl(&[
        "verify",
        path(&mail),
        "--proof",
        path(&proof),
        "--policy",
        path(&policy),
        "-o",
        "json",
    ]);
    let report: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((&report["outcome"], &report["exit_code"]), (&"verified".into(), &0.into()));
    let (code, stdout, _) = archivectl(&["verify", path(&policy), "--proof", path(&proof), "-o", "json"]);
    let report: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((&report["exit_code"], code), (&3.into(), Some(3)));
    assert_eq!(report["findings"][0]["code"], "message_differs");
}

#[test]
fn what_is_missing_on_the_command_line_is_a_usage_error() {
    check(&[], 2, &["Usage: archivectl"]);
    check(&["search"], 2, &["<QUERY>"]);
    check(&["message", "get", "nonsense"], 2, &["64 hex digits"]);
    check(&["jobs", "list", "--state", "lost"], 2, &["possible values"]);
}

#[test]
fn verify_shred_exits_with_what_it_found() {
    let (certificate, policy) = (fixture("shred-certificate.json"), fixture("trust.policy"));
    let (certificate, policy) = (path(&certificate), path(&policy));
    let folder = tempfile::tempdir().unwrap();
    let receipt = own_receipt(folder.path());
    let (receipt, other) = (path(&receipt), fixture("receipt.tlog-proof"));
    let whole = ["verify-shred", certificate, "--policy", policy, "--receipt", receipt];
    check(&whole, 0, &["verified\n", "shown by the receipt", "keys"]);
    check(
        &["verify-shred", certificate, "--policy", policy],
        4,
        &["consistent but not anchored", "No receipt of the message"],
    );
    check(&["verify-shred", certificate, "--receipt", receipt], 4, &["no signature was checked"]);
    check(&["verify-shred", certificate, "--policy", policy, "--receipt", path(&other)], 3, &["failed"]);
    check(&["verify-shred", policy, "--policy", policy], 3, &["failed"]);
    check(&["verify-shred", "/no/such.json"], 1, &["error: cannot read /no/such.json"]);
    check(&["verify-shred"], 2, &["<FILE>"]);
    let (code, stdout, _) = archivectl(&[&whole[..], &["-o", "json"]].concat());
    let report: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &report["outcome"], &report["exit_code"]), (Some(0), &"verified".into(), &0.into()));
    let (code, stdout, _) = archivectl(&["verify-shred", certificate, "--policy", policy, "-o", "json"]);
    let report: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &report["exit_code"]), (Some(4), &4.into()));
    assert_eq!(report["findings"][0]["code"], "not_identified");
}

/// Of a leaf that the certificate names, as its mail's owner kept it: the other fixture's openings over the
/// certificate's own proof.
fn own_receipt(folder: &Path) -> PathBuf {
    let read = |name: &str| fs::read_to_string(fixture(name)).unwrap();
    let shown = ShredCertificate::parse(&read("shred-certificate.json")).unwrap().observations.remove(0);
    let LeafProof { leaf, index, hashes, checkpoint_note } = shown;
    let openings = Receipt::parse(&read("receipt.tlog-proof")).unwrap().openings;
    let path = folder.join("own.tlog-proof");
    fs::write(&path, Receipt { leaf, openings, index, hashes, checkpoint_note }.to_text()).unwrap();
    path
}

#[test]
fn what_cannot_be_undone_is_not_done_unless_somebody_confirms_it() {
    let id = format!("sha256:{}", "ab".repeat(32));
    check(&["shred", &id, &id, "--reason", "x"], 1, &["destroys 2 mails", "--yes"]);
    let folder = tempfile::tempdir().unwrap();
    let plan = folder.path().join("plan.jsonl");
    fs::write(&plan, "{}\n").unwrap();
    check(&["expiry", "run", path(&plan)], 1, &["plan.jsonl", "--yes"]);
    check(&["expiry", "run", "/no/such.jsonl", "--yes"], 1, &["cannot read /no/such.jsonl"]);
    // Only then is the archive asked.
    check(&["shred", &id, "--reason", "x", "--yes"], 1, &["which archive?"]);
}

#[test]
fn a_file_of_ids_is_read_before_the_archive_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let ids = folder.path().join("ids");
    fs::write(&ids, format!("# case\nsha256:{}\nsha256:12\n", "ab".repeat(32))).unwrap();
    let set = |file: &str| ["hold", "set", "--ids", file, "--reason", "x"].map(str::to_owned);
    let words = set(path(&ids));
    check(&words.iter().map(String::as_str).collect::<Vec<_>>(), 1, &["line 3 is no id"]);
    fs::write(&ids, format!("sha256:{}\n", "ab".repeat(32))).unwrap();
    check(&words.iter().map(String::as_str).collect::<Vec<_>>(), 1, &["which archive?"]);
    check(&["hold", "release", "../x", "--reason", "x", "--url", "https://a.test"], 1, &["--token-file"]);
}

#[test]
fn help_documents_the_exit_codes() {
    check(&["--help"], 0, &["Exit codes:", "3  verification failed", "4  consistent but not anchored"]);
}

/// Says each of `answers` to one request, in turn, whatever is asked. Answers its address.
fn gateway_that_says(answers: Vec<serde_json::Value>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                let mut byte = [0_u8];
                stream.read_exact(&mut byte).unwrap();
                asked.extend(byte);
            }
            let body = answer.to_string();
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            stream.write_all((head + &body).as_bytes()).unwrap();
        }
    });
    url
}

#[test]
fn missing_mail_is_3_to_people_and_to_programs() {
    let says = |gaps: serde_json::Value| {
        json!({ "rows": [{
            "agent": "mx1", "instance": "018bcfe5-687b-7fff-bfff-ffffffffffff", "agent_epoch": "7",
            "first_seq": 1, "last_seq": 12, "announced_seq": 12,
            "stored": 7, "duplicate": 0, "quarantined": 0, "pending": 0, "gaps": gaps,
        }] })
    };
    let missing = says(json!([{ "first": 5, "last": 9 }]));
    let url = gateway_that_says(vec![says(json!([])), missing.clone(), missing.clone()]);
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    fs::write(&token, "oa_x").unwrap();
    let ask = ["completeness", "--url", &url, "--token-file", path(&token)];
    check(&ask, 0, &["complete: no number is missing"]);
    check(&ask, 3, &["5-9", "error: mail is missing"]);
    let (code, stdout, stderr) = archivectl(&[&ask[..], &["-o", "json"]].concat());
    let said: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, said), (Some(3), missing), "{stderr}");
}

#[test]
fn an_archive_that_is_not_there_is_an_error_with_what_to_do() {
    check(&["search", "x"], 1, &["--url URL", "--data DIR"]);
    check(&["search", "x", "--url", "https://localhost:1"], 1, &["--token-file"]);
    check(&["import", "x.mbox"], 1, &["which agent?"]);
    let folder = tempfile::tempdir().unwrap();
    check(&["agents", "--data", path(folder.path())], 1, &["openarchive dev --data"]);
    let token = folder.path().join("token");
    fs::write(&token, "oa_x").unwrap();
    // A port that was free a moment ago.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}");
    check(
        &["agents", "--url", &url, "--token-file", path(&token)],
        1,
        &["cannot reach the archive", "is it running"],
    );
    check(&["agents", "--url", "http://a.test", "--token-file", path(&token)], 1, &["use https"]);
}
