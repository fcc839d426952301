//! Who took part in a message according to its header, and nothing else of it: what an agent offers as a hint.

use std::ops::ControlFlow;

use super::{
    fields,
    header_block::{HeaderBlock, Name},
    structure::{Found, walk},
};

/// Most addresses of one message that a hint holds.
pub const HEADER_ADDRESSES_MAX: usize = 1_000;
/// Most bytes of addresses that a hint holds.
pub const HEADER_ADDRESSES_BYTES_MAX: usize = 64 * 1024;
/// Most bytes of address fields, as they stand in the header, that are read for a hint.
pub const HEADER_ADDRESSES_RAW_BYTES_MAX: usize = 256 * 1024;

const LISTS: [Name; 3] = [Name::To, Name::Cc, Name::Bcc];

/// Addresses of a message's own header, without display names, in its order.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct HeaderAddresses {
    pub from: Vec<String>,
    /// Of To, Cc and Bcc.
    pub to: Vec<String>,
}

/// Shows no address.
impl std::fmt::Debug for HeaderAddresses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HeaderAddresses({} and {})", self.from.len(), self.to.len())
    }
}

impl HeaderAddresses {
    /// As [`super::extract`] reads them of the same bytes. `beginning`: at least the whole header; what follows it is not
    /// looked at. `None`: there are more than a hint holds, or they are written longer than is read for one.
    pub fn of(beginning: &[u8]) -> Option<Self> {
        let mut found = Some(Self::default());
        walk(beginning, 0, &mut |part| {
            let Found::MessageHeaders(block) = part else { return ControlFlow::Continue(()) };
            found = Self::of_block(&block);
            ControlFlow::Break(())
        });
        found.filter(Self::fits)
    }

    fn of_block(block: &HeaderBlock) -> Option<Self> {
        let raw = LISTS.into_iter().chain([Name::From]).flat_map(|name| block.values(name));
        if raw.map(<[u8]>::len).sum::<usize>() > HEADER_ADDRESSES_RAW_BYTES_MAX {
            return None;
        }
        // One more than fits shows that there are too many.
        let read = |name| {
            let addresses = fields::addresses(block, name, HEADER_ADDRESSES_MAX + 1);
            addresses.into_iter().map(|one| one.address)
        };
        Some(Self { from: read(Name::From).collect(), to: LISTS.into_iter().flat_map(read).collect() })
    }

    /// Whether it is within [`HEADER_ADDRESSES_MAX`] and [`HEADER_ADDRESSES_BYTES_MAX`].
    pub fn fits(&self) -> bool {
        let all = || self.from.iter().chain(&self.to);
        all().count() <= HEADER_ADDRESSES_MAX
            && all().map(String::len).sum::<usize>() <= HEADER_ADDRESSES_BYTES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::extract;

    #[test]
    fn a_hint_says_who_the_header_names_and_reads_no_further() {
        let message = b"From: Ann <Ann@Corp.Example>\r\nTo: team: a@x.example, \"B, C\" <b@x.example>;\r\n\
            Cc: c@x.example\r\nBcc: d@x.example\r\nReply-To: e@x.example\r\nTo: f@x.example\r\n\r\n\
            From: g@x.example\r\n";
        let hint = HeaderAddresses::of(message).unwrap();
        assert_eq!(hint.from, ["Ann@Corp.Example"]);
        assert_eq!(hint.to, ["a@x.example", "b@x.example", "f@x.example", "c@x.example", "d@x.example"]);
        let whole = extract(message);
        let lists = [&whole.to, &whole.cc, &whole.bcc];
        let all: Vec<&str> = lists.into_iter().flatten().map(|one| one.address.as_str()).collect();
        assert_eq!(hint.to, all, "as the index reads them");
        assert_eq!(HeaderAddresses::of(b""), Some(HeaderAddresses::default()));
        assert_eq!(HeaderAddresses::of(b"no header\r\n"), Some(HeaderAddresses::default()));
        assert_eq!(format!("{hint:?}"), "HeaderAddresses(1 and 5)");
    }

    #[test]
    fn a_header_that_names_more_than_a_hint_holds_gives_none() {
        let to = |count: usize| format!("To: {}\r\n\r\n", vec!["a@x.example"; count].join(", "));
        let of = |message: String| HeaderAddresses::of(message.as_bytes());
        assert_eq!(of(to(HEADER_ADDRESSES_MAX)).unwrap().to.len(), HEADER_ADDRESSES_MAX);
        assert_eq!(of(to(HEADER_ADDRESSES_MAX + 1)), None);
        let long =
            |bytes: usize| format!("From: {}@x.example\r\n\r\n", "a".repeat(bytes - "@x.example".len()));
        assert!(of(long(HEADER_ADDRESSES_BYTES_MAX)).is_some());
        assert_eq!(of(long(HEADER_ADDRESSES_BYTES_MAX + 1)), None);
    }

    #[test]
    fn address_fields_that_are_written_longer_than_is_read_give_no_hint() {
        let message = |bytes: usize| {
            let (from, to) = ("From: a@x.example\n", "To: b@x.example ()\n");
            let raw = from.len() - "From:".len() + to.len() - "To:".len();
            format!("{from}To: b@x.example ({})\n\n", "c".repeat(bytes - raw))
        };
        let fits = HeaderAddresses::of(message(HEADER_ADDRESSES_RAW_BYTES_MAX).as_bytes()).unwrap();
        assert_eq!((fits.from.len(), fits.to.len()), (1, 1));
        assert_eq!(HeaderAddresses::of(message(HEADER_ADDRESSES_RAW_BYTES_MAX + 1).as_bytes()), None);
    }
}
