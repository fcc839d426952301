//! Manifests in files, checked as the API server would, and against each other: every problem with file and line.

mod across;
mod document;

use anyhow::Context;
use openarchive_operator_api::{GROUP, Kind, Problem, check};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use document::Document;

/// One of our objects in a file.
pub struct Object {
    file: String,
    document: Document,
    pub kind: Kind,
    pub namespace: String,
    pub name: String,
}

/// One reason to refuse a file.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    file: String,
    line: u64,
    kind: String,
    namespace: String,
    name: String,
    path: String,
    message: String,
}

/// What files hold, checked.
pub struct Manifests {
    pub objects: Vec<Object>,
    /// In the order of files and lines.
    pub findings: Vec<Finding>,
    /// Documents of other groups.
    pub ignored: usize,
}

pub fn read_files(paths: &[PathBuf]) -> anyhow::Result<Manifests> {
    let mut all = Manifests { objects: Vec::new(), findings: Vec::new(), ignored: 0 };
    for path in paths {
        let text = read(path)?;
        let file = path.display().to_string();
        for document in document::documents(&text) {
            match document.map(|document| object_of(&file, document)) {
                Ok(Found::Ours(object)) => all.objects.push(object),
                Ok(Found::UnknownKind(finding)) => all.findings.push(finding),
                Ok(Found::Other) => all.ignored += 1,
                Err(broken) => all.findings.push(Finding::of_yaml(&file, broken)),
            }
        }
    }
    for object in &all.objects {
        let problems = check(object.kind, &object.document.value, None);
        all.findings.extend(problems.into_iter().map(|problem| object.finding(problem)));
    }
    all.findings.extend(across::findings(&all.objects));
    all.findings.sort();
    Ok(all)
}

fn read(path: &Path) -> anyhow::Result<String> {
    if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("standard input")?;
        return Ok(text);
    }
    fs::read_to_string(path).with_context(|| path.display().to_string())
}

enum Found {
    Ours(Object),
    UnknownKind(Finding),
    Other,
}

fn object_of(file: &str, document: Document) -> Found {
    let text = |pointer: &str| {
        document.value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let group = text("/apiVersion").split_once('/').map(|(group, _)| group.to_owned());
    if group.as_deref() != Some(GROUP) {
        return Found::Other;
    }
    let (file, kind) = (file.to_owned(), text("/kind"));
    let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
    match Kind::of_name(&kind) {
        Some(kind) => Found::Ours(Object { file, document, kind, namespace, name }),
        None => Found::UnknownKind(Finding {
            file,
            line: document.line_of("kind"),
            message: format!("no kind of {GROUP}: there are {}", Kind::ALL.map(Kind::name).join(", ")),
            path: "kind".to_owned(),
            kind,
            namespace,
            name,
        }),
    }
}

impl Object {
    pub fn typed<K: DeserializeOwned>(&self) -> anyhow::Result<K> {
        serde_json::from_value(self.document.value.clone())
            .with_context(|| format!("{} {}", self.kind.name(), self.name))
    }

    fn finding(&self, problem: Problem) -> Finding {
        Finding {
            file: self.file.clone(),
            line: self.document.line_of(&problem.path),
            kind: self.kind.name().to_owned(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            path: problem.path,
            message: problem.message,
        }
    }

    fn text(&self, pointer: &str) -> Option<&str> {
        self.document.value.pointer(pointer).and_then(Value::as_str)
    }

    fn place(&self) -> String {
        format!("{}:{}", self.file, self.document.line_of(""))
    }
}

impl Finding {
    fn of_yaml(file: &str, broken: document::Broken) -> Self {
        let none = String::new;
        let (kind, namespace, name, path) = (none(), none(), none(), none());
        Self {
            file: file.to_owned(),
            line: broken.line,
            kind,
            namespace,
            name,
            path,
            message: broken.message,
        }
    }

    /// `FILE:LINE: KIND NAMESPACE/NAME PATH: MESSAGE`, without what there is none of.
    pub fn line(&self) -> String {
        let name = match self.namespace.as_str() {
            "" => self.name.clone(),
            namespace => format!("{namespace}/{}", self.name),
        };
        let object = [self.kind.as_str(), &name, &self.path].map(str::to_owned);
        let object: Vec<_> = object.into_iter().filter(|part| !part.is_empty()).collect();
        let object = if object.is_empty() { String::new() } else { format!("{}: ", object.join(" ")) };
        format!("{}:{}: {object}{}", self.file, self.line, self.message)
    }
}
