//! Damaged inputs, always the same ones for the same seeds.

use openarchive_domain::Digest;
use openarchive_testkit::sample_mail::Numbers;

/// Changes made to one input, at most.
const CHANGES: usize = 6;

/// Bytes that mean something to one parser or another, and numbers at their edges.
const WORDS: [&[u8]; 20] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b"\r\n.\r\n",
    b"\n.\r\n",
    b"--",
    b"=",
    b"\"",
    b":",
    b" ",
    b"<",
    b">",
    b"(",
    b"\xff",
    b"\xff\xff\xff\xff",
    b"\x80\0\0\0",
    b"\0\0\0\0\0\0\0\x01",
    b"\xc3\xa4",
    b"9",
];

pub(crate) struct Mutations<'a> {
    numbers: Numbers,
    seeds: &'a [Vec<u8>],
}

impl<'a> Mutations<'a> {
    pub(crate) fn of(name: &str, seeds: &'a [Vec<u8>]) -> Self {
        let digest = Digest::of(name.as_bytes());
        let (seed, _) = digest.as_bytes().split_first_chunk().unwrap();
        Self { numbers: Numbers::seeded(u64::from_be_bytes(*seed)), seeds }
    }

    pub(crate) fn next(&mut self) -> Vec<u8> {
        let mut input = self.seed().to_vec();
        for _ in 0..=self.numbers.below(CHANGES) {
            self.change(&mut input);
        }
        input
    }

    fn seed(&mut self) -> &'a [u8] {
        if self.seeds.is_empty() { &[] } else { &self.seeds[self.numbers.below(self.seeds.len())] }
    }

    /// A range of at most 32 bytes, now and then of any length.
    fn range(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.numbers.below(length + 1);
        let longest = if self.numbers.below(8) == 0 { length } else { 32 };
        let end = start + self.numbers.below(longest.min(length - start) + 1);
        start..end
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let at = self.numbers.below(input.len() + 1);
        match self.numbers.below(8) {
            0 | 1 if at < input.len() => input[at] ^= 1 << self.numbers.below(8),
            2 if at < input.len() => input[at] = self.numbers.next() as u8,
            3 => {
                let range = self.range(input.len());
                input.drain(range);
            }
            4 => {
                let range = self.range(input.len());
                let copy = input[range].to_vec();
                input.splice(at..at, copy);
            }
            5 => {
                let seed = self.seed();
                let piece = seed[self.range(seed.len())].to_vec();
                input.splice(at..at, piece);
            }
            6 => input.truncate(at),
            _ => {
                let word = self.numbers.pick(&WORDS);
                // Over what stands there, or between.
                let end = if self.numbers.below(2) == 0 { at } else { input.len().min(at + word.len()) };
                input.splice(at..end, word.iter().copied());
            }
        }
    }
}
