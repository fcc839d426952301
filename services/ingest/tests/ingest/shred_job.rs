//! The worker carries orders out, over the real services, interrupted between any two steps.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::future::BoxFuture;
use openarchive_index::{IndexServer, engine};
use openarchive_proto::{
    index::v1::{
        CountRequest, index_service_client::IndexServiceClient, index_service_server::IndexServiceServer,
    },
    ingest::v1::ShredCause,
};
use openarchive_rpc::{Role, RpcChannel, in_process_as};
use openarchive_schema::DatabaseRole;
use openarchive_worker::{Worker, WorkerConfig};
use tempfile::TempDir;
use tokio::sync::{Semaphore, watch};
use tonic::{
    body::Body,
    codegen::{Service, http},
    server::NamedService,
};

use crate::{
    agent::{Mail, noise},
    archive::{Archive, TENANT, WAIT_MAX, everything},
    faults::{Fails, Faults, Faulty},
    governance::{keys_left, permitted},
};

/// A service whose calls of one method wait at a gate.
#[derive(Clone)]
struct Gated<S> {
    inner: S,
    method: &'static str,
    gate: Arc<Semaphore>,
    waiting: watch::Sender<u32>,
}

impl<S: NamedService> NamedService for Gated<S> {
    const NAME: &'static str = S::NAME;
}

type Answer = http::Response<Body>;

impl<S> Service<http::Request<Body>> for Gated<S>
where
    S: Service<http::Request<Body>, Response = Answer, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Answer;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Answer, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if request.uri().path().rsplit('/').next() != Some(self.method) {
            return Box::pin(self.inner.call(request));
        }
        let (mut inner, gate, waiting) = (self.inner.clone(), self.gate.clone(), self.waiting.clone());
        Box::pin(async move {
            waiting.send_modify(|waiting| *waiting += 1);
            gate.acquire().await.unwrap().forget();
            inner.call(request).await
        })
    }
}

/// An archive's index and worker.
struct Work {
    worker: Option<Worker>,
    pool: sqlx::PgPool,
    faults: Faults,
    index: RpcChannel,
    gate: Arc<Semaphore>,
    waiting: watch::Receiver<u32>,
    _folder: TempDir,
}

impl Work {
    async fn start(archive: &Archive) -> Self {
        Self::start_gated(archive, "").await
    }

    /// Calls of this method of the index wait at the gate.
    async fn start_gated(archive: &Archive, method: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let generation = engine::Generation::from_bytes([1; 16]);
        let engine = engine::Engine::open(folder.path(), generation).await.unwrap();
        let inner: IndexServiceServer<_> = IndexServer::new(engine).into_service();
        let (sender, waiting) = watch::channel(0);
        let (gate, faults) = (Arc::new(Semaphore::new(0)), Faults::default());
        let inner = Gated { inner, method, gate: gate.clone(), waiting: sender };
        let index = in_process_as(Role::Worker, Faulty { inner: inner.clone(), faults: faults.clone() });
        let pool = archive.pool_of(DatabaseRole::Worker);
        let config = WorkerConfig {
            pool: pool.clone(),
            catalogue: archive.catalogue_of_worker(&faults),
            index,
            storage: archive.storage_of_worker(&faults),
            tenants: vec![TENANT.to_owned()],
            retry_after: Duration::from_millis(10),
            fixity: None,
        };
        let worker = Some(Worker::start(config));
        let index = in_process_as(Role::Gateway, inner);
        Self { worker, pool, faults, index, gate, waiting, _folder: folder }
    }

    /// Mails that the index finds.
    async fn found(&self, query: &str) -> u64 {
        let (tenant, query) = (TENANT.to_owned(), query.to_owned());
        let request = CountRequest { scope: Some(everything()), tenant, query };
        IndexServiceClient::new(self.index.clone()).count(request).await.unwrap().into_inner().total
    }

    async fn one_waits(&mut self) {
        let waits = self.waiting.wait_for(|waiting| *waiting > 0);
        tokio::time::timeout(WAIT_MAX, waits).await.unwrap().unwrap();
    }

    fn open_gate(&self) {
        self.gate.add_permits(Semaphore::MAX_PERMITS);
    }

    async fn stop(mut self) {
        if let Some(worker) = self.worker.take() {
            worker.shutdown().await;
        }
        self.pool.close().await;
    }
}

impl Archive {
    /// Waits until every job is done; none may have died.
    async fn all_done(&self) {
        self.done_of("jobs.job").await;
    }

    async fn done_of(&self, jobs: &str) {
        let done = async {
            while self.count(jobs).await > 0 {
                assert_eq!(self.count("jobs.job where state = 'dead'").await, 0);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(WAIT_MAX, done).await.unwrap();
    }

    async fn shredded(&self) -> i64 {
        self.count("ingest.shred where state = 'shredded'").await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_carried_out_to_its_end_wherever_it_is_interrupted() {
    let (archive, agent) = permitted().await;
    let steps = ["GetShred", "Shred", "DeleteMessages", "FinishShred"];
    let faults: Vec<_> =
        steps.into_iter().flat_map(|step| [(step, Fails::Before), (step, Fails::After)]).collect();
    let shared = noise(1, 3_000);
    let mails: Vec<Mail> =
        (1..=faults.len() as u32).map(|number| Mail::with_attachment(number, &shared)).collect();
    let live = Mail::with_attachment(100, &shared);
    for (seq, mail) in (1..).zip(mails.iter().chain([&live])) {
        agent.keep(seq, mail).await;
    }
    let work = Work::start(&archive).await;
    archive.all_done().await;
    assert_eq!(work.found("subject:attached").await, mails.len() as u64 + 1);

    for (number, ((step, fails), mail)) in (1..).zip(faults.into_iter().zip(&mails)) {
        let before = keys_left(&archive).await;
        work.faults.plan(step, fails);
        archive.order(number, ShredCause::Erasure, &[mail]).await.unwrap();
        archive.all_done().await;
        assert!(work.faults.is_spent(), "{step} {fails:?}");
        assert_eq!(archive.shredded().await, i64::from(number), "{step} {fails:?}");
        assert_eq!(keys_left(&archive).await, before - 2, "{step} {fails:?}");
        archive.unreadable(mail).await;
        let left = mails.len() as u64 + 1 - u64::from(number);
        assert_eq!(work.found("subject:attached").await, left, "{step} {fails:?}");
    }
    assert_eq!(archive.open(live.key()).await.unwrap(), live.bytes);
    assert_eq!(archive.fsck().await, []);
    work.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_that_was_read_for_the_index_before_it_was_shredded_does_not_come_back_in_it() {
    let (archive, agent) = permitted().await;
    let (mail, live) = (Mail::plain(1), Mail::plain(2));
    agent.keep(1, &mail).await;
    let mut work = Work::start_gated(&archive, "IndexMessages").await;
    // It was read, and waits to be indexed.
    work.one_waits().await;
    archive.order(1, ShredCause::Erasure, &[&mail]).await.unwrap();
    let carried_out = async {
        while archive.shredded().await == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(WAIT_MAX, carried_out).await.unwrap();
    // Now it is indexed, after it was deleted.
    work.open_gate();
    agent.keep(2, &live).await;
    archive.all_done().await;
    assert_eq!((work.found("\"body 1\"").await, work.found("\"body 2\"").await), (0, 1));
    work.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_that_comes_again_after_it_was_shredded_is_found_again() {
    let (archive, agent) = permitted().await;
    let mail = Mail::plain(1);
    agent.keep(1, &mail).await;
    let work = Work::start(&archive).await;
    archive.order(1, ShredCause::Erasure, &[&mail]).await.unwrap();
    archive.all_done().await;
    assert_eq!(work.found("\"body 1\"").await, 0);
    agent.keep(2, &mail).await;
    archive.all_done().await;
    assert_eq!(work.found("\"body 1\"").await, 1);
    // A worker died before it could say that the order was carried out: another one comes to it again.
    archive
        .execute(
            "insert into jobs.job (kind, tenant, payload, unique_key)
             select 'shred', tenant, jsonb_build_object('shred', shred), shred::text from ingest.shred",
        )
        .await;
    archive.all_done().await;
    assert_eq!(work.found("\"body 1\"").await, 1);
    assert_eq!(archive.open(mail.key()).await.unwrap(), mail.bytes);
    work.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_that_comes_again_while_it_is_shredded_is_found_when_the_order_is_carried_out() {
    let (mut archive, agent) = permitted().await;
    let (mail, gone) = (Mail::plain(1), Mail::plain(2));
    agent.keep(1, &mail).await;
    agent.keep(2, &gone).await;
    // In its own class it may come again only when its old blobs are gone; in another it needs none of them.
    archive.restart_with("5y-received-permitted".parse().unwrap()).await;
    let agent = archive.agent("acme/mx1");
    let mut work = Work::start_gated(&archive, "DeleteMessages").await;
    archive.all_done().await;
    archive.order(1, ShredCause::Erasure, &[&mail, &gone]).await.unwrap();
    // The keys are gone, and the index is to forget the mail.
    work.one_waits().await;
    agent.keep(3, &mail).await;
    archive.done_of("jobs.job where kind = 'index'").await;
    work.open_gate();
    archive.all_done().await;
    assert_eq!(archive.shredded().await, 1);
    assert_eq!((work.found("\"body 1\"").await, work.found("\"body 2\"").await), (1, 0));
    assert_eq!(archive.open(mail.key()).await.unwrap(), mail.bytes);
    archive.unreadable(&gone).await;
    assert_eq!(archive.fsck().await, []);
    work.stop().await;
}
