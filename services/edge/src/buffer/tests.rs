use std::os::unix::fs::PermissionsExt;

use openarchive_domain::{Digest, Timestamp};
use tempfile::TempDir;

use super::*;
use crate::content::Content;

const AT: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const ROOMY: u64 = 1 << 30;

fn open(folder: &TempDir, high_water_bytes: u64) -> Buffer {
    Buffer::open(BufferOptions { data_dir: folder.path().join("data"), high_water_bytes }).unwrap()
}

fn new_buffer(high_water_bytes: u64) -> (TempDir, Buffer) {
    let folder = tempfile::tempdir().unwrap();
    let buffer = open(&folder, high_water_bytes);
    (folder, buffer)
}

fn blob(bytes: &[u8]) -> NewBlob {
    NewBlob { digest: Digest::of(bytes), content: bytes.to_vec().into() }
}

/// A mail with its own skeleton and the given parts. The buffer does not look into them.
fn mail(name: &str, parts: &[&[u8]]) -> NewMessage {
    NewMessage {
        message: Digest::of(name.as_bytes()),
        length: 1000,
        skeleton: blob(format!("skeleton of {name}").as_bytes()),
        parts: parts.iter().map(|part| blob(part)).collect(),
        envelope: Envelope {
            from: String::new(),
            to: vec![format!("{name}@example.com")],
            peer: "192.0.2.1".to_owned(),
            mode: "plain".to_owned(),
        },
        occurred_at: AT,
        state: State::Stored,
        flags: vec!["nul".to_owned()],
        progress: None,
    }
}

fn checkpoint(note: &str) -> KnownCheckpoint {
    KnownCheckpoint { origin: "example.com/acme/evidence/1".to_owned(), note: note.to_owned() }
}

async fn prune(buffer: &Buffer, messages: &[Buffered]) -> Result<(), BufferError> {
    let verified = messages
        .iter()
        .map(|m| Prune { id: m.id, leaf_index: m.seat.seq + 10, receipt: format!("receipt {}", m.seat.seq) })
        .collect();
    buffer.prune(verified, checkpoint("note"), AT).await
}

async fn seqs(buffer: &Buffer) -> Vec<u64> {
    buffer.pending(MessageId::START, 10_000).await.unwrap().iter().map(|m| m.seat.seq).collect()
}

#[tokio::test]
async fn what_came_together_is_kept_together_or_not_at_all() {
    let (folder, buffer) = new_buffer(ROOMY);
    let shared: &[u8] = b"a part of both";
    let first =
        buffer.store_all(vec![mail("a", &[shared]), mail("b", &[shared]), mail("c", &[])]).await.unwrap();
    assert_eq!((first.seq, seqs(&buffer).await), (1, vec![1, 2, 3]));
    let before = buffer.stats().await.unwrap();

    // A spool file that has lost its bytes fails the third when the first two are written.
    let file = std::sync::Arc::new(std::fs::File::create_new(folder.path().join("short")).unwrap());
    let lost = Content::File { file, offset: 0, length: 10 };
    let part = NewBlob { digest: Digest::of(b"lost"), content: lost };
    let broken = NewMessage { parts: vec![part], ..mail("f", &[]) };
    assert!(buffer.store_all(vec![mail("d", &[b"new part"]), mail("e", &[]), broken]).await.is_err());
    assert_eq!(buffer.stats().await.unwrap(), before, "nothing of it is there");
    assert_eq!(buffer.store(mail("g", &[])).await.unwrap().seq, 4, "and no number is lost");

    let (_folder, full) = new_buffer(1);
    full.store(mail("a", &[])).await.unwrap();
    let refused = full.store_all(vec![mail("b", &[]), mail("c", &[])]).await;
    assert!(matches!(refused, Err(BufferError::Full { .. })), "{refused:?}");
    assert_eq!(seqs(&full).await, [1]);
}

#[tokio::test]
async fn what_was_stored_is_listed_in_order_with_all_that_an_offer_says() {
    let (folder, buffer) = new_buffer(ROOMY);
    let seat = buffer.store(mail("a", &[b"part one", b"part two"])).await.unwrap();
    assert_eq!((seat.instance, seat.seq), (buffer.instance(), 1));
    let quarantined = State::Quarantined { reason: "because".to_owned() };
    buffer.store(NewMessage { state: quarantined.clone(), ..mail("b", &[]) }).await.unwrap();
    drop(buffer);
    assert!(!folder.path().join("data/buffer.db-wal").exists(), "a buffer that was closed has no WAL");

    let buffer = open(&folder, ROOMY);
    let pending = buffer.pending(MessageId::START, 10).await.unwrap();
    assert_eq!(pending.len(), 2);
    let first = &pending[0];
    assert_eq!((first.seat, first.message, first.length), (seat, Digest::of(b"a"), 1000));
    assert_eq!(
        (first.occurred_at, &first.state, &first.flags),
        (AT, &State::Stored, &vec!["nul".to_owned()])
    );
    assert_eq!(first.envelope, mail("a", &[]).envelope);
    assert_eq!(first.skeleton, BlobRef { digest: Digest::of(b"skeleton of a"), length: 13 });
    let parts: Vec<_> = first.parts.iter().map(|part| (part.digest, part.length)).collect();
    assert_eq!(parts, [(Digest::of(b"part one"), 8), (Digest::of(b"part two"), 8)]);
    assert_eq!((pending[1].seat.seq, &pending[1].state), (2, &quarantined));
    assert_eq!(buffer.pending(first.id, 10).await.unwrap(), pending[1..]);
    assert_eq!(buffer.pending(MessageId::START, 1).await.unwrap(), pending[..1]);
    assert_eq!(buffer.message(first.id).await.unwrap().as_ref(), Some(first));
    assert_eq!(buffer.blob_in_memory(Digest::of(b"part two")).await.unwrap().unwrap(), b"part two");
    assert!(buffer.blob(Digest::of(b"other")).await.unwrap().is_none());
}

#[tokio::test]
async fn files_are_for_the_owner_alone() {
    let (folder, buffer) = new_buffer(ROOMY);
    buffer.store(mail("a", &[])).await.unwrap();
    let data = folder.path().join("data");
    let mode = |name: &str| std::fs::metadata(data.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(""), mode("spool")), (0o700, 0o700));
    for file in ["buffer.db", "buffer.db-wal", "buffer.db-shm"] {
        assert_eq!(mode(file), 0o600, "{file}");
    }
}

#[tokio::test]
async fn a_part_is_kept_once_and_goes_with_its_last_mail() {
    let (_folder, buffer) = new_buffer(ROOMY);
    let part = vec![b'x'; 3000];
    buffer.store(mail("a", &[&part])).await.unwrap();
    buffer.store(mail("b", &[&part])).await.unwrap();
    let skeletons = 2 * "skeleton of a".len() as u64;
    assert_eq!(buffer.stats().await.unwrap().bytes, 3000 + skeletons);
    let pending = buffer.pending(MessageId::START, 10).await.unwrap();
    prune(&buffer, &pending[..1]).await.unwrap();
    assert_eq!(buffer.blob_in_memory(Digest::of(&part)).await.unwrap(), Some(part.clone()));
    assert_eq!(buffer.blob_in_memory(Digest::of(b"skeleton of a")).await.unwrap(), None);
    prune(&buffer, &pending[1..]).await.unwrap();
    assert_eq!(buffer.blob_in_memory(Digest::of(&part)).await.unwrap(), None);
    let stats = buffer.stats().await.unwrap();
    assert_eq!((stats.messages, stats.bytes, stats.highest_seq, stats.oldest_pending), (0, 0, 2, None));
}

#[tokio::test]
async fn receipt_and_checkpoint_stay_and_ids_are_never_given_twice() {
    let (_folder, buffer) = new_buffer(ROOMY);
    assert_eq!(buffer.last_leaf_index().await.unwrap(), None);
    let seat = buffer.store(mail("a", &[])).await.unwrap();
    let pending = buffer.pending(MessageId::START, 10).await.unwrap();
    prune(&buffer, &pending).await.unwrap();
    let receipt = buffer.receipt(seat.agent_epoch, 1).await.unwrap().unwrap();
    assert_eq!((receipt.seat, receipt.message, receipt.leaf_index), (seat, Digest::of(b"a"), 11));
    assert_eq!((receipt.receipt.as_str(), receipt.at), ("receipt 1", AT));
    assert_eq!(buffer.receipt(seat.agent_epoch, 2).await.unwrap(), None);
    assert_eq!(buffer.last_leaf_index().await.unwrap(), Some(11));
    assert_eq!(buffer.checkpoint(&checkpoint("").origin).await.unwrap().as_deref(), Some("note"));
    assert_eq!(buffer.checkpoint("other").await.unwrap(), None);
    assert_eq!(buffer.store(mail("b", &[])).await.unwrap().seq, 2);
    let next = buffer.pending(pending[0].id, 10).await.unwrap();
    assert_eq!(next.len(), 1, "a cursor behind a pruned mail finds the next one");
}

#[tokio::test]
async fn a_prune_that_names_an_unknown_mail_does_nothing() {
    let (_folder, buffer) = new_buffer(ROOMY);
    buffer.store(mail("a", &[b"part"])).await.unwrap();
    let mut messages = buffer.pending(MessageId::START, 10).await.unwrap();
    let unknown = Buffered { id: MessageId(77), ..messages[0].clone() };
    messages.push(unknown);
    assert!(matches!(prune(&buffer, &messages).await, Err(BufferError::NotBuffered(MessageId(77)))));
    assert_eq!(seqs(&buffer).await, [1]);
    assert_eq!(buffer.receipt(messages[0].seat.agent_epoch, 1).await.unwrap(), None);
    assert_eq!(buffer.checkpoint(&checkpoint("").origin).await.unwrap(), None);
    assert_eq!(buffer.blob_in_memory(Digest::of(b"part")).await.unwrap().unwrap(), b"part");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_a_time_get_numbers_without_gaps() {
    let (_folder, buffer) = new_buffer(ROOMY);
    let stores = (0..200).map(|n| {
        let buffer = buffer.clone();
        tokio::spawn(async move {
            let _expected = buffer.expect_mail();
            buffer.store(mail(&n.to_string(), &[b"shared"])).await.unwrap().seq
        })
    });
    let mut given =
        futures::future::join_all(stores).await.into_iter().map(Result::unwrap).collect::<Vec<_>>();
    given.sort_unstable();
    let expected: Vec<u64> = (1..=200).collect();
    assert_eq!(given, expected);
    assert_eq!(seqs(&buffer).await, expected);
}

#[tokio::test]
async fn at_the_mark_mail_is_refused_and_below_it_taken_again() {
    let size = "skeleton of a".len() as u64;
    let (_folder, buffer) = new_buffer(2 * size);
    buffer.store(mail("a", &[])).await.unwrap();
    assert!(buffer.has_room());
    buffer.store(mail("b", &[])).await.unwrap();
    assert!(!buffer.has_room());
    let error = buffer.store(mail("c", &[])).await.unwrap_err();
    assert!(
        matches!(error, BufferError::Full { bytes, high_water } if bytes == 2 * size && high_water == 2 * size)
    );
    assert!(error.is_lack_of_room());
    let pending = buffer.pending(MessageId::START, 1).await.unwrap();
    prune(&buffer, &pending).await.unwrap();
    assert!(buffer.has_room());
    assert_eq!(buffer.store(mail("c", &[])).await.unwrap().seq, 3, "a refused mail used up no number");
}

#[tokio::test]
async fn a_full_disk_refuses_one_mail_and_spares_the_others() {
    let (_folder, buffer) = new_buffer(ROOMY);
    buffer.store(mail("a", &[])).await.unwrap();
    let page_count = |count: i64| {
        buffer.write(0, move |connection| {
            let sql = format!("PRAGMA max_page_count = {count}");
            connection.query_row(&sql, [], |_| Ok(())).map_err(|source| BufferError::database("set", source))
        })
    };
    // SQLite answers SQLITE_FULL beyond that number of pages just as it does when the disk has no more blocks.
    page_count(60).await.unwrap();
    let big = vec![b'x'; 1024 * 1024];
    let (big, small, other) = tokio::join!(
        buffer.store(mail("b", &[&big])),
        buffer.store(mail("c", &[])),
        buffer.store(mail("d", &[]))
    );
    let error = big.unwrap_err();
    assert!(matches!(error, BufferError::DiskFull) && error.is_lack_of_room());
    assert_eq!((small.unwrap().seq, other.unwrap().seq), (2, 3));
    page_count(1_000_000).await.unwrap();
    assert_eq!(buffer.store(mail("b", &[&vec![b'x'; 500_000]])).await.unwrap().seq, 4);
    assert_eq!(seqs(&buffer).await, [1, 2, 3, 4]);
    assert_eq!(
        buffer.blob_in_memory(Digest::of(&vec![b'x'; 1024 * 1024])).await.unwrap(),
        None,
        "nothing half-written"
    );
}

#[tokio::test]
async fn a_new_epoch_counts_from_one_and_a_reseated_mail_goes_there() {
    let (_folder, buffer) = new_buffer(ROOMY);
    let old = buffer.store(mail("a", &[])).await.unwrap();
    buffer.store(mail("b", &[])).await.unwrap();
    buffer.set_epoch(u64::MAX - 1).await.unwrap();
    assert_eq!(buffer.stats().await.unwrap().highest_seq, 0);
    let new = buffer.store(mail("c", &[])).await.unwrap();
    assert_eq!((new.agent_epoch, new.seq), (u64::MAX - 1, 1));
    let id = buffer.pending(MessageId::START, 1).await.unwrap()[0].id;
    let moved = buffer.reseat(id).await.unwrap();
    assert_eq!((moved.agent_epoch, moved.seq), (u64::MAX - 1, 2));
    let pending = buffer.pending(MessageId::START, 10).await.unwrap();
    let seats: Vec<_> = pending.iter().map(|m| (m.seat.agent_epoch, m.seat.seq)).collect();
    assert_eq!(seats, [(u64::MAX - 1, 2), (old.agent_epoch, 2), (u64::MAX - 1, 1)]);
    assert!(matches!(buffer.reseat(MessageId(99)).await, Err(BufferError::NotBuffered(_))));
    assert_eq!(buffer.stats().await.unwrap().highest_seq, 2, "the failed call used up no number");
}

#[tokio::test]
async fn import_progress_moves_with_its_mail_or_not_at_all() {
    let (_folder, buffer) = new_buffer(20);
    let progress = |position: &str| Progress { source: "box.mbox".to_owned(), position: position.to_owned() };
    assert_eq!(buffer.import_progress("box.mbox").await.unwrap(), None);
    buffer.store(NewMessage { progress: Some(progress("100")), ..mail("a", &[]) }).await.unwrap();
    assert_eq!(buffer.import_progress("box.mbox").await.unwrap().as_deref(), Some("100"));
    buffer.store(NewMessage { progress: Some(progress("200")), ..mail("b", &[]) }).await.unwrap();
    let refused = buffer.store(NewMessage { progress: Some(progress("300")), ..mail("c", &[]) }).await;
    assert!(matches!(refused, Err(BufferError::Full { .. })));
    assert_eq!(buffer.import_progress("box.mbox").await.unwrap().as_deref(), Some("200"));
    buffer.set_import_progress(progress("end")).await.unwrap();
    assert_eq!(buffer.import_progress("box.mbox").await.unwrap().as_deref(), Some("end"));
}

#[tokio::test]
async fn a_large_blob_is_read_back_in_chunks() {
    let (folder, buffer) = new_buffer(ROOMY);
    let bytes: Vec<u8> = (0..2 * BLOB_CHUNK_BYTES_MAX + 5).map(|i| (i / 7) as u8).collect();
    let path = folder.path().join("spooled");
    std::fs::write(&path, [b"before".as_slice(), &bytes].concat()).unwrap();
    let file = std::fs::File::open(&path).unwrap().into();
    let content = Content::File { file, offset: 6, length: bytes.len() as u64 };
    let part = NewBlob { digest: Digest::of(&bytes), content };
    buffer.store(NewMessage { parts: vec![part], ..mail("a", &[]) }).await.unwrap();
    let mut reader = buffer.blob(Digest::of(&bytes)).await.unwrap().unwrap();
    let mut lengths = Vec::new();
    let mut found = Vec::new();
    while let Some(chunk) = reader.next().await.unwrap() {
        lengths.push(chunk.len());
        found.extend_from_slice(&chunk);
    }
    assert_eq!(lengths, [BLOB_CHUNK_BYTES_MAX, BLOB_CHUNK_BYTES_MAX, 5]);
    assert_eq!(found, bytes);
}

#[tokio::test]
async fn alarms_and_suspects_stay_until_they_are_cleared() {
    let (folder, buffer) = new_buffer(ROOMY);
    let later = Timestamp::from_millis(AT.as_millis() + 1000);
    buffer.raise_alarm("receipt-rejected", "first".to_owned(), AT).await.unwrap();
    buffer.raise_alarm("receipt-rejected", "second".to_owned(), later).await.unwrap();
    buffer.raise_alarm("seq-known", "other".to_owned(), later).await.unwrap();
    for _ in 0..2 {
        buffer.keep_suspect(checkpoint("forked"), AT).await.unwrap();
    }
    buffer.keep_checkpoint(checkpoint("good"), AT).await.unwrap();
    drop(buffer);
    let buffer = open(&folder, ROOMY);
    let alarms = buffer.alarms().await.unwrap();
    let shown: Vec<_> =
        alarms.iter().map(|a| (a.kind.as_str(), a.detail.as_str(), a.first_at, a.last_at)).collect();
    assert_eq!(shown, [("receipt-rejected", "second", AT, later), ("seq-known", "other", later, later)]);
    assert_eq!(buffer.suspects().await.unwrap(), [checkpoint("forked")]);
    assert_eq!(buffer.checkpoint(&checkpoint("").origin).await.unwrap().as_deref(), Some("good"));
    buffer.clear_alarm("receipt-rejected").await.unwrap();
    buffer.clear_alarm("never-raised").await.unwrap();
    assert_eq!(buffer.alarms().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_waiter_is_woken_by_the_next_mail_and_by_one_it_missed() {
    let (_folder, buffer) = new_buffer(ROOMY);
    buffer.store(mail("a", &[])).await.unwrap();
    buffer.wait_for_arrival().await;
    let ((), stored) = tokio::join!(buffer.wait_for_arrival(), buffer.store(mail("b", &[])));
    stored.unwrap();
}

#[tokio::test]
async fn two_processes_may_write_to_one_buffer() {
    let (folder, agent) = new_buffer(ROOMY);
    let import = open(&folder, ROOMY);
    assert_eq!(agent.store(mail("a", &[])).await.unwrap().seq, 1);
    assert_eq!(import.store(mail("b", &[])).await.unwrap().seq, 2);
    assert_eq!(agent.store(mail("c", &[])).await.unwrap().seq, 3);
    assert_eq!(seqs(&import).await, [1, 2, 3]);
}

#[tokio::test]
async fn a_buffer_of_a_newer_version_is_left_alone() {
    let (folder, buffer) = new_buffer(ROOMY);
    buffer
        .write(0, |connection| {
            connection.execute_batch("PRAGMA user_version = 2").map_err(|e| BufferError::database("set", e))
        })
        .await
        .unwrap();
    drop(buffer);
    let options = BufferOptions { data_dir: folder.path().join("data"), high_water_bytes: ROOMY };
    let error = Buffer::open(options).unwrap_err().to_string();
    assert!(error.contains("newer version (2, this one knows 1)"), "{error}");
}

#[tokio::test]
async fn the_wal_is_moved_into_the_database_when_it_has_grown() {
    let (folder, buffer) = new_buffer(ROOMY);
    let database = folder.path().join("data/buffer.db");
    for n in 0..72_u8 {
        let part = vec![n; 1024 * 1024];
        buffer.store(mail(&n.to_string(), &[&part])).await.unwrap();
    }
    // The answer to the write that follows the checkpoint says that it is over.
    buffer.clear_alarm("none").await.unwrap();
    let bytes = std::fs::metadata(&database).unwrap().len();
    assert!(bytes > 60 * 1024 * 1024, "{bytes} bytes in the database file");
}
