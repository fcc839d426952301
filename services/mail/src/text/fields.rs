//! Values of single header fields, read by mail-parser: RFC 5322 syntax, RFC 2047 and RFC 2231 encodings.

use mail_parser::{HeaderValue, parsers::MessageStream};
use openarchive_domain::Timestamp;

use super::{
    Address, encoded_word,
    header_block::{HeaderBlock, Name},
};

/// The first `count_max` of all fields of this name.
pub(super) fn addresses(block: &HeaderBlock, name: Name, count_max: usize) -> Vec<Address> {
    let read = |value| match MessageStream::new(&encoded_word::bounded(value)).parse_address() {
        HeaderValue::Address(list) => list
            .iter()
            .take(count_max)
            .map(|one| Address {
                name: one.name().unwrap_or_default().to_owned(),
                address: one.address().unwrap_or_default().to_owned(),
            })
            .collect(),
        _ => Vec::new(),
    };
    block.values(name).flat_map(read).take(count_max).collect()
}

pub(super) fn subject(block: &HeaderBlock) -> String {
    let mut subjects: Vec<String> = block.values(Name::Subject).map(unstructured).collect();
    subjects.dedup();
    subjects.join(" ").trim().to_owned()
}

fn unstructured(value: &[u8]) -> String {
    match MessageStream::new(&encoded_word::bounded(value)).parse_unstructured() {
        HeaderValue::Text(text) => text.into_owned(),
        _ => String::new(),
    }
}

pub(super) fn date(block: &HeaderBlock) -> Option<Timestamp> {
    block.values(Name::Date).find_map(|value| {
        let HeaderValue::DateTime(mut date) = MessageStream::new(value).parse_date() else { return None };
        // A leap second has no place in UNIX time.
        date.second = date.second.min(59);
        date.is_valid().then(|| Timestamp::from_millis(date.to_timestamp() * 1000))
    })
}

pub(super) fn message_id(block: &HeaderBlock) -> Option<String> {
    block.values(Name::MessageId).find_map(|value| match MessageStream::new(value).parse_id() {
        HeaderValue::Text(id) => Some(id.into_owned()),
        HeaderValue::TextList(ids) => ids.into_iter().next().map(std::borrow::Cow::into_owned),
        _ => None,
    })
}
