//! How a part's exact bytes in the message are made from its decoded content.

use openarchive_domain::Digest;

use crate::limits::TRAILING_BYTES_MAX;

/// How lines end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LineEnd {
    #[default]
    None,
    CrLf,
    Lf,
}

impl LineEnd {
    pub const fn bytes(self) -> &'static [u8] {
        match self {
            Self::None => b"",
            Self::CrLf => b"\r\n",
            Self::Lf => b"\n",
        }
    }
}

/// Base64 text (RFC 2045 section 6.8) in lines of one length.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Base64Recipe {
    /// Characters in each line but the last; 0 = all on one line.
    pub line_length: u16,
    /// What stands between lines, and after the last if `last_break`. None only where no line ends.
    pub line_end: LineEnd,
    /// `=` signs after the last digit: what RFC 4648 asks for, or 0.
    pub padding: u8,
    pub last_break: bool,
    /// Up to [`TRAILING_BYTES_MAX`] bytes after all that, as they stood.
    pub trailing: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recipe {
    /// The content as it is.
    Identity,
    Base64(Base64Recipe),
}

/// Stands in the skeleton for a body that was taken out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartRef {
    /// Of the decoded content, so one file is one part however it was wrapped.
    pub digest: Digest,
    /// Bytes of decoded content.
    pub decoded_length: u64,
    pub recipe: Recipe,
}

impl PartRef {
    /// Bytes that the part fills in the message: what [`crate::PartEncoder`] writes, known before it writes.
    pub fn encoded_length(&self) -> u64 {
        match &self.recipe {
            Recipe::Identity => self.decoded_length,
            Recipe::Base64(recipe) => recipe.encoded_length(self.decoded_length),
        }
    }
}

/// A field of a recipe that no splitter would have written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecipeError {
    #[error("padding of {found} signs where {needed} or none belong")]
    Padding { found: u8, needed: u8 },
    #[error("a line length of {line_length} that no line reaches")]
    LineLength { line_length: u16 },
    #[error("a line ending is missing where lines end, or given where none does")]
    LineEnd,
    #[error("{bytes} trailing bytes; at most 65,535 fit")]
    Trailing { bytes: usize },
}

impl Base64Recipe {
    /// Digits and padding that `decoded_length` bytes become. Saturates.
    fn characters(&self, decoded_length: u64) -> u64 {
        let partial = match decoded_length % 3 {
            0 => 0,
            rest => rest + 1,
        };
        (decoded_length / 3).saturating_mul(4).saturating_add(partial + u64::from(self.padding))
    }

    fn encoded_length(&self, decoded_length: u64) -> u64 {
        let characters = self.characters(decoded_length);
        let breaks = match self.line_length {
            0 => 0,
            length => characters.saturating_sub(1) / u64::from(length),
        };
        let breaks = breaks + u64::from(self.last_break);
        characters
            .saturating_add(breaks.saturating_mul(self.line_end.bytes().len() as u64))
            .saturating_add(self.trailing.len() as u64)
    }

    /// One form for one text: fields that would change nothing are zero.
    pub(crate) fn in_canonical_form(mut self, decoded_length: u64) -> Self {
        if self.characters(decoded_length) <= u64::from(self.line_length) {
            self.line_length = 0;
        }
        if self.line_length == 0 && !self.last_break {
            self.line_end = LineEnd::None;
        }
        self
    }

    /// The other side of [`Self::in_canonical_form`], for recipes from outside.
    pub(crate) fn check(&self, decoded_length: u64) -> Result<(), RecipeError> {
        let needed = [0, 2, 1][(decoded_length % 3) as usize];
        if self.padding != 0 && self.padding != needed {
            return Err(RecipeError::Padding { found: self.padding, needed });
        }
        if self.line_length != 0 && self.characters(decoded_length) <= u64::from(self.line_length) {
            return Err(RecipeError::LineLength { line_length: self.line_length });
        }
        let lines_end = self.line_length != 0 || self.last_break;
        if lines_end != (self.line_end != LineEnd::None) {
            return Err(RecipeError::LineEnd);
        }
        if self.trailing.len() > TRAILING_BYTES_MAX {
            return Err(RecipeError::Trailing { bytes: self.trailing.len() });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base64(line_length: u16, line_end: LineEnd, padding: u8, last_break: bool) -> Base64Recipe {
        Base64Recipe { line_length, line_end, padding, last_break, trailing: Vec::new() }
    }

    #[test]
    fn each_field_that_no_splitter_writes_has_its_error() {
        let (none, crlf) = (LineEnd::None, LineEnd::CrLf);
        for (recipe, decoded_length, expected) in [
            (base64(0, none, 0, false), 58, Ok(())),
            (base64(76, crlf, 2, true), 58, Ok(())),
            (base64(76, crlf, 1, true), 59, Ok(())),
            (base64(0, crlf, 0, true), 57, Ok(())),
            (base64(0, none, 1, false), 58, Err(RecipeError::Padding { found: 1, needed: 2 })),
            (base64(0, none, 2, false), 57, Err(RecipeError::Padding { found: 2, needed: 0 })),
            (base64(76, crlf, 0, true), 57, Err(RecipeError::LineLength { line_length: 76 })),
            (base64(76, none, 0, false), 58, Err(RecipeError::LineEnd)),
            (base64(0, crlf, 0, false), 57, Err(RecipeError::LineEnd)),
            (base64(0, none, 0, true), 57, Err(RecipeError::LineEnd)),
        ] {
            assert_eq!(recipe.check(decoded_length), expected, "{recipe:?} {decoded_length}");
        }
    }

    #[test]
    fn up_to_65_535_trailing_bytes_fit() {
        let with = |bytes| Base64Recipe { trailing: vec![b'x'; bytes], ..Base64Recipe::default() }.check(3);
        assert_eq!(with(TRAILING_BYTES_MAX), Ok(()));
        assert_eq!(
            with(TRAILING_BYTES_MAX + 1),
            Err(RecipeError::Trailing { bytes: TRAILING_BYTES_MAX + 1 })
        );
    }

    #[test]
    fn an_absurd_length_saturates_instead_of_wrapping_around() {
        let recipe = base64(1, LineEnd::CrLf, 0, true);
        assert_eq!(recipe.encoded_length(u64::MAX), u64::MAX);
    }
}
