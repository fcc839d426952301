//! Connections gathered into one policy for each set of pods.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::networking::v1::{
        NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
        NetworkPolicyPort, NetworkPolicySpec,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use crate::{
    connections::{Cause, Connection, Listed, PodSet, connections},
    evaluate::Protocol,
    facts::Facts,
    labels::{self, LABEL_MANAGED_BY, Labels, MANAGED_BY},
    peers,
};

/// Before the number of a rule, in an annotation that says why the rule is there.
const WHY_PREFIX: &str = "why.openarchive.dev/";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Ingress,
    Egress,
}

impl Direction {
    /// Name of a rule, as its annotation has it.
    pub(crate) fn rule(self, number: usize) -> String {
        match self {
            Self::Ingress => format!("ingress-{number}"),
            Self::Egress => format!("egress-{number}"),
        }
    }
}

/// A rule of a policy; in which direction, its list says.
#[derive(Debug)]
pub(crate) struct PlannedRule {
    peers: Vec<NetworkPolicyPeer>,
    ports: Vec<NetworkPolicyPort>,
    pub(crate) causes: Vec<Cause>,
}

/// A policy with the causes of its rules.
#[derive(Debug, Default)]
pub(crate) struct PlannedPolicy {
    /// Metadata's name.
    pub(crate) name: String,
    pub(crate) namespace: String,
    /// Of the policy itself.
    pub(crate) labels: Labels,
    /// Of the pods that it is for.
    pub(crate) selects: Labels,
    pub(crate) ingress: Vec<PlannedRule>,
    pub(crate) egress: Vec<PlannedRule>,
}

impl PlannedPolicy {
    /// Allows `peers` on `ports`, unless there are none: an empty list would mean everybody. What is allowed already gets
    /// one more cause.
    pub(crate) fn allow(
        &mut self,
        direction: Direction,
        peers: &[NetworkPolicyPeer],
        ports: &[(Protocol, u16)],
        cause: &Cause,
    ) {
        if peers.is_empty() || ports.is_empty() {
            return;
        }
        let rules = match direction {
            Direction::Ingress => &mut self.ingress,
            Direction::Egress => &mut self.egress,
        };
        let ports: Vec<_> = ports.iter().map(|(protocol, number)| peers::port(*protocol, *number)).collect();
        match rules.iter_mut().find(|rule| rule.peers == peers && rule.ports == ports) {
            Some(rule) if rule.causes.contains(cause) => (),
            Some(rule) => rule.causes.push(cause.clone()),
            None => rules.push(PlannedRule { peers: peers.to_vec(), ports, causes: vec![cause.clone()] }),
        }
    }

    pub(crate) fn render(&self) -> NetworkPolicy {
        let spec = NetworkPolicySpec {
            pod_selector: Some(peers::selector(self.selects.clone())),
            // Both, always: without this, a policy that has no egress rule would leave egress open.
            policy_types: Some(vec!["Ingress".to_owned(), "Egress".to_owned()]),
            // Left out when empty, as the API server stores it.
            ingress: some(self.ingress.iter().map(ingress).collect()),
            egress: some(self.egress.iter().map(egress).collect()),
        };
        let reasons =
            reasons(Direction::Ingress, &self.ingress).chain(reasons(Direction::Egress, &self.egress));
        let annotations: BTreeMap<String, String> = reasons.collect();
        NetworkPolicy {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                namespace: Some(self.namespace.clone()),
                labels: Some(self.labels.clone()),
                annotations: (!annotations.is_empty()).then_some(annotations),
                ..ObjectMeta::default()
            },
            spec: Some(spec),
        }
    }
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

fn ingress(rule: &PlannedRule) -> NetworkPolicyIngressRule {
    NetworkPolicyIngressRule { from: Some(rule.peers.clone()), ports: Some(rule.ports.clone()) }
}

fn egress(rule: &PlannedRule) -> NetworkPolicyEgressRule {
    NetworkPolicyEgressRule { to: Some(rule.peers.clone()), ports: Some(rule.ports.clone()) }
}

fn reasons(direction: Direction, rules: &[PlannedRule]) -> impl Iterator<Item = (String, String)> {
    rules.iter().enumerate().map(move |(number, rule)| {
        let causes: Vec<String> = rule.causes.iter().map(Cause::text).collect();
        (format!("{WHY_PREFIX}{}", direction.rule(number)), causes.join("; "))
    })
}

impl Cause {
    /// For people: in annotations and explanations.
    pub(crate) fn text(&self) -> String {
        let extra = match self.listed {
            Listed::Graph => "",
            Listed::Extra => " (extra edge)",
        };
        format!("{} -> {}: {}{extra}", self.from, self.to, self.why)
    }
}

/// The policies with their causes, in the order of [`build`].
pub(crate) fn plan(facts: &Facts) -> Vec<PlannedPolicy> {
    let mut labels = labels::of_archive(&facts.archive);
    labels.insert(LABEL_MANAGED_BY.to_owned(), MANAGED_BY.to_owned());
    let policy = |suffix: &str, selects: Labels| PlannedPolicy {
        name: format!("{}-{suffix}", facts.archive),
        namespace: facts.namespace.clone(),
        labels: labels.clone(),
        selects,
        ..PlannedPolicy::default()
    };
    let mut policies = vec![policy("default-deny", labels::of_archive(&facts.archive))];
    let connections = connections(facts);
    for set in PodSet::every(facts) {
        let mut planned = policy(&suffix(&set), set.labels(&facts.archive));
        for connection in &connections {
            add(&mut planned, &set, connection);
        }
        policies.push(planned);
    }
    policies
}

fn add(policy: &mut PlannedPolicy, set: &PodSet, connection: &Connection) {
    let Connection { from, to, ports, cause } = connection;
    if to.pods.contains(set) {
        policy.allow(Direction::Ingress, &from.peers, ports, cause);
    }
    if from.pods.contains(set) {
        policy.allow(Direction::Egress, &to.peers, ports, cause);
    }
}

/// Behind the archive's name. The dot keeps agents apart from the roles of an archive called `NAME-edge`: no archive's name
/// has one.
fn suffix(set: &PodSet) -> String {
    match set {
        PodSet::Agent(name) => format!("{}.{name}", set.component()),
        other => other.component().to_owned(),
    }
}

/// The archive's policies: one that denies everything to every pod of the archive, in both directions, then one for each
/// set of pods with its rules. The same facts make the same objects, byte for byte, ready for server-side apply: nothing
/// in them is a default that the API server would add. Annotations `why.openarchive.dev/ingress-0` and so on say for
/// each rule which edges it is for.
pub fn build(facts: &Facts) -> Vec<NetworkPolicy> {
    plan(facts).iter().map(PlannedPolicy::render).collect()
}
