//! The operator's own policy.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use ipnet::IpNet;
use k8s_openapi::{
    api::networking::v1::{NetworkPolicy, NetworkPolicyPeer},
    apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement},
};
use openarchive_topology::{DNS_PORT, EDGES, Edge, Endpoint, Role};

use crate::{
    build::{Direction, PlannedPolicy},
    connections::{Cause, Listed, PodSet},
    evaluate::Protocol,
    facts::{self, Dns, FactsError, Fault, Layout},
    labels::{LABEL_COMPONENT, LABEL_NAME, Labels, PART_OF, Pods},
    peers,
};

/// What the operator's own policy depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorFacts {
    /// Of the policy.
    pub name: String,
    pub namespace: String,
    /// Of the operator's pods.
    pub labels: Labels,
    /// Endpoints of the Service `kubernetes`: the servers themselves, as policies are applied behind its address.
    pub kubernetes_api: Vec<SocketAddr>,
    pub dns: Dns,
    /// Who reads metrics. None: nobody.
    pub monitoring: Option<Pods>,
}

/// The policy of the operator's pods: the graph's edges from and to the operator. It reaches archives in every namespace, by
/// their pods' labels. It is not among the policies of an archive, because it has to be there before the first one is.
pub fn operator_policy(facts: &OperatorFacts) -> Result<NetworkPolicy, FactsError> {
    facts::name("operator", &facts.name)?;
    facts::name("operator", &facts.namespace)?;
    facts::well_formed("operator", &facts.labels)?;
    facts::ensure(!facts.labels.is_empty(), "operator", Fault::EveryPod)?;
    facts::ensure(!facts.kubernetes_api.is_empty(), "Kubernetes API", Fault::NoAddress)?;
    facts::dns(&facts.dns)?;
    if let Some(monitoring) = &facts.monitoring {
        facts::pods("monitoring", monitoring)?;
    }
    let mut policy = PlannedPolicy {
        name: facts.name.clone(),
        namespace: facts.namespace.clone(),
        labels: facts.labels.clone(),
        selects: facts.labels.clone(),
        ..PlannedPolicy::default()
    };
    let operator = Endpoint::Role(Role::Operator);
    for edge in EDGES {
        let cause = cause(edge);
        if edge.from == operator {
            for (peers, ports) in reached(facts, edge) {
                policy.allow(Direction::Egress, &peers, &ports, &cause);
            }
        }
        if edge.to == operator && edge.from == Endpoint::Monitoring {
            let peers: Vec<_> = facts.monitoring.iter().map(peers::pods).collect();
            policy.allow(Direction::Ingress, &peers, &[(Protocol::Tcp, edge.port)], &cause);
        }
    }
    Ok(policy.render())
}

fn cause(edge: &Edge) -> Cause {
    Cause {
        from: edge.from.name().to_owned(),
        to: edge.to.name().to_owned(),
        why: edge.why.to_owned(),
        listed: Listed::Graph,
    }
}

/// Who is reached, and on which ports.
type Reached = (Vec<NetworkPolicyPeer>, Vec<(Protocol, u16)>);

/// Over an edge from the operator.
fn reached(facts: &OperatorFacts, edge: &Edge) -> Vec<Reached> {
    match edge.to {
        Endpoint::Role(role) => {
            let layouts = [Layout::Standalone, Layout::Distributed];
            let components = layouts.map(|layout| PodSet::of_role(layout, role).component());
            vec![(vec![of_every_archive(&components)], vec![(Protocol::Tcp, edge.port)])]
        }
        Endpoint::Prober => {
            vec![(vec![of_every_archive(&[PodSet::Prober.component()])], vec![(Protocol::Tcp, edge.port)])]
        }
        Endpoint::Dns => {
            let both = |port| vec![(Protocol::Udp, port), (Protocol::Tcp, port)];
            vec![
                (vec![peers::pods(&facts.dns.pods)], both(facts.dns.port)),
                (peers::ranges(&facts.dns.node_local), both(DNS_PORT)),
            ]
        }
        Endpoint::KubernetesApi => api_servers(&facts.kubernetes_api),
        _ => Vec::new(),
    }
}

/// Pods of these components in every archive, of whatever namespace.
fn of_every_archive(components: &[&str]) -> NetworkPolicyPeer {
    let component = LabelSelectorRequirement {
        key: LABEL_COMPONENT.to_owned(),
        operator: "In".to_owned(),
        values: Some(components.iter().map(|&one| one.to_owned()).collect()),
    };
    NetworkPolicyPeer {
        namespace_selector: Some(LabelSelector::default()),
        pod_selector: Some(LabelSelector {
            match_labels: Some(Labels::from([(LABEL_NAME.to_owned(), PART_OF.to_owned())])),
            match_expressions: Some(vec![component]),
        }),
        ip_block: None,
    }
}

/// One rule for each port, its addresses in order.
fn api_servers(servers: &[SocketAddr]) -> Vec<Reached> {
    let mut by_port = BTreeMap::<u16, BTreeSet<IpAddr>>::new();
    for server in servers {
        by_port.entry(server.port()).or_default().insert(server.ip());
    }
    by_port
        .into_iter()
        .map(|(port, addresses)| {
            let peers = addresses.into_iter().map(|address| peers::range(IpNet::from(address))).collect();
            (peers, vec![(Protocol::Tcp, port)])
        })
        .collect()
}
