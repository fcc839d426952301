//! Offline: nothing but the files at hand.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use openarchive_domain::{Digest, DigestHasher};
use openarchive_ledger::{policy::POLICY_BYTES_MAX, shred_certificate::SHRED_CERTIFICATE_BYTES_MAX};
use openarchive_verify::{Outcome, verify_message, verify_shred};
use serde_json::Value;

use crate::{
    arguments::{Format, VerifyArguments, VerifyShredArguments},
    failure::Failure,
    file,
    output::{self, Colour},
    terminal,
};

/// Longest proof that is read, in bytes: a leaf, its openings, and a note, many times over.
const PROOF_BYTES_MAX: u64 = 1024 * 1024;

/// Answers the exit code of the outcome.
pub(crate) fn run(arguments: &VerifyArguments) -> Result<u8, Failure> {
    let message = digest(&arguments.mail)?;
    let proof = text(&arguments.proof, PROOF_BYTES_MAX)?;
    let report = verify_message(message, &proof, policy(arguments.policy.as_deref())?.as_deref());
    show(report.outcome(), arguments.list.format, || report.to_json(), &report.to_string())
}

/// Answers the exit code of the outcome.
pub(crate) fn run_shred(arguments: &VerifyShredArguments) -> Result<u8, Failure> {
    let certificate = text(&arguments.certificate, SHRED_CERTIFICATE_BYTES_MAX as u64)?;
    let receipt = arguments.receipt.as_deref().map(|path| text(path, PROOF_BYTES_MAX)).transpose()?;
    let policy = policy(arguments.policy.as_deref())?;
    let report = verify_shred(&certificate, policy.as_deref(), receipt.as_deref());
    show(report.outcome(), arguments.list.format, || report.to_json(), &report.to_string())
}

fn policy(path: Option<&Path>) -> Result<Option<String>, Failure> {
    path.map(|path| text(path, POLICY_BYTES_MAX as u64)).transpose()
}

/// `text` is the report for people; its first line is its outcome.
fn show(outcome: Outcome, format: Format, json: impl FnOnce() -> Value, text: &str) -> Result<u8, Failure> {
    let colour = match outcome {
        Outcome::Verified => Colour::Green,
        Outcome::Failed => Colour::Red,
        Outcome::ConsistentNotAnchored => Colour::Yellow,
    };
    match format {
        Format::Json => output::say(&terminal::json(&json()))?,
        Format::Table => {
            let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
            output::say(&format!("{}\n{rest}", output::painted(first, colour, output::is_terminal())))?;
        }
    }
    Ok(outcome.exit_code())
}

fn digest(path: &Path) -> Result<Digest, Failure> {
    let mut hasher = DigestHasher::default();
    let hash = || -> io::Result<()> {
        let mut file = File::open(path)?;
        let mut piece = vec![0; 64 * 1024];
        loop {
            match file.read(&mut piece) {
                Ok(0) => return Ok(()),
                Ok(length) => hasher.update(&piece[..length]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    };
    let mut hash = hash;
    hash().map_err(|error| Failure::file("cannot read", path, &error))?;
    Ok(hasher.finish())
}

/// Whatever is no text is no proof, no certificate and no policy either: the verifier says so.
fn text(path: &Path, bytes_max: u64) -> Result<String, Failure> {
    Ok(String::from_utf8_lossy(&file::read(path, bytes_max)?).into_owned())
}
