/// What a process of the archive does. Its certificate names it: `spiffe://DOMAIN/service/NAME`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    Ingest,
    Storage,
    Index,
    Trust,
    Gateway,
    Worker,
    Operator,
}

impl Role {
    pub const ALL: [Self; 7] =
        [Self::Ingest, Self::Storage, Self::Index, Self::Trust, Self::Gateway, Self::Worker, Self::Operator];

    /// As it stands in certificates, commands and object names.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Storage => "storage",
            Self::Index => "index",
            Self::Trust => "trust",
            Self::Gateway => "gateway",
            Self::Worker => "worker",
            Self::Operator => "operator",
        }
    }

    /// The role that [`Self::name`] names.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

/// The kinds of caller that the table tells apart. Which tenant's agent it is, ingest decides from the certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Caller {
    Role(Role),
    Agent,
    /// Shows no certificate.
    Anonymous,
}

impl Caller {
    /// For logs and metrics: never who exactly it is.
    pub const fn class(self) -> &'static str {
        match self {
            Self::Role(role) => role.name(),
            Self::Agent => "agent",
            Self::Anonymous => "anonymous",
        }
    }
}
