//! `rbac`: the operator's rights, each with its reason.

use openarchive_operator_controller::rbac::RIGHTS;
use std::{io::Write, process::ExitCode};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A Role for this namespace instead of a ClusterRole
    #[arg(long, value_name = "NAMESPACE")]
    namespaced: Option<String>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    let (kind, namespace) = match &args.namespaced {
        None => ("ClusterRole", String::new()),
        Some(namespace) => ("Role", format!("  namespace: {}\n", serde_json::to_string(namespace)?)),
    };
    writeln!(
        out,
        "# What the operator may do, and why. Printed by `openarchive-operator rbac` (make gen).\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}\nmetadata:\n  name: openarchive-operator\n\
         {namespace}rules:"
    )?;
    for right in RIGHTS {
        // JSON is YAML, too.
        let (group, resource) =
            (serde_json::to_string(&[right.group])?, serde_json::to_string(&[right.resource])?);
        let verbs = serde_json::to_string(right.verbs)?;
        writeln!(out, "# {}\n- apiGroups: {group}\n  resources: {resource}\n  verbs: {verbs}", right.why)?;
    }
    Ok(ExitCode::SUCCESS)
}
