//! `validate`, as a pipeline runs it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

fn validate(args: &[&str], stdin: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_openarchive-operator"));
    command.arg("validate").args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// Lines about the standard input, and the exit status.
fn lines(manifest: &str) -> (Vec<String>, Option<i32>) {
    let output = validate(&["-"], manifest);
    let text = String::from_utf8(output.stdout).unwrap();
    (text.lines().map(str::to_owned).collect(), output.status.code())
}

fn refused(manifest: &str, expected: &[&str]) {
    let (lines, status) = lines(manifest);
    assert_eq!(lines, expected);
    assert_eq!(status, Some(1));
}

const CORE: &str = "\
apiVersion: openarchive.dev/v1alpha1
kind: ArchiveCore
metadata: {name: mail, namespace: prod}
spec:
  domain: archive.example.org
  tenants:
    - name: acme
  profile: Standalone
  version: 0.1.0
  retention: {default: 10y-received-forbidden}
";

fn core(from: &str, to: &str) -> String {
    assert!(CORE.contains(from));
    CORE.replace(from, to)
}

fn agent(archive: &str, tenant: &str) -> String {
    format!(
        "apiVersion: openarchive.dev/v1alpha1
kind: EdgeAgent
metadata: {{name: branch, namespace: prod}}
spec:
  archiveRef: {{name: {archive}}}
  tenant: {tenant}
  placement: External
"
    )
}

fn policies(name: &str, archive: &str) -> String {
    format!(
        "apiVersion: openarchive.dev/v1alpha1
kind: NetworkPolicySet
metadata: {{name: {name}, namespace: prod}}
spec:
  archiveRef: {{name: {archive}}}
"
    )
}

fn all(documents: &[&str]) -> String {
    documents.join("---\n")
}

#[test]
fn all_examples_are_accepted_one_by_one_and_together() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/examples");
    let folders = [examples.clone(), examples.join("gitops")];
    let entries = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap());
    let paths = entries.map(|entry| entry.unwrap().path());
    let manifests = paths.filter(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    let files: Vec<_> = manifests.map(|path| path.to_str().unwrap().to_owned()).collect();
    let files: Vec<_> = files.iter().map(String::as_str).collect();
    assert_eq!(files.len(), 6);
    for args in files.iter().map(std::slice::from_ref).chain([&files[..]]) {
        let output = validate(args, "");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!((said.as_str(), output.status.code()), ("", Some(0)), "{args:?}");
    }
}

#[test]
fn what_is_good_is_silent() {
    assert_eq!(lines(CORE), (Vec::new(), Some(0)));
}

#[test]
fn a_problem_is_told_with_the_line_of_the_field() {
    refused(
        &core("profile: Standalone", "profile: Alone"),
        &[
            "-:8: ArchiveCore prod/mail spec.profile: Unsupported value: supported values: \"Standalone\", \"Distributed\"",
        ],
    );
    refused(
        &core("    - name: acme\n", "    - name: acme\n    - domains: [a.org]\n      name: acme\n"),
        &["-:8: ArchiveCore prod/mail spec.tenants[1]: Duplicate value"],
    );
    refused(
        &core("default: 10y", "default: 10x"),
        &["-:10: ArchiveCore prod/mail spec.retention.default: Invalid value: should match \
         '^[1-9][0-9]{0,4}(d|m|y)-(received|yearend)-(forbidden|permitted)$'"],
    );
}

#[test]
fn a_missing_field_is_told_with_the_line_of_what_it_is_missing_in() {
    refused(&core("  version: 0.1.0\n", ""), &["-:4: ArchiveCore prod/mail spec.version: Required value"]);
}

#[test]
fn a_misspelt_field_is_told() {
    refused(
        &core("version: 0.1.0", "version: 0.1.0\n  exposures: {}"),
        &["-:10: ArchiveCore prod/mail spec.exposures: unknown field \"spec.exposures\""],
    );
}

#[test]
fn a_rule_of_several_fields_is_told() {
    refused(
        &core("Standalone", "Distributed"),
        &["-:4: ArchiveCore prod/mail spec: profile Distributed needs database and objectStore"],
    );
}

#[test]
fn a_value_is_never_repeated() {
    let secret = core("domain: archive.example.org", "domain: \"postgres://owner:hunter2@host\"");
    let (lines, status) = lines(&secret);
    assert_eq!((lines.len(), status), (1, Some(1)));
    assert!(!lines[0].contains("hunter2"), "{lines:?}");
}

#[test]
fn lines_go_on_through_documents() {
    let second = core("name: mail", "name: other").replace("archive.example.org", "UPPER");
    refused(
        &all(&["# a comment\n", CORE, &second]),
        &["-:18: ArchiveCore prod/other spec.domain: Invalid value: should match \
         '^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$'"],
    );
}

#[test]
fn yaml_1_1_booleans_are_what_kubectl_makes_of_them() {
    refused(
        &core("name: acme", "name: no"),
        &["-:7: ArchiveCore prod/mail spec.tenants[0].name: Invalid value: must be of type string"],
    );
}

#[test]
fn other_groups_are_counted_and_left_alone() {
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {nonsense: true}\n";
    let output = validate(&["-"], &all(&[service, CORE]));
    assert_eq!(output.status.code(), Some(0));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said, "1 objects checked, 0 problems, 1 documents of other groups ignored\n");
}

#[test]
fn an_unknown_kind_or_version_of_our_group_is_refused() {
    refused(
        &core("ArchiveCore", "ArchiveCores"),
        &["-:2: ArchiveCores prod/mail kind: no kind of openarchive.dev: there are ArchiveCore, EdgeAgent, \
         NetworkPolicySet, RetentionPolicy"],
    );
    refused(
        &core("v1alpha1", "v1"),
        &[
            "-:1: ArchiveCore prod/mail apiVersion: Unsupported value: supported values: \"openarchive.dev/v1alpha1\"",
        ],
    );
}

#[test]
fn what_is_no_yaml_is_refused_and_the_next_document_is_still_read() {
    let (lines, status) = lines(&all(&["a: 1\na: 2\n", &core("Standalone", "Alone")]));
    assert_eq!(status, Some(1));
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("-:2: "), "{lines:?}");
    assert!(lines[1].starts_with("-:11: ArchiveCore prod/mail spec.profile: "), "{lines:?}");
}

#[test]
fn an_agent_needs_an_archive_and_a_tenant_that_are_there() {
    assert_eq!(lines(&all(&[CORE, &agent("mail", "acme")])), (Vec::new(), Some(0)));
    refused(
        &all(&[CORE, &agent("mail", "globex")]),
        &["-:17: EdgeAgent prod/branch spec.tenant: ArchiveCore mail (-:1) has no tenant globex"],
    );
    refused(
        &all(&[CORE, &agent("other", "acme")]),
        &[
            "-:16: EdgeAgent prod/branch spec.archiveRef.name: the files have no ArchiveCore other in this namespace, \
         but mail",
        ],
    );
    assert_eq!(lines(&agent("in-the-cluster", "acme")), (Vec::new(), Some(0)));
}

#[test]
fn what_may_be_there_once_is_there_once() {
    let policy = |name: &str| policies(name, "mail");
    refused(
        &all(&[CORE, &policy("a"), &policy("b")]),
        &["-:22: NetworkPolicySet prod/b spec.archiveRef: -:12 is a NetworkPolicySet for this archive, too"],
    );
    refused(
        &all(&[&agent("mail", "acme"), &agent("mail", "acme")]),
        &["-:11: EdgeAgent prod/branch metadata.name: -:1 is an object of this name, too"],
    );
    refused(
        &all(&[CORE, &core("name: mail", "name: second")]),
        &[
            "-:16: ArchiveCore prod/second spec.domain: -:1 has this domain, too: it stands in certificates and log \
         origins",
        ],
    );
}

#[test]
fn json_holds_the_same() {
    let output = validate(&["--json", "-"], &core("profile: Standalone", "profile: Alone"));
    assert_eq!(output.status.code(), Some(1));
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        found,
        serde_json::json!([{
            "file": "-", "line": 8, "kind": "ArchiveCore", "namespace": "prod", "name": "mail", "path": "spec.profile",
            "message": "Unsupported value: supported values: \"Standalone\", \"Distributed\"",
        }])
    );
}

#[test]
fn wrong_use_and_missing_files_are_another_status() {
    assert_eq!(validate(&[], "").status.code(), Some(2));
    assert_eq!(validate(&["/no/such/file.yaml"], "").status.code(), Some(2));
}
