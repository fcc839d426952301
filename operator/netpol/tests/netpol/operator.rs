use k8s_openapi::api::networking::v1::NetworkPolicy;
use openarchive_operator_netpol::{
    Dns, Fault, LABEL_COMPONENT, LABEL_NAME, OperatorFacts, Party, Pod, Protocol, World, evaluate,
    of_namespace, operator_policy,
};

use crate::archives::{cluster_dns, labels, pods_of};

fn operator() -> OperatorFacts {
    OperatorFacts {
        name: "openarchive-operator".to_owned(),
        namespace: "openarchive-system".to_owned(),
        labels: labels(&[("app.kubernetes.io/name", "openarchive-operator")]),
        kubernetes_api: ["192.0.2.10:6443", "192.0.2.11:6443", "[2001:db8::10]:443"]
            .map(|one| one.parse().unwrap())
            .to_vec(),
        dns: Dns { node_local: vec!["169.254.20.10/32".parse().unwrap()], ..cluster_dns() },
        monitoring: Some(pods_of("monitoring", &[])),
    }
}

fn pod(namespace: &str, pairs: &[(&str, &str)]) -> Party {
    Party::Pod(Pod {
        namespace: namespace.to_owned(),
        name: "pod".to_owned(),
        labels: labels(pairs),
        address: None,
        node: "node".to_owned(),
        named_ports: Vec::new(),
    })
}

fn of_archive(namespace: &str, component: &str) -> Party {
    pod(namespace, &[(LABEL_NAME, "openarchive"), (LABEL_COMPONENT, component)])
}

fn is_allowed(policy: &NetworkPolicy, from: &Party, to: &Party, port: u16, protocol: Protocol) -> bool {
    let namespaces = ["openarchive-system", "monitoring", "kube-system", "a", "b"];
    let world = World { namespaces: namespaces.map(|name| (name.to_owned(), of_namespace(name))).into() };
    evaluate(std::slice::from_ref(policy), &world, from, to, port, protocol).allowed()
}

#[test]
fn the_operator_reaches_what_the_graph_says_and_nothing_else() {
    let policy = operator_policy(&operator()).unwrap();
    let from = pod("openarchive-system", &[("app.kubernetes.io/name", "openarchive-operator")]);
    let check = |to: &Party, port: u16, protocol: Protocol, allowed: bool| {
        assert_eq!(is_allowed(&policy, &from, to, port, protocol), allowed, "{to:?} {port} {protocol:?}");
    };
    let at = |address: &str| Party::Address(address.parse().unwrap());
    check(&at("192.0.2.10"), 6443, Protocol::Tcp, true);
    check(&at("192.0.2.11"), 6443, Protocol::Tcp, true);
    check(&at("2001:db8::10"), 443, Protocol::Tcp, true);
    check(&at("2001:db8::10"), 6443, Protocol::Tcp, false);
    check(&at("192.0.2.12"), 6443, Protocol::Tcp, false);
    check(&at("169.254.20.10"), 53, Protocol::Udp, true);
    let dns = pod("kube-system", &[("k8s-app", "kube-dns")]);
    check(&dns, 53, Protocol::Udp, true);
    check(&dns, 53, Protocol::Tcp, true);
    check(&dns, 9443, Protocol::Tcp, false);
    for namespace in ["a", "b"] {
        for (component, reached) in [
            ("trust", true),
            ("storage", true),
            ("ingest", true),
            ("all", true),
            ("index", false),
            ("gateway", false),
            ("worker", false),
            ("edge", false),
            ("migrate", false),
            ("prober", false),
        ] {
            check(&of_archive(namespace, component), 9443, Protocol::Tcp, reached);
            check(&of_archive(namespace, component), 9090, Protocol::Tcp, component == "prober");
        }
        check(&pod(namespace, &[(LABEL_COMPONENT, "trust")]), 9443, Protocol::Tcp, false);
    }
}

#[test]
fn the_operator_is_reached_for_metrics_alone() {
    let policy = operator_policy(&operator()).unwrap();
    let to = pod("openarchive-system", &[("app.kubernetes.io/name", "openarchive-operator")]);
    let scraper = pod("monitoring", &[]);
    assert!(is_allowed(&policy, &scraper, &to, 9090, Protocol::Tcp));
    assert!(!is_allowed(&policy, &scraper, &to, 9443, Protocol::Tcp));
    assert!(!is_allowed(&policy, &pod("a", &[]), &to, 9090, Protocol::Tcp));
    let unseen = operator_policy(&OperatorFacts { monitoring: None, ..operator() }).unwrap();
    assert!(!is_allowed(&unseen, &scraper, &to, 9090, Protocol::Tcp));
}

#[test]
fn an_operator_that_could_not_work_or_would_select_every_pod_gets_no_policy() {
    let fault = |facts: OperatorFacts| operator_policy(&facts).unwrap_err().fault;
    assert_eq!(fault(OperatorFacts { kubernetes_api: vec![], ..operator() }), Fault::NoAddress);
    assert_eq!(fault(OperatorFacts { labels: labels(&[]), ..operator() }), Fault::EveryPod);
    assert_eq!(fault(OperatorFacts { name: "A".to_owned(), ..operator() }), Fault::Name("A".to_owned()));
}
