//! Transfer encodings (RFC 2045 section 6), strict: what decodes here is what was encoded, or it is refused.

use crate::base64::Quantum;

/// White space before a line's end in quoted-printable, at most; the format allows lines of 76 characters.
const BLANKS_BYTES_MAX: usize = 1024;

/// How a part's content is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransferEncoding {
    /// 7bit, 8bit, binary, or nothing said: as it stands.
    Identity,
    Base64,
    QuotedPrintable,
}

impl TransferEncoding {
    /// `None` for a name that RFC 2045 does not know.
    pub(super) fn of(value: Option<&[u8]>) -> Option<Self> {
        let value = value.unwrap_or_default();
        let end = value.iter().position(|byte| matches!(byte, b';' | b'(')).unwrap_or(value.len());
        match value[..end].trim_ascii().to_ascii_lowercase().as_slice() {
            b"" | b"7bit" | b"8bit" | b"binary" => Some(Self::Identity),
            b"base64" => Some(Self::Base64),
            b"quoted-printable" => Some(Self::QuotedPrintable),
            _ => None,
        }
    }
}

/// The text is not what its encoding says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the content does not follow its transfer encoding")]
pub struct Undecodable;

/// Decodes content that comes in any pieces.
#[derive(Debug)]
pub struct TransferDecoder(State);

#[derive(Debug)]
enum State {
    Identity,
    Base64 { quantum: Quantum, signs: u8 },
    QuotedPrintable(QuotedPrintable),
}

impl TransferDecoder {
    pub fn new(encoding: TransferEncoding) -> Self {
        Self(match encoding {
            TransferEncoding::Identity => State::Identity,
            TransferEncoding::Base64 => State::Base64 { quantum: Quantum::default(), signs: 0 },
            TransferEncoding::QuotedPrintable => State::QuotedPrintable(QuotedPrintable::default()),
        })
    }

    /// Appends to `out`. After an error the decoder must be thrown away.
    pub fn push(&mut self, encoded: &[u8], out: &mut Vec<u8>) -> Result<(), Undecodable> {
        match &mut self.0 {
            State::Identity => out.extend_from_slice(encoded),
            State::Base64 { quantum, signs } => {
                let text: Vec<u8> = encoded.iter().copied().filter(|b| !b" \t\r\n".contains(b)).collect();
                let digits = text.iter().position(|byte| *byte == b'=').unwrap_or(text.len());
                let (digits, padding) = text.split_at(digits);
                let is_over = *signs > 0 && !digits.is_empty();
                if is_over || padding.iter().any(|byte| *byte != b'=') || !quantum.decode(digits, out) {
                    return Err(Undecodable);
                }
                *signs = u8::try_from(usize::from(*signs) + padding.len()).map_err(|_| Undecodable)?;
            }
            State::QuotedPrintable(state) => {
                for byte in encoded {
                    state.take(*byte, out)?;
                }
            }
        }
        Ok(())
    }

    /// The content is over. Missing `=` signs at the end are forgiven, wrong ones are not.
    pub fn finish(self, out: &mut Vec<u8>) -> Result<(), Undecodable> {
        match self.0 {
            State::Identity => Ok(()),
            State::Base64 { quantum, signs } => {
                let is_open = !quantum.is_empty();
                let needed = quantum.end(out);
                let fits = (signs == 0 || signs == needed) && (needed > 0 || !is_open);
                if fits { Ok(()) } else { Err(Undecodable) }
            }
            State::QuotedPrintable(state) => match state.place {
                Place::Text | Place::Equals | Place::SoftBlank | Place::SoftCr => Ok(()),
                Place::Cr | Place::Digit(_) => Err(Undecodable),
            },
        }
    }
}

/// RFC 2045 section 6.7.
#[derive(Debug, Default)]
struct QuotedPrintable {
    place: Place,
    /// White space that belongs to the text if the line goes on, and to nothing if it ends.
    blanks: Vec<u8>,
}

#[derive(Debug, Clone, Copy, Default)]
enum Place {
    #[default]
    Text,
    /// A CR whose LF is to come.
    Cr,
    Equals,
    /// `=` and its first digit.
    Digit(u8),
    /// `=` and white space: a soft break whose line end is to come.
    SoftBlank,
    SoftCr,
}

impl QuotedPrintable {
    fn take(&mut self, byte: u8, out: &mut Vec<u8>) -> Result<(), Undecodable> {
        self.place = match (self.place, byte) {
            (Place::Text, b' ' | b'\t') if self.blanks.len() < BLANKS_BYTES_MAX => {
                self.blanks.push(byte);
                Place::Text
            }
            (Place::Text, b' ' | b'\t') => return Err(Undecodable),
            (Place::Text, b'\r') => Place::Cr,
            (Place::Text, b'\n') => {
                self.blanks.clear();
                out.push(b'\n');
                Place::Text
            }
            (Place::Cr, b'\n') => {
                self.blanks.clear();
                out.extend_from_slice(b"\r\n");
                Place::Text
            }
            (Place::Text, _) => {
                out.append(&mut self.blanks);
                if byte == b'=' {
                    Place::Equals
                } else {
                    out.push(byte);
                    Place::Text
                }
            }
            (Place::Equals | Place::SoftBlank, b' ' | b'\t') => Place::SoftBlank,
            (Place::Equals | Place::SoftBlank, b'\r') => Place::SoftCr,
            (Place::Equals | Place::SoftBlank | Place::SoftCr, b'\n') => Place::Text,
            (Place::Equals, _) => Place::Digit(hex(byte)?),
            (Place::Digit(high), _) => {
                out.push(high << 4 | hex(byte)?);
                Place::Text
            }
            (Place::Cr | Place::SoftBlank | Place::SoftCr, _) => return Err(Undecodable),
        };
        Ok(())
    }
}

fn hex(digit: u8) -> Result<u8, Undecodable> {
    char::from(digit).to_digit(16).map(|value| value as u8).ok_or(Undecodable)
}

/// A whole content that is bounded by its caller.
pub(super) fn decode(encoding: TransferEncoding, encoded: &[u8]) -> Result<Vec<u8>, Undecodable> {
    let (mut decoder, mut out) = (TransferDecoder::new(encoding), Vec::new());
    decoder.push(encoded, &mut out)?;
    decoder.finish(&mut out)?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_encoding_gives_back_what_was_written() {
        use TransferEncoding::{Base64, Identity, QuotedPrintable};
        let check = |encoding, text: &str, expected: Option<&str>| {
            let found = decode(encoding, text.as_bytes()).ok();
            assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{text:?}");
        };
        check(Identity, "=41\r\n", Some("=41\r\n"));
        check(Base64, "SGVs\r\nbG8g\nd29y bGQ=\r\n", Some("Hello world"));
        check(Base64, "SGVsbG8gd29ybGQ", Some("Hello world"));
        check(Base64, "", Some(""));
        for broken in ["SGVs!", "SGVsbG8gd29ybGR=", "SGVsbG8=IHdvcmxk", "SGVsbG8==", "S", "SGVs="] {
            check(Base64, broken, None);
        }
        check(
            QuotedPrintable,
            "Gr=C3=BC=c3=9fe  \r\nsoft=\r\n break= \t\n.\r\n",
            Some("Grüße\r\nsoft break.\r\n"),
        );
        check(QuotedPrintable, "a  b\t", Some("a  b"));
        check(QuotedPrintable, "end=", Some("end"));
        for broken in ["=XY", "=4", "a\rb", "= x", "=\rx", "\r"] {
            check(QuotedPrintable, broken, None);
        }
    }

    #[test]
    fn encodings_are_known_by_name() {
        let check =
            |value: &str, expected| assert_eq!(TransferEncoding::of(Some(value.as_bytes())), expected);
        check(" BASE64 \r\n", Some(TransferEncoding::Base64));
        check("Quoted-Printable; x", Some(TransferEncoding::QuotedPrintable));
        check("8bit (really)", Some(TransferEncoding::Identity));
        check("x-uuencode", None);
        assert_eq!(TransferEncoding::of(None), Some(TransferEncoding::Identity));
    }

    #[test]
    fn white_space_of_the_limit_is_held_and_more_is_refused() {
        let text = |blanks: usize| format!("a{}b", " ".repeat(blanks));
        let decoded = |blanks| decode(TransferEncoding::QuotedPrintable, text(blanks).as_bytes());
        assert_eq!(decoded(BLANKS_BYTES_MAX), Ok(text(BLANKS_BYTES_MAX).into_bytes()));
        assert_eq!(decoded(BLANKS_BYTES_MAX + 1), Err(Undecodable));
    }

    proptest! {
        #![proptest_config(crate::split::seeded(256))]

        #[test]
        fn the_pieces_do_not_matter(
            text in "[A-Za-z0-9+/=\r\n \t]{0,80}",
            piece_bytes in 1usize..9,
        ) {
            for encoding in
                [TransferEncoding::Identity, TransferEncoding::Base64, TransferEncoding::QuotedPrintable]
            {
                let (mut decoder, mut out) = (TransferDecoder::new(encoding), Vec::new());
                let pushed = text.as_bytes().chunks(piece_bytes).try_for_each(|p| decoder.push(p, &mut out));
                let found = pushed.and_then(|()| decoder.finish(&mut out)).map(|()| out);
                prop_assert_eq!(found, decode(encoding, text.as_bytes()));
            }
        }

        #[test]
        fn decoding_is_the_inverse_of_quoting(content: Vec<u8>) {
            let quoted = content.iter().map(|byte| format!("={byte:02X}")).collect::<Vec<_>>().concat();
            prop_assert_eq!(decode(TransferEncoding::QuotedPrintable, quoted.as_bytes()), Ok(content));
        }
    }
}
