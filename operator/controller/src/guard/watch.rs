//! The watch of a kind: what can be read goes on, what cannot is told of.

use std::sync::Arc;

use futures::{Stream, StreamExt as _, future::ready};
use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams},
    runtime::{
        reflector::{ObjectRef, Store},
        watcher::{self, Event, watcher},
    },
};
use serde_json::json;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::{Guarded, Stalled, Unreadable, key};
use crate::{Context, Halt, Reason, objects::Kind, status_writer::STATUS_MANAGER};

/// What is set aside of a kind.
pub(crate) struct Aside {
    pub(crate) stalled: Arc<Stalled>,
    /// Objects that cannot be read and whose status does not say so.
    untold: UnboundedReceiver<Box<Unreadable>>,
}

/// `store` is what the events are to be reflected into: an object that cannot be read any more leaves it.
pub(crate) fn watch<K: Kind>(
    kind: &'static str,
    api: Api<Guarded<K>>,
    store: Store<K>,
) -> (impl Stream<Item = Result<Event<K>, watcher::Error>> + Send + 'static, Aside) {
    let stalled = Arc::new(Stalled::new(kind));
    let (sender, untold) = unbounded_channel();
    let guard = Guard { store, stalled: stalled.clone(), untold: sender };
    let events = watcher(api, watcher::Config::default())
        .filter_map(move |event| ready(event.map(|event| guard.readable(event)).transpose()));
    (events, Aside { stalled, untold })
}

struct Guard<K: Kind> {
    store: Store<K>,
    stalled: Arc<Stalled>,
    untold: UnboundedSender<Box<Unreadable>>,
}

impl<K: Kind> Guard<K> {
    /// The event, as if what cannot be read were not there.
    fn readable(&self, event: Event<Guarded<K>>) -> Option<Event<K>> {
        match event {
            Event::Init => {
                self.stalled.begin();
                Some(Event::Init)
            }
            Event::InitApply(object) => self.read(object).map(Event::InitApply),
            Event::InitDone => Some(Event::InitDone),
            Event::Apply(object) => {
                let before = self.stored(&object);
                self.read(object).map(Event::Apply).or_else(|| Some(Event::Delete((*before?).clone())))
            }
            Event::Delete(object) => {
                self.stalled.unreadable(&key(&object), false);
                let before = self.stored(&object);
                object.0.ok().or_else(|| Some((*before?).clone())).map(Event::Delete)
            }
        }
    }

    fn stored(&self, object: &Guarded<K>) -> Option<Arc<K>> {
        self.store.get(&ObjectRef::new(&object.name_any()).within(&object.namespace()?))
    }

    fn read(&self, object: Guarded<K>) -> Option<K> {
        self.stalled.unreadable(&key(&object), object.0.is_err());
        match object.0 {
            Ok(object) => Some(object),
            Err(unreadable) => {
                if !unreadable.is_told() {
                    // Nobody listens at the operator's end alone.
                    let _ = self.untold.send(unreadable);
                }
                None
            }
        }
    }
}

impl Aside {
    /// Tells of each object until the watch ends.
    pub(crate) async fn tell<K: Kind>(mut self, context: &Context) {
        while let Some(unreadable) = self.untold.recv().await {
            let message = unreadable.message();
            let object = Guarded::<K>(Err(unreadable));
            tracing::warn!(kind = %K::kind(&()), object = object.name_any(), message, "an object is set aside");
            context.tell(&object, Reason::Unreadable, "Read", message).await;
            if let Err(halt) = write_status(context, &object).await {
                // What stands in the cluster may break its definition: then no status can be written.
                tracing::warn!(kind = %K::kind(&()), object = object.name_any(), %halt, "its status does not say so");
            }
        }
    }
}

/// The whole status, by the one manager that writes it: what is left out would go.
async fn write_status<K: Kind>(context: &Context, object: &Guarded<K>) -> Result<(), Halt> {
    let Err(unreadable) = &object.0 else { return Ok(()) };
    let (name, metadata) = (object.name_any(), &unreadable.metadata);
    let api: Api<Guarded<K>> =
        Api::namespaced(context.client.clone(), metadata.namespace.as_deref().unwrap_or_default());
    let patch = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        // Of this version alone: a newer one is told of by itself.
        "metadata": {"name": name, "resourceVersion": metadata.resource_version},
        "status": unreadable.status(context.now()),
    });
    let parameters = PatchParams::apply(STATUS_MANAGER).force();
    match api.patch_status(&name, &parameters, &Patch::Apply(&patch)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        Err(error) => Err(Halt::kubernetes(format!("write the status of {} {name}", K::kind(&())), error)),
    }
}
