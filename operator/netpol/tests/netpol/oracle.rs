//! What the graph says of a connection, read from `EDGES` and the facts alone: no policy is made or looked at.

use std::net::IpAddr;

use ipnet::IpNet;
use openarchive_operator_netpol::{
    Destination, End, Facts, LABEL_AGENT, LABEL_COMPONENT, LABEL_INSTANCE, LABEL_NAME, Labels, Layout, Party,
    Pod, Pods, Protocol, World,
};
use openarchive_topology::{DNS_PORT, EDGES, Edge, Endpoint, Role};

/// What is asked.
pub(crate) struct Question<'a> {
    pub(crate) facts: &'a Facts,
    pub(crate) world: &'a World,
    pub(crate) from: &'a Party,
    pub(crate) to: &'a Party,
    pub(crate) port: u16,
    pub(crate) protocol: Protocol,
}

/// How a party is taken to be an end of an edge.
#[derive(Debug, Clone, Copy)]
enum As {
    /// As a pod of the archive that has this part there.
    Own,
    /// As whatever policies can tell of it: its labels, its address, its namespace.
    Seen,
}

impl Question<'_> {
    /// Whether it may leave its source, and whether it may enter its destination. An end that is a pod of the archive must
    /// find an edge in which it has its part, and the other end looks like the edge's other end: policies are applied at
    /// each end by itself.
    pub(crate) fn sides(&self) -> (bool, bool) {
        if self.is_beyond_policies() {
            return (true, true);
        }
        let out = !self.is_own(self.from) || self.has_edge(As::Own, As::Seen);
        let into = !self.is_own(self.to) || self.has_edge(As::Seen, As::Own);
        (out, into)
    }

    /// Whether one edge says all of it. None: a pod of the archive also looks like some outside end, so that two edges may
    /// add up.
    pub(crate) fn has_single_edge(&self) -> Option<bool> {
        let own = [self.from, self.to].map(|party| self.is_own(party));
        let looks_outside = |party: &Party| {
            self.is_own(party) && self.outside_ends().iter().any(|end| self.is_outside_end(end, party))
        };
        if self.is_beyond_policies()
            || own == [false, false]
            || looks_outside(self.from)
            || looks_outside(self.to)
        {
            return None;
        }
        let role = |own: bool| if own { As::Own } else { As::Seen };
        Some(self.has_edge(role(own[0]), role(own[1])))
    }

    /// A pod and itself, a pod and its node.
    fn is_beyond_policies(&self) -> bool {
        match (self.from, self.to) {
            (Party::Pod(from), Party::Pod(to)) => (&from.namespace, &from.name) == (&to.namespace, &to.name),
            (Party::Pod(pod), Party::Node { name, .. }) | (Party::Node { name, .. }, Party::Pod(pod)) => {
                pod.node == *name
            }
            _ => false,
        }
    }

    fn has_edge(&self, from: As, to: As) -> bool {
        EDGES.iter().any(|edge| self.is_edge(edge, from, to)) || self.is_extra_edge(from, to)
    }

    fn is_edge(&self, edge: &Edge, from: As, to: As) -> bool {
        if self.facts.layout == Layout::Standalone && is_core(edge.from) && is_core(edge.to) {
            return false;
        }
        let tcp = |port: u16| self.protocol == Protocol::Tcp && self.port == port;
        let right_port = match edge.to {
            // These depend on who it is.
            Endpoint::Database | Endpoint::ObjectStore | Endpoint::SearchEngine => {
                return self.is_end(edge.from, self.from, from) && self.is_destination(edge.to, to);
            }
            Endpoint::Dns => return self.is_end(edge.from, self.from, from) && self.resolves(to),
            Endpoint::Agent if edge.from == Endpoint::MailServer => return self.takes_mail(from, to),
            _ => tcp(edge.port),
        };
        right_port && self.is_end(edge.from, self.from, from) && self.is_end(edge.to, self.to, to)
    }

    fn resolves(&self, to: As) -> bool {
        let dns = &self.facts.dns;
        let to_pods = self.port == dns.port && self.selects(&dns.pods, self.to);
        let to_cache = self.port == DNS_PORT && contains(&dns.node_local, self.to);
        matches!(to, As::Seen) && self.protocol != Protocol::Sctp && (to_pods || to_cache)
    }

    /// A mail server and an agent, which the other end sees by its address only.
    fn takes_mail(&self, from: As, to: As) -> bool {
        let (As::Seen, As::Own) = (from, to) else { return false };
        self.agent(self.to).is_some_and(|name| {
            self.facts.agents.iter().filter(|agent| agent.name == name).any(|agent| {
                agent.listeners.iter().any(|listener| {
                    (self.protocol, self.port) == (Protocol::Tcp, listener.port)
                        && contains(&listener.peers, self.from)
                })
            })
        })
    }

    fn is_extra_edge(&self, from: As, to: As) -> bool {
        let standalone = self.facts.layout == Layout::Standalone;
        let core = |end: &End| matches!(end, End::Role(role) if *role != Role::Operator);
        self.protocol == Protocol::Tcp
            && self.facts.extra_edges.iter().any(|edge| {
                edge.port == self.port
                    && !(standalone && core(&edge.from) && core(&edge.to))
                    && self.is_extra_end(&edge.from, self.from, from)
                    && self.is_extra_end(&edge.to, self.to, to)
            })
    }

    fn is_extra_end(&self, end: &End, party: &Party, taken: As) -> bool {
        match (end, taken) {
            (End::Role(role), _) => self.is_end(Endpoint::Role(*role), party, taken),
            (End::Agents, As::Own) => self.agent(party).is_some(),
            (End::Agents, As::Seen) => self.looks_like_an_agent(party),
            (End::Cidr(_) | End::Pods(_), As::Own) => false,
            (outside, As::Seen) => self.is_outside_end(outside, party),
        }
    }

    fn is_outside_end(&self, end: &End, party: &Party) -> bool {
        match end {
            End::Cidr(range) => contains(&[*range], party),
            End::Pods(pods) => self.selects(pods, party),
            End::Role(Role::Operator) => self.selects(&self.facts.operator, party),
            End::Role(_) | End::Agents => false,
        }
    }

    /// Every outside end that the facts name.
    fn outside_ends(&self) -> Vec<End> {
        let facts = self.facts;
        let mut ends = vec![End::Role(Role::Operator), End::Pods(facts.dns.pods.clone())];
        ends.extend(facts.monitoring.iter().cloned().map(End::Pods));
        let mut ranges = vec![];
        for destination in facts.database.iter().chain(&facts.object_store).chain(&facts.search_engine) {
            match destination {
                Destination::Cidrs { ranges: list, .. } => ranges.extend(list),
                Destination::Pods { pods, .. } => ends.push(End::Pods(pods.clone())),
            }
        }
        for list in [&facts.external_agents, &facts.clients, &facts.dns.node_local] {
            ranges.extend(list);
        }
        ranges.extend(facts.agents.iter().flat_map(|agent| &agent.listeners).flat_map(|one| &one.peers));
        ends.extend(ranges.into_iter().map(End::Cidr));
        ends.extend(facts.extra_edges.iter().flat_map(|edge| [edge.from.clone(), edge.to.clone()]));
        ends
    }

    fn is_end(&self, endpoint: Endpoint, party: &Party, taken: As) -> bool {
        let facts = self.facts;
        match (endpoint, taken) {
            (Endpoint::Role(Role::Operator), As::Seen) => self.selects(&facts.operator, party),
            (Endpoint::Role(role), _) => {
                let component = match facts.layout {
                    Layout::Standalone => "all",
                    Layout::Distributed => role.name(),
                };
                role != Role::Operator && self.component(party) == Some(component)
            }
            (Endpoint::Agent, As::Own) => self.agent(party).is_some(),
            (Endpoint::Agent, As::Seen) => {
                self.looks_like_an_agent(party) || contains(&facts.external_agents, party)
            }
            (Endpoint::Migrate, _) => facts.database.is_some() && self.component(party) == Some("migrate"),
            (Endpoint::Prober, _) => facts.prober.is_some() && self.component(party) == Some("prober"),
            // Mail servers, DNS and what the archive uses have a port of their own: see `is_edge`.
            (
                Endpoint::MailServer
                | Endpoint::Dns
                | Endpoint::Database
                | Endpoint::ObjectStore
                | Endpoint::SearchEngine
                | Endpoint::KubernetesApi
                | Endpoint::Node,
                _,
            )
            | (_, As::Own) => false,
            (Endpoint::Client, As::Seen) => contains(&facts.clients, party),
            (Endpoint::Monitoring, As::Seen) => {
                facts.monitoring.as_ref().is_some_and(|pods| self.selects(pods, party))
            }
        }
    }

    /// One of the places where the facts say that `endpoint` is, at its port.
    fn is_destination(&self, endpoint: Endpoint, to: As) -> bool {
        let facts = self.facts;
        let places: Vec<_> = match endpoint {
            Endpoint::Database => facts.database.iter().collect(),
            Endpoint::ObjectStore => facts.object_store.iter().collect(),
            _ => facts.search_engine.iter().collect(),
        };
        let is_there = |place: &&Destination| match place {
            Destination::Cidrs { ranges, port } => self.port == *port && contains(ranges, self.to),
            Destination::Pods { pods, port } => self.port == *port && self.selects(pods, self.to),
        };
        matches!(to, As::Seen) && self.protocol == Protocol::Tcp && places.iter().any(is_there)
    }

    fn own<'p>(&self, party: &'p Party) -> Option<&'p Pod> {
        let Party::Pod(pod) = party else { return None };
        let label = |key: &str, value: &str| pod.labels.get(key).is_some_and(|found| found == value);
        let own = pod.namespace == self.facts.namespace
            && label(LABEL_NAME, "openarchive")
            && label(LABEL_INSTANCE, &self.facts.archive);
        own.then_some(pod)
    }

    fn is_own(&self, party: &Party) -> bool {
        self.own(party).is_some()
    }

    fn component<'p>(&self, party: &'p Party) -> Option<&'p str> {
        self.own(party)?.labels.get(LABEL_COMPONENT).map(String::as_str)
    }

    /// Name of the agent of the facts that this pod is.
    fn agent<'p>(&self, party: &'p Party) -> Option<&'p str> {
        let name =
            self.own(party).filter(|_| self.component(party) == Some("edge"))?.labels.get(LABEL_AGENT)?;
        self.facts.agents.iter().any(|agent| agent.name == *name).then_some(name.as_str())
    }

    /// Which agent it is, the other end does not ask.
    fn looks_like_an_agent(&self, party: &Party) -> bool {
        !self.facts.agents.is_empty() && self.component(party) == Some("edge")
    }

    fn selects(&self, pods: &Pods, party: &Party) -> bool {
        let Party::Pod(pod) = party else { return false };
        let all =
            |wanted: &Labels, found: &Labels| wanted.iter().all(|(key, value)| found.get(key) == Some(value));
        all(&pods.namespaces, &self.world.namespaces[&pod.namespace]) && all(&pods.pods, &pod.labels)
    }
}

/// Whether it is one of the roles that Standalone puts into one pod.
fn is_core(endpoint: Endpoint) -> bool {
    matches!(endpoint, Endpoint::Role(role) if role != Role::Operator)
}

fn contains(ranges: &[IpNet], party: &Party) -> bool {
    let address: Option<IpAddr> = match party {
        Party::Pod(pod) => pod.address,
        Party::Node { address, .. } | Party::Address(address) => Some(*address),
    };
    address.is_some_and(|address| ranges.iter().any(|range| range.contains(&address)))
}
