use std::{
    env, fs,
    path::{Path, PathBuf},
};

use crate::PostgresError;

/// Where `initdb` and `postgres` are.
#[derive(Debug, Clone)]
pub struct Binaries {
    pub initdb: PathBuf,
    pub postgres: PathBuf,
}

impl Binaries {
    fn in_folder(folder: &Path) -> Option<Self> {
        let found = Self { initdb: folder.join("initdb"), postgres: folder.join("postgres") };
        (found.initdb.is_file() && found.postgres.is_file()).then_some(found)
    }
}

/// Looks in `OPENARCHIVE_PG_BIN`, then in Debian's folders (newest version first), then along `PATH`.
pub fn find_binaries() -> Result<Binaries, PostgresError> {
    if let Some(folder) = env::var_os("OPENARCHIVE_PG_BIN") {
        return Binaries::in_folder(Path::new(&folder)).ok_or(PostgresError::NotInstalled);
    }
    let debian = Path::new("/usr/lib/postgresql");
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir(debian)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    versions.sort();
    let path = env::var_os("PATH").unwrap_or_default();
    versions
        .into_iter()
        .rev()
        .map(|(_, folder)| folder)
        .chain(env::split_paths(&path))
        .find_map(|folder| Binaries::in_folder(&folder))
        .ok_or(PostgresError::NotInstalled)
}
