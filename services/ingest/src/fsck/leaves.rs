use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use openarchive_ledger::leaf::{MessageLeaf, MessageState};

use super::Check;
use crate::{
    blob_store::BlobError,
    evidence_scan,
    failure::Failure,
    finding::{Finding, Step},
    message_reader::MessageSource,
    observation_record::{ObservationRecord, RECORD_BYTES_MAX},
    observation_rows::{self, ObservationRow, SeatKey},
    offer::Arrival,
    outbox,
};

/// Observations in one query.
const OBSERVATIONS_PAGE: i64 = 1_000;
/// Observation blobs read at a time.
const RECORDS_READ_AT_ONCE: usize = 16;

/// What became of the log's leaves.
pub(super) struct MatchedLeaves {
    /// Leaves that the observation of their seat names as its own.
    matched: BTreeSet<u64>,
    /// Leaves that were there.
    size: u64,
}

impl Check<'_> {
    /// Every message leaf has its observation, which opens it.
    pub(super) async fn leaves(&mut self) -> Result<MatchedLeaves, Failure> {
        let mut matched = MatchedLeaves { matched: BTreeSet::new(), size: 0 };
        while let Some(page) = evidence_scan::page(&self.ledger, self.tenant, matched.size).await? {
            let mut leaves = Vec::new();
            for (index, leaf) in page.leaves {
                match leaf {
                    Ok(leaf) => leaves.push((index, leaf)),
                    Err(error) => {
                        let (tenant, why) = (self.tenant.clone(), error.to_string());
                        self.findings.push(Finding::LeafUnreadable { tenant, index, why });
                    }
                }
            }
            self.leaves_of_page(leaves, &mut matched.matched).await?;
            matched.size = page.end;
            self.say(Step::Leaves, page.end, page.size);
        }
        Ok(matched)
    }

    async fn leaves_of_page(
        &mut self,
        leaves: Vec<(u64, MessageLeaf)>,
        matched: &mut BTreeSet<u64>,
    ) -> Result<(), Failure> {
        let key = |leaf: &MessageLeaf| (leaf.agent.clone(), leaf.seat);
        let seats: Vec<SeatKey> = leaves.iter().map(|(_, leaf)| key(leaf)).collect();
        let rows = observation_rows::at_seats(self.pool, self.tenant, &seats).await?;
        let mut pairs = Vec::new();
        for (index, leaf) in leaves {
            let tenant = self.tenant.clone();
            match rows.get(&key(&leaf)) {
                // After a rebuild nothing is left of shredded mail but its leaves.
                None if self.shredded.contains(&index) => {}
                None => self.findings.push(Finding::LeafWithoutObservation { tenant, index }),
                Some(row) if row.leaf_index.is_none_or(|own| own == index) => {
                    matched.insert(index);
                    pairs.push((index, leaf, row));
                }
                Some(row) => {
                    let (agent, seq) = (row.agent.clone(), row.seat.seq);
                    self.findings.push(Finding::WrongLeaf { tenant, agent, seq });
                }
            }
        }
        let this = &*self;
        let checks: Vec<_> =
            pairs.iter().map(|(index, leaf, row)| this.observation(row, Some((*index, leaf)))).collect();
        let found: Vec<Vec<Finding>> =
            stream::iter(checks).buffered(RECORDS_READ_AT_ONCE).try_collect().await?;
        self.findings.extend(found.into_iter().flatten());
        Ok(())
    }

    /// Every observation has its leaf, or is about to.
    pub(super) async fn observations(&mut self, leaves: &MatchedLeaves) -> Result<(), Failure> {
        let size_now = self.ledger.leaves(self.tenant, leaves.size, 1).await?.size;
        let (mut after, mut done) = (None, 0);
        loop {
            let rows =
                observation_rows::after(self.pool, self.tenant, after.as_ref(), OBSERVATIONS_PAGE).await?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = Some(last.key());
            done += rows.len() as u64;
            let mut waiting = Vec::new();
            for row in rows {
                match row.leaf_index {
                    None => waiting.push(row),
                    Some(index) if leaves.matched.contains(&index) => {}
                    // Appended while this check was running.
                    Some(index) if index >= leaves.size && index < size_now => {}
                    Some(_) => {
                        let (tenant, agent, seq) = (self.tenant.clone(), row.agent, row.seat.seq);
                        self.findings.push(Finding::WrongLeaf { tenant, agent, seq });
                    }
                }
            }
            self.waiting(waiting).await?;
            self.say(Step::Observations, done, 0);
        }
    }

    async fn waiting(&mut self, rows: Vec<ObservationRow>) -> Result<(), Failure> {
        let seats: Vec<SeatKey> = rows.iter().map(ObservationRow::key).collect();
        let queued = outbox::rows_of(self.pool, self.tenant, &seats).await?;
        let queued: BTreeSet<&SeatKey> = queued.iter().map(outbox::OutboxRow::key).collect();
        // Read again after the outbox: a row that left it meanwhile has its index now.
        let now: BTreeMap<SeatKey, ObservationRow> =
            observation_rows::at_seats(self.pool, self.tenant, &seats).await?;
        for row in &rows {
            let is_settled = now.get(&row.key()).is_some_and(|now| now.leaf_index.is_some());
            if !is_settled && !queued.contains(&row.key()) {
                let (tenant, agent, seq) = (self.tenant.clone(), row.agent.clone(), row.seat.seq);
                self.findings.push(Finding::NoLeaf { tenant, agent, seq });
            }
            let found = self.observation(row, None).await?;
            self.findings.extend(found);
        }
        Ok(())
    }

    /// The row is what was recorded, and what was recorded opens the leaf.
    async fn observation(
        &self,
        row: &ObservationRow,
        leaf: Option<(u64, &MessageLeaf)>,
    ) -> Result<Vec<Finding>, Failure> {
        let tenant = self.tenant;
        // Its salt and its content are gone, as the log ordered: the leaf verifies and says nothing.
        if row.leaf_index.is_some_and(|index| self.shredded.contains(&index)) {
            return Ok(Vec::new());
        }
        let source = MessageSource { blobs: self.blobs.clone(), tenant: tenant.clone(), class: row.class };
        let record = match source.observation(row.record, RECORD_BYTES_MAX).await {
            Ok(bytes) => ObservationRecord::decode(&bytes).map_err(|error| error.to_string()),
            Err(BlobError::Unavailable(status)) => return Err(BlobError::Unavailable(status).into()),
            Err(damage) => Err(damage.to_string()),
        };
        let record = match record {
            Ok(record) => record,
            Err(why) => {
                return Ok(vec![Finding::RecordDamaged { tenant: tenant.clone(), record: row.record, why }]);
            }
        };
        let mut findings = Vec::new();
        if let Some((index, leaf)) = leaf
            && !record.opens(leaf)
        {
            findings.push(Finding::LeafNotOpened { tenant: tenant.clone(), index });
        }
        let differing = differing_field(row, &record, leaf.map(|(_, leaf)| leaf.state));
        findings.extend(differing.map(|field| {
            let (agent, seq) = (row.agent.clone(), row.seat.seq);
            Finding::RowDiffers { tenant: tenant.clone(), agent, seq, field }
        }));
        Ok(findings)
    }
}

/// The first field in which a row is not what was recorded. `state`: the leaf's.
fn differing_field(
    row: &ObservationRow,
    record: &ObservationRecord,
    state: Option<MessageState>,
) -> Option<&'static str> {
    let offer = &record.offer;
    let reason = match &offer.arrival {
        Arrival::Accepted => "",
        Arrival::Quarantined { reason } => reason.as_str(),
    };
    let fields = [
        ("agent", row.agent == record.agent.name),
        ("seat", row.seat == offer.seat),
        ("message", row.message == offer.message),
        ("state", state.is_none_or(|state| row.state == state)),
        ("reason", row.reason == reason),
        ("class", row.class == record.class),
        ("occurred_at", row.occurred_at == offer.occurred_at),
        ("recorded_at", row.recorded_at == record.recorded_at),
    ];
    fields.into_iter().find(|(_, agrees)| !agrees).map(|(field, _)| field)
}
