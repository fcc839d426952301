//! One `.tar.gz`, which any machine opens.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use flate2::{Compression, write::GzEncoder};
use openarchive_domain::Timestamp;
use tar::{Builder, Header};

use super::Entry;

/// The folder that the files unpack into.
const FOLDER: &str = "openarchive-support";

pub(super) fn tar_gz(entries: &[Entry], made_at: Timestamp) -> io::Result<Vec<u8>> {
    let mut tar = Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    for Entry { name, text } in entries {
        let mut header = Header::new_ustar();
        header.set_size(text.len() as u64);
        header.set_mode(0o600);
        header.set_mtime((made_at.as_millis() / 1000).unsigned_abs());
        tar.append_data(&mut header, format!("{FOLDER}/{name}"), text.as_bytes())?;
    }
    tar.into_inner()?.finish()
}

/// A file that was not there before and that only its owner may read; none at all on an error.
pub(super) fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if written.is_err() {
        let _ = fs::remove_file(path);
    }
    written
}
