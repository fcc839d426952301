use crate::Role;

/// gRPC between services, and agents to ingest.
pub const GRPC_PORT: u16 = 9443;
/// REST of the gateway.
pub const REST_PORT: u16 = 8443;
/// Plain HTTP of every pod: /livez, /readyz, /metrics (kubelet gRPC probes do no TLS).
pub const HEALTH_PORT: u16 = 9090;
/// Mail servers to agents.
pub const SMTP_PORT: u16 = 2525;
pub const POSTGRES_PORT: u16 = 5432;
/// Of cluster DNS, which names every replica behind a headless Service. UDP too.
pub const DNS_PORT: u16 = 53;

/// One end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Endpoint {
    Role(Role),
    Agent,
    /// Mail servers that journal to agents.
    MailServer,
    /// Browsers, archivectl, other programs over REST.
    Client,
    Database,
    ObjectStore,
    SearchEngine,
    KubernetesApi,
    Dns,
    /// Whoever scrapes metrics.
    Monitoring,
    /// The node, which probes its pods.
    Node,
    /// The Job that makes schemas, and a login for each service.
    Migrate,
    /// Tries whether the cluster enforces network policies.
    Prober,
}

impl Endpoint {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Role(role) => role.name(),
            Self::Agent => "agent",
            Self::MailServer => "mail-server",
            Self::Client => "client",
            Self::Database => "database",
            Self::ObjectStore => "object-store",
            Self::SearchEngine => "search-engine",
            Self::KubernetesApi => "kubernetes-api",
            Self::Dns => "dns",
            Self::Monitoring => "monitoring",
            Self::Node => "node",
            Self::Migrate => "migrate",
            Self::Prober => "prober",
        }
    }
}

/// A connection that must be possible. What is not listed is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edge {
    pub from: Endpoint,
    pub to: Endpoint,
    /// TCP, at the end named `to`. 0: the port that the configuration names. Where an agent listens and where the database
    /// is, the configuration may say, too: then its port counts.
    pub port: u16,
    pub why: &'static str,
}

const fn edge(from: Endpoint, to: Endpoint, port: u16, why: &'static str) -> Edge {
    Edge { from, to, port, why }
}

const fn grpc(from: Role, to: Role, why: &'static str) -> Edge {
    edge(Endpoint::Role(from), Endpoint::Role(to), GRPC_PORT, why)
}

const fn database(from: Role) -> Edge {
    edge(Endpoint::Role(from), Endpoint::Database, POSTGRES_PORT, "its own schema")
}

const fn probed(role: Endpoint) -> Edge {
    edge(Endpoint::Node, role, HEALTH_PORT, "probes")
}

const fn scraped(role: Endpoint) -> Edge {
    edge(Endpoint::Monitoring, role, HEALTH_PORT, "metrics")
}

const fn resolves(role: Endpoint) -> Edge {
    edge(role, Endpoint::Dns, DNS_PORT, "names")
}

/// The service graph.
pub const EDGES: &[Edge] = &[
    edge(Endpoint::MailServer, Endpoint::Agent, SMTP_PORT, "journaling"),
    edge(Endpoint::Agent, Endpoint::Role(Role::Ingest), GRPC_PORT, "offers, uploads, receipts"),
    edge(Endpoint::Client, Endpoint::Role(Role::Gateway), REST_PORT, "people and programs"),
    grpc(Role::Ingest, Role::Storage, "blobs"),
    grpc(Role::Ingest, Role::Trust, "leaves and proofs"),
    grpc(Role::Storage, Role::Trust, "keys, pack leaves"),
    grpc(Role::Worker, Role::Ingest, "mail to index"),
    grpc(Role::Worker, Role::Index, "index feed"),
    grpc(Role::Worker, Role::Storage, "keys that are destroyed"),
    grpc(Role::Gateway, Role::Ingest, "catalogue and mail"),
    grpc(Role::Gateway, Role::Index, "search"),
    grpc(Role::Gateway, Role::Trust, "audit leaves and checkpoints"),
    grpc(Role::Gateway, Role::Worker, "jobs"),
    grpc(Role::Gateway, Role::Storage, "WORM status"),
    grpc(Role::Operator, Role::Trust, "configuration log"),
    grpc(Role::Operator, Role::Storage, "configuration snapshots"),
    grpc(Role::Operator, Role::Ingest, "policies, agents"),
    database(Role::Ingest),
    database(Role::Storage),
    database(Role::Trust),
    database(Role::Gateway),
    database(Role::Worker),
    edge(Endpoint::Migrate, Endpoint::Database, POSTGRES_PORT, "schemas and logins"),
    edge(Endpoint::Role(Role::Storage), Endpoint::ObjectStore, 0, "packs and key files"),
    edge(Endpoint::Role(Role::Trust), Endpoint::ObjectStore, 0, "tiles, heads, protected keys"),
    edge(Endpoint::Role(Role::Index), Endpoint::SearchEngine, 0, "Elasticsearch beyond one machine"),
    edge(Endpoint::Role(Role::Operator), Endpoint::KubernetesApi, 0, "reconcile"),
    edge(Endpoint::Prober, Endpoint::Prober, HEALTH_PORT, "a listed connection must come through"),
    edge(Endpoint::Role(Role::Operator), Endpoint::Prober, HEALTH_PORT, "verdict of the prober"),
    probed(Endpoint::Role(Role::Ingest)),
    probed(Endpoint::Role(Role::Storage)),
    probed(Endpoint::Role(Role::Index)),
    probed(Endpoint::Role(Role::Trust)),
    probed(Endpoint::Role(Role::Gateway)),
    probed(Endpoint::Role(Role::Worker)),
    probed(Endpoint::Role(Role::Operator)),
    probed(Endpoint::Agent),
    probed(Endpoint::Prober),
    scraped(Endpoint::Role(Role::Ingest)),
    scraped(Endpoint::Role(Role::Storage)),
    scraped(Endpoint::Role(Role::Index)),
    scraped(Endpoint::Role(Role::Trust)),
    scraped(Endpoint::Role(Role::Gateway)),
    scraped(Endpoint::Role(Role::Worker)),
    scraped(Endpoint::Role(Role::Operator)),
    scraped(Endpoint::Agent),
    resolves(Endpoint::Role(Role::Ingest)),
    resolves(Endpoint::Role(Role::Storage)),
    resolves(Endpoint::Role(Role::Index)),
    resolves(Endpoint::Role(Role::Trust)),
    resolves(Endpoint::Role(Role::Gateway)),
    resolves(Endpoint::Role(Role::Worker)),
    resolves(Endpoint::Role(Role::Operator)),
    resolves(Endpoint::Agent),
    resolves(Endpoint::Migrate),
    resolves(Endpoint::Prober),
];
