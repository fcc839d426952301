//! Probers on addresses of one machine: with nothing between them, and with a rule of the kernel that keeps a port apart, as an
//! engine of network policies does.

use std::net::Ipv4Addr;

use openarchive_e2e::{Network, Prober, common_port};
use serde_json::json;

#[test]
fn where_no_policy_stands_between_two_probers_both_say_that_nothing_is_enforced() {
    let both = [Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 3)];
    let ports = (common_port(&both), common_port(&both));
    let first = Prober::start(both[0], ports, &both).unwrap();
    // Alone with a peer that is not there: its refusal of the canary proves nothing.
    first.says("Unverified", "1 of 1 listed connections are not answered");
    let second = Prober::start(both[1], ports, &both).unwrap();
    for prober in [&first, &second] {
        let said = prober.says("NotEnforced", "1 of 1 connections that no edge lists came through");
        assert_eq!(said["canaryPort"], json!(ports.1));
        assert!(said["probedAt"].as_str().unwrap().ends_with('Z'), "{said}");
        assert_eq!(prober.get("/livez").unwrap(), "ok\n");
        assert_eq!(prober.get("/readyz").unwrap(), "ok\n");
        assert!(prober.get("/metrics").unwrap().ends_with("# EOF\n"));
    }
    drop(second);
    first.says("Unverified", "1 of 1 listed connections are not answered");
}

#[test]
fn a_refusal_by_a_peer_whose_canary_does_not_listen_is_no_verdict() {
    let both = [Ipv4Addr::new(127, 0, 0, 4), Ipv4Addr::new(127, 0, 0, 5)];
    let listed = common_port(&both);
    let canaries = [common_port(&both), common_port(&both)];
    // Each listens elsewhere than the other tries: refused, though nothing is enforced.
    let [first, second] = [0, 1].map(|one| Prober::start(both[one], (listed, canaries[one]), &both).unwrap());
    first.says("Unverified", "1 of 1 peers do not say that their canary listens");
    second.says("Unverified", "1 of 1 peers do not say that their canary listens");
    let itself = Ipv4Addr::new(127, 0, 0, 6);
    let ports = (common_port(&[itself]), common_port(&[itself]));
    let alone = Prober::start(itself, ports, &[itself]).unwrap();
    alone.says("Unverified", "there is no other prober to connect to");
}

#[test]
fn where_the_kernel_keeps_the_canary_apart_both_say_that_it_is_enforced_as_long_as_it_is() {
    let Some(network) = Network::new().unwrap() else { return };
    // Behind its usual place, so that a rule can stand before it.
    network.ip("rule add pref 100 lookup local").unwrap();
    network.ip("rule del pref 0").unwrap();
    let both = [Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 3)];
    let probers = both.map(|address| Prober::start_in(Some(&network), address, (9090, 9999), &both).unwrap());
    let both_say = |verdict: &str, reason: &str| {
        for prober in &probers {
            prober.says(verdict, reason);
        }
    };
    both_say("NotEnforced", "1 of 1 connections that no edge lists came through");
    // Two of the ways in which a kernel refuses.
    for how in ["prohibit", "unreachable"] {
        network.ip(&format!("rule add pref 10 ipproto tcp dport 9999 {how}")).unwrap();
        both_say("Verified", "1 of 1 listed connections came through, and no other");
        network.ip("rule del pref 10").unwrap();
        both_say("NotEnforced", "1 of 1 connections that no edge lists came through");
    }
}
