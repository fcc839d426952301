//! Generates the gRPC code and compares it with what is committed.
//! `OPENARCHIVE_WRITE_GENERATED=1` writes it instead (`make gen`).

use std::{
    fs,
    path::{Path, PathBuf},
};

fn protos(dir: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            protos(&path, found);
        } else if path.extension().is_some_and(|e| e == "proto") {
            found.push(path);
        }
    }
}

#[test]
fn generated_code_is_fresh() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    protos(&root.join("openarchive"), &mut files);
    let out = tempfile::tempdir().unwrap();
    let descriptors = protox::compile(&files, [root]).unwrap();
    tonic_prost_build::configure().out_dir(out.path()).bytes(".").compile_fds(descriptors).unwrap();

    let committed = root.join("src/generated");
    let write = std::env::var_os("OPENARCHIVE_WRITE_GENERATED").is_some();
    let mut names = Vec::new();
    for entry in fs::read_dir(out.path()).unwrap() {
        let entry = entry.unwrap();
        let fresh = fs::read_to_string(entry.path()).unwrap();
        let target = committed.join(entry.file_name());
        if write {
            fs::write(&target, &fresh).unwrap();
        } else {
            assert_eq!(
                fs::read_to_string(&target).unwrap_or_default(),
                fresh,
                "{} is stale: run `make gen` and commit the result",
                target.display()
            );
        }
        names.push(entry.file_name());
    }
    names.sort();
    let mut kept: Vec<_> = fs::read_dir(&committed).unwrap().map(|e| e.unwrap().file_name()).collect();
    kept.sort();
    assert_eq!(kept, names, "files under src/generated that no .proto makes");
}
