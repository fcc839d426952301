//! DATA within a session (RFC 5321 section 4.1.1.4).

use super::{
    super::{
        body::{BodyEvent, BodyReader},
        command::BodyType,
        limits::REFUSED_BYTES_MAX,
        reply::{self, Reply},
    },
    Chunks, Phase, Session, Step, Transaction,
};

#[derive(Debug)]
pub(super) struct Data {
    transaction: Transaction,
    reader: BodyReader,
    content: Content,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Content {
    Kept {
        bytes: u64,
    },
    /// Read to its end and then answered with this.
    Refused(Reply),
}

impl Data {
    pub(super) const fn received_bytes(&self) -> u64 {
        self.reader.received_bytes()
    }

    pub(super) fn refuse(&mut self, refusal: Reply) {
        self.content = Content::Refused(refusal);
    }
}

impl Session {
    pub(super) fn data(&mut self, following: &[u8], out: &mut Vec<u8>) -> Option<Step> {
        let (refusal, forgotten) = match &mut self.phase {
            Phase::Mail(mail) if mail.chunks != Chunks::None => (reply::DATA_AFTER_BDAT, self.forget_mail()),
            Phase::Mail(mail) if mail.transaction.to.is_empty() => (self.no_recipients(), None),
            Phase::Mail(mail) if mail.body == BodyType::Binary => (reply::BINARY_NEEDS_BDAT, None),
            Phase::Mail(mail) => {
                let transaction = std::mem::take(&mut mail.transaction);
                let content = Content::Kept { bytes: 0 };
                self.phase = Phase::Data(Data { transaction, reader: BodyReader::new(), content });
                return self.answer(&reply::START_MAIL, out);
            }
            _ => (reply::MAIL_FIRST, None),
        };
        // Who sends on without waiting for 354 sends a mail's content, which must not be read as commands.
        if following.is_empty() {
            self.answer(&refusal, out).or(forgotten)
        } else {
            Some(self.close_with(&refusal, out))
        }
    }

    pub(super) fn advance_data(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        body: &mut Vec<u8>,
    ) -> (usize, Option<Step>) {
        let Phase::Data(Data { transaction, reader, content }) = &mut self.phase else {
            return (0, Some(Step::Read));
        };
        if input.is_empty() {
            return (0, Some(Step::Read));
        }
        let before = body.len();
        let (taken, event) = reader.advance(input, body);
        match content {
            Content::Refused(_) => body.truncate(before),
            Content::Kept { bytes } => *bytes += (body.len() - before) as u64,
        }
        let max = self.rules.message_bytes_max;
        if matches!(content, Content::Kept { bytes } if *bytes > max) {
            *content = Content::Refused(reply::TOO_LARGE);
            if event == BodyEvent::More {
                return (taken, Some(Step::Discard));
            }
        }
        let recipients = transaction.to.len();
        let step = match (event, content) {
            (BodyEvent::More, Content::Refused(refusal))
                if reader.received_bytes() > max + REFUSED_BYTES_MAX =>
            {
                let refusal = refusal.clone();
                Some(self.close_mail_with(&refusal, recipients, out))
            }
            (BodyEvent::More, _) => Some(Step::Read),
            (BodyEvent::BareLf, _) => Some(self.close_mail_with(&reply::BARE_LF, recipients, out)),
            (BodyEvent::End, Content::Refused(refusal)) => {
                let refusal = refusal.clone();
                self.answer_mail(&refusal, recipients, out);
                self.phase = Phase::Ready;
                self.units_taken += 1;
                Some(Step::Discard)
            }
            (BodyEvent::End, Content::Kept { .. }) => {
                let transaction = std::mem::take(transaction);
                self.phase = Phase::Delivering { recipients };
                self.units_taken += 1;
                Some(Step::Deliver(transaction))
            }
        };
        (taken, step)
    }

    fn close_mail_with(&mut self, reply: &Reply, recipients: usize, out: &mut Vec<u8>) -> Step {
        self.answer_mail(reply, recipients, out);
        self.phase = Phase::Closed;
        Step::Close
    }
}
