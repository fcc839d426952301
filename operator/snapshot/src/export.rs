//! The configuration history of an archive in one tar file that anybody can check without us: all leaves of the
//! `config` log up to a signed checkpoint, the snapshots that they record, and an inclusion proof of each.

mod finding;
mod outcome;
mod read;
mod subtrees;
#[cfg(test)]
mod tests;
mod verify;

pub use finding::ExportFinding;
pub use outcome::{Outcome, Proved, SENTENCE_NOT_ANCHORED};
pub use verify::{verify_export, verify_export_since};

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write},
};

use openarchive_domain::Digest;
use openarchive_ledger::{
    checkpoint::{Checkpoint, CheckpointError},
    jcs::{self, JcsError},
    leaf_proof::LeafProof,
    tree::{self, ProofError, TreeError},
};
use serde_json::{Value, json};
use tar::{Builder, Header};

use crate::{
    log::{ConfigLog, LogLeaf, Recorded},
    snapshot::Snapshot,
};
use subtrees::Subtrees;

/// Largest export, in bytes of the tar file: it is checked in memory.
pub const EXPORT_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// Most files of an export: two for each recorded configuration, and four.
pub const EXPORT_FILES_MAX: usize = 200_000;

/// The folder that the files unpack into.
const FOLDER: &str = "openarchive-config-export";
/// Part of the format: whoever reads it does what it says, so it is compared. Another text is another version.
const README: &str = include_str!("export/README.md");
const README_PATH: &str = "README.md";
const MANIFEST_PATH: &str = "manifest.json";
const CHECKPOINT_PATH: &str = "checkpoint";
const LEAVES_PATH: &str = "leaves.jsonl";
const VERSION: u64 = 1;

const TAR_BLOCK_BYTES: u64 = 512;
/// Of every file, so that one history makes one file, byte for byte: 1980-01-01, in seconds since 1970.
const MTIME_SECONDS: u64 = 315_532_800;
/// Readable by all, in octal as tar has it.
const MODE: u32 = 0o644;

/// Why there is no export. Damage of the history itself is none: it is exported, and found by whoever checks.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("the checkpoint of the config log cannot be read: {0}")]
    Checkpoint(#[from] CheckpointError),
    #[error("the checkpoint is of {size} leaves, but {found} are at hand: read the log to its end")]
    LeavesMissing { size: u64, found: usize },
    #[error("leaf {0} is not canonical JSON: it has a line break")]
    LineBreak(u64),
    #[error(
        "the history is too large for one export: at most {EXPORT_FILES_MAX} files and {EXPORT_BYTES_MAX} bytes"
    )]
    TooLarge,
    #[error("no inclusion proof can be made: {0}")]
    Proof(#[from] ProofError<TreeError>),
    #[error("the manifest has no canonical form: {0}")]
    Manifest(#[from] JcsError),
    #[error("cannot write the export")]
    Io(#[from] io::Error),
}

/// What an export is made of.
#[derive(Debug, Clone, Copy)]
pub struct Export<'a> {
    /// The signed checkpoint of the `config` log, verbatim.
    pub checkpoint_note: &'a str,
    /// All leaves of the log from 0 on; those that the checkpoint does not cover yet are left out.
    pub leaves: &'a [LogLeaf],
    /// Of all objects; those that no exported leaf records are left out.
    pub snapshots: &'a [Snapshot],
}

impl Export<'_> {
    /// Writes a tar file. The same history under the same checkpoint gives the same bytes.
    pub fn write(&self, out: impl Write) -> Result<(), ExportError> {
        write_tar(&self.files()?, out)
    }

    fn files(&self) -> Result<BTreeMap<String, Vec<u8>>, ExportError> {
        let (checkpoint, _) = Checkpoint::parse_signed(self.checkpoint_note)?;
        let size = usize::try_from(checkpoint.size).ok();
        let missing = ExportError::LeavesMissing { size: checkpoint.size, found: self.leaves.len() };
        let leaves = size.and_then(|size| self.leaves.get(..size)).ok_or(missing)?;
        if let Some(leaf) = leaves.iter().find(|leaf| leaf.body.contains(&b'\n')) {
            return Err(ExportError::LineBreak(leaf.index));
        }
        let recorded = recorded(leaves);
        let mut files = BTreeMap::new();
        let lines: Vec<u8> = leaves.iter().flat_map(|leaf| leaf.body.iter().chain(b"\n")).copied().collect();
        files.insert(LEAVES_PATH.to_owned(), lines);
        files.insert(CHECKPOINT_PATH.to_owned(), self.checkpoint_note.as_bytes().to_vec());
        files.insert(README_PATH.to_owned(), README.as_bytes().to_vec());
        let wanted: BTreeSet<Digest> = recorded.iter().map(|recorded| recorded.leaf.sha256).collect();
        for snapshot in self.snapshots.iter().filter(|snapshot| wanted.contains(&snapshot.digest())) {
            files.insert(body_path(&snapshot.digest()), snapshot.canonical().as_bytes().to_vec());
        }
        let subtrees = Subtrees::of(leaves.iter().map(|leaf| tree::leaf_hash(&leaf.body)).collect());
        for Recorded { index, .. } in recorded {
            let proof = LeafProof {
                leaf: leaves.get(index as usize).map(|leaf| leaf.body.clone()).unwrap_or_default(),
                index,
                hashes: tree::inclusion_proof(index, checkpoint.size, &subtrees)?,
                checkpoint_note: self.checkpoint_note.to_owned(),
            };
            files.insert(proof_path(index), proof.to_text().into_bytes());
        }
        let manifest = manifest(&files, &checkpoint)?;
        files.insert(MANIFEST_PATH.to_owned(), manifest.into_bytes());
        Ok(files)
    }
}

/// Every configuration that the leaves record, by index.
fn recorded(leaves: &[LogLeaf]) -> Vec<Recorded> {
    let log = ConfigLog::read(leaves);
    let mut all: Vec<Recorded> = log.subjects().flat_map(|subject| log.of(subject)).cloned().collect();
    all.sort_by_key(|recorded| recorded.index);
    all
}

fn body_path(sha256: &Digest) -> String {
    format!("bodies/{}.json", sha256.hex())
}

fn proof_path(index: u64) -> String {
    format!("proofs/{index:020}.tlog-proof")
}

/// One line of canonical JSON: what the export is, and the length and digest of every other file. It repeats what the
/// files say, for readers; nothing in it has to be believed.
fn manifest(files: &BTreeMap<String, Vec<u8>>, checkpoint: &Checkpoint) -> Result<String, JcsError> {
    let listed = files.iter().filter(|(path, _)| *path != MANIFEST_PATH).map(|(path, bytes)| {
        json!({ "bytes": bytes.len(), "path": path, "sha256": Digest::of(bytes).to_string() })
    });
    let manifest = json!({
        "files": listed.collect::<Vec<Value>>(),
        "kind": FOLDER,
        "origin": checkpoint.origin,
        "root": checkpoint.root.to_string(),
        "size": checkpoint.size.to_string(),
        "v": VERSION,
    });
    Ok(jcs::canonicalize(&manifest)? + "\n")
}

const fn fits(files: usize, bytes: u64) -> bool {
    files <= EXPORT_FILES_MAX && bytes <= EXPORT_BYTES_MAX
}

fn write_tar(files: &BTreeMap<String, Vec<u8>>, out: impl Write) -> Result<(), ExportError> {
    // Each has a header and is padded; two blocks end the file.
    let bytes: u64 = files.values().map(|bytes| bytes.len() as u64 + 2 * TAR_BLOCK_BYTES).sum();
    if !fits(files.len(), bytes + 2 * TAR_BLOCK_BYTES) {
        return Err(ExportError::TooLarge);
    }
    let mut tar = Builder::new(out);
    for (path, bytes) in files {
        let mut header = Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(MODE);
        header.set_mtime(MTIME_SECONDS);
        header.set_uid(0);
        header.set_gid(0);
        tar.append_data(&mut header, format!("{FOLDER}/{path}"), bytes.as_slice())?;
    }
    tar.into_inner()?.flush()?;
    Ok(())
}
