use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use futures::{StreamExt, stream};
use openarchive_domain::Digest;
use openarchive_mail::text::{Address as MailAddress, extract};
use openarchive_proto::{
    index::v1::{
        Address, DeleteMessagesRequest, Document, DocumentOutcome, IndexMessagesRequest,
        index_service_client::IndexServiceClient,
    },
    ingest::v1::{
        GetMessageRequest, GetMessagesRequest, OpenMessageRequest, Scope,
        catalogue_service_client::CatalogueServiceClient, scope,
    },
};
use openarchive_rpc::{RPC_MESSAGE_BYTES_MAX, RpcChannel};
use openarchive_telemetry::{batch_span, job_span};
use tracing::{Instrument as _, debug};

use crate::{Job, Queue, WorkerConfig};

/// The kind of the jobs that ingest writes beside each new message.
pub(crate) const KIND: &str = "index";

/// Why the catalogue does not give out a mail whose keys were destroyed.
const SHREDDED: &str = "SHREDDED";
/// Jobs claimed at once.
const BATCH_JOBS_MAX: i64 = 200;
/// Text in one call to the index, in bytes.
const BATCH_TEXT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Messages fetched from the archive at once.
const FETCHES_MAX: usize = 4;

/// Runs one batch and answers how many jobs it claimed. Each job ends on its own: a message that cannot be read or
/// indexed does not hold up its neighbours.
pub(crate) async fn run_batch(config: Arc<WorkerConfig>, queue: Queue) -> anyhow::Result<usize> {
    let jobs = queue.claim(KIND, BATCH_JOBS_MAX).await?;
    let claimed = jobs.len();
    if claimed == 0 {
        return Ok(0);
    }
    let ids: Vec<i64> = jobs.iter().map(|job| job.job_id).collect();
    let mut fetched = stream::iter(jobs)
        .map(|job| async {
            let span = job_span(KIND, job.traceparent.as_deref());
            (document(&config.catalogue, &job).instrument(span).await, job)
        })
        .buffer_unordered(FETCHES_MAX);
    let mut batch = Batch::default();
    while let Some((result, job)) = fetched.next().await {
        match result {
            Ok(document) => batch.push(job, document),
            // It was shredded since: the index must not know of it. It may, where this job was begun once before.
            Err(error) if error.downcast_ref::<Shredded>().is_some() => {
                let message =
                    digest_of(&job).map(|message| (job.tenant.clone(), message.as_bytes().to_vec()));
                match forget(&config, message.into_iter().collect()).await {
                    Ok(()) => queue.done(&[job.job_id]).await?,
                    Err(error) => queue.failed(&job, &format!("{error:#}")).await?,
                }
            }
            Err(error) => queue.failed(&job, &format!("{error:#}")).await?,
        }
        if batch.text_bytes >= BATCH_TEXT_BYTES_MAX {
            send(&config, &queue, std::mem::take(&mut batch)).await?;
            queue.heartbeat(&ids).await?;
        }
    }
    send(&config, &queue, batch).await?;
    debug!(claimed, "index batch done");
    Ok(claimed)
}

#[derive(Default)]
struct Batch {
    jobs: Vec<Job>,
    documents: Vec<Document>,
    text_bytes: usize,
}

impl Batch {
    fn push(&mut self, job: Job, document: Document) {
        self.text_bytes += document.body.len() + document.subject.len();
        self.jobs.push(job);
        self.documents.push(document);
    }
}

async fn send(config: &WorkerConfig, queue: &Queue, batch: Batch) -> anyhow::Result<()> {
    if batch.jobs.is_empty() {
        return Ok(());
    }
    let mut client =
        IndexServiceClient::new(config.index.clone()).max_encoding_message_size(RPC_MESSAGE_BYTES_MAX);
    let names: Vec<(String, Vec<u8>)> =
        batch.documents.iter().map(|document| (document.tenant.clone(), document.message.to_vec())).collect();
    let request = IndexMessagesRequest { documents: batch.documents };
    let span = batch_span("index batch", batch.jobs.iter().map(|job| job.traceparent.as_deref()));
    let results = match client.index_messages(request).instrument(span).await {
        Ok(response) => response.into_inner().results,
        Err(status) => {
            for job in &batch.jobs {
                queue
                    .failed(job, &format!("the index answers {}: {}", status.code(), status.message()))
                    .await?;
            }
            return Ok(());
        }
    };
    // Between reading and indexing it may have been ordered to be shredded, and the order carried out: who orders later
    // deletes later. A job is done only after this look.
    let forgotten = match gone(config, &names).await {
        Ok(gone) => forget(config, gone).await,
        Err(error) => Err(error),
    };
    if let Err(error) = forgotten {
        for job in &batch.jobs {
            queue.failed(job, &format!("{error:#}")).await?;
        }
        return Ok(());
    }
    let mut done = Vec::with_capacity(batch.jobs.len());
    for (job, result) in batch.jobs.iter().zip(results) {
        if result.outcome() == DocumentOutcome::Rejected {
            queue.dead(job, &format!("the index rejects the document: {}", result.reason)).await?;
        } else {
            done.push(job.job_id);
        }
    }
    queue.done(&done).await?;
    Ok(())
}

/// Those of these mails that the catalogue does not show any more.
async fn gone(config: &WorkerConfig, names: &[(String, Vec<u8>)]) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let mut catalogue = CatalogueServiceClient::new(config.catalogue.clone())
        .max_decoding_message_size(RPC_MESSAGE_BYTES_MAX);
    let mut gone = Vec::new();
    for (tenant, messages) in by_tenant(names) {
        let mut rest = messages.as_slice();
        while !rest.is_empty() {
            let request = GetMessagesRequest {
                scope: Some(everything()),
                tenant: tenant.clone(),
                messages: rest.iter().map(|message| message.clone().into()).collect(),
            };
            let answer = catalogue.get_messages(request).await;
            let answer = answer.map_err(|s| refused("whether it is still there", &s))?.into_inner();
            let answered = (answer.answered as usize).clamp(1, rest.len());
            let there: HashSet<&[u8]> = answer.messages.iter().map(|known| &known.message[..]).collect();
            let (asked, later) = rest.split_at(answered);
            let missing = asked.iter().filter(|message| !there.contains(message.as_slice()));
            gone.extend(missing.map(|message| (tenant.clone(), message.clone())));
            rest = later;
        }
    }
    Ok(gone)
}

/// The index knows nothing of these mails when it answers.
async fn forget(config: &WorkerConfig, names: Vec<(String, Vec<u8>)>) -> anyhow::Result<()> {
    let mut index = IndexServiceClient::new(config.index.clone());
    for (tenant, messages) in by_tenant(&names) {
        let messages = messages.into_iter().map(Into::into).collect();
        let request = DeleteMessagesRequest { tenant, messages };
        index.delete_messages(request).await.map_err(|s| refused("the index's entry", &s))?;
    }
    Ok(())
}

fn by_tenant(names: &[(String, Vec<u8>)]) -> BTreeMap<String, Vec<Vec<u8>>> {
    let mut all: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
    for (tenant, message) in names {
        all.entry(tenant.clone()).or_default().push(message.clone());
    }
    all
}

const fn everything() -> Scope {
    Scope { kind: Some(scope::Kind::All(scope::All {})) }
}

fn digest_of(job: &Job) -> Option<Digest> {
    let hex = job.payload.get("message").and_then(serde_json::Value::as_str)?;
    Digest::from_hex(hex).ok()
}

/// Reads one message back from the archive and makes what the index takes.
async fn document(catalogue: &RpcChannel, job: &Job) -> anyhow::Result<Document> {
    let message =
        digest_of(job).ok_or_else(|| anyhow::anyhow!("the job's payload names no message digest"))?;
    let scope = Some(everything());
    let digest = message.as_bytes().to_vec();
    let mut client =
        CatalogueServiceClient::new(catalogue.clone()).max_decoding_message_size(RPC_MESSAGE_BYTES_MAX);

    let request = GetMessageRequest { scope, tenant: job.tenant.clone(), message: digest.clone().into() };
    let known =
        client.get_message(request).await.map_err(|s| refused("its catalogue entry", &s))?.into_inner();
    let request = OpenMessageRequest { scope, tenant: job.tenant.clone(), message: digest.clone().into() };
    let mut stream = client.open_message(request).await.map_err(|s| refused("its bytes", &s))?.into_inner();
    let mut bytes = Vec::new();
    while let Some(piece) = stream.message().await.map_err(|s| refused("its bytes", &s))? {
        bytes.extend_from_slice(&piece.chunk);
    }
    let text = tokio::task::spawn_blocking(move || extract(&bytes)).await?;

    let archived_at = known.message.as_ref().map(|m| m.archived_at.clone()).unwrap_or_default();
    let fallback = archived_at
        .parse::<openarchive_domain::Timestamp>()
        .map_or(0, openarchive_domain::Timestamp::as_millis);
    let mut bcc: HashMap<String, String> =
        text.bcc.into_iter().map(|address| (address.address, address.name)).collect();
    for recipient in known.observations.iter().filter_map(|o| o.envelope.as_ref()).flat_map(|e| &e.to) {
        bcc.entry(recipient.clone()).or_default();
    }
    let mut bcc: Vec<Address> = bcc.into_iter().map(|(address, name)| Address { name, address }).collect();
    bcc.sort_by(|a, b| a.address.cmp(&b.address));
    // What is not shown of many observations has recipients that cannot be found by.
    let is_partial = known.observation_count > known.observations.len() as u64;
    Ok(Document {
        length: known.message.as_ref().map_or(0, |message| message.length),
        agents: known.agents,
        observations: known.observation_count,
        tenant: job.tenant.clone(),
        message: digest.into(),
        from: addresses(text.from),
        to: addresses(text.to),
        cc: addresses(text.cc),
        bcc,
        subject: text.subject,
        body: text.body,
        attachments: text.attachments,
        message_id: text.message_id.unwrap_or_default(),
        date_millis: text.date.map_or(fallback, openarchive_domain::Timestamp::as_millis),
        partly_indexed: text.partly_indexed || is_partial,
    })
}

fn addresses(found: Vec<MailAddress>) -> Vec<Address> {
    found.into_iter().map(|address| Address { name: address.name, address: address.address }).collect()
}

/// The mail is not there any more.
#[derive(Debug, thiserror::Error)]
#[error("it was shredded")]
struct Shredded;

fn refused(what: &str, status: &tonic::Status) -> anyhow::Error {
    if openarchive_rpc::has_reason(status, SHREDDED) {
        return Shredded.into();
    }
    anyhow::anyhow!("{what} cannot be read: {} {}", status.code(), status.message())
}
