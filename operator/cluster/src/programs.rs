use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

/// The folder with etcd, kube-apiserver, kube-controller-manager and kubectl, which `scripts/kubernetes.sh` finds or builds.
/// Its progress goes to this process's standard error. The error says why they cannot be had.
pub(crate) fn programs() -> Result<PathBuf, String> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/kubernetes.sh");
    let output = Command::new(script)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cannot run {script}: {error}"))?;
    if !output.status.success() {
        return Err("the programs of Kubernetes cannot be had: scripts/kubernetes.sh says why".to_owned());
    }
    Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}
