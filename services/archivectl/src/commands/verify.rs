//! Offline: nothing but the files at hand.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use openarchive_domain::{Digest, DigestHasher};
use openarchive_ledger::policy::POLICY_BYTES_MAX;
use openarchive_verify::{Outcome, Report, verify_message};

use crate::{
    arguments::{Format, VerifyArguments},
    failure::Failure,
    output::{self, Colour},
    terminal,
};

/// Longest proof that is read, in bytes: a leaf, its openings, and a note, many times over.
const PROOF_BYTES_MAX: u64 = 1024 * 1024;

/// Answers the exit code of the outcome.
pub(crate) fn run(arguments: &VerifyArguments) -> Result<u8, Failure> {
    let message = digest(&arguments.mail)?;
    let proof = text(&arguments.proof, PROOF_BYTES_MAX)?;
    let policy = arguments.policy.as_deref().map(|path| text(path, POLICY_BYTES_MAX as u64)).transpose()?;
    let report = verify_message(message, &proof, policy.as_deref());
    match arguments.list.format {
        Format::Json => output::say(&terminal::json(&report.to_json()))?,
        Format::Table => output::say(&shown(&report))?,
    }
    Ok(report.outcome().exit_code())
}

/// The report's first line is its outcome.
fn shown(report: &Report) -> String {
    let colour = match report.outcome() {
        Outcome::Verified => Colour::Green,
        Outcome::Failed => Colour::Red,
        Outcome::ConsistentNotAnchored => Colour::Yellow,
    };
    let text = report.to_string();
    let (outcome, rest) = text.split_once('\n').unwrap_or((&text, ""));
    format!("{}\n{rest}", output::painted(outcome, colour, output::is_terminal()))
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

/// Whatever is no text is no proof and no policy either: the verifier says so.
fn text(path: &Path, bytes_max: u64) -> Result<String, Failure> {
    let failure = |error: &io::Error| Failure::file("cannot read", path, error);
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| failure(&error))?;
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(|error| failure(&error))?;
    if bytes.len() as u64 > bytes_max {
        return Err(Failure::other(format!("{} is too long: is it the right file?", path.display())));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
