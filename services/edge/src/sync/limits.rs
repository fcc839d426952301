//! Every bound on the talk with the core.

use std::time::Duration;

/// Mails that are offered together. Several times what one checkpoint interval of the core brings at the design load,
/// since a receipt waits for the next checkpoint.
pub const BATCH_MESSAGES_MAX: usize = 1024;

/// A batch is closed when its mails have this many bytes together; one mail alone may have more.
pub const BATCH_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Mails of one CommitMessages call; the core takes 256.
pub const COMMIT_ITEMS_MAX: usize = 128;

/// A CommitMessages call is closed when its request has this many bytes: envelopes can be long, and come back in the
/// receipts in base64.
pub const COMMIT_REQUEST_BYTES_MAX: usize = 8 * 1024 * 1024;

/// CommitMessages calls at a time.
pub const COMMIT_CALLS_MAX: usize = 8;

/// How often a batch is committed again because the core asked for blobs or for the whole mail.
pub const COMMIT_ROUNDS_MAX: u32 = 4;

/// How often a mail is tried whose class is another when it is committed than when it was offered, before it is set
/// aside. Once is normal: the core had not read its header.
pub const CLASS_TRIES_MAX: u32 = 4;

/// Longest encoded skeleton, in bytes, that is read to say in an offer who the header names: a header of the greatest
/// length and as much again.
pub const HINT_SKELETON_BYTES_MAX: u64 = 2 * 1024 * 1024;

/// Most memory for what the offers of one batch say about headers, in bytes; the mails after that are offered without.
pub const BATCH_HINT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Longest piece of a blob in an UploadBlobs stream, as the proto says.
pub const UPLOAD_CHUNK_BYTES_MAX: usize = 256 * 1024;

/// An UploadBlobs stream is closed when its blobs have this many bytes together; one blob alone may have more.
pub const UPLOAD_STREAM_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Blobs of one UploadBlobs stream.
pub const UPLOAD_STREAM_BLOBS_MAX: usize = 1000;

/// UploadBlobs streams at a time.
pub const UPLOAD_STREAMS_MAX: usize = 4;

/// Pieces of a blob that wait for the network, for each stream.
pub const UPLOAD_CHUNKS_WAITING_MAX: usize = 4;

/// Longest gRPC message that is taken from the core: what the core itself allows.
pub const RPC_MESSAGE_BYTES_MAX: usize = 34 * 1024 * 1024;

/// How long the core may take for each call.
pub const OFFER_DEADLINE: Duration = Duration::from_mins(2);
pub const COMMIT_DEADLINE: Duration = Duration::from_mins(3);
pub const REPORT_DEADLINE: Duration = Duration::from_secs(30);
pub const CONSISTENCY_DEADLINE: Duration = Duration::from_secs(30);

/// An upload may take this time (a pack lingers to be filled) and one second for each
/// [`UPLOAD_BYTES_PER_SECOND_MIN`].
pub const UPLOAD_DEADLINE: Duration = Duration::from_mins(5);
pub const UPLOAD_BYTES_PER_SECOND_MIN: u64 = 64 * 1024;

/// What is kept of a core's own words in logs and alarms, in characters.
pub const CORE_WORDS_CHARACTERS_MAX: usize = 200;
