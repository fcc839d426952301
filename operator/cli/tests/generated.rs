//! What the binary prints is what is committed; `OPENARCHIVE_WRITE_GENERATED=1` writes it instead (`make gen`).

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use openarchive_operator_api::Kind;
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// An API server takes no object beyond 1.5 MB, `kubectl apply` keeps a second copy of at most 262,144 bytes.
const CRD_BYTES_MAX: usize = 200_000;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn printed(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_openarchive-operator")).args(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn is_fresh(file: &Path, text: &str) {
    if env::var_os("OPENARCHIVE_WRITE_GENERATED").is_some() {
        fs::write(file, text).unwrap();
    }
    let committed = fs::read_to_string(file).unwrap_or_default();
    assert!(committed == text, "{} is stale: make gen", file.display());
}

fn crd_file(kind: Kind) -> PathBuf {
    root().join(format!("crds/{}.openarchive.dev.yaml", kind.plural()))
}

#[test]
fn the_committed_definitions_are_fresh_and_small() {
    for kind in Kind::ALL {
        let yaml = printed(&["crd", "--kind", kind.name()]);
        assert!(yaml.len() < CRD_BYTES_MAX, "{kind:?} has {} bytes", yaml.len());
        is_fresh(&crd_file(kind), &yaml);
    }
}

#[test]
fn the_committed_definitions_say_in_yaml_what_the_code_says() {
    for kind in Kind::ALL {
        let yaml = fs::read_to_string(crd_file(kind)).unwrap();
        let read: serde_json::Value = serde_saphyr::from_str(&yaml).unwrap();
        assert_eq!(read, serde_json::to_value(kind.crd()).unwrap(), "{kind:?}");
    }
}

#[test]
fn all_definitions_are_those_of_every_kind() {
    let each: String = Kind::ALL.iter().map(|kind| printed(&["crd", "--kind", kind.name()])).collect();
    assert_eq!(printed(&["crd"]), each);
}

#[test]
fn the_committed_reference_is_fresh() {
    let folder = tempfile::tempdir().unwrap();
    printed(&["docs", "--out", folder.path().to_str().unwrap()]);
    for kind in Kind::ALL {
        let name = format!("{}.md", kind.name().to_lowercase());
        let page = fs::read_to_string(folder.path().join(&name)).unwrap();
        assert_eq!(page, printed(&["docs", "--kind", kind.name()]));
        is_fresh(&root().join("docs/reference").join(name), &page);
    }
}
