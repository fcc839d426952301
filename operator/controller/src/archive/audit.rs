//! Every applied configuration on record: first as a ControllerRevision, which nothing can change, then as a blob and a leaf of
//! the archive's `config` log.

mod history;
mod policed;
mod referring;

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{Api, ResourceExt, api::PostParams};
use openarchive_operator_api::{ArchiveCore, FIELD_MANAGER, SnapshotStatus};
use openarchive_operator_snapshot::{
    Applied, Chain, ConfigLog, MAC_KEY_BYTES, MacKey, Revision, Revisions, Snapshot, SnapshotError, Subject,
    pending,
};
use serde_json::Value;

use super::{ValidArchive, build::Names, status::Audit};
use crate::{
    Context, Halt, Reason,
    core::{Core, LogState, read_config_log, record},
    objects::named,
};
pub(crate) use history::History;
use history::{Before, Known, known};
pub(crate) use policed::network_policies;
use referring::author;
pub(crate) use referring::{Referring, edge_agents, referring};

/// Component and name's end of the Secret that holds the key of the HMACs in snapshots.
const MAC: &str = "snapshot-mac";
const MAC_KEY: &str = "key";
const MAC_VERSION: &str = "version";

/// Whose configuration is recorded, and by what means.
pub(crate) struct Desk<'a> {
    pub context: &'a Context,
    pub archive: &'a ArchiveCore,
    pub valid: &'a ValidArchive,
    pub live_secrets: &'a [Secret],
    /// `None` while the archive does not run.
    pub core: Option<&'a Core>,
}

/// What stands of an archive after a pass.
pub(crate) struct Standing {
    /// What was built and applied, Secrets in clear.
    pub objects: Vec<Value>,
    /// Names of Deployments that wait behind the gate and run on as they were applied before.
    pub as_before: Vec<String>,
    pub referring: Vec<Referring>,
}

/// Keeps what was applied if it is new, and delivers what the ledger lacks.
pub(crate) async fn audit(desk: &Desk<'_>, history: History, standing: &Standing) -> Result<Audit, Halt> {
    let now = applied(desk.archive, history.subject.clone())?;
    put_on_record(desk, history, |before, mac| {
        let last = before.snapshot.as_ref();
        let mut objects = standing.objects.clone();
        objects.extend(standing.referring.iter().map(|one| one.value.clone()));
        let is_held = |object: &&Value| {
            object["kind"] == "Deployment"
                && standing.as_before.iter().any(|name| object["metadata"]["name"] == **name)
        };
        objects.extend(last.into_iter().flat_map(Snapshot::objects).filter(is_held).cloned());
        let manager = author(desk.archive, &now().spec, &standing.referring, last);
        let applied = Applied { objects, client_declared_manager: manager, ..now() };
        let snapshot = Snapshot::take_after(applied, mac, before.leaf.as_ref())?;
        let is_same = last.is_some_and(|last| {
            last.uid() == snapshot.uid()
                && last.generation() == snapshot.generation()
                && last.is_deletion() == snapshot.is_deletion()
                && last.spec() == snapshot.spec()
                && last.objects() == snapshot.objects()
        });
        Ok((!is_same).then_some(snapshot))
    })
    .await
}

/// Keeps and delivers the last configuration: that the archive was deleted.
pub(crate) async fn audit_deletion(desk: &Desk<'_>, history: History) -> Result<Audit, Halt> {
    let now = applied(desk.archive, history.subject.clone())?;
    put_on_record(desk, history, |before, mac| {
        let last = before.snapshot.as_ref();
        let applied = now();
        if last.is_some_and(|last| last.is_deletion() && last.uid() == applied.uid) {
            return Ok(None);
        }
        Snapshot::take_deletion(applied, mac, before.leaf.as_ref()).map(Some)
    })
    .await
}

/// The archive's own part of a configuration, each time anew: it is not to be copied with the objects in it.
fn applied(archive: &ArchiveCore, subject: Subject) -> Result<impl Fn() -> Applied, Halt> {
    let spec = serde_json::to_value(&archive.spec).map_err(|error| unrecordable(&error.to_string()))?;
    Ok(move || Applied {
        subject: subject.clone(),
        uid: archive.uid().unwrap_or_default(),
        generation: archive.metadata.generation.and_then(|n| u64::try_from(n).ok()).unwrap_or(0),
        operator_version: env!("CARGO_PKG_VERSION").to_owned(),
        client_declared_manager: String::new(),
        spec: spec.clone(),
        objects: Vec::new(),
    })
}

/// `take` answers the next snapshot, or `None` if the one before says the same.
async fn put_on_record(
    desk: &Desk<'_>,
    mut history: History,
    take: impl Fn(&Before, &MacKey) -> Result<Option<Snapshot>, SnapshotError>,
) -> Result<Audit, Halt> {
    let recorded = desk.archive.status.as_ref().and_then(|status| status.last_snapshot.as_ref());
    let waits = |waiting_for: String| {
        Ok(Audit { last: recorded.cloned(), pending: 1, waiting_for: Some(waiting_for) })
    };
    let has_key = named(desk.live_secrets, &Names(desk.valid).of(MAC)).is_some();
    let (mut before, is_of_ledger) = match known(recorded, history.revisions(), &history.subject, has_key) {
        Known::Settled(before) => (before, false),
        Known::Kept(kept) => match of_ledger(desk.core, &history).await {
            Some(Ok(before)) => (before, true),
            // Kept, and delivered in order later. Where the ledger goes on otherwise, the next one follows it.
            Some(Err(_)) | None => (kept, false),
        },
        Known::Lost(what) => match of_ledger(desk.core, &history).await {
            Some(Ok(before)) => (before, true),
            Some(Err(error)) => return waits(format!("the archive's ledger: {what}: {error}")),
            None => return waits(format!("the archive's ledger: {what}")),
        },
    };
    let mac = mac_key(desk, before.snapshot.as_ref()).await?;
    let mut next = take(&before, &mac);
    // The cluster may be older than the ledger, as after a restore: what is new follows what the ledger says.
    if !is_of_ledger
        && !matches!(next, Ok(None))
        && let Some(Ok(by_ledger)) = of_ledger(desk.core, &history).await
    {
        before = by_ledger;
        next = take(&before, &mac);
    }
    let next = match next {
        Ok(next) => next,
        Err(SnapshotError::GenerationWentBack { generation, applied }) => {
            return waits(format!(
                "generation {applied} of this object, which the ledger has already; the cluster is at {generation}, as after a \
                 restore: each change of the specification makes one more"
            ));
        }
        Err(error) => return Err(unrecordable(&error.to_string())),
    };
    let mut newest = before.leaf.as_ref().map(|leaf| leaf.sha256.hex());
    if let Some(snapshot) = next {
        history.keep(desk.context, &snapshot, before.ordinal + 1).await?;
        newest = Some(snapshot.digest().hex());
    }
    deliver(desk, &history.subject, history.revisions(), newest).await
}

fn unrecordable(error: &str) -> Halt {
    Halt::terminal(Reason::InvalidSpec, format!("the configuration cannot be recorded: {error}"))
}

/// What the next snapshot follows by the ledger's word; `None` while nobody can be asked.
async fn of_ledger(core: Option<&Core>, history: &History) -> Option<anyhow::Result<Before>> {
    let log = read_config_log(core?).await;
    Some(log.map(|(log, _)| Before::of_chain(&Chain::verify(&history.subject, history.revisions(), &log))))
}

/// Delivers in order, up to `newest`. What cannot be delivered now is told, and is no error: it is kept.
async fn deliver(
    desk: &Desk<'_>,
    subject: &Subject,
    revisions: &Revisions,
    newest: Option<String>,
) -> Result<Audit, Halt> {
    let recorded = desk.archive.status.as_ref().and_then(|status| status.last_snapshot.clone());
    if newest.is_some() && newest == recorded.as_ref().map(|last| last.sha256.clone()) {
        return Ok(Audit { last: recorded, pending: 0, waiting_for: None });
    }
    let is_recorded = |one: &&Revision| {
        recorded.as_ref().is_some_and(|recorded| one.snapshot.digest().hex() == recorded.sha256)
    };
    let kept = revisions.of(subject).iter().rev().take_while(|one| !is_recorded(one)).count();
    let Some(core) = desk.core else {
        let waiting_for = Some("the archive to run".to_owned());
        return Ok(Audit { last: recorded, pending: kept, waiting_for });
    };
    match deliver_to(core, subject, revisions).await {
        Ok(log) => {
            let last = log.of(subject).last().map(|leaf| SnapshotStatus {
                sha256: leaf.leaf.sha256.hex(),
                ledger_index: i64::try_from(leaf.index).unwrap_or(i64::MAX),
                recorded_at: leaf.time.to_string(),
            });
            let left = pending(revisions, &log).map_or(1, |left| left.len());
            // What is recorded is the newest, or something is not.
            let is_newest = newest.is_none() || last.as_ref().map(|last| &last.sha256) == newest.as_ref();
            let left = left.max(usize::from(!is_newest));
            let waiting_for = (left > 0).then(|| "another operator, which records, too".to_owned());
            Ok(Audit { last, pending: left, waiting_for })
        }
        Err(error) => {
            tracing::warn!(archive = subject.name(), %error, "a configuration is not recorded yet");
            Ok(Audit { last: recorded, pending: kept.max(1), waiting_for: Some(error.to_string()) })
        }
    }
}

async fn deliver_to(core: &Core, subject: &Subject, revisions: &Revisions) -> anyhow::Result<ConfigLog> {
    let (log, _) = read_config_log(core).await?;
    let deliveries = pending(revisions, &log)?;
    if deliveries.is_empty() {
        return Ok(log);
    }
    for delivery in &deliveries {
        match record(core, delivery).await? {
            LogState::Recorded(index) => {
                tracing::info!(archive = subject.name(), index, "a configuration is recorded");
            }
            LogState::Fenced => break,
        }
    }
    Ok(read_config_log(core).await?.0)
}

/// The key, made before the first snapshot. A new one after the old was lost has the next version.
async fn mac_key(desk: &Desk<'_>, last: Option<&Snapshot>) -> Result<MacKey, Halt> {
    let names = Names(desk.valid);
    let name = names.of(MAC);
    if let Some(secret) = named(desk.live_secrets, &name) {
        return read_mac(&name, secret).ok_or_else(|| {
            let message = format!("Secret {name} holds no key of {MAC_KEY_BYTES} bytes with a version: restore it, or delete it and a new one is made");
            Halt::terminal(Reason::InvalidSpec, message)
        });
    }
    let version = last.map_or(1, |last| last.secrets_mac().version + 1);
    let mut key = [0; MAC_KEY_BYTES];
    getrandom::fill(&mut key).map_err(|error| Halt::Transient {
        reason: Reason::KubernetesApi,
        what: "the system gives no random bytes".to_owned(),
        source: anyhow::anyhow!("{error}"),
    })?;
    let data = [(MAC_KEY, key.to_vec()), (MAC_VERSION, version.to_string().into_bytes())];
    let data = data.into_iter().map(|(key, value)| (key.to_owned(), ByteString(value))).collect();
    let secret = Secret {
        metadata: names.kept(name.clone(), MAC),
        data: Some(data),
        immutable: Some(true),
        ..Secret::default()
    };
    let api: Api<Secret> = Api::namespaced(desk.context.client.clone(), &desk.valid.namespace);
    let parameters = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
    api.create(&parameters, &secret)
        .await
        .map_err(|error| Halt::kubernetes(format!("store Secret {name}"), error))?;
    Ok(MacKey::new(name, version, key))
}

fn read_mac(name: &str, secret: &Secret) -> Option<MacKey> {
    let data = secret.data.as_ref()?;
    let key = data.get(MAC_KEY)?.0.as_slice().try_into().ok()?;
    let version = std::str::from_utf8(&data.get(MAC_VERSION)?.0).ok()?.parse().ok()?;
    Some(MacKey::new(name, version, key))
}
