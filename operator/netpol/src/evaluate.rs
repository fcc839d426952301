//! What a set of NetworkPolicies allows, by the semantics of the API's documentation.
//!
//! Source: the fields' descriptions in networking.k8s.io/v1, and "Network Policies" in the Kubernetes documentation for
//! what is always allowed (a pod and itself, a pod and its own node). Written without a look at how `build` makes its
//! policies: the property test holds one against the other.

mod matching;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, net::IpAddr};

use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};

use crate::labels::Labels;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

impl Protocol {
    /// As NetworkPolicies write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        }
    }
}

/// The namespaces of a cluster, with their labels.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct World {
    pub namespaces: BTreeMap<String, Labels>,
}

/// A pod without host network: of one with it, Kubernetes leaves open what policies mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    pub namespace: String,
    pub name: String,
    pub labels: Labels,
    /// None: not known. Then no ipBlock matches.
    pub address: Option<IpAddr>,
    /// Name of the node that it runs on.
    pub node: String,
    pub named_ports: Vec<NamedPort>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedPort {
    pub name: String,
    pub protocol: Protocol,
    pub number: u16,
}

/// One end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Party {
    Pod(Pod),
    Node {
        name: String,
        address: IpAddr,
    },
    /// Something outside the cluster.
    Address(IpAddr),
}

impl Party {
    fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Pod(pod) => pod.address,
            Self::Node { address, .. } | Self::Address(address) => Some(*address),
        }
    }
}

/// What policies say at one end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Side {
    /// Not a pod: no policy is for it.
    NotAPod,
    /// A pod and itself, or a pod and its own node: no policy can forbid it.
    Always,
    /// No policy selects the pod in this direction: everything is allowed.
    Open,
    /// The first rule that allows it, by its number in the policy's list.
    Allowed { policy: String, rule: usize },
    /// These policies select the pod, and none of their rules allows it.
    Denied { policies: Vec<String> },
}

impl Side {
    pub const fn allows(&self) -> bool {
        !matches!(self, Self::Denied { .. })
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// At the source.
    pub egress: Side,
    /// At the destination.
    pub ingress: Side,
}

impl Verdict {
    pub const fn allowed(&self) -> bool {
        self.egress.allows() && self.ingress.allows()
    }
}

/// Whether `policies`, all that there are in the cluster, let `source` open a connection to `destination`. `port` is the
/// destination's own, after a Service's translation. A policy or rule that the API server would refuse selects and allows
/// nothing.
pub fn evaluate(
    policies: &[NetworkPolicy],
    world: &World,
    source: &Party,
    destination: &Party,
    port: u16,
    protocol: Protocol,
) -> Verdict {
    if always_allowed(source, destination) {
        let side = |party: &Party| if is_pod(party) { Side::Always } else { Side::NotAPod };
        return Verdict { egress: side(source), ingress: side(destination) };
    }
    let target = Target { party: destination, port, protocol };
    Verdict {
        egress: judge(policies, world, source, destination, &target, egress_rules),
        ingress: judge(policies, world, destination, source, &target, ingress_rules),
    }
}

const fn is_pod(party: &Party) -> bool {
    matches!(party, Party::Pod(_))
}

fn always_allowed(source: &Party, destination: &Party) -> bool {
    match (source, destination) {
        (Party::Pod(one), Party::Pod(other)) => one.namespace == other.namespace && one.name == other.name,
        (Party::Pod(pod), Party::Node { name, .. }) | (Party::Node { name, .. }, Party::Pod(pod)) => {
            pod.node == *name
        }
        _ => false,
    }
}

/// Where a connection goes.
struct Target<'a> {
    party: &'a Party,
    port: u16,
    protocol: Protocol,
}

/// A rule of either direction; None and an empty list both mean "all".
struct AnyRule<'p> {
    peers: Option<&'p [NetworkPolicyPeer]>,
    ports: Option<&'p [NetworkPolicyPort]>,
}

/// The rules of a policy in one direction; None if it does not isolate its pods in that direction.
type Rules = for<'p> fn(&'p NetworkPolicySpec) -> Option<Vec<AnyRule<'p>>>;

fn ingress_rules(spec: &NetworkPolicySpec) -> Option<Vec<AnyRule<'_>>> {
    // Without types, every policy is for ingress.
    let types = spec.policy_types.as_deref().unwrap_or_default();
    if !types.is_empty() && !types.iter().any(|one| one == "Ingress") {
        return None;
    }
    let rules = spec.ingress.iter().flatten();
    Some(rules.map(|rule| AnyRule { peers: rule.from.as_deref(), ports: rule.ports.as_deref() }).collect())
}

fn egress_rules(spec: &NetworkPolicySpec) -> Option<Vec<AnyRule<'_>>> {
    // Without types, only a policy that has an egress rule is for egress.
    let types = spec.policy_types.as_deref().unwrap_or_default();
    let by_rule = types.is_empty() && spec.egress.as_ref().is_some_and(|rules| !rules.is_empty());
    if !by_rule && !types.iter().any(|one| one == "Egress") {
        return None;
    }
    let rules = spec.egress.iter().flatten();
    Some(rules.map(|rule| AnyRule { peers: rule.to.as_deref(), ports: rule.ports.as_deref() }).collect())
}

/// What the policies of `subject` say of a connection with `peer`.
fn judge(
    policies: &[NetworkPolicy],
    world: &World,
    subject: &Party,
    peer: &Party,
    target: &Target<'_>,
    rules: Rules,
) -> Side {
    let Party::Pod(pod) = subject else { return Side::NotAPod };
    let mut isolating = Vec::new();
    for policy in policies {
        let Some(spec) = policy.spec.as_ref().filter(|spec| selects(policy, spec, pod)) else { continue };
        let Some(rules) = rules(spec) else { continue };
        let name = policy.metadata.name.clone().unwrap_or_default();
        let namespace = &pod.namespace;
        let allows = |rule: &AnyRule<'_>| {
            all_or_any(rule.peers, |one| matching::peer(one, namespace, world, peer))
                && all_or_any(rule.ports, |one| matching::port(one, target))
        };
        if let Some(rule) = rules.iter().position(allows) {
            return Side::Allowed { policy: name, rule };
        }
        isolating.push(name);
    }
    if isolating.is_empty() { Side::Open } else { Side::Denied { policies: isolating } }
}

fn selects(policy: &NetworkPolicy, spec: &NetworkPolicySpec, pod: &Pod) -> bool {
    policy.metadata.namespace.as_ref() == Some(&pod.namespace)
        // An absent podSelector is an empty one, which selects every pod of the namespace.
        && spec.pod_selector.as_ref().is_none_or(|selector| matching::labels(selector, &pod.labels))
}

fn all_or_any<T>(list: Option<&[T]>, matches: impl Fn(&T) -> bool) -> bool {
    list.is_none_or(|list| list.is_empty() || list.iter().any(matches))
}
