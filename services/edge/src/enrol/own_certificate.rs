use std::time::Duration;

use openarchive_domain::{AgentRef, Timestamp};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};

use crate::sync::agent_of_certificate;

/// What this agent has to know of its own certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OwnCertificate {
    pub(crate) agent: AgentRef,
    /// SubjectPublicKeyInfo, DER.
    pub(crate) public_key: Vec<u8>,
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
}

impl OwnCertificate {
    /// The first certificate of a PEM chain, if it is an agent's.
    pub(crate) fn parse(pem: &[u8]) -> Option<Self> {
        let der = CertificateDer::from_pem_slice(pem).ok()?;
        let (_, certificate) = X509Certificate::from_der(&der).ok()?;
        let time = |seconds: i64| Timestamp::from_millis(seconds.saturating_mul(1000));
        Some(Self {
            agent: agent_of_certificate(&der)?,
            public_key: certificate.public_key().raw.to_vec(),
            not_before: time(certificate.validity().not_before.timestamp()),
            not_after: time(certificate.validity().not_after.timestamp()),
        })
    }

    /// From here on it is renewed: two thirds of its life, and up to a twentieth more, so that agents that enrolled
    /// together do not come together. `random`: any number, the same for one certificate.
    pub(crate) fn renew_at(&self, random: u16) -> Timestamp {
        let life = self.life_millis();
        let spread = life / 20 * i64::from(random) / i64::from(u16::MAX);
        self.after(life / 3 * 2 + spread)
    }

    /// From here on a person should know that it is not renewed: half of the time that is left for it is over.
    pub(crate) fn alarm_at(&self) -> Timestamp {
        self.after(self.life_millis() / 6 * 5)
    }

    fn life_millis(&self) -> i64 {
        self.not_after.as_millis().saturating_sub(self.not_before.as_millis()).max(0)
    }

    fn after(&self, millis: i64) -> Timestamp {
        Timestamp::from_millis(self.not_before.as_millis().saturating_add(millis))
    }

    /// For people: how long it is still good.
    pub(crate) fn remaining(&self, now: Timestamp) -> Duration {
        let millis = self.not_after.as_millis().saturating_sub(now.as_millis());
        Duration::from_millis(millis.max(0).cast_unsigned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_renewed_at_two_thirds_of_its_life_and_a_little_later_at_the_most() {
        let day = 86_400_000;
        let own = OwnCertificate {
            agent: "acme/mx1".parse().unwrap(),
            public_key: Vec::new(),
            not_before: Timestamp::from_millis(0),
            not_after: Timestamp::from_millis(90 * day),
        };
        assert_eq!(own.renew_at(0).as_millis(), 60 * day);
        assert_eq!(own.renew_at(u16::MAX).as_millis(), 64 * day + day / 2);
        assert_eq!(own.alarm_at().as_millis(), 75 * day);
        assert_eq!(own.remaining(Timestamp::from_millis(89 * day)), Duration::from_hours(24));
        assert_eq!(own.remaining(Timestamp::from_millis(91 * day)), Duration::ZERO);
    }
}
