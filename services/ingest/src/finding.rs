use openarchive_domain::{AgentName, Digest, Tenant};

/// One thing about a tenant's catalogue, or about the archive's policies, that is not as it must be. `Display` is one sentence for people, without
/// personal data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    #[error("{tenant}: {message} does not come out of storage as it went in: {why}")]
    MessageDamaged { tenant: Tenant, message: Digest, why: String },
    #[error("{tenant}: the catalogue names other parts of {message} than its skeleton does")]
    PartsDiffer { tenant: Tenant, message: Digest },
    #[error("{tenant}: the catalogue knows a length of {message} that is not its own")]
    LengthDiffers { tenant: Tenant, message: Digest },
    #[error("{tenant}: leaf {index} of the evidence log cannot be read: {why}")]
    LeafUnreadable { tenant: Tenant, index: u64, why: String },
    #[error("{tenant}: leaf {index} of the evidence log has no observation in the catalogue")]
    LeafWithoutObservation { tenant: Tenant, index: u64 },
    #[error("{tenant}: leaf {index} of the evidence log is not opened by the observation of its seat")]
    LeafNotOpened { tenant: Tenant, index: u64 },
    #[error(
        "{tenant}: the catalogue does not know what leaf {index} of the evidence log says was done to mail"
    )]
    ActMissing { tenant: Tenant, index: u64 },
    #[error(
        "{tenant}: the catalogue says otherwise what was done to mail than leaf {index} of the evidence log"
    )]
    ActDiffers { tenant: Tenant, index: u64 },
    #[error("the retention policies in force are not those of leaf {index} of the archive's evidence log")]
    PoliciesDiffer { index: u64 },
    #[error(
        "set {version} of the retention policies has no leaf in the archive's evidence log, and none that says the same \
         is about to be sent"
    )]
    PoliciesWithoutLeaf { version: u64 },
    #[error("the retention policies of leaf {index} of the archive's evidence log cannot be read: {why}")]
    PoliciesUnreadable { index: u64, why: String },
    #[error("{tenant}: the observation of seq {seq} of agent {agent} names a leaf that is not its own")]
    WrongLeaf { tenant: Tenant, agent: AgentName, seq: u64 },
    #[error(
        "{tenant}: the observation of seq {seq} of agent {agent} has neither a leaf nor a row in the outbox"
    )]
    NoLeaf { tenant: Tenant, agent: AgentName, seq: u64 },
    #[error("{tenant}: the row of seq {seq} of agent {agent} differs from what was recorded, in `{field}`")]
    RowDiffers { tenant: Tenant, agent: AgentName, seq: u64, field: &'static str },
    #[error("{tenant}: observation {record} cannot be read from storage: {why}")]
    RecordDamaged { tenant: Tenant, record: Digest, why: String },
}

/// How far a rebuild or a check has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    pub tenant: Tenant,
    pub step: Step,
    /// Items done in this step.
    pub done: u64,
    /// Items in all; 0 while that is not known.
    pub total: u64,
}

/// What a rebuild or a check is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Leaves,
    Observations,
    Messages,
}

impl Step {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Leaves => "leaves",
            Self::Observations => "observations",
            Self::Messages => "messages",
        }
    }
}

/// Told after each batch. Called from one task at a time.
pub type OnProgress<'p> = &'p (dyn Fn(Progress) + Send + Sync);
