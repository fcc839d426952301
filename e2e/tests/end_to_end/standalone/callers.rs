//! What calls an archive from outside with a certificate of its own, and what the operator does there.

use std::path::Path;

use openarchive_domain::Digest;
use openarchive_ledger::{
    Hash,
    checkpoint::Checkpoint,
    jcs,
    note::Verifier,
    tree::{leaf_hash, verify_inclusion},
};
use openarchive_proto::{
    storage::v1::{
        BlobKind, BlobRef, GetBlobRequest, PutBlobsHeader, PutBlobsRequest, PutBlobsResponse,
        put_blobs_request::Item, storage_service_client::StorageServiceClient,
    },
    trust::v1::{
        AppendEntry, AppendRequest, GetCheckpointRequest, GetConsistencyProofRequest,
        GetInclusionProofsRequest, Leaf, ListLeavesRequest, Log, trust_service_client::TrustServiceClient,
    },
};
use openarchive_rpc::{Pace, ReloadingTls, RpcChannel, TlsFiles, connect, has_reason};
use serde_json::{Value, json};
use tonic::{Code, Status};

/// A channel to `port` of this machine with the certificate `name` in `tls`.
pub(super) fn channel(tls: &Path, name: &str, port: u16) -> RpcChannel {
    let files = TlsFiles {
        certificate: tls.join(format!("{name}.pem")),
        key: tls.join(format!("{name}.key")),
        authorities: tls.join("ca.pem"),
    };
    let target = format!("localhost:{port}").parse().unwrap();
    connect(&[target], ReloadingTls::load(&files).unwrap(), Pace::NEAR)
}

pub(super) fn log(tenant: &str, stream: &str) -> Log {
    Log { tenant: tenant.to_owned(), stream: stream.to_owned() }
}

/// A snapshot's leaf: a kind that trust does not know, whose key is the SHA-256 of its canonical form.
pub(super) fn snapshot_leaf(snapshot: &[u8], expected_previous: Option<u64>) -> AppendEntry {
    let body = json!({ "kind": "config", "snapshot": Digest::of(snapshot).to_string(), "v": 1 });
    entry(&body, expected_previous)
}

fn entry(body: &Value, expected_previous: Option<u64>) -> AppendEntry {
    let key = Digest::of(jcs::canonicalize(body).unwrap().as_bytes());
    let idempotency_key = key.as_bytes().to_vec().into();
    AppendEntry { idempotency_key, expected_previous, body: body.to_string() }
}

pub(super) async fn append(
    channel: &RpcChannel,
    log: Log,
    entries: Vec<AppendEntry>,
) -> Result<Vec<Leaf>, Status> {
    let answer =
        TrustServiceClient::new(channel.clone()).append(AppendRequest { log: Some(log), entries }).await?;
    Ok(answer.into_inner().leaves)
}

fn config_blob(kind: BlobKind, bytes: &[u8]) -> BlobRef {
    BlobRef { kind: kind.into(), digest: Digest::of(bytes).as_bytes().to_vec().into() }
}

pub(super) async fn put(
    channel: &RpcChannel,
    kind: BlobKind,
    class: &str,
    bytes: &[u8],
) -> Result<PutBlobsResponse, Status> {
    let header = PutBlobsHeader {
        tenant: "_".to_owned(),
        class: class.to_owned(),
        blob: Some(config_blob(kind, bytes)),
        length: bytes.len() as u64,
    };
    let items = [Item::Header(header), Item::Chunk(bytes.to_vec().into())];
    let requests: Vec<_> = items.into_iter().map(|item| PutBlobsRequest { item: Some(item) }).collect();
    let answer = StorageServiceClient::new(channel.clone()).put_blobs(tokio_stream::iter(requests)).await?;
    Ok(answer.into_inner())
}

pub(super) async fn get(channel: &RpcChannel, kind: BlobKind, bytes: &[u8]) -> Result<Vec<u8>, Status> {
    let request =
        GetBlobRequest { tenant: "_".to_owned(), class: String::new(), blob: Some(config_blob(kind, bytes)) };
    let mut stream = StorageServiceClient::new(channel.clone()).get_blob(request).await?.into_inner();
    let mut read = Vec::new();
    while let Some(piece) = stream.message().await? {
        read.extend_from_slice(&piece.chunk);
    }
    Ok(read)
}

pub(super) fn assert_refused<T: std::fmt::Debug>(what: &str, answer: Result<T, Status>, code: Code) {
    let status = answer.expect_err(what);
    assert_eq!(status.code(), code, "{what}: {status:?}");
}

/// Two operators at one config log: bodies are kept, leaves follow one another, and only one of the two goes on.
pub(super) async fn the_operator_keeps_its_configuration(trust: &RpcChannel, storage: &RpcChannel) {
    let snapshots = ["one", "two", "three"].map(|name| format!("{{\"applied\":\"{name}\"}}").into_bytes());
    for snapshot in &snapshots {
        let stored = put(storage, BlobKind::Config, "system", snapshot).await.unwrap();
        assert_eq!((stored.stored, stored.already_there), (1, 0));
        let again = put(storage, BlobKind::Config, "system", snapshot).await.unwrap();
        assert_eq!((again.stored, again.already_there), (0, 1));
        assert_eq!(get(storage, BlobKind::Config, snapshot).await.unwrap(), *snapshot);
    }
    let of_mail = put(storage, BlobKind::Config, "10y-received-forbidden", b"x").await;
    assert_refused("a snapshot of a class of mail", of_mail, Code::InvalidArgument);

    let config = || log("_", "config");
    let mut trust_client = TrustServiceClient::new(trust.clone());
    let unknown = trust_client.get_checkpoint(GetCheckpointRequest { log: Some(config()) }).await;
    assert_refused("a log that was never written to", unknown, Code::NotFound);

    // Leaf 0 is the log's own: the first snapshot follows it.
    let at = |index: usize, previous: u64| vec![snapshot_leaf(&snapshots[index], Some(previous))];
    let first = append(trust, config(), at(0, 0)).await.unwrap();
    assert_eq!(first[0].index, 1);
    let second = append(trust, config(), at(1, 1)).await.unwrap();
    assert_eq!(second[0].index, 2);
    let overtaken = append(trust, config(), at(2, 1)).await.unwrap_err();
    assert!(overtaken.code() == Code::Aborted && has_reason(&overtaken, "PREVIOUS_MOVED"), "{overtaken:?}");
    // Whoever did not get his answer asks again, and gets the leaf that stands, whatever he expected before it.
    assert_eq!(append(trust, config(), at(0, 0)).await.unwrap(), first);
    assert_eq!(append(trust, config(), at(1, 7)).await.unwrap(), second);
    let forged = AppendEntry { idempotency_key: vec![1; 32].into(), ..at(2, 2).remove(0) };
    assert_refused(
        "a key that is not the leaf's",
        append(trust, config(), vec![forged]).await,
        Code::InvalidArgument,
    );

    let listed =
        trust_client.list_leaves(ListLeavesRequest { log: Some(config()), start: 0, limit: 0 }).await;
    let listed = listed.unwrap().into_inner();
    assert_eq!((listed.size, listed.leaves.len()), (3, 3));
    assert_eq!(listed.leaves[1..], [first[0].clone(), second[0].clone()]);
    proofs_verify(&mut trust_client, &listed.leaves).await;
}

async fn proofs_verify(client: &mut TrustServiceClient<RpcChannel>, leaves: &[Leaf]) {
    let config = || log("_", "config");
    let request = GetInclusionProofsRequest { log: Some(config()), indices: vec![1, 2] };
    let proven = client.get_inclusion_proofs(request).await.unwrap().into_inner();
    let latest =
        client.get_checkpoint(GetCheckpointRequest { log: Some(config()) }).await.unwrap().into_inner();
    let verifier: Verifier = latest.verifier_key.parse().unwrap();
    let (checkpoint, note) = Checkpoint::parse_signed(&proven.checkpoint_note).unwrap();
    verifier.verify(&note).unwrap();
    assert_eq!(checkpoint.origin, latest.origin);
    assert!(latest.origin.ends_with("/main/_/config/1"), "{}", latest.origin);
    for (leaf, proof) in leaves[1..].iter().zip(&proven.proofs) {
        let hashes: Vec<Hash> =
            proof.hashes.iter().map(|hash| Hash::try_from(hash.as_ref()).unwrap()).collect();
        let hash = leaf_hash(&leaf.body);
        verify_inclusion(&hash, leaf.index, checkpoint.size, &hashes, &checkpoint.root).unwrap();
    }
    let request = GetConsistencyProofRequest { log: Some(config()), old_size: 1, new_size: checkpoint.size };
    assert!(client.get_consistency_proof(request).await.unwrap().into_inner().proof.is_some());
}
