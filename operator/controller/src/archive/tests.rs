//! What is built, held against the templates that this version is committed to; conditions as kstatus reads them.

use std::{collections::BTreeMap, fs, path::Path};

use k8s_openapi::{api::core::v1::PodTemplateSpec, jiff::Timestamp};
use kube::ResourceExt;
use openarchive_operator_api::ArchiveCore;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{
    build::{Ground, build},
    gate::Progress,
    status::{Audit, Observed, paused, status},
    validate::{one_set, validate},
};
use crate::{Halt, Reason, objects::Objects};

const STANDALONE: &str = include_str!("../../../../docs/examples/standalone.yaml");
const DISTRIBUTED: &str = include_str!("../../../../docs/examples/distributed.yaml");

fn archive(text: &str) -> ArchiveCore {
    let documents =
        text.split("\n---\n").filter_map(|text| serde_saphyr::from_str::<serde_json::Value>(text).ok());
    let found = documents.into_iter().find(|document| document["kind"] == "ArchiveCore").unwrap();
    let mut archive: ArchiveCore = serde_json::from_value(found).unwrap();
    archive.metadata.uid = Some("6e5c1f3a-0000-4000-8000-000000000001".to_owned());
    archive.metadata.namespace.get_or_insert_with(|| "mail".to_owned());
    archive.metadata.generation = Some(1);
    archive
}

fn built(text: &str) -> Objects {
    let ground = Ground {
        image_registry: "registry.example.org/openarchive".to_owned(),
        agents_ca: "sha256:00".to_owned(),
        secrets: Vec::new(),
        volume: None,
    };
    build(&validate(&archive(text), &[]).unwrap(), &ground)
}

fn templates(objects: Objects) -> Vec<(String, PodTemplateSpec)> {
    let mut templates = Vec::new();
    templates.extend(objects.jobs.into_iter().map(|job| (job.name_any(), job.spec.unwrap().template)));
    templates
        .extend(objects.stateful_sets.into_iter().map(|set| (set.name_any(), set.spec.unwrap().template)));
    templates.extend(objects.deployments.into_iter().map(|one| (one.name_any(), one.spec.unwrap().template)));
    templates
}

/// A change here restarts the pods of every archive when the operator is upgraded: it needs a line in CHANGELOG.md.
#[test]
fn pod_templates_are_those_that_this_version_is_committed_to() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/v1alpha1");
    for (profile, text) in [("standalone", STANDALONE), ("distributed", DISTRIBUTED)] {
        let mut now = String::new();
        for (name, template) in templates(built(text)) {
            now += &format!("---\n# {name}\n{}", serde_saphyr::to_string(&template).unwrap());
        }
        let path = folder.join(format!("{profile}.yaml"));
        if std::env::var_os("OPENARCHIVE_WRITE_GENERATED").is_some() {
            fs::write(&path, &now).unwrap();
        }
        let golden = fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(now, golden, "{}: run scripts/gen.sh, and write a line in CHANGELOG.md", path.display());
    }
}

/// As `sha256sum * | sha256sum` has it. Whoever makes the templates anew writes this line by hand, beside what changed and why.
#[test]
fn the_changelog_names_the_templates_that_this_version_has() {
    if std::env::var_os("OPENARCHIVE_WRITE_GENERATED").is_some() {
        // They are being written.
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = fs::read_dir(root.join("golden/v1alpha1")).unwrap().map(|entry| entry.unwrap().path());
    let sums: BTreeMap<_, _> = files
        .map(|path| {
            (path.file_name().unwrap().to_owned(), hex::encode(Sha256::digest(fs::read(path).unwrap())))
        })
        .collect();
    let lines: Vec<_> = sums.iter().map(|(name, sum)| format!("{sum}  {}\n", name.display())).collect();
    let line = format!("Pod templates v1alpha1: sha256:{}", hex::encode(Sha256::digest(lines.concat())));
    let changelog = fs::read_to_string(root.join("../../CHANGELOG.md")).unwrap();
    assert!(changelog.contains(&line), "CHANGELOG.md does not say what changed in them, with this: {line}");
}

#[test]
fn every_pod_is_restricted_and_has_no_token() {
    for (name, template) in [STANDALONE, DISTRIBUTED].into_iter().flat_map(|text| templates(built(text))) {
        let pod = template.spec.unwrap();
        let context = pod.security_context.unwrap();
        assert_eq!(
            (context.run_as_non_root, pod.automount_service_account_token),
            (Some(true), Some(false)),
            "{name}"
        );
        assert!(
            context.run_as_user.unwrap() > 0 && context.seccomp_profile.unwrap().type_ == "RuntimeDefault"
        );
        for container in pod.init_containers.into_iter().flatten().chain(pod.containers) {
            let context = container.security_context.unwrap();
            assert_eq!(context.allow_privilege_escalation, Some(false), "{name}");
            assert_eq!(context.read_only_root_filesystem, Some(true), "{name}");
            assert_eq!(context.capabilities.unwrap().drop, Some(vec!["ALL".to_owned()]), "{name}");
        }
    }
}

#[test]
fn building_twice_gives_the_same() {
    assert_eq!(built(STANDALONE), built(STANDALONE));
    assert_eq!(built(DISTRIBUTED), built(DISTRIBUTED));
}

fn progress(ready: i32, waiting_for: Option<&str>) -> Progress {
    Progress {
        component: "all".to_owned(),
        desired: 1,
        ready,
        version: Some("0.1.0".to_owned()),
        waiting_for: waiting_for.map(str::to_owned),
    }
}

#[track_caller]
fn check(observed: &Observed, halt: Option<&Halt>, expected: &str) {
    let now = Timestamp::from_second(1_000).unwrap();
    let status = status(&archive(STANDALONE).status.unwrap_or_default(), Some(3), observed, halt, now);
    let shown: Vec<_> = status
        .conditions
        .iter()
        .map(|condition| {
            assert_eq!(condition.observed_generation, Some(3));
            format!("{}={}/{}", condition.type_, condition.status, condition.reason)
        })
        .collect();
    assert_eq!(shown.join(" "), expected);
}

/// sigs.k8s.io/cli-utils, kstatus: Reconciling and Stalled are never true together, and Ready is true only without both.
#[test]
fn conditions_of_every_phase_are_those_that_kstatus_reads() {
    let up = Observed { services: Some(vec![progress(1, None)]), ..Observed::default() };
    check(
        &up,
        None,
        "Ready=True/Reconciled Reconciling=False/Reconciled Stalled=False/Reconciled Available=True/Reconciled",
    );
    let rolling = Observed {
        services: Some(vec![progress(0, Some("1 of 1 pods to be ready"))]),
        ..Observed::default()
    };
    check(
        &rolling,
        None,
        "Ready=False/RolloutPending Reconciling=True/RolloutPending Stalled=False/Progressing Available=False/RolloutPending",
    );
    let terminal = Halt::terminal(Reason::InvalidSpec, "no");
    check(
        &Observed::default(),
        Some(&terminal),
        "Ready=False/InvalidSpec Reconciling=False/InvalidSpec Stalled=True/InvalidSpec",
    );
    let engine = Observed { engine_missing: Some("no S3".to_owned()), ..up.clone() };
    check(
        &engine,
        None,
        "Ready=False/EngineNotAvailable Reconciling=False/EngineNotAvailable Stalled=True/EngineNotAvailable Available=True/Reconciled",
    );
    let stopped = Observed { services: Some(vec![progress(0, None)]), stopped: true, ..Observed::default() };
    check(
        &stopped,
        None,
        "Ready=True/Stopped Reconciling=False/Stopped Stalled=False/Stopped Available=False/Stopped",
    );
    let check_left = |left: &[&str], expected: &str| {
        let left = Some(left.iter().map(|one| (*one).to_owned()).collect());
        let ready = "Ready=True/Reconciled Reconciling=False/Reconciled Stalled=False/Reconciled Available=True/Reconciled";
        check(&Observed { left, ..up.clone() }, None, &format!("{ready} Drifted={expected}"));
    };
    check_left(&[], "False/Reconciled");
    check_left(&["StatefulSet main-all at /spec, by unknown"], "True/DriftRemains");
    let pending = Observed {
        audit: Some(Audit { last: None, pending: 2, waiting_for: None }),
        certificates: Some(Vec::new()),
        ..up
    };
    check(
        &pending,
        None,
        "Ready=True/Reconciled Reconciling=False/Reconciled Stalled=False/Reconciled Available=True/Reconciled \
         CertificatesValid=True/Reconciled AuditRecorded=False/CoreUnreachable",
    );
}

#[test]
fn a_pause_freezes_the_observed_generation_and_is_written_once() {
    let now = Timestamp::from_second(1_000).unwrap();
    let later = Timestamp::from_second(2_000).unwrap();
    let up = Observed { services: Some(vec![progress(1, None)]), ..Observed::default() };
    let running = status(&archive(STANDALONE).status.unwrap_or_default(), Some(3), &up, None, now);
    let first = paused(&running, later);
    assert_eq!(first.observed_generation, Some(3));
    assert_ne!(first, running);
    assert_eq!(paused(&first, Timestamp::from_second(3_000).unwrap()), first);
}

#[test]
fn what_stands_in_a_manifest_and_cannot_be_said_is_refused() {
    let mut wrong = archive(STANDALONE);
    wrong.spec.retention.default = "10y".to_owned();
    let error = validate(&wrong, &[]).unwrap_err();
    assert_eq!(error.reason(), Reason::InvalidSpec);
    assert!(error.to_string().contains("spec.retention.default"), "{error}");
    assert_eq!(one_set(&["a".to_owned()]).err().map(|halt| halt.to_string()), None);
    let two = one_set(&["a".to_owned(), "b".to_owned()]).unwrap_err();
    assert!(two.to_string().contains("a, b"), "{two}");
    assert_eq!(json!(archive(DISTRIBUTED).spec.profile), json!("Distributed"));
}
