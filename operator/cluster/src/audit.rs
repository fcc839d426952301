//! What the API server says was asked of it.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Read as _, Seek as _, SeekFrom},
    path::PathBuf,
};

use serde::Deserialize;

use crate::Right;

/// The audit policy: the metadata of every request, once it is answered; of a watch (and of nothing else) also when it begins.
pub(crate) const POLICY: &str =
    "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules: [{level: Metadata}]\n";

/// One request of a user, refused ones included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub right: Right,
    pub namespace: String,
    /// Empty where many are meant: lists, watches, deletions of collections.
    pub name: String,
    /// HTTP status.
    pub code: u16,
    /// Path and query.
    pub uri: String,
}

/// A place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(u64);

/// Reads the API server's audit log. The server writes a request's line before its answer ends, so that whoever has the whole
/// answer finds the line.
#[derive(Debug, Clone)]
pub struct Requests(PathBuf);

impl Requests {
    pub(crate) fn of(log: PathBuf) -> Self {
        Self(log)
    }

    /// The end of the log as it is now.
    pub fn mark(&self) -> io::Result<Mark> {
        Ok(Mark(fs::metadata(&self.0)?.len()))
    }

    /// Every request for a resource that `user` made since `mark`, in the order of their answers. A watch counts when it
    /// begins, since it may never end. Requests for no resource (`/version`, discovery) are left out.
    pub fn since(&self, mark: Mark, user: &str) -> anyhow::Result<Vec<Request>> {
        let mut log = fs::File::open(&self.0)?;
        // From the byte before: a line that was half written then is of a request before the mark.
        log.seek(SeekFrom::Start(mark.0.saturating_sub(1)))?;
        let mut text = Vec::new();
        log.read_to_end(&mut text)?;
        let mut requests = Vec::new();
        let lines = text.split_inclusive(|byte| *byte == b'\n').skip(usize::from(mark.0 > 0));
        // The last line may be half written.
        for line in lines.filter(|line| line.ends_with(b"\n")) {
            let event: Event = serde_json::from_slice(line)?;
            if event.user.username == user && event.counts() {
                requests.extend(event.request());
            }
        }
        Ok(requests)
    }
}

/// How many of them may have changed something, whether they were granted or refused.
pub fn writes(requests: &[Request]) -> usize {
    requests.iter().filter(|request| request.right.writes()).count()
}

/// The rights that were asked for.
pub fn rights(requests: &[Request]) -> BTreeSet<Right> {
    requests.iter().map(|request| request.right.clone()).collect()
}

/// What we read of `audit.k8s.io/v1` Event.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    stage: String,
    #[serde(rename = "requestURI")]
    uri: String,
    verb: String,
    user: User,
    object_ref: Option<ObjectRef>,
    response_status: Option<ResponseStatus>,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    username: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ObjectRef {
    api_group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Deserialize)]
struct ResponseStatus {
    #[serde(default)]
    code: u16,
}

impl Event {
    /// Every request has one event that counts: a watch its beginning, others their end.
    fn counts(&self) -> bool {
        (self.verb == "watch") == (self.stage == "ResponseStarted")
    }

    fn request(self) -> Option<Request> {
        let object = self.object_ref.filter(|object| !object.resource.is_empty())?;
        let resource = match object.subresource.as_str() {
            "" => object.resource,
            subresource => format!("{}/{subresource}", object.resource),
        };
        Some(Request {
            right: Right { group: object.api_group, resource, verb: self.verb },
            namespace: object.namespace,
            name: object.name,
            code: self.response_status.map_or(0, |status| status.code),
            uri: self.uri,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_request_counts_once_and_a_watch_when_it_begins() {
        let mut log = tempfile::NamedTempFile::new().unwrap();
        let mut line = |stage: &str, user: &str, verb: &str, object: &str| {
            writeln!(
                log,
                r#"{{"stage":"{stage}","requestURI":"/x","verb":"{verb}","user":{{"username":"{user}"}},"objectRef":{object},"responseStatus":{{"code":200}}}}"#
            )
            .unwrap();
        };
        let pods =
            r#"{"resource":"pods","namespace":"a","name":"b","apiVersion":"v1","subresource":"status"}"#;
        line("ResponseComplete", "op", "patch", pods);
        line("ResponseComplete", "other", "patch", pods);
        line("ResponseStarted", "op", "watch", r#"{"resource":"deployments","apiGroup":"apps"}"#);
        line("ResponseComplete", "op", "watch", r#"{"resource":"deployments","apiGroup":"apps"}"#);
        line("ResponseComplete", "op", "get", "null");
        write!(log, r#"{{"stage":"Resp"#).unwrap();
        let all = Requests::of(log.path().to_owned());
        let requests = all.since(Mark(0), "op").unwrap();
        assert_eq!(
            rights(&requests).into_iter().collect::<Vec<_>>(),
            [Right::new("", "pods/status", "patch"), Right::new("apps", "deployments", "watch")]
        );
        assert_eq!((requests.len(), writes(&requests)), (2, 1));
        let first = requests.first().unwrap();
        assert_eq!((first.namespace.as_str(), first.name.as_str(), first.code), ("a", "b", 200));

        let end_of_first = fs::read_to_string(log.path()).unwrap().find('\n').unwrap() as u64 + 1;
        for mark in [1, end_of_first - 1, end_of_first] {
            assert_eq!(all.since(Mark(mark), "op").unwrap().len(), 1, "from {mark}");
        }
        let half = all.mark().unwrap();
        writeln!(log, "rest of it").unwrap();
        assert_eq!(all.since(half, "op").unwrap(), []);
    }
}
