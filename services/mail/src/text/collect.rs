use std::ops::ControlFlow;

use super::{
    ADDRESSES_MAX, ATTACHMENT_NAME_BYTES_MAX, Address, BODY_TEXT_BYTES_MAX, Extracted, INDEXED_DEPTH_MAX,
    INDEXED_PARTS_MAX, PREAMBLE_NOTICE_BYTES_MAX, TEXT_SOURCE_BYTES_MAX, charset,
    content::{Content, Kind},
    fields,
    header_block::{HeaderBlock, Name},
    html,
    structure::{Found, walk},
    transfer::TransferEncoding,
};

/// Gathers the text of a message and keeps account of the limits.
#[derive(Debug)]
pub(super) struct Collector {
    extracted: Extracted,
    has_outer_headers: bool,
    parts: usize,
    source_bytes_left: usize,
    name_bytes_left: usize,
}

impl Collector {
    pub(super) fn new() -> Self {
        Self {
            extracted: Extracted::default(),
            has_outer_headers: false,
            parts: 0,
            source_bytes_left: TEXT_SOURCE_BYTES_MAX,
            name_bytes_left: ATTACHMENT_NAME_BYTES_MAX,
        }
    }

    pub(super) fn read(&mut self, message: &[u8]) {
        self.read_nested(message, 0);
    }

    pub(super) fn finish(mut self) -> Extracted {
        self.extracted.body.shrink_to_fit();
        self.extracted
    }

    fn read_nested(&mut self, message: &[u8], depth: usize) {
        walk(message, depth, &mut |found| self.take(found));
    }

    fn take(&mut self, found: Found<'_>) -> ControlFlow<()> {
        match found {
            Found::MessageHeaders(block) if self.has_outer_headers => self.nested_headers(&block),
            Found::MessageHeaders(block) => self.outer_headers(&block),
            Found::NestedMessage { content } => {
                self.count_part()?;
                self.attachment(&content);
            }
            Found::Leaf { content, body, depth } => {
                self.count_part()?;
                self.leaf(&content, body, depth);
            }
            Found::Preamble(text) if is_notice(text) => {}
            Found::Preamble(text) | Found::Outside(text) => self.plain(text, None),
            Found::Stray(text) => self.plain(&text, None),
            Found::BeyondLimit => self.extracted.partly_indexed = true,
        }
        ControlFlow::Continue(())
    }

    fn count_part(&mut self) -> ControlFlow<()> {
        self.parts += 1;
        if self.parts <= INDEXED_PARTS_MAX {
            return ControlFlow::Continue(());
        }
        self.extracted.partly_indexed = true;
        ControlFlow::Break(())
    }

    fn outer_headers(&mut self, block: &HeaderBlock) {
        self.has_outer_headers = true;
        let mut left = ADDRESSES_MAX;
        let mut read = |name| {
            let mut addresses = fields::addresses(block, name, left + 1);
            let is_cut = addresses.len() > left;
            addresses.truncate(left);
            left -= addresses.len();
            (addresses, is_cut)
        };
        let (from, to, cc, bcc) = (read(Name::From), read(Name::To), read(Name::Cc), read(Name::Bcc));
        let others = read(Name::OtherAddress);
        let is_cut = from.1 || to.1 || cc.1 || bcc.1 || others.1;
        let extracted = &mut self.extracted;
        (extracted.from, extracted.to, extracted.cc, extracted.bcc) = (from.0, to.0, cc.0, bcc.0);
        extracted.others = others.0;
        extracted.subject = fields::subject(block);
        extracted.date = fields::date(block);
        extracted.message_id = fields::message_id(block);
        extracted.partly_indexed |= is_cut;
    }

    /// Who and what a message inside the message is from, to and about: words of the body of the outer one.
    fn nested_headers(&mut self, block: &HeaderBlock) {
        self.text(&fields::subject(block));
        for name in [Name::From, Name::To, Name::Cc] {
            for Address { name, address } in fields::addresses(block, name, usize::MAX) {
                self.text(format!("{name} {address}").trim());
            }
        }
    }

    fn leaf(&mut self, content: &Content, body: &[u8], depth: usize) {
        let is_text = matches!(content.kind, Kind::PlainText | Kind::Markup | Kind::Multipart { .. });
        if content.file_name.is_some() || content.is_attachment || !is_text {
            self.attachment(content);
        }
        match content.kind {
            Kind::Message if depth < INDEXED_DEPTH_MAX => {
                let message = self.decoded(content.transfer, body);
                self.read_nested(&message, depth + 1);
            }
            Kind::Message | Kind::Sealed => self.extracted.partly_indexed = true,
            Kind::Binary => {}
            // Were the text of attachments read, too, a large one would push out the body.
            _ if content.is_attachment => {}
            Kind::PlainText => {
                let bytes = self.decoded(content.transfer, body);
                self.plain_decoded(&bytes, content.mime.charset.as_deref());
            }
            Kind::Markup => self.markup(content, body),
            // Without a boundary to part it: readers show it as text.
            Kind::Multipart { .. } => self.plain(body, None),
        }
    }

    fn attachment(&mut self, content: &Content) {
        self.extracted.has_attachment = true;
        let Some(name) = &content.file_name else { return };
        if name.len() > self.name_bytes_left {
            self.extracted.partly_indexed = true;
            return;
        }
        self.name_bytes_left -= name.len();
        self.extracted.attachments.push(name.clone());
    }

    /// Undoes the transfer encoding of as much as the account of source bytes allows.
    fn decoded<'m>(&mut self, transfer: TransferEncoding, body: &'m [u8]) -> std::borrow::Cow<'m, [u8]> {
        let taken = body.len().min(self.source_bytes_left);
        self.source_bytes_left -= taken;
        let is_cut = !body[taken..].trim_ascii().is_empty();
        self.extracted.partly_indexed |= is_cut || transfer == TransferEncoding::Unknown;
        transfer.decode(&body[..taken])
    }

    fn plain(&mut self, bytes: &[u8], charset: Option<&str>) {
        let bytes = self.decoded(TransferEncoding::Identity, bytes.trim_ascii());
        self.plain_decoded(&bytes, charset);
    }

    fn plain_decoded(&mut self, bytes: &[u8], charset: Option<&str>) {
        let decoded = charset::decode(bytes, charset);
        self.extracted.partly_indexed |= !decoded.is_certain;
        self.text(&decoded.text);
    }

    fn markup(&mut self, content: &Content, body: &[u8]) {
        let bytes = self.decoded(content.transfer, body);
        let decoded = charset::decode_html(&bytes, content.mime.charset.as_deref());
        let text = html::to_text(&decoded.text, BODY_TEXT_BYTES_MAX);
        self.extracted.partly_indexed |= !decoded.is_certain || !text.is_complete;
        self.text(&text.text);
    }

    /// Appends to the body as much as fits, apart from what stands there by a line break.
    fn text(&mut self, text: &str) {
        let text = text.trim();
        if text.is_empty() {
            return;
        }
        let body = &mut self.extracted.body;
        let left = BODY_TEXT_BYTES_MAX - body.len();
        let separator = usize::from(!body.is_empty());
        if left <= separator {
            self.extracted.partly_indexed = true;
            return;
        }
        if separator > 0 {
            body.push('\n');
        }
        let end = text.floor_char_boundary(left - separator);
        self.extracted.partly_indexed |= end < text.len();
        body.push_str(&text[..end]);
    }
}

/// "This is a multi-part message in MIME format": words that every second mail would be found by.
fn is_notice(preamble: &[u8]) -> bool {
    preamble.len() <= PREAMBLE_NOTICE_BYTES_MAX
        && preamble.windows(4).any(|word| word.eq_ignore_ascii_case(b"mime"))
}
