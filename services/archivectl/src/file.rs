//! Files that are read whole, and outputs that are written whole.

use std::{
    fs::File,
    io::{self, Read, Write as _},
    path::Path,
};

use crate::{failure::Failure, output, terminal, whole_file::WholeFile};

/// All bytes of a file that is no longer than `bytes_max`.
pub(crate) fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, Failure> {
    let file = File::open(path).map_err(|error| Failure::file("cannot read", path, &error))?;
    read_all(file, path, bytes_max)
}

/// Like [`read`], but `-` is the standard input.
pub(crate) fn read_or_stdin(path: &Path, bytes_max: u64) -> Result<Vec<u8>, Failure> {
    if path == Path::new("-") { read_all(io::stdin().lock(), path, bytes_max) } else { read(path, bytes_max) }
}

fn read_all(from: impl Read, path: &Path, bytes_max: u64) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = from.take(bytes_max + 1).read_to_end(&mut bytes);
    read.map_err(|error| Failure::file("cannot read", path, &error))?;
    if bytes.len() as u64 > bytes_max {
        return Err(Failure::other(format!("{} is too long: is it the right file?", path.display())));
    }
    Ok(bytes)
}

/// Writes text byte for byte and durably under its name; `-` is the standard output. Answers whether it is in a file.
pub(crate) fn write(path: &Path, text: &str) -> Result<bool, Failure> {
    if path == Path::new("-") {
        output::say(&terminal::paragraphs(text))?;
        return Ok(false);
    }
    let mut file = WholeFile::create(path)?;
    file.write_all(text.as_bytes()).map_err(|error| Failure::file("cannot write", path, &error))?;
    file.keep()?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_up_to_its_limit_and_written_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        assert!(write(&path, "a\u{202e}b\r\n").unwrap());
        assert_eq!(read(&path, 7).unwrap(), "a\u{202e}b\r\n".as_bytes());
        assert!(read(&path, 6).unwrap_err().to_string().contains("too long"));
        assert!(read(&folder.path().join("y"), 6).unwrap_err().to_string().contains("cannot read"));
    }
}
