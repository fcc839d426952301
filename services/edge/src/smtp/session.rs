//! The protocol of one session without I/O: bytes in, replies and events out.

#[cfg(test)]
mod tests;

use std::{borrow::Cow, sync::Arc};

use super::{
    body::{BodyEvent, BodyReader},
    command::{self, Command},
    limits::{COMMAND_LINE_BYTES_MAX, ERRORS_MAX, RECIPIENTS_MAX, REFUSED_BYTES_MAX},
    reply::{self, Reply},
};

/// Whether mail is taken before TLS is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartTls {
    Offered,
    Required,
}

/// What holds for every session of a listener.
#[derive(Debug, Clone)]
pub struct Rules {
    pub hostname: String,
    /// Longest mail, in bytes after dot-unstuffing. Announced with SIZE.
    pub message_bytes_max: u64,
    pub start_tls: StartTls,
}

/// Whether the buffer takes mail now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    Enough,
    None,
}

/// The envelope of a mail.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Transaction {
    /// "" is the null sender.
    pub from: String,
    pub to: Vec<String>,
}

/// What became of a mail that was delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// Durable, with this number.
    Kept {
        seq: u64,
    },
    NoRoom,
    Failed,
}

/// What the driver does next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Send what is in `out`, then call again with more input.
    Read,
    /// The mail is complete in `body`: deliver it, then call [`Session::delivered`].
    Deliver(Transaction),
    /// Forget what came into `body`, then call again.
    Discard,
    /// Send what is in `out`, do the handshake, then call [`Session::encrypted`].
    StartTls,
    /// Send what is in `out`, then close.
    Close,
}

#[derive(Debug)]
pub struct Session {
    rules: Arc<Rules>,
    channel: Channel,
    phase: Phase,
    line: Line,
    errors: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Channel {
    Plain,
    Encrypted,
}

#[derive(Debug)]
enum Phase {
    /// No EHLO or HELO yet.
    Greeted,
    Ready,
    /// After MAIL.
    Mail(Transaction),
    Data {
        transaction: Transaction,
        reader: BodyReader,
        content: BodyContent,
    },
    /// Between [`Step::Deliver`] and [`Session::delivered`].
    Delivering,
    Closed,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum BodyContent {
    Kept {
        bytes: u64,
    },
    /// Read to its end and then answered with this.
    Refused(Reply),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Within,
    /// The line is already too long; the rest of it is skipped.
    TooLong,
}

impl Session {
    pub fn new(rules: Arc<Rules>) -> Self {
        Self { rules, channel: Channel::Plain, phase: Phase::Greeted, line: Line::Within, errors: 0 }
    }

    /// The first words on a new connection.
    pub fn greet(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("220 {} ESMTP OpenArchive\r\n", self.rules.hostname).as_bytes());
    }

    /// Between DATA and the answer to its end: the session should be let finish when the agent stops.
    pub fn is_receiving(&self) -> bool {
        matches!(self.phase, Phase::Data { .. } | Phase::Delivering)
    }

    /// Between MAIL and the answer to its mail.
    pub fn has_mail_coming(&self) -> bool {
        matches!(self.phase, Phase::Mail(_) | Phase::Data { .. } | Phase::Delivering)
    }

    /// Bytes of the body received so far, if one is being received.
    pub fn body_bytes(&self) -> Option<u64> {
        match &self.phase {
            Phase::Data { reader, .. } => Some(reader.received_bytes()),
            _ => None,
        }
    }

    /// Takes bytes from the front of `input` and returns how many. Replies are appended to `out`, content to `body`.
    ///
    /// `input` must be able to hold [`COMMAND_LINE_BYTES_MAX`] bytes.
    pub fn advance(
        &mut self,
        input: &[u8],
        room: Room,
        out: &mut Vec<u8>,
        body: &mut Vec<u8>,
    ) -> (usize, Step) {
        let mut taken = 0;
        let step = loop {
            let rest = &input[taken..];
            let (now, step) = match self.phase {
                Phase::Data { .. } => self.advance_body(rest, out, body),
                Phase::Delivering => (0, Some(Step::Read)),
                Phase::Closed => (rest.len(), Some(Step::Close)),
                Phase::Greeted | Phase::Ready | Phase::Mail(_) => self.advance_command(rest, room, out),
            };
            taken += now;
            if let Some(step) = step {
                break step;
            }
        };
        (taken, step)
    }

    /// The answer to the end of DATA.
    pub fn delivered(&mut self, delivery: Delivery, out: &mut Vec<u8>) {
        debug_assert!(matches!(self.phase, Phase::Delivering));
        self.phase = Phase::Ready;
        match delivery {
            Delivery::Kept { seq } => {
                let text = Cow::Owned(format!("kept as {seq}"));
                Reply { code: 250, enhanced: "2.0.0", text }.write(out);
            }
            Delivery::NoRoom => reply::NO_ROOM.write(out),
            Delivery::Failed => reply::NOT_KEPT.write(out),
        }
    }

    /// The body cannot be spooled: it is read to its end and answered with 452. [`Step::Discard`] is implied.
    pub fn refuse_body(&mut self) {
        if let Phase::Data { content, .. } = &mut self.phase {
            *content = BodyContent::Refused(reply::NO_ROOM);
        }
    }

    /// The handshake is done; the client starts again with EHLO (RFC 3207 section 4.2).
    pub fn encrypted(&mut self) {
        self.channel = Channel::Encrypted;
        self.phase = Phase::Greeted;
    }

    fn advance_body(&mut self, input: &[u8], out: &mut Vec<u8>, body: &mut Vec<u8>) -> (usize, Option<Step>) {
        let Phase::Data { transaction, reader, content } = &mut self.phase else {
            return (0, Some(Step::Read));
        };
        if input.is_empty() {
            return (0, Some(Step::Read));
        }
        let before = body.len();
        let (taken, event) = reader.advance(input, body);
        match content {
            BodyContent::Refused(_) => body.truncate(before),
            BodyContent::Kept { bytes } => *bytes += (body.len() - before) as u64,
        }
        let max = self.rules.message_bytes_max;
        if matches!(content, BodyContent::Kept { bytes } if *bytes > max) {
            *content = BodyContent::Refused(reply::TOO_LARGE);
            if event == BodyEvent::More {
                return (taken, Some(Step::Discard));
            }
        }
        let step = match (event, content) {
            (BodyEvent::More, BodyContent::Refused(refusal))
                if reader.received_bytes() > max + REFUSED_BYTES_MAX =>
            {
                let refusal = refusal.clone();
                Some(self.close_with(&refusal, out))
            }
            (BodyEvent::More, _) => Some(Step::Read),
            (BodyEvent::BareLf, _) => Some(self.close_with(&reply::BARE_LF, out)),
            (BodyEvent::End, BodyContent::Refused(refusal)) => {
                refusal.write(out);
                self.phase = Phase::Ready;
                Some(Step::Discard)
            }
            (BodyEvent::End, BodyContent::Kept { .. }) => {
                let transaction = std::mem::take(transaction);
                self.phase = Phase::Delivering;
                Some(Step::Deliver(transaction))
            }
        };
        (taken, step)
    }

    /// At most one line. `None`: call again.
    fn advance_command(&mut self, input: &[u8], room: Room, out: &mut Vec<u8>) -> (usize, Option<Step>) {
        let window = &input[..input.len().min(COMMAND_LINE_BYTES_MAX)];
        let Some(end) = window.iter().position(|byte| *byte == b'\n') else {
            if window.len() < COMMAND_LINE_BYTES_MAX {
                return (0, Some(Step::Read));
            }
            self.line = Line::TooLong;
            return (window.len(), None);
        };
        let taken = end + 1;
        if std::mem::replace(&mut self.line, Line::Within) == Line::TooLong {
            return (taken, self.answer(&reply::LINE_TOO_LONG, out));
        }
        let Some(line) = window[..end].strip_suffix(b"\r") else {
            return (taken, Some(self.close_with(&reply::NOT_CRLF, out)));
        };
        let step = match command::parse(line) {
            Ok(command) => self.obey(command, room, &input[taken..], out),
            Err(refusal) => self.answer(&refusal, out),
        };
        (taken, step)
    }

    fn obey(&mut self, command: Command, room: Room, following: &[u8], out: &mut Vec<u8>) -> Option<Step> {
        let needs_tls = self.rules.start_tls == StartTls::Required && self.channel == Channel::Plain;
        match command {
            Command::Ehlo => self.hello(out),
            Command::Quit => Some(self.close_with(&reply::BYE, out)),
            Command::Noop => self.answer(&reply::OK, out),
            Command::StartTls => self.start_tls(following, out),
            _ if needs_tls => self.answer(&reply::TLS_FIRST, out),
            Command::Helo => {
                self.phase = Phase::Ready;
                let hostname = Cow::Owned(self.rules.hostname.clone());
                self.answer(&Reply { code: 250, enhanced: "", text: hostname }, out)
            }
            Command::Mail { from, declared_bytes } => self.mail(from, declared_bytes, room, out),
            Command::Rcpt { to } => self.rcpt(to, out),
            Command::Data => self.data(following, out),
            Command::Rset => {
                if let Phase::Mail(_) = self.phase {
                    self.phase = Phase::Ready;
                }
                self.answer(&reply::OK, out)
            }
            Command::Vrfy => self.answer(&reply::VRFY, out),
            Command::Bdat => Some(self.close_with(&reply::NOT_IMPLEMENTED, out)),
        }
    }

    fn hello(&mut self, out: &mut Vec<u8>) -> Option<Step> {
        self.phase = Phase::Ready;
        let Rules { hostname, message_bytes_max, .. } = &*self.rules;
        out.extend_from_slice(format!("250-{hostname}\r\n250-PIPELINING\r\n").as_bytes());
        out.extend_from_slice(format!("250-SIZE {message_bytes_max}\r\n").as_bytes());
        if self.channel == Channel::Plain {
            out.extend_from_slice(b"250-STARTTLS\r\n");
        }
        out.extend_from_slice(b"250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n");
        None
    }

    fn start_tls(&mut self, following: &[u8], out: &mut Vec<u8>) -> Option<Step> {
        if self.channel == Channel::Encrypted {
            return self.answer(&reply::TLS_TWICE, out);
        }
        // What stands here was not encrypted, whoever wrote it, and would be read as if it had been (CVE-2011-0411).
        if !following.is_empty() {
            return Some(self.close_with(&reply::PIPELINED_TLS, out));
        }
        reply::START_TLS.write(out);
        Some(Step::StartTls)
    }

    fn mail(
        &mut self,
        from: String,
        declared_bytes: Option<u64>,
        room: Room,
        out: &mut Vec<u8>,
    ) -> Option<Step> {
        match self.phase {
            Phase::Ready => {}
            Phase::Mail(_) => return self.answer(&reply::MAIL_TWICE, out),
            _ => return self.answer(&reply::HELLO_FIRST, out),
        }
        if declared_bytes.is_some_and(|bytes| bytes > self.rules.message_bytes_max) {
            return self.answer(&reply::TOO_LARGE, out);
        }
        if room == Room::None {
            // No fault of the client's: it does not count as an error.
            reply::NO_ROOM.write(out);
            return None;
        }
        self.phase = Phase::Mail(Transaction { from, to: Vec::new() });
        self.answer(&reply::SENDER_OK, out)
    }

    fn rcpt(&mut self, to: String, out: &mut Vec<u8>) -> Option<Step> {
        let Phase::Mail(transaction) = &mut self.phase else { return self.answer(&reply::MAIL_FIRST, out) };
        if transaction.to.len() >= RECIPIENTS_MAX {
            // The client's right (RFC 5321 section 4.5.3.1.10): it does not count as an error.
            reply::TOO_MANY_RECIPIENTS.write(out);
            return None;
        }
        transaction.to.push(to);
        self.answer(&reply::RECIPIENT_OK, out)
    }

    fn data(&mut self, following: &[u8], out: &mut Vec<u8>) -> Option<Step> {
        let refusal = match &mut self.phase {
            Phase::Mail(transaction) if transaction.to.is_empty() => reply::NO_RECIPIENTS,
            Phase::Mail(transaction) => {
                let transaction = std::mem::take(transaction);
                let content = BodyContent::Kept { bytes: 0 };
                self.phase = Phase::Data { transaction, reader: BodyReader::new(), content };
                return self.answer(&reply::START_MAIL, out);
            }
            _ => reply::MAIL_FIRST,
        };
        // Who sends on without waiting for 354 sends a mail's content, which must not be read as commands.
        if following.is_empty() { self.answer(&refusal, out) } else { Some(self.close_with(&refusal, out)) }
    }

    fn answer(&mut self, reply: &Reply, out: &mut Vec<u8>) -> Option<Step> {
        reply.write(out);
        if reply.is_error() {
            self.errors += 1;
            if self.errors >= ERRORS_MAX {
                return Some(self.close_with(&reply::TOO_MANY_ERRORS, out));
            }
        }
        None
    }

    fn close_with(&mut self, reply: &Reply, out: &mut Vec<u8>) -> Step {
        reply.write(out);
        self.phase = Phase::Closed;
        Step::Close
    }
}
