use std::path::PathBuf;

/// A binary of this workspace, beside the test's own (`target/debug/deps/..` -> `target/debug/NAME`).
pub fn program(name: &str) -> PathBuf {
    let folder = std::env::current_exe().ok().and_then(|path| Some(path.parent()?.parent()?.to_owned()));
    let path = folder.unwrap_or_default().join(name);
    assert!(path.is_file(), "{} is not built: run `cargo build --workspace` first", path.display());
    path
}
