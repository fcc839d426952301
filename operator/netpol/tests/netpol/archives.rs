//! The archives that the tests are about.

use openarchive_operator_netpol::{
    Agent, Destination, Dns, Draft, End, ExtraEdge, Facts, Labels, Layout, Listener, Pods, Prober,
    of_namespace,
};
use openarchive_topology::{DNS_PORT, Role};

pub(crate) fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

pub(crate) fn pods_of(namespace: &str, pairs: &[(&str, &str)]) -> Pods {
    Pods { namespaces: of_namespace(namespace), pods: labels(pairs) }
}

pub(crate) fn cluster_dns() -> Dns {
    Dns { pods: pods_of("kube-system", &[("k8s-app", "kube-dns")]), port: DNS_PORT, node_local: Vec::new() }
}

/// One pod, nobody from outside.
pub(crate) fn standalone() -> Draft {
    Draft {
        archive: "mail".to_owned(),
        namespace: "archive".to_owned(),
        layout: Layout::Standalone,
        agents: Vec::new(),
        external_agents: Vec::new(),
        clients: Vec::new(),
        database: None,
        object_store: None,
        search_engine: Vec::new(),
        dns: cluster_dns(),
        monitoring: None,
        operator: pods_of("openarchive-system", &[("app.kubernetes.io/name", "openarchive-operator")]),
        prober: Some(Prober { deny_canary_port: 9999 }),
        extra_edges: Vec::new(),
    }
}

/// Everything that facts can say.
pub(crate) fn distributed() -> Draft {
    let range = |text: &str| text.parse().unwrap();
    Draft {
        layout: Layout::Distributed,
        agents: vec![
            Agent {
                name: "berlin".to_owned(),
                listeners: vec![
                    Listener { port: 2525, peers: vec![range("192.0.2.0/25"), range("2001:db8:25::/64")] },
                    Listener { port: 2526, peers: vec![range("192.0.2.200/32")] },
                ],
            },
            Agent {
                name: "athens".to_owned(),
                listeners: vec![Listener { port: 2525, peers: vec![range("192.0.2.128/26")] }],
            },
        ],
        external_agents: vec![range("198.51.100.0/24")],
        clients: vec![range("203.0.113.0/24"), range("2001:db8:443::/48")],
        database: Some(Destination::Cidrs { ranges: vec![range("172.16.5.0/28")], port: 6432 }),
        object_store: Some(Destination::Pods { pods: pods_of("minio", &[("app", "minio")]), port: 9000 }),
        search_engine: vec![
            Destination::Pods { pods: pods_of("search", &[]), port: 9200 },
            Destination::Cidrs { ranges: vec![range("198.51.101.0/32")], port: 443 },
        ],
        dns: Dns { node_local: vec![range("169.254.20.10/32")], ..cluster_dns() },
        monitoring: Some(pods_of("monitoring", &[])),
        extra_edges: vec![
            ExtraEdge {
                from: End::Pods(pods_of("ingress-nginx", &[("app.kubernetes.io/component", "controller")])),
                to: End::Role(Role::Gateway),
                port: 8443,
                reason: "people come through the ingress controller".to_owned(),
            },
            ExtraEdge {
                from: End::Role(Role::Trust),
                to: End::Cidr(range("198.51.100.77/32")),
                port: 318,
                reason: "time stamps (RFC 3161)".to_owned(),
            },
        ],
        ..standalone()
    }
}

pub(crate) fn facts(draft: Draft) -> Facts {
    Facts::new(draft).unwrap()
}
