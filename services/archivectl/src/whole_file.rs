//! Files that are there whole or not at all.

use std::{io, path::Path};

use tempfile::NamedTempFile;

use crate::failure::Failure;

/// A file under a temporary name, readable by its owner only, removed again unless it is [`Self::keep`]ed.
pub(crate) struct WholeFile<'p> {
    temporary: NamedTempFile,
    path: &'p Path,
}

impl<'p> WholeFile<'p> {
    /// Beside `path`, which is not touched before the end.
    pub(crate) fn create(path: &'p Path) -> Result<Self, Failure> {
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let made = NamedTempFile::new_in(folder);
        let temporary = made.map_err(|error| Failure::file("cannot write beside", path, &error))?;
        Ok(Self { temporary, path })
    }

    /// Durable under its name when it returns.
    pub(crate) fn keep(self) -> Result<(), Failure> {
        let failure = |error: &io::Error| Failure::file("cannot write", self.path, error);
        self.temporary.as_file().sync_all().map_err(|error| failure(&error))?;
        self.temporary.persist(self.path).map_err(|error| failure(&error.error))?;
        Ok(())
    }
}

impl io::Write for WholeFile<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.temporary.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.temporary.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write as _};

    use super::*;

    #[test]
    fn a_file_that_is_not_finished_leaves_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mail.eml");
        fs::write(&path, "old").unwrap();
        let mut file = WholeFile::create(&path).unwrap();
        file.write_all(b"half").unwrap();
        drop(file);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        let mut file = WholeFile::create(&path).unwrap();
        file.write_all(b"new").unwrap();
        file.keep().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(WholeFile::create(&folder.path().join("no/such/folder")).is_err());
    }
}
