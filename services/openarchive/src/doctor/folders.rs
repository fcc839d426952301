use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use openarchive_trust::is_exposed;
use rustix::process::geteuid;

use super::Finding;
use crate::{
    config::{AllConfig, RoleConfig},
    layout::KEYS_FOLDER,
};

/// Less free space than this is warned about, in bytes.
const FREE_BYTES_MIN: u64 = 1 << 30;

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

fn writable(about: &'static str, folder: &Path) -> Finding {
    let shown = folder.display();
    // What is not there yet is made at the first start, so its nearest ancestor is tried.
    let Some(there) = folder.ancestors().find(|ancestor| ancestor.is_dir()) else {
        return Finding::bad(about, format!("{shown} is in no folder"), "give a folder");
    };
    let probe = there.join(format!(".openarchive-doctor-{}", std::process::id()));
    let tried = fs::write(&probe, b"probe").and_then(|()| fs::remove_file(&probe));
    if let Err(error) = tried {
        let remedy = "give this user the right to write there";
        return Finding::bad(about, format!("{} cannot be written: {error}", there.display()), remedy);
    }
    let Ok(space) = rustix::fs::statvfs(there) else {
        return Finding::warning(about, format!("{shown}: its free space is not known"), "");
    };
    let free = space.f_bavail * space.f_frsize;
    if free < FREE_BYTES_MIN {
        let what = format!("{shown} has {} MiB left", free >> 20);
        return Finding::warning(about, what, "make room: a full disk stops the archive");
    }
    Finding::good(about, format!("{shown} can be written, {} GiB free", free >> 30))
}

pub(super) fn keys(folder: &Path) -> Finding {
    const ABOUT: &str = "keys";
    let shown = folder.display();
    let Ok(entries) = fs::read_dir(folder) else {
        return match folder.try_exists() {
            Ok(false) => Finding::warning(
                ABOUT,
                format!("{shown} is not there yet: the first start makes the keys"),
                "",
            ),
            _ => Finding::bad(
                ABOUT,
                format!("{shown} cannot be read"),
                "let trust's user, and nobody else, read it",
            ),
        };
    };
    let exposed = |path: &Path| {
        fs::metadata(path).is_ok_and(|file| file.is_file() && is_exposed(&file).unwrap_or(true))
    };
    // A folder of root's, as Kubernetes mounts it, protects nothing: its files do.
    let enterable = fs::metadata(folder)
        .is_ok_and(|folder| folder.uid() == geteuid().as_raw() && folder.mode() & 0o077 != 0);
    let open = entries.flatten().map(|entry| entry.path()).find(|path| exposed(path));
    match open {
        Some(path) => {
            let remedy = format!("chmod go= {}", path.display());
            Finding::bad(ABOUT, format!("others than their owner may read {}", path.display()), remedy)
        }
        None if enterable => Finding::bad(
            ABOUT,
            format!("others than its owner may enter {shown}"),
            format!("chmod go= {shown}"),
        ),
        None => Finding::good(ABOUT, format!("only their owner may read the keys in {shown}")),
    }
}
