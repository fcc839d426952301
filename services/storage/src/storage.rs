use std::{path::PathBuf, sync::Arc, time::Duration};

use openarchive_domain::Clock;
use openarchive_objects::ObjectStore;
use openarchive_proto::storage::v1::storage_service_server::StorageServiceServer;
use openarchive_rpc::{RPC_MESSAGE_BYTES_MAX, RpcChannel};
use sqlx::PgPool;
use tokio::{
    sync::{Mutex, Notify, Semaphore},
    task::JoinHandle,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    StorageError,
    get_blob::BlobReader,
    key_custody::{KeyCustody, trust_client},
    ledger_check::LedgerChecker,
    lock_extension::LockExtender,
    open_packs::OpenPacks,
    outbox::Outbox,
    pack_check::PackChecker,
    pack_flush::{PackFlush, blocking},
    service::StorageServer,
    shred::Shredder,
    spool::Spool,
};

/// How long an open pack waits for more by default. The agent still holds its copy, so waiting costs nothing but time.
pub const LINGER_DEFAULT: Duration = Duration::from_millis(20);
/// PutBlobs calls that are served at once; more wait. Each holds up to 3 MiB.
const PUTS_AT_ONCE_MAX: usize = 32;

/// What storage works on. Cheap to clone.
#[derive(Clone)]
pub struct StorageParts {
    /// A migrated database; only its schema `storage` is touched.
    pub pool: PgPool,
    /// Holds `packs/`.
    pub objects: ObjectStore,
    /// Holds `keys/`: without a default lock, since key files of erasable classes are rewritten.
    pub key_objects: ObjectStore,
    /// To the trust service.
    pub trust: RpcChannel,
}

impl StorageParts {
    pub(crate) fn ledger(&self) -> LedgerChecker {
        LedgerChecker { pool: self.pool.clone(), trust: trust_client(self.trust.clone()) }
    }

    pub(crate) fn checker(&self) -> PackChecker {
        PackChecker {
            pool: self.pool.clone(),
            objects: self.objects.clone(),
            key_objects: self.key_objects.clone(),
            keys: KeyCustody::new(self.trust.clone()),
            ledger: self.ledger(),
        }
    }
}

/// How [`Storage::start`] is told what to do.
pub struct StorageConfig {
    pub parts: StorageParts,
    /// Temporary ciphertext of large blobs and packs. It belongs to this process alone and is emptied at start. On
    /// the file system of a local object store, files are linked instead of copied.
    pub spool_dir: PathBuf,
    pub clock: Arc<dyn Clock>,
    /// How long an open pack waits after its latest blob, [`LINGER_DEFAULT`] if in doubt; ten times as long in all.
    pub linger: Duration,
}

/// The running service. Cheap to clone; it stops when [`Self::shutdown`] has returned.
#[derive(Clone)]
pub struct Storage(Arc<Running>);

struct Running {
    server: Arc<StorageServer>,
    outbox: Mutex<Option<JoinHandle<()>>>,
    stop_outbox: CancellationToken,
    /// A service that is dropped without shutdown leaves no task behind.
    _stop_when_dropped: DropGuard,
}

impl Storage {
    /// Starts; what an earlier process left in the outbox is sent at once. Trust need not be there yet.
    pub async fn start(config: StorageConfig) -> Result<Self, StorageError> {
        let StorageConfig { parts, spool_dir, clock, linger } = config;
        let spool = blocking(move || Ok(Spool::open(&spool_dir)?)).await?;
        let keys = KeyCustody::new(parts.trust.clone());
        let outbox_wake = Arc::new(Notify::new());
        let flush = PackFlush {
            pool: parts.pool.clone(),
            objects: parts.objects.clone(),
            key_objects: parts.key_objects.clone(),
            keys: keys.clone(),
            spool: spool.clone(),
            clock: clock.clone(),
            outbox_wake: outbox_wake.clone(),
            at_once: PackFlush::turns(),
        };
        let server = StorageServer {
            pool: parts.pool.clone(),
            packs: OpenPacks::new(flush, linger),
            spool,
            clock: clock.clone(),
            puts: Semaphore::new(PUTS_AT_ONCE_MAX),
            reader: BlobReader {
                pool: parts.pool.clone(),
                objects: parts.objects.clone(),
                keys: keys.clone(),
            },
            checker: parts.checker(),
            ledger: parts.ledger(),
            shredder: Shredder {
                pool: parts.pool.clone(),
                objects: parts.objects.clone(),
                key_objects: parts.key_objects.clone(),
                keys,
                ledger: parts.ledger(),
                clock,
            },
            locks: LockExtender {
                pool: parts.pool.clone(),
                objects: parts.objects.clone(),
                key_objects: parts.key_objects.clone(),
            },
            worm: parts.objects.worm(),
        };
        let stop_outbox = CancellationToken::new();
        let outbox = Outbox { pool: parts.pool, trust: trust_client(parts.trust), wake: outbox_wake };
        let outbox = tokio::spawn(outbox.run(stop_outbox.clone()));
        Ok(Self(Arc::new(Running {
            server: Arc::new(server),
            outbox: Mutex::new(Some(outbox)),
            _stop_when_dropped: stop_outbox.clone().drop_guard(),
            stop_outbox,
        })))
    }

    /// The gRPC service, with the project's message limits.
    pub fn server(&self) -> StorageServiceServer<StorageServer> {
        StorageServiceServer::from_arc(self.0.server.clone())
            .max_decoding_message_size(RPC_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(RPC_MESSAGE_BYTES_MAX)
    }

    /// Stores the open packs and answers who waits for them; later calls that bring blobs are refused. Outbox rows
    /// that are left are sent after the next start.
    pub async fn shutdown(&self) {
        self.0.server.packs.shutdown().await;
        self.0.stop_outbox.cancel();
        if let Some(outbox) = self.0.outbox.lock().await.take() {
            // It ends by its own or by a panic, which was reported.
            let _ = outbox.await;
        }
    }
}
