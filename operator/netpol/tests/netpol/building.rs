use std::collections::BTreeSet;

use k8s_openapi::api::networking::v1::NetworkPolicy;
use openarchive_operator_netpol::{
    Agent, CIDRS_MAX, Destination, Draft, EXTRA_EDGES_MAX, End, ExtraEdge, Facts, Fault, Labels, Listener,
    Pods, Prober, REASON_BYTES_MAX, SEARCH_NODES_MAX, build, fingerprints, graph_hash, of_namespace,
};
use openarchive_topology::{HEALTH_PORT, Role};

use crate::archives::{distributed, facts, labels, pods_of, standalone};

fn policies(draft: Draft) -> Vec<NetworkPolicy> {
    build(&facts(draft))
}

fn names(policies: &[NetworkPolicy]) -> Vec<&str> {
    policies.iter().map(|policy| policy.metadata.name.as_deref().unwrap()).collect()
}

#[test]
fn each_set_of_pods_has_a_policy_of_a_stable_name() {
    assert_eq!(names(&policies(standalone())), ["mail-default-deny", "mail-all", "mail-prober"]);
    assert_eq!(
        names(&policies(distributed())),
        [
            "mail-default-deny",
            "mail-ingest",
            "mail-storage",
            "mail-index",
            "mail-trust",
            "mail-gateway",
            "mail-worker",
            "mail-edge.athens",
            "mail-edge.berlin",
            "mail-migrate",
            "mail-prober",
        ]
    );
}

#[test]
fn the_first_policy_denies_everything_to_every_pod_of_the_archive() {
    for draft in [standalone(), distributed()] {
        let policies = policies(draft);
        let spec = policies[0].spec.as_ref().unwrap();
        let selected = spec.pod_selector.as_ref().unwrap();
        let of_archive =
            labels(&[("app.kubernetes.io/name", "openarchive"), ("app.kubernetes.io/instance", "mail")]);
        assert_eq!((&selected.match_labels, &selected.match_expressions), (&Some(of_archive), &None));
        assert_eq!((&spec.ingress, &spec.egress), (&None, &None));
    }
}

#[test]
fn no_rule_means_everybody_and_nothing_is_left_to_the_defaults_of_the_api_server() {
    for policy in policies(standalone()).iter().chain(&policies(distributed())) {
        let spec = policy.spec.as_ref().unwrap();
        assert_eq!(spec.policy_types.as_deref(), Some(&["Ingress".to_owned(), "Egress".to_owned()][..]));
        assert_ne!(spec.ingress.as_ref().map(Vec::len), Some(0));
        assert_ne!(spec.egress.as_ref().map(Vec::len), Some(0));
        let ingress = spec.ingress.iter().flatten().map(|rule| (&rule.from, &rule.ports));
        let egress = spec.egress.iter().flatten().map(|rule| (&rule.to, &rule.ports));
        for (peers, ports) in ingress.chain(egress) {
            let (peers, ports) = (peers.as_ref().unwrap(), ports.as_ref().unwrap());
            assert!(!peers.is_empty() && !ports.is_empty(), "{policy:?}");
            assert!(ports.iter().all(|port| port.port.is_some() && port.protocol.is_some()), "{policy:?}");
            for peer in peers {
                let selectors = [&peer.namespace_selector, &peer.pod_selector].into_iter().flatten();
                assert!(
                    selectors.clone().all(|one| one.match_labels.as_ref().is_some_and(|all| !all.is_empty()))
                );
                assert!(peer.ip_block.is_some() != (selectors.count() > 0), "{peer:?}");
            }
        }
    }
}

#[test]
fn every_rule_has_an_annotation_that_says_why() {
    for policy in &policies(distributed())[1..] {
        let spec = policy.spec.as_ref().unwrap();
        let count = |list: usize, direction: &'static str| {
            (0..list).map(move |number| format!("why.openarchive.dev/{direction}-{number}"))
        };
        let rules = count(spec.ingress.as_ref().map_or(0, Vec::len), "ingress")
            .chain(count(spec.egress.as_ref().map_or(0, Vec::len), "egress"));
        let annotations = policy.metadata.annotations.as_ref().unwrap();
        assert_eq!(annotations.keys().cloned().collect::<BTreeSet<_>>(), rules.collect(), "{policy:?}");
        assert!(
            annotations.values().all(|why| why.contains(" -> ") && why.contains(": ")),
            "{annotations:?}"
        );
    }
    let gateway = &policies(distributed())[5];
    let annotations = gateway.metadata.annotations.as_ref().unwrap();
    let nginx =
        "pods app.kubernetes.io/component=controller of namespaces kubernetes.io/metadata.name=ingress-nginx";
    let extra = format!("{nginx} -> gateway: people come through the ingress controller (extra edge)");
    assert!(annotations.values().any(|why| *why == extra), "{annotations:?}");
}

#[test]
fn the_order_of_agents_and_host_bits_of_ranges_change_nothing() {
    let mut other = distributed();
    other.agents.reverse();
    other.clients[0] = "203.0.113.77/24".parse().unwrap();
    assert_eq!(policies(distributed()), policies(other));
}

#[test]
fn hashes_follow_what_is_enforced_and_nothing_else() {
    let built = policies(distributed());
    let mut changed = built.clone();
    changed.reverse();
    for policy in &mut changed {
        policy.metadata.annotations = None;
        policy.metadata.uid = Some("8f2c".to_owned());
        policy.metadata.labels.get_or_insert_default().insert("team".to_owned(), "mail".to_owned());
    }
    assert_eq!(graph_hash(&changed).unwrap(), graph_hash(&built).unwrap());
    changed.reverse();
    assert_eq!(fingerprints(&changed).unwrap(), fingerprints(&built).unwrap());
    changed[1].spec.as_mut().unwrap().ingress.as_mut().unwrap().pop();
    assert_ne!(graph_hash(&changed).unwrap(), graph_hash(&built).unwrap());
    let (before, after) = (fingerprints(&built).unwrap(), fingerprints(&changed).unwrap());
    assert_ne!(before[1].sha256, after[1].sha256);
    assert_eq!((before[1].rules, before[0].rules), (after[1].rules + 1, 0));
    assert_eq!(before[2..], after[2..]);
    assert_ne!(graph_hash(&built[1..]).unwrap(), graph_hash(&built).unwrap());
}

/// `printf '%s' '{"podSelector":…,"policyTypes":["Ingress","Egress"]}' | sha256sum`
#[test]
fn a_hash_is_that_of_the_canonical_specification() {
    let default_deny = &fingerprints(&policies(standalone())).unwrap()[0];
    assert_eq!(default_deny.sha256, "86843c712050816c533d1ecd9c9a6b35039c7d57428fdfadb6a3aa7e9f014a85");
}

/// Every fact that is refused, by whose it is and what is wrong with it.
#[test]
fn facts_that_would_make_wrong_policies_are_refused() {
    let check = |whose: &str, fault: Fault, spoil: &dyn Fn(&mut Draft)| {
        let mut draft = distributed();
        spoil(&mut draft);
        let error = Facts::new(draft).unwrap_err();
        assert_eq!((error.whose.as_str(), &error.fault), (whose, &fault), "{error}");
    };
    let name = |text: &str| Fault::Name(text.to_owned());
    check("archive", name("Mail"), &|draft| draft.archive = "Mail".to_owned());
    check("archive", name("mail.x"), &|draft| draft.archive = "mail.x".to_owned());
    check("namespace", name(""), &|draft| draft.namespace.clear());
    check("agent berlin", Fault::Twice, &|draft| draft.agents[1].name = "berlin".to_owned());
    check("agent -", name("-"), &|draft| draft.agents[1].name = "-".to_owned());
    check("agent berlin", Fault::Port, &|draft| draft.agents[0].listeners[0].port = 0);
    check("agent berlin", Fault::HealthPort, &|draft| draft.agents[0].listeners[0].port = HEALTH_PORT);
    let many = vec!["192.0.2.0/24".parse().unwrap(); CIDRS_MAX + 1];
    check("clients", Fault::TooMany(CIDRS_MAX), &|draft| draft.clients.clone_from(&many));
    check("external agents", Fault::TooMany(CIDRS_MAX), &|draft| draft.external_agents.clone_from(&many));
    let nowhere = Some(Destination::Cidrs { ranges: vec![], port: 1 });
    check("database", Fault::NoAddress, &|draft| draft.database.clone_from(&nowhere));
    let nodes = vec![distributed().search_engine[0].clone(); SEARCH_NODES_MAX + 1];
    check("search engine", Fault::TooMany(SEARCH_NODES_MAX), &|draft| draft.search_engine.clone_from(&nodes));
    check("search engine", Fault::NoAddress, &|draft| draft.search_engine.extend(nowhere.clone()));
    let no_port = Some(Destination::Pods { pods: pods_of("minio", &[]), port: 0 });
    check("object store", Fault::Port, &|draft| draft.object_store.clone_from(&no_port));
    let everywhere = Pods { namespaces: Labels::new(), pods: labels(&[("app", "x")]) };
    check("operator", Fault::EveryNamespace, &|draft| draft.operator = everywhere.clone());
    check("monitoring", Fault::EveryNamespace, &|draft| draft.monitoring = Some(everywhere.clone()));
    check("DNS", Fault::EveryNamespace, &|draft| draft.dns.pods = everywhere.clone());
    let malformed = Pods { namespaces: of_namespace("x"), pods: labels(&[("app", "x y")]) };
    check("operator", Fault::Label("app".to_owned()), &|draft| draft.operator = malformed.clone());
    check("prober", Fault::HealthPort, &|draft| {
        draft.prober = Some(Prober { deny_canary_port: HEALTH_PORT });
    });
    let edges = vec![distributed().extra_edges[0].clone(); EXTRA_EDGES_MAX + 1];
    check("extra edges", Fault::TooMany(EXTRA_EDGES_MAX), &|draft| draft.extra_edges.clone_from(&edges));
    check("extra edge 1", Fault::Outside, &|draft| draft.extra_edges[1].from = End::Role(Role::Operator));
    check("extra edge 1", Fault::Port, &|draft| draft.extra_edges[1].port = 0);
    for reason in [" ", "one\ntwo", &"x".repeat(REASON_BYTES_MAX + 1)] {
        check("extra edge 0", Fault::Reason, &|draft| draft.extra_edges[0].reason = reason.to_owned());
    }
}

#[test]
fn facts_at_their_limits_are_taken() {
    let mut draft = distributed();
    draft.search_engine = vec![draft.search_engine[0].clone(); SEARCH_NODES_MAX];
    draft.clients = vec!["192.0.2.0/24".parse().unwrap(); CIDRS_MAX];
    draft.extra_edges = vec![draft.extra_edges[0].clone(); EXTRA_EDGES_MAX];
    draft.extra_edges[0].reason = "x".repeat(REASON_BYTES_MAX);
    assert!(Facts::new(draft).is_ok());
}

#[test]
fn an_archive_and_one_that_is_called_like_its_agents_share_no_policy_name() {
    let mut first = standalone();
    first.agents = vec![Agent { name: "all".to_owned(), listeners: vec![] }];
    let mut second = standalone();
    second.archive = "mail-edge".to_owned();
    let (first, second) = (policies(first), policies(second));
    let both: BTreeSet<&str> = names(&first).into_iter().chain(names(&second)).collect();
    assert_eq!(both.len(), first.len() + second.len());
}

#[test]
fn what_the_facts_do_not_have_opens_nothing() {
    let mut draft = standalone();
    draft.prober = None;
    draft.extra_edges.push(ExtraEdge {
        from: End::Agents,
        to: End::Cidr("192.0.2.0/24".parse().unwrap()),
        port: 443,
        reason: "there is no agent".to_owned(),
    });
    let policies = policies(draft.clone());
    assert_eq!(names(&policies), ["mail-default-deny", "mail-all"]);
    let all = policies[1].spec.as_ref().unwrap();
    // The operator's calls; DNS.
    assert_eq!((all.ingress.as_ref().unwrap().len(), all.egress.as_ref().unwrap().len()), (1, 1));
    draft.agents =
        vec![Agent { name: "a".to_owned(), listeners: vec![Listener { port: 25, peers: vec![] }] }];
    let agent = &build(&facts(draft))[2];
    assert_eq!(agent.spec.as_ref().unwrap().ingress, None, "a listener without peers lets nobody in");
}
