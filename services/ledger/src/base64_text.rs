//! Standard base64 with padding (RFC 4648 section 4), strict both ways: one text for one sequence of bytes.

use base64::{Engine as _, engine::general_purpose::STANDARD};

pub(crate) fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// `None` for anything but canonical padded base64 (no white space, no stray trailing bits).
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// Exactly 32 bytes.
pub(crate) fn decode_32(text: &str) -> Option<[u8; 32]> {
    decode(text)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_canonical_padded_base64_is_read() {
        assert_eq!(decode("AQI="), Some(vec![1, 2]));
        for bad in ["AQI", "AQJ=", "AQI=\n", " AQI=", "AQ-_", "A"] {
            assert_eq!(decode(bad), None, "{bad:?}");
        }
        assert_eq!(decode_32(&encode(&[7; 32])), Some([7; 32]));
        assert_eq!(decode_32(&encode(&[7; 31])), None);
    }
}
