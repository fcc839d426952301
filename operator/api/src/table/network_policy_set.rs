//! NetworkPolicySet.

use serde_json::{Value, json};

use super::{Row, archive_core::metadata, rows::Rows};
use crate::Kind;

fn edge() -> Value {
    json!({
        "from": {"component": "worker"},
        "to": {"cidr": "203.0.113.0/24"},
        "port": 443,
        "reason": "Timestamps of an authority outside.",
    })
}

fn base() -> Value {
    json!({
        "apiVersion": "openarchive.dev/v1alpha1",
        "kind": "NetworkPolicySet",
        "metadata": metadata("mail"),
        "spec": {
            "archiveRef": {"name": "mail"},
            "mode": "Enforce",
            "dns": {
                "namespaceLabels": {"kubernetes.io/metadata.name": "kube-system"},
                "podLabels": {"k8s-app": "kube-dns"},
                "port": 5353,
                "nodeLocalCIDRs": ["169.254.20.10/32"],
            },
            "monitoringNamespaceLabels": {"kubernetes.io/metadata.name": "monitoring"},
            "extraEdges": [edge()],
        },
    })
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Rows::new(Kind::NetworkPolicySet, "a whole set", base());
    object(&mut rows);
    edges(&mut rows);
    for end in ["from", "to"] {
        ends(&mut rows, end);
    }
    let new = ("spec", "archiveRef is immutable");
    rows.change_refused("another archive", new, &[], &[("/spec/archiveRef/name", json!("other"))]);
    rows.change_accepted("it only looks on", &[], &[("/spec/mode", json!("Audit"))]);
    rows.done()
}

fn object(rows: &mut Rows) {
    rows.closed(&["", "/metadata"]);
    let least = json!({"archiveRef": {"name": "mail"}});
    rows.accepted("the least that it takes", &[("/spec", least)]);
    rows.required(&["/spec", "/spec/archiveRef", "/spec/archiveRef/name"]);
    rows.closed(&["/spec", "/spec/archiveRef", "/spec/dns", "/spec/extraEdges/0"]);
    rows.object_name("/spec/archiveRef/name");
    rows.one_of("/spec/mode", &["Enforce", "Audit"]);
    rows.numbers("/spec/dns/port", (1, 65535));
    rows.cidrs("/spec/dns/nodeLocalCIDRs");
    rows.wrong_type(&["/spec", "/spec/archiveRef", "/spec/dns"], "object", &json!([]));
    rows.wrong_type(&["/spec/dns/podLabels", "/spec/monitoringNamespaceLabels"], "object", &json!("a=b"));
    rows.wrong_type(&["/spec/dns/podLabels/app"], "string", &json!(1));
    rows.wrong_type(&["/spec/extraEdges"], "array", &json!({}));
    rows.accepted("nobody scrapes", &[("/spec/monitoringNamespaceLabels", json!({}))]);
    let rule = ("", "metadata.name must be at most 63 characters without dots");
    rows.accepted("a name of 63 characters", &[("/metadata/name", json!("a".repeat(63)))]);
    rows.refused("a name of 64 characters", rule, &[("/metadata/name", json!("a".repeat(64)))]);
    rows.refused("a name with a dot", rule, &[("/metadata/name", json!("a.b"))]);
}

fn edges(rows: &mut Rows) {
    rows.most("/spec/extraEdges", 64, |_| edge());
    rows.required(&["/spec/extraEdges/0/from", "/spec/extraEdges/0/to"]);
    rows.required(&["/spec/extraEdges/0/port", "/spec/extraEdges/0/reason"]);
    rows.numbers("/spec/extraEdges/0/port", (1, 65535));
    rows.lengths("/spec/extraEdges/0/reason", (1, 256), |length| "r".repeat(length));
    let ours = ("spec.extraEdges[0]", "one end must be a component of the archive");
    rows.refused("both ends outside", ours, &[("/spec/extraEdges/0/from", json!({"cidr": "10.0.0.0/8"}))]);
}

/// One end, the other being a component.
fn ends(rows: &mut Rows, end: &str) {
    let at = format!("/spec/extraEdges/0/{end}");
    let path = format!("spec.extraEdges[0].{end}");
    let other = if end == "from" { "/spec/extraEdges/0/to" } else { "/spec/extraEdges/0/from" };
    let other = (other, json!({"component": "gateway"}));
    let is = |value: Value| [other.clone(), (at.as_str(), value)];
    for component in ["ingest", "storage", "index", "trust", "gateway", "worker", "edge"] {
        rows.accepted(&format!("{end} {component}"), &is(json!({"component": component})));
    }
    let component = format!("{path}.component");
    let none = (component.as_str(), "must be ingest, storage, index, trust, gateway, worker or edge");
    for wrong in ["all", "Ingest", "", &"c".repeat(32)] {
        rows.refused(&format!("{end} {wrong:?}"), none, &is(json!({"component": wrong})));
    }
    let long = (component.as_str(), "may not be more than 32 bytes");
    rows.refused(&format!("{end} a long name"), long, &is(json!({"component": "c".repeat(33)})));

    let longest = format!("{}ffff/128", "ffff:".repeat(7));
    for range in ["10.0.0.0/8", "2001:db8::/32", &longest] {
        rows.accepted(&format!("{end} {range}"), &is(json!({"cidr": range})));
    }
    let cidr = format!("{path}.cidr");
    let wrong = "must be an address range such as 10.0.0.0/8";
    for (range, words) in [
        ("10.0.0.1/8", wrong),
        ("10.0.0.0/33", wrong),
        ("10.0.0.0", "should match '"),
        ("", "should match '"),
    ] {
        let edits = is(json!({"cidr": range}));
        rows.refused(&format!("{end} the range {range:?}"), (&cidr, words), &edits);
    }
    let beyond = is(json!({"cidr": format!("{longest}0")}));
    rows.refused(&format!("{end} a long range"), (&cidr, "may not be more than 43 bytes"), &beyond);

    let namespace = json!({"team": "mail"});
    rows.accepted(&format!("{end} a namespace"), &is(json!({"namespaceLabels": namespace})));
    let pods = json!({"namespaceLabels": namespace, "podLabels": {"app": "relay"}});
    rows.accepted(&format!("{end} pods of a namespace"), &is(pods));
    let one = (path.as_str(), "give exactly one of component, cidr, namespaceLabels");
    rows.refused(&format!("{end} nobody"), one, &is(json!({})));
    let two = json!({"component": "worker", "cidr": "10.0.0.0/8"});
    rows.refused(&format!("{end} a component and a range"), one, &is(two));
    let two = json!({"cidr": "10.0.0.0/8", "namespaceLabels": namespace});
    rows.refused(&format!("{end} a range and a namespace"), one, &is(two));
    let lonely = (path.as_str(), "podLabels goes with namespaceLabels");
    let pods = json!({"component": "worker", "podLabels": {"app": "relay"}});
    rows.refused(&format!("{end} pods of nowhere"), lonely, &is(pods));
    rows.refused(
        &format!("{end} with another field"),
        (&format!("{path}.surplus"), "unknown field"),
        &is(json!({"component": "worker", "surplus": 1})),
    );
}
