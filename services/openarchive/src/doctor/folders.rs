use std::{
    fs::{self, ReadDir},
    io::ErrorKind,
    os::unix::fs::MetadataExt as _,
    path::{self, Path},
};

use openarchive_trust::{Keys, KeysError, is_exposed};
use rustix::process::geteuid;

use super::Finding;
use crate::{
    config::{AllConfig, RoleConfig},
    layout::KEYS_FOLDER,
};

/// Less free space than this is warned about, in bytes.
pub(super) const FREE_BYTES_MIN: u64 = 1 << 30;
const KEYS: &str = "keys";

pub(super) fn examine(config: &RoleConfig) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(objects) = &config.objects {
        findings.push(writable("objects", objects));
    }
    if let Some(data_dir) = &config.data_dir {
        findings.push(writable("dataDir", data_dir));
    }
    if let Some(trust) = &config.trust {
        findings.push(keys(&trust.keys));
    }
    findings
}

pub(super) fn examine_all(config: &AllConfig) -> Vec<Finding> {
    let own = config.data_dir.join(KEYS_FOLDER);
    vec![
        writable("dataDir", &config.data_dir),
        writable("tmpDir", &config.tmp_dir),
        keys(config.keys.as_deref().unwrap_or(&own)),
    ]
}

/// A relative `folder` is in the one where doctor runs, as it is where a role is started there.
pub(super) fn writable(about: &'static str, folder: &Path) -> Finding {
    let shown = folder.display();
    let Ok(whole) = path::absolute(folder) else {
        return Finding::bad(about, format!("{shown} is not a path"), "give a folder");
    };
    // What is not there yet is made at the first start, so its nearest ancestor is tried.
    let there = whole.ancestors().find(|ancestor| ancestor.symlink_metadata().is_ok()).unwrap_or(&whole);
    if !there.is_dir() {
        return Finding::bad(about, format!("{} is not a folder", there.display()), "give a folder");
    }
    let probe = there.join(format!(".openarchive-doctor-{}", std::process::id()));
    let tried = fs::write(&probe, b"probe").and_then(|()| fs::remove_file(&probe));
    if let Err(error) = tried {
        let remedy = "give this user the right to write there";
        return Finding::bad(about, format!("{} cannot be written: {error}", there.display()), remedy);
    }
    match rustix::fs::statvfs(there) {
        Ok(space) => room(about, folder, space.f_bavail * space.f_frsize),
        Err(_) => Finding::warning(about, format!("{shown}: its free space is not known"), ""),
    }
}

/// `free`: in bytes.
pub(super) fn room(about: &'static str, folder: &Path, free: u64) -> Finding {
    let shown = folder.display();
    if free < FREE_BYTES_MIN {
        let what = format!("{shown} has {} MiB left", free >> 20);
        return Finding::warning(about, what, "make room: a full disk stops the archive");
    }
    Finding::good(about, format!("{shown} can be written, {} GiB free", free >> 30))
}

pub(super) fn keys(folder: &Path) -> Finding {
    let shown = folder.display();
    match fs::read_dir(folder) {
        Ok(entries) => private(folder, entries).unwrap_or_else(|| complete(folder)),
        Err(error) if error.kind() == ErrorKind::NotFound => not_yet(folder),
        Err(error) => Finding::bad(
            KEYS,
            format!("{shown} cannot be read: {error}"),
            "let trust's user, and nobody else, read it",
        ),
    }
}

/// What is wrong with who may read `folder`.
fn private(folder: &Path, entries: ReadDir) -> Option<Finding> {
    let shown = folder.display();
    let exposed = |path: &Path| {
        fs::metadata(path).is_ok_and(|file| file.is_file() && is_exposed(&file).unwrap_or(true))
    };
    if let Some(open) = entries.flatten().map(|entry| entry.path()).find(|path| exposed(path)) {
        let what = format!("others than their owner may read {}", open.display());
        return Some(Finding::bad(KEYS, what, format!("chmod go= {}", open.display())));
    }
    // A folder of root's, as Kubernetes mounts it, protects nothing: its files do.
    let enterable = fs::metadata(folder)
        .is_ok_and(|folder| folder.uid() == geteuid().as_raw() && folder.mode() & 0o077 != 0);
    enterable.then(|| {
        let what = format!("others than its owner may enter {shown}");
        Finding::bad(KEYS, what, format!("chmod go= {shown}"))
    })
}

/// Whether both keys are there and are keys.
fn complete(folder: &Path) -> Finding {
    match Keys::open(folder) {
        Ok(_) => Finding::good(KEYS, format!("only their owner may read the keys in {}", folder.display())),
        Err(KeysError::Missing { .. }) => not_yet(folder),
        Err(error) => {
            Finding::bad(KEYS, error.to_string(), "give trust the keys as its first start has made them")
        }
    }
}

fn not_yet(folder: &Path) -> Finding {
    let what = format!("the keys are not in {} yet: the first start makes them", folder.display());
    Finding::warning(KEYS, what, "")
}
