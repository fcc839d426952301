//! The table. A row here is a metric; nothing else is.

use std::sync::LazyLock;

use prometheus_client::registry::Registry;

use super::family::{Counter, Gauge, Histogram, Kind, Row, Unit};

macro_rules! table {
    ($($handle:ident: $kind:ident $name:literal $unit:ident [$($label:literal),*] $help:literal;)*) => {
        $(
            #[doc = $help]
            pub static $handle: LazyLock<$kind<{ (&[$($label),*] as &[&str]).len() }>> =
                LazyLock::new(|| $kind::new(Row {
                    name: $name, kind: Kind::$kind, unit: Unit::$unit, labels: &[$($label),*], help: $help,
                }));
        )*

        /// Every metric, in the order of the documentation.
        pub static TABLE: &[Row] = &[$(Row {
            name: $name, kind: Kind::$kind, unit: Unit::$unit, labels: &[$($label),*], help: $help,
        }),*];

        pub(super) fn registry() -> Registry {
            let mut registry = Registry::default();
            $($handle.register(&mut registry);)*
            registry
        }

        /// Gives every metric a value.
        #[cfg(test)]
        pub(super) fn touch() {
            $(super::tests::Touch::touch(&*$handle);)*
        }
    };
}

table! {
    GRPC_CALLS: Counter "openarchive_grpc_calls" None ["method", "code"]
        "gRPC calls that this role has answered";
    GRPC_CALL_SECONDS: Histogram "openarchive_grpc_call" Seconds ["method"]
        "Time from a call's headers to the end of its answer";
    AUTHORISATION_REFUSALS: Counter "openarchive_authorisation_refusals" None ["method", "caller"]
        "gRPC calls refused because the table does not let this class of caller make them";
    HTTP_REQUESTS: Counter "openarchive_http_requests" None ["route", "status"]
        "REST requests that the gateway has answered; 499: the client went away";
    HTTP_REQUEST_SECONDS: Histogram "openarchive_http_request" Seconds ["route"]
        "Time from a REST request's headers to the beginning of its answer";
    AUDIT_LEAF_SECONDS: Histogram "openarchive_gateway_audit_leaf" Seconds []
        "How long an answer waits for its audit leaf to be durable";
    SMTP_MAILS: Counter "openarchive_edge_smtp_mails" None ["reply"]
        "Mails at the end of their data, by class of the agent's reply: 2xx kept, 4xx sent again later, 5xx refused";
    EDGE_BUFFER_BYTES: Gauge "openarchive_edge_buffer" Bytes []
        "Bytes of the agent's buffer that count against its high-water mark";
    EDGE_BUFFER_MESSAGES: Gauge "openarchive_edge_buffer_messages" None []
        "Mails in the agent's buffer whose proof has not been checked yet";
    EDGE_SYNC_LAG: Gauge "openarchive_edge_sync_lag" Seconds []
        "Age of the oldest mail in the agent's buffer; 0 when there is none";
    EDGE_ALARMS: Gauge "openarchive_edge_alarms" None ["kind"]
        "1 while the agent's alarm of this kind is up, otherwise 0";
    EDGE_UPLOADS: Counter "openarchive_edge_uploads" None []
        "Blobs that the agent has uploaded";
    EDGE_UPLOAD_BYTES: Counter "openarchive_edge_upload" Bytes []
        "Bytes of the blobs that the agent has uploaded";
    INGEST_OBSERVATIONS: Counter "openarchive_ingest_observations" None []
        "Observations recorded, of mails not seen before and of mails that were";
    STORAGE_BLOBS: Counter "openarchive_storage_blobs" None ["outcome"]
        "Blobs that were put: stored, or deduplicated because they were there";
    STORAGE_PACK_FLUSHES: Counter "openarchive_storage_pack_flushes" None ["outcome"]
        "Packs written to the object store, with their key file: done or failed";
    STORAGE_PACK_BYTES: Counter "openarchive_storage_pack" Bytes []
        "Bytes of the packs that were written";
    LEDGER_APPENDS: Counter "openarchive_trust_leaves" None ["log"]
        "Leaves appended to a log";
    CHECKPOINT_TIME: Gauge "openarchive_trust_checkpoint_timestamp" Seconds ["log"]
        "When the last checkpoint of a log was published, in seconds since 1970";
    PENDING_LEAF_TIME: Gauge "openarchive_trust_oldest_pending_leaf_timestamp" Seconds ["log"]
        "When the oldest leaf that no checkpoint covers was first seen, in seconds since 1970; 0 when there is none";
    JOBS: Gauge "openarchive_worker_jobs" None ["kind", "state"]
        "Jobs in the table, as of the last count";
    DEAD_LETTERS: Counter "openarchive_worker_dead_letters" None ["kind"]
        "Jobs that were set aside for a person to look at";
    FIXITY_PACKS: Counter "openarchive_worker_fixity_packs" None ["outcome"]
        "Packs that the fixity pass has read again: whole, damaged, or unchecked because that was not possible";
    FIXITY_BYTES: Counter "openarchive_worker_fixity" Bytes []
        "Bytes of the packs that the fixity pass has read again";
    FIXITY_PASS_TIME: Gauge "openarchive_worker_fixity_pass_timestamp" Seconds []
        "When every pack had been read again for the last time, in seconds since 1970; 0 before the first pass";
    INDEX_DOCUMENTS: Gauge "openarchive_index_documents" None []
        "Documents that can be found";
    SEARCH_SECONDS: Histogram "openarchive_index_search" Seconds []
        "How long the index takes for a search or a count";
    OPERATOR_RECONCILES: Counter "openarchive_operator_reconcile" None ["kind", "outcome"]
        "Passes of the operator: ok, waiting for something that comes by itself, stalled until somebody changes something, error";
    OPERATOR_RECONCILE_SECONDS: Histogram "openarchive_operator_reconcile_duration" Seconds ["kind"]
        "Time that a pass of the operator takes";
    OPERATOR_STALLED: Gauge "openarchive_operator_stalled" None ["kind"]
        "Objects whose last pass ended with something that a person must change";
    OPERATOR_DRIFTS: Counter "openarchive_operator_drift_corrections" None ["kind"]
        "Changes by others that the operator has undone, by kind of the object";
    OPERATOR_CERTIFICATE_END: Gauge "openarchive_operator_certificate_end_timestamp" Seconds ["archive"]
        "When the first certificate of an archive ends, in seconds since 1970";
    OPERATOR_MISSING_MAILS: Gauge "openarchive_operator_missing_mails" None ["agent"]
        "Mails that an EdgeAgent took and its archive does not have, as of the last look; not shown when there are none";
    OPERATOR_SNAPSHOTS_PENDING: Gauge "openarchive_operator_snapshot_pending" None ["archive"]
        "Applied configurations that are kept and stand in no ledger yet";
    OPERATOR_NOT_ENFORCED: Gauge "openarchive_operator_enforcement_not_enforced" None ["archive"]
        "1 where a prober saw a connection that network policies forbid";
    TRANSACTION_RETRIES: Counter "openarchive_database_transaction_retries" None ["name"]
        "Database transactions begun again because they met another";
    PROCESS_RESIDENT_MEMORY: Gauge "openarchive_process_resident_memory" Bytes []
        "Memory of the process that is in RAM";
    PROCESS_UPTIME: Gauge "openarchive_process_uptime" Seconds []
        "Time since the process began";
    BUILD_INFO: Gauge "openarchive_build_info" None ["role", "version"]
        "Always 1: what runs here";
}
