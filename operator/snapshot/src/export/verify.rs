use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
};

use openarchive_domain::{Digest, Timestamp};
use openarchive_ledger::{
    checkpoint::Checkpoint,
    leaf_proof::LeafProof,
    origin::{LogId, Origin, TenantOrArchive},
    policy::Policy,
    tree,
};
use serde_json::Value;

use super::{
    CHECKPOINT_PATH, ExportFinding, LEAVES_PATH, MANIFEST_PATH, Outcome, Proved, README, README_PATH,
    body_path, manifest, proof_path, read::read_files,
};
use crate::{
    finding::Finding,
    links::check_recorded,
    log::{ConfigLog, LogLeaf},
    place::shown,
    snapshot::Snapshot,
};

/// Verifies an export with nothing but itself and the policy, a C2SP tlog-policy text: that the leaves are all those of
/// the tree that a trusted key signed, that they form one chain for each object, from its first configuration to its
/// last, and that the snapshots are those that the leaves record. Names everything that is broken.
///
/// Keys inside an export do not count. Without a policy the best outcome is [`Outcome::NotAnchored`].
pub fn verify_export(reader: impl Read, policy: Option<&str>) -> Outcome {
    verify(reader, policy, None)
}

/// As [`verify_export`], and that the history goes on from `earlier`, a signed checkpoint of the same log: without one,
/// an export under an older checkpoint hides what came later.
pub fn verify_export_since(reader: impl Read, policy: Option<&str>, earlier: &str) -> Outcome {
    verify(reader, policy, Some(earlier))
}

fn verify(reader: impl Read, policy: Option<&str>, earlier: Option<&str>) -> Outcome {
    let policy = match policy.map(str::parse::<Policy>).transpose() {
        Ok(policy) => policy,
        Err(error) => return Outcome::Failed(vec![ExportFinding::PolicyUnreadable(error)]),
    };
    let files = match read_files(reader) {
        Ok(files) => files,
        Err(finding) => return Outcome::Failed(vec![finding]),
    };
    let mut check = Check { files: &files, policy: policy.as_ref(), earlier, findings: Vec::new() };
    match (check.run(), check.findings) {
        (Some(proved), findings) if findings.is_empty() && policy.is_some() => Outcome::Verified(proved),
        (Some(proved), findings) if findings.is_empty() => Outcome::NotAnchored(proved),
        (_, findings) => Outcome::Failed(findings),
    }
}

struct Check<'a> {
    files: &'a BTreeMap<String, Vec<u8>>,
    policy: Option<&'a Policy>,
    /// A signed checkpoint that the log had before.
    earlier: Option<&'a str>,
    findings: Vec<ExportFinding>,
}

impl Check<'_> {
    /// `None` if there is a finding; there can be findings beside an answer, too.
    fn run(&mut self) -> Option<Proved> {
        let note = self.text(CHECKPOINT_PATH);
        let leaves = self.leaves();
        let snapshots = self.bodies();
        if self.files.get(README_PATH).is_none_or(|text| text != README.as_bytes()) {
            self.findings.push(ExportFinding::FileAltered(README_PATH.to_owned()));
        }
        let note = note?;
        let (checkpoint, origin, witnesses) = self.checkpoint(&note)?;
        let leaves = leaves?;
        self.tree(&leaves, &checkpoint);
        let log = ConfigLog::read(&leaves);
        self.history(&log, &snapshots);
        self.proofs(&log, &leaves, &note, &checkpoint);
        self.file_names(&log);
        let listed = manifest(self.files, &checkpoint).unwrap_or_default();
        if self.files.get(MANIFEST_PATH).is_none_or(|found| found != listed.as_bytes()) {
            self.findings.push(ExportFinding::FileAltered(MANIFEST_PATH.to_owned()));
        }
        let until = leaves.last().and_then(|leaf| time_of(&leaf.body));
        let counts = log.subjects().map(|subject| (subject.clone(), log.of(subject).len())).collect();
        Some(Proved { origin, checkpoint, until, snapshots: counts, witnesses })
    }

    fn text(&mut self, path: &str) -> Option<String> {
        let Some(bytes) = self.files.get(path) else {
            self.findings.push(ExportFinding::FileMissing(path.to_owned()));
            return None;
        };
        let text = String::from_utf8(bytes.clone()).ok();
        if text.is_none() {
            self.findings.push(ExportFinding::FileAltered(path.to_owned()));
        }
        text
    }

    fn leaves(&mut self) -> Option<Vec<LogLeaf>> {
        let text = self.text(LEAVES_PATH)?;
        if !text.is_empty() && !text.ends_with('\n') {
            self.findings.push(ExportFinding::FileAltered(LEAVES_PATH.to_owned()));
        }
        let lines = (0..).zip(text.split_terminator('\n'));
        Some(lines.map(|(index, line)| LogLeaf { index, body: line.as_bytes().to_vec() }).collect())
    }

    /// Every snapshot whose file is named after what it holds.
    fn bodies(&mut self) -> Vec<Snapshot> {
        let mut snapshots = Vec::new();
        for (path, bytes) in self.files.iter().filter(|(path, _)| path.starts_with("bodies/")) {
            let found = Digest::of(bytes);
            if *path != body_path(&found) {
                let path = shown(path);
                self.findings.push(ExportFinding::BodyAltered { path, found });
                continue;
            }
            match Snapshot::parse(&String::from_utf8_lossy(bytes)) {
                Ok(snapshot) => snapshots.push(snapshot),
                Err(reason) => {
                    self.findings
                        .push(ExportFinding::BodyUnreadable { path: path.clone(), reason: Box::new(reason) });
                }
            }
        }
        snapshots
    }

    fn checkpoint(&mut self, note: &str) -> Option<(Checkpoint, Origin, Vec<String>)> {
        let (checkpoint, note) = Checkpoint::parse_signed(note)
            .map_err(|error| self.findings.push(ExportFinding::CheckpointUnreadable(error)))
            .ok()?;
        let witnesses = match self.policy.map(|policy| policy.check(&checkpoint, &note)) {
            Some(Ok(endorsement)) => endorsement.witnesses,
            Some(Err(failure)) => {
                self.findings.push(ExportFinding::NotTrusted(failure));
                Vec::new()
            }
            None => Vec::new(),
        };
        let of_config = |origin: &Origin| {
            origin.log().stream() == LogId::CONFIG && *origin.log().owner() == TenantOrArchive::Archive
        };
        let Some(origin) = checkpoint.origin.parse().ok().filter(of_config) else {
            self.findings.push(ExportFinding::OtherLog(shown(&checkpoint.origin)));
            return None;
        };
        Some((checkpoint, origin, witnesses))
    }

    /// All leaves are here, and so none was left out or put in: the tree is computed from them.
    fn tree(&mut self, leaves: &[LogLeaf], checkpoint: &Checkpoint) {
        let hashes: Vec<_> = leaves.iter().map(|leaf| tree::leaf_hash(&leaf.body)).collect();
        let (size, found) = (checkpoint.size, hashes.len() as u64);
        if found != size {
            self.findings.push(ExportFinding::LeavesMissing { size, found });
        } else if tree::root_of(&hashes) != checkpoint.root {
            self.findings.push(ExportFinding::RootDiffers);
        }
        let Some(earlier) = self.earlier else { return };
        let (earlier, note) = match Checkpoint::parse_signed(earlier) {
            Ok(earlier) => earlier,
            Err(error) => return self.findings.push(ExportFinding::EarlierUnreadable(error)),
        };
        if let Some(Err(failure)) = self.policy.map(|policy| policy.check(&earlier, &note)) {
            self.findings.push(ExportFinding::EarlierNotTrusted(failure));
        }
        let covered = usize::try_from(earlier.size).ok().and_then(|size| hashes.get(..size));
        let extends = covered.is_some_and(|hashes| tree::root_of(hashes) == earlier.root);
        if earlier.origin != checkpoint.origin || !extends {
            self.findings.push(ExportFinding::NotSince { earlier: earlier.size, size });
        }
    }

    fn history(&mut self, log: &ConfigLog, snapshots: &[Snapshot]) {
        let mut findings = log.findings().to_vec();
        let by_digest: BTreeMap<Digest, &Snapshot> = snapshots.iter().map(|s| (s.digest(), s)).collect();
        let mut recorded_digests = BTreeSet::new();
        for recorded in log.subjects().map(|subject| log.of(subject)) {
            check_recorded(recorded, &by_digest, &mut findings);
            for recorded in recorded {
                let (index, sha256) = (recorded.index, recorded.leaf.sha256);
                recorded_digests.insert(sha256);
                if !by_digest.contains_key(&sha256) {
                    findings.push(Finding::BodyMissing { index, sha256 });
                }
            }
        }
        self.findings.extend(findings.into_iter().map(ExportFinding::History));
        let unrecorded = by_digest.keys().filter(|sha256| !recorded_digests.contains(sha256));
        self.findings.extend(unrecorded.map(|sha256| ExportFinding::BodyUnrecorded(body_path(sha256))));
    }

    /// The proofs say nothing that the leaves do not; whoever takes one out of the export relies on it.
    fn proofs(&mut self, log: &ConfigLog, leaves: &[LogLeaf], note: &str, checkpoint: &Checkpoint) {
        for index in recorded_indices(log) {
            let Some(text) = self.text(&proof_path(index)) else { continue };
            let proof = match LeafProof::parse(&text) {
                Ok(proof) => proof,
                Err(reason) => {
                    self.findings.push(ExportFinding::ProofUnreadable { index, reason });
                    continue;
                }
            };
            let leaf = leaves.get(index as usize).map(|leaf| &leaf.body);
            if proof.index != index || Some(&proof.leaf) != leaf || proof.checkpoint_note != note {
                self.findings.push(ExportFinding::ProofElsewhere(index));
            }
            let hash = tree::leaf_hash(&proof.leaf);
            let inclusion =
                tree::verify_inclusion(&hash, proof.index, checkpoint.size, &proof.hashes, &checkpoint.root);
            if let Err(reason) = inclusion {
                self.findings.push(ExportFinding::NotInTree { index, reason });
            }
        }
    }

    /// Bodies were looked at by their content; nothing else may be there.
    fn file_names(&mut self, log: &ConfigLog) {
        let fixed = [README_PATH, MANIFEST_PATH, CHECKPOINT_PATH, LEAVES_PATH];
        let mut allowed: BTreeSet<String> = recorded_indices(log).into_iter().map(proof_path).collect();
        allowed.extend(fixed.map(str::to_owned));
        let foreign =
            self.files.keys().filter(|path| !path.starts_with("bodies/") && !allowed.contains(*path));
        self.findings.extend(foreign.map(|path| ExportFinding::FileUnexpected(shown(path))));
    }
}

fn recorded_indices(log: &ConfigLog) -> BTreeSet<u64> {
    log.subjects().flat_map(|subject| log.of(subject)).map(|recorded| recorded.index).collect()
}

/// A leaf's time, of whatever kind it is.
fn time_of(leaf: &[u8]) -> Option<Timestamp> {
    let leaf: Value = serde_json::from_slice(leaf).ok()?;
    leaf["time"].as_str()?.parse().ok()
}
