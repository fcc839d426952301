use std::{fmt, str::FromStr};

use openarchive_domain::ParseError;

/// Which index this is: random, made with the index. Written as 32 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Generation([u8; 16]);

impl Generation {
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl FromStr for Generation {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = || ParseError::new("index generation", text, "32 lowercase hex digits");
        let parsed =
            u128::from_str_radix(text, 16).map(|number| Self(number.to_be_bytes())).map_err(|_| error())?;
        if parsed.to_string() == text { Ok(parsed) } else { Err(error()) }
    }
}
