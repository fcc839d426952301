//! What only several objects show together. An API server takes each of them; the operator would stall.

use openarchive_operator_api::{Kind, Problem};
use serde_json::Value;
use std::collections::{BTreeMap, btree_map::Entry};

use super::{Finding, Object};

const ARCHIVE: &str = "/spec/archiveRef/name";

pub(super) fn findings(objects: &[Object]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut names = Unique::new("metadata.name", "is an object of this name, too");
    let mut domains =
        Unique::new("spec.domain", "has this domain, too: it stands in certificates and log origins");
    let mut sets = Unique::new("spec.archiveRef", "is a NetworkPolicySet for this archive, too");
    for object in objects {
        let (namespace, name) = (object.namespace.as_str(), object.name.as_str());
        findings.extend(names.add(object, vec![object.kind.name(), namespace, name]));
        match object.kind {
            Kind::ArchiveCore => {
                findings
                    .extend(object.text("/spec/domain").and_then(|domain| domains.add(object, vec![domain])));
            }
            Kind::NetworkPolicySet => {
                let archive = object.text(ARCHIVE);
                findings.extend(archive.and_then(|archive| sets.add(object, vec![namespace, archive])));
                findings.extend(archive_problem(object, objects));
            }
            Kind::EdgeAgent | Kind::RetentionPolicy => findings.extend(archive_problem(object, objects)),
        }
    }
    findings
}

/// Keys that no second object may have.
struct Unique<'a> {
    path: &'static str,
    words: &'static str,
    seen: BTreeMap<Vec<&'a str>, &'a Object>,
}

impl<'a> Unique<'a> {
    const fn new(path: &'static str, words: &'static str) -> Self {
        Self { path, words, seen: BTreeMap::new() }
    }

    fn add(&mut self, object: &'a Object, key: Vec<&'a str>) -> Option<Finding> {
        match self.seen.entry(key) {
            Entry::Vacant(entry) => {
                entry.insert(object);
                None
            }
            Entry::Occupied(entry) => {
                let message = format!("{} {}", entry.get().place(), self.words);
                Some(object.finding(Problem { path: self.path.to_owned(), message }))
            }
        }
    }
}

/// Only where the files hold archives of the namespace: else the archive may be in the cluster already.
fn archive_problem(object: &Object, objects: &[Object]) -> Option<Finding> {
    let wanted = object.text(ARCHIVE)?;
    let is_near = |other: &&Object| other.kind == Kind::ArchiveCore && other.namespace == object.namespace;
    let archives: Vec<_> = objects.iter().filter(is_near).collect();
    let problem = |path: &str, message| Some(object.finding(Problem { path: path.to_owned(), message }));
    let Some(archive) = archives.iter().find(|archive| archive.name == wanted) else {
        let names: Vec<_> = archives.iter().map(|archive| archive.name.as_str()).collect();
        let message =
            format!("the files have no ArchiveCore {wanted} in this namespace, but {}", names.join(", "));
        return if names.is_empty() { None } else { problem("spec.archiveRef.name", message) };
    };
    let tenant = object.text("/spec/tenant").filter(|_| object.kind == Kind::EdgeAgent)?;
    let tenants = archive.document.value.pointer("/spec/tenants").and_then(Value::as_array)?;
    if tenants.iter().any(|one| one.get("name").and_then(Value::as_str) == Some(tenant)) {
        return None;
    }
    problem("spec.tenant", format!("ArchiveCore {wanted} ({}) has no tenant {tenant}", archive.place()))
}
