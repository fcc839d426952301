//! Volumes for claims, as an external provisioner makes them. Binding is the real controller's.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams},
    runtime::controller::Action,
};
use serde_json::json;

use super::{Context, NodeStandIn, PROVISIONER, unless_outdated};

/// The real controller writes here who has to provision a claim, and external provisioners what they made.
const ASKED: &str = "volume.kubernetes.io/storage-provisioner";
const MADE_BY: &str = "pv.kubernetes.io/provisioned-by";

/// Makes the volume that a claim asks us for, reserved for this claim.
pub(super) async fn provision(
    claim: Arc<PersistentVolumeClaim>,
    context: Arc<Context>,
) -> Result<Action, kube::Error> {
    let asked = claim.annotations().get(ASKED).is_some_and(|provisioner| provisioner == PROVISIONER);
    let (Some(spec), Some(uid)) = (&claim.spec, claim.uid()) else { return Ok(Action::await_change()) };
    if !asked || spec.volume_name.is_some() || claim.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let name = format!("pvc-{uid}");
    let volume = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name, "annotations": {MADE_BY: PROVISIONER}},
        "spec": {
            "accessModes": spec.access_modes,
            "capacity": spec.resources.as_ref().and_then(|resources| resources.requests.as_ref()),
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": claim.namespace(),
                "name": claim.name_any(),
                "uid": uid,
            },
            "hostPath": {"path": format!("/nonexistent/{name}")},
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": spec.storage_class_name,
        },
    });
    let volumes: Api<PersistentVolume> = Api::all(context.client.clone());
    let apply = PatchParams::apply(NodeStandIn::USER).force();
    unless_outdated(volumes.patch(&name, &apply, &Patch::Apply(volume)).await)?;
    Ok(Action::await_change())
}

/// Deletes a volume of ours whose claim is gone.
pub(super) async fn reclaim(
    volume: Arc<PersistentVolume>,
    context: Arc<Context>,
) -> Result<Action, kube::Error> {
    let ours = volume.annotations().get(MADE_BY).is_some_and(|provisioner| provisioner == PROVISIONER);
    let phase = volume.status.as_ref().and_then(|status| status.phase.as_deref());
    if ours && phase == Some("Released") && volume.metadata.deletion_timestamp.is_none() {
        let volumes: Api<PersistentVolume> = Api::all(context.client.clone());
        unless_outdated(volumes.delete(&volume.name_any(), &DeleteParams::default()).await)?;
    }
    Ok(Action::await_change())
}
