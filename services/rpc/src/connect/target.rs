//! Where a service is.

use std::{fmt, str::FromStr};

use http::uri::Authority;
use openarchive_domain::ParseError;
use rustls_pki_types::ServerName;

/// `HOST:PORT`. HOST is a DNS name, which may stand for several replicas, or an IP address (IPv6 in brackets); the server's
/// certificate must name it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) name: ServerName<'static>,
    pub(super) authority: Authority,
}

impl FromStr for Target {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let bad = || ParseError::new("target", text, "HOST:PORT, or [ADDRESS]:PORT for IPv6");
        let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(bad)?;
        let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        if inner.is_none() && host.contains(':') {
            return Err(bad());
        }
        let host = inner.unwrap_or(host);
        let name = ServerName::try_from(host.to_owned()).map_err(|_| bad())?;
        if inner.is_some() && !matches!(name, ServerName::IpAddress(_)) {
            return Err(bad());
        }
        let authority = text.parse().map_err(|_| bad())?;
        Ok(Self { host: host.to_owned(), port, name, authority })
    }
}

impl Target {
    /// The same server, by the same name in its certificate, reached at another address: through a forwarded port.
    #[must_use]
    pub fn reached_at(self, host: &str, port: u16) -> Self {
        Self { host: host.to_owned(), port, ..self }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.authority.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_host_and_a_port() {
        for good in ["storage:7443", "storage.archive.svc:1", "10.0.0.7:7443", "[::1]:65535"] {
            assert_eq!(good.parse::<Target>().unwrap().to_string(), good);
        }
        let bad = [
            "storage",
            "storage:",
            ":7443",
            "storage:0",
            "storage:65536",
            "::1:7443",
            "[storage]:1",
            "a b:1",
            "",
        ];
        for bad in bad {
            assert!(bad.parse::<Target>().is_err(), "{bad}");
        }
        assert_eq!("[::1]:7".parse::<Target>().unwrap().host, "::1");
    }
}
