use serde_json::{Value, json};

use super::*;

fn pod(namespace: &str, name: &str, address: &str, node: &str) -> Party {
    let named_ports = vec![
        NamedPort { name: "http".to_owned(), protocol: Protocol::Tcp, number: 8080 },
        NamedPort { name: "dns".to_owned(), protocol: Protocol::Udp, number: 53 },
    ];
    Party::Pod(Pod {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        labels: Labels::from([("app".to_owned(), name.to_owned())]),
        address: Some(address.parse().unwrap()),
        node: node.to_owned(),
        named_ports,
    })
}

/// Two pods in namespace shop (team a), one in ops (team b), one in bare (no labels); two nodes; the outside.
fn party(name: &str) -> Party {
    match name {
        "web" => pod("shop", "web", "10.0.0.1", "one"),
        "db" => pod("shop", "db", "10.0.0.2", "one"),
        "job" => pod("ops", "job", "10.1.0.1", "two"),
        "ops-web" => pod("ops", "web", "10.1.0.2", "two"),
        "bare" => pod("bare", "bare", "10.2.0.1", "two"),
        "node-one" => Party::Node { name: "one".to_owned(), address: "192.0.2.1".parse().unwrap() },
        "node-two" => Party::Node { name: "two".to_owned(), address: "192.0.2.2".parse().unwrap() },
        address => Party::Address(address.parse().unwrap()),
    }
}

fn world() -> World {
    let team = |team: &str| Labels::from([("team".to_owned(), team.to_owned())]);
    World {
        namespaces: BTreeMap::from([
            ("shop".to_owned(), team("a")),
            ("ops".to_owned(), team("b")),
            ("bare".to_owned(), Labels::new()),
        ]),
    }
}

/// A policy of namespace shop.
fn policy(spec: &Value) -> NetworkPolicy {
    serde_json::from_value(json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "policy", "namespace": "shop"},
        "spec": spec,
    }))
    .unwrap()
}

fn verdict(specs: &[Value], from: &str, to: &str, port: u16, protocol: Protocol) -> Verdict {
    let policies: Vec<_> = specs.iter().map(policy).collect();
    evaluate(&policies, &world(), &party(from), &party(to), port, protocol)
}

/// Whether one policy of namespace shop lets `from` connect to `to` on TCP 8080.
#[track_caller]
fn check(spec: &Value, from: &str, to: &str, allowed: bool) {
    let verdict = verdict(std::slice::from_ref(spec), from, to, 8080, Protocol::Tcp);
    assert_eq!(verdict.allowed(), allowed, "{from} -> {to} by {spec}: {verdict:?}");
}

fn ingress_to_web(from: &Value) -> Value {
    json!({"podSelector": {"matchLabels": {"app": "web"}}, "ingress": [{"from": from}]})
}

#[test]
fn a_pod_that_no_policy_selects_is_open() {
    let only_db =
        json!({"podSelector": {"matchLabels": {"app": "db"}}, "policyTypes": ["Ingress", "Egress"]});
    check(&only_db, "job", "web", true);
    check(&only_db, "203.0.113.1", "web", true);
    check(&only_db, "web", "job", true);
    check(&only_db, "job", "db", false);
    check(&only_db, "db", "job", false);
    // A policy is for pods of its own namespace alone.
    let everything = json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]});
    check(&everything, "job", "ops-web", true);
    assert_eq!(verdict(&[], "job", "web", 1, Protocol::Sctp).ingress, Side::Open);
}

#[test]
fn an_empty_or_absent_pod_selector_selects_every_pod_of_the_namespace() {
    for spec in [json!({"podSelector": {}}), json!({}), json!({"podSelector": {"matchLabels": {}}})] {
        check(&spec, "job", "web", false);
        check(&spec, "job", "db", false);
        check(&spec, "job", "ops-web", true);
    }
}

#[test]
fn policy_types_default_to_ingress_and_to_egress_if_there_is_an_egress_rule() {
    let check = |spec: Value, into: bool, out_of: bool| {
        check(&spec, "job", "web", into);
        check(&spec, "web", "job", out_of);
    };
    let elsewhere = json!([{"ports": [{"port": 1}]}]);
    check(json!({}), false, true);
    check(json!({"policyTypes": []}), false, true);
    check(json!({"ingress": []}), false, true);
    check(json!({"egress": []}), false, true);
    check(json!({"egress": elsewhere}), false, false);
    check(json!({"ingress": elsewhere}), false, true);
    check(json!({"policyTypes": ["Ingress"], "egress": elsewhere}), false, true);
    check(json!({"policyTypes": ["Egress"]}), true, false);
    check(json!({"policyTypes": ["Egress"], "ingress": elsewhere}), true, false);
    check(json!({"policyTypes": ["Ingress", "Egress"]}), false, false);
}

#[test]
fn no_rules_are_nobody_and_a_rule_without_peers_is_everybody() {
    check(&json!({"ingress": []}), "job", "web", false);
    check(&json!({"ingress": [{}]}), "job", "web", true);
    check(&json!({"ingress": [{}]}), "203.0.113.1", "web", true);
    check(&json!({"ingress": [{"from": []}]}), "203.0.113.1", "web", true);
    check(&json!({"policyTypes": ["Egress"], "egress": []}), "web", "job", false);
    check(&json!({"egress": [{}], "policyTypes": ["Egress"]}), "web", "203.0.113.1", true);
    check(&json!({"egress": [{"to": []}], "policyTypes": ["Egress"]}), "web", "203.0.113.1", true);
}

#[test]
fn a_pod_selector_alone_means_pods_of_the_same_namespace() {
    let all = ingress_to_web(&json!([{"podSelector": {}}]));
    check(&all, "db", "web", true);
    check(&all, "job", "web", false);
    check(&all, "203.0.113.1", "web", false);
    let web = ingress_to_web(&json!([{"podSelector": {"matchLabels": {"app": "web"}}}]));
    check(&web, "ops-web", "web", false);
    check(&web, "db", "web", false);
}

#[test]
fn a_namespace_selector_alone_means_all_pods_of_these_namespaces() {
    let ops = ingress_to_web(&json!([{"namespaceSelector": {"matchLabels": {"team": "b"}}}]));
    check(&ops, "job", "web", true);
    check(&ops, "ops-web", "web", true);
    check(&ops, "db", "web", false);
    check(&ops, "bare", "web", false);
    let all = ingress_to_web(&json!([{"namespaceSelector": {}}]));
    check(&all, "bare", "web", true);
    check(&all, "db", "web", true);
    check(&all, "node-two", "web", false);
    check(&all, "10.1.0.1", "web", false);
}

#[test]
fn both_selectors_in_one_peer_are_and_in_two_peers_or() {
    let namespace = json!({"matchLabels": {"team": "b"}});
    let pods = json!({"matchLabels": {"app": "db"}});
    let both = ingress_to_web(&json!([{"namespaceSelector": namespace, "podSelector": pods}]));
    check(&both, "db", "web", false);
    check(&both, "job", "web", false);
    let either = ingress_to_web(&json!([{"namespaceSelector": namespace}, {"podSelector": pods}]));
    check(&either, "db", "web", true);
    check(&either, "job", "web", true);
    let job = json!({"matchLabels": {"app": "job"}});
    let both = ingress_to_web(&json!([{"namespaceSelector": namespace, "podSelector": job}]));
    check(&both, "job", "web", true);
    check(&both, "ops-web", "web", false);
}

#[test]
fn an_ip_block_means_its_addresses_without_the_exceptions() {
    let block = ingress_to_web(&json!([{"ipBlock": {
        "cidr": "198.51.100.0/24", "except": ["198.51.100.128/25", "198.51.100.7/32"],
    }}]));
    check(&block, "198.51.100.0", "web", true);
    check(&block, "198.51.100.6", "web", true);
    check(&block, "198.51.100.7", "web", false);
    check(&block, "198.51.100.127", "web", true);
    check(&block, "198.51.100.128", "web", false);
    check(&block, "198.51.101.0", "web", false);
    check(&block, "::ffff:198.51.100.6", "web", false);
    // Pods and nodes have addresses, too.
    check(&ingress_to_web(&json!([{"ipBlock": {"cidr": "10.1.0.0/31"}}])), "job", "web", true);
    check(&ingress_to_web(&json!([{"ipBlock": {"cidr": "10.1.0.0/31"}}])), "ops-web", "web", false);
    check(&ingress_to_web(&json!([{"ipBlock": {"cidr": "192.0.2.2/32"}}])), "node-two", "web", true);
    let all_v6 = ingress_to_web(&json!([{"ipBlock": {"cidr": "::/0", "except": []}}]));
    check(&all_v6, "2001:db8::1", "web", true);
    check(&all_v6, "198.51.100.6", "web", false);
    // What the API server refuses matches nothing.
    check(
        &ingress_to_web(&json!([{"ipBlock": {"cidr": "0.0.0.0/0"}, "podSelector": {}}])),
        "db",
        "web",
        false,
    );
    check(&ingress_to_web(&json!([{"ipBlock": {"cidr": "anything"}}])), "job", "web", false);
    check(
        &ingress_to_web(&json!([{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["?"]}}])),
        "job",
        "web",
        false,
    );
    check(&ingress_to_web(&json!([{}])), "job", "web", false);
}

#[test]
fn match_expressions_are_all_required() {
    let check = |expressions: Value, allowed: bool| {
        let peers = json!([{"namespaceSelector": {"matchExpressions": expressions}}]);
        check(&ingress_to_web(&peers), "job", "web", allowed);
    };
    check(json!([{"key": "team", "operator": "In", "values": ["a", "b"]}]), true);
    check(json!([{"key": "team", "operator": "In", "values": ["a"]}]), false);
    check(json!([{"key": "zone", "operator": "In", "values": ["b"]}]), false);
    check(json!([{"key": "team", "operator": "NotIn", "values": ["a"]}]), true);
    check(json!([{"key": "team", "operator": "NotIn", "values": ["a", "b"]}]), false);
    check(json!([{"key": "zone", "operator": "NotIn", "values": ["b"]}]), true);
    check(json!([{"key": "team", "operator": "Exists"}]), true);
    check(json!([{"key": "zone", "operator": "Exists"}]), false);
    check(json!([{"key": "team", "operator": "DoesNotExist"}]), false);
    check(json!([{"key": "zone", "operator": "DoesNotExist"}]), true);
    check(json!([{"key": "team", "operator": "Like", "values": ["b"]}]), false);
    check(json!([{"key": "team", "operator": "Exists"}, {"key": "zone", "operator": "Exists"}]), false);
    let mixed = json!([{"namespaceSelector": {
        "matchLabels": {"team": "b"},
        "matchExpressions": [{"key": "team", "operator": "NotIn", "values": ["b"]}],
    }}]);
    super::tests::check(&ingress_to_web(&mixed), "job", "web", false);
}

#[test]
fn ports_are_numbers_ranges_names_or_all_of_a_protocol() {
    let check = |ports: Value, port: u16, protocol: Protocol, allowed: bool| {
        let spec = json!({"ingress": [{"ports": ports}]});
        let verdict = verdict(std::slice::from_ref(&spec), "job", "web", port, protocol);
        assert_eq!(verdict.allowed(), allowed, "{port} {protocol:?} by {spec}");
    };
    check(json!([{"port": 8080}]), 8080, Protocol::Tcp, true);
    check(json!([{"port": 8080}]), 8081, Protocol::Tcp, false);
    check(json!([{"port": 8080}]), 8080, Protocol::Udp, false);
    check(json!([{"port": 53, "protocol": "UDP"}]), 53, Protocol::Udp, true);
    check(json!([{"port": 53, "protocol": "UDP"}]), 53, Protocol::Tcp, false);
    check(json!([{"port": 53, "protocol": "UDP"}, {"port": 53}]), 53, Protocol::Tcp, true);
    check(json!([{"port": 8000, "endPort": 8010}]), 8000, Protocol::Tcp, true);
    check(json!([{"port": 8000, "endPort": 8010}]), 8010, Protocol::Tcp, true);
    check(json!([{"port": 8000, "endPort": 8010}]), 8011, Protocol::Tcp, false);
    check(json!([{"port": 8000, "endPort": 8010}]), 7999, Protocol::Tcp, false);
    check(json!([{"protocol": "SCTP"}]), 1, Protocol::Sctp, true);
    check(json!([{"protocol": "SCTP"}]), 1, Protocol::Tcp, false);
    check(json!([{}]), 1, Protocol::Tcp, true);
    check(json!([{}]), 1, Protocol::Udp, false);
    check(json!([]), 1, Protocol::Udp, true);
    check(json!([{"port": "http"}]), 8080, Protocol::Tcp, true);
    check(json!([{"port": "http"}]), 8081, Protocol::Tcp, false);
    check(json!([{"port": "http"}]), 8080, Protocol::Udp, false);
    check(json!([{"port": "dns", "protocol": "UDP"}]), 53, Protocol::Udp, true);
    check(json!([{"port": "other"}]), 8080, Protocol::Tcp, false);
    check(json!([{"port": "http", "endPort": 9000}]), 8080, Protocol::Tcp, false);
    check(json!([{"endPort": 9000}]), 8080, Protocol::Tcp, false);
}

#[test]
fn peers_and_ports_of_one_rule_are_and_rules_and_policies_are_or() {
    let rule = |app: &str, port: u16| json!({"from": [{"podSelector": {"matchLabels": {"app": app}}}], "ports": [{"port": port}]});
    let two_rules = json!({"ingress": [rule("db", 1), rule("web", 8080)]});
    check(&two_rules, "db", "web", false);
    let two =
        [json!({"ingress": [rule("web", 8080)]}), json!({"ingress": [rule("db", 1), rule("db", 8080)]})];
    let allowed = Side::Allowed { policy: "policy".to_owned(), rule: 1 };
    assert_eq!(verdict(&two, "db", "web", 8080, Protocol::Tcp).ingress, allowed);
    let denied = Side::Denied { policies: vec!["policy".to_owned(), "policy".to_owned()] };
    assert_eq!(verdict(&two, "job", "web", 8080, Protocol::Tcp).ingress, denied);
}

#[test]
fn both_ends_must_allow_a_connection() {
    let out_of_db = json!({
        "podSelector": {"matchLabels": {"app": "db"}}, "policyTypes": ["Egress"],
        "egress": [{"to": [{"podSelector": {"matchLabels": {"app": "web"}}}], "ports": [{"port": 8080}]}],
    });
    let into_web = json!({"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Ingress"]});
    check(&out_of_db, "db", "web", true);
    check(&out_of_db, "db", "job", false);
    let both = verdict(&[out_of_db, into_web], "db", "web", 8080, Protocol::Tcp);
    assert!(both.egress.allows() && !both.ingress.allows() && !both.allowed());
}

#[test]
fn a_pod_and_itself_and_a_pod_and_its_node_are_always_connected() {
    let nothing = json!({"policyTypes": ["Ingress", "Egress"]});
    check(&nothing, "web", "web", true);
    check(&nothing, "node-one", "web", true);
    check(&nothing, "web", "node-one", true);
    check(&nothing, "node-two", "web", false);
    check(&nothing, "web", "node-two", false);
    check(&nothing, "ops-web", "web", false);
    let probed = verdict(&[nothing], "node-one", "web", 9090, Protocol::Tcp);
    assert_eq!(probed, Verdict { egress: Side::NotAPod, ingress: Side::Always });
}

#[test]
fn a_policy_without_namespace_or_specification_selects_nothing() {
    let mut nowhere = policy(&json!({}));
    nowhere.metadata.namespace = None;
    let empty = NetworkPolicy { spec: None, ..policy(&json!({})) };
    let verdict = evaluate(&[nowhere, empty], &world(), &party("job"), &party("web"), 1, Protocol::Tcp);
    assert_eq!(verdict.ingress, Side::Open);
}
