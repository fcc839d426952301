//! Certificates of a test's archive: one authority, a certificate a service, as the operator would make them.

use std::{fs, path::Path};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};

/// An authority whose files stand in a folder: `ca.pem`, and `NAME.pem` with `NAME.key` for each certificate.
pub struct Pki {
    authority: CertifiedIssuer<'static, KeyPair>,
    domain: String,
}

impl Pki {
    pub fn new(domain: &str) -> anyhow::Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, format!("test authority of {domain}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        Ok(Self { authority, domain: domain.to_owned() })
    }

    /// Of the authority.
    pub fn ca_pem(&self) -> String {
        self.authority.pem()
    }

    pub fn ca_key_pem(&self) -> String {
        self.authority.key().serialize_pem()
    }

    /// Writes `ROLE.pem` and `ROLE.key` for a service on this machine.
    pub fn write_service(&self, folder: &Path, role: &str) -> anyhow::Result<()> {
        let names = ["localhost", "127.0.0.1"].map(str::to_owned);
        self.write(folder, role, &names, &format!("spiffe://{}/service/{role}", self.domain))
    }

    /// Writes `agent.pem` and `agent.key` for an agent of a tenant.
    pub fn write_agent(&self, folder: &Path, tenant: &str, name: &str) -> anyhow::Result<()> {
        self.write(folder, "agent", &[], &format!("spiffe://{}/tenant/{tenant}/edge/{name}", self.domain))
    }

    /// Writes `agents.pem` and `agents.key` of an authority below this one, which signs agents that enrol.
    pub fn write_agents_ca(&self, folder: &Path) -> anyhow::Result<()> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, format!("agents of {}", self.domain));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.authority)?;
        fs::write(folder.join("agents.key"), key.serialize_pem())?;
        fs::write(folder.join("agents.pem"), certificate.pem())?;
        Ok(())
    }

    /// Writes `NAME.pem` and `NAME.key` for whoever `uri` names.
    pub fn write(&self, folder: &Path, name: &str, names: &[String], uri: &str) -> anyhow::Result<()> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names)?;
        params.subject_alt_names.push(SanType::URI(uri.try_into()?));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.authority)?;
        fs::write(folder.join("ca.pem"), self.ca_pem())?;
        fs::write(folder.join(format!("{name}.key")), key.serialize_pem())?;
        fs::write(folder.join(format!("{name}.pem")), certificate.pem())?;
        Ok(())
    }
}
