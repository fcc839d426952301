use crate::{Caller, Role};

/// One gRPC method: who serves it, who may call it, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Method {
    /// As in HTTP/2's `:path`: `/package.Service/Method`.
    pub path: &'static str,
    pub server: Role,
    pub callers: &'static [Caller],
    pub why: &'static str,
}

const AGENT: Caller = Caller::Agent;
const INGEST: Caller = Caller::Role(Role::Ingest);
const STORAGE: Caller = Caller::Role(Role::Storage);
const GATEWAY: Caller = Caller::Role(Role::Gateway);
const WORKER: Caller = Caller::Role(Role::Worker);
const OPERATOR: Caller = Caller::Role(Role::Operator);

/// The method at `path`, exactly as it stands in the table.
pub fn method_at(path: &str) -> Option<&'static Method> {
    METHODS.iter().find(|method| method.path == path)
}

/// Whether the table lets `caller` call the method at `path`. What is not in the table nobody may call.
pub fn may_call(path: &str, caller: Caller) -> bool {
    method_at(path).is_some_and(|method| method.callers.contains(&caller))
}

macro_rules! table {
    ($($server:ident $service:literal { $($method:literal $callers:tt $why:literal)* })*) => {
        &[$($(Method {
            path: concat!("/openarchive.", $service, "/", $method),
            server: Role::$server,
            callers: &$callers,
            why: $why,
        },)*)*]
    };
}

/// Every method of every service. A caller stands here when it calls, not when it might.
pub const METHODS: &[Method] = table! {
    Ingest "ingest.v1.AgentService" {
        "OfferMessages"  [AGENT]  "says what is missing"
        "UploadBlobs"    [AGENT]  "brings what is missing"
        "CommitMessages" [AGENT]  "answers receipts"
        "ReportStatus"   [AGENT]  "completeness"
        "GetConsistency" [AGENT]  "growth of the agent's log"
        "Enrol"            [Caller::Anonymous]  "a one-time token gives the first certificate"
        "RenewCertificate" [AGENT]              "a certificate gives the next one"
    }
    Ingest "ingest.v1.CatalogueService" {
        "GetMessage"   [GATEWAY, WORKER]    "a mail is shown, indexed"
        "GetMessages"  [GATEWAY, WORKER]    "a page of hits is shown; what was indexed is still there"
        "OpenMessage"  [GATEWAY, WORKER]    "a mail is read, indexed"
        "ListMessages" [WORKER]             "the index is filled again"
        "GetProof"     [GATEWAY]            "proof of a mail"
        "ListAgents"   [GATEWAY, OPERATOR]  "agents as people see them; status of EdgeAgent"
        "Completeness" [GATEWAY]            "gaps"
        "SetHold"      [GATEWAY]            "mail is kept"
        "ReleaseHold"  [GATEWAY]            "mail is kept no longer"
        "ListHolds"    [GATEWAY]            "what is kept, and why"
        "ShredMessages" [GATEWAY]           "erasure"
        "GetShred"     [GATEWAY, WORKER]    "an order is carried out; how far it is"
        "FinishShred"  [WORKER]             "the keys are gone"
        "GetShredCertificate" [GATEWAY]     "proof that mail was shredded"
        "PlanExpiry"   [GATEWAY]            "mail whose time is over"
        "RunExpiry"    [GATEWAY]            "a plan of expiry is carried out"
        "LiftSuspension" [GATEWAY]          "shredding goes on after a rebuild"
        "ListQuarantine" [GATEWAY]          "mail that did not fit its peer's mode"
        "ReleaseQuarantine" [GATEWAY]       "somebody looked at it"
        "ApplyPolicies" [OPERATOR]          "retention policies"
        "CreateEnrolment" [GATEWAY, OPERATOR]  "an agent may enrol"
        "RevokeAgent"     [GATEWAY, OPERATOR]  "an agent is shut out"
    }
    Storage "storage.v1.StorageService" {
        "PutBlobs"      [INGEST, OPERATOR]  "mail; configuration snapshots"
        "GetBlob"       [INGEST, OPERATOR]  "mail and snapshots are read back"
        "StatBlobs"     [INGEST]            "what is missing"
        "ExtendLock"    [INGEST]            "what is kept longer"
        "LocateBlobs"   [INGEST]            "keys that a shred will name"
        "Shred"         [WORKER]            "destroys the keys that a leaf names"
        "ListPacks"     [WORKER]            "fixity: what there is to verify"
        "VerifyPack"    [WORKER]            "fixity"
        "GetWormStatus" [GATEWAY]           "status"
    }
    Index "index.v1.IndexService" {
        "IndexMessages"  [WORKER]           "index feed"
        "Search"         [GATEWAY]          "search"
        "Count"          [GATEWAY]          "search"
        "Explain"        [GATEWAY]          "how a query is understood"
        "Highlight"      [GATEWAY]          "words of a hit in its text"
        "DeleteMessages" [WORKER]           "what was shredded or expired"
        "IndexStatus"    [GATEWAY, WORKER]  "health; a lost index is seen"
        "MarkFilled"     [WORKER]           "a lost index is queued to be filled"
    }
    Trust "trust.v1.TrustService" {
        "Append"              [INGEST, STORAGE, GATEWAY, OPERATOR]  "leaves: messages, packs, audit, configuration"
        "ListLeaves"          [INGEST, STORAGE, GATEWAY, OPERATOR]  "rebuild, audit list, configuration history"
        "GetCheckpoint"       [INGEST, GATEWAY, OPERATOR]           "size and root that were signed"
        "GetInclusionProofs"  [INGEST, OPERATOR]                    "receipts; proofs of configuration"
        "GetConsistencyProof" [INGEST, OPERATOR]                    "growth, for agents and for the operator"
        "WrapKeys"            [STORAGE]                             "keys of new blobs"
        "UnwrapKeys"          [STORAGE]                             "keys of blobs that are read"
        "IssueAgentCertificate" [INGEST]                            "agents that enrol or renew"
        "GetLogPolicy"        [INGEST]                              "what agents that enrol check receipts with"
        "GetTrustMode"        [GATEWAY]                             "health"
    }
    Worker "worker.v1.WorkerService" {
        "ListJobs" [GATEWAY]  "jobs as people see them"
        "RetryJob" [GATEWAY]  "a dead job is made ready"
        "Reindex"  [GATEWAY]  "the index is filled again"
    }
};
