//! The program, as kubectl starts it.

use std::{
    path::Path,
    process::{Command, Output},
};

/// Nothing of this process's own settings for clusters reaches it.
pub(crate) fn command(kubeconfig: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-archive"));
    command.env("KUBECONFIG", kubeconfig).env_remove("KUBERNETES_SERVICE_HOST");
    command.env_remove("OPENARCHIVE_DIAL_OVERRIDE").args(args);
    command
}

pub(crate) fn plugin(kubeconfig: &Path, args: &[&str]) -> Output {
    command(kubeconfig, args).output().unwrap()
}

/// Exit status and what was printed.
pub(crate) fn said(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8(output.stdout.clone()).unwrap())
}

pub(crate) fn complained(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}
