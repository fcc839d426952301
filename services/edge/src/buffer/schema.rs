//! The tables of `buffer.db`, version 1.

/// Stored as `user_version`.
pub(super) const VERSION: i64 = 1;

/// Stored as `application_id`: "OAEB".
pub(super) const APPLICATION_ID: i64 = 0x4f41_4542;

/// Chunks of one blob have the ids `blob id * CHUNKS_PER_BLOB_MAX + place`, so blobs are written in sequence.
pub(super) const CHUNKS_PER_BLOB_MAX: i64 = 1024;

/// `agent_epoch` and `seq` are u64 stored in two's complement. Times are milliseconds since 1970.
pub(super) const TABLES: &str = "
CREATE TABLE meta (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    instance BLOB NOT NULL CHECK (length(instance) = 16),
    agent_epoch INTEGER NOT NULL,
    next_seq INTEGER NOT NULL,
    next_id INTEGER NOT NULL,
    -- What is in the tables message and blob_chunk now.
    messages INTEGER NOT NULL,
    bytes INTEGER NOT NULL
) STRICT;

CREATE TABLE message (
    id INTEGER PRIMARY KEY,
    agent_epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    digest BLOB NOT NULL,
    length INTEGER NOT NULL,
    skeleton INTEGER NOT NULL,
    envelope TEXT NOT NULL,
    occurred_at INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('stored', 'quarantined')),
    reason TEXT NOT NULL,
    flags TEXT NOT NULL
) STRICT;

CREATE TABLE message_part (
    message INTEGER NOT NULL,
    place INTEGER NOT NULL,
    blob INTEGER NOT NULL,
    PRIMARY KEY (message, place)
) STRICT, WITHOUT ROWID;

CREATE TABLE blob (
    id INTEGER PRIMARY KEY,
    digest BLOB NOT NULL UNIQUE,
    length INTEGER NOT NULL,
    -- Mails that refer to it, as skeleton or as part.
    refs INTEGER NOT NULL
) STRICT;

CREATE TABLE blob_chunk (
    id INTEGER PRIMARY KEY,
    bytes BLOB NOT NULL
) STRICT;

CREATE TABLE receipt (
    agent_epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    message BLOB NOT NULL,
    leaf_index INTEGER NOT NULL,
    receipt TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (agent_epoch, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE checkpoint (
    origin TEXT PRIMARY KEY,
    note TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT;

CREATE TABLE suspect_checkpoint (
    id INTEGER PRIMARY KEY,
    origin TEXT NOT NULL,
    note TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT;

CREATE TABLE alarm (
    kind TEXT PRIMARY KEY,
    detail TEXT NOT NULL,
    first_at INTEGER NOT NULL,
    last_at INTEGER NOT NULL
) STRICT;

CREATE TABLE import_progress (
    source TEXT PRIMARY KEY,
    position TEXT NOT NULL
) STRICT;
";
