//! What the server says (RFC 5321 section 4.2, RFC 3463).

use std::borrow::Cow;

/// One line. Without an enhanced code where RFC 2034 forbids one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) code: u16,
    pub(crate) enhanced: &'static str,
    pub(crate) text: Cow<'static, str>,
}

impl Reply {
    pub(crate) const fn new(code: u16, enhanced: &'static str, text: &'static str) -> Self {
        Self { code, enhanced, text: Cow::Borrowed(text) }
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let space = if self.enhanced.is_empty() { "" } else { " " };
        out.extend_from_slice(format!("{} {}{space}{}\r\n", self.code, self.enhanced, self.text).as_bytes());
    }

    /// For metrics.
    pub(crate) const fn class(&self) -> &'static str {
        match self.code {
            ..400 => "2xx",
            400..500 => "4xx",
            500.. => "5xx",
        }
    }

    pub(crate) const fn is_error(&self) -> bool {
        self.code >= 400
    }
}

pub(crate) const OK: Reply = Reply::new(250, "2.0.0", "ok");
pub(crate) const SENDER_OK: Reply = Reply::new(250, "2.1.0", "sender ok");
pub(crate) const RECIPIENT_OK: Reply = Reply::new(250, "2.1.5", "recipient ok");
pub(crate) const VRFY: Reply = Reply::new(252, "2.5.0", "every recipient is archived");
pub(crate) const BYE: Reply = Reply::new(221, "2.0.0", "bye");
pub(crate) const START_TLS: Reply = Reply::new(220, "2.0.0", "ready to start TLS");
pub(crate) const START_MAIL: Reply = Reply::new(354, "", "end with CRLF.CRLF");

pub(crate) const SHUTTING_DOWN: Reply = Reply::new(421, "4.3.2", "shutting down, try again later");
pub(crate) const DRAINING: Reply = Reply::new(421, "4.3.2", "this agent takes no new mail, try another");
pub(crate) const TIMED_OUT: Reply = Reply::new(421, "4.4.2", "waited too long");
pub(crate) const TOO_MANY_CONNECTIONS: Reply =
    Reply::new(421, "4.3.2", "too many connections, try again later");
pub(crate) const TOO_MANY_PEER_CONNECTIONS: Reply =
    Reply::new(421, "4.7.0", "too many connections from this peer, try again later");
pub(crate) const CONNECTIONS_TOO_FAST: Reply =
    Reply::new(421, "4.7.0", "too many connections in a minute, try again later");
pub(crate) const TOO_MANY_ERRORS: Reply = Reply::new(421, "4.7.0", "too many errors");

pub(crate) const MAILS_TOO_FAST: Reply =
    Reply::new(450, "4.7.1", "too many mails in a minute, try again later");
pub(crate) const NO_ROOM: Reply = Reply::new(452, "4.3.1", "the buffer is full, try again later");
pub(crate) const TOO_MANY_RECIPIENTS: Reply =
    Reply::new(452, "4.5.3", "too many recipients, send the rest separately");
pub(crate) const NOT_KEPT: Reply = Reply::new(451, "4.3.0", "cannot keep the mail now, try again later");

pub(crate) const LINE_TOO_LONG: Reply = Reply::new(500, "5.5.2", "line too long");
pub(crate) const NOT_CRLF: Reply = Reply::new(500, "5.5.2", "lines end with CRLF and hold no NUL or bare CR");
pub(crate) const UNKNOWN: Reply = Reply::new(500, "5.5.1", "command not known");
pub(crate) const NOT_THIS_HELLO_LMTP: Reply = Reply::new(500, "5.5.1", "this is LMTP: say LHLO");
pub(crate) const CHUNK_SYNTAX: Reply = Reply::new(501, "5.5.4", "syntax: BDAT octets [LAST]");
pub(crate) const SYNTAX: Reply = Reply::new(501, "5.5.4", "syntax error in the parameters");
pub(crate) const SENDER_SYNTAX: Reply = Reply::new(501, "5.1.7", "syntax error in the sender's address");
pub(crate) const RECIPIENT_SYNTAX: Reply =
    Reply::new(501, "5.1.3", "syntax error in the recipient's address");
pub(crate) const NOT_IMPLEMENTED: Reply = Reply::new(502, "5.5.1", "command not implemented");
pub(crate) const HELLO_FIRST: Reply = Reply::new(503, "5.5.1", "say EHLO first");
pub(crate) const HELLO_FIRST_LMTP: Reply = Reply::new(503, "5.5.1", "say LHLO first");
pub(crate) const MAIL_FIRST: Reply = Reply::new(503, "5.5.1", "say MAIL first");
pub(crate) const MAIL_TWICE: Reply = Reply::new(503, "5.5.1", "a mail is already begun");
pub(crate) const CHUNKS_BEGUN: Reply = Reply::new(503, "5.5.1", "not between the chunks of a mail");
pub(crate) const DATA_AFTER_BDAT: Reply =
    Reply::new(503, "5.5.1", "no DATA in a mail that is sent with BDAT");
pub(crate) const BINARY_NEEDS_BDAT: Reply = Reply::new(503, "5.5.1", "BINARYMIME is sent with BDAT");
pub(crate) const NO_RECIPIENTS_LMTP: Reply = Reply::new(503, "5.5.1", "no valid recipients");
pub(crate) const TLS_TWICE: Reply = Reply::new(503, "5.5.1", "TLS is already on");
pub(crate) const TLS_FIRST: Reply = Reply::new(530, "5.7.0", "must issue a STARTTLS command first");
pub(crate) const BARE_LF: Reply = Reply::new(550, "5.6.11", "bare LF in the mail; lines end with CRLF");
pub(crate) const TOO_LARGE: Reply = Reply::new(552, "5.3.4", "the mail is larger than what is taken here");
pub(crate) const SENDER_NOT_UTF8: Reply = Reply::new(553, "5.1.7", "the sender's address is not valid UTF-8");
pub(crate) const RECIPIENT_NOT_UTF8: Reply =
    Reply::new(553, "5.1.3", "the recipient's address is not valid UTF-8");
pub(crate) const NO_RECIPIENTS: Reply = Reply::new(554, "5.5.1", "no valid recipients");
pub(crate) const NOT_A_PEER: Reply = Reply::new(554, "5.7.1", "this address may not journal here");
pub(crate) const PIPELINED_TLS: Reply =
    Reply::new(554, "5.5.1", "nothing may follow STARTTLS before the handshake");
pub(crate) const PARAMETER_UNKNOWN: Reply = Reply::new(555, "5.5.4", "parameter not known");
