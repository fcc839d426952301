//! What cannot be used is refused, and says what to do.

use openarchive_operator_pki::{
    Authority, AuthorityError, AuthorityState, Certificate, CertificateError, DNS_NAMES_MAX, Found, Identity,
    LeafSpec, SecretData, SpecError, StateError, TrustDomain, report,
};
use openarchive_rpc::Role;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose};

use crate::world::{World, spec};

fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn parsed(params: CertificateParams) -> Result<Authority, AuthorityError> {
    let key = KeyPair::generate().unwrap();
    let pem = key.serialize_pem();
    let certificate = CertifiedIssuer::self_signed(params, key).unwrap().pem();
    Authority::parse(certificate.as_bytes(), pem.as_bytes())
}

#[test]
fn only_a_root_with_its_key_that_may_have_an_authority_below_it_is_an_authority() {
    let check = |expected: &AuthorityError, change: &dyn Fn(&mut CertificateParams)| {
        let mut params = authority_params();
        change(&mut params);
        assert_eq!(parsed(params).unwrap_err(), *expected);
    };
    parsed(authority_params()).unwrap();
    check(&AuthorityError::NotAnAuthority, &|params| params.is_ca = IsCa::NoCa);
    check(&AuthorityError::NotAnAuthority, &|params| params.is_ca = IsCa::ExplicitNoCa);
    check(&AuthorityError::NotAnAuthority, &|params| {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    });
    check(&AuthorityError::PathTooShort, &|params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)));
    check(&AuthorityError::NeverValid, &|params| params.not_after = params.not_before);

    let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let (secret, foreign) = (key.serialize_pem(), other.serialize_pem());
    let good = CertifiedIssuer::self_signed(authority_params(), key).unwrap();
    let parse =
        |certificate: &str, key: &str| Authority::parse(certificate.as_bytes(), key.as_bytes()).unwrap_err();
    assert_eq!(parse(&good.pem(), &foreign), AuthorityError::KeyMismatch);
    assert_eq!(parse(&good.pem(), &good.pem()), AuthorityError::NotAKey);
    assert_eq!(parse(&(good.pem() + &good.pem()), &secret), AuthorityError::NotOne(2));
    let empty = AuthorityError::Certificate(CertificateError::NoCertificate);
    assert_eq!(parse("", &secret), empty);
    // Signed by another authority, with this one's name or not: no root.
    let below = CertifiedIssuer::signed_by(authority_params(), other, &good).unwrap();
    assert_eq!(parse(&below.pem(), &foreign), AuthorityError::NotSelfSigned);
}

#[test]
fn a_text_is_certificates_or_it_is_refused() {
    let world = World::started(&[Role::Trust]);
    let secret = &world.found.leaves["trust"];
    let (certificate, key) = (&secret["tls.crt"], &secret["tls.key"]);
    let check = |text: &[u8], expected: CertificateError| {
        assert_eq!(Certificate::chain_of_pem(text).unwrap_err(), expected);
        assert_eq!(report("name", text).unwrap_err(), expected);
    };
    check(b"", CertificateError::NoCertificate);
    check(b"# none yet\n", CertificateError::NoCertificate);
    check(key, CertificateError::Damaged);
    check(&[key.as_slice(), certificate].concat(), CertificateError::Damaged);
    check(&[certificate.as_slice(), key].concat(), CertificateError::Damaged);
    check(&certificate[..certificate.len() / 2], CertificateError::Damaged);
    check(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", CertificateError::Damaged);
    check(b"\xff", CertificateError::Damaged);
    let commented = [b"# of trust\n".as_slice(), certificate, b"\n# end\n"].concat();
    let chain = Certificate::chain_of_pem(&commented).unwrap();
    assert_eq!(chain[0].pem().as_bytes(), certificate.as_slice());
}

#[test]
fn each_thing_that_is_wrong_with_the_authoritys_secret_is_told_with_its_key_and_what_to_do() {
    let mut world = World::started(&[Role::Trust]);
    world.request = Some("now".to_owned());
    world.whole_pass();
    let good = world.authority.clone().unwrap();
    let strange = World::started(&[Role::Trust]).authority.unwrap();
    let check = |change: &dyn Fn(&mut SecretData), expected: &[&str]| {
        let mut data = good.clone();
        change(&mut data);
        let error = AuthorityState::of_secret_data(&data).unwrap_err().to_string();
        for expected in expected {
            assert!(error.contains(expected), "{error:?} does not say {expected:?}");
        }
        assert!(!error.contains("BEGIN") && !error.contains("MI"), "{error:?} says what is in the Secret");
    };
    let put =
        |data: &mut SecretData, key: &str, bytes: &[u8]| drop(data.insert(key.to_owned(), bytes.to_vec()));
    check(&|data| drop(data.remove("ca.key")), &["key (ca.key) is lost", "backup", "new bundle"]);
    check(&|data| put(data, "ca.key", &strange["ca.key"]), &["ca.key", "does not belong"]);
    check(&|data| put(data, "next.key", b"x"), &["next.key", "no private key"]);
    check(&|data| drop(data.remove("ca.crt")), &["has no ca.crt"]);
    check(
        &|data| put(data, "ca.crt", &world.found.leaves["trust"]["tls.crt"]),
        &["ca.crt", "not that of an authority"],
    );
    check(&|data| drop(data.remove("next.crt")), &["has no next.crt", "its phase needs"]);
    check(&|data| put(data, "next-cross.crt", &strange["ca.crt"]), &["next-cross.crt was not signed by"]);
    check(&|data| put(data, "cross.crt", &strange["ca.crt"]), &["cross.crt was not signed by"]);
    check(&|data| put(data, "phase", b"Waiting"), &["\"Waiting\" for phase", "TrustNew"]);
    check(&|data| put(data, "phase", b"\xff"), &["phase", "it is a text"]);
    check(&|data| put(data, "since", b"yesterday"), &["\"yesterday\" for since", "UTC"]);
    check(&|data| put(data, "settled", b"soon"), &["\"soon\" for settled"]);
    check(&|data| put(data, "request", b"now"), &["\"now\" for request"]);
    check(&|data| put(data, "format", b"2"), &["format \"2\"", "the operator that wrote it"]);
    check(&|data| drop(data.remove("format")), &["has no format"]);
}

#[test]
fn a_lost_authority_is_not_replaced_behind_the_back_of_what_it_signed() {
    let world = World::started(&[Role::Trust]);
    assert_eq!(AuthorityState::load(None, &Found::default()), Ok(None));
    let error = AuthorityState::load(None, &world.found).unwrap_err();
    assert_eq!(error, StateError::Lost);
    let told = error.to_string();
    assert!(told.contains("restore it from a backup") && told.contains("delete it together"), "{told}");
}

#[test]
fn names_are_checked_before_anything_is_issued() {
    for good in ["archive.example", "a", "a-1.b"] {
        assert_eq!(good.parse::<TrustDomain>().unwrap().to_string(), good);
    }
    let long = ["x".repeat(63).as_str(); 4].join(".");
    for bad in ["", "A.example", "a..b", "-a", "a-", "a/b", "a_b", "ä", &"x".repeat(64), &long] {
        assert!(bad.parse::<TrustDomain>().is_err(), "{bad}");
    }
    let leaf = |names: &[String]| LeafSpec::new("trust", Identity::Service(Role::Trust), names);
    for bad in ["*.example.com", "a b", "", "spiffe://x"] {
        assert_eq!(leaf(&[bad.to_owned()]).unwrap_err(), SpecError::NotADnsName(bad.to_owned()));
    }
    let names: Vec<String> = (0..=DNS_NAMES_MAX).map(|number| format!("a{number}")).collect();
    assert_eq!(leaf(&names).unwrap_err(), SpecError::TooManyNames(DNS_NAMES_MAX + 1));
    assert!(leaf(&names[1..]).is_ok());
    assert_eq!(spec(Role::Operator).dns_names().count(), 0);
}
