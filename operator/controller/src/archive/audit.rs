//! Every applied configuration on record: first as a ControllerRevision, which nothing can change, then as a blob and a leaf of
//! the archive's `config` log.

use k8s_openapi::{
    ByteString,
    api::{apps::v1::ControllerRevision, core::v1::Secret},
};
use kube::{
    Api, ResourceExt,
    api::{ListParams, PostParams},
};
use openarchive_operator_api::{ArchiveCore, FIELD_MANAGER, SnapshotStatus};
use openarchive_operator_snapshot::{
    Applied, Chain, ConfigLeaf, ConfigLog, MAC_KEY_BYTES, MacKey, Revisions, Snapshot, Subject, pending,
    revision, selector,
};

use super::{ValidArchive, build::Names, status::Audit};
use crate::{
    Context, Halt, Reason,
    core::{Core, LogState, read_config_log, record},
    objects::{Objects, named, newest_foreign_manager},
};

/// Component and name's end of the Secret that holds the key of the HMACs in snapshots.
const MAC: &str = "snapshot-mac";
const MAC_KEY: &str = "key";
const MAC_VERSION: &str = "version";

/// Keeps what was applied if it is new, and delivers what the ledger lacks. `core` is `None` while the archive does not run.
pub(crate) async fn audit(
    context: &Context,
    archive: &ArchiveCore,
    valid: &ValidArchive,
    built: &Objects,
    live_secrets: &[Secret],
    core: Option<&Core>,
) -> Result<Audit, Halt> {
    let subject = Subject::new("ArchiveCore", &valid.namespace, &valid.name);
    let subject = subject.map_err(|error| Halt::terminal(Reason::InvalidSpec, error.to_string()))?;
    let api: Api<ControllerRevision> = Api::namespaced(context.client.clone(), &valid.namespace);
    let kept = api.list(&ListParams::default().labels(&selector(&subject))).await;
    let mut kept = kept.map_err(|error| Halt::kubernetes("list ControllerRevisions", error))?.items;
    let before = match before(archive, &subject, &Revisions::read(&kept), core).await {
        Ok(before) => before,
        Err(waiting_for) => {
            let last = archive.status.as_ref().and_then(|status| status.last_snapshot.clone());
            return Ok(Audit { last, pending: 1, waiting_for: Some(waiting_for) });
        }
    };
    let mac = mac_key(context, valid, live_secrets, before.snapshot.as_ref()).await?;
    if let Some(snapshot) = next(archive, built, subject.clone(), &mac, &before)? {
        let parameters =
            PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let created = api.create(&parameters, &revision(&snapshot, before.ordinal + 1)).await;
        kept.push(
            created.map_err(|error| Halt::kubernetes("keep a configuration as ControllerRevision", error))?,
        );
    }
    let revisions = Revisions::read(&kept);
    deliver(archive, &subject, &revisions, core).await
}

/// What the next snapshot follows.
struct Before {
    leaf: Option<ConfigLeaf>,
    /// The cluster may have lost it.
    snapshot: Option<Snapshot>,
    ordinal: u32,
}

/// The newest revision; where that was deleted although it is recorded, what the ledger says. An error is for what it waits.
async fn before(
    archive: &ArchiveCore,
    subject: &Subject,
    revisions: &Revisions,
    core: Option<&Core>,
) -> Result<Before, String> {
    let recorded = archive.status.as_ref().and_then(|status| status.last_snapshot.as_ref());
    let is_there = recorded.is_none_or(|recorded| {
        revisions.of(subject).iter().any(|kept| kept.snapshot.digest().hex() == recorded.sha256)
    });
    if is_there {
        let last = revisions.last_of(subject);
        return Ok(Before {
            leaf: last.map(|last| ConfigLeaf::of(&last.snapshot)),
            snapshot: last.map(|last| last.snapshot.clone()),
            ordinal: last.map_or(0, |last| last.ordinal),
        });
    }
    let lost = "the archive's ledger: the newest ControllerRevision was deleted";
    let core = core.ok_or_else(|| lost.to_owned())?;
    let (log, _) = read_config_log(core).await.map_err(|error| format!("{lost}: {error}"))?;
    let chain = Chain::verify(subject, revisions, &log);
    let pending = chain.pending.last().map(|revision| revision.snapshot.clone());
    let snapshot = pending.or_else(|| chain.recorded.last().and_then(|link| link.snapshot.clone()));
    Ok(Before { leaf: chain.last(), snapshot, ordinal: chain.next_ordinal() - 1 })
}

/// What was applied now, if the last snapshot does not say the same.
fn next(
    archive: &ArchiveCore,
    built: &Objects,
    subject: Subject,
    mac: &MacKey,
    before: &Before,
) -> Result<Option<Snapshot>, Halt> {
    let failed = |error: String| {
        Halt::terminal(Reason::InvalidSpec, format!("the configuration cannot be recorded: {error}"))
    };
    let applied = Applied {
        subject,
        uid: archive.uid().unwrap_or_default(),
        generation: archive.metadata.generation.and_then(|n| u64::try_from(n).ok()).unwrap_or(0),
        operator_version: env!("CARGO_PKG_VERSION").to_owned(),
        client_declared_manager: newest_foreign_manager(archive),
        spec: serde_json::to_value(&archive.spec).map_err(|error| failed(error.to_string()))?,
        objects: built.values().map_err(|error| failed(error.to_string()))?,
    };
    let snapshot = Snapshot::take_after(applied, mac, before.leaf.as_ref());
    let snapshot = snapshot.map_err(|error| failed(error.to_string()))?;
    let is_same = before.snapshot.as_ref().is_some_and(|last| {
        last.uid() == snapshot.uid()
            && last.generation() == snapshot.generation()
            && last.spec() == snapshot.spec()
            && last.objects() == snapshot.objects()
    });
    Ok((!is_same).then_some(snapshot))
}

/// Delivers in order. What cannot be delivered now is told, and is no error: it is kept.
async fn deliver(
    archive: &ArchiveCore,
    subject: &Subject,
    revisions: &Revisions,
    core: Option<&Core>,
) -> Result<Audit, Halt> {
    let recorded = archive.status.as_ref().and_then(|status| status.last_snapshot.clone());
    let of_ours = revisions.of(subject);
    let newest = of_ours.last().map(|revision| revision.snapshot.digest().hex());
    if newest.is_some() && newest == recorded.as_ref().map(|last| last.sha256.clone()) {
        return Ok(Audit { last: recorded, pending: 0, waiting_for: None });
    }
    let Some(core) = core else {
        let waiting_for = Some("the archive to run".to_owned());
        return Ok(Audit { last: recorded, pending: of_ours.len(), waiting_for });
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
            Ok(Audit { last: recorded, pending: of_ours.len().max(1), waiting_for: Some(error.to_string()) })
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
async fn mac_key(
    context: &Context,
    archive: &ValidArchive,
    live: &[Secret],
    last: Option<&Snapshot>,
) -> Result<MacKey, Halt> {
    let names = Names(archive);
    let name = names.of(MAC);
    if let Some(secret) = named(live, &name) {
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
    let api: Api<Secret> = Api::namespaced(context.client.clone(), &archive.namespace);
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
