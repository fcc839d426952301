//! A small archive's configuration in memory, for tests.

use openarchive_domain::Timestamp;
use openarchive_ledger::{
    checkpoint::Checkpoint,
    leaf::{FirstLeaf, TrustMode, stamp},
    note::Signer,
    origin::Origin,
    tree::{leaf_hash, root_of},
};
use serde_json::{Value, json};

use crate::{Applied, ConfigLeaf, LogLeaf, MacKey, Snapshot, Subject};

/// 2026-01-02T03:04:05.678Z.
pub(crate) const TIME: Timestamp = Timestamp::from_millis(1_767_323_045_678);
pub(crate) const UID: &str = "6f1c1a52-0d55-4b7e-9c68-2f6a4c0d9e11";
pub(crate) const ORIGIN: &str = "archive.example.com/main/_/config/1";

pub(crate) fn mac() -> MacKey {
    MacKey::new("main-snapshot-mac", 1, std::array::from_fn(|i| i as u8))
}

pub(crate) fn subject() -> Subject {
    Subject::new("ArchiveCore", "mail", "main").unwrap()
}

/// What generation `generation` of an ArchiveCore is: as many replicas, and an image of that number.
pub(crate) fn applied(generation: u64) -> Applied {
    let metadata = |name: &str| json!({ "name": name, "namespace": "mail", "labels": { "app.kubernetes.io/name": "openarchive" } });
    Applied {
        subject: subject(),
        uid: UID.to_owned(),
        generation,
        operator_version: "0.1.0".to_owned(),
        client_declared_manager: "kubectl-client-side-apply".to_owned(),
        spec: json!({ "domain": "archive.example.com", "services": { "gateway": { "replicas": generation } } }),
        objects: vec![
            json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": metadata("main-keys"),
                "type": "Opaque", "data": { "kek": "aHVudGVyMg==" },
            }),
            json!({
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata("main-gateway"),
                "spec": { "replicas": generation, "template": { "spec": { "containers": [
                    { "name": "gateway", "image": format!("openarchive:0.{generation}.0") },
                ] } } },
            }),
        ],
    }
}

pub(crate) fn after(previous: Option<&Snapshot>, applied: Applied) -> Snapshot {
    Snapshot::take(applied, &mac(), previous).unwrap()
}

/// A chain of generations 1 to `N`.
pub(crate) fn snapshots<const N: usize>() -> [Snapshot; N] {
    let mut chain: Vec<Snapshot> = Vec::new();
    for generation in 1..=N as u64 {
        let snapshot = after(chain.last(), applied(generation));
        chain.push(snapshot);
    }
    chain.try_into().unwrap()
}

/// The first snapshot of another object.
pub(crate) fn other() -> Snapshot {
    let applied = Applied {
        subject: Subject::new("RetentionPolicy", "mail", "finance").unwrap(),
        uid: "00000000-0000-4000-8000-000000000001".to_owned(),
        spec: json!({ "archiveRef": "main", "keepFor": { "years": 10 } }),
        objects: Vec::new(),
        ..applied(1)
    };
    after(None, applied)
}

pub(crate) fn signer() -> Signer {
    Signer::new(ORIGIN, &[7; 32]).unwrap()
}

/// A log of leaf 0 and these bodies, a second between each.
pub(crate) fn log(bodies: &[Value]) -> Vec<LogLeaf> {
    let first = FirstLeaf {
        origin: ORIGIN.parse::<Origin>().unwrap(),
        trust_mode: TrustMode::NonQualified,
        log_key: signer().verifier().clone(),
        seal_certificate: None,
    };
    let bodies = std::iter::once(first.body()).chain(bodies.iter().cloned());
    (0..)
        .zip(bodies)
        .map(|(index, body)| {
            let time = Timestamp::from_millis(TIME.as_millis() + 1_000 * index as i64);
            LogLeaf { index, body: stamp(body, time).unwrap() }
        })
        .collect()
}

pub(crate) fn bodies<'a>(snapshots: impl IntoIterator<Item = &'a Snapshot>) -> Vec<Value> {
    snapshots.into_iter().map(|snapshot| ConfigLeaf::of(snapshot).body()).collect()
}

/// A leaf of a kind that is no snapshot.
pub(crate) fn restart() -> Value {
    json!({ "kind": "restart", "reason": "certificate", "v": 1 })
}

/// The signed checkpoint of all of `leaves`.
pub(crate) fn checkpoint(leaves: &[LogLeaf], signer: &Signer) -> String {
    let hashes: Vec<_> = leaves.iter().map(|leaf| leaf_hash(&leaf.body)).collect();
    let checkpoint =
        Checkpoint { origin: signer.name().to_owned(), size: leaves.len() as u64, root: root_of(&hashes) };
    checkpoint.sign(signer).unwrap().to_string()
}
