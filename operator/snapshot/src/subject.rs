use std::fmt;

use openarchive_domain::{ParseError, Tenant};
use serde::Serialize;

/// Longest kind of a custom resource, in bytes: what fits into a label.
const KIND_BYTES_MAX: usize = 63;

/// Whose configuration a snapshot holds. An object that is deleted and made again under its name is the same subject
/// with another uid: its chain goes on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Subject {
    kind: String,
    namespace: String,
    name: String,
}

impl Subject {
    /// `namespace` and `name` are DNS labels, so that they are no personal data and fit into labels and leaves.
    pub fn new(kind: &str, namespace: &str, name: &str) -> Result<Self, ParseError> {
        let plain = !kind.is_empty()
            && kind.len() <= KIND_BYTES_MAX
            && kind.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !plain {
            return Err(ParseError::new("kind", kind, "1 to 63 ASCII letters and digits"));
        }
        Ok(Self {
            kind: kind.to_owned(),
            namespace: label("namespace", namespace)?,
            name: label("name of an object", name)?,
        })
    }

    pub fn kind(&self) -> &str {
        &self.kind
    }

    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// Same form as a tenant's name, which already is a DNS label.
fn label(what: &'static str, text: &str) -> Result<String, ParseError> {
    let label: Tenant = text.parse().map_err(|error: ParseError| ParseError { what, ..error })?;
    Ok(label.as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_a_kind_and_two_dns_labels() {
        let subject = Subject::new("ArchiveCore", "mail", "main").unwrap();
        assert_eq!(subject.to_string(), "ArchiveCore mail/main");
        let long = "x".repeat(KIND_BYTES_MAX);
        assert!(Subject::new(&long, "a", "b").is_ok());
        for (kind, namespace, name) in [
            ("", "mail", "main"),
            ("Archive Core", "mail", "main"),
            (&format!("{long}x"), "mail", "main"),
            ("ArchiveCore", "mail.example", "main"),
            ("ArchiveCore", "mail", "anna@example.org"),
            ("ArchiveCore", "", "main"),
        ] {
            assert!(Subject::new(kind, namespace, name).is_err(), "{kind} {namespace} {name}");
        }
    }
}
