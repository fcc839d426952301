//! Ingest: takes mail from agents, and knows what the archive has.
//!
//! - agents offer, upload and commit ([`Ingest::agent_server`]);
//! - the core's services read the catalogue ([`Ingest::catalogue_server`]);
//! - [`rebuild`] makes the catalogue again from storage and the evidence log, [`fsck`] compares the three.
//!
//! Architecture invariant: no state between calls. A commit is durable in the order observation blob, transaction,
//! leaf, receipt, and each step may be repeated. Tenant and agent come only from the caller's certificate.

mod agent_api;
mod blob_store;
mod catalogue_api;
mod catalogue_entry;
mod commit;
mod core;
mod enrolment;
mod evidence_scan;
mod failure;
mod finding;
mod fsck;
mod governance;
mod ledger_client;
mod message_reader;
mod observation_record;
mod observation_rows;
mod offer;
mod offered_class;
mod outbox;
mod policies;
mod rebuild;
mod receipts;
mod recording;
mod retention;
mod service;

pub use agent_api::{AgentApi, COMMIT_ENVELOPE_BYTES_MAX, COMMIT_ITEMS_MAX};
pub use catalogue_api::CatalogueApi;
pub use enrolment::{
    ENROLMENT_HOURS_DEFAULT, ENROLMENT_HOURS_MAX, ENROLMENT_TOKEN_PREFIX, REVOCATION_REASON_BYTES_MAX,
};
pub use failure::{Failure, FieldError};
pub use finding::{Finding, OnProgress, Progress, Step};
pub use fsck::fsck;
#[doc(hidden)]
pub use governance::ExpiryPlan;
pub use governance::{
    EXPIRY_PLAN_BYTES_MAX, EXPIRY_PLAN_MESSAGES_MAX, HELD, HOLD_EXISTS, HOLD_MESSAGES_MAX, NOT_QUARANTINED,
    PLAN_CHANGED, PLAN_EARLY, RETAINED, SHRED_EXISTS, SHRED_MESSAGES_MAX, SHRED_TOO_LARGE, SHREDDED,
    SUSPENDED,
};
pub use observation_record::{MessageIs, ObservationRecord, RECORD_BYTES_MAX, RecordError};
pub use offer::{Arrival, Offer, Parts};
pub use policies::{INVALID, LOCKED_IN_CORE, POLICIES_MAX, POLICY_ADDRESSES_MAX};
pub use rebuild::{RebuildReport, rebuild};
pub use service::{Ingest, IngestConfig};
