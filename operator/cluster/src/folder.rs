use std::{
    io::Write as _,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
};

use anyhow::Context;

/// Reads until the test's process is gone, and removes the folder unless told to keep it. Servers that die at the same moment
/// may still write: hence the second attempt.
const REMOVER: &str = r#"read -r word; [ "$word" = keep ] || rm -rf -- "$1" || { sleep 1; rm -rf -- "$1"; }"#;

/// A data folder that goes away with this process, whatever ends it (SIGKILL, or a `static` that is never dropped), but stays
/// after a failed test.
pub(crate) struct Folder {
    path: PathBuf,
    remover: Child,
    kept: AtomicBool,
}

impl Folder {
    pub(crate) fn create() -> anyhow::Result<Self> {
        let path = tempfile::Builder::new().prefix("oa-kubernetes-").tempdir_in("/var/tmp")?.keep();
        // A process group of its own: what stops the test (Ctrl-C, timeout) must not stop the remover.
        let remover = Command::new("sh")
            .args(["-c", REMOVER, "sh"])
            .arg(&path)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start sh")?;
        Ok(Self { path, remover, kept: AtomicBool::new(false) })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The folder stays when this process ends; says where.
    pub(crate) fn keep(&self) {
        if !self.kept.swap(true, Ordering::Relaxed) {
            eprintln!("the failed test's cluster is kept in {}", self.path.display());
            if let Some(mut pipe) = self.remover.stdin.as_ref() {
                let _ = pipe.write_all(b"keep\n");
            }
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // The end of its input.
        self.remover.stdin.take();
        let _ = self.remover.wait();
    }
}
