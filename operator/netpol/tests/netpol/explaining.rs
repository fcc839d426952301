use openarchive_operator_netpol::{Draft, ExplainError, Port, Protocol, Subject, explain};
use serde_json::json;

use crate::archives::{distributed, facts, standalone};

#[track_caller]
fn check(draft: Draft, question: &str, expected: &str) {
    let mut words = question.split(' ');
    let mut word = || words.next().unwrap();
    let (from, to, port) = (Subject::from(word()), Subject::from(word()), word().parse().unwrap());
    let text = match explain(&facts(draft), &from, &to, port) {
        Ok(explanation) => explanation.to_string(),
        Err(error) => error.to_string(),
    };
    assert_eq!(text.trim_end(), expected, "{question}");
}

#[test]
fn an_allowed_connection_names_its_edge_and_the_rules_that_carry_it() {
    check(
        distributed(),
        "gateway trust 9443",
        "gateway -> trust, TCP 9443: allowed\n  \
         out of gateway: policy mail-gateway, rule egress-2: gateway -> trust: audit leaves and checkpoints\n  \
         into trust: policy mail-trust, rule ingress-2: gateway -> trust: audit leaves and checkpoints",
    );
    check(
        distributed(),
        "trust 198.51.100.77 318",
        "trust -> 198.51.100.77, TCP 318: allowed\n  \
         out of trust: policy mail-trust, rule egress-4: trust -> 198.51.100.77/32: time stamps (RFC 3161) (extra edge)\n  \
         into 198.51.100.77: outside the archive, whose policies say nothing there",
    );
    check(
        distributed(),
        "192.0.2.200 agent/berlin 2526",
        "192.0.2.200 -> agent/berlin, TCP 2526: allowed\n  \
         out of 192.0.2.200: outside the archive, whose policies say nothing there\n  \
         into agent/berlin: policy mail-edge.berlin, rule ingress-1: mail-server -> agent: journaling",
    );
    check(
        distributed(),
        "migrate database 6432",
        "migrate -> database, TCP 6432: allowed\n  \
         out of migrate: policy mail-migrate, rule egress-0: migrate -> database: schemas and logins\n  \
         into database: outside the archive, whose policies say nothing there",
    );
}

#[test]
fn a_refused_connection_names_the_policies_that_do_not_allow_it() {
    check(
        distributed(),
        "worker trust 9443",
        "worker -> trust, TCP 9443: refused\n  \
         out of worker: no rule of mail-default-deny, mail-worker allows it\n  \
         into trust: no rule of mail-default-deny, mail-trust allows it",
    );
    check(
        distributed(),
        "192.0.2.200 agent/athens 2525",
        "192.0.2.200 -> agent/athens, TCP 2525: refused\n  \
         out of 192.0.2.200: outside the archive, whose policies say nothing there\n  \
         into agent/athens: no rule of mail-default-deny, mail-edge.athens allows it",
    );
    check(
        distributed(),
        "prober prober 9999",
        "prober -> prober, TCP 9999: refused\n  \
         out of prober: no rule of mail-default-deny, mail-prober allows it\n  \
         into prober: no rule of mail-default-deny, mail-prober allows it",
    );
}

#[test]
fn in_one_pod_roles_reach_each_other_whatever_policies_say() {
    check(
        standalone(),
        "gateway trust 9443",
        "gateway -> trust, TCP 9443: allowed\n  \
         out of gateway: the same pod, which no policy keeps from itself\n  \
         into trust: the same pod, which no policy keeps from itself",
    );
}

#[test]
fn several_edges_may_share_a_rule() {
    check(
        standalone(),
        "operator all 9443",
        "operator -> all, TCP 9443: allowed\n  \
         out of operator: outside the archive, whose policies say nothing there\n  \
         into all: policy mail-all, rule ingress-0: operator -> trust: configuration log; \
         operator -> storage: configuration snapshots; operator -> ingest: policies, agents",
    );
}

#[test]
fn what_cannot_be_explained_says_what_can() {
    check(standalone(), "worker database 5432", "this archive has no database");
    check(standalone(), "agent/berlin ingest 9443", "this archive has no agent/berlin");
    check(
        distributed(),
        "operator 192.0.2.1 443",
        "operator and 192.0.2.1 are both outside the archive: its policies say nothing about them",
    );
    check(
        distributed(),
        "client gateway 8443",
        "\"client\" is unknown: name a role, agent/NAME, migrate, prober, operator, database, object-store, \
         search-engine, dns, monitoring, or an IP address",
    );
}

#[test]
fn ports_have_a_protocol() {
    assert_eq!("9443".parse(), Ok(Port { number: 9443, protocol: Protocol::Tcp }));
    assert_eq!("53/udp".parse(), Ok(Port { number: 53, protocol: Protocol::Udp }));
    assert_eq!("1/SCTP".parse(), Ok(Port { number: 1, protocol: Protocol::Sctp }));
    for wrong in ["", "0", "65536", "http", "53/", "53/icmp", "-1"] {
        assert_eq!(wrong.parse::<Port>(), Err(ExplainError::Port(wrong.to_owned())));
    }
}

#[test]
fn programs_read_the_same_answer_as_json() {
    let explanation =
        explain(&facts(distributed()), &"monitoring".into(), &"index".into(), "9090".parse().unwrap())
            .unwrap();
    assert_eq!(
        serde_json::to_value(&explanation).unwrap(),
        json!({
            "from": "monitoring",
            "to": "index",
            "port": 9090,
            "protocol": "TCP",
            "allowed": true,
            "egress": {"verdict": "notOurs"},
            "ingress": {
                "verdict": "allowed",
                "policy": "mail-index",
                "rule": "ingress-2",
                "because": [{"from": "monitoring", "to": "index", "why": "metrics", "listed": "graph"}],
            },
        })
    );
}
