use std::{fs, path::Path};

use openarchive_operator_netpol::{Draft, build};

use crate::archives::{distributed, facts, standalone};

/// Compares with the committed file; `OPENARCHIVE_WRITE_GENERATED=1` writes it instead.
#[track_caller]
fn check(file: &str, draft: Draft) {
    let fresh = serde_saphyr::to_string_multiple(&build(&facts(draft))).unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(file);
    if std::env::var_os("OPENARCHIVE_WRITE_GENERATED").is_some() {
        fs::write(&path, &fresh).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(committed, fresh, "{} is stale: run `make gen` and look at the difference", path.display());
}

#[test]
fn the_policies_of_both_layouts_are_the_committed_ones() {
    check("standalone.yaml", standalone());
    check("distributed.yaml", distributed());
}
