mod journal;

use std::io;

use openarchive_domain::{Digest, FixedClock, Timestamp};
use openarchive_mail::PartEncoder;
use openarchive_mail::{Base64Recipe, LineEnd, Recipe, journal::Unfit};
use tempfile::TempDir;

use super::*;
use crate::{
    buffer::{BufferOptions, Buffered, MessageId, State},
    content::Content,
};

fn new_acceptor() -> (TempDir, Acceptor) {
    let folder = tempfile::tempdir().unwrap();
    let options = BufferOptions { data_dir: folder.path().to_owned(), high_water_bytes: 1 << 30 };
    let clock = FixedClock::at(Timestamp::from_millis(1_700_000_000_000));
    let acceptor = Acceptor::new(Buffer::open(options).unwrap(), Arc::new(clock));
    (folder, acceptor)
}

fn base64(bytes: &[u8], line_length: u16) -> Vec<u8> {
    let padding = [0, 2, 1][bytes.len() % 3];
    let line_end = LineEnd::CrLf;
    let recipe = Base64Recipe { line_length, line_end, padding, last_break: true, trailing: Vec::new() };
    let (mut encoder, mut out) = (PartEncoder::new(&Recipe::Base64(recipe)), Vec::new());
    encoder.push(bytes, &mut out);
    encoder.finish(&mut out);
    out
}

fn with_attachment(attachment: &[u8], line_length: u16) -> Vec<u8> {
    let head = b"Subject: report\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\
        Content-Type: text/plain\r\n\r\nSee the report.\r\n--b\r\nContent-Type: application/pdf; name=r.pdf\r\n\
        Content-Disposition: attachment; filename=r.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n";
    [head.as_slice(), &base64(attachment, line_length), b"\r\n--b--\r\n"].concat()
}

fn noise(length: usize) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..length).map(|_| next()).collect()
}

fn arrival(acceptor: &Acceptor, message: &[u8], mode: Mode, rcpt: &[&str]) -> Arrival {
    let mut spool = Spool::new(acceptor.buffer().spool_dir());
    for piece in message.chunks(50_000) {
        spool.tail().extend_from_slice(piece);
        spool.settle_blocking().unwrap();
    }
    Arrival {
        message: spool,
        from: "sender@example.com".to_owned(),
        rcpt: rcpt.iter().map(|r| (*r).to_owned()).collect(),
        peer: "192.0.2.1".to_owned(),
        mode,
        progress: None,
    }
}

async fn accept_one(acceptor: &Acceptor, message: &[u8]) -> Buffered {
    let arrival = arrival(acceptor, message, Mode::Journal(JournalMode::Plain), &["r@example.com"]);
    let Kept { seat, journaled: 0 } = acceptor.accept(arrival).await.unwrap() else { panic!("one mail") };
    let all = acceptor.buffer().pending(MessageId::START, 1000).await.unwrap();
    all.into_iter().find(|m| m.seat == seat).unwrap()
}

fn bytes_of(content: &Content) -> Vec<u8> {
    let mut bytes = Vec::new();
    content
        .read(1 << 20, |piece| {
            bytes.extend_from_slice(piece);
            io::Result::Ok(())
        })
        .unwrap();
    bytes
}

#[tokio::test]
async fn any_mail_comes_out_of_the_buffer_as_it_went_in() {
    let (_folder, acceptor) = new_acceptor();
    let attachment = noise(200_000);
    for message in [
        Vec::new(),
        b"Subject: small\r\n\r\nbody\r\n".to_vec(),
        b"no header, \0 and \r bare\r\n".to_vec(),
        with_attachment(&attachment, 76),
        with_attachment(&attachment, 72),
        with_attachment(&noise(3_000_000), 76),
        noise(2_500_000),
        [b"Subject: long text\r\n\r\n".to_vec(), b"lorem ipsum dolor sit amet\r\n".repeat(100_000)].concat(),
    ] {
        let kept = accept_one(&acceptor, &message).await;
        assert_eq!((kept.message, kept.length), (Digest::of(&message), message.len() as u64));
        let rebuilt = acceptor.buffer().rebuild(&kept).await.unwrap();
        assert!(bytes_of(&rebuilt) == message, "{} bytes", message.len());
        assert!(!kept.flags.iter().any(|flag| flag == "kept-whole"), "{:?}", kept.flags);
    }
}

#[tokio::test]
async fn an_attachment_is_one_part_however_it_is_wrapped() {
    let (_folder, acceptor) = new_acceptor();
    let attachment = noise(200_000);
    let first = accept_one(&acceptor, &with_attachment(&attachment, 76)).await;
    let bytes = acceptor.buffer().stats().await.unwrap().bytes;
    let second = accept_one(&acceptor, &with_attachment(&attachment, 72)).await;
    assert_eq!(first.parts[0].digest, Digest::of(&attachment));
    assert_eq!(first.parts, second.parts);
    assert!(acceptor.buffer().stats().await.unwrap().bytes - bytes < 1000, "only another skeleton");
}

#[tokio::test]
async fn a_mail_can_be_kept_whole_afterwards() {
    let (_folder, acceptor) = new_acceptor();
    for message in [with_attachment(&noise(3_000_000), 76), b"Subject: small\r\n\r\n".to_vec()] {
        let split = accept_one(&acceptor, &message).await;
        let whole = acceptor.buffer().replace_whole(split.id).await.unwrap();
        assert_eq!((whole.seat, whole.message), (split.seat, split.message));
        let in_one_part = whole.parts.iter().any(|part| part.digest == Digest::of(&message));
        assert_eq!(in_one_part, message.len() >= 1024);
        let rebuilt = acceptor.buffer().rebuild(&whole).await.unwrap();
        assert!(bytes_of(&rebuilt) == message);
        for part in split.parts {
            assert_eq!(
                acceptor.buffer().blob_in_memory(part.digest).await.unwrap(),
                None,
                "what it was is gone"
            );
        }
    }
    let bytes: u64 = acceptor
        .buffer()
        .pending(MessageId::START, 10)
        .await
        .unwrap()
        .iter()
        .map(|m| m.skeleton.length + m.parts.iter().map(|p| p.length).sum::<u64>())
        .sum();
    assert_eq!(acceptor.buffer().stats().await.unwrap().bytes, bytes);
}

#[tokio::test]
async fn recipients_are_unwrapped_by_the_peers_mode_and_what_does_not_fit_is_quarantined() {
    let (_folder, acceptor) = new_acceptor();
    let check = async |mode, rcpt: &[&str], to: &[&str], state: State, mode_name: &str| {
        let seat = acceptor.accept(arrival(&acceptor, b"x\r\n", mode, rcpt)).await.unwrap().seat;
        let all = acceptor.buffer().pending(MessageId::START, 100).await.unwrap();
        let kept = all.into_iter().find(|m| m.seat == seat).unwrap();
        assert_eq!((kept.envelope.to, kept.state), (to.iter().map(|t| (*t).to_owned()).collect(), state));
        assert_eq!(kept.envelope.mode, mode_name);
    };
    let wrapped = ["jrn+bcc=example.com@journal.test", "jrn+to=example.com@journal.test"];
    let quarantined = || State::Quarantined { reason: Unfit::Recipients.reason().to_owned() };
    let jrn_plus = Mode::Journal(JournalMode::JrnPlus);
    check(jrn_plus, &wrapped, &["bcc@example.com", "to@example.com"], State::Stored, "jrn-plus").await;
    check(Mode::Journal(JournalMode::Plain), &wrapped, &wrapped, State::Stored, "plain").await;
    let mixed = [wrapped[0], "plain@example.com"];
    check(jrn_plus, &mixed, &mixed, quarantined(), "jrn-plus").await;
    check(Mode::Import, &["a@example.com"], &["a@example.com"], State::Stored, "import").await;
}

#[tokio::test]
async fn a_damaged_buffer_is_found_and_nothing_is_replaced() {
    let (folder, acceptor) = new_acceptor();
    let kept = accept_one(&acceptor, &with_attachment(&noise(200_000), 76)).await;
    let other = rusqlite::Connection::open(folder.path().join("buffer.db")).unwrap();
    let sql = "UPDATE blob_chunk SET bytes = zeroblob(length(bytes)) WHERE length(bytes) > 100000";
    assert_eq!(other.execute(sql, []).unwrap(), 1);
    let error = acceptor.buffer().rebuild(&kept).await.unwrap_err();
    assert!(matches!(error, BufferError::Damaged { .. }), "{error}");
    assert!(acceptor.buffer().replace_whole(kept.id).await.is_err());
    assert_eq!(acceptor.buffer().message(kept.id).await.unwrap(), Some(kept));
}
