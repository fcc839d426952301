//! Removes what was built once and is built no longer. Never mail: volumes, and Secrets that hold keys, stay.

use futures::{FutureExt as _, future::BoxFuture};
use kube::{Api, Client, ResourceExt, api::DeleteParams};

use crate::{
    Context, Halt,
    objects::{Kind, Objects, Step, named},
};

/// Names of those that were removed.
pub(crate) async fn prune(
    context: &Context,
    namespace: &str,
    built: &Objects,
    live: &Objects,
) -> Result<Vec<String>, Halt> {
    let mut pruning = Pruning { context, namespace, removals: Vec::new() };
    Objects::each(built, live, &mut pruning).await?;
    let mut removed = Vec::new();
    // Pods before what they use.
    for removal in pruning.removals.into_iter().rev() {
        removed.extend(removal.await?);
    }
    Ok(removed)
}

struct Pruning<'a> {
    context: &'a Context,
    namespace: &'a str,
    removals: Vec<BoxFuture<'static, Result<Option<String>, Halt>>>,
}

impl Step for Pruning<'_> {
    async fn kind<K: Kind>(&mut self, built: &[K], live: &[K]) -> Result<Vec<K>, Halt> {
        // Keys and certificates are never pruned: whoever deletes a key deletes mail.
        if K::kind(&()) != "Secret" {
            for name in left_over(built, live) {
                let client = self.context.client.clone();
                self.removals.push(remove::<K>(client, self.namespace.to_owned(), name).boxed());
            }
        }
        Ok(Vec::new())
    }
}

/// Removes objects of one kind that are built no longer.
pub(crate) async fn prune_kind<K: Kind>(
    context: &Context,
    namespace: &str,
    built: &[K],
    live: &[K],
) -> Result<(), Halt> {
    for name in left_over(built, live) {
        remove::<K>(context.client.clone(), namespace.to_owned(), name).await?;
    }
    Ok(())
}

fn left_over<K: Kind>(built: &[K], live: &[K]) -> Vec<String> {
    let standing = live.iter().filter(|object| object.meta().deletion_timestamp.is_none());
    standing.map(K::name_any).filter(|name| named(built, name).is_none()).collect()
}

/// Its name, if it was there.
async fn remove<K: Kind>(client: Client, namespace: String, name: String) -> Result<Option<String>, Halt> {
    let api: Api<K> = Api::namespaced(client, &namespace);
    match api.delete(&name, &DeleteParams::background()).await {
        Ok(_) => Ok(Some(name)),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(Halt::kubernetes(format!("delete {} {name}", K::kind(&())), error)),
    }
}
