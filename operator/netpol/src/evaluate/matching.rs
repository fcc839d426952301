use std::net::IpAddr;

use ipnet::IpNet;
use k8s_openapi::{
    api::networking::v1::{IPBlock, NetworkPolicyPeer, NetworkPolicyPort},
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, LabelSelectorRequirement},
        util::intstr::IntOrString,
    },
};

use super::{Party, Protocol, Target, World};
use crate::labels::Labels;

/// An empty selector matches everything.
pub(super) fn labels(selector: &LabelSelector, labels: &Labels) -> bool {
    let equal = selector.match_labels.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    equal && selector.match_expressions.iter().flatten().all(|one| requirement(one, labels))
}

fn requirement(requirement: &LabelSelectorRequirement, labels: &Labels) -> bool {
    let value = labels.get(&requirement.key);
    let among = |value: &String| requirement.values.iter().flatten().any(|one| one == value);
    match requirement.operator.as_str() {
        "In" => value.is_some_and(among),
        // What has no such label matches, too.
        "NotIn" => !value.is_some_and(among),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        _ => false,
    }
}

/// Whether a rule's peer in a policy of `namespace` means `party`.
pub(super) fn peer(peer: &NetworkPolicyPeer, namespace: &str, world: &World, party: &Party) -> bool {
    match (&peer.ip_block, &peer.namespace_selector, &peer.pod_selector) {
        (Some(block), None, None) => party.address().is_some_and(|address| contains(block, address)),
        (Some(_), _, _) | (None, None, None) => false,
        (None, namespaces, pods) => {
            let Party::Pod(pod) = party else { return false };
            let in_namespace = match namespaces {
                Some(selector) => {
                    world.namespaces.get(&pod.namespace).is_some_and(|found| labels(selector, found))
                }
                None => pod.namespace == namespace,
            };
            in_namespace && pods.as_ref().is_none_or(|selector| labels(selector, &pod.labels))
        }
    }
}

fn contains(block: &IPBlock, address: IpAddr) -> bool {
    let within = |text: &str| text.parse::<IpNet>().map(|range| range.contains(&address));
    within(&block.cidr).is_ok_and(|inside| inside)
        && block.except.iter().flatten().all(|text| within(text).is_ok_and(|inside| !inside))
}

pub(super) fn port(port: &NetworkPolicyPort, target: &Target<'_>) -> bool {
    if port.protocol.as_deref().unwrap_or(Protocol::Tcp.name()) != target.protocol.name() {
        return false;
    }
    let wanted = i32::from(target.port);
    match (&port.port, port.end_port) {
        (None, None) => true,
        (Some(IntOrString::Int(first)), None) => *first == wanted,
        (Some(IntOrString::Int(first)), Some(last)) => (*first..=last).contains(&wanted),
        (Some(IntOrString::String(name)), None) => is_named(name, target),
        (None | Some(IntOrString::String(_)), Some(_)) => false,
    }
}

/// A name means whatever port the destination's pod gives it.
fn is_named(name: &str, target: &Target<'_>) -> bool {
    let Party::Pod(pod) = target.party else { return false };
    pod.named_ports
        .iter()
        .any(|port| port.name == name && port.protocol == target.protocol && port.number == target.port)
}
