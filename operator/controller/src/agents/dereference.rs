//! Reads the archive that an agent names, and what the agent has in the cluster.

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt};
use openarchive_operator_api::{ArchiveCore, EdgeAgent, Placement};
use openarchive_operator_pki::SecretData;

use crate::{
    Context, Halt, Reason,
    archive::{ValidArchive, operator_secret, secret_data, validate},
    objects::{Objects, find_of_agent, list, selector_of_agent},
};

/// The cluster around one agent, of the moment.
pub(super) struct World {
    pub(super) archive: ArchiveCore,
    pub(super) valid: ValidArchive,
    /// Data of the operator's own leaf in this archive. `None`: not issued yet.
    pub(super) operator: Option<SecretData>,
    pub(super) live: Objects,
}

/// `None`: there is no such archive, or it is being deleted.
pub(super) async fn archive_of(context: &Context, agent: &EdgeAgent) -> Result<Option<ArchiveCore>, Halt> {
    let namespace = agent.namespace().unwrap_or_default();
    let name = &agent.spec.archive_ref.name;
    let api: Api<ArchiveCore> = Api::namespaced(context.client.clone(), &namespace);
    let found = api.get_opt(name).await;
    let found = found.map_err(|error| Halt::kubernetes(format!("get ArchiveCore {name}"), error))?;
    Ok(found.filter(|archive| archive.metadata.deletion_timestamp.is_none()))
}

pub(super) async fn dereference(context: &Context, agent: &EdgeAgent) -> Result<World, Halt> {
    let namespace = agent.namespace().unwrap_or_default();
    let archive = archive_of(context, agent).await?.ok_or_else(|| {
        let name = &agent.spec.archive_ref.name;
        let message = format!(
            "there is no ArchiveCore {name} in namespace {namespace}: make it, or correct archiveRef"
        );
        Halt::terminal(Reason::ReferenceNotFound, message)
    })?;
    // Which NetworkPolicySet counts is the archive's own question.
    let valid = validate(&archive, &[])?;
    let secret = operator_secret(&valid);
    let api: Api<Secret> = Api::namespaced(context.client.clone(), &namespace);
    let operator = api
        .get_opt(&secret)
        .await
        .map_err(|error| Halt::kubernetes(format!("get Secret {secret}"), error))?;
    let live = match agent.spec.placement {
        Placement::InCluster => {
            find_of_agent(&context.client, &namespace, &valid.name, &agent.name_any()).await?
        }
        // It has nothing in the cluster but its bundle.
        Placement::External => Objects {
            secrets: list(&context.client, &namespace, &selector_of_agent(&valid.name, &agent.name_any()))
                .await?,
            ..Objects::default()
        },
    };
    Ok(World { archive, valid, operator: operator.as_ref().map(secret_data), live })
}
