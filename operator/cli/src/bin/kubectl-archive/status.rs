//! `status`: what the operator says of every object of ours.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use openarchive_operator_api::{
    ArchiveCore, ConditionType, Conditions, EdgeAgent, NetworkPolicySet, RetentionPolicy,
};
use std::process::ExitCode;

use crate::{cluster, text};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only this archive and what refers to it
    archive: Option<String>,
}

const COLUMNS: [&str; 5] = ["KIND", "NAME", "READY", "REASON", "MESSAGE"];
type Line = [String; COLUMNS.len()];

pub(crate) async fn run(cluster: &cluster::Args, args: &Args) -> anyhow::Result<ExitCode> {
    let cluster = cluster.connect().await?;
    let wanted = |archive: &str| args.archive.as_deref().is_none_or(|wanted| wanted == archive);
    let mut lines = Vec::new();
    for core in cluster.list::<ArchiveCore>("").await?.iter().filter(|core| wanted(&core.name_any())) {
        lines.extend(archive(core));
    }
    for agent in
        cluster.list::<EdgeAgent>("").await?.iter().filter(|agent| wanted(&agent.spec.archive_ref.name))
    {
        let conditions = agent.status.as_ref().map(|status| status.conditions.as_slice());
        lines.push(line(agent, "EdgeAgent", conditions));
    }
    for policy in cluster.list::<RetentionPolicy>("").await? {
        if wanted(&policy.spec.archive_ref.name) {
            let conditions = policy.status.as_ref().map(|status| status.conditions.as_slice());
            lines.push(line(&policy, "RetentionPolicy", conditions));
        }
    }
    for set in cluster.list::<NetworkPolicySet>("").await? {
        if wanted(&set.spec.archive_ref.name) {
            let conditions = set.status.as_ref().map(|status| status.conditions.as_slice());
            lines.push(line(&set, "NetworkPolicySet", conditions));
        }
    }
    text::say(&text::table(COLUMNS, lines))?;
    Ok(ExitCode::SUCCESS)
}

/// The archive, and each service that is not as it should be.
fn archive(core: &ArchiveCore) -> Vec<Line> {
    let status = core.status.as_ref();
    let mut lines = vec![line(core, "ArchiveCore", status.map(|status| status.conditions.as_slice()))];
    for service in status.into_iter().flat_map(|status| &status.services) {
        let Some(waiting_for) = &service.waiting_for else { continue };
        lines.push([
            "  service".to_owned(),
            service.name.clone(),
            format!("{}/{}", service.ready, service.desired),
            "Waiting".to_owned(),
            waiting_for.clone(),
        ]);
    }
    lines
}

fn line<K: ResourceExt>(object: &K, kind: &str, conditions: Option<&[Condition]>) -> Line {
    let ready = conditions.and_then(|conditions| conditions.of_type(ConditionType::Ready));
    let (status, reason, message) = match ready {
        Some(ready) => (ready.status.clone(), ready.reason.clone(), ready.message.clone()),
        None => ("Unknown".to_owned(), String::new(), "the operator has not seen it yet".to_owned()),
    };
    [kind.to_owned(), object.name_any(), status, reason, message]
}
