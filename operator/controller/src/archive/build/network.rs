//! What the network policies of an archive depend on, from its specification.

use ipnet::IpNet;
use openarchive_operator_api::{
    EdgeAgent, EdgeEnd, ElasticsearchSpec, ExtraEdge, ListenerSpec, LocalRef, NetworkPolicySet,
    NetworkPolicySetSpec, Placement, SearchSpec,
};
use openarchive_operator_netpol::{
    Agent, Destination, Dns, Draft, End, ExtraEdge as Edge, Facts, Labels, Layout, Listener, Pods, Prober,
    of_namespace,
};
use openarchive_topology::{POSTGRES_PORT, Role};

use super::{
    metadata::{Names, labels},
    prober::DENY_CANARY_PORT,
};
use crate::{
    Halt, Reason, Settings,
    archive::{
        ValidArchive,
        validate::{Distributed, Shape},
    },
};

/// Component of the NetworkPolicySet that an archive owns.
const NETWORK: &str = "network";

/// The set that stands for the default: default deny, and only the edges of the graph.
pub(super) fn own_set(archive: &ValidArchive) -> Option<NetworkPolicySet> {
    if archive.network_policy_set.is_some() {
        return None;
    }
    let spec = NetworkPolicySetSpec {
        archive_ref: LocalRef { name: archive.name.clone() },
        ..NetworkPolicySetSpec::default()
    };
    let mut set = NetworkPolicySet::new(&archive.name, spec);
    set.metadata = Names(archive).owned(archive.name.clone(), NETWORK);
    set.metadata.labels = Some(labels(&archive.name, NETWORK));
    Some(set)
}

/// The facts of `archive` under `set`. What cannot be said in a NetworkPolicy is refused here, with what to do.
pub(crate) fn facts(
    archive: &ValidArchive,
    set: &NetworkPolicySetSpec,
    agents: &[EdgeAgent],
    database_url: Option<&str>,
    settings: &Settings,
) -> Result<Facts, Halt> {
    let invalid = |message: String| Halt::terminal(Reason::InvalidSpec, message);
    let exposed = |exposure: &Option<openarchive_operator_api::Exposure>| {
        exposure.as_ref().map_or_else(|| Ok(Vec::new()), |exposure| ranges(&exposure.allowed_cidrs))
    };
    let distributed = match &archive.shape {
        Shape::Standalone(_) => None,
        Shape::Distributed(spec) => Some(&**spec),
    };
    let dns = Dns {
        pods: Pods { namespaces: set.dns.namespace_labels.clone(), pods: set.dns.pod_labels.clone() },
        port: port(set.dns.port)?,
        node_local: ranges(&set.dns.node_local_cidrs)?,
    };
    let monitoring = (!set.monitoring_namespace_labels.is_empty())
        .then(|| Pods { namespaces: set.monitoring_namespace_labels.clone(), pods: Labels::new() });
    let operator = Pods {
        namespaces: of_namespace(&settings.operator_namespace),
        pods: Labels::from([("app.kubernetes.io/name".to_owned(), "openarchive-operator".to_owned())]),
    };
    let draft = Draft {
        archive: archive.name.clone(),
        namespace: archive.namespace.clone(),
        layout: if distributed.is_some() { Layout::Distributed } else { Layout::Standalone },
        agents: agents
            .iter()
            .filter(|agent| agent.spec.placement == Placement::InCluster)
            .map(agent)
            .collect::<Result<_, _>>()?,
        external_agents: exposed(&archive.exposure.ingest)?,
        clients: exposed(&archive.exposure.gateway)?,
        database: distributed.map(|spec| database(spec, database_url)).transpose()?,
        object_store: distributed.map(object_store).transpose()?,
        search_engine: distributed
            .and_then(|spec| spec.search.as_ref())
            .map_or_else(|| Ok(Vec::new()), search)?,
        dns,
        monitoring,
        operator,
        prober: Some(Prober { deny_canary_port: DENY_CANARY_PORT }),
        extra_edges: set.extra_edges.iter().map(extra).collect::<Result<_, _>>()?,
    };
    Facts::new(draft).map_err(|error| invalid(error.to_string()))
}

fn range(text: &str) -> Result<IpNet, Halt> {
    text.parse().map_err(|_| Halt::terminal(Reason::InvalidSpec, format!("{text:?} is no address range")))
}

fn ranges(texts: &[String]) -> Result<Vec<IpNet>, Halt> {
    texts.iter().map(|text| range(text)).collect()
}

fn agent(agent: &EdgeAgent) -> Result<Agent, Halt> {
    let listener = |listener: &ListenerSpec| {
        let mut peers = Vec::new();
        for peer in &listener.peers {
            peers.extend(ranges(&peer.cidrs)?);
        }
        Ok(Listener { port: port(listener.port)?, peers })
    };
    let listeners = agent.spec.listeners.iter().flatten().map(listener).collect::<Result<_, Halt>>()?;
    Ok(Agent { name: kube::ResourceExt::name_any(agent), listeners })
}

fn port(port: i32) -> Result<u16, Halt> {
    u16::try_from(port).map_err(|_| Halt::terminal(Reason::InvalidSpec, format!("{port} is no port")))
}

fn extra(edge: &ExtraEdge) -> Result<Edge, Halt> {
    Ok(Edge {
        from: end(&edge.from)?,
        to: end(&edge.to)?,
        port: port(edge.port)?,
        reason: edge.reason.clone(),
    })
}

fn end(end: &EdgeEnd) -> Result<End, Halt> {
    let EdgeEnd { component, cidr, namespace_labels, pod_labels } = end;
    match (component.as_deref(), cidr, namespace_labels) {
        (Some("edge"), None, None) => Ok(End::Agents),
        (Some(component), None, None) => Role::of_name(component).map(End::Role).ok_or_else(|| {
            Halt::terminal(Reason::InvalidSpec, format!("{component:?} is no component of an archive"))
        }),
        (None, Some(cidr), None) => Ok(End::Cidr(range(cidr)?)),
        (None, None, Some(namespaces)) => Ok(End::Pods(Pods {
            namespaces: namespaces.clone(),
            pods: pod_labels.clone().unwrap_or_default(),
        })),
        _ => Err(Halt::terminal(
            Reason::InvalidSpec,
            "an end of an extra edge is exactly one of component, cidr and namespaceLabels",
        )),
    }
}

fn database(spec: &Distributed, url: Option<&str>) -> Result<Destination, Halt> {
    let cidrs = &spec.database.cidrs;
    if url.is_none() && !cidrs.is_empty() {
        return Ok(Destination::Cidrs { ranges: ranges(cidrs)?, port: POSTGRES_PORT });
    }
    let missing = "the database's host is not known: give the Secret of spec.database.adminSecretRef a key url, or \
                   write its address ranges in spec.database.cidrs";
    let url = url.ok_or_else(|| Halt::terminal(Reason::ReferenceNotFound, missing))?;
    // Never quoted: whatever is wrong with it, it holds a password.
    let wrong = || {
        Halt::terminal(
            Reason::InvalidSpec,
            "the database's URL must be postgres://USER:PASSWORD@HOST:PORT/DATABASE with a host that a network policy can \
             name: correct key url of the Secret of spec.database.adminSecretRef, or write its address ranges in \
             spec.database.cidrs",
        )
    };
    let rest =
        url.strip_prefix("postgres://").or_else(|| url.strip_prefix("postgresql://")).ok_or_else(wrong)?;
    let authority = rest.split(['/', '?']).next().unwrap_or(rest);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    destination("spec.database", host, POSTGRES_PORT, cidrs).map_err(|_| wrong())
}

fn object_store(spec: &Distributed) -> Result<Destination, Halt> {
    let store = &spec.object_store;
    destination(
        "spec.objectStore",
        without_scheme(&store.endpoint),
        default_port(&store.endpoint),
        &store.cidrs,
    )
}

/// Every node: the client calls them in turn.
fn search(spec: &SearchSpec) -> Result<Vec<Destination>, Halt> {
    let ElasticsearchSpec { urls, cidrs, .. } = &spec.elasticsearch;
    let node = |url: &String| {
        destination("spec.search.elasticsearch", without_scheme(url), default_port(url), cidrs)
    };
    urls.iter().map(node).collect()
}

fn without_scheme(url: &str) -> &str {
    url.split_once("://").map_or(url, |(_, rest)| rest)
}

fn default_port(url: &str) -> u16 {
    if url.starts_with("https://") { 443 } else { 80 }
}

/// Where HOST[:PORT][/...] is: the given ranges, its address, or a namespace of this cluster.
fn destination(field: &str, rest: &str, default: u16, cidrs: &[String]) -> Result<Destination, Halt> {
    let authority = rest.split(['/', '?']).next().unwrap_or(rest);
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().unwrap_or(default)),
        _ => (authority, default),
    };
    if !cidrs.is_empty() {
        return Ok(Destination::Cidrs { ranges: ranges(cidrs)?, port });
    }
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = host.parse::<std::net::IpAddr>() {
        return Ok(Destination::Cidrs { ranges: vec![IpNet::from(address)], port });
    }
    let labels: Vec<_> = host.trim_end_matches('.').split('.').collect();
    if let [_, namespace, "svc"] | [_, namespace, "svc", "cluster", "local"] = labels.as_slice() {
        let pods = Pods { namespaces: of_namespace(namespace), pods: Labels::new() };
        return Ok(Destination::Pods { pods, port });
    }
    Err(Halt::terminal(
        Reason::InvalidSpec,
        format!("{field}: a network policy cannot name {host}: write its address ranges in {field}.cidrs"),
    ))
}
