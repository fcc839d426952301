//! One status write at the end of a pass, and none if nothing in it has changed.

use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
};
use serde::Serialize;
use serde_json::json;

use crate::{Context, Halt, objects::Kind};

/// Field manager of every status.
pub(crate) const STATUS_MANAGER: &str = "openarchive-operator-status";

/// Whether it was written.
pub(crate) async fn write_status<K: Kind, S: Serialize + PartialEq>(
    context: &Context,
    object: &K,
    old: Option<&S>,
    new: &S,
) -> Result<bool, Halt> {
    if old == Some(new) {
        return Ok(false);
    }
    let name = object.name_any();
    let namespace = object.namespace().unwrap_or_default();
    let api: Api<K> = Api::namespaced(context.client.clone(), &namespace);
    let patch = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": {"name": name},
        "status": new,
    });
    let parameters = PatchParams::apply(STATUS_MANAGER).force();
    match api.patch_status(&name, &parameters, &Patch::Apply(&patch)).await {
        Ok(_) => Ok(true),
        // It went meanwhile.
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
        Err(error) => Err(Halt::kubernetes(format!("write the status of {} {name}", K::kind(&())), error)),
    }
}
