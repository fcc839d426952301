//! Sessions of mail servers, and of whoever else connects.

use std::sync::Arc;

use openarchive_edge::smtp::{
    limits::{COMMAND_LINE_BYTES_MAX, RECIPIENTS_MAX},
    session::{Delivery, Protocol, Room, Rules, Session, StartTls, Step},
};

/// Small, so that input gets beyond it.
const MESSAGE_BYTES_MAX: u64 = 4096;

/// A mail that came through: its sender, recipients, content.
type Delivered = (String, Vec<String>, Vec<u8>);

pub(crate) fn smtp(input: &[u8]) {
    check(Protocol::Smtp, input);
}

pub(crate) fn lmtp(input: &[u8]) {
    check(Protocol::Lmtp, input);
}

fn check(protocol: Protocol, input: &[u8]) {
    for start_tls in [StartTls::Offered, StartTls::Required] {
        let at_once = Play::new(protocol, start_tls).all(input, input.len().max(1));
        let by_the_byte = Play::new(protocol, start_tls).all(input, 1);
        // A client that does not wait where it must is hung up on; it never gets more through for it.
        assert!(by_the_byte.starts_with(&at_once), "pieces matter: {at_once:?} against {by_the_byte:?}");
        let has_chunks = input.windows(4).any(|word| word.eq_ignore_ascii_case(b"BDAT"));
        for (_, to, body) in &at_once {
            assert!((1..=RECIPIENTS_MAX).contains(&to.len()));
            assert!(body.len() as u64 <= MESSAGE_BYTES_MAX);
            // Nothing is taken for a mail's end, or for its content, but what the client sent as that.
            assert!(has_chunks || was_sent(input, body), "a mail that nobody sent: {}", body.escape_ascii());
        }
    }
}

struct Play {
    session: Session,
    body: Vec<u8>,
    delivered: Vec<Delivered>,
}

impl Play {
    fn new(protocol: Protocol, start_tls: StartTls) -> Self {
        let hostname = "edge.test".to_owned();
        let rules = Rules { hostname, protocol, message_bytes_max: MESSAGE_BYTES_MAX, start_tls };
        Self { session: Session::new(Arc::new(rules)), body: Vec::new(), delivered: Vec::new() }
    }

    /// As `connection` drives a session, with input that comes in pieces.
    fn all(mut self, input: &[u8], piece: usize) -> Vec<Delivered> {
        let mut waiting = Vec::new();
        let mut out = Vec::new();
        for piece in input.chunks(piece) {
            waiting.extend_from_slice(piece);
            loop {
                let before = out.len();
                let (taken, step) =
                    self.session.advance(&waiting, &mut || Room::Enough, &mut out, &mut self.body);
                assert!(taken <= waiting.len());
                waiting.drain(..taken);
                check_replies(&out[before..]);
                match step {
                    Step::Read => break,
                    Step::Close => return self.delivered,
                    Step::Discard => self.body.clear(),
                    Step::StartTls => self.session.encrypted(),
                    Step::Deliver(transaction) => {
                        let body = std::mem::take(&mut self.body);
                        self.delivered.push((transaction.from, transaction.to, body));
                        self.session.delivered(Delivery::Kept { first: 1, last: 1 }, &mut out);
                    }
                }
            }
            assert!(waiting.len() < COMMAND_LINE_BYTES_MAX, "the session waits for more than it can hold");
            // One mail's content at most, with what came in one piece beyond it before it was refused.
            assert!(self.body.len() <= MESSAGE_BYTES_MAX as usize + input.len());
        }
        self.delivered
    }
}

/// Every line is a reply: three digits, space or hyphen, text, CRLF.
fn check_replies(out: &[u8]) {
    assert!(out.is_empty() || out.ends_with(b"\r\n"));
    for line in out.split_inclusive(|byte| *byte == b'\n') {
        let text = line.strip_suffix(b"\r\n");
        let is_reply = text.is_some_and(|line| {
            line.len() >= 4
                && line[..3].iter().all(u8::is_ascii_digit)
                && matches!(line[3], b' ' | b'-')
                && line.iter().all(|byte| matches!(byte, b' '..=b'~'))
        });
        assert!(is_reply, "not a reply: {:?}", String::from_utf8_lossy(line));
    }
}

/// Whether some of the input's lines, up to one of a single dot, are this content (RFC 5321 section 4.5.2).
fn was_sent(input: &[u8], body: &[u8]) -> bool {
    let mut from = Some(0);
    while let Some(start) = from {
        if content_from(&input[start..]).is_some_and(|content| content == body) {
            return true;
        }
        from = end_of_line(&input[start..]).map(|length| start + length);
    }
    false
}

/// The content that begins here, without the dots that were added; `None` if it does not end.
fn content_from(mut input: &[u8]) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    loop {
        let (line, rest) = input.split_at(end_of_line(input)?);
        if line == b".\r\n" {
            return Some(content);
        }
        content.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
        input = rest;
    }
}

/// Behind the next CRLF.
fn end_of_line(input: &[u8]) -> Option<usize> {
    input.windows(2).position(|two| two == b"\r\n").map(|at| at + 2)
}
