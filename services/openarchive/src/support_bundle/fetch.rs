//! What running processes say of themselves, over HTTP.

use std::{fs, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use openarchive_telemetry::http_get;
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;

use super::Entry;

/// Longest wait for one answer.
const ANSWER_SECONDS_MAX: u64 = 10;
/// Longest answer that is taken in, in bytes.
const ANSWER_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Health, jobs and checkpoints of the archive that runs over a data folder; why not, where it does not.
pub(super) async fn of_running(root: &Path) -> Vec<Entry> {
    let text = fs::read_to_string(root.join("endpoints.json")).unwrap_or_default();
    let endpoints: Value = serde_json::from_str(&text).unwrap_or_default();
    let Some(gateway) = endpoints["gateway"].as_str().and_then(|url| url.strip_prefix("https://")) else {
        return vec![Entry::json("health.json", &json!({ "runs": false }))];
    };
    let health = match rest(root, gateway, "/api/v1/health", None).await {
        Ok(health) => json!({ "runs": true, "health": health }),
        Err(error) => json!({ "runs": false, "why": format!("{error:#}") }),
    };
    let mut entries = vec![Entry::json("health.json", &health)];
    let token = fs::read_to_string(root.join("api-token")).unwrap_or_default();
    match rest(root, gateway, "/api/v1/jobs/?state=dead", Some(token.trim())).await {
        Ok(answer) => entries.push(Entry::json("jobs.json", &jobs(&answer))),
        Err(error) => {
            entries.push(Entry::json("jobs.json", &json!({ "unreadable": format!("{error:#}") })));
        }
    }
    entries
}

/// Counts, and of dead jobs what is no name of anything. Field by field, so that nothing comes along.
fn jobs(answer: &Value) -> Value {
    let dead: Vec<Value> = answer["jobs"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|job| {
            json!({
                "id": job["id"], "kind": job["kind"], "state": job["state"], "attempts": job["attempts"],
                "last_error": job["last_error"], "created_at": job["created_at"],
            })
        })
        .collect();
    json!({
        "ready": answer["ready"], "running": answer["running"], "dead": answer["dead"], "dead_jobs": dead,
    })
}

/// Readiness and metrics of one role.
pub(super) async fn of_admin(address: SocketAddr) -> Vec<Entry> {
    let ready = match plain(address, "/readyz").await {
        Ok((status, body)) => json!({ "status": status, "answer": body }),
        Err(error) => json!({ "unreachable": format!("{error:#}") }),
    };
    let mut entries = vec![Entry::json("readiness.json", &ready)];
    if let Ok((200, text)) = plain(address, "/metrics").await {
        entries.push(Entry { name: "metrics.txt", text });
    }
    entries
}

async fn plain(address: SocketAddr, path: &str) -> anyhow::Result<(u16, String)> {
    within_time(async {
        let stream = TcpStream::connect(address).await.context("nothing listens at listen.admin")?;
        Ok(http_get(stream, "localhost", path, None, ANSWER_BYTES_MAX).await?)
    })
    .await
}

/// A JSON answer of the gateway at HOST:PORT, whose certificate the data folder's own authority must have signed.
async fn rest(root: &Path, gateway: &str, path: &str, token: Option<&str>) -> anyhow::Result<Value> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(root.join("tls/ca.pem"))? {
        roots.add(certificate?)?;
    }
    let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let (host, _) = gateway.rsplit_once(':').context("endpoints.json names no port")?;
    let name = ServerName::try_from(host.to_owned())?;
    let (status, body) = within_time(async {
        let stream = TcpStream::connect(gateway).await.context("the gateway does not listen")?;
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        Ok(http_get(stream, host, path, token, ANSWER_BYTES_MAX).await?)
    })
    .await?;
    match serde_json::from_str(&body) {
        Ok(answer) if status == 200 || status == 503 => Ok(answer),
        _ => bail!("the gateway answers {status}"),
    }
}

async fn within_time<T>(answer: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    timeout(Duration::from_secs(ANSWER_SECONDS_MAX), answer)
        .await
        .with_context(|| format!("no answer within {ANSWER_SECONDS_MAX} s"))?
}
