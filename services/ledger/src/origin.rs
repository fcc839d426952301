//! Which log: `<tenant or _>/<stream>/<log epoch>`, and its origin, which is also the name of its key.

use std::{fmt, str::FromStr};

use openarchive_domain::{ParseError, Tenant};

use crate::checkpoint::parse_decimal;

/// Longest origin, in bytes.
pub const ORIGIN_BYTES_MAX: usize = 255;

/// Whose something is: one tenant's, or the whole archive's, which is written `_`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TenantOrArchive {
    Archive,
    Tenant(Tenant),
}

impl TenantOrArchive {
    pub fn as_str(&self) -> &str {
        match self {
            Self::Archive => "_",
            Self::Tenant(tenant) => tenant.as_str(),
        }
    }
}

impl From<Tenant> for TenantOrArchive {
    fn from(tenant: Tenant) -> Self {
        Self::Tenant(tenant)
    }
}

impl fmt::Display for TenantOrArchive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for TenantOrArchive {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        if text == "_" { Ok(Self::Archive) } else { text.parse().map(Self::Tenant) }
    }
}

/// A log's place within its archive. Streams are an open registry of DNS labels: [`LogId::EVIDENCE`] and
/// [`LogId::AUDIT`] for each tenant, [`LogId::CONFIG`] for the archive.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId {
    owner: TenantOrArchive,
    stream: String,
    epoch: u64,
}

impl LogId {
    /// Stream of messages, packs, shreds and seals.
    pub const EVIDENCE: &'static str = "evidence";
    /// Stream of who did what.
    pub const AUDIT: &'static str = "audit";
    /// Stream of the operator's configuration snapshots.
    pub const CONFIG: &'static str = "config";

    pub fn new(owner: TenantOrArchive, stream: &str, epoch: u64) -> Result<Self, ParseError> {
        Ok(Self { owner, stream: label("log stream", stream)?, epoch })
    }

    pub const fn owner(&self) -> &TenantOrArchive {
        &self.owner
    }

    pub fn stream(&self) -> &str {
        &self.stream
    }

    pub const fn epoch(&self) -> u64 {
        self.epoch
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.owner, self.stream, self.epoch)
    }
}

impl FromStr for LogId {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = || ParseError::new("log", text, "TENANT/STREAM/EPOCH, with _ for the archive's own logs");
        let mut fields = text.split('/');
        let (Some(owner), Some(stream), Some(epoch), None) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            return Err(error());
        };
        Self::new(owner.parse()?, stream, parse_decimal(epoch).ok_or_else(error)?)
    }
}

/// `<domain>/<archive>/<tenant or _>/<stream>/<log epoch>`, at most 255 bytes: the first line of every checkpoint of
/// the log and the name of its key. No origin is ever used for a second log.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    domain: String,
    archive: String,
    log: LogId,
}

impl Origin {
    /// `domain`: lowercase DNS name. `archive`: DNS label.
    pub fn new(domain: &str, archive: &str, log: LogId) -> Result<Self, ParseError> {
        for part in domain.split('.') {
            label("domain of an origin", part)?;
        }
        let archive = label("archive of an origin", archive)?;
        let origin = Self { domain: domain.to_owned(), archive, log };
        let text = origin.to_string();
        if text.len() > ORIGIN_BYTES_MAX {
            return Err(ParseError::new("origin", text, "at most 255 bytes"));
        }
        Ok(origin)
    }

    pub fn domain(&self) -> &str {
        &self.domain
    }

    pub fn archive(&self) -> &str {
        &self.archive
    }

    pub const fn log(&self) -> &LogId {
        &self.log
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.domain, self.archive, self.log)
    }
}

impl FromStr for Origin {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut fields = text.splitn(3, '/');
        let (Some(domain), Some(archive), Some(log)) = (fields.next(), fields.next(), fields.next()) else {
            return Err(ParseError::new("origin", text, "DOMAIN/ARCHIVE/TENANT/STREAM/EPOCH"));
        };
        Self::new(domain, archive, log.parse()?)
    }
}

/// Same form as a tenant's name, which already is a DNS label.
fn label(what: &'static str, text: &str) -> Result<String, ParseError> {
    let label: Tenant = text.parse().map_err(|error: ParseError| ParseError { what, ..error })?;
    Ok(label.as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_reads_back_as_it_is_written() {
        for text in [
            "archive.example.com/main/acme/evidence/1",
            "localhost/dev/_/config/0",
            "a/b/c/d/18446744073709551615",
        ] {
            let origin: Origin = text.parse().unwrap();
            assert_eq!(origin.to_string(), text);
        }
        let origin: Origin = "archive.example.com/main/acme/evidence/12".parse().unwrap();
        assert_eq!((origin.domain(), origin.archive()), ("archive.example.com", "main"));
        assert_eq!(
            (origin.log().owner().as_str(), origin.log().stream(), origin.log().epoch()),
            ("acme", "evidence", 12)
        );
        assert_eq!("_/config/3".parse::<LogId>().unwrap().owner(), &TenantOrArchive::Archive);
    }

    #[test]
    fn nothing_else_is_an_origin() {
        for bad in [
            "",
            "a/b/c/d",
            "a/b/c/d/1/2",
            "a/b/c/d/01",
            "a/b/c/d/-1",
            "a/b/c/d/",
            "A/b/c/d/1",
            "a..b/b/c/d/1",
            "a/_/c/d/1",
            "a/b/c/_/1",
            "a b/b/c/d/1",
            "a+b/b/c/d/1",
            "a:8080/b/c/d/1",
            "a/b/c/d/1\n",
        ] {
            assert!(bad.parse::<Origin>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_origin_has_at_most_255_bytes() {
        let fixed = "/b/c/d/1".len();
        let domain =
            |bytes: usize| format!("{}{}", "a.".repeat(bytes / 2), if bytes % 2 == 1 { "a" } else { "" });
        let length = ORIGIN_BYTES_MAX - fixed;
        assert_eq!(length % 2, 1);
        let log: LogId = "c/d/1".parse().unwrap();
        assert!(Origin::new(&domain(length), "b", log.clone()).is_ok());
        assert!(Origin::new(&domain(length + 2), "b", log).is_err());
    }
}
