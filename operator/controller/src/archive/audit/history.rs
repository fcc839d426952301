//! What the cluster keeps of an archive's configurations, and what the next one follows.

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::{
    Api, ResourceExt,
    api::{ListParams, PostParams},
};
use openarchive_operator_api::{ArchiveCore, FIELD_MANAGER, SnapshotStatus};
use openarchive_operator_snapshot::{
    Chain, ConfigLeaf, Revision, Revisions, Snapshot, Subject, revision, selector,
};

use crate::{Context, Halt, Reason};

/// The ControllerRevisions of one archive, of the moment.
pub(crate) struct History {
    pub(super) subject: Subject,
    kept: Vec<ControllerRevision>,
    revisions: Revisions,
    /// Kind and name of what was applied, by the last configuration of the archive as it is now.
    applied: BTreeSet<(String, String)>,
}

impl History {
    pub(crate) async fn read(context: &Context, archive: &ArchiveCore) -> Result<Self, Halt> {
        let namespace = archive.namespace().unwrap_or_default();
        let subject = Subject::new("ArchiveCore", &namespace, &archive.name_any());
        let subject = subject.map_err(|error| Halt::terminal(Reason::InvalidSpec, error.to_string()))?;
        let api: Api<ControllerRevision> = Api::namespaced(context.client.clone(), &namespace);
        let kept = api.list(&ListParams::default().labels(&selector(&subject))).await;
        let kept = kept.map_err(|error| Halt::kubernetes("list ControllerRevisions", error))?.items;
        let revisions = Revisions::read(&kept);
        let last = revisions.last_of(&subject).map(|last| &last.snapshot);
        let last = last.filter(|last| Some(last.uid()) == archive.metadata.uid.as_deref());
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let names = last.into_iter().flat_map(Snapshot::objects);
        let applied = names.map(|one| (text(&one["kind"]), text(&one["metadata"]["name"]))).collect();
        Ok(Self { subject, kept, revisions, applied })
    }

    /// Whether an object of that kind and name was applied when the last configuration was kept.
    pub(crate) fn has(&self, kind: &str, name: &str) -> bool {
        self.applied.contains(&(kind.to_owned(), name.to_owned()))
    }

    /// Whether any configuration on record of an archive of this name, this one or one before it, had such an object.
    pub(crate) fn ever_had(&self, kind: &str, name: &str) -> bool {
        let mut objects =
            self.revisions.of(&self.subject).iter().flat_map(|revision| revision.snapshot.objects());
        objects.any(|object| object["kind"] == kind && object["metadata"]["name"] == name)
    }

    pub(super) fn revisions(&self) -> &Revisions {
        &self.revisions
    }

    /// Keeps `snapshot` in the cluster. Nothing can change it from then on.
    pub(super) async fn keep(
        &mut self,
        context: &Context,
        snapshot: &Snapshot,
        ordinal: u32,
    ) -> Result<(), Halt> {
        let api: Api<ControllerRevision> = Api::namespaced(context.client.clone(), self.subject.namespace());
        let parameters =
            PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let created = api.create(&parameters, &revision(snapshot, ordinal)).await;
        let created =
            created.map_err(|error| Halt::kubernetes("keep a configuration as ControllerRevision", error))?;
        self.kept.push(created);
        self.revisions = Revisions::read(&self.kept);
        Ok(())
    }
}

/// What the next snapshot follows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Before {
    pub(super) leaf: Option<ConfigLeaf>,
    /// The cluster may have lost it.
    pub(super) snapshot: Option<Snapshot>,
    pub(super) ordinal: u32,
}

impl Before {
    fn of_revision(last: &Revision) -> Self {
        Self {
            leaf: Some(ConfigLeaf::of(&last.snapshot)),
            snapshot: Some(last.snapshot.clone()),
            ordinal: last.ordinal,
        }
    }

    /// As the ledger says it.
    pub(super) fn of_chain(chain: &Chain) -> Self {
        let pending = chain.pending.last().map(|revision| revision.snapshot.clone());
        let snapshot = pending.or_else(|| chain.recorded.last().and_then(|link| link.snapshot.clone()));
        Self { leaf: chain.last(), snapshot, ordinal: chain.next_ordinal() - 1 }
    }
}

/// What the cluster knows by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Known {
    /// The newest revision is the one that the status calls recorded.
    Settled(Before),
    /// The newest revision, or none yet. Whether the ledger ends there is not known here.
    Kept(Before),
    /// Something is gone that only the ledger still has; what, in words.
    Lost(&'static str),
}

/// `recorded` is what the status says. `has_key`: there is a key for the HMACs in snapshots, which is made before the first one.
pub(super) fn known(
    recorded: Option<&SnapshotStatus>,
    revisions: &Revisions,
    subject: &Subject,
    has_key: bool,
) -> Known {
    let is_recorded =
        |one: &&Revision| recorded.is_some_and(|last| one.snapshot.digest().hex() == last.sha256);
    let of_ours = revisions.of(subject);
    let last = revisions.last_of(subject);
    let newest = of_ours.iter().filter(|one| last.is_some_and(|last| one.ordinal == last.ordinal));
    if let Some(settled) = newest.rev().find(is_recorded) {
        return Known::Settled(Before::of_revision(settled));
    }
    match last {
        _ if recorded.is_some() && !of_ours.iter().any(|one| is_recorded(&one)) => {
            Known::Lost("the newest ControllerRevision was deleted")
        }
        None if has_key => Known::Lost("every ControllerRevision is gone"),
        last => Known::Kept(last.map(Before::of_revision).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use openarchive_operator_snapshot::{Applied, ConfigLog, MAC_KEY_BYTES, MacKey};
    use serde_json::json;

    use super::*;

    fn subject() -> Subject {
        Subject::new("ArchiveCore", "mail", "main").unwrap()
    }

    fn chain(length: u64) -> Vec<Snapshot> {
        let mac = MacKey::new("main-snapshot-mac", 1, [7; MAC_KEY_BYTES]);
        let mut chain: Vec<Snapshot> = Vec::new();
        for generation in 1..=length {
            let applied = Applied {
                subject: subject(),
                uid: "6f1c1a52-0d55-4b7e-9c68-2f6a4c0d9e11".to_owned(),
                generation,
                operator_version: "0.1.0".to_owned(),
                client_declared_manager: "a-person".to_owned(),
                spec: json!({}),
                objects: Vec::new(),
            };
            let next = Snapshot::take(applied, &mac, chain.last()).unwrap();
            chain.push(next);
        }
        chain
    }

    fn recorded(snapshot: &Snapshot) -> SnapshotStatus {
        SnapshotStatus {
            sha256: snapshot.digest().hex(),
            ledger_index: 1,
            recorded_at: "2026-01-02T03:04:05.678Z".to_owned(),
        }
    }

    #[test]
    fn the_cluster_knows_when_only_the_ledger_can_say_what_comes_next() {
        let chain = chain(3);
        let kept = |count: usize| {
            let kept: Vec<_> =
                (1..).zip(&chain[..count]).map(|(ordinal, one)| revision(one, ordinal)).collect();
            Revisions::read(&kept)
        };
        let check = |status: Option<usize>, count: usize, has_key: bool, expected: &str| {
            let status = status.map(|place| recorded(&chain[place]));
            let found = match known(status.as_ref(), &kept(count), &subject(), has_key) {
                Known::Settled(before) => format!("settled {}", before.ordinal),
                Known::Kept(before) => format!("kept {}", before.ordinal),
                Known::Lost(what) => format!("lost: {what}"),
            };
            assert_eq!(found, expected);
        };
        check(None, 0, false, "kept 0");
        check(None, 1, true, "kept 1");
        check(Some(2), 3, true, "settled 3");
        check(Some(1), 3, true, "kept 3");
        check(Some(2), 2, true, "lost: the newest ControllerRevision was deleted");
        check(Some(2), 0, true, "lost: the newest ControllerRevision was deleted");
        // The status is gone, and with it the revisions, but for the key.
        check(None, 0, true, "lost: every ControllerRevision is gone");
        check(None, 2, true, "kept 2");
    }

    #[test]
    fn what_the_ledger_has_is_followed_even_if_the_cluster_has_nothing() {
        let nothing =
            Before::of_chain(&Chain::verify(&subject(), &Revisions::default(), &ConfigLog::default()));
        assert_eq!(nothing, Before::default());
    }
}
