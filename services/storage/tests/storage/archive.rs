//! A whole archive of its own for each test.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use openarchive_domain::{Clock, Digest, SystemClock};
use openarchive_objects::{Faults, LocalStore, ObjectStore};
use openarchive_proto::storage::v1::{
    BlobKind, BlobRef, GetBlobRequest, PutBlobsHeader, PutBlobsRequest, PutBlobsResponse, StatBlobsRequest,
    put_blobs_request::Item, storage_service_client::StorageServiceClient,
};
use openarchive_rpc::{CHUNK_BYTES_MAX, RPC_MESSAGE_BYTES_MAX, Role, RpcChannel, in_process, in_process_as};
use openarchive_schema::DatabaseRole;
use openarchive_storage::{Finding, Storage, StorageConfig, StorageParts};
use openarchive_testkit::database::TestDatabase;
use openarchive_trust::{Keys, Trust, TrustConfig};
use sqlx::{PgPool, postgres::PgPoolOptions};
use tempfile::TempDir;
use tonic::{Status, transport::Server};

pub(crate) const TENANT: &str = "acme";
pub(crate) const CLASS: &str = "10y-received-forbidden";
pub(crate) const LINGER: Duration = Duration::from_millis(10);
const WAIT_MAX: Duration = Duration::from_secs(20);

pub(crate) struct Archive {
    pub(crate) parts: StorageParts,
    /// The superuser's: the parts' own pool is the service's.
    pool: PgPool,
    trust: Trust,
    // Dropped in this order: a failed test keeps both.
    dir: TempDir,
    _database: TestDatabase,
}

/// A running storage service and a client of it.
pub(crate) struct Core {
    pub(crate) storage: Storage,
    pub(crate) client: StorageServiceClient<RpcChannel>,
}

#[derive(Clone)]
pub(crate) struct Blob {
    pub(crate) kind: BlobKind,
    pub(crate) class: &'static str,
    pub(crate) raw: Vec<u8>,
}

impl Archive {
    pub(crate) async fn start() -> Self {
        let database = TestDatabase::start();
        let pool = PgPoolOptions::new().max_connections(4).connect(&database.url()).await.unwrap();
        openarchive_schema::migrate(&pool).await.unwrap();
        let pool_of = |role: DatabaseRole| {
            let url = database.url_as(role.as_str());
            PgPoolOptions::new().max_connections(16).connect_lazy(&url).unwrap()
        };
        let dir = tempfile::tempdir().unwrap();
        let objects: ObjectStore =
            LocalStore::open(&dir.path().join("objects"), Arc::new(SystemClock)).unwrap().into();
        let keys = Keys::from_secrets([1; 32], [2; 32]);
        let config =
            TrustConfig::new(pool_of(DatabaseRole::Trust), objects.clone(), keys, "archive.example", "test");
        let trust = Trust::start(config).await.unwrap();
        let channel = in_process_as(Role::Storage, trust.server());
        let parts = StorageParts {
            pool: pool_of(DatabaseRole::Storage),
            key_objects: objects.clone(),
            objects,
            trust: channel,
        };
        Self { parts, pool, trust, dir, _database: database }
    }

    pub(crate) async fn core(&self) -> Core {
        self.core_with(&self.parts, LINGER, "spool").await
    }

    /// A core whose object store goes wrong as planned.
    pub(crate) async fn faulty_core(&self, faults: &Faults) -> Core {
        let objects = self.parts.objects.clone().with_faults(faults.clone());
        let key_objects = self.parts.key_objects.clone().with_faults(faults.clone());
        self.core_with(&StorageParts { objects, key_objects, ..self.parts.clone() }, LINGER, "spool").await
    }

    pub(crate) async fn core_with(&self, parts: &StorageParts, linger: Duration, spool: &str) -> Core {
        self.core_of(StorageConfig {
            parts: parts.clone(),
            spool_dir: self.dir.path().join(spool),
            clock: Arc::new(SystemClock),
            linger,
        })
        .await
    }

    /// A core whose time is `clock`'s.
    pub(crate) async fn core_at(&self, clock: Arc<dyn Clock>) -> Core {
        let spool_dir = self.dir.path().join("spool");
        self.core_of(StorageConfig { parts: self.parts.clone(), spool_dir, clock, linger: LINGER }).await
    }

    async fn core_of(&self, config: StorageConfig) -> Core {
        let storage = Storage::start(config).await.unwrap();
        let channel = in_process(Server::builder().add_service(storage.server()));
        let client = StorageServiceClient::new(channel)
            .max_decoding_message_size(RPC_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(RPC_MESSAGE_BYTES_MAX);
        Core { storage, client }
    }

    pub(crate) fn pool(&self) -> &PgPool {
        &self.pool
    }

    pub(crate) fn path_of(&self, key: &str) -> PathBuf {
        self.dir.path().join("objects").join(key)
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What fsck finds, once every leaf is in the ledger.
    pub(crate) async fn fsck(&self) -> Vec<Finding> {
        self.all_leaves().await;
        openarchive_storage::fsck(&self.parts, |_| {}).await.unwrap()
    }

    #[track_caller]
    pub(crate) fn assert_no_damage(findings: &[Finding]) {
        let damage: Vec<String> =
            findings.iter().filter(|finding| finding.is_damage()).map(ToString::to_string).collect();
        assert_eq!(damage, Vec::<String>::new());
    }

    /// Waits until the outbox is empty.
    pub(crate) async fn all_leaves(&self) {
        let begun = tokio::time::Instant::now();
        loop {
            let left: i64 = sqlx::query_scalar("select count(*) from storage.outbox")
                .fetch_one(self.pool())
                .await
                .unwrap();
            if left == 0 {
                return;
            }
            assert!(begun.elapsed() < WAIT_MAX, "{left} pack leaves are still waiting");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) async fn count(&self, table: &str) -> i64 {
        let sql = format!("select count(*) from storage.{table}");
        sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(self.pool()).await.unwrap()
    }

    pub(crate) async fn stop(self) {
        self.trust.shutdown().await;
    }
}

impl Core {
    pub(crate) async fn put(&self, blobs: &[Blob]) -> Result<PutBlobsResponse, Status> {
        let requests: Vec<_> = blobs.iter().flat_map(Blob::requests).collect();
        self.put_requests(requests).await
    }

    pub(crate) async fn put_requests(
        &self,
        requests: Vec<PutBlobsRequest>,
    ) -> Result<PutBlobsResponse, Status> {
        let mut client = self.client.clone();
        Ok(client.put_blobs(futures::stream::iter(requests)).await?.into_inner())
    }

    pub(crate) async fn get(&self, blob: &Blob) -> Result<Vec<u8>, Status> {
        let request =
            GetBlobRequest { tenant: TENANT.to_owned(), blob: Some(blob.reference()), class: String::new() };
        let mut stream = self.client.clone().get_blob(request).await?.into_inner();
        let mut raw = Vec::new();
        while let Some(response) = stream.message().await? {
            assert!(response.chunk.len() <= CHUNK_BYTES_MAX);
            raw.extend_from_slice(&response.chunk);
        }
        Ok(raw)
    }

    /// The length of each blob, `None` where it is absent.
    pub(crate) async fn stat(&self, blobs: &[Blob]) -> Vec<Option<u64>> {
        let blobs = blobs.iter().map(Blob::reference).collect();
        let (tenant, class) = (TENANT.to_owned(), CLASS.to_owned());
        let request = StatBlobsRequest { tenant, class, blobs, keep_until: String::new() };
        let answer = self.client.clone().stat_blobs(request).await.unwrap().into_inner();
        answer.blobs.into_iter().map(|blob| blob.present.then_some(blob.length)).collect()
    }

    pub(crate) async fn assert_all_there(&self, blobs: &[Blob]) {
        for (place, blob) in blobs.iter().enumerate() {
            assert!(self.get(blob).await.unwrap() == blob.raw, "blob {place} differs");
        }
    }
}

impl Blob {
    pub(crate) fn part(raw: impl Into<Vec<u8>>) -> Self {
        Self { kind: BlobKind::Part, class: CLASS, raw: raw.into() }
    }

    pub(crate) fn digest(&self) -> Digest {
        Digest::of(&self.raw)
    }

    pub(crate) fn reference(&self) -> BlobRef {
        BlobRef { kind: self.kind.into(), digest: self.digest().as_bytes().to_vec().into() }
    }

    pub(crate) fn header(&self) -> PutBlobsHeader {
        PutBlobsHeader {
            tenant: TENANT.to_owned(),
            class: self.class.to_owned(),
            blob: Some(self.reference()),
            length: self.raw.len() as u64,
        }
    }

    pub(crate) fn requests(&self) -> Vec<PutBlobsRequest> {
        let chunks = self.raw.chunks(CHUNK_BYTES_MAX).map(|chunk| Item::Chunk(chunk.to_vec().into()));
        let items = std::iter::once(Item::Header(self.header())).chain(chunks);
        items.map(request).collect()
    }
}

pub(crate) fn request(item: Item) -> PutBlobsRequest {
    PutBlobsRequest { item: Some(item) }
}

/// Bytes that do not compress, the same for the same seed (xorshift64*).
pub(crate) fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut out = Vec::with_capacity(bytes + 8);
    while out.len() < bytes {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        out.extend_from_slice(&state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes());
    }
    out.truncate(bytes);
    out
}
