//! Labels: by which policies select pods, and their syntax.

use std::collections::BTreeMap;

/// Labels, or what a selector asks for.
pub type Labels = BTreeMap<String, String>;

pub const LABEL_NAME: &str = "app.kubernetes.io/name";
/// The archive's name.
pub const LABEL_INSTANCE: &str = "app.kubernetes.io/instance";
/// A role of the archive, `all`, `edge`, `migrate` or `prober`.
pub const LABEL_COMPONENT: &str = "app.kubernetes.io/component";
pub const LABEL_MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The agent's name, on what belongs to it.
pub const LABEL_AGENT: &str = "openarchive.dev/agent";

/// Value of [`LABEL_NAME`] on every object of an archive.
pub(crate) const PART_OF: &str = "openarchive";
/// Value of [`LABEL_MANAGED_BY`].
pub(crate) const MANAGED_BY: &str = "openarchive-operator";
/// On every namespace, set by the API server: its name.
const LABEL_NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// Length of a label's value, of its key behind the prefix, and of a DNS label (RFC 1123).
const LABEL_NAME_BYTES_MAX: usize = 63;
/// Length of the prefix of a label's key.
const SUBDOMAIN_BYTES_MAX: usize = 253;

/// Pods of other namespaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pods {
    /// Labels of their namespaces; at least one, as no label would mean every namespace.
    pub namespaces: Labels,
    /// Their own labels. None: every pod of these namespaces.
    pub pods: Labels,
}

/// The label that selects the namespace `name` alone.
pub fn of_namespace(name: &str) -> Labels {
    Labels::from([(LABEL_NAMESPACE_NAME.to_owned(), name.to_owned())])
}

/// What every pod of the archive carries, and no other.
pub(crate) fn of_archive(archive: &str) -> Labels {
    Labels::from([
        (LABEL_NAME.to_owned(), PART_OF.to_owned()),
        (LABEL_INSTANCE.to_owned(), archive.to_owned()),
    ])
}

/// `KEY=VALUE` of each, for people.
pub(crate) fn text(labels: &Labels) -> String {
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

/// The first label whose key or value the API server would refuse.
pub(crate) fn malformed(labels: &Labels) -> Option<&str> {
    let good = |key: &str, value: &str| is_key(key) && (value.is_empty() || is_word(value));
    labels.iter().find(|(key, value)| !good(key, value)).map(|(key, _)| key.as_str())
}

fn is_key(key: &str) -> bool {
    match key.split_once('/') {
        Some((prefix, word)) => is_subdomain(prefix) && is_word(word),
        None => is_word(key),
    }
}

fn is_word(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    text.len() <= LABEL_NAME_BYTES_MAX && text.bytes().all(inner) && has_alphanumeric_ends(text)
}

fn is_subdomain(text: &str) -> bool {
    text.len() <= SUBDOMAIN_BYTES_MAX && text.split('.').all(is_lowercase_label)
}

/// Whether it may be the name of an archive, an agent, a namespace: a DNS label (RFC 1123), without dots.
pub(crate) fn is_dns_label(text: &str) -> bool {
    text.len() <= LABEL_NAME_BYTES_MAX && is_lowercase_label(text)
}

fn is_lowercase_label(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-')) && has_alphanumeric_ends(text)
}

fn has_alphanumeric_ends(text: &str) -> bool {
    let ends = [text.bytes().next(), text.bytes().next_back()];
    ends.into_iter().all(|end| end.is_some_and(|byte| byte.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_what_the_api_server_takes() {
        let long = "a".repeat(LABEL_NAME_BYTES_MAX);
        let check = |key: &str, value: &str, good: bool| {
            let labels = Labels::from([(key.to_owned(), value.to_owned())]);
            assert_eq!(malformed(&labels).is_none(), good, "{key}={value}");
        };
        check("app", "x", true);
        check("app", "", true);
        check("app.kubernetes.io/name", "Open_Archive-1.0", true);
        check(&long, &long, true);
        check(&format!("{long}a"), "x", false);
        check("app", &format!("{long}a"), false);
        check("", "x", false);
        check("-app", "x", false);
        check("app", "x-", false);
        check("app", "x y", false);
        check("/app", "x", false);
        check("Example.org/app", "x", false);
        check("a/b/c", "x", false);
        check("example..org/app", "x", false);
        check("app", "ü", false);
    }

    #[test]
    fn names_are_dns_labels() {
        for (name, good) in [
            ("mail", true),
            ("m", true),
            ("m-1", true),
            ("", false),
            ("Mail", false),
            ("a.b", false),
            ("-a", false),
        ] {
            assert_eq!(is_dns_label(name), good, "{name}");
        }
        assert!(is_dns_label(&"a".repeat(63)) && !is_dns_label(&"a".repeat(64)));
    }
}
