//! How far an mbox has been taken in, when several of its mails are on their way at a time.
//!
//! The mails are dealt out in turn: mail `i` (from 0) belongs to slot `i % MAILS_AT_A_TIME`. Within a slot they are kept
//! strictly one after the other, so one record for each slot tells everything: all its mails up to that one are kept.

use openarchive_domain::Digest;

use super::MAILS_AT_A_TIME;

/// The last mail that was kept in a slot. Written `INDEX OFFSET DIGEST`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SlotRecord {
    /// Mails before it in the file.
    pub(super) index: u64,
    /// Its `From ` line.
    pub(super) offset: u64,
    /// Of its bytes: shows whether the file is still the one that it was.
    pub(super) digest: Digest,
}

impl SlotRecord {
    pub(super) fn to_text(self) -> String {
        format!("{} {} {}", self.index, self.offset, self.digest.hex())
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut fields = text.split(' ');
        let record = Self {
            index: fields.next()?.parse().ok()?,
            offset: fields.next()?.parse().ok()?,
            digest: Digest::from_hex(fields.next()?).ok()?,
        };
        if fields.next().is_none() { Some(record) } else { None }
    }
}

/// The records of all slots.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Slots([Option<SlotRecord>; MAILS_AT_A_TIME]);

/// A mail that all mails before are kept of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Start {
    pub(super) index: u64,
    pub(super) offset: u64,
}

impl Slots {
    pub(super) fn set(&mut self, slot: usize, record: SlotRecord) {
        self.0[slot] = Some(record);
    }

    pub(super) fn slot_of(index: u64) -> usize {
        (index % MAILS_AT_A_TIME as u64) as usize
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    pub(super) fn is_kept(&self, index: u64) -> bool {
        self.0[Self::slot_of(index)].is_some_and(|record| index <= record.index)
    }

    /// Where reading has to begin: at the record that is furthest behind, or at the front of the file.
    pub(super) fn start(&self) -> Start {
        let behind = self.0.iter().min_by_key(|record| record.map(|record| record.index)).copied().flatten();
        behind.map_or_else(Start::default, |record| Start { index: record.index, offset: record.offset })
    }

    /// The last mail that any slot has kept.
    pub(super) fn last_index(&self) -> Option<u64> {
        self.0.iter().flatten().map(|record| record.index).max()
    }

    /// Whether a mail of the file contradicts what was kept of it.
    pub(super) fn contradict(&self, found: &SlotRecord) -> bool {
        let record = self.0[Self::slot_of(found.index)];
        record.is_some_and(|record| record.index == found.index && record != *found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOTS: u64 = MAILS_AT_A_TIME as u64;

    fn record(index: u64) -> SlotRecord {
        SlotRecord { index, offset: index * 100, digest: Digest::of(&index.to_be_bytes()) }
    }

    fn slots(kept: impl IntoIterator<Item = u64>) -> Slots {
        let mut slots = Slots::default();
        for index in kept {
            slots.set(Slots::slot_of(index), record(index));
        }
        slots
    }

    #[test]
    fn a_record_reads_back_and_nothing_else_is_one() {
        let text = record(7).to_text();
        assert_eq!(SlotRecord::parse(&text), Some(record(7)));
        for bad in ["", "7", "7 700", &format!("{text} "), &text.replace(' ', "  "), &text[1..]] {
            assert_eq!(SlotRecord::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn reading_begins_at_the_mail_that_all_before_are_kept_of() {
        assert_eq!(slots([]).start(), Start::default());
        assert_eq!(
            slots([0, 1, 2]).start(),
            Start::default(),
            "a slot without record may lack its first mail"
        );
        assert_eq!(slots(0..SLOTS).start(), Start { index: 0, offset: 0 });
        let ahead = slots((3..SLOTS + 3).chain([2 * SLOTS + 3]));
        assert_eq!(ahead.start(), Start { index: 4, offset: 400 });
        assert_eq!(ahead.last_index(), Some(2 * SLOTS + 3));
        assert!(ahead.is_kept(3) && ahead.is_kept(SLOTS + 2) && ahead.is_kept(2 * SLOTS + 3));
        assert!(!ahead.is_kept(SLOTS + 4) && !ahead.is_kept(2 * SLOTS + 2));
    }

    #[test]
    fn a_file_that_has_another_mail_in_its_place_is_noticed() {
        let slots = slots(0..SLOTS);
        assert!(!slots.contradict(&record(3)));
        assert!(slots.contradict(&SlotRecord { offset: 1, ..record(3) }));
        assert!(slots.contradict(&SlotRecord { digest: Digest::of(b"other"), ..record(3) }));
        assert!(!slots.contradict(&SlotRecord { offset: 1, ..record(SLOTS + 3) }), "nothing is known of it");
    }
}
