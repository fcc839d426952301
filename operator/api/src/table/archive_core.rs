//! ArchiveCore, profile Standalone, and what both profiles share.

use serde_json::{Value, json};

use super::{Row, rows::Rows};
use crate::Kind;

pub(super) fn metadata(name: &str) -> Value {
    json!({"name": name, "namespace": "default"})
}

fn base() -> Value {
    json!({
        "apiVersion": "openarchive.dev/v1alpha1",
        "kind": "ArchiveCore",
        "metadata": metadata("mail"),
        "spec": {
            "domain": "archive.example.org",
            "tenants": [{"name": "acme", "domains": ["example.org"]}],
            "profile": "Standalone",
            "version": "0.1.0",
            "standalone": {
                "resources": {"requests": {"cpu": 1, "memory": "2Gi"}, "limits": {"memory": "4Gi"}},
                "storageClass": "fast",
                "size": "100Gi",
            },
            "trust": {"mode": "NonQualified"},
            "retention": {"default": "10y-received-forbidden"},
            "exposure": {
                "ingest": {
                    "type": "LoadBalancer", "hostnames": ["ingest.example.org"], "allowedCIDRs": ["192.0.2.0/24"],
                },
                "gateway": {"type": "ClusterIP", "hostnames": ["mail.example.org"], "allowedCIDRs": []},
            },
            "operation": {"paused": false, "stopped": false},
        },
    })
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Rows::new(Kind::ArchiveCore, "a whole Standalone archive", base());
    object(&mut rows);
    spec(&mut rows);
    tenants(&mut rows);
    standalone(&mut rows);
    exposure(&mut rows);
    changes(&mut rows);
    rows.done()
}

fn object(rows: &mut Rows) {
    let spec = json!({
        "domain": "archive.example.org",
        "tenants": [{"name": "acme"}],
        "profile": "Standalone",
        "version": "0.1.0",
        "retention": {"default": "10y-received-forbidden"},
    });
    rows.accepted("the least that it takes", &[("/spec", spec)]);
    rows.required(&["/spec", "/spec/domain", "/spec/tenants", "/spec/profile", "/spec/version"]);
    rows.required(&["/spec/retention", "/spec/retention/default", "/spec/tenants/0/name"]);
    rows.required(&["/spec/exposure/ingest/type", "/spec/exposure/gateway/type"]);
    rows.closed(&["/spec", "/spec/tenants/0", "/spec/standalone", "/spec/trust", "/spec/retention"]);
    rows.closed(&["/spec/exposure", "/spec/exposure/ingest", "/spec/exposure/gateway", "/spec/operation"]);
    rows.closed(&["", "/metadata", "/spec/standalone/resources"]);
    let objects = ["/spec", "/spec/standalone", "/spec/exposure", "/spec/exposure/ingest", "/spec/operation"];
    rows.wrong_type(&objects, "object", &json!("text"));
    rows.wrong_type(&["/spec/trust", "/spec/retention", "/spec/tenants/0"], "object", &json!([]));
    rows.wrong_type(&["/spec/tenants", "/spec/tenants/0/domains"], "array", &json!({}));
    rows.wrong_type(&["/spec/domain", "/spec/version", "/spec/profile"], "string", &json!(1));
    rows.wrong_type(&["/spec/operation/paused", "/spec/operation/stopped"], "boolean", &json!("yes"));

    let rule = ("", "metadata.name must be at most 40 characters without dots");
    rows.accepted("a name of 40 characters", &[("/metadata/name", json!("a".repeat(40)))]);
    rows.refused("a name of 41 characters", rule, &[("/metadata/name", json!("a".repeat(41)))]);
    rows.refused("a name with a dot", rule, &[("/metadata/name", json!("a.b"))]);
    rows.refused(
        "a name in capitals",
        ("metadata.name", "Invalid value"),
        &[("/metadata/name", json!("Mail"))],
    );
}

fn spec(rows: &mut Rows) {
    rows.lengths("/spec/domain", (1, 190), |length| "d".repeat(length));
    rows.pattern(
        "/spec/domain",
        &["localhost"],
        &["Example.org", "example.org.", "a b", "a/b", "*.example.org"],
    );
    rows.lengths("/spec/version", (1, 128), |length| "v".repeat(length));
    rows.pattern("/spec/version", &["0.1.0-rc.1", "_", "V1"], &["-1", ".1", "1:2", "1/2", "1@2", "1 ", "ü"]);
    rows.one_of("/spec/profile", &["Standalone"]);
    rows.one_of("/spec/trust/mode", &["NonQualified"]);
    rows.accepted("null stands for the default", &[("/spec/trust", json!({"mode": null}))]);
    let class = "/spec/retention/default";
    rows.pattern(
        class,
        &["1d-received-forbidden", "99999m-yearend-permitted", "100y-received-permitted"],
        &[
            "0y-received-forbidden",
            "10y",
            "10w-received-forbidden",
            "10y-never-forbidden",
            "10y-received-never",
        ],
    );
    rows.pattern(
        class,
        &[],
        &["010y-received-forbidden", "100000d-received-forbidden", "10y-received-forbidden "],
    );
    let length = |digits: usize| format!("{}y-received-forbidden", "1".repeat(digits));
    rows.pattern(class, &[], &[&length(20)]);
    let beyond = length(21);
    let long = (path(class), "may not be more than 40 bytes");
    rows.refused("a retention class of 41 characters", (&long.0, long.1), &[(class, json!(beyond))]);
    rows.accepted("paused and stopped", &[("/spec/operation", json!({"paused": true, "stopped": true}))]);
}

fn path(pointer: &str) -> String {
    pointer.trim_start_matches('/').replace('/', ".")
}

fn tenants(rows: &mut Rows) {
    let tenant = |index| json!({"name": format!("t{index}")});
    rows.fewest("/spec/tenants", 1, tenant);
    rows.most("/spec/tenants", 64, tenant);
    rows.duplicate("/spec/tenants", &json!({"name": "acme"}));
    let other = json!([{"name": "acme", "domains": ["a.org"]}, {"name": "acme", "domains": ["b.org"]}]);
    rows.refused(
        "one tenant in two ways",
        ("spec.tenants[1]", "Duplicate value"),
        &[("/spec/tenants", other)],
    );
    rows.dns_label("/spec/tenants/0/name");
    rows.domains("/spec/tenants/0/domains");
}

fn standalone(rows: &mut Rows) {
    rows.object_name("/spec/standalone/storageClass");
    rows.quantity("/spec/standalone/size", &["1", "10Gi", "1.5Ti", "100G", "999999999999999Ei"]);
    let resources = "/spec/standalone/resources";
    for amount in [json!(2), json!("500m"), json!("1.5")] {
        let name = format!("a limit of {amount}");
        rows.accepted(&name, &[(resources, json!({"limits": {"cpu": amount}}))]);
    }
    let at = "spec.standalone.resources.limits.cpu";
    rows.refused(
        "a limit that is no amount",
        (at, "must be of type"),
        &[(resources, json!({"limits": {"cpu": true}}))],
    );
}

fn exposure(rows: &mut Rows) {
    for who in ["ingest", "gateway"] {
        let at = format!("/spec/exposure/{who}");
        rows.one_of(&format!("{at}/type"), &["ClusterIP", "NodePort", "LoadBalancer"]);
        rows.domains(&format!("{at}/hostnames"));
        rows.cidrs(&format!("{at}/allowedCIDRs"));
    }
    rows.accepted("nobody from outside", &[("/spec/exposure", json!({}))]);
}

fn changes(rows: &mut Rows) {
    rows.change_accepted("nothing changes", &[], &[]);
    let domain = ("spec", "domain is immutable");
    rows.change_refused("the domain changes", domain, &[], &[("/spec/domain", json!("other.example.org"))]);
    let two = json!([{"name": "acme"}, {"name": "other"}]);
    let tenants = "/spec/tenants";
    rows.change_accepted("a tenant is added", &[], &[(tenants, two.clone())]);
    let swapped = json!([{"name": "other"}, {"name": "acme", "domains": ["example.net"]}]);
    rows.change_accepted(
        "tenants change places and domains",
        &[(tenants, two.clone())],
        &[(tenants, swapped)],
    );
    rows.change_refused("a tenant goes", ("spec", "a tenant cannot be removed"), &[(tenants, two)], &[]);
    let renamed = json!([{"name": "acme2"}]);
    rows.change_refused(
        "a tenant is renamed",
        ("spec", "a tenant cannot be removed"),
        &[],
        &[(tenants, renamed)],
    );
    rows.change_accepted("another version", &[], &[("/spec/version", json!("0.2.0"))]);
    let volume = ("spec", "are what the volume was made with");
    let standalone = "/spec/standalone";
    let none = || (standalone, Value::Null);
    let of_size = |size: &str| (standalone, json!({"size": size}));
    let of_class = |class: &str| (standalone, json!({"storageClass": class}));
    rows.change_refused("the volume's size changes", volume, &[of_size("60Gi")], &[of_size("70Gi")]);
    rows.change_refused("a size other than the default goes", volume, &[of_size("60Gi")], &[none()]);
    rows.change_accepted("the default size is written down", &[none()], &[of_size("50Gi")]);
    rows.change_refused("the volume's class changes", volume, &[of_class("fast")], &[of_class("slow")]);
    rows.change_refused("the volume gets a class", volume, &[none()], &[of_class("fast")]);
    rows.change_accepted("the volume's class stays", &[of_class("fast")], &[of_class("fast")]);
    rows.change_refused(
        "the profile changes",
        ("spec", "profile is immutable"),
        &[("/spec/standalone", Value::Null)],
        &[
            ("/spec/standalone", Value::Null),
            ("/spec/profile", json!("Distributed")),
            ("/spec/database", json!({"adminSecretRef": {"name": "postgres"}})),
            ("/spec/objectStore", super::distributed::object_store()),
        ],
    );
}
