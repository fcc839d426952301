use std::{
    collections::BTreeMap,
    io::{self, Read},
};

use tar::Archive;

use super::{EXPORT_BYTES_MAX, EXPORT_FILES_MAX, ExportFinding, FOLDER};
use crate::place::shown;

/// The files of an export by their paths within its folder. Order, times and owners are no content: a folder that was
/// unpacked and packed again is the same export.
pub(super) fn read_files(reader: impl Read) -> Result<BTreeMap<String, Vec<u8>>, ExportFinding> {
    let unreadable = |error: io::Error| ExportFinding::Unreadable(error.to_string());
    let mut archive = Archive::new(reader.take(EXPORT_BYTES_MAX + 1));
    let mut files = BTreeMap::new();
    for entry in archive.entries().map_err(unreadable)? {
        let mut entry = entry.map_err(unreadable)?;
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let kind = entry.header().entry_type();
        if kind.is_dir() {
            continue;
        }
        let within = path.strip_prefix("./").unwrap_or(&path).strip_prefix(FOLDER);
        let name = within.and_then(|path| path.strip_prefix('/')).map(str::to_owned);
        // No link, no device, nothing beside the folder, nothing twice: two readers would see two things.
        let Some(name) = name.filter(|name| kind.is_file() && !files.contains_key(name)) else {
            return Err(ExportFinding::FileUnexpected(shown(&path)));
        };
        if files.len() == EXPORT_FILES_MAX {
            return Err(ExportFinding::TooLarge);
        }
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 != entry.size() {
            return Err(ExportFinding::Unreadable(format!("{} is cut off", shown(&path))));
        }
        files.insert(name, bytes);
    }
    only_padding(archive.into_inner())?;
    Ok(files)
}

/// After its last file a tar file holds zeroes only.
fn only_padding(mut rest: io::Take<impl Read>) -> Result<(), ExportFinding> {
    static ZEROES: [u8; 64 * 1024] = [0; 64 * 1024];
    let mut buffer = ZEROES;
    loop {
        match rest.read(&mut buffer) {
            Ok(0) if rest.limit() == 0 => return Err(ExportFinding::TooLarge),
            Ok(0) => return Ok(()),
            Ok(read) if buffer[..read] == ZEROES[..read] => {}
            Ok(_) => return Err(ExportFinding::Unreadable("something stands behind its end".to_owned())),
            Err(error) => return Err(ExportFinding::Unreadable(error.to_string())),
        }
    }
}
