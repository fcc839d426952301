//! Whether a live object still says what was built: pure.
//!
//! The API server adds defaults and rewrites quantities, so equality would never hold. A live object covers a desired one
//! if every value that was built stands there, and no list has other elements than were built.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// Metadata that was built (labels, annotations, owner references) and everything outside it, but for `status`.
pub(crate) fn covers(desired: &Value, live: &Value) -> bool {
    match (desired, live) {
        (Value::Object(desired), Value::Object(live)) => {
            desired.iter().all(|(key, value)| match live.get(key) {
                Some(found) => covers(value, found),
                None => is_empty(value),
            })
        }
        (Value::Array(desired), Value::Array(live)) => {
            desired.len() == live.len()
                && desired.iter().zip(live).all(|(desired, live)| covers(desired, live))
        }
        (Value::String(desired), Value::String(live)) => desired == live || same_quantity(desired, live),
        _ => desired == live,
    }
}

/// [`covers`], and nothing stands beside what was built: for objects to which the API server adds no defaults, and where a
/// field too many is a hole.
pub(crate) fn is_exactly(desired: &Value, live: &Value) -> bool {
    match (desired, live) {
        (Value::Object(desired), Value::Object(live)) => {
            let keys = desired.keys().chain(live.keys());
            keys.into_iter().all(|key| match (desired.get(key), live.get(key)) {
                (Some(desired), Some(live)) => is_exactly(desired, live),
                (Some(one), None) | (None, Some(one)) => {
                    matches!(one, Value::Null) || one.as_array().is_some_and(Vec::is_empty)
                }
                (None, None) => true,
            })
        }
        (Value::Array(desired), Value::Array(live)) => {
            desired.len() == live.len()
                && desired.iter().zip(live).all(|(desired, live)| is_exactly(desired, live))
        }
        _ => desired == live,
    }
}

/// Where `live`, an object of that kind, is not as built: path and what stands there. Empty: it is as built.
pub(crate) fn differences(kind: &str, desired: &Value, live: &Value) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    uncovered(desired, live, String::new(), &mut found);
    if let Some(patch) = closing(kind, desired, live) {
        let in_pod = &patch["template"]["spec"];
        let (place, patch) =
            if in_pod.is_null() { ("/spec", &patch) } else { ("/spec/template/spec", in_pod) };
        for (field, _) in patch.as_object().into_iter().flatten() {
            let path = format!("{place}/{field}");
            let stands = live.pointer(&path).cloned().unwrap_or_default();
            found.insert(path, stands);
        }
    }
    found
}

fn uncovered(desired: &Value, live: &Value, path: String, found: &mut BTreeMap<String, Value>) {
    match (desired, live) {
        (Value::Object(fields), Value::Object(live)) => {
            for (field, desired) in fields {
                let live = live.get(field).unwrap_or(&Value::Null);
                uncovered(
                    desired,
                    live,
                    format!("{path}/{}", field.replace('~', "~0").replace('/', "~1")),
                    found,
                );
            }
        }
        (Value::Array(items), Value::Array(live)) if items.len() == live.len() => {
            for (place, (desired, live)) in items.iter().zip(live).enumerate() {
                uncovered(desired, live, format!("{path}/{place}"), found);
            }
        }
        (_, Value::Null) if is_empty(desired) => {}
        _ if covers(desired, live) => {}
        _ => {
            found.insert(path, live.clone());
        }
    }
}

/// Of a pod's specification: what opens it to its node or brings strangers into it, and what nobody here builds by accident.
const POD_HOLES: [&str; 7] = [
    "hostNetwork",
    "hostPID",
    "hostIPC",
    "shareProcessNamespace",
    "ephemeralContainers",
    "hostAliases",
    "dnsConfig",
];
/// Of a container: what makes another program of it.
const CONTAINER_HOLES: [&str; 5] = ["command", "env", "envFrom", "lifecycle", "volumeDevices"];
const SERVICE_HOLES: [&str; 1] = ["externalIPs"];
/// Lists of a pod whose further items server-side apply leaves to whoever added them.
const POD_LISTS: [&str; 3] = ["initContainers", "containers", "volumes"];

/// What has to be patched of `live`, an object of that kind, where it has what was not built and must not be: a JSON merge patch
/// of its `spec`. Server-side apply leaves such fields to those who own them. `None`: it is closed.
pub(crate) fn closing(kind: &str, desired: &Value, live: &Value) -> Option<Value> {
    match kind {
        "Deployment" | "StatefulSet" => {
            let pod = closing_pod(&desired["spec"]["template"]["spec"], &live["spec"]["template"]["spec"])?;
            Some(json!({"template": {"spec": pod}}))
        }
        "Service" => {
            let (desired, live) = (&desired["spec"], &live["spec"]);
            let mut patch = holes(desired, live, &SERVICE_HOLES);
            patch.extend(lists(desired, live, &["ports"]));
            (!patch.is_empty()).then_some(Value::Object(patch))
        }
        _ => None,
    }
}

fn closing_pod(desired: &Value, live: &Value) -> Option<Value> {
    let mut patch = holes(desired, live, &POD_HOLES);
    patch.extend(lists(desired, live, &POD_LISTS));
    let security = loosened(&desired["securityContext"], &live["securityContext"]);
    if !security.is_empty() {
        patch.insert("securityContext".to_owned(), Value::Object(security));
    }
    for list in ["initContainers", "containers"] {
        let items = |pod: &Value| pod[list].as_array().cloned().unwrap_or_default();
        let (built, found) = (items(desired), items(live));
        if built.iter().zip(&found).any(|(built, found)| is_opened(built, found)) {
            patch.insert(list.to_owned(), desired[list].clone());
        }
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

fn is_opened(desired: &Value, live: &Value) -> bool {
    let (built, found) = (&desired["securityContext"], &live["securityContext"]);
    let added = &found["capabilities"]["add"];
    let adds = is_said(added) && built["capabilities"]["add"] != *added;
    let mut ports = live["ports"].as_array().into_iter().flatten();
    let is_on_node = ports.any(|port| is_said(&port["hostPort"]));
    adds || is_on_node
        || !loosened(built, found).is_empty()
        || !holes(desired, live, &CONTAINER_HOLES).is_empty()
}

/// Nulls for those of `fields` that `live` has and `desired` does not speak of.
fn holes(desired: &Value, live: &Value, fields: &[&str]) -> Map<String, Value> {
    let is_hole = |field: &&&str| desired.get(**field).is_none_or(Value::is_null) && is_said(&live[**field]);
    fields.iter().filter(is_hole).map(|field| ((*field).to_owned(), Value::Null)).collect()
}

/// Nulls for what `live`, a security context, loosens and `desired` does not speak of. What confines more than was built, as
/// admission webhooks like to have it, is nobody's harm.
fn loosened(desired: &Value, live: &Value) -> Map<String, Value> {
    let fields = live.as_object().into_iter().flatten();
    let loosened = fields.filter(|(field, value)| {
        desired.get(*field).is_none_or(Value::is_null) && is_loosening(field, value)
    });
    loosened.map(|(field, _)| (field.clone(), Value::Null)).collect()
}

fn is_loosening(field: &str, value: &Value) -> bool {
    match field {
        "privileged" | "allowPrivilegeEscalation" => *value == Value::Bool(true),
        "runAsNonRoot" => *value == Value::Bool(false),
        "runAsUser" | "runAsGroup" | "fsGroup" => *value == 0,
        "seccompProfile" | "appArmorProfile" => value["type"] == "Unconfined",
        "seLinuxOptions" => is_said(&value["type"]),
        "procMount" | "supplementalGroups" | "sysctls" | "windowsOptions" => is_said(value),
        _ => false,
    }
}

/// Those of `lists` that have other items than were built, as they were built.
fn lists(desired: &Value, live: &Value, lists: &[&str]) -> Map<String, Value> {
    let count = |object: &Value, list: &str| object[list].as_array().map_or(0, Vec::len);
    let differs = |list: &&&str| count(desired, list) < count(live, list) || is_longer(desired, live, list);
    lists.iter().filter(differs).map(|list| ((*list).to_owned(), desired[*list].clone())).collect()
}

/// Whether a list in an item of `list` has further items, such as a mount of a container.
fn is_longer(desired: &Value, live: &Value, list: &str) -> bool {
    let items = |object: &Value| object[list].as_array().cloned().unwrap_or_default();
    items(desired).iter().zip(&items(live)).any(|(desired, live)| {
        desired.as_object().into_iter().flatten().any(|(field, value)| {
            let (built, found) = (value.as_array(), live[field].as_array());
            built.zip(found).is_some_and(|(built, found)| built.len() < found.len())
        })
    })
}

/// False and nothing are what a field means that is not there.
fn is_said(value: &Value) -> bool {
    !is_empty(value) && *value != Value::Bool(false) && *value != "" && *value != "Default"
}

/// What the API server leaves out.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// `1000m` and `1`, `1024Mi` and `1Gi`: the API server writes quantities in a form of its own.
pub(crate) fn same_quantity(one: &str, other: &str) -> bool {
    matches!((quantity(one), quantity(other)), (Some(one), Some(other)) if one == other)
}

/// In thousandths. `None` for what is no quantity, or too large to compare.
pub(crate) fn quantity(text: &str) -> Option<i128> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    scaled(number, suffix)
}

fn scaled(number: &str, suffix: &str) -> Option<i128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.len() > 3 || whole.is_empty() {
        return None;
    }
    let thousandths = format!("{whole}{fraction:0<3}").parse::<i128>().ok()?;
    let factor: i128 = match suffix {
        "m" => return fraction.is_empty().then_some(thousandths / 1_000),
        "" => 1,
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        _ => return None,
    };
    thousandths.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(desired: &Value, live: &Value, expected: bool) {
        assert_eq!(covers(desired, live), expected, "{desired} by {live}");
    }

    #[test]
    fn defaults_that_the_server_adds_are_no_drift() {
        check(&json!({"a": 1}), &json!({"a": 1, "b": 2}), true);
        check(&json!({"a": [{"x": 1}]}), &json!({"a": [{"x": 1, "protocol": "TCP"}]}), true);
        check(&json!({"a": []}), &json!({}), true);
        check(&json!({"a": {}, "b": null}), &json!({}), true);
    }

    #[test]
    fn what_was_built_must_stand() {
        check(&json!({"a": 1}), &json!({"a": 2}), false);
        check(&json!({"a": 1}), &json!({}), false);
        check(&json!({"a": false}), &json!({}), false);
        check(&json!({"a": "x"}), &json!({"a": "y"}), false);
    }

    #[test]
    fn a_list_with_more_or_fewer_elements_is_drift() {
        check(&json!({"a": [1]}), &json!({"a": [1, 2]}), false);
        check(&json!({"a": [1, 2]}), &json!({"a": [1]}), false);
        check(&json!({"a": []}), &json!({"a": [1]}), false);
    }

    #[test]
    fn in_a_network_policy_a_field_too_many_is_a_hole() {
        let matches = json!({"matchLabels": {"a": "b"}});
        for (desired, live, expected) in [
            (json!({"ingress": []}), json!({}), true),
            (json!({"ingress": []}), json!({"ingress": [{}]}), false),
            (json!({}), json!({"egress": [{}]}), false),
            (matches.clone(), matches.clone(), true),
            (matches, json!({"matchLabels": {"a": "b"}, "matchExpressions": [{}]}), false),
            (json!([{"podSelector": {}}]), json!([{"podSelector": {}, "namespaceSelector": {}}]), false),
            (json!([{"port": 1}]), json!([{"port": 1, "endPort": 9}]), false),
        ] {
            assert_eq!(is_exactly(&desired, &live), expected, "{desired} by {live}");
        }
    }

    fn workload(pod: &Value) -> Value {
        json!({"spec": {"replicas": 1, "template": {"spec": pod}}})
    }

    /// As it was built, and as the API server answers it.
    fn closed() -> (Value, Value) {
        let built = json!({
            "containers": [{
                "name": "openarchive", "image": "openarchive:1", "ports": [{"containerPort": 1}],
                "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            }],
            "volumes": [{"name": "tmp", "emptyDir": {}}],
            "securityContext": {"runAsNonRoot": true},
            "serviceAccountName": "main-all",
        });
        let mut live = built.clone();
        live["serviceAccount"] = json!("main-all");
        live["dnsPolicy"] = json!("ClusterFirst");
        live["hostNetwork"] = json!(false);
        live["containers"][0]["terminationMessagePath"] = json!("/dev/termination-log");
        live["containers"][0]["imagePullPolicy"] = json!("IfNotPresent");
        live["containers"][0]["securityContext"]["procMount"] = json!("Default");
        (built, live)
    }

    #[test]
    fn what_opens_a_pod_and_was_not_built_is_taken_out() {
        let (built, live) = closed();
        let check = |place: &str, value: Value, expected: Value| {
            let mut opened = live.clone();
            let (parent, field) = place.rsplit_once('/').unwrap();
            match opened.pointer_mut(parent).unwrap() {
                Value::Array(items) => items.push(value),
                other => other[field] = value,
            }
            for kind in ["StatefulSet", "Deployment"] {
                let patch = closing(kind, &workload(&built), &workload(&opened));
                let expected = Some(json!({"template": {"spec": expected.clone()}}));
                assert_eq!(patch, expected, "{place}");
            }
        };
        for kind in ["StatefulSet", "Deployment"] {
            assert_eq!(closing(kind, &workload(&built), &workload(&live)), None);
        }
        check("/hostNetwork", json!(true), json!({"hostNetwork": null}));
        check("/hostPID", json!(true), json!({"hostPID": null}));
        check("/initContainers", json!([{"name": "evil"}]), json!({"initContainers": null}));
        check(
            "/securityContext/supplementalGroups",
            json!([0]),
            json!({"securityContext": {"supplementalGroups": null}}),
        );
        let containers = json!({"containers": built["containers"]});
        check("/containers/1", json!({"name": "sidecar"}), containers.clone());
        check("/containers/0/env", json!([{"name": "LD_PRELOAD", "value": "x"}]), containers.clone());
        check("/containers/0/command", json!(["sh"]), containers.clone());
        check("/containers/0/securityContext/privileged", json!(true), containers.clone());
        check("/containers/0/securityContext/runAsUser", json!(0), containers.clone());
        check("/containers/0/securityContext/runAsNonRoot", json!(false), containers.clone());
        let unconfined = json!({"type": "Unconfined"});
        check("/containers/0/securityContext/seccompProfile", unconfined, containers.clone());
        check("/containers/0/securityContext/capabilities/add", json!(["SYS_ADMIN"]), containers.clone());
        check("/containers/0/ports/0/hostPort", json!(1), containers.clone());
        check("/containers/0/volumeMounts/1", json!({"name": "host", "mountPath": "/host"}), containers);
        let volume = json!({"name": "host", "hostPath": {"path": "/"}});
        check("/volumes/1", volume, json!({"volumes": built["volumes"]}));
    }

    #[test]
    fn what_confines_a_pod_more_than_was_built_is_no_hole() {
        let (built, live) = closed();
        for security in [
            json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}}),
            json!({"runAsUser": 65532, "runAsGroup": 65532, "readOnlyRootFilesystem": true}),
            json!({"privileged": false, "appArmorProfile": {"type": "RuntimeDefault"}}),
            json!({"seLinuxOptions": {"level": "s0:c1,c2"}}),
        ] {
            let mut confined = live.clone();
            let fields = security.as_object().unwrap();
            for (field, value) in fields {
                confined["securityContext"].as_object_mut().unwrap().entry(field).or_insert(value.clone());
                confined["containers"][0]["securityContext"][field] = value.clone();
            }
            let (built, confined) = (workload(&built), workload(&confined));
            assert_eq!(closing("StatefulSet", &built, &confined), None, "{security}");
            assert!(covers(&built, &confined), "{security}");
        }
    }

    #[test]
    fn what_is_not_as_built_is_named_by_its_path() {
        let (built, live) = closed();
        let check = |change: &dyn Fn(&mut Value), expected: &[&str]| {
            let mut changed = live.clone();
            change(&mut changed);
            let found = differences("StatefulSet", &workload(&built), &workload(&changed));
            assert_eq!(found.keys().collect::<Vec<_>>(), expected);
            for (path, stands) in found {
                assert_eq!(workload(&changed).pointer(&path).cloned().unwrap_or_default(), stands, "{path}");
            }
        };
        check(&|_| {}, &[]);
        check(
            &|pod| pod["containers"][0]["image"] = json!("mirror/openarchive:1"),
            &["/spec/template/spec/containers/0/image"],
        );
        check(&|pod| pod["hostNetwork"] = json!(true), &["/spec/template/spec/hostNetwork"]);
        check(
            &|pod| pod["containers"].as_array_mut().unwrap().push(json!({"name": "sidecar"})),
            &["/spec/template/spec/containers"],
        );
        check(&|pod| pod["volumes"] = Value::Null, &["/spec/template/spec/volumes"]);
        let labels = |value: &str| json!({"metadata": {"labels": {"a.example/b": value}}, "data": {}});
        let found = differences("ConfigMap", &labels("c"), &labels("d"));
        assert_eq!(found, BTreeMap::from([("/metadata/labels/a.example~1b".to_owned(), json!("d"))]));
        let service = |spec: Value| json!({"spec": spec});
        let live = service(json!({"ports": [{"port": 1}], "externalIPs": ["192.0.2.1"]}));
        let found = differences("Service", &service(json!({"ports": [{"port": 1}]})), &live);
        assert_eq!(found.keys().collect::<Vec<_>>(), ["/spec/externalIPs"]);
    }

    #[test]
    fn a_service_answers_at_no_address_that_was_not_built() {
        let service = |spec: Value| json!({"spec": spec});
        let built = service(json!({"clusterIP": "None", "ports": [{"port": 1}]}));
        let check = |live: Value, expected: Option<Value>| {
            assert_eq!(closing("Service", &built, &service(live)), expected);
        };
        check(
            json!({"clusterIP": "None", "ports": [{"port": 1, "protocol": "TCP"}], "type": "ClusterIP"}),
            None,
        );
        check(
            json!({"ports": [{"port": 1}], "externalIPs": ["192.0.2.1"]}),
            Some(json!({"externalIPs": null})),
        );
        check(json!({"ports": [{"port": 1}, {"port": 2}]}), Some(json!({"ports": [{"port": 1}]})));
        assert_eq!(closing("ConfigMap", &json!({"data": {}}), &json!({"data": {"a": "b"}})), None);
    }

    #[test]
    fn quantities_are_compared_by_what_they_mean() {
        for (one, other, same) in [
            ("1000m", "1", true),
            ("500m", "0.5", true),
            ("1024Mi", "1Gi", true),
            ("1Gi", "1G", false),
            ("1", "2", false),
            ("v1", "v1.0", false),
            ("100m", "100M", false),
        ] {
            check(&json!(one), &json!(other), same);
            check(&json!(other), &json!(one), same);
        }
    }
}
