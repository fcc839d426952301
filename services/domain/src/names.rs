use std::{fmt, str::FromStr};

use crate::ParseError;

/// Longest tenant or agent name, in bytes (RFC 1123 label).
pub const NAME_BYTES_MAX: usize = 63;

fn dns_label(what: &'static str, text: &str) -> Result<String, ParseError> {
    let bytes = text.as_bytes();
    let plain = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let valid = !bytes.is_empty()
        && bytes.len() <= NAME_BYTES_MAX
        && bytes.iter().all(|b| plain(b) || *b == b'-')
        && bytes.first().is_some_and(plain)
        && bytes.last().is_some_and(plain);
    if valid {
        Ok(text.to_owned())
    } else {
        Err(ParseError::new(
            what,
            text,
            "a DNS label: 1 to 63 of a-z, 0-9 and -, not starting or ending with -",
        ))
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = ParseError;

            fn from_str(text: &str) -> Result<Self, ParseError> {
                dns_label($what, text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// An organisation whose mail is kept apart from every other's. A DNS label.
    Tenant,
    "tenant"
);
name!(
    /// A retention policy, unique within its archive. A DNS label.
    PolicyName,
    "retention policy"
);
name!(
    /// An agent beside a mail server, unique within its tenant. A DNS label.
    AgentName,
    "agent"
);

/// Which agent, of which tenant: what a client certificate says. Written `tenant/name`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgentRef {
    pub tenant: Tenant,
    pub name: AgentName,
}

impl FromStr for AgentRef {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (tenant, name) =
            text.split_once('/').ok_or_else(|| ParseError::new("agent", text, "TENANT/NAME"))?;
        Ok(Self { tenant: tenant.parse()?, name: name.parse()? })
    }
}

impl fmt::Display for AgentRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.tenant, self.name)
    }
}

/// Where one mail stands in the life of its agent's buffer: the number space in which no number may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seat {
    /// Chosen at random by the agent, stored beside its buffer.
    pub instance: [u8; 16],
    /// Random; a new one is opened when the agent's disk was rolled back.
    pub agent_epoch: u64,
    /// Counts from 1 without gaps.
    pub seq: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dns_labels_of_at_most_63_bytes() {
        for good in ["a", "acme", "acme-2", &"x".repeat(NAME_BYTES_MAX)] {
            assert!(good.parse::<Tenant>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "Acme", "a_b", "a.b", "ä", &"x".repeat(NAME_BYTES_MAX + 1)] {
            assert!(bad.parse::<Tenant>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_agent_is_written_tenant_slash_name() {
        let agent: AgentRef = "acme/mx1".parse().unwrap();
        assert_eq!((agent.tenant.as_str(), agent.name.as_str()), ("acme", "mx1"));
        assert_eq!(agent.to_string(), "acme/mx1");
        assert!("acme".parse::<AgentRef>().is_err());
        assert!("acme/a/b".parse::<AgentRef>().is_err());
    }
}
