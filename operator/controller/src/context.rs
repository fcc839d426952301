//! What every pass has at hand.

use std::{sync::Arc, time::Duration};

use k8s_openapi::{api::core::v1::ObjectReference, jiff::Timestamp};
use kube::{
    Client, Resource, ResourceExt,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use openarchive_domain::Clock;

use crate::{Reason, core::Dialler, left::Left, stood::Stood};

/// Longest pause between two tries of a pass that fails.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);
/// A pass over an object that nobody touched: certificates run out, times pass.
pub const RESYNC_AFTER: Duration = Duration::from_secs(600);

/// How the operator was started.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The one namespace that it looks at; all of them if there is none.
    pub namespace: Option<String>,
    /// Its own namespace, for network policies.
    pub operator_namespace: String,
    /// Prefix of the archive's images, such as registry.example.org/openarchive; may be empty.
    pub image_registry: String,
}

/// Shared by all controllers.
pub struct Context {
    pub client: Client,
    pub clock: Arc<dyn Clock>,
    pub settings: Settings,
    pub dialler: Dialler,
    /// What others did to objects and cannot be undone.
    pub(crate) left: Left,
    pub(crate) stood: Stood,
    recorder: Recorder,
}

impl Context {
    pub fn new(client: Client, clock: Arc<dyn Clock>, settings: Settings, dialler: Dialler) -> Self {
        let reporter = Reporter { controller: "openarchive-operator".to_owned(), instance: None };
        let recorder = Recorder::new(client.clone(), reporter);
        Self { client, clock, settings, dialler, left: Left::default(), stood: Stood::default(), recorder }
    }

    pub fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.clock.now().as_millis()).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// Tells of something that was done or seen. An event that cannot be written is logged and forgotten: the status says
    /// the same.
    pub async fn tell<K>(&self, object: &K, reason: Reason, action: &str, note: String)
    where
        K: Resource<DynamicType = ()>,
    {
        self.tell_about(object, None, reason, action, note).await;
    }

    /// As [`Self::tell`], of another object beside it. Within some minutes events are counted under the first one's note if they
    /// differ in nothing else.
    pub async fn tell_about<K>(
        &self,
        object: &K,
        about: Option<ObjectReference>,
        reason: Reason,
        action: &str,
        note: String,
    ) where
        K: Resource<DynamicType = ()>,
    {
        let type_ = if reason.is_progress() { EventType::Normal } else { EventType::Warning };
        let event = Event {
            type_,
            reason: reason.name().to_owned(),
            note: Some(cut(note)),
            action: action.to_owned(),
            secondary: about,
        };
        if let Err(error) = self.recorder.publish(&event, &object.object_ref(&())).await {
            tracing::warn!(object = object.name_any(), reason = reason.name(), %error, "an event is not recorded");
        }
    }
}

/// Of an event's note, by the events API.
const NOTE_BYTES_MAX: usize = 1_024;

fn cut(mut note: String) -> String {
    if note.len() > NOTE_BYTES_MAX {
        let mut end = NOTE_BYTES_MAX;
        while !note.is_char_boundary(end) {
            end -= 1;
        }
        note.truncate(end);
    }
    note
}
