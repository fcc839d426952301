//! Pieces of a NetworkPolicy. None of them is ever empty: an empty list of peers or ports would mean everybody, all ports.

use ipnet::IpNet;
use k8s_openapi::{
    api::networking::v1::{IPBlock, NetworkPolicyPeer, NetworkPolicyPort},
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};

use crate::{
    evaluate::Protocol,
    facts::Destination,
    labels::{Labels, Pods},
};

pub(crate) fn selector(labels: Labels) -> LabelSelector {
    LabelSelector { match_labels: Some(labels), match_expressions: None }
}

/// Pods of the policy's own namespace.
pub(crate) fn neighbours(labels: Labels) -> NetworkPolicyPeer {
    NetworkPolicyPeer { pod_selector: Some(selector(labels)), ..NetworkPolicyPeer::default() }
}

pub(crate) fn pods(pods: &Pods) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        namespace_selector: Some(selector(pods.namespaces.clone())),
        pod_selector: (!pods.pods.is_empty()).then(|| selector(pods.pods.clone())),
        ip_block: None,
    }
}

pub(crate) fn range(range: IpNet) -> NetworkPolicyPeer {
    let block = IPBlock { cidr: range.trunc().to_string(), except: None };
    NetworkPolicyPeer { ip_block: Some(block), ..NetworkPolicyPeer::default() }
}

pub(crate) fn ranges(list: &[IpNet]) -> Vec<NetworkPolicyPeer> {
    list.iter().copied().map(range).collect()
}

pub(crate) fn destination(destination: &Destination) -> Vec<NetworkPolicyPeer> {
    match destination {
        Destination::Cidrs { ranges: list, .. } => ranges(list),
        Destination::Pods { pods: selected, .. } => vec![pods(selected)],
    }
}

/// The protocol is written out: the API server would add it, and the next pass would see a difference.
pub(crate) fn port(protocol: Protocol, number: u16) -> NetworkPolicyPort {
    NetworkPolicyPort {
        protocol: Some(protocol.name().to_owned()),
        port: Some(IntOrString::Int(i32::from(number))),
        end_port: None,
    }
}
