//! Opening, making and throwing away an index.

use std::{
    fmt, fs, io,
    path::Path,
    str::FromStr,
    sync::{Mutex, atomic::AtomicBool},
};

use openarchive_domain::ParseError;
use tantivy::{
    Directory as _, Index, IndexSettings, ReloadPolicy, TantivyError,
    directory::{INDEX_WRITER_LOCK, MmapDirectory},
    tokenizer::TextAnalyzer,
};

use super::{Generation, Inner, OpenError, Writer, schema::Fields, tokens};

/// The subfolder, named after the format. Another schema or analyser is another format: what another version of this
/// program left is thrown away and made anew from the archive, as everything here can be.
///
/// v2: size, agents, observations; wider breaks between the texts of a field.
pub(super) const FORMAT: &str = "v2";

/// The header says that the index was filled.
const FILLED: &str = "filled";
/// Or that nobody knows yet.
const FILLING: &str = "filling";

/// What every commit carries with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) generation: Generation,
    /// The next document's insertion sequence. Kept apart from the documents, because the last may be deleted.
    pub(super) next_sequence: u64,
    pub(super) filled: bool,
}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.filled { FILLED } else { FILLING };
        write!(f, "openarchive-index {FORMAT} {} {} {state}", self.generation, self.next_sequence)
    }
}

impl FromStr for Header {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error =
            || ParseError::new("index header", text, "openarchive-index v2 GENERATION NEXT-SEQUENCE STATE");
        let fields: Vec<_> = text.split(' ').collect();
        let ["openarchive-index", FORMAT, generation, next_sequence, state] = fields[..] else {
            return Err(error());
        };
        let next_sequence = next_sequence.parse().map_err(|_| error())?;
        let filled = match state {
            FILLED => true,
            FILLING => false,
            _ => return Err(error()),
        };
        Ok(Self { generation: generation.parse()?, next_sequence, filled })
    }
}

pub(super) fn open(folder: &Path, fresh: Generation) -> Result<Inner, OpenError> {
    let (all, folder) = (folder, folder.join(FORMAT));
    fs::create_dir_all(&folder).map_err(|source| OpenError::io(&folder, source))?;
    let is_new = is_new(&folder).map_err(|source| OpenError::io(&folder, source))?;
    let opened = open_in(&folder, is_new, fresh).map_err(|error| OpenError::of(&folder, error))?;
    discard_others(all)?;
    Ok(opened)
}

/// Throws away the indexes of other formats beside ours.
fn discard_others(all: &Path) -> Result<(), OpenError> {
    let entries = fs::read_dir(all).map_err(|source| OpenError::io(all, source))?;
    for entry in entries {
        let entry = entry.map_err(|source| OpenError::io(all, source))?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix('v'));
        let is_format = number.is_some_and(|number| number.parse::<u32>().is_ok());
        if is_format && name != FORMAT {
            tracing::warn!(format = ?name, "an index of another version is thrown away; it is made anew");
            discard(&entry.path())?;
        }
    }
    Ok(())
}

/// Fails if the index is open.
fn discard(folder: &Path) -> Result<(), OpenError> {
    let directory = MmapDirectory::open(folder).map_err(|error| OpenError::of(folder, error.into()))?;
    let lock = directory
        .acquire_lock(&INDEX_WRITER_LOCK)
        .map_err(|error| OpenError::of(folder, TantivyError::LockFailure(error, None)))?;
    fs::remove_dir_all(folder).map_err(|source| OpenError::io(folder, source))?;
    drop(lock);
    Ok(())
}

pub(super) fn recreate(folder: &Path, fresh: Generation) -> Result<Inner, OpenError> {
    let old = folder.join(FORMAT);
    if old.exists() {
        discard(&old)?;
    }
    open(folder, fresh)
}

/// Nothing in it but what a start that was cut short leaves behind (lock and list of files, both hidden).
fn is_new(folder: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(folder)? {
        if !entry?.file_name().as_encoded_bytes().starts_with(b".") {
            return Ok(false);
        }
    }
    Ok(true)
}

fn open_in(folder: &Path, is_new: bool, fresh: Generation) -> tantivy::Result<Inner> {
    let (schema, fields) = Fields::schema();
    let directory = MmapDirectory::open(folder)?;
    let index = if is_new {
        // The documents' store stays empty, so it needs no thread of its own.
        let settings =
            IndexSettings { docstore_compress_dedicated_thread: false, ..IndexSettings::default() };
        Index::create(directory, schema, settings)?
    } else {
        Index::open(directory)?
    };
    let (expected, _) = Fields::schema();
    if index.schema() != expected {
        return Err(TantivyError::SchemaError("the index has other fields than this version".to_owned()));
    }
    index.tokenizers().register(tokens::TOKENIZER, TextAnalyzer::from(tokens::Analyser));

    let mut writer = Writer::open(&index)?;
    let metas = index.load_metas()?;
    let header = match metas.payload {
        Some(payload) => payload.parse().map_err(|error: ParseError| {
            TantivyError::SchemaError(format!("the index has no header of this version: {error}"))
        })?,
        // Made, but cut short before the first commit.
        None if metas.segments.is_empty() => {
            let header = Header { generation: fresh, next_sequence: 1, filled: false };
            let mut commit = writer.prepare_commit()?;
            commit.set_payload(&header.to_string());
            commit.commit()?;
            header
        }
        None => return Err(TantivyError::SchemaError("the index has no header".to_owned())),
    };
    let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
    Ok(Inner {
        fields,
        reader,
        generation: header.generation,
        filled: AtomicBool::new(header.filled),
        writer: Mutex::new(Writer::new(writer, header.next_sequence)),
        index,
    })
}
