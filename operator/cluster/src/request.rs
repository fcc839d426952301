use http::{Method, Uri};

/// What a request needs a right for, as an RBAC rule names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// Empty for the core group.
    pub group: String,
    /// `pods`, or with the subresource `pods/status`.
    pub resource: String,
    pub verb: String,
}

impl Right {
    pub fn new(group: &str, resource: &str, verb: &str) -> Self {
        Self { group: group.to_owned(), resource: resource.to_owned(), verb: verb.to_owned() }
    }

    /// Reads it from a request as the API server does; `None` for paths that name no resource (`/version`, discovery).
    pub(crate) fn of(method: &Method, uri: &Uri) -> Option<Self> {
        let parts: Vec<&str> = uri.path().split('/').filter(|part| !part.is_empty()).collect();
        let (group, parts) = match parts.as_slice() {
            ["api", _version, rest @ ..] => ("", rest),
            ["apis", group, _version, rest @ ..] => (*group, rest),
            _ => return None,
        };
        let parts = match parts {
            // Subresources of the namespace itself.
            ["namespaces", _, "status" | "finalize"] => parts,
            ["namespaces", _, rest @ ..] if !rest.is_empty() => rest,
            _ => parts,
        };
        let (resource, named) = match parts {
            [resource, _name, subresource, ..] => (format!("{resource}/{subresource}"), true),
            [resource, _name] => ((*resource).to_owned(), true),
            [resource] => ((*resource).to_owned(), false),
            [] => return None,
        };
        let watched = uri.query().unwrap_or_default().split('&').any(|p| p == "watch=true" || p == "watch=1");
        let verb = match *method {
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE if named => "delete",
            Method::DELETE => "deletecollection",
            _ if watched => "watch",
            _ if named => "get",
            _ => "list",
        };
        Some(Self { group: group.to_owned(), resource, verb: verb.to_owned() })
    }

    /// Whether such a request may change something.
    pub fn writes(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list" | "watch")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: &Method, uri: &'static str, expected: Option<(&str, &str, &str)>) {
        let expected = expected.map(|(group, resource, verb)| Right::new(group, resource, verb));
        assert_eq!(Right::of(method, &Uri::from_static(uri)), expected, "{method} {uri}");
    }

    #[test]
    fn rights_are_read_from_paths_as_the_api_server_reads_them() {
        check(&Method::GET, "/api/v1/pods", Some(("", "pods", "list")));
        check(&Method::GET, "/api/v1/pods?limit=500&watch=true", Some(("", "pods", "watch")));
        check(&Method::GET, "/api/v1/namespaces/a/pods/b", Some(("", "pods", "get")));
        check(
            &Method::PATCH,
            "/api/v1/namespaces/a/pods/b/status?force=true",
            Some(("", "pods/status", "patch")),
        );
        check(
            &Method::POST,
            "/apis/apps/v1/namespaces/a/deployments",
            Some(("apps", "deployments", "create")),
        );
        check(
            &Method::DELETE,
            "/apis/apps/v1/namespaces/a/deployments/b",
            Some(("apps", "deployments", "delete")),
        );
        check(&Method::DELETE, "/api/v1/namespaces/a/secrets", Some(("", "secrets", "deletecollection")));
        check(&Method::GET, "/api/v1/namespaces/a", Some(("", "namespaces", "get")));
        check(&Method::PUT, "/api/v1/namespaces/a/finalize", Some(("", "namespaces/finalize", "update")));
        check(&Method::GET, "/apis/apps/v1", None);
        check(&Method::GET, "/version", None);
    }
}
