//! The service graph with the facts put in: which pods of the archive connect, to whom, on which port, and why.

use k8s_openapi::api::networking::v1::NetworkPolicyPeer;
use openarchive_topology::{DNS_PORT, EDGES, Edge, Endpoint, Role};
use serde::Serialize;

use crate::{
    evaluate::Protocol,
    facts::{Destination, End, ExtraEdge, Facts, Layout},
    labels::{self, LABEL_AGENT, LABEL_COMPONENT, Labels},
    peers,
};

/// Component of agents' pods.
const EDGE: &str = "edge";

/// Pods of the archive that have one policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PodSet {
    /// Every role in one pod.
    All,
    Role(Role),
    Agent(String),
    Migrate,
    Prober,
}

/// One end of a connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Side {
    /// The archive's pods at this end: their policy gets a rule that names the other end.
    pub(crate) pods: Vec<PodSet>,
    /// How the other end's policy names this end. Empty: nobody, so it gets no rule.
    pub(crate) peers: Vec<NetworkPolicyPeer>,
}

/// Why a rule is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cause {
    pub from: String,
    pub to: String,
    pub why: String,
    pub listed: Listed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Listed {
    /// In the service graph.
    Graph,
    /// Among the extra edges.
    Extra,
}

#[derive(Debug, Clone)]
pub(crate) struct Connection {
    pub(crate) from: Side,
    pub(crate) to: Side,
    pub(crate) ports: Vec<(Protocol, u16)>,
    pub(crate) cause: Cause,
}

impl PodSet {
    pub(crate) fn of_role(layout: Layout, role: Role) -> Self {
        match layout {
            Layout::Standalone => Self::All,
            Layout::Distributed => Self::Role(role),
        }
    }

    /// Every set of pods of the archive, in the order of their policies.
    pub(crate) fn every(facts: &Facts) -> Vec<Self> {
        let mut sets = match facts.layout {
            Layout::Standalone => vec![Self::All],
            Layout::Distributed => {
                Role::ALL.into_iter().filter(|role| *role != Role::Operator).map(Self::Role).collect()
            }
        };
        sets.extend(facts.agents.iter().map(|agent| Self::Agent(agent.name.clone())));
        sets.extend(facts.database.is_some().then_some(Self::Migrate));
        sets.extend(facts.prober.is_some().then_some(Self::Prober));
        sets
    }

    pub(crate) fn component(&self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Role(role) => role.name(),
            Self::Agent(_) => EDGE,
            Self::Migrate => Endpoint::Migrate.name(),
            Self::Prober => Endpoint::Prober.name(),
        }
    }

    /// By which its pods are selected.
    pub(crate) fn labels(&self, archive: &str) -> Labels {
        let mut labels = of_component(archive, self.component());
        if let Self::Agent(name) = self {
            labels.insert(LABEL_AGENT.to_owned(), name.clone());
        }
        labels
    }
}

fn of_component(archive: &str, component: &str) -> Labels {
    let mut labels = labels::of_archive(archive);
    labels.insert(LABEL_COMPONENT.to_owned(), component.to_owned());
    labels
}

/// In the order of the graph, then of the extra edges. What both layouts keep inside one pod is left out.
pub(crate) fn connections(facts: &Facts) -> Vec<Connection> {
    let graph = EDGES.iter().flat_map(|edge| listed(facts, edge));
    let extra = facts.extra_edges.iter().map(|edge| extra(facts, edge));
    let in_one_pod =
        |one: &Connection| one.from.pods.contains(&PodSet::All) && one.to.pods.contains(&PodSet::All);
    graph.chain(extra).filter(|connection| !in_one_pod(connection)).collect()
}

/// An edge of the graph: as many connections as there are ports, or sets of peers, for it.
fn listed(facts: &Facts, edge: &Edge) -> Vec<Connection> {
    let connection = |from: Side, to: Side, ports: Vec<(Protocol, u16)>| Connection {
        from,
        to,
        ports,
        cause: Cause {
            from: edge.from.name().to_owned(),
            to: edge.to.name().to_owned(),
            why: edge.why.to_owned(),
            listed: Listed::Graph,
        },
    };
    match (edge.from, edge.to) {
        (from, Endpoint::Dns) => resolvers(facts)
            .into_iter()
            .map(|(peers, port)| {
                let ports = vec![(Protocol::Udp, port), (Protocol::Tcp, port)];
                connection(side(facts, from), Side { pods: Vec::new(), peers }, ports)
            })
            .collect(),
        (Endpoint::MailServer, Endpoint::Agent) => facts
            .agents
            .iter()
            .flat_map(|agent| agent.listeners.iter().map(move |listener| (agent, listener)))
            .map(|(agent, listener)| {
                let servers = Side { pods: Vec::new(), peers: peers::ranges(&listener.peers) };
                let agent = Side { pods: vec![PodSet::Agent(agent.name.clone())], peers: Vec::new() };
                connection(servers, agent, vec![(Protocol::Tcp, listener.port)])
            })
            .collect(),
        (from, Endpoint::Database | Endpoint::ObjectStore | Endpoint::SearchEngine) => {
            outside_destinations(facts, edge.to)
                .iter()
                .map(|destination| {
                    let (Destination::Cidrs { port, .. } | Destination::Pods { port, .. }) = destination;
                    let to = Side { pods: Vec::new(), peers: peers::destination(destination) };
                    connection(side(facts, from), to, vec![(Protocol::Tcp, *port)])
                })
                .collect()
        }
        (from, to) => {
            vec![connection(side(facts, from), side(facts, to), vec![(Protocol::Tcp, edge.port)])]
        }
    }
}

/// The cluster's DNS, and its cache on the node.
fn resolvers(facts: &Facts) -> Vec<(Vec<NetworkPolicyPeer>, u16)> {
    vec![
        (vec![peers::pods(&facts.dns.pods)], facts.dns.port),
        (peers::ranges(&facts.dns.node_local), DNS_PORT),
    ]
}

/// Where the configuration says that something is, each with a port of its own.
fn outside_destinations(facts: &Facts, endpoint: Endpoint) -> &[Destination] {
    match endpoint {
        Endpoint::Database => facts.database.as_slice(),
        Endpoint::ObjectStore => facts.object_store.as_slice(),
        Endpoint::SearchEngine => &facts.search_engine,
        _ => &[],
    }
}

fn side(facts: &Facts, endpoint: Endpoint) -> Side {
    let outside = |peers| Side { pods: Vec::new(), peers };
    match endpoint {
        Endpoint::Role(Role::Operator) => outside(vec![peers::pods(&facts.operator)]),
        Endpoint::Role(role) => of_set(facts, PodSet::of_role(facts.layout, role)),
        Endpoint::Agent => {
            let mut side = agents(facts);
            side.peers.extend(peers::ranges(&facts.external_agents));
            side
        }
        Endpoint::Client => outside(peers::ranges(&facts.clients)),
        Endpoint::Monitoring => outside(facts.monitoring.iter().map(peers::pods).collect()),
        Endpoint::Migrate if facts.database.is_some() => of_set(facts, PodSet::Migrate),
        Endpoint::Prober if facts.prober.is_some() => of_set(facts, PodSet::Prober),
        // A node reaches its pods whatever a policy says. Only the operator talks to the API server. The others have a port of
        // their own: see `listed`.
        Endpoint::Migrate
        | Endpoint::Prober
        | Endpoint::Database
        | Endpoint::ObjectStore
        | Endpoint::SearchEngine
        | Endpoint::Node
        | Endpoint::KubernetesApi
        | Endpoint::MailServer
        | Endpoint::Dns => Side::default(),
    }
}

fn of_set(facts: &Facts, set: PodSet) -> Side {
    Side { peers: vec![peers::neighbours(set.labels(&facts.archive))], pods: vec![set] }
}

/// The agents in the cluster. One peer for all: a pod that only says it is an agent has no policy that lets it out.
fn agents(facts: &Facts) -> Side {
    let pods: Vec<PodSet> = facts.agents.iter().map(|agent| PodSet::Agent(agent.name.clone())).collect();
    let peers =
        if pods.is_empty() { vec![] } else { vec![peers::neighbours(of_component(&facts.archive, EDGE))] };
    Side { pods, peers }
}

fn extra(facts: &Facts, edge: &ExtraEdge) -> Connection {
    Connection {
        from: extra_side(facts, &edge.from),
        to: extra_side(facts, &edge.to),
        ports: vec![(Protocol::Tcp, edge.port)],
        cause: Cause {
            from: extra_name(&edge.from),
            to: extra_name(&edge.to),
            why: edge.reason.clone(),
            listed: Listed::Extra,
        },
    }
}

fn extra_side(facts: &Facts, end: &End) -> Side {
    match end {
        End::Role(role) => side(facts, Endpoint::Role(*role)),
        End::Agents => agents(facts),
        End::Cidr(range) => Side { pods: Vec::new(), peers: vec![peers::range(*range)] },
        End::Pods(pods) => Side { pods: Vec::new(), peers: vec![peers::pods(pods)] },
    }
}

fn extra_name(end: &End) -> String {
    match end {
        End::Role(role) => role.name().to_owned(),
        End::Agents => Endpoint::Agent.name().to_owned(),
        End::Cidr(range) => range.trunc().to_string(),
        End::Pods(pods) if pods.pods.is_empty() => format!("namespaces {}", labels::text(&pods.namespaces)),
        End::Pods(pods) => {
            format!("pods {} of namespaces {}", labels::text(&pods.pods), labels::text(&pods.namespaces))
        }
    }
}
