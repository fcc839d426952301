//! An archive of a test's own: a database in a shared private cluster, a folder of objects, keys.

use std::{
    fmt::Debug,
    path::PathBuf,
    sync::{Arc, LazyLock, Mutex, Weak},
    time::{Duration, Instant},
};

use openarchive_domain::{Clock, Digest, RetentionClass, SystemClock, random};
use openarchive_ledger::{
    Hash,
    checkpoint::Checkpoint,
    leaf::PackLeaf,
    note::Verifier,
    tree::{leaf_hash, verify_inclusion},
};
use openarchive_objects::{LocalStore, ObjectKey, ObjectStore};
use openarchive_proto::trust::v1::{self as proto, trust_service_client::TrustServiceClient};
use openarchive_rpc::{RPC_MESSAGE_BYTES_MAX, RpcChannel};
use openarchive_schema::DatabaseRole;
use openarchive_testkit::database::TestDatabase;
use openarchive_trust::{CheckpointIntervals, Finding, Keys, Trust, TrustConfig, fsck::fsck};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool, postgres::PgConnectOptions};
use tonic::Status;

pub(crate) type Client = TrustServiceClient<RpcChannel>;

pub(crate) const DOMAIN: &str = "archive.example";
pub(crate) const ARCHIVE: &str = "main";
/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// One cluster for the tests that run at the same time; stopped when the last of them ends.
fn cluster() -> Arc<TestDatabase> {
    static RUNNING: LazyLock<Mutex<Weak<TestDatabase>>> = LazyLock::new(Mutex::default);
    let mut running = RUNNING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    running.upgrade().unwrap_or_else(|| {
        let started = Arc::new(TestDatabase::start());
        *running = Arc::downgrade(&started);
        started
    })
}

pub(crate) struct Archive {
    /// The superuser's: for what only a test does.
    pub(crate) pool: PgPool,
    /// The service's own.
    pub(crate) service: PgPool,
    pub(crate) store: ObjectStore,
    pub(crate) keys: Keys,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) cluster: Arc<TestDatabase>,
}

impl Archive {
    /// An archive without anything in it.
    pub(crate) async fn new() -> Self {
        let cluster = cluster();
        let folder = tempfile::tempdir().unwrap();
        let store = LocalStore::open(&folder.path().join("objects"), Arc::new(SystemClock)).unwrap();
        let keys = Keys::from_secrets([1; 32], [2; 32]);
        let (pool, service) = new_database(&cluster).await;
        Self { pool, service, store: store.into(), keys, folder, cluster }
    }

    /// The same objects and keys, with an empty database.
    pub(crate) async fn with_empty_database(self) -> Self {
        self.close().await;
        let (pool, service) = new_database(&self.cluster).await;
        Self { pool, service, ..self }
    }

    pub(crate) async fn close(&self) {
        self.pool.close().await;
        self.service.close().await;
    }

    pub(crate) fn config(&self) -> TrustConfig {
        let (pool, store, keys) = (self.service.clone(), self.store.clone(), self.keys.clone());
        let intervals = CheckpointIntervals::every(Duration::from_millis(5));
        TrustConfig {
            intervals,
            proof_wait: PATIENCE,
            ..TrustConfig::new(pool, store, keys, DOMAIN, ARCHIVE)
        }
    }

    pub(crate) async fn start(&self) -> (Trust, Client) {
        start(self.config()).await
    }

    pub(crate) async fn fsck(&self) -> Vec<Finding> {
        fsck(&self.service, &self.store, &self.keys, &mut |_| {}).await.unwrap()
    }

    /// The codes of all findings, each once.
    pub(crate) async fn damage(&self) -> Vec<&'static str> {
        let mut codes: Vec<&str> = self.fsck().await.iter().map(|finding| finding.code.as_str()).collect();
        codes.sort_unstable();
        codes.dedup();
        codes
    }

    /// Runs statements that nobody but a test may run.
    pub(crate) async fn sql(&self, statements: &str) {
        sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(&self.pool).await.unwrap();
    }

    /// The file that holds an object.
    pub(crate) fn file(&self, key: &str) -> PathBuf {
        let _: ObjectKey = key.parse().unwrap();
        self.folder.path().join("objects").join(key)
    }

    /// Writes an object's file anew, whatever its lock.
    pub(crate) fn overwrite(&self, key: &str, bytes: &[u8]) {
        let path = self.file(key);
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, bytes).unwrap();
    }

    pub(crate) fn verifier(&self, log: &str) -> Verifier {
        self.keys.verifier(&format!("{DOMAIN}/{ARCHIVE}/{log}").parse().unwrap())
    }
}

pub(crate) async fn start(config: TrustConfig) -> (Trust, Client) {
    let trust = Trust::start(config).await.unwrap();
    let client = client(&trust);
    (trust, client)
}

pub(crate) fn client(trust: &Trust) -> Client {
    let router = tonic::transport::Server::builder().add_service(trust.server());
    TrustServiceClient::new(openarchive_rpc::in_process(router))
        .max_decoding_message_size(RPC_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(RPC_MESSAGE_BYTES_MAX)
}

/// As the superuser, and as the service.
async fn new_database(cluster: &TestDatabase) -> (PgPool, PgPool) {
    let options: PgConnectOptions = cluster.url().parse().unwrap();
    let mut admin = PgConnection::connect_with(&options).await.unwrap();
    let name = format!("archive_{}", hex::encode(random::bytes::<8>()));
    sqlx::raw_sql(AssertSqlSafe(format!("create database {name}"))).execute(&mut admin).await.unwrap();
    let pool = PgPool::connect_with(options.database(&name)).await.unwrap();
    openarchive_schema::migrate(&pool).await.unwrap();
    let service: PgConnectOptions = cluster.url_as(DatabaseRole::Trust.as_str()).parse().unwrap();
    (pool, PgPool::connect_with(service.database(&name)).await.unwrap())
}

/// Log `TENANT/STREAM`.
pub(crate) fn log(name: &str) -> proto::Log {
    let (tenant, stream) = name.split_once('/').unwrap();
    proto::Log { tenant: tenant.to_owned(), stream: stream.to_owned() }
}

/// The `n`th leaf of a tenant: always the same one.
pub(crate) fn entry(tenant: &str, n: u64) -> proto::AppendEntry {
    let mut pack = [0; 16];
    pack[8..].copy_from_slice(&n.to_be_bytes());
    let leaf = PackLeaf {
        tenant: tenant.parse().unwrap(),
        class: RetentionClass::DEFAULT,
        pack,
        sha256: Digest::of(&pack),
        version_id: "1".to_owned(),
    };
    proto::AppendEntry {
        idempotency_key: leaf.idempotency_key().as_bytes().to_vec().into(),
        expected_previous: None,
        body: leaf.body().to_string(),
    }
}

/// Appends leaves `numbers` to `TENANT/STREAM` in one call and answers where they stand.
pub(crate) async fn try_append(
    client: &mut Client,
    name: &str,
    numbers: impl IntoIterator<Item = u64>,
) -> Result<Vec<proto::Leaf>, Status> {
    let log = log(name);
    let tenant = &log.tenant;
    let entries = numbers.into_iter().map(|n| entry(tenant, n)).collect();
    Ok(client.append(proto::AppendRequest { log: Some(log), entries }).await?.into_inner().leaves)
}

pub(crate) async fn append(
    client: &mut Client,
    name: &str,
    numbers: impl IntoIterator<Item = u64>,
) -> Vec<proto::Leaf> {
    try_append(client, name, numbers).await.unwrap()
}

/// Every leaf of a log, by pages.
pub(crate) async fn all_leaves(client: &mut Client, name: &str) -> Vec<proto::Leaf> {
    let mut leaves: Vec<proto::Leaf> = Vec::new();
    loop {
        let start = leaves.len() as u64;
        let request = proto::ListLeavesRequest { log: Some(log(name)), start, limit: 300 };
        let page = client.list_leaves(request).await.unwrap().into_inner();
        leaves.extend(page.leaves);
        if leaves.len() as u64 == page.size {
            assert!((0..).zip(&leaves).all(|(index, leaf)| leaf.index == index));
            return leaves;
        }
    }
}

/// A proof that was checked against the log's own key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proven {
    pub(crate) checkpoint: Checkpoint,
    pub(crate) hashes: Vec<Hash>,
}

/// Waits for proofs of these leaves and checks them with the ledger's verifier.
pub(crate) async fn prove(
    client: &mut Client,
    archive: &Archive,
    name: &str,
    leaves: &[proto::Leaf],
) -> Vec<Proven> {
    let indices: Vec<u64> = leaves.iter().map(|leaf| leaf.index).collect();
    let request = proto::GetInclusionProofsRequest { log: Some(log(name)), indices };
    let answer = client.get_inclusion_proofs(request).await.unwrap().into_inner();
    let checkpoint = checked(archive, name, &answer.checkpoint_note);
    assert_eq!(answer.proofs.len(), leaves.len());
    let proofs = answer.proofs.into_iter().zip(leaves).map(|(proof, leaf)| {
        let hashes = hashes(&proof);
        let hash = leaf_hash(&leaf.body);
        verify_inclusion(&hash, leaf.index, checkpoint.size, &hashes, &checkpoint.root).unwrap();
        Proven { checkpoint: checkpoint.clone(), hashes }
    });
    proofs.collect()
}

/// What a note says, after its signature was checked.
pub(crate) fn checked(archive: &Archive, name: &str, note: &str) -> Checkpoint {
    let (checkpoint, note) = Checkpoint::parse_signed(note).unwrap();
    let verifier = archive.verifier(&format!("{name}/1"));
    verifier.verify(&note).unwrap();
    assert_eq!(checkpoint.origin, verifier.name());
    checkpoint
}

pub(crate) fn hashes(proof: &proto::Proof) -> Vec<Hash> {
    proof.hashes.iter().map(|hash| Hash::try_from(hash.as_ref()).unwrap()).collect()
}

/// Waits until `ready` answers something.
pub(crate) async fn eventually<T: Debug, F: Future<Output = Option<T>>>(
    what: &str,
    mut ready: impl FnMut() -> F,
) -> T {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Some(answer) = ready().await {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("still waiting for {what}");
}

/// The system's clock, set wrong by a number of milliseconds.
pub(crate) struct WrongClock(pub(crate) std::sync::atomic::AtomicI64);

impl Clock for WrongClock {
    fn now(&self) -> openarchive_domain::Timestamp {
        let off = self.0.load(std::sync::atomic::Ordering::SeqCst);
        openarchive_domain::Timestamp::from_millis(SystemClock.now().as_millis() + off)
    }
}
