use openarchive_ledger::policy::Policy;
use openarchive_proto::trust::v1::{GetLogPolicyRequest, IssueAgentCertificateRequest};
use openarchive_rpc::has_reason;
use openarchive_trust::{AgentsCa, TrustConfig};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tonic::Code;

use crate::archive::{Archive, start};

fn request(tenant: &str, agent: &str, csr: &[u8]) -> IssueAgentCertificateRequest {
    let csr = csr.to_vec().into();
    IssueAgentCertificateRequest { tenant: tenant.to_owned(), agent: agent.to_owned(), csr }
}

fn csr() -> Vec<u8> {
    let key = KeyPair::generate().unwrap();
    CertificateParams::default().serialize_request(&key).unwrap().der().to_vec()
}

#[tokio::test]
async fn without_an_authority_no_certificate_is_issued_and_the_refusal_says_what_to_do() {
    let archive = Archive::new().await;
    let (trust, mut client) = archive.start().await;
    let refused = client.issue_agent_certificate(request("acme", "mx1", &csr())).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(
        has_reason(&refused, "NO_AGENTS_CA") && refused.message().contains("trust.agentsCa"),
        "{refused:?}"
    );
    // The policy is had all the same: somebody else may issue certificates.
    let policy = client.get_log_policy(GetLogPolicyRequest { tenant: "acme".to_owned() }).await.unwrap();
    let expected = trust.policy_for(&"acme".parse().unwrap()).to_text();
    assert_eq!(policy.into_inner().log_policy.as_bytes(), expected);
    trust.shutdown().await;
}

#[tokio::test]
async fn a_certificate_comes_with_the_policy_of_its_tenants_logs() {
    let archive = Archive::new().await;
    let folder = tempfile::tempdir().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let key = KeyPair::generate().unwrap();
    let (certificate, secret) = (folder.path().join("ca.pem"), folder.path().join("ca.key"));
    std::fs::write(&secret, key.serialize_pem()).unwrap();
    std::fs::write(&certificate, CertifiedIssuer::self_signed(params, key).unwrap().pem()).unwrap();
    let agents_ca = Some(AgentsCa::load(&certificate, &secret).unwrap());
    let (trust, mut client) = start(TrustConfig { agents_ca, ..archive.config() }).await;
    let issued = client.issue_agent_certificate(request("acme", "mx1", &csr())).await.unwrap().into_inner();
    let policy = Policy::parse(issued.log_policy.as_bytes()).unwrap();
    assert_eq!(policy.to_text(), trust.policy_for(&"acme".parse().unwrap()).to_text());
    let alone = client.get_log_policy(GetLogPolicyRequest { tenant: "acme".to_owned() }).await.unwrap();
    assert_eq!(alone.into_inner().log_policy, issued.log_policy);
    for tenant in ["Acme", "_", ""] {
        let refused = client.get_log_policy(GetLogPolicyRequest { tenant: tenant.to_owned() }).await;
        assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument, "{tenant}");
    }
    assert_eq!(issued.certificate_chain.matches("BEGIN CERTIFICATE").count(), 1, "a root is not shown");
    for (tenant, agent, csr) in [
        ("Acme", "mx1", csr()),
        ("_", "mx1", csr()),
        ("acme", "mx/1", csr()),
        ("acme", "mx1", b"no".to_vec()),
    ] {
        let refused = client.issue_agent_certificate(request(tenant, agent, &csr)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{tenant}/{agent} {refused:?}");
    }
    trust.shutdown().await;
}
