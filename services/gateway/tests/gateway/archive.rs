//! A whole archive of its own for each test, and a client of its gateway.

use std::{path::Path, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    http::{HeaderMap, Request, StatusCode, header},
};
use openarchive_domain::{Clock, Digest, RetentionClass, SystemClock, Tenant};
use openarchive_gateway::{Gateway, GatewayConfig};
use openarchive_index::{IndexServer, engine};
use openarchive_ingest::{Ingest, IngestConfig};
use openarchive_mail::split_in_memory;
use openarchive_objects::{LocalStore, ObjectStore};
use openarchive_proto::{
    index::v1::index_service_server::IndexServiceServer,
    ingest::v1::{
        BlobRole, CommitItem, CommitMessagesRequest, Envelope, Offer, OfferPart, State, UploadBlobsRequest,
        UploadHeader, agent_service_client::AgentServiceClient, commit_result::Outcome,
        upload_blobs_request::Item,
    },
};
use openarchive_rpc::{CHUNK_BYTES_MAX, PeerIdentity, Role, in_process_as};
use openarchive_schema::DatabaseRole;
use openarchive_storage::{Storage, StorageConfig, StorageParts};
use openarchive_testkit::database::TestDatabase;
use openarchive_trust::{CheckpointIntervals, Keys, Trust, TrustConfig};
use openarchive_worker::{Worker, WorkerConfig};
use serde_json::{Value, json};
use sqlx::{PgPool, postgres::PgPoolOptions};
use tempfile::TempDir;
use tower::ServiceExt as _;

use crate::replaced_index::IndexPlace;

pub(crate) const WAIT_MAX: Duration = Duration::from_secs(30);
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

pub(crate) struct Archive {
    /// The superuser's: for what only a test does.
    pub(crate) pool: PgPool,
    services: [PgPool; 5],
    pub(crate) router: Router,
    pub(crate) token: String,
    /// Taken out to stop its sequencer.
    pub(crate) trust: Option<Trust>,
    ingest: Ingest,
    index: IndexPlace,
    class: RetentionClass,
    _worker: Worker,
    _storage: Storage,
    // Dropped last: a failed test keeps the database.
    dir: TempDir,
    _database: TestDatabase,
}

pub(crate) fn tenant(name: &str) -> Tenant {
    name.parse().unwrap()
}

async fn new_index(folder: &Path) -> IndexServiceServer<IndexServer> {
    let generation = engine::Generation::from_bytes(openarchive_domain::random::bytes());
    IndexServer::new(engine::Engine::open(folder, generation).await.unwrap()).into_service()
}

impl Archive {
    /// Takes the database away from every service.
    pub(crate) async fn close_pools(&self) {
        for (pool, role) in self.services.iter().zip(DatabaseRole::ALL) {
            let closed = tokio::time::timeout(WAIT_MAX, pool.close()).await;
            assert!(closed.is_ok(), "{} keeps a connection of its closing pool", role.as_str());
        }
    }

    /// Puts an empty index in the place of the one that is there.
    pub(crate) async fn replace_index(&self) {
        self.index.replace(new_index(&self.dir.path().join("another-index")).await);
    }

    pub(crate) async fn start() -> Self {
        Self::start_with(|trust| trust).await
    }

    /// With a trust service that is set otherwise.
    pub(crate) async fn start_with(trust: impl FnOnce(TrustConfig) -> TrustConfig) -> Self {
        Self::start_keeping(RetentionClass::DEFAULT, Arc::new(SystemClock), trust).await
    }

    /// An archive whose default class is another, and whose catalogue goes by this clock.
    pub(crate) async fn start_keeping(
        class: RetentionClass,
        clock: Arc<dyn Clock>,
        trust: impl FnOnce(TrustConfig) -> TrustConfig,
    ) -> Self {
        let database = TestDatabase::start();
        let pool = PgPoolOptions::new().max_connections(8).connect(&database.url()).await.unwrap();
        openarchive_schema::migrate(&pool).await.unwrap();
        let services = DatabaseRole::ALL.map(|role| {
            let url = database.url_as(role.as_str());
            PgPoolOptions::new().max_connections(24).connect_lazy(&url).unwrap()
        });
        let [ingest_pool, storage_pool, trust_pool, gateway_pool, worker_pool] = services.clone();
        let dir = tempfile::tempdir().unwrap();
        let objects = LocalStore::open(&dir.path().join("objects"), Arc::new(SystemClock)).unwrap();
        let objects: ObjectStore = objects.into();
        let keys = Keys::from_secrets([1; 32], [2; 32]);
        let mut config = TrustConfig::new(trust_pool, objects.clone(), keys, "archive.example", "test");
        config.intervals = CheckpointIntervals::every(Duration::from_millis(30));
        let trust = Trust::start(trust(config)).await.unwrap();
        let storage = Storage::start(StorageConfig {
            parts: StorageParts {
                pool: storage_pool,
                key_objects: objects.clone(),
                objects,
                trust: in_process_as(Role::Storage, trust.server()),
            },
            spool_dir: dir.path().join("spool"),
            clock: Arc::new(SystemClock),
            linger: Duration::from_millis(5),
        });
        let storage = storage.await.unwrap();
        let ingest = Ingest::start(IngestConfig {
            pool: ingest_pool,
            storage: in_process_as(Role::Ingest, storage.server()),
            trust: in_process_as(Role::Ingest, trust.server()),
            tenants: vec![tenant("acme"), tenant("other")],
            default_class: class,
            clock,
        });
        let index = IndexPlace::new(new_index(&dir.path().join("index")).await);
        let worker = Worker::start(WorkerConfig {
            pool: worker_pool,
            catalogue: in_process_as(Role::Worker, ingest.catalogue_server()),
            index: in_process_as(Role::Worker, index.clone()),
            storage: in_process_as(Role::Worker, storage.server()),
            tenants: vec!["acme".to_owned(), "other".to_owned()],
            retry_after: Duration::from_millis(50),
            fixity: None,
        });
        let router = Gateway::router(GatewayConfig {
            pool: gateway_pool,
            catalogue: in_process_as(Role::Gateway, ingest.catalogue_server()),
            index: in_process_as(Role::Gateway, index.clone()),
            trust: in_process_as(Role::Gateway, trust.server()),
            worker: in_process_as(Role::Gateway, worker.server()),
            clock: Arc::new(SystemClock),
        });
        let token = Gateway::ensure_first_token(&pool, &tenant("acme"), &SystemClock).await.unwrap().unwrap();
        Self {
            pool,
            services,
            router,
            token,
            trust: Some(trust),
            ingest,
            index,
            class,
            _worker: worker,
            _storage: storage,
            dir,
            _database: database,
        }
    }

    /// Archives mails for `acme` as agent `mx1` would, and waits until they are searchable.
    pub(crate) async fn archive(&self, mails: &[&[u8]]) {
        self.archive_as("acme/mx1", &["bob@example.org", "hidden@example.org"], mails).await;
        self.wait_found("*", mails.len() as u64).await;
    }

    /// Archives mails as an agent would that brings them for these recipients.
    pub(crate) async fn archive_as(&self, agent: &str, recipients: &[&str], mails: &[&[u8]]) {
        self.archive_in(State::Stored, agent, recipients, mails).await;
    }

    /// Archives mails as an agent would whose peer does not keep to its mode.
    pub(crate) async fn quarantine(&self, agent: &str, mails: &[&[u8]]) {
        self.archive_in(State::Quarantined, agent, &["bob@example.org"], mails).await;
    }

    async fn archive_in(&self, state: State, agent: &str, recipients: &[&str], mails: &[&[u8]]) {
        let caller = PeerIdentity::local_agent(agent.parse().unwrap());
        let mut agent = AgentServiceClient::new(in_process_as(caller, self.ingest.agent_server()));
        let (mut uploads, mut items) = (Vec::new(), Vec::new());
        for (seq, mail) in (1..).zip(mails) {
            let (split, parts) = split_in_memory(mail);
            let skeleton = split.skeleton.encode();
            for part in parts.values() {
                uploads.extend(upload(self.class, BlobRole::Part, part));
            }
            uploads.extend(upload(self.class, BlobRole::Skeleton, &skeleton));
            let part = |(digest, part): (&Digest, &Vec<u8>)| OfferPart {
                digest: raw(digest),
                length: part.len() as u64,
            };
            let offer = Offer {
                instance: vec![7; 16].into(),
                agent_epoch: u64::MAX - 1,
                seq,
                message: raw(&split.message),
                length: split.length,
                skeleton: raw(&Digest::of(&skeleton)),
                skeleton_length: skeleton.len() as u64,
                parts: parts.iter().map(part).collect(),
                envelope: Some(Envelope {
                    from: "alice@example.org".into(),
                    to: recipients.iter().map(ToString::to_string).collect(),
                    peer: "192.0.2.1".into(),
                    mode: "plain".into(),
                }),
                occurred_at: "2024-05-01T10:00:00.000Z".into(),
                state: state.into(),
                reason: if state == State::Quarantined { "no journal header".into() } else { String::new() },
                flags: Vec::new(),
                header: None,
            };
            items.push(CommitItem { offer: Some(offer), class: self.class.to_string() });
        }
        let _stored = agent.upload_blobs(futures::stream::iter(uploads)).await.unwrap();
        let committed = agent.commit_messages(CommitMessagesRequest { items }).await.unwrap().into_inner();
        for result in committed.results {
            assert!(matches!(result.outcome, Some(Outcome::Receipt(_))), "{result:?}");
        }
    }

    /// Waits until a query finds exactly so many mails.
    pub(crate) async fn wait_found(&self, query: &str, total: u64) {
        let begun = tokio::time::Instant::now();
        while self.post("/api/v1/search/emails/", &json!({ "query": query })).await.json()["total"] != total {
            assert!(begun.elapsed() < WAIT_MAX, "mail does not become searchable");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call(self.request("GET", path).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        let request = self.request("POST", path).header(header::CONTENT_TYPE, "application/json");
        self.call(request.body(Body::from(body.to_string())).unwrap()).await
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> axum::http::request::Builder {
        Request::builder()
            .method(method)
            .uri(path)
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
    }

    pub(crate) async fn call(&self, request: Request<Body>) -> Answer {
        let (parts, body) = self.router.clone().oneshot(request).await.unwrap().into_parts();
        let body = to_bytes(body, ANSWER_BYTES_MAX).await.unwrap();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    /// Actions of all audit leaves of `acme` from this index on.
    pub(crate) async fn actions(&self, from: i64) -> Vec<String> {
        let rows = sqlx::query!(
            "select body from trust.leaf join trust.log using (log_id)
             where tenant = 'acme' and stream = 'audit' and leaf_index >= $1 order by leaf_index",
            from
        );
        let rows = rows.fetch_all(&self.pool).await.unwrap();
        let action = |body: Vec<u8>| serde_json::from_slice::<Value>(&body).unwrap()["action"].clone();
        rows.into_iter().filter_map(|row| action(row.body).as_str().map(str::to_owned)).collect()
    }

    /// Leaves in the audit log of `acme`.
    pub(crate) async fn audit_size(&self) -> i64 {
        let sizes =
            sqlx::query!("select next_index from trust.log where tenant = 'acme' and stream = 'audit'");
        sizes.fetch_optional(&self.pool).await.unwrap().map_or(0, |row| row.next_index)
    }
}

fn raw(digest: &Digest) -> Bytes {
    digest.as_bytes().to_vec().into()
}

fn upload(class: RetentionClass, role: BlobRole, bytes: &[u8]) -> Vec<UploadBlobsRequest> {
    let header = UploadHeader {
        class: class.to_string(),
        role: role.into(),
        digest: raw(&Digest::of(bytes)),
        length: bytes.len() as u64,
    };
    let chunks = bytes.chunks(CHUNK_BYTES_MAX).map(|chunk| Item::Chunk(chunk.to_vec().into()));
    std::iter::once(Item::Header(header))
        .chain(chunks)
        .map(|item| UploadBlobsRequest { item: Some(item) })
        .collect()
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// A problem document of this status and type, with nothing of an answer.
    pub(crate) fn assert_problem(&self, status: u16, kind: &str) {
        let body = self.json();
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        assert_eq!(body["type"], format!("tag:openarchive.dev,2026:problem/{kind}"), "{self:?}");
        assert_eq!(body["request_id"], self.header("x-request-id"), "{self:?}");
    }
}
