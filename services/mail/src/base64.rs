//! Base64 digits (RFC 4648 section 4) without line breaks: strict, table-driven.
//!
//! Strict means one-to-one: what decodes here encodes again to the same digits.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

const NO_DIGIT: u8 = 0x80;

/// Value of each digit; [`NO_DIGIT`] for what is none.
const VALUES: [u8; 256] = {
    let mut values = [NO_DIGIT; 256];
    let mut value = 0;
    while value < 64 {
        values[ALPHABET[value] as usize] = value as u8;
        value += 1;
    }
    values
};

/// The two digits of each 12-bit value.
const DIGIT_PAIRS: [[u8; 2]; 4096] = {
    let mut pairs = [[0; 2]; 4096];
    let mut value = 0;
    while value < 4096 {
        pairs[value] = [ALPHABET[value >> 6], ALPHABET[value & 63]];
        value += 1;
    }
    pairs
};

/// Appends the bytes of whole quanta (four digits each). False, and nothing appended, if one is no digit.
pub(crate) fn decode_quanta(quanta: &[[u8; 4]], out: &mut Vec<u8>) -> bool {
    let start = out.len();
    out.resize(start + quanta.len() * 3, 0);
    let mut seen = 0;
    let (triples, _) = out[start..].as_chunks_mut::<3>();
    for (&[a, b, c, d], triple) in quanta.iter().zip(triples) {
        let [a, b, c, d] = [VALUES[a as usize], VALUES[b as usize], VALUES[c as usize], VALUES[d as usize]];
        seen |= a | b | c | d;
        let bits = u32::from(a) << 18 | u32::from(b) << 12 | u32::from(c) << 6 | u32::from(d);
        let [_, first, second, third] = bits.to_be_bytes();
        *triple = [first, second, third];
    }
    let valid = seen & NO_DIGIT == 0;
    if !valid {
        out.truncate(start);
    }
    valid
}

/// Appends four digits for each three bytes.
pub(crate) fn encode_triples(triples: &[[u8; 3]], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + triples.len() * 4, 0);
    let (quanta, _) = out[start..].as_chunks_mut::<4>();
    for (&[a, b, c], quantum) in triples.iter().zip(quanta) {
        let bits = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        let [[first, second], [third, fourth]] = [DIGIT_PAIRS[bits >> 12], DIGIT_PAIRS[bits & 0xfff]];
        *quantum = [first, second, third, fourth];
    }
}

/// The two or three digits of the one or two bytes that end a text; none for none.
pub(crate) fn encode_rest(rest: &[u8], out: &mut Vec<u8>) {
    let digits = match *rest {
        [a] => [a, 0, 0],
        [a, b] => [a, b, 0],
        _ => return,
    };
    let start = out.len();
    encode_triples(&[digits], out);
    out.truncate(start + rest.len() + 1);
}

/// Digits on their way to becoming bytes: a quantum may be torn by a line break.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Quantum {
    digits: [u8; 4],
    filled: usize,
}

impl Quantum {
    pub(crate) fn is_empty(self) -> bool {
        self.filled == 0
    }

    /// Appends the bytes of the quanta that `digits` complete. False, and nothing changed, if one is no digit.
    pub(crate) fn decode(&mut self, digits: &[u8], out: &mut Vec<u8>) -> bool {
        let (before, start) = (*self, out.len());
        let (torn, digits) = digits.split_at(digits.len().min((4 - self.filled) % 4));
        self.fill(torn);
        if self.filled == 4 && !self.take_full(out) {
            *self = before;
            return false;
        }
        let (quanta, rest) = digits.as_chunks::<4>();
        let valid = torn.iter().chain(rest).all(|digit| VALUES[*digit as usize] != NO_DIGIT)
            && decode_quanta(quanta, out);
        if valid {
            self.fill(rest);
        } else {
            *self = before;
            out.truncate(start);
        }
        valid
    }

    /// Ends the text: appends the bytes of a quantum of two or three digits if these encode again to the same
    /// digits, and returns how many `=` would complete it. Otherwise nothing is appended and none is needed.
    pub(crate) fn end(self, out: &mut Vec<u8>) -> u8 {
        let mut bytes = Vec::with_capacity(3);
        let mut padded = [b'A'; 4];
        padded[..self.filled].copy_from_slice(&self.digits[..self.filled]);
        if self.filled < 2 || !decode_quanta(&[padded], &mut bytes) {
            return 0;
        }
        let (content, spare_bits) = bytes.split_at(self.filled - 1);
        if spare_bits.iter().any(|byte| *byte != 0) {
            return 0;
        }
        out.extend_from_slice(content);
        (4 - self.filled) as u8
    }

    fn fill(&mut self, digits: &[u8]) {
        self.digits[self.filled..self.filled + digits.len()].copy_from_slice(digits);
        self.filled += digits.len();
    }

    fn take_full(&mut self, out: &mut Vec<u8>) -> bool {
        self.filled = 0;
        decode_quanta(&[self.digits], out)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encode(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let (triples, rest) = bytes.as_chunks::<3>();
        encode_triples(triples, &mut out);
        encode_rest(rest, &mut out);
        out
    }

    #[test]
    fn the_vectors_of_rfc_4648_section_10() {
        let vectors = ["", "Zg", "Zm8", "Zm9v", "Zm9vYg", "Zm9vYmE", "Zm9vYmFy"];
        for (length, digits) in vectors.iter().enumerate() {
            assert_eq!(encode(&b"foobar"[..length]), digits.as_bytes());
        }
    }

    #[test]
    fn digits_with_spare_bits_are_not_decoded_because_they_would_not_encode_again() {
        for (digits, expected, needed) in
            [("QQ", "A", 2), ("QR", "", 0), ("QUI", "AB", 1), ("QUJ", "", 0), ("Q", "", 0), ("", "", 0)]
        {
            let (mut quantum, mut out) = (Quantum::default(), Vec::new());
            assert!(quantum.decode(digits.as_bytes(), &mut out));
            assert_eq!(quantum.end(&mut out), needed, "{digits}");
            assert_eq!(out, expected.as_bytes(), "{digits}");
        }
    }

    proptest! {
        #![proptest_config(crate::split::seeded(256))]

        #[test]
        fn decoding_is_the_inverse_of_encoding_wherever_the_digits_are_torn(bytes: Vec<u8>, cuts: Vec<u8>) {
            let (mut quantum, mut out) = (Quantum::default(), Vec::new());
            let digits = encode(&bytes);
            let mut rest = digits.as_slice();
            for cut in cuts {
                let (piece, after) = rest.split_at(rest.len().min(usize::from(cut)));
                prop_assert!(quantum.decode(piece, &mut out));
                rest = after;
            }
            prop_assert!(quantum.decode(rest, &mut out));
            quantum.end(&mut out);
            prop_assert_eq!(out, bytes);
        }

        #[test]
        fn a_byte_that_is_no_digit_is_refused_and_changes_nothing(before in "[A-Za-z0-9+/]{0,9}", bad: u8, after in "[A-Z]{0,9}") {
            prop_assume!(!ALPHABET.contains(&bad));
            let (mut quantum, mut out) = (Quantum::default(), Vec::new());
            prop_assert!(quantum.decode(b"QUJ", &mut out));
            let text = [before.as_bytes(), &[bad], after.as_bytes()].concat();
            prop_assert!(!quantum.decode(&text, &mut out));
            prop_assert!(quantum.decode(b"D", &mut out));
            prop_assert_eq!(out, b"ABC");
        }
    }
}
