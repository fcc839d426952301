//! `render` and `rbac`, as a pipeline runs them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn operator(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_openarchive-operator")).args(args).output().unwrap()
}

fn rendered(example: &str) -> Vec<Value> {
    let file = root().join("docs/examples").join(example);
    let output = operator(&["render", file.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_saphyr::from_multiple(&String::from_utf8(output.stdout).unwrap()).unwrap()
}

/// `KIND/NAME` of each.
fn names(objects: &[Value]) -> BTreeSet<String> {
    let name = |object: &Value| {
        format!("{}/{}", object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap())
    };
    objects.iter().map(name).collect()
}

#[test]
fn an_example_shows_every_object_that_it_leads_to_and_no_secret() {
    let objects = rendered("standalone.yaml");
    let names = names(&objects);
    assert_eq!(names.len(), objects.len(), "an object is there twice");
    assert!(names.contains("StatefulSet/archive-all"), "{names:#?}");
    assert!(names.iter().any(|name| name.starts_with("NetworkPolicy/")), "{names:#?}");
    for object in &objects {
        assert_ne!(object["kind"], "Secret");
        assert_eq!(object["metadata"]["namespace"], "mail");
        assert!(object["metadata"].get("ownerReferences").is_none());
    }
}

#[test]
fn the_distributed_example_has_a_deployment_for_each_service() {
    let names = names(&rendered("distributed.yaml"));
    for role in ["ingest", "storage", "gateway", "worker"] {
        assert!(names.contains(&format!("Deployment/archive-{role}")), "{role}: {names:#?}");
    }
}

#[test]
fn all_examples_together_are_rendered_each_in_its_namespace() {
    let examples = ["standalone.yaml", "distributed.yaml", "retention.yaml", "external-agent.yaml"];
    let files =
        examples.map(|example| root().join("docs/examples").join(example).to_str().unwrap().to_owned());
    let args: Vec<_> = std::iter::once("render").chain(files.iter().map(String::as_str)).collect();
    let output = operator(&args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let all: Vec<Value> = serde_saphyr::from_multiple(&String::from_utf8(output.stdout).unwrap()).unwrap();
    let apart = [rendered("standalone.yaml"), rendered("distributed.yaml")].concat();
    assert_eq!(all.len(), apart.len());
    assert!(all.iter().any(|object| object["metadata"]["namespace"] == "mail-distributed"));
}

#[test]
fn the_same_manifests_give_the_same_bytes() {
    let file = root().join("docs/examples/distributed.yaml");
    let args = ["render", file.to_str().unwrap()];
    assert_eq!(operator(&args).stdout, operator(&args).stdout);
}

#[test]
fn what_is_refused_is_not_rendered() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("archive.yaml");
    let example = fs::read_to_string(root().join("docs/examples/standalone.yaml")).unwrap();
    fs::write(&file, example.replace("size: 100Gi", "size: much")).unwrap();
    let output = operator(&["render", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("spec.standalone.size") && !said.contains("StatefulSet"), "{said}");
}

#[test]
fn the_chart_gives_the_rights_that_are_printed() {
    let rules = |yaml: &str| serde_saphyr::from_str::<Value>(yaml).unwrap()["rules"].take();
    let printed = rules(&String::from_utf8(operator(&["rbac"]).stdout).unwrap());
    assert!(printed.as_array().is_some_and(|rules| !rules.is_empty()));
    let chart = fs::read_to_string(root().join("charts/openarchive-operator/files/rbac.yaml")).unwrap();
    assert_eq!(rules(&chart), printed);
    let namespaced = operator(&["rbac", "--namespaced", "mail"]).stdout;
    let namespaced: Value = serde_saphyr::from_str(&String::from_utf8(namespaced).unwrap()).unwrap();
    assert_eq!((&namespaced["kind"], &namespaced["metadata"]["namespace"]), (&"Role".into(), &"mail".into()));
    assert_eq!(namespaced["rules"], printed);
}
