use std::{
    io,
    sync::{Arc, Mutex},
};

use openarchive_telemetry::metrics;
use openarchive_topology::Role;
use tower::{Layer as _, ServiceExt as _, service_fn};

use super::*;

const APPEND: &str = "/openarchive.trust.v1.TrustService/Append";
const WRAP_KEYS: &str = "/openarchive.trust.v1.TrustService/WrapKeys";

fn counted(labels: &str) -> bool {
    let line = format!("openarchive_authorisation_refusals_total{{{labels}");
    metrics::render().lines().any(|counted| counted.starts_with(&line))
}

/// What is logged by whoever runs on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The answer's status, whom the handler saw, and what was logged.
async fn answer(rule: &Authorise, path: &str) -> (Code, Option<PeerIdentity>, String) {
    let handler = service_fn(async |request: Request<()>| {
        let mut response = Response::new(String::new());
        response.extensions_mut().insert(request.extensions().get::<PeerIdentity>().cloned());
        Ok::<_, std::convert::Infallible>(response)
    });
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
    let response = {
        let _guard = tracing::subscriber::set_default(subscriber);
        let request = Request::builder().uri(path).body(()).unwrap();
        rule.layer(handler).oneshot(request).await.unwrap()
    };
    let code = Status::from_header_map(response.headers()).map_or(Code::Ok, |status| status.code());
    let seen = response.extensions().get::<Option<PeerIdentity>>().cloned().flatten();
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    (code, seen, text)
}

#[tokio::test]
async fn who_may_call_is_known_to_the_handler_and_nothing_is_logged() {
    let rule = Authorise::fixed(Role::Storage.into());
    let (code, seen, log) = answer(&rule, APPEND).await;
    assert_eq!((code, seen), (Code::Ok, Some(PeerIdentity::Service(Role::Storage))));
    assert_eq!(log, "");
    assert!(!counted("method=\"openarchive.trust.v1.TrustService/Append\",caller=\"storage\""));
}

#[tokio::test]
async fn a_refusal_is_counted_and_logged_with_method_and_class_but_without_a_name() {
    let rule = Authorise::fixed(PeerIdentity::local_agent("acme/mx1".parse().unwrap()));
    let (code, seen, log) = answer(&rule, WRAP_KEYS).await;
    assert_eq!((code, seen), (Code::PermissionDenied, None));
    assert!(log.contains(&WRAP_KEYS[1..]) && log.contains("caller=\"agent\""), "{log}");
    assert!(!log.contains("acme") && !log.contains("mx1"), "{log}");
    assert!(counted("method=\"openarchive.trust.v1.TrustService/WrapKeys\",caller=\"agent\"} 1"));
}

#[tokio::test]
async fn a_callers_own_text_is_not_logged_as_a_method() {
    let rule = Authorise::fixed(Role::Trust.into());
    let (code, _, log) = answer(&rule, "/alice@example.org/Subject").await;
    assert_eq!(code, Code::PermissionDenied);
    assert!(log.contains("method=\"unknown\"") && !log.contains("alice"), "{log}");
    assert!(!metrics::render().contains("alice"));
}

#[tokio::test]
async fn over_a_socket_without_certificate_nobody_is_known_whatever_the_request_claims() {
    let rule = Authorise::by_certificate("archive.test");
    let (code, seen, _) = answer(&rule, APPEND).await;
    assert_eq!((code, seen), (Code::Unauthenticated, None));

    // What another layer may have left there does not count.
    let handler =
        service_fn(async |_: Request<()>| Ok::<_, std::convert::Infallible>(Response::new(String::new())));
    let mut request = Request::builder().uri(APPEND).body(()).unwrap();
    request.extensions_mut().insert(PeerIdentity::Service(Role::Ingest));
    let response = rule.layer(handler).oneshot(request).await.unwrap();
    assert_eq!(Status::from_header_map(response.headers()).unwrap().code(), Code::Unauthenticated);
}
