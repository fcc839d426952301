//! What ingest asks of trust: the evidence logs of tenants, and of the archive itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use openarchive_domain::{Digest, Tenant};
use openarchive_ledger::{
    origin::{LogId, TenantOrArchive},
    tree::Hash,
};
use openarchive_proto::trust::v1::{
    AppendEntry, AppendRequest, GetCheckpointRequest, GetCheckpointResponse, GetConsistencyProofRequest,
    GetInclusionProofsRequest, Leaf, ListLeavesRequest, ListLeavesResponse, Log, Proof,
    trust_service_client::TrustServiceClient,
};
use openarchive_rpc::{RPC_MESSAGE_BYTES_MAX, RpcChannel};
use tonic::{Code, Request, Response, Status};

use crate::failure::Failure;

const SERVICE: &str = "trust";
/// Most entries, indices or leaves in one call.
pub(crate) const BATCH_MAX: usize = 1_000;
/// Leaves that may lie between two wanted ones of one page: reading over them beats another call.
const LEAVES_SKIPPED_MAX: u64 = 200;
/// How long any call may take, waiting for the next checkpoint included.
const DEADLINE: Duration = Duration::from_secs(60);

/// A leaf that is to stand in the log.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) idempotency_key: Digest,
    /// Canonical JSON without `time`.
    pub(crate) body: String,
}

/// Inclusion proofs in one published checkpoint.
#[derive(Debug, Clone)]
pub(crate) struct Inclusions {
    pub(crate) checkpoint_note: String,
    /// In the order asked.
    pub(crate) proofs: Vec<Vec<Hash>>,
}

/// The evidence logs, seen from ingest. Cloning is cheap.
#[derive(Debug, Clone)]
pub(crate) struct LedgerClient {
    client: TrustServiceClient<RpcChannel>,
}

impl LedgerClient {
    pub(crate) fn new(channel: RpcChannel) -> Self {
        let client = TrustServiceClient::new(channel)
            .max_decoding_message_size(RPC_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(RPC_MESSAGE_BYTES_MAX);
        Self { client }
    }

    /// Appends at most [`BATCH_MAX`] leaves. They are durable when it answers, in the order given; a key that the log
    /// knows already answers the leaf that stands.
    pub(crate) async fn append(
        &self,
        owner: &TenantOrArchive,
        entries: Vec<Entry>,
    ) -> Result<Vec<Leaf>, Failure> {
        let count = entries.len();
        let entries = entries.into_iter().map(|entry| AppendEntry {
            idempotency_key: entry.idempotency_key.as_bytes().to_vec().into(),
            expected_previous: None,
            body: entry.body,
        });
        let request = AppendRequest { log: Some(evidence(owner)), entries: entries.collect() };
        let answer = self.client.clone().append(within(request)).await.map_err(Failure::upstream(SERVICE))?;
        let leaves = answer.into_inner().leaves;
        one_each(leaves.len(), count)?;
        Ok(leaves)
    }

    /// Leaves `[start, start + limit)`, fewer at the end of the log, and the log's size. A log that was never written
    /// to is empty.
    pub(crate) async fn leaves(
        &self,
        tenant: &Tenant,
        start: u64,
        limit: usize,
    ) -> Result<ListLeavesResponse, Failure> {
        self.leaves_of(&tenant.clone().into(), start, limit).await
    }

    /// The same, of the archive's own log as well.
    pub(crate) async fn leaves_of(
        &self,
        owner: &TenantOrArchive,
        start: u64,
        limit: usize,
    ) -> Result<ListLeavesResponse, Failure> {
        let limit = limit.min(BATCH_MAX) as u32;
        let request = within(ListLeavesRequest { log: Some(evidence(owner)), start, limit });
        unless_unwritten(self.client.clone().list_leaves(request).await)
    }

    /// The leaves at these indices, by index. An index beyond the log is left out.
    pub(crate) async fn leaves_at(
        &self,
        tenant: &Tenant,
        indices: &BTreeSet<u64>,
    ) -> Result<BTreeMap<u64, Vec<u8>>, Failure> {
        let mut found = BTreeMap::new();
        for (start, end) in runs(indices) {
            let page = self.leaves(tenant, start, (end - start + 1) as usize).await?;
            let wanted = page.leaves.into_iter().filter(|leaf| indices.contains(&leaf.index));
            found.extend(wanted.map(|leaf| (leaf.index, leaf.body.to_vec())));
        }
        Ok(found)
    }

    /// Waits until a published checkpoint covers all of at most [`BATCH_MAX`] indices.
    pub(crate) async fn inclusions(&self, tenant: &Tenant, indices: &[u64]) -> Result<Inclusions, Failure> {
        let request = GetInclusionProofsRequest { log: Some(evidence(tenant)), indices: indices.to_vec() };
        let answer = self.client.clone().get_inclusion_proofs(within(request)).await;
        let answer = answer.map_err(Failure::upstream(SERVICE))?.into_inner();
        one_each(answer.proofs.len(), indices.len())?;
        let proofs = answer.proofs.iter().map(hashes).collect::<Result<_, _>>()?;
        Ok(Inclusions { checkpoint_note: answer.checkpoint_note, proofs })
    }

    /// The latest checkpoint, with the log's origin and key; all empty before the log's first.
    pub(crate) async fn checkpoint(&self, tenant: &Tenant) -> Result<GetCheckpointResponse, Failure> {
        let request = within(GetCheckpointRequest { log: Some(evidence(tenant)) });
        unless_unwritten(self.client.clone().get_checkpoint(request).await)
    }

    /// The answer or refusal is the asking agent's own: it chose the sizes.
    pub(crate) async fn consistency(&self, tenant: &Tenant, old: u64, new: u64) -> Result<Proof, Status> {
        let request =
            GetConsistencyProofRequest { log: Some(evidence(tenant)), old_size: old, new_size: new };
        let answer = self.client.clone().get_consistency_proof(within(request)).await?;
        Ok(answer.into_inner().proof.unwrap_or_default())
    }
}

fn evidence(owner: &impl ToString) -> Log {
    Log { tenant: owner.to_string(), stream: LogId::EVIDENCE.to_owned() }
}

/// Trust knows a log from its first leaf on.
fn unless_unwritten<T: Default>(answer: Result<Response<T>, Status>) -> Result<T, Failure> {
    match answer {
        Ok(answer) => Ok(answer.into_inner()),
        Err(status) if status.code() == Code::NotFound => Ok(T::default()),
        Err(status) => Err(Failure::upstream(SERVICE)(status)),
    }
}

fn within<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(DEADLINE);
    request
}

fn one_each(found: usize, expected: usize) -> Result<(), Failure> {
    if found == expected {
        return Ok(());
    }
    Err(Failure::upstream(SERVICE)(Status::internal("not one answer for each question")))
}

fn hashes(proof: &Proof) -> Result<Vec<Hash>, Failure> {
    let hash = |hash: &bytes::Bytes| Hash::try_from(hash.as_ref());
    let hashes = proof.hashes.iter().map(hash).collect::<Result<_, _>>();
    hashes.map_err(|_| Failure::upstream(SERVICE)(Status::internal("a proof's hash has not 32 bytes")))
}

/// Pages, first and last index, that hold all of `indices` and few others.
fn runs(indices: &BTreeSet<u64>) -> Vec<(u64, u64)> {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for &index in indices {
        match runs.last_mut() {
            Some((start, end)) if index - *end <= LEAVES_SKIPPED_MAX && index - *start < BATCH_MAX as u64 => {
                *end = index;
            }
            _ => runs.push((index, index)),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_that_lie_together_are_read_in_one_page() {
        let check = |indices: &[u64], expected: &[(u64, u64)]| {
            assert_eq!(runs(&indices.iter().copied().collect()), expected);
        };
        check(&[], &[]);
        check(&[5], &[(5, 5)]);
        check(&[1, 2, 3, 203], &[(1, 203)]);
        check(&[1, 202], &[(1, 1), (202, 202)]);
        let many: Vec<u64> = (0..2_500).collect();
        check(&many, &[(0, 999), (1_000, 1_999), (2_000, 2_499)]);
    }
}
