//! Whether one connection is allowed, by which edge, and which rule carries it.

use std::{collections::BTreeMap, fmt, net::IpAddr, str::FromStr};

use openarchive_topology::{Endpoint, Role};
use serde::Serialize;

use crate::{
    build::{Direction, PlannedPolicy, plan},
    connections::{Cause, PodSet},
    evaluate::{Party, Pod, Protocol, Side, Verdict, World, evaluate},
    facts::{Destination, Facts, Layout},
    labels::{self, Labels, Pods},
};

/// Who connects, or is connected to, as a person names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A role, `migrate`, `prober`, `all`, an agent (`agent/NAME`), or something outside that the facts name: `operator`,
    /// `database`, `object-store`, `search-engine`, `dns`, `monitoring`.
    Name(String),
    /// Clients, mail servers, the API server, nodes, anything outside the cluster.
    Address(IpAddr),
}

/// A port with its protocol: `9443`, `53/udp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Port {
    pub number: u16,
    pub protocol: Protocol,
}

/// What cannot be explained.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExplainError {
    #[error(
        "{0:?} is unknown: name a role, agent/NAME, migrate, prober, operator, database, object-store, search-engine, \
         dns, monitoring, or an IP address"
    )]
    Name(String),
    #[error("this archive has no {0}")]
    Absent(String),
    #[error("{0:?} is no port: write 9443, or 53/udp")]
    Port(String),
    #[error("{0} and {1} are both outside the archive: its policies say nothing about them")]
    Outside(String, String),
}

/// The answer, for people ([`fmt::Display`]) and for programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    pub from: String,
    pub to: String,
    pub port: u16,
    pub protocol: &'static str,
    pub allowed: bool,
    /// What the policies of `from` say.
    pub egress: SideExplanation,
    /// What the policies of `to` say.
    pub ingress: SideExplanation,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "verdict")]
pub enum SideExplanation {
    /// Not a pod of this archive: its policies do not apply there.
    NotOurs,
    /// A pod reaches itself, whatever policies say.
    SamePod,
    Allowed(Rule),
    Denied {
        policies: Vec<String>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rule {
    pub policy: String,
    /// Such as `ingress-0`: its annotation in the policy has this name.
    pub rule: String,
    pub because: Vec<Cause>,
}

impl FromStr for Port {
    type Err = ExplainError;

    fn from_str(text: &str) -> Result<Self, ExplainError> {
        let unknown = || ExplainError::Port(text.to_owned());
        let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let protocol = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp]
            .into_iter()
            .find(|one| one.name().eq_ignore_ascii_case(protocol))
            .ok_or_else(unknown)?;
        match number.parse() {
            Ok(number) if number > 0 => Ok(Self { number, protocol }),
            _ => Err(unknown()),
        }
    }
}

impl From<&str> for Subject {
    fn from(text: &str) -> Self {
        text.parse().map_or_else(|_| Self::Name(text.to_owned()), Self::Address)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => formatter.write_str(name),
            Self::Address(address) => address.fmt(formatter),
        }
    }
}

/// Asks the policies that [`crate::build`] makes of `facts`, not those of a cluster: what others have applied there is not
/// seen. Pods are taken as the labels say, with addresses that no range of the facts contains.
pub fn explain(facts: &Facts, from: &Subject, to: &Subject, port: Port) -> Result<Explanation, ExplainError> {
    let planned = plan(facts);
    let policies: Vec<_> = planned.iter().map(PlannedPolicy::render).collect();
    let mut stage = Stage::new(facts);
    let source = stage.party(from, "source")?;
    let destination = stage.party(to, "destination")?;
    if !stage.is_own(&source) && !stage.is_own(&destination) {
        return Err(ExplainError::Outside(from.to_string(), to.to_string()));
    }
    let verdict = evaluate(&policies, &stage.world, &source, &destination, port.number, port.protocol);
    Ok(Explanation {
        from: from.to_string(),
        to: to.to_string(),
        port: port.number,
        protocol: port.protocol.name(),
        allowed: verdict.allowed(),
        egress: side(&verdict, Direction::Egress, &planned),
        ingress: side(&verdict, Direction::Ingress, &planned),
    })
}

fn side(verdict: &Verdict, direction: Direction, planned: &[PlannedPolicy]) -> SideExplanation {
    let side = match direction {
        Direction::Egress => &verdict.egress,
        Direction::Ingress => &verdict.ingress,
    };
    match side {
        // Every pod of the archive is selected by its default deny.
        Side::NotAPod | Side::Open => SideExplanation::NotOurs,
        Side::Always => SideExplanation::SamePod,
        Side::Denied { policies } => SideExplanation::Denied { policies: policies.clone() },
        Side::Allowed { policy, rule } => SideExplanation::Allowed(Rule {
            policy: policy.clone(),
            rule: direction.rule(*rule),
            because: causes(planned, policy, direction, *rule),
        }),
    }
}

fn causes(planned: &[PlannedPolicy], policy: &str, direction: Direction, rule: usize) -> Vec<Cause> {
    let rules = planned.iter().find(|one| one.name == policy).map(|one| match direction {
        Direction::Egress => &one.egress,
        Direction::Ingress => &one.ingress,
    });
    rules.and_then(|rules| rules.get(rule)).map(|rule| rule.causes.clone()).unwrap_or_default()
}

/// A cluster just large enough for one question.
struct Stage<'f> {
    facts: &'f Facts,
    world: World,
}

impl<'f> Stage<'f> {
    fn new(facts: &'f Facts) -> Self {
        let own = (facts.namespace.clone(), labels::of_namespace(&facts.namespace));
        Self { facts, world: World { namespaces: BTreeMap::from([own]) } }
    }

    fn is_own(&self, party: &Party) -> bool {
        matches!(party, Party::Pod(pod) if pod.namespace == self.facts.namespace)
    }

    fn party(&mut self, subject: &Subject, end: &str) -> Result<Party, ExplainError> {
        let name = match subject {
            Subject::Address(address) => return Ok(Party::Address(*address)),
            Subject::Name(name) => name.as_str(),
        };
        if let Some(set) = self.own(name)? {
            return Ok(self.own_pod(&set, end));
        }
        let facts = self.facts;
        let found = match outside_of_name(name) {
            Some(Endpoint::Role(Role::Operator)) => Some(self.pod(&facts.operator, end)),
            Some(Endpoint::Dns) => Some(self.pod(&facts.dns.pods, end)),
            Some(Endpoint::Monitoring) => facts.monitoring.as_ref().map(|pods| self.pod(pods, end)),
            Some(Endpoint::Database) => self.destination(facts.database.as_ref(), end),
            Some(Endpoint::ObjectStore) => self.destination(facts.object_store.as_ref(), end),
            Some(Endpoint::SearchEngine) => self.destination(facts.search_engine.first(), end),
            _ => return Err(ExplainError::Name(name.to_owned())),
        };
        found.ok_or_else(|| ExplainError::Absent(name.to_owned()))
    }

    /// The set of the archive's pods that `name` means.
    fn own(&self, name: &str) -> Result<Option<PodSet>, ExplainError> {
        let set = match (name.strip_prefix("agent/"), Role::of_name(name)) {
            (Some(agent), _) => PodSet::Agent(agent.to_owned()),
            (None, Some(Role::Operator)) => return Ok(None),
            (None, Some(role)) => PodSet::of_role(self.facts.layout, role),
            (None, None) => match name {
                "all" => PodSet::All,
                "migrate" => PodSet::Migrate,
                "prober" => PodSet::Prober,
                _ => return Ok(None),
            },
        };
        if PodSet::every(self.facts).contains(&set) {
            Ok(Some(set))
        } else {
            Err(ExplainError::Absent(name.to_owned()))
        }
    }

    /// One of its pods; another one at each end, unless there is only one.
    fn own_pod(&self, set: &PodSet, end: &str) -> Party {
        let facts = self.facts;
        let end = if facts.layout == Layout::Standalone && *set == PodSet::All { "only" } else { end };
        let name = format!("{}-{end}", set.component());
        pod(&facts.namespace, name, set.labels(&facts.archive))
    }

    fn pod(&mut self, pods: &Pods, end: &str) -> Party {
        let namespace = format!("namespace of {end}");
        self.world.namespaces.insert(namespace.clone(), pods.namespaces.clone());
        pod(&namespace, end.to_owned(), pods.pods.clone())
    }

    fn destination(&mut self, destination: Option<&Destination>, end: &str) -> Option<Party> {
        match destination? {
            Destination::Pods { pods, .. } => Some(self.pod(pods, end)),
            // Policies treat all addresses of a list alike, and a checked list has one.
            Destination::Cidrs { ranges, .. } => ranges.first().map(|range| Party::Address(range.addr())),
        }
    }
}

fn pod(namespace: &str, name: String, labels: Labels) -> Party {
    Party::Pod(Pod {
        namespace: namespace.to_owned(),
        name,
        labels,
        address: None,
        node: String::new(),
        named_ports: Vec::new(),
    })
}

fn outside_of_name(name: &str) -> Option<Endpoint> {
    let outside = [
        Endpoint::Role(Role::Operator),
        Endpoint::Dns,
        Endpoint::Monitoring,
        Endpoint::Database,
        Endpoint::ObjectStore,
        Endpoint::SearchEngine,
    ];
    outside.into_iter().find(|endpoint| endpoint.name() == name)
}

impl fmt::Display for Explanation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, port, protocol, allowed, egress, ingress } = self;
        let verdict = if *allowed { "allowed" } else { "refused" };
        writeln!(formatter, "{from} -> {to}, {protocol} {port}: {verdict}")?;
        writeln!(formatter, "  out of {from}: {egress}")?;
        writeln!(formatter, "  into {to}: {ingress}")
    }
}

impl fmt::Display for SideExplanation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOurs => formatter.write_str("outside the archive, whose policies say nothing there"),
            Self::SamePod => formatter.write_str("the same pod, which no policy keeps from itself"),
            Self::Denied { policies } => write!(formatter, "no rule of {} allows it", policies.join(", ")),
            Self::Allowed(Rule { policy, rule, because }) => {
                let because: Vec<String> = because.iter().map(Cause::text).collect();
                write!(formatter, "policy {policy}, rule {rule}: {}", because.join("; "))
            }
        }
    }
}
