use std::{fmt, io, path::Path};

use crate::exit_code::{EXIT_ERROR, EXIT_OK, EXIT_VERIFICATION_FAILED};

/// Why the program ends without having done it. `Display` is one line: what, where, what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Content is not what it should be, or not there.
    Verification(String),
    Other(String),
    /// Whoever read the output has gone: nobody is left to tell.
    ReaderGone,
}

impl Failure {
    pub(crate) fn other(line: impl Into<String>) -> Self {
        Self::Other(line.into())
    }

    /// `doing` like `cannot read`.
    pub(crate) fn file(doing: &str, path: &Path, error: &io::Error) -> Self {
        Self::Other(format!("{doing} {}: {error}", path.display()))
    }

    pub(crate) const fn exit_code(&self) -> u8 {
        match self {
            Self::Verification(_) => EXIT_VERIFICATION_FAILED,
            Self::Other(_) => EXIT_ERROR,
            Self::ReaderGone => EXIT_OK,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Verification(line) | Self::Other(line) => f.write_str(line),
            Self::ReaderGone => f.write_str("nobody reads the output"),
        }
    }
}
