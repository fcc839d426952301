//! EdgeAgent.

use std::slice;

use serde_json::{Value, json};

use super::{Row, archive_core::metadata, rows::Rows};
use crate::{AGENT_CIDRS_MAX, Kind};

fn peer() -> Value {
    json!({"cidrs": ["192.0.2.0/24"], "journalMode": "ExchangeReport"})
}

fn base() -> Value {
    json!({
        "apiVersion": "openarchive.dev/v1alpha1",
        "kind": "EdgeAgent",
        "metadata": metadata("office"),
        "spec": {
            "archiveRef": {"name": "mail"},
            "tenant": "acme",
            "placement": "InCluster",
            "listeners": [{
                "name": "smtp",
                "port": 2525,
                "startTLS": {"secretRef": {"name": "office-tls"}, "required": true},
                "peers": [peer()],
            }],
            "buffer": {"storageClass": "fast", "size": "20Gi", "highWater": "16Gi"},
        },
    })
}

fn external() -> Value {
    json!({"archiveRef": {"name": "mail"}, "tenant": "acme", "placement": "External"})
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Rows::new(Kind::EdgeAgent, "a whole agent", base());
    object(&mut rows);
    listeners(&mut rows);
    peers(&mut rows);
    buffer(&mut rows);
    placements(&mut rows);
    changes(&mut rows);
    rows.done()
}

fn object(rows: &mut Rows) {
    rows.closed(&["", "/metadata"]);
    rows.required(&["/spec", "/spec/archiveRef", "/spec/archiveRef/name", "/spec/tenant", "/spec/placement"]);
    rows.closed(&["/spec", "/spec/archiveRef", "/spec/listeners/0", "/spec/listeners/0/startTLS"]);
    rows.closed(&["/spec/listeners/0/startTLS/secretRef", "/spec/listeners/0/peers/0", "/spec/buffer"]);
    rows.object_name("/spec/archiveRef/name");
    rows.dns_label("/spec/tenant");
    rows.one_of("/spec/placement", &["InCluster"]);
    rows.wrong_type(
        &["/spec", "/spec/archiveRef", "/spec/buffer", "/spec/listeners/0"],
        "object",
        &json!([]),
    );
    rows.wrong_type(&["/spec/listeners", "/spec/listeners/0/peers"], "array", &json!({}));
    let rule = ("", "metadata.name must be at most 40 characters without dots");
    rows.accepted("a name of 40 characters", &[("/metadata/name", json!("a".repeat(40)))]);
    rows.refused("a name of 41 characters", rule, &[("/metadata/name", json!("a".repeat(41)))]);
    rows.refused("a name with a dot", rule, &[("/metadata/name", json!("a.b"))]);
}

fn listeners(rows: &mut Rows) {
    let listener =
        |index: usize| json!({"name": format!("l{index}"), "port": 2000 + index, "peers": [peer()]});
    rows.fewest("/spec/listeners", 1, listener);
    rows.most("/spec/listeners", 16, listener);
    let at = "/spec/listeners/0";
    rows.required(&["/spec/listeners/0/name", "/spec/listeners/0/port", "/spec/listeners/0/peers"]);
    let name = format!("{at}/name");
    rows.lengths(&name, (1, 15), |length| "l".repeat(length));
    rows.pattern(&name, &["smtp-2"], &["2smtp", "-a", "a-", "a.b", "SMTP"]);
    let port = format!("{at}/port");
    rows.numbers(&port, (1024, 65535));
    rows.wrong_type(&[&port], "integer", &json!("2525"));
    rows.wrong_type(&[&port], "integer", &json!(2525.5));
    let probes = ("spec.listeners[0].port", "port 9090 answers probes and metrics");
    rows.refused("the port of the probes", probes, &[(&port, json!(9090))]);
    let twice = json!([listener(1), {"name": "l1", "port": 2525, "peers": [peer()]}]);
    let duplicate = ("spec.listeners[1]", "Duplicate value");
    rows.refused("two listeners of one name", duplicate, &[("/spec/listeners", twice)]);
    let shared = json!([listener(1), {"name": "other", "port": 2001, "peers": [peer()]}]);
    let own = ("spec.listeners", "each listener needs a port of its own");
    rows.refused("two listeners on one port", own, &[("/spec/listeners", shared)]);
    let tls = "/spec/listeners/0/startTLS";
    rows.accepted("TLS by the archive's own authority", &[(tls, json!({}))]);
    rows.accepted("TLS for who asks for it", &[(tls, json!({"required": false}))]);
    rows.required(&["/spec/listeners/0/startTLS/secretRef/name"]);
    rows.object_name("/spec/listeners/0/startTLS/secretRef/name");
    rows.wrong_type(&["/spec/listeners/0/startTLS/required"], "boolean", &json!("true"));
}

fn peers(rows: &mut Rows) {
    let at = "/spec/listeners/0/peers";
    rows.fewest(at, 1, |_| peer());
    rows.most(at, 32, |_| peer());
    rows.required(&["/spec/listeners/0/peers/0/cidrs", "/spec/listeners/0/peers/0/journalMode"]);
    rows.cidrs("/spec/listeners/0/peers/0/cidrs");
    rows.one_of(
        "/spec/listeners/0/peers/0/journalMode",
        &["Plain", "JrnPlus", "XEnvelopeTo", "ExchangeReport"],
    );
    let nobody = ("spec.listeners[0].peers[0]", "name at least one address range");
    rows.refused("a peer without addresses", nobody, &[("/spec/listeners/0/peers/0/cidrs", json!([]))]);
    address_ranges(rows);
}

/// As many as an agent may have, each as long as one can be, of as many peers as there may be.
fn address_ranges(rows: &mut Rows) {
    const EACH: usize = AGENT_CIDRS_MAX / (16 * 32);
    let cidrs = |from: usize, count: usize| -> Vec<String> {
        (from..from + count).map(|number| format!("{}{number:04x}/128", "ffff:".repeat(7))).collect()
    };
    let peer = |peer: usize| json!({"cidrs": cidrs(peer * EACH, EACH), "journalMode": "ExchangeReport"});
    let listener = |listener: usize| {
        let peers: Vec<_> = (0..32).map(|number| peer(32 * listener + number)).collect();
        json!({"name": format!("listener-{listener:05}"), "port": 2000 + listener, "peers": peers})
    };
    let most = ("/spec/listeners", (0..16).map(listener).collect::<Value>());
    rows.accepted("the most and the longest address ranges", slice::from_ref(&most));
    let one_more = ("/spec/listeners/0/peers/0/cidrs", json!(cidrs(0, EACH + 1)));
    let too_many = ("spec.listeners", "an agent has at most 4096 address ranges");
    rows.refused("one address range more", too_many, &[most, one_more]);
}

fn buffer(rows: &mut Rows) {
    rows.required(&["/spec/buffer/size", "/spec/buffer/highWater"]);
    rows.object_name("/spec/buffer/storageClass");
    rows.quantity("/spec/buffer/size", &["16Gi", "1.5Ti", "100G", "999999999999999Ei"]);
    rows.quantity("/spec/buffer/highWater", &["1", "1.5G", "20480Mi", "20Gi"]);
    let more = ("spec.buffer", "highWater must not be greater than size");
    for high_water in ["20481Mi", "21Gi", "1Ti", "21474836481"] {
        let name = format!("a high-water mark of {high_water} above the size");
        rows.refused(&name, more, &[("/spec/buffer/highWater", json!(high_water))]);
    }
    rows.accepted("a high-water mark of all of it", &[("/spec/buffer/highWater", json!("21474836480"))]);
}

fn placements(rows: &mut Rows) {
    rows.accepted("an External agent", &[("/spec", external())]);
    let mut nulls = external();
    nulls["listeners"] = Value::Null;
    nulls["buffer"] = Value::Null;
    rows.accepted("nulls are nothing", &[("/spec", nulls.clone())]);
    nulls["placement"] = json!("InCluster");
    let needs = ("spec", "placement InCluster needs listeners and buffer");
    rows.refused("InCluster with nulls", needs, &[("/spec", nulls)]);
    rows.refused("InCluster without listeners", needs, &[("/spec/listeners", Value::Null)]);
    rows.refused("InCluster without a buffer", needs, &[("/spec/buffer", Value::Null)]);
    let elsewhere = ("spec", "an External agent is configured where it runs");
    let placement = ("/spec/placement", json!("External"));
    rows.refused("External with listeners", elsewhere, &[placement.clone(), ("/spec/buffer", Value::Null)]);
    rows.refused("External with a buffer", elsewhere, &[placement, ("/spec/listeners", Value::Null)]);
}

fn changes(rows: &mut Rows) {
    let new = "make a new EdgeAgent";
    rows.change_refused("another archive", ("spec", new), &[], &[("/spec/archiveRef/name", json!("other"))]);
    let tenant = ("spec", "tenant is immutable");
    rows.change_refused("another tenant", tenant, &[], &[("/spec/tenant", json!("other"))]);
    let placement = ("spec", "placement is immutable");
    rows.change_refused("it moves out", placement, &[], &[("/spec", external())]);
    rows.change_accepted("it takes another port", &[], &[("/spec/listeners/0/port", json!(2526))]);
}
