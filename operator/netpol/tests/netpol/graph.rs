//! The built policies allow a connection exactly if the graph has the edge.

use ipnet::IpNet;
use k8s_openapi::{
    api::networking::v1::{NetworkPolicy, NetworkPolicySpec},
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use openarchive_operator_netpol::{
    Agent, Destination, Dns, Draft, End, ExtraEdge, Facts, Layout, Listener, Party, Pods, Prober, Protocol,
    World, build, evaluate,
};
use openarchive_topology::Role;
use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, select},
    test_runner::{RngSeed, TestRunner},
};

use crate::{
    archives::{cluster_dns, distributed, facts, pods_of, standalone},
    oracle::Question,
    world::{Cluster, OWN_PODS, PORTS, around},
};

/// Number of random cases: `OPENARCHIVE_NETPOL_CASES`, 100,000 in `make test-operator`.
fn cases() -> u32 {
    std::env::var("OPENARCHIVE_NETPOL_CASES").map_or(10_000, |text| text.parse().unwrap())
}

/// Whether it may leave its source, and enter its destination.
fn answer(policies: &[NetworkPolicy], world: &World, ask: Ask<'_>) -> (bool, bool) {
    let (from, to, port, protocol) = ask;
    let verdict = evaluate(policies, world, from, to, port, protocol);
    (verdict.egress.allows(), verdict.ingress.allows())
}

/// Whether policies and graph, which must agree, allow it.
fn compare(facts: &Facts, policies: &[NetworkPolicy], cluster: &Cluster, ask: Ask<'_>) -> bool {
    let (from, to, port, protocol) = ask;
    let world = &cluster.world;
    let question = Question { facts, world, from, to, port, protocol };
    let (out, into) = answer(policies, world, ask);
    let what = || format!("{from:?} -> {to:?} {protocol:?} {port}\n{:#?}", **facts);
    assert_eq!((out, into), question.sides(), "{}", what());
    if let Some(single) = question.has_single_edge() {
        assert_eq!(out && into, single, "by one edge: {}", what());
    }
    out && into
}

const PROTOCOLS: [Protocol; 2] = [Protocol::Tcp, Protocol::Udp];

type Ask<'c> = (&'c Party, &'c Party, u16, Protocol);

/// Every pair of which one is of the archive, every port.
fn every_ask(cluster: &Cluster) -> impl Iterator<Item = Ask<'_>> {
    let parties = || cluster.parties.iter().enumerate();
    parties()
        .flat_map(move |from| parties().map(move |to| (from, to)))
        // Between two that are both outside nothing is decided here.
        .filter(|((one, _), (other, _))| *one < OWN_PODS || *other < OWN_PODS)
        .flat_map(|((_, from), (_, to))| PORTS.into_iter().map(move |port| (from, to, port)))
        .flat_map(|(from, to, port)| PROTOCOLS.map(|protocol| (from, to, port, protocol)))
}

/// What is allowed, and what is refused, after both have been compared with the graph.
fn compare_all<'c>(
    facts: &Facts,
    policies: &[NetworkPolicy],
    cluster: &'c Cluster,
) -> (Vec<Ask<'c>>, Vec<Ask<'c>>) {
    every_ask(cluster).partition(|ask| compare(facts, policies, cluster, *ask))
}

#[test]
fn the_two_example_archives_allow_their_edges_and_nothing_else() {
    for draft in [standalone(), distributed()] {
        let facts = facts(draft);
        let cluster = around(&facts);
        let (allowed, refused) = compare_all(&facts, &build(&facts), &cluster);
        assert!(allowed.len() > 1000 && refused.len() > 1000, "{} {}", allowed.len(), refused.len());
    }
}

/// `policies`, each time with one thing wrong: a policy or a rule is missing, a rule is for everybody, or for every port.
fn spoiled(policies: &[NetworkPolicy]) -> Vec<(String, Vec<NetworkPolicy>)> {
    let mut all = Vec::new();
    let mut add = |what: &str, position: usize, change: &dyn Fn(&mut NetworkPolicySpec)| {
        let mut spoiled = policies.to_vec();
        let name = spoiled[position].metadata.name.clone().unwrap();
        change(spoiled[position].spec.as_mut().unwrap());
        all.push((format!("{name}: {what}"), spoiled));
    };
    for (position, policy) in policies.iter().enumerate() {
        let spec = policy.spec.as_ref().unwrap();
        add("for nobody", position, &|spec| spec.pod_selector = Some(nobody()));
        for rule in 0..spec.ingress.iter().flatten().count() {
            add(&format!("ingress {rule} gone"), position, &|spec| {
                spec.ingress.as_mut().unwrap().remove(rule);
            });
            add(&format!("ingress {rule} from all"), position, &|spec| {
                spec.ingress.as_mut().unwrap()[rule].from = None;
            });
            add(&format!("ingress {rule} on all ports"), position, &|spec| {
                spec.ingress.as_mut().unwrap()[rule].ports = None;
            });
        }
        for rule in 0..spec.egress.iter().flatten().count() {
            add(&format!("egress {rule} gone"), position, &|spec| {
                spec.egress.as_mut().unwrap().remove(rule);
            });
            add(&format!("egress {rule} to all"), position, &|spec| {
                spec.egress.as_mut().unwrap()[rule].to = None;
            });
            add(&format!("egress {rule} on all ports"), position, &|spec| {
                spec.egress.as_mut().unwrap()[rule].ports = None;
            });
        }
    }
    all
}

fn nobody() -> LabelSelector {
    LabelSelector {
        match_labels: Some([("no".to_owned(), "pod".to_owned())].into()),
        match_expressions: None,
    }
}

/// The comparison would find each of these.
#[test]
fn a_missing_rule_and_a_rule_that_is_too_wide_change_what_is_allowed() {
    // A prime, so that neighbours in the list, which are alike, are looked at far apart.
    const STRIDE: usize = 7919;
    let facts = facts(distributed());
    let cluster = around(&facts);
    let policies = build(&facts);
    let (allowed, refused) = compare_all(&facts, &policies, &cluster);
    assert_ne!(refused.len() % STRIDE, 0);
    for (what, spoiled) in spoiled(&policies) {
        let unequal =
            |ask: Ask<'_>| answer(&spoiled, &cluster.world, ask) != answer(&policies, &cluster.world, ask);
        let mut far_apart = (0..refused.len()).map(|step| refused[step * STRIDE % refused.len()]);
        assert!(allowed.iter().copied().any(unequal) || far_apart.any(unequal), "{what} makes no difference");
    }
}

fn range() -> impl Strategy<Value = IpNet> {
    let ranges = [
        "192.0.2.0/24",
        "192.0.2.0/25",
        "192.0.2.128/25",
        "198.51.100.77/32",
        "198.51.100.0/24",
        "203.0.113.9/8",
        "172.16.5.0/28",
        "10.244.0.0/16",
        "10.244.1.0/24",
        "10.0.0.0/30",
        "10.96.0.10/32",
        "169.254.20.10/32",
        "0.0.0.0/0",
        "::/0",
        "2001:db8::/32",
    ];
    select(ranges.map(|text| text.parse::<IpNet>().unwrap()).to_vec())
}

fn ranges() -> impl Strategy<Value = Vec<IpNet>> {
    vec(range(), 0..3)
}

fn port() -> impl Strategy<Value = u16> {
    select(PORTS.to_vec())
}

fn selected_pods() -> impl Strategy<Value = Pods> {
    select(vec![
        pods_of("kube-system", &[("k8s-app", "kube-dns")]),
        pods_of("kube-system", &[]),
        pods_of("monitoring", &[]),
        pods_of("monitoring", &[("app", "prometheus")]),
        pods_of("openarchive-system", &[("app.kubernetes.io/name", "openarchive-operator")]),
        pods_of("minio", &[("app", "minio")]),
        pods_of("search", &[]),
        pods_of("ingress-nginx", &[("app.kubernetes.io/component", "controller")]),
        pods_of("elsewhere", &[("app.kubernetes.io/name", "openarchive")]),
        pods_of("archive", &[]),
        pods_of("archive", &[("app.kubernetes.io/component", "gateway")]),
        pods_of("nowhere", &[]),
    ])
}

fn destination() -> impl Strategy<Value = Option<Destination>> {
    let ranges = (vec(range(), 1..3), port()).prop_map(|(ranges, port)| Destination::Cidrs { ranges, port });
    let pods = (selected_pods(), port()).prop_map(|(pods, port)| Destination::Pods { pods, port });
    proptest::option::weighted(0.8, prop_oneof![ranges, pods])
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        4 => select(Role::ALL.to_vec()).prop_map(End::Role),
        1 => Just(End::Agents),
        2 => range().prop_map(End::Cidr),
        2 => selected_pods().prop_map(End::Pods),
    ]
}

/// Not yet checked: both ends may be outside.
fn extra_edge() -> impl Strategy<Value = ExtraEdge> {
    (end(), end(), port()).prop_map(|(from, to, port)| ExtraEdge {
        from,
        to,
        port,
        reason: "because".to_owned(),
    })
}

fn agents() -> impl Strategy<Value = Vec<Agent>> {
    let listener =
        || (select(vec![2525_u16, 2526, 9443]), ranges()).prop_map(|(port, peers)| Listener { port, peers });
    let listeners = || vec(listener(), 0..3);
    let agent = |name: &str, listeners| Agent { name: name.to_owned(), listeners };
    (listeners(), listeners(), 0..3_usize).prop_map(move |(first, second, count)| {
        let both = [agent("berlin", first), agent("athens", second)];
        both.into_iter().take(count).collect()
    })
}

fn some_facts() -> impl Strategy<Value = Facts> {
    let layout = select(vec![Layout::Standalone, Layout::Distributed]);
    let monitoring = proptest::option::of(selected_pods());
    let prober = proptest::option::of(Just(Prober { deny_canary_port: 9999 }));
    let dns = prop_oneof![
        Just(cluster_dns()),
        (selected_pods(), port(), ranges()).prop_map(|(pods, port, node_local)| Dns {
            pods,
            port,
            node_local
        }),
    ];
    let search_engine =
        vec(destination(), 0..3).prop_map(|some| some.into_iter().flatten().collect::<Vec<_>>());
    let destinations = (destination(), destination(), search_engine);
    let outside = (ranges(), ranges(), monitoring, selected_pods(), dns);
    (layout, agents(), destinations, outside, prober, vec(extra_edge(), 0..6)).prop_map(
        |(layout, agents, destinations, outside, prober, mut extra_edges)| {
            let (database, object_store, search_engine) = destinations;
            let (external_agents, clients, monitoring, operator, dns) = outside;
            extra_edges.retain(|edge| [&edge.from, &edge.to].into_iter().any(is_ours));
            facts(Draft {
                layout,
                agents,
                external_agents,
                clients,
                database,
                object_store,
                search_engine,
                dns,
                monitoring,
                operator,
                prober,
                extra_edges,
                ..standalone()
            })
        },
    )
}

fn is_ours(end: &End) -> bool {
    match end {
        End::Role(role) => *role != Role::Operator,
        End::Agents => true,
        End::Cidr(_) | End::Pods(_) => false,
    }
}

#[test]
fn the_policies_of_any_facts_allow_a_connection_exactly_if_the_graph_has_it() {
    let config = ProptestConfig {
        rng_seed: RngSeed::Fixed(5),
        failure_persistence: None,
        ..ProptestConfig::with_cases(cases())
    };
    let protocol = prop_oneof![6 => Just(Protocol::Tcp), 2 => Just(Protocol::Udp), 1 => Just(Protocol::Sctp)];
    let connection = (any::<Index>(), any::<Index>(), any::<bool>(), port(), protocol);
    let allowed = std::cell::Cell::new(0_u32);
    // The facts differ, the names of the archive and its namespace do not: one cluster does for all.
    let cluster = around(&facts(standalone()));
    TestRunner::new(config)
        .run(&(some_facts(), connection), |(facts, (one, other, swapped, port, protocol))| {
            // One end is of the archive: without it there is nothing to decide.
            let own = one.get(&cluster.parties[..OWN_PODS]);
            let other = other.get(&cluster.parties);
            let (from, to) = if swapped { (other, own) } else { (own, other) };
            let is_allowed = compare(&facts, &build(&facts), &cluster, (from, to, port, protocol));
            allowed.set(allowed.get() + u32::from(is_allowed));
            Ok(())
        })
        .unwrap();
    let (allowed, cases) = (allowed.get(), cases());
    assert!(allowed > cases / 50 && allowed < cases / 2, "{allowed} of {cases} were allowed");
}
