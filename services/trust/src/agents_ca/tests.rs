use std::path::PathBuf;

use rcgen::{BasicConstraints, CertifiedIssuer, IsCa, SignatureAlgorithm};
use x509_parser::extensions::GeneralName;

use super::*;

const DOMAIN: &str = "archive.example";
/// 2023-11-14.
const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    /// An authority that ends on the first day of `year`.
    fn until(year: i32) -> Self {
        let files = Self { folder: tempfile::tempdir().unwrap() };
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().unwrap();
        files.write("ca.key", &key.serialize_pem());
        files.write("ca.pem", &CertifiedIssuer::self_signed(params, key).unwrap().pem());
        files
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn load(&self) -> Result<AgentsCa, AgentsCaError> {
        AgentsCa::load(&self.folder.path().join("ca.pem"), &self.folder.path().join("ca.key"))
    }
}

fn agent() -> AgentRef {
    "acme/mx1".parse().unwrap()
}

fn csr(params: &CertificateParams, key: &KeyPair) -> Vec<u8> {
    params.serialize_request(key).unwrap().der().to_vec()
}

fn issued(ca: &AgentsCa, csr: &[u8]) -> (Vec<u8>, IssuedCertificate) {
    let issued = ca.issue(DOMAIN, &agent(), csr, NOW).unwrap();
    let pem = Pem::iter_from_buffer(issued.chain.as_bytes()).next().unwrap().unwrap();
    (pem.contents, issued)
}

#[test]
fn a_certificate_says_what_the_archive_says_and_nothing_of_what_the_request_wishes() {
    let ca = Files::until(2040).load().unwrap();
    let key = KeyPair::generate().unwrap();
    let mut wishes = CertificateParams::new(vec!["gateway.example".to_owned()]).unwrap();
    let foreign = "spiffe://archive.example/tenant/other/edge/mx9";
    wishes.subject_alt_names.push(SanType::URI(foreign.try_into().unwrap()));
    wishes.distinguished_name.push(DnType::CommonName, "other/mx9");
    wishes.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    wishes.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    wishes.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let (der, issued) = issued(&ca, &csr(&wishes, &key));
    let (_, certificate) = X509Certificate::from_der(&der).unwrap();
    let names = certificate.subject_alternative_name().unwrap().unwrap();
    let own = "spiffe://archive.example/tenant/acme/edge/mx1";
    assert_eq!(names.value.general_names, [GeneralName::URI(own)]);
    assert_eq!(certificate.subject().to_string(), "CN=acme/mx1");
    assert!(!certificate.is_ca());
    let usage = certificate.key_usage().unwrap().unwrap().value;
    assert!(usage.digital_signature() && !usage.key_cert_sign());
    let extended = certificate.extended_key_usage().unwrap().unwrap().value;
    assert!(extended.client_auth && !extended.server_auth);
    assert_eq!(certificate.public_key().raw, key.subject_public_key_info());
    assert_eq!(hex::encode(certificate.raw_serial()), issued.serial);
    let (from, to) = (certificate.validity().not_before, certificate.validity().not_after);
    assert_eq!(from.timestamp(), 1_700_000_000 - 3_600);
    assert_eq!(to.timestamp(), 1_700_000_000 + 90 * 86_400);
    assert_eq!(issued.not_after.as_millis(), to.timestamp() * 1000);
}

#[test]
fn a_certificate_does_not_outlive_its_authority() {
    let key = KeyPair::generate().unwrap();
    let csr = csr(&CertificateParams::default(), &key);
    // 48 days after now.
    let (_, issued) = issued(&Files::until(2024).load().unwrap(), &csr);
    assert_eq!(issued.not_after.to_string(), "2024-01-01T00:00:00.000Z");
    let ended = Files::until(2023).load().unwrap().issue(DOMAIN, &agent(), &csr, NOW);
    assert!(matches!(ended, Err(IssueError::AuthorityEnded)));
}

#[test]
fn keys_of_the_four_kinds_are_certified() {
    let ca = Files::until(2040).load().unwrap();
    let kinds: [&'static SignatureAlgorithm; 3] =
        [&rcgen::PKCS_ED25519, &rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384];
    let mut keys: Vec<KeyPair> = kinds.iter().map(|kind| KeyPair::generate_for(kind).unwrap()).collect();
    let rsa = rcgen::RsaKeySize::_2048;
    keys.push(KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rsa).unwrap());
    for key in keys {
        let (der, _) = issued(&ca, &csr(&CertificateParams::default(), &key));
        let (_, certificate) = X509Certificate::from_der(&der).unwrap();
        assert_eq!(certificate.public_key().raw, key.subject_public_key_info());
    }
}

#[test]
fn a_request_that_is_broken_or_has_another_key_is_refused() {
    let key = KeyPair::generate().unwrap();
    let good = csr(&CertificateParams::default(), &key);
    let check = |csr: &[u8], expected: CsrError| {
        assert_eq!(request::public_key(csr).unwrap_err(), expected);
    };
    assert!(request::public_key(&good).is_ok());
    check(b"", CsrError::Unreadable);
    check(&good[..good.len() / 2], CsrError::Unreadable);
    check(&[&good[..], b"x"].concat(), CsrError::Unreadable);
    let mut forged = good.clone();
    // Within the common name, which the signature covers.
    let at = forged.windows(5).position(|bytes| bytes == b"rcgen").unwrap();
    forged[at] ^= 1;
    check(&forged, CsrError::Signature);
    check(&vec![0; CSR_BYTES_MAX], CsrError::Unreadable);
    check(&vec![0; CSR_BYTES_MAX + 1], CsrError::TooLong);
    let other = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512).unwrap();
    check(&csr(&CertificateParams::default(), &other), CsrError::Key);
    check(&hex::decode(RSA_1024_REQUEST.trim()).unwrap(), CsrError::Key);
}

/// `openssl req -new -newkey rsa:1024 -nodes -subj /CN=weak -outform DER`
const RSA_1024_REQUEST: &str = include_str!("tests/rsa_1024_request.hex");

#[test]
fn files_that_do_not_go_together_are_named() {
    let (files, other) = (Files::until(2040), Files::until(2040));
    let check = |expected: &str| {
        let error = files.load().unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    fs::copy(other.folder.path().join("ca.key"), files.folder.path().join("ca.key")).unwrap();
    check("does not belong to");
    files.write("ca.key", "nothing");
    check("holds no private key");
    let leaf = rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).unwrap();
    files.write("ca.pem", &leaf.cert.pem());
    files.write("ca.key", &leaf.signing_key.serialize_pem());
    check("holds no certificate of an authority");
    files.write("ca.pem", "nothing");
    check("holds no certificate of an authority");
    fs::remove_file(files.folder.path().join("ca.pem")).unwrap();
    check("cannot read");
}
