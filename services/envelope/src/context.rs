use std::{fmt, str::FromStr};

use openarchive_domain::{Digest, ParseError, Tenant};

/// What a blob is. Part of its encryption context and, as a code, of the pack footer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BlobKind {
    /// Decoded content of an attachment or of a long run.
    Part,
    /// A message without its parts.
    Skeleton,
    /// Envelope, peer, times and the commitment salt of one arrival.
    Observation,
    /// Policies, holds, agent registry: journalled at each change.
    State,
    /// Operator snapshots.
    Config,
    /// The list of a pack's blobs; never listed in a footer itself.
    Footer,
}

/// A kind code that this version does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("blob kind code {0} is unknown; a newer version may have written it")]
pub struct UnknownKindCode(pub u8);

impl BlobKind {
    pub const ALL: [Self; 6] =
        [Self::Part, Self::Skeleton, Self::Observation, Self::State, Self::Config, Self::Footer];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Part => "part",
            Self::Skeleton => "skeleton",
            Self::Observation => "observation",
            Self::State => "state",
            Self::Config => "config",
            Self::Footer => "footer",
        }
    }

    /// The byte that stands for the kind in a pack footer. Never reused.
    pub const fn code(self) -> u8 {
        match self {
            Self::Part => 1,
            Self::Skeleton => 2,
            Self::Observation => 3,
            Self::State => 4,
            Self::Config => 5,
            Self::Footer => 6,
        }
    }

    pub fn from_code(code: u8) -> Result<Self, UnknownKindCode> {
        Self::ALL.into_iter().find(|kind| kind.code() == code).ok_or(UnknownKindCode(code))
    }
}

impl fmt::Display for BlobKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for BlobKind {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| {
            ParseError::new("blob kind", text, "part, skeleton, observation, state, config or footer")
        })
    }
}

/// Whose blob it is. Written as the tenant's name, or `_` for what belongs to the archive as a whole.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BlobScope {
    Archive,
    Tenant(Tenant),
}

impl BlobScope {
    pub fn as_str(&self) -> &str {
        match self {
            Self::Archive => "_",
            Self::Tenant(tenant) => tenant.as_str(),
        }
    }
}

impl fmt::Display for BlobScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for BlobScope {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        if text == "_" { Ok(Self::Archive) } else { text.parse().map(Self::Tenant) }
    }
}

impl From<Tenant> for BlobScope {
    fn from(tenant: Tenant) -> Self {
        Self::Tenant(tenant)
    }
}

/// What a body is bound to: opening it under any other context fails.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BlobContext {
    pub scope: BlobScope,
    pub kind: BlobKind,
    /// SHA-256 of the raw bytes; of a footer: [`crate::pack::footer_digest`].
    pub digest: Digest,
}

impl BlobContext {
    pub const fn new(scope: BlobScope, kind: BlobKind, digest: Digest) -> Self {
        Self { scope, kind, digest }
    }

    /// The ASCII bytes that enter the key derivation: `openarchive/blob/v1|<tenant or _>|<kind>|<64 hex>`.
    pub fn to_ascii(&self) -> String {
        format!("openarchive/blob/v1|{}|{}|{}", self.scope, self.kind, self.digest.hex())
    }

    /// A footer's context names its pack, so its digest says nothing about its bytes.
    pub(crate) fn digest_is_of_raw_bytes(&self) -> bool {
        self.kind != BlobKind::Footer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_is_written_as_the_format_demands() {
        let digest = Digest::of(b"abc");
        let check = |scope: &str, kind, expected: &str| {
            let context = BlobContext::new(scope.parse().unwrap(), kind, digest);
            assert_eq!(context.to_ascii(), format!("openarchive/blob/v1|{expected}|{}", digest.hex()));
        };
        check("_", BlobKind::State, "_|state");
        check("acme", BlobKind::Part, "acme|part");
        check("acme", BlobKind::Footer, "acme|footer");
    }

    #[test]
    fn kinds_and_their_codes_map_one_to_one() {
        for kind in BlobKind::ALL {
            assert_eq!(BlobKind::from_code(kind.code()), Ok(kind));
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
        assert_eq!(BlobKind::from_code(0), Err(UnknownKindCode(0)));
        assert_eq!(BlobKind::from_code(7), Err(UnknownKindCode(7)));
        assert!("Part".parse::<BlobKind>().is_err());
    }

    #[test]
    fn a_scope_is_a_tenant_or_the_archive_and_never_text_with_separators() {
        for bad in ["", "a|part", "__", "A"] {
            assert!(bad.parse::<BlobScope>().is_err(), "{bad}");
        }
        assert_eq!("_".parse(), Ok(BlobScope::Archive));
    }
}
