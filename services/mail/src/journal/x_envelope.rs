//! Mode `x-envelope-to`: the mail server has written the envelope into the header of the copy.
//!
//! Postfix does it by `PREPEND X-Envelope-To: <…>` (access(5)), one field a recipient; Exim by `add_header =
//! X-Envelope-To: $recipients` in its DATA ACL, one field with commas; sendmail's and procmail's habit is
//! `X-Envelope-To: <a@b> (uid 0)`. The fields stay in the archived bytes. The mail server must take such fields out of
//! mail from outside: nothing in the mail tells a forged one from its own.

use super::{
    address::{self, JOURNALED_RECIPIENTS_MAX},
    header::HeaderFields,
    unfit::Unfit,
};
use crate::split::lines::{LineCutter, Piece};

/// Most bytes of the envelope's fields that are read: thousands of recipients.
pub const ENVELOPE_FIELDS_BYTES_MAX: usize = 512 * 1024;

const TO: &str = "x-envelope-to";
const FROM: &str = "x-envelope-from";

/// The envelope as the header says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvelopeHeader {
    /// "" is the null sender; `None` if no field names one.
    pub from: Option<String>,
    /// In the order of the header, each once.
    pub to: Vec<String>,
}

/// Reads the header block of a mail that comes in any pieces.
#[derive(Debug)]
pub struct EnvelopeHeaderReader {
    lines: LineCutter,
    block: Block,
}

#[derive(Debug)]
struct Block {
    fields: HeaderFields,
    is_over: bool,
}

impl Default for EnvelopeHeaderReader {
    fn default() -> Self {
        let fields = HeaderFields::new(&[TO, FROM], ENVELOPE_FIELDS_BYTES_MAX);
        Self { lines: LineCutter::default(), block: Block { fields, is_over: false } }
    }
}

impl EnvelopeHeaderReader {
    /// Whether there is more to read: false once the header block is over.
    pub fn feed(&mut self, bytes: &[u8]) -> bool {
        let mut rest = bytes;
        while !rest.is_empty() && !self.block.is_over {
            let (taken, piece) = self.lines.cut(rest);
            if let Some(piece) = piece {
                self.block.push(&piece);
            }
            rest = &rest[taken..];
        }
        !self.block.is_over
    }

    pub fn finish(mut self) -> Result<EnvelopeHeader, Unfit> {
        if let Some(piece) = self.lines.finish()
            && !self.block.is_over
        {
            self.block.push(&piece);
        }
        let fields = self.block.fields;
        if fields.is_cut {
            return Err(Unfit::TooManyRecipients);
        }
        let mut to: Vec<String> = Vec::new();
        let mut seen = std::collections::BTreeSet::new();
        for value in fields.all(TO) {
            let text = std::str::from_utf8(value).map_err(|_| Unfit::EnvelopeSyntax)?;
            for recipient in address::list(text).ok_or(Unfit::EnvelopeSyntax)? {
                if recipient.is_empty() {
                    return Err(Unfit::EnvelopeSyntax);
                }
                if seen.insert(recipient.clone()) {
                    to.push(recipient);
                }
            }
        }
        if to.is_empty() {
            return Err(Unfit::NoEnvelopeTo);
        }
        if to.len() > JOURNALED_RECIPIENTS_MAX {
            return Err(Unfit::TooManyRecipients);
        }
        Ok(EnvelopeHeader { from: sender(&fields)?, to })
    }
}

impl Block {
    fn push(&mut self, piece: &Piece<'_>) {
        if piece.is_empty_line() {
            self.is_over = true;
        } else {
            self.fields.push(piece);
        }
    }
}

/// Two that differ contradict each other.
fn sender(fields: &HeaderFields) -> Result<Option<String>, Unfit> {
    let mut found = None;
    for value in fields.all(FROM) {
        let text = std::str::from_utf8(value).map_err(|_| Unfit::EnvelopeSyntax)?;
        let sender = match text.trim() {
            "" => String::new(),
            text => address::one(text).ok_or(Unfit::EnvelopeSyntax)?,
        };
        if found.as_ref().is_some_and(|other| *other != sender) {
            return Err(Unfit::EnvelopeSyntax);
        }
        found = Some(sender);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(message: &[u8], piece_bytes: usize) -> Result<EnvelopeHeader, Unfit> {
        let mut reader = EnvelopeHeaderReader::default();
        for piece in message.chunks(piece_bytes) {
            if !reader.feed(piece) {
                break;
            }
        }
        reader.finish()
    }

    fn check(header: &str, from: Option<&str>, to: &[&str]) {
        for piece_bytes in [1, 7, 10_000] {
            let found = read(format!("{header}\r\n\r\nX-Envelope-To: body@x\r\n").as_bytes(), piece_bytes);
            let expected = EnvelopeHeader {
                from: from.map(str::to_owned),
                to: to.iter().map(|to| (*to).to_owned()).collect(),
            };
            assert_eq!(found, Ok(expected), "{header}");
        }
    }

    fn refuse(header: &str, expected: Unfit) {
        assert_eq!(read(format!("{header}\r\n\r\nbody\r\n").as_bytes(), 50), Err(expected), "{header}");
    }

    #[test]
    fn the_envelope_is_read_as_each_mail_server_writes_it() {
        check(
            "X-Envelope-To: <a@b.test>\r\nX-Envelope-To: <bcc@b.test>\r\nTo: a@b.test",
            None,
            &["a@b.test", "bcc@b.test"],
        );
        check(
            "X-Envelope-From: <from@b.test>\r\nSubject: x\r\nX-Envelope-To: a@b.test,\r\n bcc@b.test,c@d.test",
            Some("from@b.test"),
            &["a@b.test", "bcc@b.test", "c@d.test"],
        );
        check("X-Envelope-From: <>\r\nX-ENVELOPE-TO : <a@b.test> (uid 0)", Some(""), &["a@b.test"]);
        check("X-Envelope-From:\r\nX-Envelope-To: a@b.test, a@b.test", Some(""), &["a@b.test"]);
        check(
            "x-envelope-to: \"j, d\"@b.test, grüße@bücher.test",
            None,
            &["\"j, d\"@b.test", "grüße@bücher.test"],
        );
        check("X-Envelope-From: a@b\r\nX-Envelope-From: <a@b>\r\nX-Envelope-To: c@d", Some("a@b"), &["c@d"]);
    }

    #[test]
    fn the_fixtures_of_postfix_and_exim_name_their_recipients() {
        for fixture in [
            include_bytes!("../../fixtures/journal/x-envelope-postfix.eml").as_slice(),
            include_bytes!("../../fixtures/journal/x-envelope-exim.eml"),
        ] {
            let found = read(fixture, 100).unwrap();
            assert_eq!(found.from.as_deref(), Some("bob@example.org"));
            assert_eq!(found.to, ["alice@example.org", "dave@example.com"]);
        }
    }

    #[test]
    fn what_names_no_recipient_or_no_address_does_not_fit() {
        refuse("To: a@b.test", Unfit::NoEnvelopeTo);
        refuse("X-Envelope-To:", Unfit::NoEnvelopeTo);
        refuse("X-Envelope-From: a@b.test", Unfit::NoEnvelopeTo);
        refuse("X-Envelope-To: see below, a@b.test", Unfit::EnvelopeSyntax);
        refuse("X-Envelope-To: <>", Unfit::EnvelopeSyntax);
        refuse("X-Envelope-To: <a@b.test", Unfit::EnvelopeSyntax);
        refuse("X-Envelope-To: a@b.test\r\nX-Envelope-From: not one", Unfit::EnvelopeSyntax);
        refuse(
            "X-Envelope-To: a@b.test\r\nX-Envelope-From: a@b\r\nX-Envelope-From: c@d",
            Unfit::EnvelopeSyntax,
        );
        assert_eq!(read(b"X-Envelope-To: \xfc@b.test\r\n\r\n", 50), Err(Unfit::EnvelopeSyntax));
        assert_eq!(read(b"", 50), Err(Unfit::NoEnvelopeTo));
        assert_eq!(read(b"\r\nX-Envelope-To: a@b.test\r\n", 50), Err(Unfit::NoEnvelopeTo));
    }

    #[test]
    fn recipients_of_the_limit_are_read_and_one_more_is_not() {
        let header = |count: usize| {
            let to: Vec<String> = (0..count).map(|n| format!("r{n}@b.test")).collect();
            format!("X-Envelope-To: {}\r\n\r\n", to.join(",\r\n "))
        };
        let read = |count| read(header(count).as_bytes(), 65_536);
        assert_eq!(read(JOURNALED_RECIPIENTS_MAX).unwrap().to.len(), JOURNALED_RECIPIENTS_MAX);
        assert_eq!(read(JOURNALED_RECIPIENTS_MAX + 1), Err(Unfit::TooManyRecipients));
    }

    #[test]
    fn fields_of_the_limit_are_read_and_longer_ones_are_not() {
        let header = |bytes: usize| {
            let value = " a@b.test";
            format!("X-Envelope-To:{}{value}\r\n\r\n", " ".repeat(bytes - value.len()))
        };
        let read = |bytes| read(header(bytes).as_bytes(), 65_536);
        // One byte is counted for each line.
        assert!(read(ENVELOPE_FIELDS_BYTES_MAX / 2).is_ok());
        assert_eq!(read(ENVELOPE_FIELDS_BYTES_MAX + 1), Err(Unfit::TooManyRecipients));
    }

    proptest! {
        #![proptest_config(crate::split::seeded(256))]

        #[test]
        fn any_bytes_are_answered_and_the_pieces_do_not_matter(message: Vec<u8>, piece_bytes in 1usize..9) {
            prop_assert_eq!(read(&message, piece_bytes), read(&message, message.len().max(1)));
        }

        #[test]
        fn any_header_is_answered(
            lines in proptest::collection::vec("(X-Envelope-(To|From):)?[ a@b<>\",()\r\n\t]{0,12}", 0..8),
        ) {
            let message = lines.join("\r\n");
            prop_assert_eq!(read(message.as_bytes(), 3), read(message.as_bytes(), message.len().max(1)));
        }
    }
}
