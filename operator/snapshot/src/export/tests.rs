use insta::assert_snapshot;
use openarchive_ledger::note::Signer;
use tar::EntryType;

use super::{read::read_files, *};
use crate::{
    Applied, ConfigLeaf,
    fixtures::{ORIGIN, after, applied, bodies, checkpoint, log, other, restart, signer, snapshots},
};

type Files = BTreeMap<String, Vec<u8>>;

fn policy() -> String {
    format!("log {}\nquorum none\n", signer().verifier())
}

/// Three configurations of one object, one of another, and a leaf of another kind.
fn history() -> (Vec<LogLeaf>, Vec<Snapshot>) {
    let chain = snapshots::<3>();
    let mut leaves = bodies(&chain);
    leaves.insert(1, restart());
    leaves.push(ConfigLeaf::of(&other()).body());
    (log(&leaves), chain.into_iter().chain([other()]).collect())
}

fn export_of(leaves: &[LogLeaf], snapshots: &[Snapshot], signer: &Signer) -> Vec<u8> {
    let mut out = Vec::new();
    Export { checkpoint_note: &checkpoint(leaves, signer), leaves, snapshots }.write(&mut out).unwrap();
    out
}

fn export() -> Vec<u8> {
    let (leaves, snapshots) = history();
    export_of(&leaves, &snapshots, &signer())
}

fn files() -> Files {
    read_files(export().as_slice()).unwrap()
}

fn packed(files: &Files) -> Vec<u8> {
    let mut out = Vec::new();
    write_tar(files, &mut out).unwrap();
    out
}

/// As whoever changes the files would make the manifest, too.
fn with_own_manifest(mut files: Files) -> Files {
    let note = files.get(CHECKPOINT_PATH).and_then(|note| String::from_utf8(note.clone()).ok());
    if let Some((checkpoint, _)) = note.and_then(|note| Checkpoint::parse_signed(&note).ok()) {
        let manifest = manifest(&files, &checkpoint).unwrap();
        files.insert(MANIFEST_PATH.to_owned(), manifest.into_bytes());
    }
    files
}

/// The codes of what is found, each once, in order.
fn codes(export: &[u8]) -> String {
    let outcome = verify_export(export, Some(&policy()));
    let mut codes: Vec<&str> = outcome.findings().iter().map(ExportFinding::code).collect();
    codes.dedup();
    assert_eq!(outcome.exit_code() == 0, codes.is_empty(), "{outcome}");
    assert_eq!(outcome.proved().is_some(), codes.is_empty(), "{outcome}");
    codes.join(" ")
}

fn check(change: impl FnOnce(&mut Files), expected: &str) {
    let mut files = files();
    change(&mut files);
    assert_eq!(codes(&packed(&with_own_manifest(files))), expected);
}

fn replace(files: &mut Files, path: &str, from: &str, to: &str) {
    let text = String::from_utf8(files[path].clone()).unwrap();
    let changed = text.replace(from, to);
    assert_ne!(text, changed, "{from}");
    files.insert(path.to_owned(), changed.into_bytes());
}

#[test]
fn a_whole_export_verifies_and_says_how_far_it_reaches() {
    let outcome = verify_export(export().as_slice(), Some(&policy()));
    assert_snapshot!(outcome, @r"
    verified
      log       archive.example.com/main/_/config/1
      complete  up to 6 leaves, 2026-01-02T03:04:10.678Z by the archive's own clock, not time-stamped
      object    ArchiveCore mail/main, configurations: 3
      object    RetentionPolicy mail/finance, configurations: 1
    ");
    assert_eq!(outcome.exit_code(), 0);
    assert_snapshot!(outcome.to_json()["proved"]["objects"], @r#"[{"object":{"kind":"ArchiveCore","name":"main","namespace":"mail"},"snapshots":3},{"object":{"kind":"RetentionPolicy","name":"finance","namespace":"mail"},"snapshots":1}]"#);
    let outcome = verify_export(export().as_slice(), None);
    assert_snapshot!(outcome, @r"
    consistent but not anchored
      - No policy was given, so no signature was checked: snapshots, leaves and tree agree with each other, but anybody could have made such an export.
      log       archive.example.com/main/_/config/1
      complete  up to 6 leaves, 2026-01-02T03:04:10.678Z by the archive's own clock, not time-stamped
      object    ArchiveCore mail/main, configurations: 3
      object    RetentionPolicy mail/finance, configurations: 1
    ");
    assert_eq!(outcome.exit_code(), 4);
}

/// The file is never made anew: what was exported once has to verify for ever.
#[test]
fn an_export_of_version_1_verifies() {
    let export = include_bytes!("../../fixtures/export-version-1.tar");
    let outcome =
        verify_export(export.as_slice(), Some(include_str!("../../fixtures/export-version-1.policy")));
    assert_eq!(outcome.exit_code(), 0, "{outcome}");
}

#[test]
fn an_export_has_these_files() {
    assert_snapshot!(files().into_keys().collect::<Vec<_>>().join("\n"), @r"
    README.md
    bodies/0848f64d216892c8ca0dc53000ff2f6726cb1c722d4cf82cada30df05720aadd.json
    bodies/276fde0856f43bd5b68d27dc4757d953ba8554c3c26d8bb54bec836491cd0e07.json
    bodies/5062ecfaa68cdcf34006d9ffbce1e83db34f030b3d5d158d2c1527760d20f952.json
    bodies/62fb9fca7063ab9d3be97d01193a79c2e46fcd8bdab219e5473c438038481547.json
    checkpoint
    leaves.jsonl
    manifest.json
    proofs/00000000000000000001.tlog-proof
    proofs/00000000000000000003.tlog-proof
    proofs/00000000000000000004.tlog-proof
    proofs/00000000000000000005.tlog-proof
    ");
}

#[test]
fn the_same_history_makes_the_same_bytes_and_leaves_out_what_the_checkpoint_does_not_cover() {
    let (leaves, snapshots) = history();
    let note = checkpoint(&leaves[..4], &signer());
    let written = |leaves: &[LogLeaf], snapshots: &[Snapshot]| {
        let mut out = Vec::new();
        Export { checkpoint_note: &note, leaves, snapshots }.write(&mut out).unwrap();
        out
    };
    let mut reversed = snapshots.clone();
    reversed.reverse();
    let short = written(&leaves[..4], &snapshots[..2]);
    assert_eq!(written(&leaves, &reversed), short);
    assert_eq!(codes(&short), "");
}

#[test]
fn a_history_without_configurations_is_one_too() {
    let leaves = log(&[]);
    assert_eq!(codes(&export_of(&leaves, &[], &signer())), "");
    let none = Export { checkpoint_note: &checkpoint(&[], &signer()), leaves: &[], snapshots: &[] };
    let mut out = Vec::new();
    none.write(&mut out).unwrap();
    assert_eq!(codes(&out), "");
}

#[test]
fn an_export_that_was_unpacked_and_packed_again_is_the_same() {
    let mut tar = Builder::new(Vec::new());
    let mut folder = Header::new_gnu();
    folder.set_entry_type(EntryType::dir());
    folder.set_size(0);
    tar.append_data(&mut folder, format!("./{FOLDER}/"), [].as_slice()).unwrap();
    for (path, bytes) in files().iter().rev() {
        let mut header = Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(1_700_000_000);
        tar.append_data(&mut header, format!("./{FOLDER}/{path}"), bytes.as_slice()).unwrap();
    }
    assert_eq!(codes(&tar.into_inner().unwrap()), "");
}

#[test]
fn no_byte_of_any_file_can_change_unseen() {
    let files = files();
    for (path, bytes) in &files {
        for position in (0..bytes.len()).step_by(31).chain([bytes.len() - 1]) {
            let mut changed = files.clone();
            changed.get_mut(path).unwrap()[position] ^= 1;
            for changed in [changed.clone(), with_own_manifest(changed)] {
                if changed != files {
                    let outcome = verify_export(packed(&changed).as_slice(), Some(&policy()));
                    assert_eq!(outcome.exit_code(), 3, "{path} {position}");
                }
            }
        }
    }
}

#[test]
fn no_file_can_be_taken_away_added_or_put_in_twice_unseen() {
    let files = files();
    for path in files.keys().filter(|path| *path != MANIFEST_PATH) {
        let mut fewer = files.clone();
        fewer.remove(path);
        assert_ne!(codes(&packed(&fewer)), "", "{path}");
        assert_ne!(codes(&packed(&with_own_manifest(fewer))), "", "{path}");
    }
    let mut without_manifest = files.clone();
    without_manifest.remove(MANIFEST_PATH);
    assert_eq!(codes(&packed(&without_manifest)), "file_altered");
    check(|files| drop(files.insert("notes.txt".to_owned(), Vec::new())), "file_unexpected");
    check(|files| drop(files.insert("proofs/1.tlog-proof".to_owned(), Vec::new())), "file_unexpected");
    check(|files| drop(files.insert("bodies/notes.txt".to_owned(), Vec::new())), "body_altered");
    let extra = after(None, applied(9));
    let body = extra.canonical().as_bytes().to_vec();
    check(|files| drop(files.insert(body_path(&extra.digest()), body)), "body_unrecorded");
}

#[test]
fn a_tar_file_that_two_readers_would_read_in_two_ways_is_refused() {
    let entry = |tar: &mut Builder<Vec<u8>>, kind: EntryType, path: &str| {
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_size(0);
        tar.append_data(&mut header, path, [].as_slice()).unwrap();
    };
    let made = |kind: EntryType, paths: &[&str]| {
        let mut tar = Builder::new(Vec::new());
        for path in paths {
            entry(&mut tar, kind, path);
        }
        codes(&tar.into_inner().unwrap())
    };
    let path = format!("{FOLDER}/{README_PATH}");
    assert_eq!(made(EntryType::file(), &[&path, &path]), "file_unexpected");
    assert_eq!(made(EntryType::file(), &["README.md"]), "file_unexpected");
    assert_eq!(made(EntryType::symlink(), &[&path]), "file_unexpected");
    let whole = export();
    assert_eq!(codes(&[whole.as_slice(), b"more"].concat()), "export_unreadable");
    assert_eq!(codes(&[whole.as_slice(), &[0; 10_000]].concat()), "");
    assert_eq!(codes(b"no tar file"), "export_unreadable");
    assert_ne!(codes(&[]), "");
    for cut in [whole.len() / 2, 700, 100] {
        assert_ne!(codes(&whole[..cut]), "", "{cut}");
    }
}

#[test]
fn a_history_that_was_cut_or_rewritten_is_found() {
    let (leaves, snapshots) = history();
    let lines = |leaves: &[LogLeaf]| -> Vec<u8> {
        leaves.iter().flat_map(|leaf| leaf.body.iter().chain(b"\n")).copied().collect()
    };
    let cut = |files: &mut Files| {
        files.insert(LEAVES_PATH.to_owned(), lines(&leaves[..5]));
        files.remove(&body_path(&snapshots[3].digest()));
        files.remove(&proof_path(5));
    };
    check(cut, "leaves_missing");
    // As if it had never been recorded.
    let mut without = leaves.clone();
    without.remove(4);
    check(
        |files| drop(files.insert(LEAVES_PATH.to_owned(), lines(&without))),
        "leaves_missing body_unrecorded proof_elsewhere file_unexpected",
    );
    let swap = |files: &mut Files| {
        let mut swapped = leaves.clone();
        swapped.swap(1, 3);
        files.insert(LEAVES_PATH.to_owned(), lines(&swapped));
    };
    check(swap, "root_differs chain_broken proof_elsewhere");
    let [a, b] = [&snapshots[0], &snapshots[1]].map(|snapshot| body_path(&snapshot.digest()));
    let mut exchanged = files();
    let (first, second) = (exchanged[&a].clone(), exchanged[&b].clone());
    exchanged.extend([(a, second), (b, first)]);
    assert_eq!(codes(&packed(&with_own_manifest(exchanged))), "body_altered body_missing");
    let body = body_path(&snapshots[2].digest());
    check(
        |files| replace(files, &body, "archive.example.com", "archive.example.org"),
        "body_altered body_missing",
    );
    check(|files| replace(files, LEAVES_PATH, "certificate", "a_new_image"), "root_differs");
    check(|files| replace(files, &proof_path(3), "index 3", "index 4"), "proof_elsewhere leaf_not_in_tree");
    check(|files| replace(files, &proof_path(3), "index 3", "index 03"), "proof_unreadable");
    check(|files| drop(files.insert(proof_path(3), files[&proof_path(4)].clone())), "proof_elsewhere");
}

#[test]
fn a_history_that_somebody_else_signed_is_found() {
    let (leaves, snapshots) = history();
    let other_key = Signer::new(ORIGIN, &[8; 32]).unwrap();
    assert_eq!(codes(&export_of(&leaves, &snapshots, &other_key)), "checkpoint_key_foreign");
    let other_log = Signer::new("archive.example.org/main/_/config/1", &[8; 32]).unwrap();
    assert_eq!(codes(&export_of(&leaves, &snapshots, &other_log)), "log_not_trusted");
    // Signed by a trusted key, but of a log in which no configuration is recorded.
    for origin in
        ["archive.example.com/main/acme/evidence/1", "archive.example.com/main/acme/config/1", "other"]
    {
        let elsewhere = Signer::new(origin, &[7; 32]).unwrap();
        let trusting = format!("log {}\nquorum none\n", elsewhere.verifier());
        let outcome = verify_export(export_of(&leaves, &snapshots, &elsewhere).as_slice(), Some(&trusting));
        assert_eq!(outcome.findings()[0].code(), "other_log", "{origin}");
    }
    let outcome = verify_export(export().as_slice(), Some("log x\n"));
    assert_eq!((outcome.exit_code(), outcome.findings()[0].code()), (3, "policy_unreadable"));
}

#[test]
fn a_history_that_was_set_back_is_found_with_an_earlier_checkpoint() {
    let (leaves, snapshots) = history();
    let since = |exported: usize, earlier: &str| {
        let export = export_of(&leaves[..exported], &snapshots, &signer());
        let outcome = verify_export_since(export.as_slice(), Some(&policy()), earlier);
        outcome.findings().iter().map(ExportFinding::code).collect::<Vec<_>>().join(" ")
    };
    for earlier in 0..=leaves.len() {
        assert_eq!(since(leaves.len(), &checkpoint(&leaves[..earlier], &signer())), "", "{earlier}");
    }
    assert_eq!(since(4, &checkpoint(&leaves, &signer())), "not_since");
    let mut rewritten = leaves.clone();
    rewritten.swap(1, 2);
    assert_eq!(since(6, &checkpoint(&rewritten[..3], &signer())), "not_since");
    let other_key = Signer::new(ORIGIN, &[8; 32]).unwrap();
    assert_eq!(since(6, &checkpoint(&leaves[..3], &other_key)), "earlier_not_trusted");
    assert_eq!(since(6, "no checkpoint"), "earlier_unreadable");
}

#[test]
fn a_log_that_is_signed_and_yet_no_whole_history_is_found() {
    let (leaves, kept) = history();
    let fewer: Vec<Snapshot> = kept[1..].to_vec();
    assert_eq!(codes(&export_of(&leaves, &fewer, &signer())), "body_missing");
    let chain = snapshots::<3>();
    let gap = [&chain[0], &chain[2]];
    assert_eq!(codes(&export_of(&log(&bodies(gap)), &chain, &signer())), "chain_broken");
    let fork = Applied { operator_version: "9".to_owned(), ..applied(2) };
    let fork = after(Some(&chain[0]), fork);
    let forked = [&chain[0], &chain[1], &fork];
    let all: Vec<Snapshot> = forked.into_iter().cloned().collect();
    let outcome =
        verify_export(export_of(&log(&bodies(forked)), &all, &signer()).as_slice(), Some(&policy()));
    assert_snapshot!(outcome, @r"
    failed
      - leaf 3 of the config log breaks the chain: it follows sha256:5062ecfaa68cdcf34006d9ffbce1e83db34f030b3d5d158d2c1527760d20f952, the one before it in the log is sha256:0848f64d216892c8ca0dc53000ff2f6726cb1c722d4cf82cada30df05720aadd
        What to do: the ledger itself shows it and cannot be mended: find out who wrote to the config log beside the operator, and keep an export as evidence.
    ");
}

#[test]
fn exports_are_refused_where_they_could_not_be_whole() {
    let (leaves, snapshots) = history();
    let note = checkpoint(&leaves, &signer());
    let fewer = Export { checkpoint_note: &note, leaves: &leaves[..5], snapshots: &snapshots };
    assert!(matches!(fewer.write(Vec::new()), Err(ExportError::LeavesMissing { size: 6, found: 5 })));
    let unsigned = Export { checkpoint_note: "", leaves: &leaves, snapshots: &snapshots };
    assert!(matches!(unsigned.write(Vec::new()), Err(ExportError::Checkpoint(_))));
    let broken = [LogLeaf { index: 0, body: b"{\n}".to_vec() }];
    let broken = Export { checkpoint_note: &checkpoint(&broken, &signer()), leaves: &broken, snapshots: &[] };
    assert!(matches!(broken.write(Vec::new()), Err(ExportError::LineBreak(0))));
}

#[test]
fn the_limits_of_an_export_hold() {
    assert!(fits(EXPORT_FILES_MAX, EXPORT_BYTES_MAX));
    assert!(!fits(EXPORT_FILES_MAX + 1, EXPORT_BYTES_MAX));
    assert!(!fits(EXPORT_FILES_MAX, EXPORT_BYTES_MAX + 1));
    let many: Files = (0..=EXPORT_FILES_MAX).map(|n| (n.to_string(), Vec::new())).collect();
    assert!(matches!(write_tar(&many, io::sink()), Err(ExportError::TooLarge)));
    assert_eq!(verify_export(io::repeat(0), None).findings(), [ExportFinding::TooLarge]);
}
