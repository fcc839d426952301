//! Comparing the catalogue with what the ledger says of packs.

use std::collections::BTreeMap;

use openarchive_ledger::{
    leaf::{PackLeaf, ShredLeaf},
    origin::LogId,
};
use openarchive_proto::trust::v1::{Leaf, ListLeavesRequest, Log, trust_service_client::TrustServiceClient};
use openarchive_rpc::RpcChannel;
use sqlx::PgPool;
use tonic::Code;
use uuid::Uuid;

use crate::{
    Finding, Problem, StorageError,
    catalogue::{PackRow, leaves_of_packs},
};

/// Leaves of one call to trust, at most.
const LEAVES_PER_CALL_MAX: u32 = 1_000;

/// By pack and number in its key file: the leaf that ordered the key to be destroyed.
pub(crate) type OrderedShreds = BTreeMap<(Uuid, u32), u64>;

#[derive(Clone)]
pub(crate) struct LedgerChecker {
    pub(crate) pool: PgPool,
    pub(crate) trust: TrustServiceClient<RpcChannel>,
}

impl LedgerChecker {
    /// Whether the pack's leaf says what the row says. A leaf that waits in the outbox is fine.
    pub(crate) async fn check(&self, row: &PackRow) -> Result<Option<Finding>, StorageError> {
        let Some(index) = row.leaf_index else {
            let missing = !row.in_outbox;
            return Ok(missing.then(|| Finding::of_pack(row.pack_id, Problem::LeafMissing)));
        };
        let leaves = self.leaves(row.group.scope.as_str(), index, 1).await?;
        let said = leaves
            .first()
            .filter(|leaf| leaf.index == index)
            .and_then(|leaf| PackLeaf::parse(&leaf.body).ok());
        let same = said.is_some_and(|stamped| {
            let leaf = stamped.leaf;
            leaf.pack == *row.pack_id.as_bytes()
                && (leaf.sha256, &leaf.version_id) == (row.sha256, &row.version_id)
                && (leaf.class, leaf.tenant.as_str()) == (row.group.class, row.group.scope.as_str())
        });
        Ok((!same).then(|| Finding::of_pack(row.pack_id, Problem::LeafDiffers { leaf: index })))
    }

    /// The order to shred at this index of the tenant's log; none if something else stands there, or another's order.
    pub(crate) async fn shred_leaf(
        &self,
        tenant: &str,
        index: u64,
    ) -> Result<Option<ShredLeaf>, StorageError> {
        let leaves = self.leaves(tenant, index, 1).await?;
        let found = leaves.first().filter(|leaf| leaf.index == index);
        let order = found.and_then(|leaf| ShredLeaf::parse(&leaf.body).ok()).map(|stamped| stamped.leaf);
        Ok(order.filter(|order| order.tenant.as_str() == tenant))
    }

    /// Every key that the tenant's log orders to be destroyed, with the index of the order.
    pub(crate) async fn ordered_shreds(&self, tenant: &str) -> Result<OrderedShreds, StorageError> {
        let (mut orders, mut start) = (OrderedShreds::new(), 0);
        loop {
            let leaves = self.leaves(tenant, start, LEAVES_PER_CALL_MAX).await?;
            let Some(last) = leaves.last() else { return Ok(orders) };
            start = last.index + 1;
            for leaf in &leaves {
                let Ok(order) = ShredLeaf::parse(&leaf.body).map(|stamped| stamped.leaf) else { continue };
                if order.tenant.as_str() != tenant {
                    continue;
                }
                for (pack, keys) in order.places {
                    let pack = Uuid::from_bytes(pack);
                    orders.extend(keys.into_iter().map(|key| ((pack, key), leaf.index)));
                }
            }
        }
    }

    /// Reads the tenant's whole log: every pack leaf must have its row.
    pub(crate) async fn check_log(&self, tenant: &str) -> Result<Vec<Finding>, StorageError> {
        let mut findings = Vec::new();
        let mut start = 0;
        loop {
            let leaves = self.leaves(tenant, start, LEAVES_PER_CALL_MAX).await?;
            let Some(last) = leaves.last() else { return Ok(findings) };
            start = last.index + 1;
            // Leaves of other kinds are passed over, and broken ones: those are the ledger's own check.
            let packs: BTreeMap<Uuid, (u64, PackLeaf)> = leaves
                .iter()
                .filter_map(|leaf| {
                    let said = PackLeaf::parse(&leaf.body).ok()?.leaf;
                    Some((Uuid::from_bytes(said.pack), (leaf.index, said)))
                })
                .collect();
            let ids: Vec<Uuid> = packs.keys().copied().collect();
            let rows = leaves_of_packs(&self.pool, &ids).await?;
            for (pack, (leaf, said)) in packs {
                match rows.get(&pack) {
                    None => findings.push(Finding::of_pack(pack, Problem::PackRowMissing { leaf })),
                    Some(row)
                        if row.sha256 != said.sha256 || row.leaf_index.is_some_and(|index| index != leaf) =>
                    {
                        findings.push(Finding::of_pack(pack, Problem::LeafDiffers { leaf }));
                    }
                    Some(_) => {}
                }
            }
        }
    }

    /// At most `limit` leaves; none where there is no such log.
    async fn leaves(&self, tenant: &str, start: u64, limit: u32) -> Result<Vec<Leaf>, StorageError> {
        let log = Log { tenant: tenant.to_owned(), stream: LogId::EVIDENCE.to_owned() };
        let request = ListLeavesRequest { log: Some(log), start, limit };
        match self.trust.clone().list_leaves(request).await {
            Ok(answer) => Ok(answer.into_inner().leaves),
            Err(status) if matches!(status.code(), Code::NotFound | Code::OutOfRange) => Ok(Vec::new()),
            Err(status) => Err(StorageError::Trust { action: "list leaves", status }),
        }
    }
}
