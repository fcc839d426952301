//! Whole files or none, durable when a function returns.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

/// Whether others than the owner may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Secrecy {
    Secret,
    Public,
}

/// Fails where there is a file already: nothing is overwritten.
pub(super) fn create(path: &Path, bytes: &[u8], secrecy: Secrecy) -> io::Result<()> {
    let temporary = write_beside(path, bytes, secrecy)?;
    let linked = fs::hard_link(&temporary, path);
    let removed = fs::remove_file(&temporary);
    linked.and(removed)?;
    sync_folder(path)
}

/// A reader sees the file of before or this one.
pub(super) fn replace(path: &Path, bytes: &[u8], secrecy: Secrecy) -> io::Result<()> {
    let temporary = write_beside(path, bytes, secrecy)?;
    fs::rename(&temporary, path)?;
    sync_folder(path)
}

fn write_beside(path: &Path, bytes: &[u8], secrecy: Secrecy) -> io::Result<PathBuf> {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(".new");
    let temporary = PathBuf::from(name);
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        // Gone, with whatever mode it had.
        _ => {}
    }
    let mode = if secrecy == Secrecy::Secret { 0o600 } else { 0o644 };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(temporary)
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn a_file_is_made_once_and_replaced_as_a_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.key");
        // What a crash left behind, readable by everybody.
        fs::write(folder.path().join("agent.key.new"), "half").unwrap();
        create(&path, b"one", Secrecy::Secret).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let again = create(&path, b"two", Secrecy::Secret).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"one");
        replace(&path, b"three", Secrecy::Public).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"three");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
