//! BDAT within a session (RFC 3030): octets by number, as they are.
//!
//! The octets follow the command whatever is answered, so a refused chunk is read over and never as commands; where
//! that is too much, or nobody knows how many there are, the session ends.

use std::borrow::Cow;

use super::{
    super::{
        limits::REFUSED_BYTES_MAX,
        reply::{self, Reply},
    },
    Chunks, Mail, Phase, Session, Step,
};

#[derive(Debug)]
pub(super) struct Chunk {
    bytes: u64,
    /// Of them, how many are to come.
    left: u64,
    is_last: bool,
    /// Of the mail that it is part of.
    recipients: usize,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Kept(Mail),
    /// Read over and then answered with this; then the session goes on from there.
    Refused(Reply, Box<Phase>),
}

impl Chunk {
    pub(super) const fn received_bytes(&self) -> u64 {
        self.bytes - self.left
    }

    pub(super) fn refuse(&mut self, refusal: Reply) {
        self.content = Content::Refused(refusal, Box::new(Phase::Ready));
    }
}

impl Session {
    /// `refusal`: why no chunk is taken now, whatever it is part of.
    pub(super) fn bdat(
        &mut self,
        bytes: u64,
        is_last: bool,
        refusal: Option<Reply>,
        out: &mut Vec<u8>,
    ) -> Option<Step> {
        let phase = std::mem::replace(&mut self.phase, Phase::Ready);
        let (recipients, had_content) = match &phase {
            Phase::Mail(mail) => (mail.transaction.to.len(), mail.chunks != Chunks::None),
            _ => (0, false),
        };
        let content = match (refusal, phase) {
            (Some(refusal), phase) => Content::Refused(refusal, Box::new(phase)),
            (None, Phase::Mail(mail)) => match self.refusal_of(&mail, bytes) {
                // The mail is over with its first refused chunk; more of it may be on its way.
                Some(refusal) => Content::Refused(refusal, Box::new(Phase::Ready)),
                None => Content::Kept(mail),
            },
            (None, phase) => Content::Refused(reply::MAIL_FIRST, Box::new(phase)),
        };
        if let Content::Refused(refusal, _) = &content
            && bytes > REFUSED_BYTES_MAX
        {
            let refusal = refusal.clone();
            return Some(self.close_with(&refusal, out));
        }
        let is_refused = matches!(content, Content::Refused(..));
        self.phase = Phase::Chunk(Chunk { bytes, left: bytes, is_last, recipients, content });
        (is_refused && had_content).then_some(Step::Discard)
    }

    fn refusal_of(&self, mail: &Mail, bytes: u64) -> Option<Reply> {
        let before = match &mail.chunks {
            Chunks::Lost(refusal) => return Some(refusal.clone()),
            Chunks::None => 0,
            Chunks::Kept { bytes } => *bytes,
        };
        if mail.transaction.to.is_empty() {
            return Some(self.no_recipients());
        }
        (before.saturating_add(bytes) > self.rules.message_bytes_max).then_some(reply::TOO_LARGE)
    }

    pub(super) fn advance_chunk(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        body: &mut Vec<u8>,
    ) -> (usize, Option<Step>) {
        let Phase::Chunk(chunk) = &mut self.phase else { return (0, Some(Step::Read)) };
        let taken = chunk.left.min(input.len() as u64);
        chunk.left -= taken;
        let (left, taken) = (chunk.left, taken as usize);
        if let Content::Kept(_) = chunk.content {
            body.extend_from_slice(&input[..taken]);
        }
        if left > 0 {
            return (taken, Some(Step::Read));
        }
        self.units_taken += 1;
        let Phase::Chunk(chunk) = std::mem::replace(&mut self.phase, Phase::Ready) else {
            return (taken, Some(Step::Read));
        };
        (taken, self.end_chunk(chunk, out))
    }

    fn end_chunk(&mut self, chunk: Chunk, out: &mut Vec<u8>) -> Option<Step> {
        match chunk.content {
            Content::Refused(refusal, then) => {
                self.phase = *then;
                // RFC 2033 section 4.3: the last chunk is answered to each recipient, the others once.
                let times = if chunk.is_last { chunk.recipients.max(1) } else { 1 };
                self.answer_mail(&refusal, times, out);
                self.count_error(out)
            }
            Content::Kept(mail) if chunk.is_last => {
                self.phase = Phase::Delivering { recipients: chunk.recipients };
                Some(Step::Deliver(mail.transaction))
            }
            Content::Kept(mut mail) => {
                let before = match mail.chunks {
                    Chunks::Kept { bytes } => bytes,
                    Chunks::None | Chunks::Lost(_) => 0,
                };
                mail.chunks = Chunks::Kept { bytes: before + chunk.bytes };
                self.phase = Phase::Mail(mail);
                let text = Cow::Owned(format!("{} octets received", chunk.bytes));
                self.answer(&Reply { code: 250, enhanced: "2.0.0", text }, out)
            }
        }
    }
}
