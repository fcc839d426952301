//! Making and opening `buffer.db`.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags};

use super::{
    Buffer, BufferError, BufferOptions, Shared, counters::Counters, error::Doing, schema, writer::Writer,
};
use crate::spool::SpoolDir;

const FILE: &str = "buffer.db";

/// How long one process waits for another's transaction (an import beside a running agent).
const LOCK_WAIT: Duration = Duration::from_mins(1);

/// SQLite's page cache of each connection, in KiB.
const CACHE_KIB: i64 = 4 * 1024;

/// After a checkpoint the WAL file keeps at most this many bytes on the disk.
const WAL_FILE_BYTES_KEPT: i64 = 128 * 1024 * 1024;

impl Buffer {
    /// Opens the buffer in the data folder, or makes it with a random instance and epoch. Blocks on the disk.
    ///
    /// Recovery after a crash is SQLite's: what was committed is there, what was not is gone.
    pub fn open(options: BufferOptions) -> Result<Self, BufferError> {
        let BufferOptions { data_dir, high_water_bytes } = options;
        let spool = data_dir.join("spool");
        make_private_dir(&data_dir)?;
        make_private_dir(&spool)?;
        let path = data_dir.join(FILE);
        make_private_file(&path)?;
        let connection = connect(&path)?;
        if is_new(&connection, &path)? {
            create_tables(&connection)?;
            sync_dir(&data_dir)?;
        }
        let instance = connection
            .query_row("SELECT instance FROM meta", [], |row| row.get(0))
            .doing("read the instance")?;
        let counters = Arc::new(Counters::read(&connection)?);
        let reader = Arc::new(Mutex::new(connect_reader(&path)?));
        let writer = Writer::start(connection, Arc::clone(&counters))?;
        let spool_dir = SpoolDir::new(spool);
        Ok(Self(Arc::new(Shared {
            data_dir,
            instance,
            high_water_bytes,
            spool_dir,
            counters,
            writer,
            reader,
        })))
    }

    /// Whether an agent has ever made a buffer in this folder.
    pub fn exists(data_dir: &Path) -> bool {
        data_dir.join(FILE).exists()
    }
}

fn make_private_dir(path: &Path) -> Result<(), BufferError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|source| BufferError::File {
        doing: "make the folder",
        path: path.to_owned(),
        source,
    })
}

/// SQLite gives its other files (WAL, shared memory) the permissions of this one.
fn make_private_file(path: &Path) -> Result<(), BufferError> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(BufferError::File { doing: "make", path: path.to_owned(), source: error })
        }
        _ => Ok(()),
    }
}

fn sync_dir(path: &Path) -> Result<(), BufferError> {
    File::open(path).and_then(|dir| dir.sync_all()).map_err(|source| BufferError::File {
        doing: "make durable the folder",
        path: path.to_owned(),
        source,
    })
}

fn connect(path: &Path) -> Result<Connection, BufferError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).doing("open the database")?;
    connection.busy_timeout(LOCK_WAIT).doing("set the lock wait")?;
    connection
        .execute_batch(&format!(
            "PRAGMA journal_mode = WAL;
             PRAGMA synchronous = FULL;
             PRAGMA wal_autocheckpoint = 0;
             PRAGMA journal_size_limit = {WAL_FILE_BYTES_KEPT};
             PRAGMA cache_size = -{CACHE_KIB};
             PRAGMA temp_store = MEMORY;"
        ))
        .doing("set up the connection")?;
    Ok(connection)
}

fn connect_reader(path: &Path) -> Result<Connection, BufferError> {
    let connection = connect(path)?;
    connection.execute_batch("PRAGMA query_only = ON").doing("set up the reading connection")?;
    Ok(connection)
}

fn is_new(connection: &Connection, path: &Path) -> Result<bool, BufferError> {
    let pragma = |name: &str| {
        connection
            .query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0))
            .doing("read the version")
    };
    let (application, found) = (pragma("application_id")?, pragma("user_version")?);
    if application == 0 && found == 0 {
        return Ok(true);
    }
    if application != schema::APPLICATION_ID || found > schema::VERSION {
        return Err(BufferError::Version { path: PathBuf::from(path), found, known: schema::VERSION });
    }
    Ok(false)
}

/// In one transaction, so that a crash leaves either no tables or all of them.
fn create_tables(connection: &Connection) -> Result<(), BufferError> {
    let instance = hex::encode(openarchive_domain::random::bytes::<16>());
    let epoch = i64::from_be_bytes(openarchive_domain::random::bytes());
    connection
        .execute_batch(&format!(
            "BEGIN IMMEDIATE;
             {tables}
             INSERT INTO meta VALUES (1, x'{instance}', {epoch}, 1, 1, 0, 0);
             PRAGMA application_id = {application};
             PRAGMA user_version = {version};
             COMMIT;",
            tables = schema::TABLES,
            application = schema::APPLICATION_ID,
            version = schema::VERSION,
        ))
        .doing("make the tables")
}
