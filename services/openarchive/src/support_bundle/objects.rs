//! A local object store by its numbers. Names of objects stay out, but for those of logs, which name their tenants.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use openarchive_ledger::checkpoint::Checkpoint;
use serde_json::{Value, json};

/// Files that are looked at, at most: a bundle is made in a minute, of whatever archive.
const FILES_MAX: u64 = 1_000_000;

#[derive(Default)]
struct Kind {
    count: u64,
    bytes: u64,
}

/// Objects by the first part of their names, and what each log's published checkpoint says.
pub(super) fn of_folder(root: &Path) -> Value {
    of_files(root, FILES_MAX)
}

fn of_files(root: &Path, files_max: u64) -> Value {
    let mut kinds: BTreeMap<String, Kind> = BTreeMap::new();
    let mut logs = Vec::new();
    let mut seen: u64 = 0;
    let mut folders: Vec<PathBuf> = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let path = entry.path();
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                folders.push(path);
                continue;
            }
            seen += 1;
            if seen > files_max {
                break;
            }
            let Some(first) = path.strip_prefix(root).ok().and_then(|path| path.components().next()) else {
                continue;
            };
            let kind = kinds.entry(first.as_os_str().to_string_lossy().into_owned()).or_default();
            kind.count += 1;
            kind.bytes += metadata.len();
            if path.file_name().is_some_and(|name| name == "checkpoint") {
                logs.push(log(&path));
            }
        }
    }
    logs.sort_by_key(ToString::to_string);
    let kinds: BTreeMap<String, Value> = kinds
        .into_iter()
        .map(|(kind, Kind { count, bytes })| (kind, json!({ "objects": count, "bytes": bytes })))
        .collect();
    json!({ "is_whole": seen <= files_max, "by_kind": kinds, "logs": logs })
}

fn log(path: &Path) -> Value {
    let note = fs::read_to_string(path).unwrap_or_default();
    match Checkpoint::parse_signed(&note) {
        Ok((checkpoint, _)) => json!({ "origin": checkpoint.origin, "size": checkpoint.size }),
        Err(error) => json!({ "unreadable": error.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_counted_by_kind_up_to_a_limit_that_is_told() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["packs/acme/1.enc", "packs/acme/2.enc", "ledger/acme/evidence/1/checkpoint"] {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "four").unwrap();
        }
        let all = of_files(folder.path(), 3);
        assert_eq!(all["is_whole"], true);
        assert_eq!(all["by_kind"]["packs"], json!({ "objects": 2, "bytes": 8 }));
        // What is no checkpoint is said to be none, and not shown.
        assert!(all["logs"][0]["unreadable"].is_string() && !all.to_string().contains("four"));
        assert_eq!(of_files(folder.path(), 2)["is_whole"], false);
        assert_eq!(of_folder(&folder.path().join("absent"))["by_kind"], json!({}));
    }
}
