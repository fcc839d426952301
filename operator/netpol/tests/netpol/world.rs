//! A cluster around an archive: everybody who might connect.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};

use openarchive_operator_netpol::{
    Facts, LABEL_AGENT, LABEL_COMPONENT, LABEL_INSTANCE, LABEL_NAME, Labels, Party, Pod, World, of_namespace,
};

use crate::archives::labels;

const NODES: [&str; 2] = ["node-0", "node-1"];
/// Of the archive, whether its layout has them or not; `ghost` never has a policy of its own.
const COMPONENTS: [&str; 11] =
    ["all", "ingest", "storage", "index", "trust", "gateway", "worker", "migrate", "prober", "ghost", "edge"];
const ADDRESSES: [&str; 16] = [
    "192.0.2.1",
    "192.0.2.127",
    "192.0.2.128",
    "192.0.2.200",
    "198.51.100.0",
    "198.51.100.77",
    "198.51.100.255",
    "198.51.101.0",
    "203.0.113.9",
    "172.16.5.3",
    "172.16.5.16",
    "169.254.20.10",
    "10.96.0.10",
    "2001:db8:25::1",
    "2001:db8:443::1",
    "2001:db9::1",
];

/// So many of the parties are pods of the archive; they stand first.
pub(crate) const OWN_PODS: usize = 27;

pub(crate) struct Cluster {
    pub(crate) world: World,
    pub(crate) parties: Vec<Party>,
}

impl Cluster {
    fn add(&mut self, namespace: &str, name: &str, labels: Labels) {
        let number = u8::try_from(self.parties.len()).unwrap();
        self.world.namespaces.entry(namespace.to_owned()).or_insert_with(|| of_namespace(namespace));
        self.parties.push(Party::Pod(Pod {
            namespace: namespace.to_owned(),
            name: format!("{name}-{number}"),
            labels,
            address: Some(IpAddr::V4(Ipv4Addr::new(10, 244, number % 4, number))),
            node: NODES[usize::from(number) % NODES.len()].to_owned(),
            named_ports: Vec::new(),
        }));
    }

    fn add_archive(&mut self, namespace: &str, archive: &str, agents: &[&str]) {
        let of = |component: &str| {
            labels(&[(LABEL_NAME, "openarchive"), (LABEL_INSTANCE, archive), (LABEL_COMPONENT, component)])
        };
        for component in COMPONENTS {
            self.add(namespace, component, of(component));
        }
        for agent in agents {
            let mut labels = of("edge");
            labels.insert(LABEL_AGENT.to_owned(), (*agent).to_owned());
            self.add(namespace, agent, labels);
        }
    }
}

/// The archive of `facts`, each set of pods twice, and its agents and one that it does not know; other archives, beside it
/// and elsewhere; whatever the facts may name, and others of the same namespaces; nodes; addresses at the edges of ranges.
pub(crate) fn around(facts: &Facts) -> Cluster {
    let mut cluster = Cluster { world: World { namespaces: BTreeMap::new() }, parties: Vec::new() };
    cluster.add_archive(&facts.namespace, &facts.archive, &["athens", "berlin", "unknown"]);
    cluster.add_archive(&facts.namespace, &facts.archive, &["athens", "berlin"]);
    assert_eq!(cluster.parties.len(), OWN_PODS);
    cluster.add_archive(&facts.namespace, "other", &["athens"]);
    cluster.add_archive("elsewhere", &facts.archive, &["athens"]);
    cluster.add(&facts.namespace, "stranger", Labels::new());
    let outside: [(&str, &[(&str, &str)]); 11] = [
        ("kube-system", &[("k8s-app", "kube-dns")]),
        ("kube-system", &[("k8s-app", "other")]),
        ("monitoring", &[]),
        ("monitoring", &[("app", "prometheus")]),
        ("openarchive-system", &[("app.kubernetes.io/name", "openarchive-operator")]),
        ("openarchive-system", &[("app.kubernetes.io/name", "other")]),
        ("minio", &[("app", "minio")]),
        ("minio", &[("app", "other")]),
        ("search", &[("app", "es")]),
        ("ingress-nginx", &[("app.kubernetes.io/component", "controller")]),
        ("elsewhere", &[]),
    ];
    for (namespace, pairs) in outside {
        cluster.add(namespace, "outside", labels(pairs));
    }
    for (number, name) in (1..).zip(NODES) {
        let address = IpAddr::V4(Ipv4Addr::new(10, 0, 0, number));
        cluster.parties.push(Party::Node { name: name.to_owned(), address });
    }
    cluster.parties.extend(ADDRESSES.map(|address| Party::Address(address.parse().unwrap())));
    cluster
}

/// Every port that means something to somebody, and some that do not.
pub(crate) const PORTS: [u16; 18] =
    [1, 53, 318, 443, 2525, 2526, 5353, 5432, 6432, 6443, 8443, 9000, 9090, 9200, 9443, 9444, 9999, 65535];
