//! Calls to the gateway.

use std::{
    error::Error,
    io::{self, Read as _},
    time::Duration,
};

use reqwest::{
    Certificate, Method, StatusCode, Url,
    blocking::{Client, RequestBuilder, Response},
    header::{AUTHORIZATION, HeaderMap, HeaderValue},
    redirect,
};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    connection::{Connection, is_loopback},
    failure::Failure,
};

/// Longest wait for a connection.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);
/// Longest wait for an answer to begin, and for each further piece of it.
const WAIT_MAX: Duration = Duration::from_secs(90);
/// Longest answer that is not a mail, in bytes.
const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The gateway of one archive.
pub(crate) struct Api {
    client: Client,
    url: Url,
}

impl Api {
    pub(crate) fn connect(connection: Connection) -> Result<Self, Failure> {
        // Another provider cannot have been installed: this is the only place.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut bearer = HeaderValue::from_str(&format!("Bearer {}", connection.token))
            .map_err(|_| Failure::other("the API token holds characters that no token has"))?;
        bearer.set_sensitive(true);
        let mut builder = Client::builder()
            .user_agent(concat!("archivectl/", env!("CARGO_PKG_VERSION")))
            .default_headers(HeaderMap::from_iter([(AUTHORIZATION, bearer)]))
            .connect_timeout(CONNECT_TIME_MAX)
            .timeout(WAIT_MAX)
            // A redirect could lead the token elsewhere.
            .redirect(redirect::Policy::none());
        if is_loopback(&connection.url) {
            builder = builder.no_proxy();
        }
        if let Some(authorities) = &connection.authorities {
            let certificates = Certificate::from_pem_bundle(authorities).map_err(|error| {
                Failure::other(format!("the certificate authority's file is no PEM: {error}"))
            })?;
            builder = builder.tls_certs_only(certificates);
        }
        let client = builder
            .build()
            .map_err(|error| Failure::other(format!("cannot set up TLS: {}", innermost(&error))))?;
        Ok(Self { client, url: connection.url })
    }

    /// JSON of a GET.
    pub(crate) fn get(&self, path: &str, parameters: &[(&str, String)]) -> Result<Value, Failure> {
        json(self.send(self.request(Method::GET, path).query(parameters))?)
    }

    /// JSON of a POST.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        json(self.send(self.request(Method::POST, path).json(body))?)
    }

    /// Text of a GET.
    pub(crate) fn text(&self, path: &str, parameters: &[(&str, String)]) -> Result<String, Failure> {
        let bytes = whole(self.send(self.request(Method::GET, path).query(parameters))?)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// A GET whose body is still to be read.
    pub(crate) fn stream(&self, path: &str) -> Result<Response, Failure> {
        self.send(self.request(Method::GET, path))
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url.as_str().trim_end_matches('/')))
    }

    fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let response = request.send().map_err(|error| self.unreachable(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = whole(response).unwrap_or_default();
        Err(refused(status, &body, self.url.as_str()))
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        Failure::other(format!(
            "cannot reach the archive at {}: {}: is it running, is the address right?",
            self.url,
            innermost(error)
        ))
    }
}

/// A problem document (RFC 9457), as far as it is shown.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Problem {
    title: String,
    detail: String,
    request_id: String,
}

fn refused(status: StatusCode, body: &[u8], url: &str) -> Failure {
    let problem: Problem = serde_json::from_slice(body).unwrap_or_default();
    if problem.title.is_empty() {
        return Failure::other(format!("{url} answers {status}: is it the gateway of an archive?"));
    }
    Failure::other(format!(
        "{}: {} ({} from {url}, request {})",
        problem.title,
        problem.detail,
        status.as_u16(),
        problem.request_id
    ))
}

fn json(response: Response) -> Result<Value, Failure> {
    serde_json::from_slice(&whole(response)?).map_err(|error| {
        Failure::other(format!("the archive's answer is not JSON ({error}): is it the gateway?"))
    })
}

fn whole(response: Response) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    response.take(ANSWER_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| broke_off(&error))?;
    if bytes.len() as u64 > ANSWER_BYTES_MAX {
        return Err(Failure::other("the archive's answer is too long: ask for less at once"));
    }
    Ok(bytes)
}

/// An answer that began and did not end.
pub(crate) fn broke_off(error: &io::Error) -> Failure {
    Failure::other(format!(
        "the archive's answer broke off: {}: try again, then look at its log",
        innermost(error)
    ))
}

fn innermost(error: &dyn Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_one_line_with_the_request_to_look_for() {
        let check = |status, body: &str, expected: &str| {
            assert_eq!(refused(status, body.as_bytes(), "https://a.test/").to_string(), expected);
        };
        check(
            StatusCode::SERVICE_UNAVAILABLE,
            r#"{"type":"tag:x","title":"Not now","status":503,"detail":"try again","request_id":"r-1"}"#,
            "Not now: try again (503 from https://a.test/, request r-1)",
        );
        let elsewhere = "https://a.test/ answers 404 Not Found: is it the gateway of an archive?";
        check(StatusCode::NOT_FOUND, "<html>", elsewhere);
        check(StatusCode::NOT_FOUND, "", elsewhere);
    }
}
