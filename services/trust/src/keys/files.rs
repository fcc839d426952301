use std::{
    fs::{self, File, Metadata, OpenOptions},
    io::{self, ErrorKind, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::Path,
};

use openarchive_domain::random;
use openarchive_envelope::KEY_BYTES;

use super::KeysError;

/// Bits of a key file's mode that let in others than `reader`, who runs this process. Root's file is lent to other users
/// through its group: so Kubernetes mounts a Secret for a pod that does not run as root.
const fn others(owner: u32, reader: u32) -> u32 {
    if owner == 0 && reader != 0 { 0o037 } else { 0o077 }
}

/// Whether somebody else than this process's user may read or change a key file.
pub fn is_exposed(file: &Metadata) -> io::Result<bool> {
    // The owner of what /proc tells of a process is its user.
    let reader = fs::metadata("/proc/self")?.uid();
    Ok(file.mode() & others(file.uid(), reader) != 0)
}

/// Reads a key that nobody but we can read.
pub(super) fn read(path: &Path) -> Result<[u8; KEY_BYTES], KeysError> {
    let failed = |source| KeysError::Io { path: path.to_owned(), source };
    let file = match fs::metadata(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(KeysError::Missing { path: path.to_owned() });
        }
        Err(error) => return Err(failed(error)),
    };
    if is_exposed(&file).map_err(failed)? {
        return Err(KeysError::Exposed { path: path.to_owned(), mode: file.mode() & 0o777 });
    }
    let text = fs::read(path).map_err(failed)?;
    let mut key = [0; KEY_BYTES];
    match hex::decode_to_slice(text.trim_ascii(), &mut key) {
        Ok(()) => Ok(key),
        Err(_) => Err(KeysError::Malformed { path: path.to_owned() }),
    }
}

/// Writes a key under a name of its own and links it to `path`, so that there is never half a key. One that is there
/// stays. Durable when this returns.
pub(super) fn create_if_missing(path: &Path, key: &[u8; KEY_BYTES]) -> Result<(), KeysError> {
    let failed = |source| KeysError::Io { path: path.to_owned(), source };
    let dir = path.parent().unwrap_or(Path::new("."));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
    let temporary = dir.join(format!(".{}", hex::encode(random::bytes::<16>())));
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(format!("{}\n", hex::encode(key)).as_bytes())?;
        file.sync_all()?;
        match fs::hard_link(&temporary, path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        }
    })();
    let removed = fs::remove_file(&temporary);
    written.and(removed).and_then(|()| File::open(dir)?.sync_all()).map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_made_once_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys/kek");
        create_if_missing(&path, &[7; 32]).unwrap();
        create_if_missing(&path, &[8; 32]).unwrap();
        assert_eq!(read(&path).unwrap(), [7; 32]);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn only_roots_key_may_be_lent_through_a_group_and_only_for_reading() {
        let check = |owner: u32, reader: u32, mode: u32, readable: bool| {
            assert_eq!(mode & others(owner, reader) == 0, readable, "{owner} {reader} {mode:o}");
        };
        check(0, 65_532, 0o440, true);
        for mode in [0o460, 0o450, 0o444, 0o441] {
            check(0, 65_532, mode, false);
        }
        check(0, 0, 0o440, false);
        check(65_532, 65_532, 0o440, false);
        check(65_532, 65_532, 0o400, true);
        check(1000, 65_532, 0o440, false);
    }

    #[test]
    fn a_key_that_others_may_read_or_that_is_none_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kek");
        assert!(matches!(read(&path), Err(KeysError::Missing { .. })));
        create_if_missing(&path, &[7; 32]).unwrap();
        for mode in [0o640, 0o604, 0o660] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert!(matches!(read(&path), Err(KeysError::Exposed { .. })));
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        for bad in ["", "00", &"g".repeat(64), &"0".repeat(66)] {
            fs::write(&path, bad).unwrap();
            let error = read(&path).unwrap_err();
            assert!(matches!(error, KeysError::Malformed { .. }), "{bad:?}");
        }
    }
}
