//! The agent put together: buffer, listeners, and their orderly end.

mod admin;
mod syncing;

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use openarchive_domain::Clock;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    accept::Acceptor,
    buffer::{Buffer, BufferError, BufferOptions},
    config::{Config, ListenerConfig},
    smtp::{
        Listener, ListenerContext, Stop,
        certificate::{self, CertificateError},
        session::Rules,
    },
};

/// How long mails that are being received may take when the agent stops.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(10);

pub use syncing::{SyncStartError, last_figures};

const LOCK_FILE: &str = "agent.lock";

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("another agent runs on {}; stop it, or give this one its own dataDir", .data_dir.display())]
    AlreadyRunning { data_dir: PathBuf },
    #[error("cannot lock {}: {source}", .path.display())]
    Lock { path: PathBuf, source: io::Error },
    #[error("cannot open the buffer: {0}")]
    Buffer(#[from] BufferError),
    #[error("listener {listener}: {source}")]
    Certificate { listener: String, source: Box<CertificateError> },
    #[error("{0}")]
    Sync(#[from] SyncStartError),
    #[error("listener {listener} cannot listen on {address}: {source}; is another program there?")]
    Bind { listener: String, address: SocketAddr, source: io::Error },
}

/// A listener that is accepting connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listening {
    pub name: String,
    pub address: SocketAddr,
}

/// A running agent. Dropping it without [`Agent::stop`] leaves its tasks running.
pub struct Agent {
    acceptor: Acceptor,
    listening: Vec<Listening>,
    stop: Stop,
    tasks: TaskTracker,
    /// Held as long as the agent lives: one agent on one data folder.
    _lock: File,
}

impl Agent {
    /// Returns when every listener accepts connections. The rustls provider must have been installed.
    pub async fn start(config: Config, clock: Arc<dyn Clock>) -> Result<Self, StartError> {
        let data_dir = config.data_dir.clone();
        let high_water_bytes = config.high_water_bytes;
        let open = move || {
            let buffer = Buffer::open(BufferOptions { data_dir: data_dir.clone(), high_water_bytes })?;
            Ok::<_, StartError>((buffer, lock(&data_dir)?))
        };
        let (buffer, lock) = tokio::task::spawn_blocking(open).await.map_err(|_| BufferError::Stopped)??;
        let acceptor = Acceptor::new(buffer, clock.clone());
        let mut listeners = Vec::new();
        for listener in &config.listeners {
            listeners.push(bind(&config, listener, &acceptor).await?);
        }
        let (stop, tasks) = (Stop::default(), TaskTracker::new());
        let admin = match config.admin {
            Some(address) => Some(admin::bind(address).await?),
            None => None,
        };
        if let Some(core) = &config.core {
            let buffer = acceptor.buffer().clone();
            syncing::start(core, &config, buffer, clock.clone(), &tasks, &stop.gently)?;
        }
        let mut listening = Vec::new();
        for (listener, address) in listeners {
            listening.push(Listening { name: listener.name().to_owned(), address });
            tasks.spawn(listener.run(tasks.clone(), stop.clone()));
        }
        if let Some((listener, address)) = admin {
            listening.push(Listening { name: admin::NAME.to_owned(), address });
            admin::start(listener, acceptor.buffer().clone(), clock, &tasks, &stop.gently);
        }
        Ok(Self { acceptor, listening, stop, tasks, _lock: lock })
    }

    /// In the order of the configuration; last `admin`, if there is one.
    pub fn listening(&self) -> &[Listening] {
        &self.listening
    }

    pub fn buffer(&self) -> &Buffer {
        self.acceptor.buffer()
    }

    pub fn acceptor(&self) -> &Acceptor {
        &self.acceptor
    }

    /// Cancelled when the agent stops; tasks spawned with [`Agent::spawn`] end then.
    pub fn stopping(&self) -> &CancellationToken {
        &self.stop.gently
    }

    /// Runs a task that [`Agent::stop`] waits for; it must end when [`Agent::stopping`] is cancelled.
    pub fn spawn<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.tasks.spawn(task);
    }

    /// Idle sessions are told `421`; those in the middle of a mail get [`STOP_TIMEOUT`] to finish it. Then the buffer
    /// is closed, unless clones of it are about.
    pub async fn stop(self) {
        self.stop.gently.cancel();
        self.tasks.close();
        if tokio::time::timeout(STOP_TIMEOUT, self.tasks.wait()).await.is_err() {
            tracing::warn!(
                tasks = self.tasks.len(),
                "sessions do not end and are cut off; their mail is sent again"
            );
            self.stop.now.cancel();
            self.tasks.wait().await;
        }
    }
}

async fn bind(
    config: &Config,
    listener: &ListenerConfig,
    acceptor: &Acceptor,
) -> Result<(Listener, SocketAddr), StartError> {
    let ListenerConfig { name, address, protocol, start_tls, certificate, peers } = listener;
    let tls = certificate::load(certificate, &config.data_dir, &config.hostname)
        .map_err(|source| StartError::Certificate { listener: name.clone(), source: source.into() })?;
    let rules = Arc::new(Rules {
        hostname: config.hostname.clone(),
        protocol: *protocol,
        message_bytes_max: config.limits.message_bytes_max,
        start_tls: *start_tls,
    });
    let (limits, intake, acceptor) = (config.limits.clone(), config.intake, acceptor.clone());
    let context = ListenerContext { rules, limits, tls, intake, acceptor };
    let error = |source| StartError::Bind { listener: name.clone(), address: *address, source };
    let listener = Listener::bind(name.clone(), *address, peers.clone(), context).await.map_err(error)?;
    let address = listener.address().map_err(error)?;
    Ok((listener, address))
}

fn lock(data_dir: &Path) -> Result<File, StartError> {
    let path = data_dir.join(LOCK_FILE);
    let error = |source| StartError::Lock { path: path.clone(), source };
    let file =
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(error)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StartError::AlreadyRunning { data_dir: data_dir.to_owned() }),
        Err(TryLockError::Error(source)) => Err(error(source)),
    }
}
