//! One trace through every role; nothing of a mail in what the archive shows of itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use openarchive_domain::Digest;
use openarchive_e2e::{Agent, AgentOptions, Cluster, eventually};
use openarchive_testkit::smtp_client::SmtpClient;
use serde_json::{Value, json};

use crate::sink::{SeenSpan, Sink};

/// What no log, metric, span, error or job row may hold: of senders, recipients, subject, body, names and queries.
const MARKS: [&str; 8] = [
    "marksender7f3a",
    "markrecipient7f3a",
    "markbcc7f3a",
    "marksubject7f3a",
    "markbody7f3a",
    "markfile7f3a",
    "markname7f3a",
    "markquery7f3a",
];

fn marked_mail(number: usize) -> Vec<u8> {
    format!(
        "From: Markname7f3a <marksender7f3a@example.org>\r\nTo: markrecipient7f3a@example.com\r\n\
         Subject: marksubject7f3a {number}\r\nDate: Fri, 1 Mar 2024 08:00:00 +0000\r\n\
         Message-ID: <markbody7f3a-{number}@example.org>\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\n\
         markbody7f3a number{number} is the text\r\n--b\r\n\
         Content-Type: text/plain; name=\"markfile7f3a.txt\"\r\n\
         Content-Disposition: attachment; filename=\"markfile7f3a.txt\"\r\n\
         Content-Transfer-Encoding: base64\r\n\r\nbWFya2JvZHk3ZjNhIGluIGEgZmlsZQ==\r\n--b--\r\n"
    )
    .into_bytes()
}

/// Answers the last reply's code.
fn send(agent: &Agent, mail: &[u8]) -> u16 {
    let mut client = SmtpClient::connect(&agent.smtp()).unwrap();
    let to = ["markrecipient7f3a@example.com".to_owned(), "markbcc7f3a@example.com".to_owned()];
    client.send("marksender7f3a@example.org", &to, mail).unwrap().code
}

struct Site {
    sink: Sink,
    cluster: Cluster,
    agent: Agent,
    token: PathBuf,
}

impl Site {
    fn start() -> Self {
        let sink = Sink::start();
        let environment = vec![
            ("OPENARCHIVE_OTLP_ENDPOINT".to_owned(), sink.endpoint()),
            ("OPENARCHIVE_LOG_FORMAT".to_owned(), "json".to_owned()),
            // Everything that our own code can say.
            ("OPENARCHIVE_LOG".to_owned(), "info,openarchive=trace".to_owned()),
        ];
        let cluster = Cluster::start_with(&["acme"], environment.clone()).unwrap();
        let options = AgentOptions { name: "acme/mx1".into(), environment, ..AgentOptions::default() };
        let mut agent = Agent::in_cluster(&cluster, 0, options).unwrap();
        agent.start();
        let token = cluster.root().join("acme.token");
        fs::write(&token, cluster.token("acme")).unwrap();
        Self { sink, cluster, agent, token }
    }

    fn ctl(&self, arguments: &[&str]) -> openarchive_e2e::Ctl {
        self.cluster.ctl(0, &self.token, arguments)
    }

    fn wait_found(&self, query: &str, count: u64) {
        eventually(&format!("{count} hits of {query}"), 60, || {
            let answer = self.ctl(&["search", query, "-o", "json"]);
            (answer.code == 0 && answer.json()["total"] == count).then_some(())
        });
    }

    /// A search by a client that is part of a trace itself.
    fn search_within(&self, traceparent: &str, query: &str) -> Value {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let authority = fs::read(self.cluster.root().join("tls/ca.pem")).unwrap();
        let client = reqwest::blocking::Client::builder()
            .no_proxy()
            .tls_certs_only(reqwest::Certificate::from_pem_bundle(&authority).unwrap())
            .build()
            .unwrap();
        let answer = client
            .post(format!("{}/api/v1/search/emails/", self.cluster.gateway()[0]))
            .bearer_auth(fs::read_to_string(&self.token).unwrap().trim())
            .header("traceparent", traceparent)
            .json(&json!({ "query": query }))
            .send()
            .unwrap();
        answer.json().unwrap()
    }

    /// Every log file, by its path.
    fn logs(&self) -> BTreeMap<PathBuf, String> {
        let mut logs = BTreeMap::new();
        let mut folders = vec![self.cluster.root().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "log") {
                    logs.insert(path.clone(), fs::read_to_string(&path).unwrap());
                }
            }
        }
        logs
    }
}

/// The trace in which the agent sent something, once it has spans of all `services` and each but the first hangs on
/// another: every process sends its own in its own time.
fn trace_through(sink: &Sink, services: &[&str]) -> (String, Vec<SeenSpan>) {
    let wanted: BTreeSet<&str> = services.iter().copied().collect();
    eventually(&format!("one trace through {services:?}"), 60, || {
        let spans = sink.spans();
        let begun = spans.iter().filter(|span| span.name == "send batch" && span.parent.is_empty());
        begun.map(|span| span.trace_id.clone()).find_map(|trace| {
            let own: Vec<SeenSpan> = spans.iter().filter(|span| span.trace_id == trace).cloned().collect();
            let seen: BTreeSet<&str> = own.iter().map(|span| span.service.as_str()).collect();
            let ids: BTreeSet<&str> = own.iter().map(|span| span.span_id.as_str()).collect();
            let whole = own.iter().all(|span| span.parent.is_empty() || ids.contains(span.parent.as_str()));
            (whole && wanted.is_subset(&seen)).then_some((trace, own.clone()))
        })
    })
}

fn has_line_of(log: &str, trace: &str) -> bool {
    log.lines().any(|line| {
        let line: Value = serde_json::from_str(line).unwrap_or_default();
        line["trace_id"] == trace && line["request_id"].is_string()
    })
}

fn assert_unmarked(what: &str, text: &str) {
    let text = text.to_lowercase();
    for mark in MARKS {
        let shown = text.find(mark).map(|at| {
            let from = text.floor_char_boundary(at.saturating_sub(200));
            &text[from..at + mark.len()]
        });
        assert_eq!(shown, None, "{what} holds {mark}");
    }
}

#[test]
fn one_trace_goes_through_every_role_and_nothing_of_a_mail_is_shown_anywhere() {
    let mut site = Site::start();
    assert_eq!(send(&site.agent, &marked_mail(1)), 250);
    site.agent.wait_drained(60);
    site.wait_found("marksubject7f3a", 1);

    // The mail's way: agent -> ingest -> storage and trust; job row -> worker -> index.
    let cores = ["ingest", "storage", "trust", "worker", "index"].map(|role| format!("openarchive-{role}"));
    let mut services: Vec<&str> = cores.iter().map(String::as_str).collect();
    services.push("openarchive-agent");
    let (trace, spans) = trace_through(&site.sink, &services);

    // A client that goes on in that trace brings the gateway into it, and index and trust behind it.
    let first = spans.iter().find(|span| span.parent.is_empty()).unwrap();
    assert_eq!((first.attributes["role"].as_str(), first.links.len()), ("agent", 0));
    let found =
        site.search_within(&format!("00-{trace}-{}-01", first.span_id), "marksubject7f3a markquery7f3a");
    assert_eq!(found["total"], 0, "{found}");
    services.push("openarchive-gateway");
    // The gateway sends its spans before or after those of whom it called.
    eventually("the gateway's calls are in the trace", 60, || {
        let (_, spans) = trace_through(&site.sink, &services);
        let gateways: BTreeSet<&str> = spans
            .iter()
            .filter(|span| span.service == "openarchive-gateway")
            .map(|span| span.span_id.as_str())
            .collect();
        let called = |span: &SeenSpan| {
            span.service != "openarchive-gateway" && gateways.contains(span.parent.as_str())
        };
        spans.iter().any(called).then_some(())
    });

    // Each role's log has lines of the trace.
    let logs = site.logs();
    for role in ["ingest", "storage", "trust", "index", "gateway"] {
        let lines = logs.iter().filter(|(path, _)| names(path).starts_with(role));
        assert!(lines.clone().any(|(_, log)| has_line_of(log, &trace)), "{role} logs nothing of the trace");
    }

    read_and_fail(&mut site);
    assert_nothing_is_shown(&site);
}

fn names(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap()
}

/// Everything a person can do with a mail, and what goes wrong: each of it is logged and counted.
fn read_and_fail(site: &mut Site) {
    let id = Digest::of(&marked_mail(1)).to_string();
    let out = site.cluster.root().join("out.eml");
    let out = out.to_str().unwrap();
    assert_eq!(site.ctl(&["message", "get", &id, "-o", out]).code, 0);
    assert_eq!(site.ctl(&["message", "show", &id]).code, 0);
    for query in ["subject:(markquery7f3a", "nofield:markquery7f3a", "markquery7f3a AND", "\"markquery7f3a"] {
        assert_ne!(site.ctl(&["search", query]).code, 0, "{query}");
    }
    assert_ne!(site.ctl(&["message", "get", "markquery7f3a", "-o", out]).code, 0);

    // Refused at SMTP: a bare LF in the mail.
    let bare = String::from_utf8(marked_mail(9)).unwrap().replace("is the text\r\n", "is the text\n");
    assert_eq!(send(&site.agent, bare.as_bytes()), 550);

    // A job that fails, for as long as the index is away.
    let index = site.cluster.services().iter().find(|(_, role, _)| *role == "index").unwrap().0;
    assert!(site.cluster.terminate(index));
    assert_eq!(send(&site.agent, &marked_mail(2)), 250);
    let jobs = eventually("the job of the second mail has failed once", 60, || {
        let jobs = site.ctl(&["jobs", "list", "-o", "json"]).json();
        let failed = |job: &Value| !job["last_error"].as_str().unwrap_or_default().is_empty();
        jobs["jobs"].as_array().is_some_and(|jobs| jobs.iter().any(failed)).then_some(jobs)
    });
    assert_unmarked("a job row", &jobs.to_string());
    site.cluster.start_again(index);
    site.wait_found("marksubject7f3a", 2);
    site.agent.wait_drained(60);
}

fn assert_nothing_is_shown(site: &Site) {
    for (path, log) in site.logs() {
        assert_unmarked(&path.display().to_string(), &log);
    }
    for (index, role, replica) in site.cluster.services() {
        let metrics = site.cluster.metrics(index);
        assert!(metrics.contains("openarchive_process_uptime_seconds"), "{role} {replica}: {metrics}");
        assert_unmarked(&format!("the metrics of {role} {replica}"), &metrics);
    }
    let metrics = site.agent.metrics();
    for expected in [
        "openarchive_edge_smtp_mails_total{reply=\"2xx\"} 2\n",
        "openarchive_edge_smtp_mails_total{reply=\"5xx\"} 1\n",
        "openarchive_edge_uploads_total",
        "openarchive_edge_buffer_messages",
    ] {
        assert!(metrics.contains(expected), "{expected}: {metrics}");
    }
    assert_unmarked("the agent's metrics", &metrics);
    let spans = site.sink.spans();
    assert!(spans.len() > 20, "{}", spans.len());
    assert_unmarked("a span", &format!("{spans:?}"));
    counted(site);
}

/// What this day must have left in the metrics of each role, over its replicas.
fn counted(site: &Site) {
    let services = site.cluster.services();
    let shown = |role: &str| {
        let replicas = services.iter().filter(|(_, other, _)| *other == role);
        replicas.map(|(index, ..)| site.cluster.metrics(*index)).collect::<String>()
    };
    for (role, metric) in [
        ("ingest", "openarchive_ingest_observations_total"),
        ("storage", "openarchive_storage_blobs_total{outcome=\"stored\"}"),
        ("storage", "openarchive_storage_pack_flushes_total{outcome=\"done\"}"),
        ("storage", "openarchive_storage_pack_bytes_total"),
        ("trust", "openarchive_trust_leaves_total{log=\"acme/evidence\"}"),
        ("trust", "openarchive_trust_checkpoint_timestamp_seconds{log=\"acme/evidence\"}"),
        ("trust", "openarchive_trust_oldest_pending_leaf_timestamp_seconds{log=\"acme/evidence\"}"),
        ("index", "openarchive_index_documents{} 2"),
        ("index", "openarchive_index_search_seconds_count"),
        ("gateway", "openarchive_http_requests_total{route=\"POST /api/v1/search/emails/\",status=\"200\"}"),
        ("gateway", "openarchive_gateway_audit_leaf_seconds_count"),
        ("worker", "openarchive_build_info{role=\"worker\""),
    ] {
        assert!(shown(role).contains(metric), "{role} does not show {metric}:\n{}", shown(role));
    }
}
