//! The support bundle: tells the state of an archive, and nothing of its mail, its people and its secrets.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use openarchive_e2e::{Archive, Cluster, program};
use openarchive_testkit::smtp_client::SmtpClient;
use serde_json::Value;

/// What no bundle may hold.
const MARKS: [&str; 7] = [
    "marksender51c2",
    "markrecipient51c2",
    "marksubject51c2",
    "markbody51c2",
    "markfile51c2",
    "markquery51c2",
    "markpassword51c2",
];

const MAIL: &[u8] = b"From: Markname <marksender51c2@example.org>\r\nTo: markrecipient51c2@example.com\r\n\
    Subject: marksubject51c2\r\nMessage-ID: <markbody51c2@example.org>\r\nMIME-Version: 1.0\r\n\
    Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nmarkbody51c2\r\n--b\r\n\
    Content-Disposition: attachment; filename=\"markfile51c2.txt\"\r\n\r\nmarkbody51c2\r\n--b--\r\n";

/// Unpacks with the system's tar: file names and contents.
fn unpack(bundle: &Path) -> BTreeMap<String, String> {
    let folder = bundle.with_extension("unpacked");
    fs::create_dir(&folder).unwrap();
    let status = Command::new("tar").arg("-xzf").arg(bundle).arg("-C").arg(&folder).status().unwrap();
    assert!(status.success());
    let files = fs::read_dir(folder.join("openarchive-support")).unwrap().map(|entry| entry.unwrap());
    files
        .map(|file| {
            let name = file.file_name().into_string().unwrap();
            (name, fs::read_to_string(file.path()).unwrap())
        })
        .collect()
}

fn json(bundle: &BTreeMap<String, String>, name: &str) -> Value {
    serde_json::from_str(&bundle[name]).unwrap()
}

fn assert_silent(bundle: &BTreeMap<String, String>, secrets: &[String]) {
    for (name, text) in bundle {
        let text = text.to_lowercase();
        for mark in MARKS.iter().copied().chain(secrets.iter().map(String::as_str)) {
            assert!(!text.contains(&mark.to_lowercase()), "{name} holds {mark}");
        }
    }
}

/// Every file of `folder` in the forms in which text may show it: as it is, line by line, in hex.
fn secrets_of(folder: &Path) -> Vec<String> {
    let mut secrets = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        secrets.push(bytes.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}")));
        if let Ok(text) = String::from_utf8(bytes) {
            secrets.extend(text.lines().filter(|line| line.len() >= 16).map(str::to_owned));
        }
    }
    secrets
}

fn support_bundle(archive: &Archive, name: &str, more: &[&str]) -> (PathBuf, openarchive_e2e::Ctl) {
    let out = archive.scratch(name);
    let out_text = out.to_str().unwrap().to_owned();
    let made = archive.offline("support-bundle", &[&["--out", &out_text], more].concat());
    (out, made)
}

#[test]
fn a_support_bundle_tells_an_archives_state_and_nothing_of_its_mail_people_or_secrets() {
    let mut archive = Archive::dev();
    let mut client = SmtpClient::connect(&archive.smtp()).unwrap().start_tls(&archive.authority()).unwrap();
    let to = ["markrecipient51c2@example.com".to_owned()];
    assert_eq!(client.send("marksender51c2@example.org", &to, MAIL).unwrap().code, 250);
    archive.wait_searchable(1, 60);
    assert_eq!(archive.ctl(&["search", "markquery51c2"]).code, 0);
    // What else may stand in a file that was given as a log.
    let log = archive.scratch("given.log");
    let own = fs::read_to_string(archive.scratch("archive.log")).unwrap();
    let foreign = "2026-01-02 03:04:05.678 UTC [7] DETAIL:  Key (address)=(marksender51c2@example.org)\n";
    fs::write(&log, own + foreign).unwrap();

    let (out, made) = support_bundle(&archive, "bundle.tar.gz", &["--log", log.to_str().unwrap()]);
    assert_eq!(made.code, 0, "{} {}", made.stdout, made.stderr);
    let bundle = unpack(&out);
    let names: Vec<&str> = bundle.keys().map(String::as_str).collect();
    let expected = [
        "README.txt",
        "health.json",
        "jobs.json",
        "log-tails.txt",
        "objects.json",
        "program.json",
        "settings.json",
    ];
    assert_eq!(names, expected);
    let mut secrets = secrets_of(&archive.data().join("keys"));
    secrets.extend(secrets_of(&archive.data().join("tls")));
    secrets.push(fs::read_to_string(archive.data().join("api-token")).unwrap().trim().to_owned());
    assert!(secrets.len() > 8, "{}", secrets.len());
    assert_silent(&bundle, &secrets);

    assert_eq!(json(&bundle, "health.json")["health"]["status"], "ok");
    assert_eq!(json(&bundle, "jobs.json")["dead"], 0);
    assert_eq!(json(&bundle, "settings.json")["domain"], "archive.localhost");
    assert_eq!(json(&bundle, "program.json")["about"], "a data folder");
    let objects = json(&bundle, "objects.json");
    assert!(objects["by_kind"]["packs"]["objects"].as_u64().unwrap() > 0, "{objects}");
    let logs = objects["logs"].as_array().unwrap();
    let evidence = logs.iter().find(|log| log["origin"] == "archive.localhost/main/default/evidence/1");
    assert!(evidence.unwrap()["size"].as_u64().unwrap() >= 2, "{objects}");
    assert!(bundle["log-tails.txt"].contains(" openarchive"), "{}", bundle["log-tails.txt"]);

    let (_, again) = support_bundle(&archive, "bundle.tar.gz", &[]);
    assert_eq!(again.code, 1, "a bundle is never written over");
    assert!(archive.terminate());
    let (out, made) = support_bundle(&archive, "stopped.tar.gz", &[]);
    assert_eq!(made.code, 0, "{}", made.stderr);
    let bundle = unpack(&out);
    assert_eq!(json(&bundle, "health.json")["runs"], false);
    assert!(!bundle.contains_key("jobs.json") && bundle.contains_key("objects.json"));
    assert_silent(&bundle, &secrets);
}

#[test]
fn a_support_bundle_of_a_role_has_its_findings_and_metrics() {
    let cluster = Cluster::start(&["acme"]).unwrap();
    let bundle_of = |role: &str| {
        let name = format!("{role}.tar.gz");
        let config = format!("{role}-0.yaml");
        let made =
            cluster.openarchive(&["support-bundle", "--role", role, "--config", &config, "--out", &name]);
        assert_eq!(made.code, 0, "{} {}", made.stdout, made.stderr);
        unpack(&cluster.root().join(name))
    };
    let secrets = secrets_of(&cluster.root().join("tls"));
    for role in ["worker", "trust"] {
        let bundle = bundle_of(role);
        assert_silent(&bundle, &secrets);
        let findings = json(&bundle, "doctor.json");
        let findings = findings.as_array().unwrap();
        assert!(findings.len() > 3 && findings.iter().all(|found| found["verdict"] != "bad"), "{findings:?}");
        assert_eq!(json(&bundle, "readiness.json")["status"], 200);
        assert!(bundle["metrics.txt"].contains(&format!("openarchive_build_info{{role=\"{role}\"")));
        assert_eq!(json(&bundle, "settings.json")["tenants"][0], "acme");
        assert_eq!(bundle.contains_key("objects.json"), role == "trust");
    }
}

#[test]
fn a_password_in_the_wrong_place_does_not_get_into_a_support_bundle() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("url"), "postgres://markpassword51c2:markpassword51c2@127.0.0.1:1/x").unwrap();
    let whole = "archive: {domain: archive.test, tenants: [acme], retention: {default: 10y-received-forbidden}}\n\
         listen: {grpc: 127.0.0.1:1, admin: 127.0.0.1:1}\ntls: {certificate: c.pem, key: c.key, ca: ca.pem}\n\
         database: {urlFile: url}\nobjects: {local: objects}\ndataDir: data\ncalls: {trust: [\"localhost:1\"]}\n";
    let misplaced = whole.replace("{urlFile: url}", "postgres://u:markpassword51c2@localhost/x");
    let unknown_key = format!("{whole}password: markpassword51c2\n");
    let no_yaml = format!("{whole}\t\"markpassword51c2\n");
    for (number, config) in [whole, &misplaced, &unknown_key, &no_yaml].into_iter().enumerate() {
        fs::write(path("role.yaml"), config).unwrap();
        let out = path(&format!("{number}.tar.gz"));
        let made = Command::new(program("openarchive"))
            .args(["support-bundle", "--role", "storage", "--config"])
            .arg(path("role.yaml"))
            .arg("--out")
            .arg(&out)
            .env("OPENARCHIVE_EXAMPLE", "markpassword51c2")
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let bundle = unpack(&out);
        assert_silent(&bundle, &[]);
        let findings = json(&bundle, "doctor.json");
        assert!(findings.as_array().unwrap().iter().any(|found| found["verdict"] == "bad"), "{findings}");
        assert!(bundle["program.json"].contains("OPENARCHIVE_EXAMPLE"));
    }
}
