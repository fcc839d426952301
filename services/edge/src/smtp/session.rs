//! The protocol of one session without I/O: bytes in, replies and events out.

mod chunk;
mod data;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, sync::Arc};

use super::{
    command::{self, BodyType, Command},
    limits::{COMMAND_LINE_BYTES_MAX, ERRORS_MAX, RECIPIENTS_MAX},
    reply::{self, Reply},
};
use chunk::Chunk;
use data::Data;

/// What is spoken on a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    #[default]
    Smtp,
    /// RFC 2033: as SMTP, but for LHLO and an answer to each recipient at the end of a mail.
    Lmtp,
}

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
    pub protocol: Protocol,
    /// Longest mail, in bytes after dot-unstuffing. Announced with SIZE.
    pub message_bytes_max: u64,
    pub start_tls: StartTls,
}

/// Whether a mail may be begun now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    Enough,
    /// The buffer is full.
    None,
    /// The peer has sent enough for now.
    NotNow,
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
    /// Durable, with these numbers.
    Kept {
        first: u64,
        last: u64,
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
    units_taken: u64,
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
    /// After MAIL, and between the chunks of BDAT.
    Mail(Mail),
    Data(Data),
    Chunk(Chunk),
    /// Between [`Step::Deliver`] and [`Session::delivered`].
    Delivering {
        recipients: usize,
    },
    Closed,
}

/// A mail that was begun.
#[derive(Debug, Default)]
struct Mail {
    transaction: Transaction,
    body: BodyType,
    chunks: Chunks,
}

/// What has come of a mail by BDAT.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
enum Chunks {
    #[default]
    None,
    Kept {
        bytes: u64,
    },
    /// What came is lost; the next chunk is answered with this.
    Lost(Reply),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Within,
    /// The line is already too long; the rest of it is skipped.
    TooLong,
}

impl Session {
    pub fn new(rules: Arc<Rules>) -> Self {
        Self {
            rules,
            channel: Channel::Plain,
            phase: Phase::Greeted,
            line: Line::Within,
            errors: 0,
            units_taken: 0,
        }
    }

    /// The first words on a new connection.
    pub fn greet(&self, out: &mut Vec<u8>) {
        let protocol = match self.rules.protocol {
            Protocol::Smtp => "ESMTP",
            Protocol::Lmtp => "LMTP",
        };
        out.extend_from_slice(format!("220 {} {protocol} OpenArchive\r\n", self.rules.hostname).as_bytes());
    }

    /// Whole commands, chunks and mails taken so far: grows when the client has done what it owed us.
    pub fn units_taken(&self) -> u64 {
        self.units_taken
    }

    /// Within DATA or a chunk of BDAT, or before the answer to its end: the session should be let finish when the agent
    /// stops.
    pub fn is_receiving(&self) -> bool {
        matches!(self.phase, Phase::Data(_) | Phase::Chunk(_) | Phase::Delivering { .. })
    }

    /// Between MAIL and the answer to its mail.
    pub fn has_mail_coming(&self) -> bool {
        matches!(self.phase, Phase::Mail(_)) || self.is_receiving()
    }

    /// Bytes received so far of the body, or of the chunk of one, that is being received.
    pub fn body_bytes(&self) -> Option<u64> {
        match &self.phase {
            Phase::Data(data) => Some(data.received_bytes()),
            Phase::Chunk(chunk) => Some(chunk.received_bytes()),
            _ => None,
        }
    }

    /// Takes bytes from the front of `input` and returns how many. Replies are appended to `out`, content to `body`.
    /// `room` is asked once for each mail that is begun.
    ///
    /// `input` must be able to hold [`COMMAND_LINE_BYTES_MAX`] bytes.
    pub fn advance(
        &mut self,
        input: &[u8],
        room: &mut dyn FnMut() -> Room,
        out: &mut Vec<u8>,
        body: &mut Vec<u8>,
    ) -> (usize, Step) {
        let mut taken = 0;
        let step = loop {
            let rest = &input[taken..];
            let (now, step) = match self.phase {
                Phase::Data(_) => self.advance_data(rest, out, body),
                Phase::Chunk(_) => self.advance_chunk(rest, out, body),
                Phase::Delivering { .. } => (0, Some(Step::Read)),
                Phase::Closed => (rest.len(), Some(Step::Close)),
                Phase::Greeted | Phase::Ready | Phase::Mail(_) => self.advance_command(rest, &mut *room, out),
            };
            taken += now;
            if let Some(step) = step {
                break step;
            }
        };
        (taken, step)
    }

    /// The answer to the end of a mail.
    pub fn delivered(&mut self, delivery: Delivery, out: &mut Vec<u8>) {
        let Phase::Delivering { recipients } = self.phase else { return };
        self.phase = Phase::Ready;
        let reply = match delivery {
            Delivery::Kept { first, last } => {
                let numbers = if first == last { first.to_string() } else { format!("{first} to {last}") };
                Reply { code: 250, enhanced: "2.0.0", text: Cow::Owned(format!("kept as {numbers}")) }
            }
            Delivery::NoRoom => reply::NO_ROOM,
            Delivery::Failed => reply::NOT_KEPT,
        };
        self.answer_mail(&reply, recipients, out);
    }

    /// What came of the body cannot be spooled: the rest is read to its end and answered with 452. [`Step::Discard`] is
    /// implied.
    pub fn refuse_body(&mut self) {
        match &mut self.phase {
            Phase::Data(data) => data.refuse(reply::NO_ROOM),
            Phase::Chunk(chunk) => chunk.refuse(reply::NO_ROOM),
            Phase::Mail(mail) if mail.chunks != Chunks::None => mail.chunks = Chunks::Lost(reply::NO_ROOM),
            _ => {}
        }
    }

    /// The handshake is done; the client starts again with EHLO (RFC 3207 section 4.2).
    pub fn encrypted(&mut self) {
        self.channel = Channel::Encrypted;
        self.phase = Phase::Greeted;
    }

    /// At most one line. `None`: call again.
    fn advance_command(
        &mut self,
        input: &[u8],
        room: &mut dyn FnMut() -> Room,
        out: &mut Vec<u8>,
    ) -> (usize, Option<Step>) {
        let window = &input[..input.len().min(COMMAND_LINE_BYTES_MAX)];
        let Some(end) = window.iter().position(|byte| *byte == b'\n') else {
            if window.len() < COMMAND_LINE_BYTES_MAX {
                return (0, Some(Step::Read));
            }
            self.line = Line::TooLong;
            return (window.len(), None);
        };
        let taken = end + 1;
        self.units_taken += 1;
        if std::mem::replace(&mut self.line, Line::Within) == Line::TooLong {
            return (taken, self.answer(&reply::LINE_TOO_LONG, out));
        }
        let Some(line) = window[..end].strip_suffix(b"\r") else {
            return (taken, Some(self.close_with(&reply::NOT_CRLF, out)));
        };
        let step = match command::parse(line) {
            Ok(command) => self.obey(command, room, &input[taken..], out),
            // Its octets would be read as commands.
            Err(refusal) if refusal == reply::CHUNK_SYNTAX => Some(self.close_with(&refusal, out)),
            Err(refusal) => self.answer(&refusal, out),
        };
        (taken, step)
    }

    fn obey(
        &mut self,
        command: Command,
        room: &mut dyn FnMut() -> Room,
        following: &[u8],
        out: &mut Vec<u8>,
    ) -> Option<Step> {
        let needs_tls = self.rules.start_tls == StartTls::Required && self.channel == Channel::Plain;
        match command {
            Command::Quit => Some(self.close_with(&reply::BYE, out)),
            Command::Noop => self.answer(&reply::OK, out),
            Command::StartTls => self.start_tls(following, out),
            // Its octets follow, whatever the answer is.
            Command::Bdat { bytes, is_last } => {
                let refusal = needs_tls.then_some(reply::TLS_FIRST);
                self.bdat(bytes, is_last, refusal, out)
            }
            Command::Ehlo | Command::Helo | Command::Lhlo => self.hello(&command, needs_tls, out),
            _ if needs_tls => self.answer(&reply::TLS_FIRST, out),
            Command::Mail { from, declared_bytes, body } => self.mail(from, declared_bytes, body, room, out),
            Command::Rcpt { to } => self.rcpt(to, out),
            Command::Data => self.data(following, out),
            Command::Rset => {
                let forgotten = self.forget_mail();
                self.answer(&reply::OK, out).or(forgotten)
            }
            Command::Vrfy => self.answer(&reply::VRFY, out),
        }
    }

    /// Gives up a mail that was begun. The answer is what the driver must do about what came of it.
    fn forget_mail(&mut self) -> Option<Step> {
        let Phase::Mail(mail) = &self.phase else { return None };
        let has_content = mail.chunks != Chunks::None;
        self.phase = Phase::Ready;
        has_content.then_some(Step::Discard)
    }

    fn hello(&mut self, command: &Command, needs_tls: bool, out: &mut Vec<u8>) -> Option<Step> {
        match (self.rules.protocol, command) {
            (Protocol::Lmtp, Command::Lhlo) | (Protocol::Smtp, Command::Ehlo) => {}
            (Protocol::Lmtp, _) => return self.answer(&reply::NOT_THIS_HELLO_LMTP, out),
            (Protocol::Smtp, Command::Lhlo) => return self.answer(&reply::UNKNOWN, out),
            (Protocol::Smtp, _) if needs_tls => return self.answer(&reply::TLS_FIRST, out),
            (Protocol::Smtp, _) => {
                let forgotten = self.forget_mail();
                self.phase = Phase::Ready;
                let hostname = Cow::Owned(self.rules.hostname.clone());
                return self.answer(&Reply { code: 250, enhanced: "", text: hostname }, out).or(forgotten);
            }
        }
        let forgotten = self.forget_mail();
        self.phase = Phase::Ready;
        let Rules { hostname, message_bytes_max, .. } = &*self.rules;
        out.extend_from_slice(format!("250-{hostname}\r\n250-PIPELINING\r\n").as_bytes());
        out.extend_from_slice(format!("250-SIZE {message_bytes_max}\r\n").as_bytes());
        if self.channel == Channel::Plain {
            out.extend_from_slice(b"250-STARTTLS\r\n");
        }
        out.extend_from_slice(
            b"250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n250-CHUNKING\r\n250-BINARYMIME\r\n250 SMTPUTF8\r\n",
        );
        forgotten
    }

    fn start_tls(&mut self, following: &[u8], out: &mut Vec<u8>) -> Option<Step> {
        if self.channel == Channel::Encrypted {
            return self.answer(&reply::TLS_TWICE, out);
        }
        // What stands here was not encrypted, whoever wrote it, and would be read as if it had been (CVE-2011-0411).
        if !following.is_empty() {
            return Some(self.close_with(&reply::PIPELINED_TLS, out));
        }
        if matches!(&self.phase, Phase::Mail(mail) if mail.chunks != Chunks::None) {
            return self.answer(&reply::CHUNKS_BEGUN, out);
        }
        reply::START_TLS.write(out);
        Some(Step::StartTls)
    }

    fn mail(
        &mut self,
        from: String,
        declared_bytes: Option<u64>,
        body: BodyType,
        room: &mut dyn FnMut() -> Room,
        out: &mut Vec<u8>,
    ) -> Option<Step> {
        match (&self.phase, self.rules.protocol) {
            (Phase::Ready, _) => {}
            (Phase::Mail(_), _) => return self.answer(&reply::MAIL_TWICE, out),
            (_, Protocol::Smtp) => return self.answer(&reply::HELLO_FIRST, out),
            (_, Protocol::Lmtp) => return self.answer(&reply::HELLO_FIRST_LMTP, out),
        }
        if declared_bytes.is_some_and(|bytes| bytes > self.rules.message_bytes_max) {
            return self.answer(&reply::TOO_LARGE, out);
        }
        let not_now = match room() {
            Room::Enough => {
                let transaction = Transaction { from, to: Vec::new() };
                self.phase = Phase::Mail(Mail { transaction, body, chunks: Chunks::None });
                return self.answer(&reply::SENDER_OK, out);
            }
            Room::None => reply::NO_ROOM,
            Room::NotNow => reply::MAILS_TOO_FAST,
        };
        // No fault of the client's: it does not count as an error.
        not_now.write(out);
        None
    }

    fn rcpt(&mut self, to: String, out: &mut Vec<u8>) -> Option<Step> {
        let Phase::Mail(mail) = &mut self.phase else { return self.answer(&reply::MAIL_FIRST, out) };
        if mail.chunks != Chunks::None {
            return self.answer(&reply::CHUNKS_BEGUN, out);
        }
        if mail.transaction.to.len() >= RECIPIENTS_MAX {
            // The client's right (RFC 5321 section 4.5.3.1.10): it does not count as an error.
            reply::TOO_MANY_RECIPIENTS.write(out);
            return None;
        }
        mail.transaction.to.push(to);
        self.answer(&reply::RECIPIENT_OK, out)
    }

    /// What a mail without a recipient is answered (RFC 5321 section 3.3, RFC 2033 section 4.2).
    fn no_recipients(&self) -> Reply {
        match self.rules.protocol {
            Protocol::Smtp => reply::NO_RECIPIENTS,
            Protocol::Lmtp => reply::NO_RECIPIENTS_LMTP,
        }
    }

    /// The answer to the end of a mail: in LMTP one for each recipient, since each could have its own.
    fn answer_mail(&self, reply: &Reply, recipients: usize, out: &mut Vec<u8>) {
        let times = match self.rules.protocol {
            Protocol::Smtp => 1,
            Protocol::Lmtp => recipients,
        };
        (0..times).for_each(|_| reply.write(out));
        openarchive_telemetry::metrics::SMTP_MAILS.inc([reply.class()]);
    }

    fn answer(&mut self, reply: &Reply, out: &mut Vec<u8>) -> Option<Step> {
        reply.write(out);
        if reply.is_error() { self.count_error(out) } else { None }
    }

    fn count_error(&mut self, out: &mut Vec<u8>) -> Option<Step> {
        self.errors += 1;
        (self.errors >= ERRORS_MAX).then(|| self.close_with(&reply::TOO_MANY_ERRORS, out))
    }

    fn close_with(&mut self, reply: &Reply, out: &mut Vec<u8>) -> Step {
        reply.write(out);
        self.phase = Phase::Closed;
        Step::Close
    }
}
