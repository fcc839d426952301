//! Each limit on both sides, and the memory that they add up to.

use super::*;
use crate::{
    SKELETON_BYTES_MAX,
    limits::{DEPTH_MAX, HEADER_BLOCK_BYTES_MAX, PARTS_MAX, REFERENCES_MAX, VERBATIM_RUN_BYTES},
};

fn is_over_a_limit(message: &[u8]) -> bool {
    split(message).0.flags.structure_limit
}

fn nested(depth: usize) -> Vec<u8> {
    let mut message = String::new();
    for level in 0..depth {
        message += &format!("Content-Type: multipart/mixed; boundary=b{level}\r\n\r\n--b{level}\r\n");
    }
    (message + "\r\ntext\r\n").into_bytes()
}

#[test]
fn sixty_four_containers_may_be_open() {
    assert!(!is_over_a_limit(&nested(DEPTH_MAX)));
    assert!(is_over_a_limit(&nested(DEPTH_MAX + 1)));
    let messages = |depth| "Content-Type: message/rfc822\r\n\r\n".repeat(depth) + "\r\ntext\r\n";
    assert!(!is_over_a_limit(messages(DEPTH_MAX).as_bytes()));
    assert!(is_over_a_limit(messages(DEPTH_MAX + 1).as_bytes()));
}

#[test]
fn a_hundred_thousand_nested_parts_are_kept_and_flagged() {
    let message = nested(100_000);
    let (split, _) = split(&message);
    assert_eq!(split.flags.names(), ["structure-limit"]);
    assert!(message.len() > VERBATIM_RUN_BYTES);
    assert!(matches!(split.skeleton.segments(), [Segment::Part(_)]), "kept whole");
}

fn with_parts(leaves: usize, leaf: &str) -> Vec<u8> {
    let header = "Content-Type: multipart/mixed; boundary=b\r\n\r\n";
    [header, &format!("--b\r\n{leaf}").repeat(leaves), "--b--\r\n"].concat().into_bytes()
}

#[test]
fn ten_thousand_parts_are_looked_at_the_message_itself_among_them() {
    assert!(!is_over_a_limit(&with_parts(PARTS_MAX - 1, "\r\ntext\r\n")));
    assert!(is_over_a_limit(&with_parts(PARTS_MAX, "\r\ntext\r\n")));
}

#[test]
fn no_message_makes_more_references_than_a_skeleton_may_have() {
    let leaf = format!("Content-Type: application/x\r\n\r\n{}\r\n", "x".repeat(1024));
    for (leaves, references, is_over) in
        [(PARTS_MAX - 1, PARTS_MAX - 1, false), (PARTS_MAX, PARTS_MAX - 1, true), (12_000, PARTS_MAX, true)]
    {
        let (split, _) = split(&with_parts(leaves, &leaf));
        assert_eq!(split.skeleton.parts().count(), references);
        assert_eq!(split.flags.structure_limit, is_over);
    }
}

/// Each leaf is a text part that counts as verbatim run and an attachment that ends the run.
#[test]
fn no_message_makes_a_large_skeleton() {
    let attachment = format!("Content-Type: application/x\r\n\r\n{}\r\n", "x".repeat(1024));
    for text in [1000, 12_000, 500_000, VERBATIM_RUN_BYTES - 1000, VERBATIM_RUN_BYTES] {
        let leaf = format!("\r\n{}\r\n--b\r\n{attachment}", "y".repeat(text));
        let count = (60 << 20) / leaf.len();
        let (split, _) = split(&with_parts(count, &leaf));
        let size = split.skeleton.encode().len();
        assert!(size < SKELETON_BYTES_MAX, "{text}: {size}");
        assert!(split.skeleton.parts().count() <= REFERENCES_MAX);
    }
}

#[test]
fn trailing_bytes_do_not_make_a_large_skeleton_either() {
    let body = base64_text(&content(1024, 1), 76, "\r\n");
    let leaf = format!(
        "Content-Type: application/x\r\nContent-Transfer-Encoding: base64\r\n\r\n{body}\r\n{}\r\n",
        "!\r\n".repeat(20_000)
    );
    let (split, _) = split(&with_parts(600, &leaf));
    assert!(split.skeleton.encode().len() < SKELETON_BYTES_MAX);
    assert!(!split.flags.structure_limit);
}

#[test]
fn a_header_block_may_be_1_mib_long() {
    let with = |bytes: usize| {
        let rest = "Subject: s\r\nContent-Type: application/x\r\nX-Pad: \r\n";
        let body = "x".repeat(2000);
        format!(
            "Subject: s\r\nX-Pad: {}\r\nContent-Type: application/x\r\n\r\n{body}",
            "p".repeat(bytes - rest.len())
        )
    };
    let at_limit = with(HEADER_BLOCK_BYTES_MAX);
    assert!(!is_over_a_limit(at_limit.as_bytes()));
    assert_eq!(contents(at_limit.as_bytes()).last().map(Vec::len), Some(2000));
    let (over, _) = split(with(HEADER_BLOCK_BYTES_MAX + 1).as_bytes());
    assert!(over.flags.structure_limit);
    assert!(matches!(over.skeleton.segments(), [Segment::Part(_)]), "kept whole");
}

#[test]
fn a_header_of_1_mib_in_a_part_is_kept_and_flagged_too() {
    let leaf = format!("X-Pad: {}\r\n\r\ntext\r\n", "p".repeat(HEADER_BLOCK_BYTES_MAX));
    assert!(is_over_a_limit(&with_parts(1, &leaf)));
}

#[test]
fn a_verbatim_run_of_1_mib_becomes_a_part() {
    let header = "Subject: s\r\n\r\n";
    for (bytes, parts) in
        [(VERBATIM_RUN_BYTES - 1, 0), (VERBATIM_RUN_BYTES, 1), (3 * VERBATIM_RUN_BYTES + 5, 1)]
    {
        let message = format!("{header}{}", "y".repeat(bytes - header.len()));
        let (split, _) = split(message.as_bytes());
        assert_eq!(split.skeleton.parts().count(), parts);
        assert_eq!(split.skeleton.segments().len(), 1);
    }
}

/// Feeds `unit` over and over, up to 100 MiB, and returns the most memory that was held.
fn most_held(head: &[u8], unit: &[u8]) -> (usize, Counting, Split) {
    let mut splitter = Splitter::new(Counting::default());
    splitter.feed(head).unwrap();
    let chunk = unit.repeat(64 * 1024 / unit.len());
    let mut most = 0;
    for _ in 0..(100 << 20) / chunk.len() {
        splitter.feed(&chunk).unwrap();
        most = most.max(splitter.held_bytes());
    }
    let (split, sink) = splitter.finish().unwrap();
    (most, sink, split)
}

#[test]
fn a_hundred_mib_pass_in_constant_memory() {
    let base64 = b"Content-Type: application/x\r\nContent-Transfer-Encoding: base64\r\n\r\n";
    let identity = b"Content-Type: application/x\r\n\r\n";
    let text = b"Subject: s\r\n\r\n";
    let line = ["QUJD".repeat(19).as_str(), "\r\n"].concat();
    for (head, unit, limit) in [
        (base64.as_slice(), line.as_bytes(), 512 << 10),
        (base64, b"QUJD", 512 << 10),
        (base64, b"=\r\n", 3 << 20),
        (identity, line.as_bytes(), 512 << 10),
        (identity, b"\0", 512 << 10),
        (text, line.as_bytes(), 3 << 20),
        (text, b"\r\n", 3 << 20),
    ] {
        let (most, sink, split) = most_held(head, unit);
        let name = unit.escape_ascii();
        assert!(most <= limit, "{name}: {most} bytes held");
        assert!(sink.largest <= 64 << 10, "{name}: {} bytes at once", sink.largest);
        assert_eq!((sink.begun, sink.ended, sink.aborted), (1, 1, 0), "{name}");
        assert!(split.skeleton.encode().len() < 1000, "{name}");
    }
}
