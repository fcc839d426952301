//! The fixity pass over the real storage and trust services, PostgreSQL and local objects.

use std::{
    fs::{self, File, Permissions},
    os::unix::fs::{PermissionsExt as _, symlink},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use openarchive_domain::{Digest, SystemClock};
use openarchive_objects::{LocalStore, ObjectStore};
use openarchive_proto::storage::v1::{
    BlobKind, BlobRef, PutBlobsHeader, PutBlobsRequest, put_blobs_request::Item,
    storage_service_client::StorageServiceClient,
};
use openarchive_rpc::{Role, RpcChannel, in_process, in_process_as};
use openarchive_schema::DatabaseRole;
use openarchive_storage::{LINGER_DEFAULT, Storage, StorageConfig, StorageParts};
use openarchive_telemetry::metrics;
use openarchive_testkit::database::TestDatabase;
use openarchive_trust::{Keys, Trust, TrustConfig};
use openarchive_worker::{Fixity, Queue, Worker, WorkerConfig};
use serde_json::Value;
use sqlx::PgPool;
use tonic::{service::Routes, transport::Server};

const PATIENCE: Duration = Duration::from_secs(60);
/// A word of the mail that must stand nowhere.
const MARK: &str = "marked-word-of-a-body";
/// Packs that a slice takes.
const SLICE_PACKS: u64 = 200;

struct Archive {
    /// The superuser's.
    pool: PgPool,
    own: PgPool,
    _trust: Trust,
    storage: Storage,
    dir: tempfile::TempDir,
    _database: TestDatabase,
}

fn nowhere() -> RpcChannel {
    in_process(Server::builder().add_routes(Routes::default()))
}

impl Archive {
    async fn start() -> Self {
        let database = TestDatabase::start();
        let pool = PgPool::connect(&database.url()).await.unwrap();
        openarchive_schema::migrate(&pool).await.unwrap();
        let pool_of = |role: DatabaseRole| PgPool::connect_lazy(&database.url_as(role.as_str())).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let objects = LocalStore::open(&dir.path().join("objects"), Arc::new(SystemClock)).unwrap();
        let objects = ObjectStore::from(objects);
        let keys = Keys::from_secrets([1; 32], [2; 32]);
        let trust = pool_of(DatabaseRole::Trust);
        let config = TrustConfig::new(trust, objects.clone(), keys, "archive.example", "test");
        let trust = Trust::start(config).await.unwrap();
        let parts = StorageParts {
            pool: pool_of(DatabaseRole::Storage),
            key_objects: objects.clone(),
            objects,
            trust: in_process_as(Role::Storage, trust.server()),
        };
        let spool_dir = dir.path().join("spool");
        let clock = Arc::new(SystemClock);
        let storage = Storage::start(StorageConfig { parts, spool_dir, clock, linger: LINGER_DEFAULT });
        let storage = storage.await.unwrap();
        let own = pool_of(DatabaseRole::Worker);
        Self { pool, own, _trust: trust, storage, dir, _database: database }
    }

    /// One pack for each class.
    async fn put(&self, raw: &[u8], classes: impl Iterator<Item = String>) {
        let digest = Digest::of(raw).as_bytes().to_vec();
        let items = classes.flat_map(|class| {
            let blob = Some(BlobRef { kind: BlobKind::Part.into(), digest: digest.clone().into() });
            let length = raw.len() as u64;
            let header = PutBlobsHeader { tenant: "acme".to_owned(), class, blob, length };
            [Item::Header(header), Item::Chunk(raw.to_vec().into())]
        });
        let requests: Vec<_> = items.map(|item| PutBlobsRequest { item: Some(item) }).collect();
        let mut client = StorageServiceClient::new(in_process_as(Role::Ingest, self.storage.server()));
        client.put_blobs(futures::stream::iter(requests)).await.unwrap();
        self.eventually("every pack has its leaf", "select count(*) = 0 from storage.outbox").await;
    }

    fn worker(&self, storage: RpcChannel, bytes_per_second: u64) -> Worker {
        let interval = Duration::from_millis(1);
        Worker::start(WorkerConfig {
            pool: self.own.clone(),
            catalogue: nowhere(),
            index: nowhere(),
            storage,
            tenants: Vec::new(),
            retry_after: Duration::ZERO,
            fixity: Some(Fixity { interval, bytes_per_second, clock: Arc::new(SystemClock) }),
        })
    }

    fn storage(&self) -> RpcChannel {
        in_process_as(Role::Worker, self.storage.server())
    }

    /// Waits until the query says so.
    async fn eventually(&self, what: &str, query: &'static str) {
        let waiting = async {
            while !sqlx::query_scalar::<_, bool>(query).fetch_one(&self.pool).await.unwrap_or(false) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| assert_eq!(what, "in time"));
    }

    /// Waits for a pass that begins after now, and answers what it saw.
    async fn next_pass(&self) -> Value {
        let query =
            "select coalesce((payload->>'last_ended_at')::bigint, 0) from jobs.job where kind = 'fixity'";
        let ended = async || sqlx::query_scalar::<_, i64>(query).fetch_optional(&self.pool).await.unwrap();
        let mut seen = Vec::new();
        let waiting = async {
            // The first one that ends may have begun before.
            while seen.len() < 3 {
                if let Some(at) = ended().await
                    && !seen.contains(&at)
                {
                    seen.push(at);
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.unwrap();
        self.pass().await
    }

    /// As [`Self::next_pass`], but the pass does not wait between its tries.
    async fn next_hurried_pass(&self) -> Value {
        let hurrying = async {
            loop {
                let due = "update jobs.job set run_at = now() where kind = 'fixity' and state = 'ready' and run_at > now()";
                sqlx::query(due).execute(&self.pool).await.unwrap();
                sqlx::query("select pg_notify('job', '')").execute(&self.pool).await.unwrap();
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            pass = self.next_pass() => pass,
            () = hurrying => unreachable!("it never ends"),
        }
    }

    async fn pass(&self) -> Value {
        let query = "select payload from jobs.job where kind = 'fixity' and tenant = '_'";
        sqlx::query_scalar(query).fetch_one(&self.pool).await.unwrap()
    }

    /// The jobs of packs that were not whole: id, pack, error.
    async fn dead(&self) -> Vec<(i64, String, String)> {
        let query = "select job_id, payload->>'pack', last_error from jobs.job
                     where kind = 'verify-pack' and tenant = 'acme' and state = 'dead'";
        sqlx::query_as(query).fetch_all(&self.pool).await.unwrap()
    }
}

fn classes(count: u64) -> impl Iterator<Item = String> {
    (1..=count).map(|days| format!("{days}d-received-forbidden"))
}

/// Changes one byte and leaves the lock, which is the file's time.
fn flip(path: &PathBuf) {
    let modified = fs::metadata(path).unwrap().modified().unwrap();
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap();
    fs::write(path, bytes).unwrap();
    File::options().write(true).open(path).unwrap().set_modified(modified).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_pack_is_found_named_without_content_and_cured_by_a_retry() {
    let archive = Archive::start().await;
    archive.put(MARK.repeat(100).as_bytes(), classes(3)).await;
    let worker = archive.worker(archive.storage(), u64::MAX);
    let healthy = archive.next_pass().await;
    assert_eq!((&healthy["last_packs"], &healthy["last_damaged"]), (&3.into(), &0.into()));
    assert_eq!(archive.dead().await, []);

    let (pack, object): (String, String) = sqlx::query_as(
        "select pack_id::text, object_key from storage.pack order by pack_id offset 1 limit 1",
    )
    .fetch_one(&archive.pool)
    .await
    .unwrap();
    let path = archive.dir.path().join("objects").join(object);
    flip(&path);
    archive
        .eventually(
            "the damaged pack is a dead letter",
            "select count(*) = 1 from jobs.job where kind = 'verify-pack' and state = 'dead'",
        )
        .await;
    // However often it is found again, it is one job, and the others are whole.
    let damaged = archive.next_pass().await;
    assert_eq!((&damaged["last_packs"], &damaged["last_damaged"]), (&3.into(), &1.into()));
    let dead = archive.dead().await;
    let [(job, named, error)] = dead.as_slice() else { unreachable!("{dead:?}") };
    assert_eq!(*named, pack);
    assert!(error.contains("does not have the SHA-256 it was stored with"), "{error}");
    let shown = metrics::render();
    assert!(shown.contains(r#"openarchive_worker_fixity_packs_total{outcome="damaged"}"#), "{shown}");
    let row: String = sqlx::query_scalar("select string_agg(job::text, ' ') from jobs.job job")
        .fetch_one(&archive.pool)
        .await
        .unwrap();
    assert!(!row.contains(MARK) && !shown.contains(MARK));

    // A retry before the bytes are back finds it again; one afterwards is the end of it.
    let queue = Queue::new(archive.own.clone(), Duration::ZERO);
    let tenant = "acme".parse().unwrap();
    assert!(queue.retry(&tenant, *job).await.unwrap());
    archive
        .eventually(
            "it is dead again",
            "select count(*) = 1 from jobs.job where kind = 'verify-pack' and state = 'dead'",
        )
        .await;
    flip(&path);
    assert!(queue.retry(&tenant, *job).await.unwrap());
    archive.eventually("it is cured", "select count(*) = 0 from jobs.job where kind = 'verify-pack'").await;
    assert_eq!(archive.next_pass().await["last_damaged"], 0);
    worker.shutdown().await;
}

/// As if the disk did not give the file any more: a link to itself can be listed, but not opened, by nobody.
#[tokio::test(flavor = "multi_thread")]
async fn a_pack_that_cannot_be_read_is_named_and_the_pass_goes_on_behind_it() {
    let archive = Archive::start().await;
    archive.put(MARK.repeat(100).as_bytes(), classes(3)).await;
    // The first one: whoever stops there reads no pack at all.
    let (pack, object): (String, String) =
        sqlx::query_as("select pack_id::text, object_key from storage.pack order by pack_id limit 1")
            .fetch_one(&archive.pool)
            .await
            .unwrap();
    let (path, aside) = (archive.dir.path().join("objects").join(object), archive.dir.path().join("aside"));
    fs::rename(&path, &aside).unwrap();
    symlink(&path, &path).unwrap();
    let worker = archive.worker(archive.storage(), u64::MAX);
    let seen = archive.next_hurried_pass().await;
    assert_eq!((&seen["last_packs"], &seen["last_damaged"]), (&3.into(), &1.into()));
    archive
        .eventually(
            "the pack is a dead letter",
            "select count(*) = 1 from jobs.job where kind = 'verify-pack' and state = 'dead'",
        )
        .await;
    let dead = archive.dead().await;
    let [(job, named, error)] = dead.as_slice() else { unreachable!("{dead:?}") };
    assert_eq!(*named, pack);
    assert!(error.starts_with("storage: ") && !error.contains(MARK), "{error}");
    let shown = metrics::render();
    assert!(shown.contains(r#"openarchive_worker_fixity_packs_total{outcome="unchecked"}"#), "{shown}");

    fs::rename(&aside, &path).unwrap();
    let queue = Queue::new(archive.own.clone(), Duration::ZERO);
    assert!(queue.retry(&"acme".parse().unwrap(), *job).await.unwrap());
    archive.eventually("it is cured", "select count(*) = 0 from jobs.job where kind = 'verify-pack'").await;
    let healthy = archive.next_hurried_pass().await;
    assert_eq!((&healthy["last_packs"], &healthy["last_damaged"]), (&3.into(), &0.into()));
    worker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_reads_no_faster_than_it_may_and_goes_on_in_another_process() {
    let archive = Archive::start().await;
    archive.put(b"one blob in many packs", classes(SLICE_PACKS + 1)).await;
    let worker = archive.worker(archive.storage(), 1);
    archive
        .eventually(
            "the first slice is paid for later",
            "select (payload->>'packs')::int = 200 and run_at > now() + interval '1 hour'
             from jobs.job where kind = 'fixity' and state = 'ready'",
        )
        .await;
    let first = archive.pass().await;
    assert!(first["bytes"].as_u64().unwrap() > 3600, "{first}");
    assert_eq!(first["last_ended_at"], Value::Null);
    worker.shutdown().await;
    // What a process finds at its start is due no later than the interval says, which is at once here.
    let worker = archive.worker(archive.storage(), 1);
    archive
        .eventually(
            "the pass ends",
            "select (payload->>'last_packs')::int = 201 from jobs.job where kind = 'fixity'",
        )
        .await;
    worker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_that_storage_does_not_answer_waits_and_accuses_nobody() {
    let archive = Archive::start().await;
    archive.put(b"x", classes(1)).await;
    let worker = archive.worker(nowhere(), u64::MAX);
    archive
        .eventually(
            "the pass waits",
            "select payload->>'begun_at' is not null and run_at > now() + interval '10 seconds'
             from jobs.job where kind = 'fixity' and state = 'ready'",
        )
        .await;
    assert_eq!((&archive.pass().await["packs"], archive.dead().await.len()), (&0.into(), 0));
    worker.shutdown().await;
}
