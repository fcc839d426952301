//! One trace through every role; nothing of a mail in what the archive shows of itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use openarchive_domain::Digest;
use openarchive_e2e::{Agent, AgentOptions, Cluster, PeerMode, eventually};
use openarchive_testkit::smtp_client::{Reply, SmtpClient};
use reqwest::{Method, blocking::RequestBuilder};
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};

use crate::sink::{SeenSpan, Sink};

/// What no log, metric, span, error or job row may hold: of senders, recipients, subject, body, names, queries and reasons.
const MARKS: [&str; 9] = [
    "marksender7f3a",
    "markrecipient7f3a",
    "markbcc7f3a",
    "marksubject7f3a",
    "markbody7f3a",
    "markfile7f3a",
    "markname7f3a",
    "markquery7f3a",
    "markreason7f3a",
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

/// Answers the last reply.
fn send(agent: &Agent, mail: &[u8]) -> Reply {
    let mut client = SmtpClient::connect(&agent.smtp()).unwrap();
    let to = ["markrecipient7f3a@example.com".to_owned(), "markbcc7f3a@example.com".to_owned()];
    client.send("marksender7f3a@example.org", &to, mail).unwrap()
}

struct Site {
    sink: Sink,
    cluster: Cluster,
    agent: Agent,
    token: PathBuf,
    /// Of every process.
    environment: Vec<(String, String)>,
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
        let mut cluster = Cluster::start_with(&["acme"], environment.clone()).unwrap();
        permit_erasure(&mut cluster);
        let options = AgentOptions {
            name: "acme/mx1".into(),
            environment: environment.clone(),
            ..AgentOptions::default()
        };
        let mut agent = Agent::in_cluster(&cluster, 0, options).unwrap();
        agent.start();
        let token = cluster.root().join("acme.token");
        fs::write(&token, cluster.token("acme")).unwrap();
        Self { sink, cluster, agent, token, environment }
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

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let authority = fs::read(self.cluster.root().join("tls/ca.pem")).unwrap();
        let client = reqwest::blocking::Client::builder()
            .no_proxy()
            .tls_certs_only(reqwest::Certificate::from_pem_bundle(&authority).unwrap())
            .build()
            .unwrap();
        client
            .request(method, format!("{}{path}", self.cluster.gateway()[0]))
            .bearer_auth(fs::read_to_string(&self.token).unwrap().trim())
    }

    /// A search by a client that is part of a trace itself.
    fn search_within(&self, traceparent: &str, query: &str) -> Value {
        let request = self.request(Method::POST, "/api/v1/search/emails/");
        let answer = request.header("traceparent", traceparent).json(&json!({ "query": query })).send();
        answer.unwrap().json().unwrap()
    }

    /// What is refused says nothing of what was asked, in its headers neither.
    fn assert_refused_unmarked(&self, method: Method, path: &str, body: Option<&Value>) {
        let mut request = self.request(method, path);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().unwrap();
        assert!(answer.status().is_client_error(), "{path} {body:?}: {}", answer.status());
        assert_unmarked("the headers of a refusal", &format!("{:?}", answer.headers()));
        let text = answer.text().unwrap();
        assert!(text.contains("request_id"), "it is a problem document: {text}");
        assert_unmarked("the body of a refusal", &text);
    }

    /// Every row of the jobs' table, as the database's superuser sees it.
    fn job_rows(&self) -> Vec<String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut connection = PgConnection::connect(&self.cluster.database_url()).await.unwrap();
            sqlx::query_scalar("select j::text from jobs.job j").fetch_all(&mut connection).await.unwrap()
        })
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

/// Mail that comes from now on may be shredded.
fn permit_erasure(cluster: &mut Cluster) {
    for (index, role, replica) in cluster.services() {
        if role != "ingest" {
            continue;
        }
        let path = cluster.root().join(format!("{role}-{replica}.yaml"));
        let text = fs::read_to_string(&path).unwrap();
        let changed = text.replace("10y-received-forbidden", "2d-received-permitted");
        assert_ne!(text, changed);
        fs::write(&path, changed).unwrap();
        assert!(cluster.terminate(index));
        cluster.start_again(index);
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
    assert_eq!(send(&site.agent, &marked_mail(1)).code, 250);
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
    govern(&site);
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
        let refused = site.ctl(&["search", query]);
        assert_eq!(refused.code, 1, "{query}: {refused:?}");
        assert_unmarked("an error", &refused.stderr);
        let body = json!({ "query": query });
        site.assert_refused_unmarked(Method::POST, "/api/v1/search/emails/", Some(&body));
    }
    assert_ne!(site.ctl(&["message", "get", "markquery7f3a", "-o", out]).code, 0);
    site.assert_refused_unmarked(Method::GET, "/api/v1/archive/emails/markquery7f3a/", None);
    for body in [
        json!({ "markquery7f3a": "markquery7f3a" }),
        json!({ "query": "x", "limit": "markquery7f3a" }),
        json!("markquery7f3a"),
    ] {
        site.assert_refused_unmarked(Method::POST, "/api/v1/search/emails/", Some(&body));
    }
    let nothing = json!({ "query": "marksubject7f3a markquery7f3a", "reason": "markreason7f3a" });
    site.assert_refused_unmarked(Method::POST, "/api/v1/holds/", Some(&nothing));

    // Refused at SMTP: a bare LF in the mail.
    let bare = String::from_utf8(marked_mail(9)).unwrap().replace("is the text\r\n", "is the text\n");
    let refused = send(&site.agent, bare.as_bytes());
    assert_eq!(refused.code, 550, "{refused:?}");
    assert_unmarked("a refusal at SMTP", &refused.lines.join("\n"));

    // A job that fails, for as long as the index is away.
    let index = site.cluster.services().iter().find(|(_, role, _)| *role == "index").unwrap().0;
    assert!(site.cluster.terminate(index));
    assert_eq!(send(&site.agent, &marked_mail(2)).code, 250);
    let jobs = eventually("the job of the second mail has failed once", 60, || {
        let jobs = site.ctl(&["jobs", "list", "-o", "json"]).json();
        let failed = |job: &Value| !job["last_error"].as_str().unwrap_or_default().is_empty();
        jobs["jobs"].as_array().is_some_and(|jobs| jobs.iter().any(failed)).then_some(jobs)
    });
    assert_unmarked("a list of jobs", &jobs.to_string());
    let rows = site.job_rows();
    assert!(!rows.is_empty());
    assert_unmarked("a job row", &rows.join("\n"));
    site.cluster.start_again(index);
    site.wait_found("marksubject7f3a", 2);
    site.agent.wait_drained(60);
}

/// A hold by query, a mail in quarantine, a shred that is refused and one that is carried out, for reasons that stand in
/// none of what a role says of itself. One mail comes, one goes.
fn govern(site: &Site) {
    let id = |number| Digest::of(&marked_mail(number)).to_string();
    let done = |arguments: &[&str]| {
        let answer = site.ctl(arguments);
        assert_eq!(answer.code, 0, "{arguments:?}: {answer:?}");
        answer
    };
    let set = ["hold", "set", "--query", "marksubject7f3a number1", "--name", "case-1"];
    let held = done(&[&set[..], &["--reason", "markreason7f3a"]].concat());
    assert!(held.stdout.contains("hold case-1 keeps 1 mail\n"), "{held:?}");
    let refused = site.ctl(&["shred", &id(1), "--reason", "markreason7f3a", "--yes"]);
    assert!(refused.code == 1 && refused.stderr.contains("409"), "{refused:?}");
    assert_unmarked("a refused shred", &refused.stderr);
    done(&["hold", "release", "case-1", "--reason", "markreason7f3a"]);

    let options = AgentOptions {
        name: "acme/mx2".into(),
        mode: PeerMode::XEnvelopeTo,
        environment: site.environment.clone(),
        ..AgentOptions::default()
    };
    let mut agent = Agent::in_cluster(&site.cluster, 1, options).unwrap();
    agent.start();
    assert_eq!(send(&agent, &marked_mail(3)).code, 250);
    agent.wait_drained(60);
    site.wait_found("*", 3);
    let quarantined = done(&["quarantine", "list", "-o", "json"]).json();
    assert_eq!(quarantined["messages"].as_array().map(Vec::len), Some(1), "{quarantined}");
    assert_eq!(quarantined["messages"][0]["id"], id(3), "{quarantined}");
    done(&["quarantine", "release", &id(3), "--reason", "markreason7f3a"]);
    assert_unmarked("the other agent's metrics", &agent.metrics());
    agent.terminate();

    let order = done(&["shred", &id(2), "--reason", "markreason7f3a", "--yes"]).stdout.trim().to_owned();
    eventually("the shred is carried out", 60, || {
        let shown = site.ctl(&["shred", "show", &order, "-o", "json"]);
        (shown.code == 0 && shown.json()["state"] == "shredded").then_some(())
    });
    site.wait_found("*", 2);
    let gone = site.ctl(&["message", "show", &id(2)]);
    assert!(gone.code == 1 && gone.stderr.contains("404"), "{gone:?}");
}

fn assert_nothing_is_shown(site: &Site) {
    assert_unmarked("a job row", &site.job_rows().join("\n"));
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
