//! A gateway that is killed between the audit leaf and the answer: the leaf stands, and nobody got a byte.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    sync::Arc,
    thread,
    time::Duration,
};

use openarchive_domain::Digest;
use openarchive_e2e::{Cluster, eventually};
use openarchive_testkit::{sample_mail::sample_mail, smtp_client::SmtpClient};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use serde_json::Value;
use sqlx::{Connection as _, PgConnection};
use tokio::runtime::Runtime;

use crate::separate::{agent, token_file};

/// Longest silence on a connection; the gateway is killed long before.
const SILENCE_MAX: Duration = Duration::from_secs(90);

/// Method, path in which `{id}` is a mail, body, and the action that the leaf names.
type Read = (&'static str, &'static str, &'static str, &'static str);

const EML: Read = ("GET", "/api/v1/archive/emails/{id}/eml", "", "message.read");

/// Everything that a person can read.
const READS: [Read; 10] = [
    EML,
    ("POST", "/api/v1/search/emails/", r#"{"query":"*"}"#, "search"),
    ("POST", "/api/v1/search/emails/", r#"{"query":"*","highlight":true}"#, "search.highlight"),
    ("GET", "/api/v1/archive/emails/{id}/", "", "message.view"),
    ("GET", "/api/v1/archive/emails/{id}/text", "", "message.text"),
    ("GET", "/api/v1/archive/emails/{id}/proof", "", "message.proof"),
    ("GET", "/api/v1/completeness/", "", "completeness.read"),
    ("GET", "/api/v1/audit/?objects=true", "", "audit.list"),
    ("GET", "/api/v1/agents/", "", "agents.list"),
    ("GET", "/api/v1/jobs/", "", "jobs.list"),
];

/// A client that keeps each byte it gets.
struct Client {
    address: String,
    tls: Arc<ClientConfig>,
    token: String,
    message: String,
}

impl Client {
    fn new(cluster: &Cluster, token: &Path, message: String) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(cluster.root().join("tls/ca.pem")).unwrap()).unwrap();
        let tls = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let address = cluster.gateway()[0].replace("https://", "");
        let token = fs::read_to_string(token).unwrap().trim().to_owned();
        Self { address, tls: Arc::new(tls), token, message }
    }

    /// Everything that came until the connection ended, in whatever way.
    fn ask(&self, (method, path, body, _): Read, request: &str) -> Vec<u8> {
        let name = ServerName::try_from("localhost").unwrap();
        let connection = ClientConnection::new(self.tls.clone(), name).unwrap();
        let socket = TcpStream::connect(&self.address).unwrap();
        socket.set_read_timeout(Some(SILENCE_MAX)).unwrap();
        let mut stream = StreamOwned::new(connection, socket);
        let (path, token) = (path.replace("{id}", &self.message), &self.token);
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
             X-Request-Id: {request}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = Vec::new();
        // Whoever is killed does not say goodbye: what came before it is kept all the same.
        let _ = stream.read_to_end(&mut answer);
        answer
    }
}

/// The database's superuser, on a connection of its own.
struct Database {
    runtime: Runtime,
    connection: PgConnection,
}

impl Database {
    fn connect(cluster: &Cluster) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let connection = runtime.block_on(PgConnection::connect(&cluster.database_url())).unwrap();
        Self { runtime, connection }
    }

    fn run(&mut self, statement: &'static str) {
        self.runtime.block_on(sqlx::query(statement).execute(&mut self.connection)).unwrap();
    }

    fn count(&mut self, statement: &'static str) -> i64 {
        self.runtime.block_on(sqlx::query_scalar(statement).fetch_one(&mut self.connection)).unwrap()
    }
}

fn holds(answer: &[u8], content: &[u8]) -> bool {
    answer.windows(content.len()).any(|window| window == content)
}

fn request(number: usize) -> String {
    format!("killed-{number}")
}

#[test]
fn a_gateway_killed_after_the_leaf_leaves_the_leaf_and_gave_no_byte_of_an_answer() {
    let mut cluster = Cluster::start(&["acme"]).unwrap();
    let agent = agent(&cluster, 0, "acme/mx1");
    let token = token_file(&cluster, "acme");
    let mail = sample_mail(47, 1).remove(0);
    let mut smtp = SmtpClient::connect(&agent.smtp()).unwrap();
    assert_eq!(smtp.send(&mail.from, &mail.to, &mail.bytes).unwrap().code, 250);
    agent.wait_drained(60);
    eventually("the mail is searchable", 60, || {
        let found = cluster.ctl(1, &token, &["search", "*", "-o", "json"]);
        (found.code == 0 && found.json()["total"] == 1).then_some(())
    });
    let client = Client::new(&cluster, &token, Digest::of(&mail.bytes).to_string());
    assert!(holds(&client.ask(EML, "before"), &mail.bytes), "as long as it lives it answers");

    // What is written after the leaf waits, and with it the answer.
    let mut database = Database::connect(&cluster);
    database.run("begin");
    database.run("lock table gateway.audit_record in share mode");
    let gateway = cluster.services().iter().find(|(_, role, _)| *role == "gateway").unwrap().0;
    let answers: Vec<Vec<u8>> = thread::scope(|scope| {
        let asking: Vec<_> = READS
            .iter()
            .enumerate()
            .map(|(number, read)| {
                let client = &client;
                scope.spawn(move || client.ask(*read, &request(number)))
            })
            .collect();
        eventually("every read stands between its leaf and its answer", 60, || {
            let waiting = database.count(
                "select count(*) from pg_locks
                 where relation = 'gateway.audit_record'::regclass and not granted",
            );
            (waiting == READS.len() as i64).then_some(())
        });
        cluster.kill(gateway);
        asking.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    for ((.., action), answer) in READS.iter().zip(&answers) {
        assert!(answer.is_empty(), "{action}: {}", String::from_utf8_lossy(answer));
    }
    database.run("rollback");
    let kept = database.count("select count(*) from gateway.audit_record where request like 'killed-%'");
    assert_eq!(kept, 0, "it was killed before that");

    cluster.start_again(gateway);
    let list = cluster.ctl(0, &token, &["audit", "list", "--objects", "-o", "json"]).json();
    let leaves = list["leaves"].as_array().unwrap();
    for (number, (.., action)) in READS.iter().enumerate() {
        let own: Vec<&Value> = leaves.iter().filter(|leaf| leaf["request"] == request(number)).collect();
        assert_eq!(own.len(), 1, "{action}: {list}");
        assert_eq!((&own[0]["action"], own[0].get("object")), (&(*action).into(), None), "{list}");
    }
    assert!(holds(&client.ask(EML, "after"), &mail.bytes), "asked again, it answers");
}
