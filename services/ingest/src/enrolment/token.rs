use std::str::FromStr;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use openarchive_domain::{Digest, random};

/// First characters of every one-time token; 43 characters of base64url follow.
pub const ENROLMENT_TOKEN_PREFIX: &str = "oae_";
const SECRET_BYTES: usize = 32;

/// A one-time token. Not `Debug`: who has it is let in.
pub(super) struct Token(String);

impl Token {
    pub(super) fn fresh() -> Self {
        let secret = random::bytes::<SECRET_BYTES>();
        Self(format!("{ENROLMENT_TOKEN_PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(secret)))
    }

    /// All that is kept of it: a secret of 256 bits needs no slow hash.
    pub(super) fn sha256(&self) -> Digest {
        Digest::of(self.0.as_bytes())
    }

    pub(super) fn into_text(self) -> String {
        self.0
    }
}

/// Not a token; nothing of it is repeated.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoToken;

impl FromStr for Token {
    type Err = NoToken;

    fn from_str(text: &str) -> Result<Self, NoToken> {
        let secret = text.strip_prefix(ENROLMENT_TOKEN_PREFIX).ok_or(NoToken)?;
        let decoded = BASE64_URL_SAFE_NO_PAD.decode(secret).map_err(|_| NoToken)?;
        if decoded.len() == SECRET_BYTES { Ok(Self(text.to_owned())) } else { Err(NoToken) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_only_in_its_exact_form_and_each_is_another() {
        let text = Token::fresh().into_text();
        assert_eq!(text.len(), 4 + 43);
        assert_ne!(text, Token::fresh().into_text());
        let token: Token = text.parse().ok().unwrap();
        assert_eq!(token.sha256(), Digest::of(text.as_bytes()));
        let longer = format!("{text}a");
        for bad in ["", "oae_", &text[..text.len() - 1], &longer, &text[4..], &text.replace("oae_", "oa_")] {
            assert_eq!(bad.parse::<Token>().err(), Some(NoToken), "{}", bad.len());
        }
    }
}
