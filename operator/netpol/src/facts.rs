//! What the policies of one archive depend on, checked.

use std::{collections::BTreeSet, ops::Deref};

use ipnet::IpNet;
use openarchive_topology::{HEALTH_PORT, Role};

use crate::labels::{self, Labels, Pods};

/// Connections beyond the graph that one archive may have: each becomes a rule and an annotation of at most
/// [`REASON_BYTES_MAX`] and some, and an object's annotations may have 256 KiB.
pub const EXTRA_EDGES_MAX: usize = 64;
/// Address ranges in one list: as many as a listener of an `EdgeAgent` may name, 32 peers with 64 each. The longest address
/// range makes some 60 bytes of a policy, which may have 1.5 MiB.
pub const CIDRS_MAX: usize = 32 * 64;
/// Nodes of the search engine, as many as an ArchiveCore may name.
pub const SEARCH_NODES_MAX: usize = 16;
/// Length of an extra edge's reason.
pub const REASON_BYTES_MAX: usize = 1024;

/// Facts about one archive and its cluster, as the controller finds them: [`Facts::new`] checks them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    pub archive: String,
    /// Of the archive and its agents.
    pub namespace: String,
    pub layout: Layout,
    /// Agents that run in the cluster.
    pub agents: Vec<Agent>,
    /// Where agents outside the cluster come from. Empty: there are none, or nobody lets them in.
    pub external_agents: Vec<IpNet>,
    /// Who may use the gateway from outside the cluster. Empty: nobody. Programs in the cluster, an ingress controller
    /// among them, come by an extra edge, which says why.
    pub clients: Vec<IpNet>,
    /// None: inside the pod, or not used. The same holds for the next one.
    pub database: Option<Destination>,
    pub object_store: Option<Destination>,
    /// Each of its nodes that is named. Empty: inside the pod, or not used.
    pub search_engine: Vec<Destination>,
    pub dns: Dns,
    /// Who reads metrics. None: nobody.
    pub monitoring: Option<Pods>,
    /// The operator's pods. Their own policy is [`crate::operator_policy`].
    pub operator: Pods,
    pub prober: Option<Prober>,
    pub extra_edges: Vec<ExtraEdge>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// One pod is every role, so edges between roles are inside it and need no rule.
    Standalone,
    /// A set of pods for each role.
    Distributed,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    pub name: String,
    pub listeners: Vec<Listener>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// TCP, of the pod.
    pub port: u16,
    /// Addresses of all its peers: the mail servers.
    pub peers: Vec<IpNet>,
}

/// Where something is that the archive uses and does not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    Cidrs {
        ranges: Vec<IpNet>,
        port: u16,
    },
    /// Port of the pods, not of their Service: policies are applied after its translation.
    Pods {
        pods: Pods,
        port: u16,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dns {
    pub pods: Pods,
    /// Of these pods, TCP and UDP: [`openarchive_topology::DNS_PORT`] nearly everywhere, 5353 on OpenShift.
    pub port: u16,
    /// NodeLocal DNSCache, on port 53: its link-local address and, where it takes over the DNS Service's, that one.
    pub node_local: Vec<IpNet>,
}

/// Two pods that try to connect to each other: the graph's port must work, the canary must not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prober {
    /// Where each listens though no edge leads there.
    pub deny_canary_port: u16,
}

/// A connection beyond the graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtraEdge {
    pub from: End,
    pub to: End,
    /// TCP.
    pub port: u16,
    /// For the auditor; one line.
    pub reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    Role(Role),
    /// Every agent that runs in the cluster.
    Agents,
    Cidr(IpNet),
    /// These policies open nothing for such pods: they let the archive's end through. To connect two pods of the archive
    /// name both by role.
    Pods(Pods),
}

/// A checked [`Draft`]: the policies built from it are accepted by the API server and mean what is written there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts(Draft);

/// Which fact is wrong, and how.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{whose}: {fault}")]
pub struct FactsError {
    pub whose: String,
    pub fault: Fault,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("{0:?} is no DNS label: use 1 to 63 of a-z, 0-9 and -, not first or last")]
    Name(String),
    #[error("there are two of this name")]
    Twice,
    #[error("label {0:?} is malformed")]
    Label(String),
    #[error("no namespace label would mean every namespace: give at least one")]
    EveryNamespace,
    #[error("no label would mean every pod: give at least one")]
    EveryPod,
    #[error("no address is given, so nothing could connect: name one")]
    NoAddress,
    #[error("more than {0}")]
    TooMany(usize),
    #[error("port 0 is no port")]
    Port,
    #[error("port {HEALTH_PORT} answers probes: choose another")]
    HealthPort,
    #[error("both ends are outside the archive: its policies cannot open that")]
    Outside,
    #[error("the reason must be one line of 1 to {REASON_BYTES_MAX} bytes")]
    Reason,
}

impl Facts {
    pub fn new(mut draft: Draft) -> Result<Self, FactsError> {
        name("archive", &draft.archive)?;
        name("namespace", &draft.namespace)?;
        draft.agents.sort_by(|one, other| one.name.cmp(&other.name));
        let mut names = BTreeSet::new();
        for agent in &draft.agents {
            let whose = format!("agent {}", agent.name);
            name(&whose, &agent.name)?;
            ensure(names.insert(&agent.name), &whose, Fault::Twice)?;
            for listener in &agent.listeners {
                port(&whose, listener.port)?;
                ensure(listener.port != HEALTH_PORT, &whose, Fault::HealthPort)?;
                ranges(&whose, &listener.peers)?;
            }
        }
        ranges("external agents", &draft.external_agents)?;
        ranges("clients", &draft.clients)?;
        destination("database", draft.database.as_ref())?;
        destination("object store", draft.object_store.as_ref())?;
        ensure(
            draft.search_engine.len() <= SEARCH_NODES_MAX,
            "search engine",
            Fault::TooMany(SEARCH_NODES_MAX),
        )?;
        for node in &draft.search_engine {
            destination("search engine", Some(node))?;
        }
        dns(&draft.dns)?;
        pods("operator", &draft.operator)?;
        if let Some(monitoring) = &draft.monitoring {
            pods("monitoring", monitoring)?;
        }
        if let Some(prober) = draft.prober {
            port("prober", prober.deny_canary_port)?;
            ensure(prober.deny_canary_port != HEALTH_PORT, "prober", Fault::HealthPort)?;
        }
        ensure(draft.extra_edges.len() <= EXTRA_EDGES_MAX, "extra edges", Fault::TooMany(EXTRA_EDGES_MAX))?;
        for (position, edge) in draft.extra_edges.iter().enumerate() {
            extra_edge(&format!("extra edge {position}"), edge)?;
        }
        Ok(Self(draft))
    }
}

impl Deref for Facts {
    type Target = Draft;

    fn deref(&self) -> &Draft {
        &self.0
    }
}

pub(crate) fn ensure(good: bool, whose: &str, fault: Fault) -> Result<(), FactsError> {
    if good { Ok(()) } else { Err(FactsError { whose: whose.to_owned(), fault }) }
}

pub(crate) fn name(whose: &str, text: &str) -> Result<(), FactsError> {
    ensure(labels::is_dns_label(text), whose, Fault::Name(text.to_owned()))
}

fn port(whose: &str, port: u16) -> Result<(), FactsError> {
    ensure(port != 0, whose, Fault::Port)
}

fn ranges(whose: &str, ranges: &[IpNet]) -> Result<(), FactsError> {
    ensure(ranges.len() <= CIDRS_MAX, whose, Fault::TooMany(CIDRS_MAX))
}

pub(crate) fn well_formed(whose: &str, labels: &Labels) -> Result<(), FactsError> {
    labels::malformed(labels).map_or(Ok(()), |key| ensure(false, whose, Fault::Label(key.to_owned())))
}

pub(crate) fn pods(whose: &str, pods: &Pods) -> Result<(), FactsError> {
    ensure(!pods.namespaces.is_empty(), whose, Fault::EveryNamespace)?;
    well_formed(whose, &pods.namespaces)?;
    well_formed(whose, &pods.pods)
}

pub(crate) fn dns(dns: &Dns) -> Result<(), FactsError> {
    pods("DNS", &dns.pods)?;
    port("DNS", dns.port)?;
    ranges("DNS", &dns.node_local)
}

fn destination(whose: &str, destination: Option<&Destination>) -> Result<(), FactsError> {
    match destination {
        None => Ok(()),
        Some(Destination::Cidrs { ranges: list, port: number }) => {
            ensure(!list.is_empty(), whose, Fault::NoAddress)?;
            ranges(whose, list)?;
            port(whose, *number)
        }
        Some(Destination::Pods { pods: selected, port: number }) => {
            pods(whose, selected)?;
            port(whose, *number)
        }
    }
}

fn extra_edge(whose: &str, edge: &ExtraEdge) -> Result<(), FactsError> {
    port(whose, edge.port)?;
    let one_line = !edge.reason.trim().is_empty() && !edge.reason.chars().any(char::is_control);
    ensure(one_line && edge.reason.len() <= REASON_BYTES_MAX, whose, Fault::Reason)?;
    let mut ours = false;
    for end in [&edge.from, &edge.to] {
        match end {
            End::Role(role) => ours |= *role != Role::Operator,
            End::Agents => ours = true,
            End::Cidr(_) => (),
            End::Pods(selected) => pods(whose, selected)?,
        }
    }
    ensure(ours, whose, Fault::Outside)
}
