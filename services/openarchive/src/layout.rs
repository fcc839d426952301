//! Where everything stands in a data folder: the table of contents of `--data DIR`.

use std::{
    fs,
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use rustix::fs::{FlockOperation, flock};

/// The private PostgreSQL, in a data folder.
pub(crate) const POSTGRES_FOLDER: &str = "postgres";
/// The keys, in a data folder.
pub(crate) const KEYS_FOLDER: &str = "keys";
/// For what does not outlive a process.
const TMP_DIR_DEFAULT: &str = "/tmp";

/// A data folder, locked for this process.
pub(crate) struct DataDir {
    root: PathBuf,
    tmp: PathBuf,
    /// Elsewhere than in the data folder.
    keys: Option<PathBuf>,
    _lock: fs::File,
}

impl DataDir {
    /// Makes the folder if it is not there, and locks it: two archives over one folder would corrupt it.
    pub(crate) fn open(root: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(root)
            .with_context(|| format!("cannot make the data folder {}", root.display()))?;
        let root = root.canonicalize().with_context(|| format!("cannot resolve {}", root.display()))?;
        let path = root.join("lock");
        let lock = fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            bail!(
                "{} is in use by another openarchive: stop it first, or choose another folder",
                root.display()
            );
        }
        Ok(Self { root, tmp: TMP_DIR_DEFAULT.into(), keys: None, _lock: lock })
    }

    /// With another place for what does not outlive a process, and, if they are not here, for the keys.
    pub(crate) fn with(self, tmp: PathBuf, keys: Option<PathBuf>) -> Self {
        Self { tmp, keys, ..self }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The private PostgreSQL cluster. Entered by the database's own user.
    pub(crate) fn postgres(&self) -> PathBuf {
        self.root.join(POSTGRES_FOLDER)
    }

    /// The socket of that cluster.
    pub(crate) fn tmp(&self) -> PathBuf {
        self.tmp.clone()
    }

    /// Packs, key files, tiles, checkpoints, heads, protected wrapping keys.
    pub(crate) fn objects(&self) -> PathBuf {
        self.root.join("objects")
    }

    pub(crate) fn index(&self) -> PathBuf {
        self.root.join("index")
    }

    /// The KEK and the log keys. Without them nothing here can be read: keep a copy elsewhere.
    pub(crate) fn keys(&self) -> anyhow::Result<PathBuf> {
        private_dir(self.keys.clone().unwrap_or_else(|| self.root.join(KEYS_FOLDER)))
    }

    /// The archive's own certificate authority and the servers' certificates.
    pub(crate) fn tls(&self) -> anyhow::Result<PathBuf> {
        private_dir(self.root.join("tls"))
    }

    /// Encrypted bodies on their way into packs, and mail being rebuilt.
    pub(crate) fn spool(&self) -> anyhow::Result<PathBuf> {
        private_dir(self.root.join("spool"))
    }

    /// The agent that `openarchive dev` runs beside the core.
    pub(crate) fn edge(&self) -> anyhow::Result<PathBuf> {
        private_dir(self.root.join("edge"))
    }

    pub(crate) fn api_token(&self) -> PathBuf {
        self.root.join("api-token")
    }

    pub(crate) fn endpoints(&self) -> PathBuf {
        self.root.join("endpoints.json")
    }

    pub(crate) fn trust_policy(&self) -> PathBuf {
        self.root.join("trust.policy")
    }
}

fn private_dir(path: PathBuf) -> anyhow::Result<PathBuf> {
    if !path.is_dir() {
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .with_context(|| format!("cannot make {}", path.display()))?;
    }
    Ok(path)
}

/// Whether others than the owner may read a file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Secrecy {
    Secret,
    Public,
}

/// Writes a whole file or none: a temporary one beside it, fsync, rename, fsync of the folder.
pub(crate) fn write_file(path: &Path, bytes: &[u8], secrecy: Secrecy) -> anyhow::Result<()> {
    let mode = if secrecy == Secrecy::Secret { 0o600 } else { 0o644 };
    let temporary = path.with_extension("new");
    let write = || -> std::io::Result<()> {
        let mut file =
            fs::OpenOptions::new().create(true).truncate(true).write(true).mode(mode).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        if let Some(folder) = path.parent() {
            fs::File::open(folder)?.sync_all()?;
        }
        Ok(())
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}
