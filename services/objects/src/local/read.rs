use std::{
    fs::{File, Metadata},
    io,
    os::unix::fs::FileExt as _,
    sync::Arc,
    time::SystemTime,
};

use openarchive_domain::Timestamp;

use super::{
    Inner, blocking,
    write::{cannot, hash_file, is_absent},
};
use crate::{Meta, ObjectError, ObjectKey, PIECE_BYTES_MAX, WHOLE_BYTES_MAX, store::Standing};

impl Inner {
    pub(super) fn get(&self, key: &ObjectKey) -> Result<Vec<u8>, ObjectError> {
        let (file, length) = self.open_file(key)?;
        read_exactly(&file, key, 0, length, length)
    }

    pub(super) fn get_range(
        &self,
        key: &ObjectKey,
        offset: u64,
        length: u64,
    ) -> Result<Vec<u8>, ObjectError> {
        let (file, object_length) = self.open_file(key)?;
        read_exactly(&file, key, offset, length, object_length)
    }

    pub(super) fn head(&self, key: &ObjectKey) -> Result<Option<Meta>, ObjectError> {
        match std::fs::metadata(self.path_of(key)) {
            Ok(metadata) if metadata.is_file() => {
                Ok(Some(Meta { length: metadata.len(), lock_until: lock_of(&metadata, key)? }))
            }
            Ok(_) => Ok(None),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(cannot("look at", key, error)),
        }
    }

    /// Reads the whole object, but keeps nothing of it.
    pub(super) fn standing(&self, key: &ObjectKey) -> Result<Option<Standing>, ObjectError> {
        let Some(Meta { lock_until, .. }) = self.head(key)? else { return Ok(None) };
        let (mut file, _) = match self.open_file(key) {
            Err(ObjectError::NotFound { .. }) => return Ok(None),
            other => other?,
        };
        let (sha256, length) = hash_file(&mut file).map_err(|source| cannot("read", key, source))?;
        Ok(Some(Standing { sha256, length, lock_until }))
    }

    pub(super) fn open_reader(&self, key: &ObjectKey) -> Result<LocalReader, ObjectError> {
        let (file, length) = self.open_file(key)?;
        Ok(LocalReader { file: Arc::new(file), key: key.clone(), length, position: 0 })
    }

    fn open_file(&self, key: &ObjectKey) -> Result<(File, u64), ObjectError> {
        let open = || {
            let file = File::open(self.path_of(key))?;
            let metadata = file.metadata()?;
            Ok((file, metadata))
        };
        match open() {
            Ok((file, metadata)) if metadata.is_file() => Ok((file, metadata.len())),
            Ok(_) => Err(ObjectError::NotFound { key: key.clone() }),
            Err(error) if is_absent(&error) => Err(ObjectError::NotFound { key: key.clone() }),
            Err(error) => Err(cannot("read", key, error)),
        }
    }
}

/// A file that is being read. A replaced or deleted object is read to its end as it was when it was opened.
#[derive(Debug)]
pub struct LocalReader {
    file: Arc<File>,
    key: ObjectKey,
    length: u64,
    position: u64,
}

impl LocalReader {
    pub(crate) const fn length(&self) -> u64 {
        self.length
    }

    pub(crate) async fn next_piece(&mut self) -> Result<Option<Vec<u8>>, ObjectError> {
        let wanted = (self.length - self.position).min(PIECE_BYTES_MAX as u64);
        if wanted == 0 {
            return Ok(None);
        }
        let (file, key, offset, length) = (self.file.clone(), self.key.clone(), self.position, self.length);
        let piece = blocking("read", move || read_exactly(&file, &key, offset, wanted, length)).await?;
        self.position += wanted;
        Ok(Some(piece))
    }
}

fn read_exactly(
    file: &File,
    key: &ObjectKey,
    offset: u64,
    length: u64,
    object_length: u64,
) -> Result<Vec<u8>, ObjectError> {
    let end = offset.saturating_add(length);
    if end > object_length {
        return Err(ObjectError::RangeBeyondEnd { key: key.clone(), length: object_length, offset, end });
    }
    if length > WHOLE_BYTES_MAX {
        return Err(ObjectError::TooLarge { key: key.clone(), length, limit: WHOLE_BYTES_MAX });
    }
    let mut bytes = vec![0; length as usize];
    file.read_exact_at(&mut bytes, offset).map_err(|source| cannot("read", key, source))?;
    Ok(bytes)
}

fn lock_of(metadata: &Metadata, key: &ObjectKey) -> Result<Option<Timestamp>, ObjectError> {
    let modified = metadata.modified().map_err(|source| cannot("look at the lock of", key, source))?;
    let since_1970 = modified
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_err(|error| cannot("read the lock date of", key, io::Error::other(error)))?;
    let millis = since_1970.as_millis() as i64;
    Ok((millis != 0).then(|| Timestamp::from_millis(millis)))
}
