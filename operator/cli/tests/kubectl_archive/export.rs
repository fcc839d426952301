//! `config export` of a running archive, and what is found in an export that was changed afterwards.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Read,
    path::Path,
    process::{Command, Stdio},
};

use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::{
    ResourceExt,
    api::{DeleteParams, ListParams},
};
use openarchive_ledger::{
    checkpoint::Checkpoint,
    note::Signer,
    tree::{leaf_hash, root_of},
};
use serde_json::{Value, json};

use crate::{
    archive::Site,
    kubelet::Kubelet,
    plugin::{command, complained, plugin, said},
    rights,
};

/// An operator and an archive that has recorded three configurations.
async fn recorded(namespace: &'static str) -> Option<Site> {
    let mut site = Site::start(namespace).await?;
    site.run_operator();
    site.configure(1).await;
    site.until_recorded("False").await;
    site.mount().await;
    site.run_archive();
    site.until_recorded("True").await;
    for tenants in 2..=3 {
        site.configure(tenants).await;
        site.until_recorded("True").await;
    }
    Some(site)
}

type Files = BTreeMap<String, Vec<u8>>;

fn unpacked(export: &str) -> Files {
    let mut archive = tar::Archive::new(File::open(export).unwrap());
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        (String::from_utf8(entry.path_bytes().into_owned()).unwrap(), bytes)
    });
    entries.collect()
}

fn pack(files: &Files, path: &str) {
    let mut tar = tar::Builder::new(File::create(path).unwrap());
    for (name, bytes) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, bytes.as_slice()).unwrap();
    }
    tar.into_inner().unwrap();
}

fn name_of(files: &Files, part: &str) -> String {
    files.keys().find(|name| name.contains(part)).unwrap().clone()
}

fn replaced(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    assert!(text.contains(from), "{from}");
    text.replacen(from, to, 1).into_bytes()
}

/// Signs the leaves with a key of somebody else, under the log's own name.
fn forged_checkpoint(files: &Files) -> Vec<u8> {
    let note = String::from_utf8(files[&name_of(files, "/checkpoint")].clone()).unwrap();
    let (real, _) = Checkpoint::parse_signed(&note).unwrap();
    let leaves = &files[&name_of(files, "/leaves.jsonl")];
    let hashes: Vec<_> =
        leaves.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(leaf_hash).collect();
    let forged =
        Checkpoint { root: root_of(&hashes), size: hashes.len() as u64, origin: real.origin.clone() };
    forged.sign(&Signer::new(&real.origin, &[7; 32]).unwrap()).unwrap().to_string().into_bytes()
}

/// Exit status, and the codes of what was found.
fn verified(export: &str, policy: Option<&str>) -> (Option<i32>, Vec<String>) {
    let mut args = vec!["config", "verify", "--json", "--export", export];
    args.extend(policy.iter().flat_map(|policy| ["--policy", policy]));
    let (status, text) = said(&plugin(Path::new("/nonexistent"), &args));
    let outcome: Value = serde_json::from_str(&text).unwrap();
    let codes = outcome["findings"].as_array().unwrap().iter();
    (status, codes.map(|one| one["code"].as_str().unwrap().to_owned()).collect())
}

fn every_change_is_found(site: &Site, export: &str, policy: &str) {
    let whole = unpacked(export);
    let check = |what: &str, change: &dyn Fn(&mut Files), expected: &str| {
        let mut files = whole.clone();
        change(&mut files);
        let changed = site.path("changed.tar");
        pack(&files, &changed);
        let (status, codes) = verified(&changed, Some(policy));
        assert_eq!(status, Some(3), "{what}: {codes:?}");
        assert!(codes.iter().any(|code| code == expected), "{what}: {codes:?}");
    };
    pack(&whole, &site.path("same.tar"));
    assert_eq!(
        verified(&site.path("same.tar"), Some(policy)),
        (Some(0), Vec::new()),
        "packing changes nothing"
    );
    let body = name_of(&whole, "/bodies/");
    let leaves = name_of(&whole, "/leaves.jsonl");
    let checkpoint = name_of(&whole, "/checkpoint");
    let proof = name_of(&whole, "/proofs/");
    check(
        "a body",
        &|files| {
            let changed = replaced(&files[&body], "10y-received-forbidden", "1d-received-permitted ");
            files.insert(body.clone(), changed);
        },
        "body_altered",
    );
    check("a body that is gone", &|files| drop(files.remove(&body)), "body_missing");
    check(
        "a leaf",
        &|files| {
            let changed = replaced(&files[&leaves], "\"generation\":\"2\"", "\"generation\":\"3\"");
            files.insert(leaves.clone(), changed);
        },
        "root_differs",
    );
    check(
        "the last leaf is gone",
        &|files| {
            let text = files.get_mut(&leaves).unwrap();
            let end = text[..text.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap();
            text.truncate(end + 1);
        },
        "leaves_missing",
    );
    check("a proof that is gone", &|files| drop(files.remove(&proof)), "file_missing");
    check(
        "the size that is signed",
        &|files| {
            let size = String::from_utf8(files[&checkpoint].clone()).unwrap();
            let size = size.lines().nth(1).unwrap().to_owned();
            let changed = replaced(&files[&checkpoint], &format!("\n{size}\n"), "\n1\n");
            files.insert(checkpoint.clone(), changed);
        },
        "checkpoint_signature_bad",
    );
    check(
        "another history, signed by somebody else",
        &|files| {
            let changed = replaced(&files[&leaves], "\"generation\":\"2\"", "\"generation\":\"3\"");
            files.insert(leaves.clone(), changed);
            let forged = forged_checkpoint(files);
            files.insert(checkpoint.clone(), forged);
        },
        "checkpoint_key_foreign",
    );
    check(
        "a file too many",
        &|files| {
            files.insert("openarchive-config-export/note.txt".to_owned(), b"all is well".to_vec());
        },
        "file_unexpected",
    );
    let cut = site.path("cut.tar");
    let bytes = fs::read(export).unwrap();
    fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    assert_eq!(verified(&cut, Some(policy)).0, Some(3), "half a file");
}

#[tokio::test]
async fn an_export_of_a_running_archive_verifies_without_it_and_every_change_to_it_is_found() {
    let Some(mut site) = recorded("exported").await else { return };
    let (export, policy) = (site.path("export.tar"), site.path("config.policy"));
    let output = site.plugin(&["config", "export", "main", "-o", &export, "--json"]);
    let (status, text) = said(&output);
    assert_eq!(status, Some(0), "{text}{}", complained(&output));
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(answer["bytes"], json!(fs::metadata(&export).unwrap().len()));
    assert_eq!(answer["verification"]["outcome"], json!("consistent but not anchored"));
    assert_eq!(answer["verification"]["proved"]["objects"][0]["snapshots"], json!(3));
    let again = site.plugin(&["config", "export", "main", "-o", &export]);
    assert_eq!(again.status.code(), Some(1));
    assert!(complained(&again).contains("is there already"), "{}", complained(&again));

    let (status, text) = said(&site.plugin(&["config", "policy", "main"]));
    assert_eq!(status, Some(0));
    fs::write(&policy, text).unwrap();
    assert_eq!(verified(&export, None), (Some(4), Vec::new()));
    assert_eq!(verified(&export, Some(&policy)), (Some(0), Vec::new()));
    every_change_is_found(&site, &export, &policy);
    through_the_api_server(&site, &export, &policy).await;
    whoever_stops_it_leaves_no_key_behind(&site);
    live(&mut site, &policy).await;
}

/// By nothing but the API server, with the rights that the documentation names.
async fn through_the_api_server(site: &Site, export: &str, policy: &str) {
    let kubelet = Kubelet::start(([127, 0, 0, 1], site.archive.grpc()).into());
    kubelet.register(site.client.clone()).await;
    let auditor = site.person("auditor", &rights::with_ledger()).await;
    let ask = |args: &[&str]| plugin(&auditor, &[&["--namespace", site.namespace], args].concat());
    let second = site.path("second.tar");
    let output = ask(&["config", "export", "main", "-o", &second, "--policy", policy]);
    assert_eq!(said(&output).0, Some(0), "{}", complained(&output));
    assert_eq!(
        fs::read(export).unwrap(),
        fs::read(&second).unwrap(),
        "the same history makes the same bytes"
    );
    let asked = kubelet.asked();
    let expected = format!("/portForward/{}/main-all-0?port=9443", site.namespace);
    assert!(!asked.is_empty() && asked.iter().all(|uri| uri.ends_with(&expected)), "{asked:?}");
    let output = ask(&["config", "verify", "main", "--policy", policy]);
    assert_eq!(said(&output).0, Some(0), "{}", complained(&output));

    rights::each_is_needed(site, "auditor", &rights::with_ledger(), |kubeconfig| {
        let args = ["--namespace", site.namespace, "config", "verify", "main", "--policy", policy];
        plugin(kubeconfig, &args).status.code() == Some(0)
    })
    .await;

    let reader = site.person("reader", &rights::without_ledger()).await;
    let ask = |args: &[&str]| plugin(&reader, &[&["--namespace", site.namespace], args].concat());
    let refused = ask(&["config", "export", "main", "-o", &site.path("third.tar")]);
    assert_eq!(said(&refused).0, Some(1));
    assert!(complained(&refused).contains("Secret main-operator-tls"), "{}", complained(&refused));
    assert!(!Path::new(&site.path("third.tar")).exists(), "nothing is left of what was not done");
    let output = ask(&["config", "verify", "main", "--without-ledger"]);
    assert_eq!(said(&output).0, Some(4), "{}", complained(&output));
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).unwrap().next().is_none()
}

/// The operator's key lies in a file while it is in use.
fn whoever_stops_it_leaves_no_key_behind(site: &Site) {
    let folder = tempfile::tempdir().unwrap();
    let run = |overrides: &str| {
        let args = ["--namespace", site.namespace, "config", "policy", "main"];
        let mut command = command(&site.kubeconfig, &args);
        command.env("TMPDIR", folder.path()).env("OPENARCHIVE_DIAL_OVERRIDE", overrides);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    assert!(run(&site.overrides()).wait().unwrap().success());
    assert!(is_empty(folder.path()), "it is gone when the command ends");
    for signal in ["INT", "TERM"] {
        // Takes connections and never answers.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let at = silent.local_addr().unwrap();
        let mut waiting = run(&format!("main-all.{}.svc:9443={at}", site.namespace));
        // It has connected: its key is there.
        let _connection = silent.accept().unwrap();
        assert!(!is_empty(folder.path()));
        let signal = format!("-{signal}");
        assert!(Command::new("kill").args([&signal, &waiting.id().to_string()]).status().unwrap().success());
        assert_eq!(waiting.wait().unwrap().code(), Some(1));
        assert!(is_empty(folder.path()), "it is gone when the command is stopped");
    }
}

/// Held against the running archive, and against none.
async fn live(site: &mut Site, policy: &str) {
    assert_eq!(said(&site.plugin(&["config", "verify", "main"])).0, Some(4), "nobody vouched for it");
    let (status, history) = said(&site.plugin(&["config", "history", "main", "--json"]));
    let rows: Value = serde_json::from_str(&history).unwrap();
    assert_eq!(status, Some(0));
    assert_eq!((&rows[2]["standing"], &rows[2]["ordinal"]), (&json!("recorded"), &json!(3)));

    let kept = site.api::<ControllerRevision>();
    let mut revisions = kept.list(&ListParams::default()).await.unwrap().items;
    revisions.retain(|revision| revision.name_any().starts_with("main-config-2-"));
    kept.delete(&revisions[0].name_any(), &DeleteParams::default()).await.unwrap();
    let (status, text) = said(&site.plugin(&["config", "verify", "main", "--policy", policy, "--json"]));
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, &report["findings"][0]["code"]), (Some(3), &json!("revision_missing")), "{text}");
    assert_eq!(report["archive"]["outcome"], json!("verified"), "the archive itself has it still");

    let mut command = command(&site.kubeconfig, &["--namespace", site.namespace, "config", "policy", "main"]);
    command.env("OPENARCHIVE_DIAL_OVERRIDE", site.overrides()).env("KUBERNETES_SERVICE_HOST", "10.96.0.1");
    let output = command.output().unwrap();
    assert_eq!(said(&output).0, Some(1));
    assert!(complained(&output).contains("not for use in a cluster"), "{}", complained(&output));

    site.stop_archive();
    let output = site.plugin(&["config", "verify", "main"]);
    assert_eq!(said(&output).0, Some(1));
    assert!(complained(&output).contains("--without-ledger"), "{}", complained(&output));
    let output = site.plugin(&["config", "history", "main"]);
    assert_eq!(said(&output).0, Some(0));
    assert!(complained(&output).contains("The ledger was not read"), "{}", complained(&output));
}
