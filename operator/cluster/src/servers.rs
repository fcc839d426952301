//! Flags and files of the three servers.

use std::{fs, path::Path};

use openarchive_e2e::free_port;
use rcgen::KeyPair;

use crate::{
    audit,
    certificates::{Authority, Identity, kubeconfig},
};

/// Where pods would find the API server: an address of RFC 5737, for the Endpoints object of Service `kubernetes`, which may
/// not be a loopback address. Nobody dials it: there are no pods.
const ADVERTISED_ADDRESS: &str = "192.0.2.1";
const SERVICE_RANGE: &str = "10.96.0.0/16";
const KUBERNETES_SERVICE: &str = "10.96.0.1";

/// Ports on 127.0.0.1 that the servers listen on.
pub(crate) struct Ports {
    pub(crate) etcd: u16,
    etcd_peers: u16,
    api: u16,
}

impl Ports {
    pub(crate) fn choose() -> Self {
        Self { etcd: free_port(), etcd_peers: free_port(), api: free_port() }
    }

    pub(crate) fn api_url(&self) -> String {
        format!("https://127.0.0.1:{}", self.api)
    }

    fn etcd_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.etcd)
    }
}

/// The API server's audit log, in the cluster's folder.
pub(crate) const AUDIT_LOG: &str = "audit.log";

/// Writes certificates, keys, the audit policy and the controllers' kubeconfig.
pub(crate) fn write_files(folder: &Path, authority: &Authority, ports: &Ports) -> anyhow::Result<()> {
    let names = ["localhost", "127.0.0.1", ADVERTISED_ADDRESS, KUBERNETES_SERVICE, "kubernetes.default.svc"];
    let Identity { certificate, key } = authority.server(&names.map(str::to_owned))?;
    let tokens = KeyPair::generate()?;
    let controllers = authority.client("system:kube-controller-manager", None)?;
    for (name, text) in [
        ("ca.pem", authority.pem()),
        ("apiserver.pem", certificate),
        ("apiserver.key", key),
        ("service-accounts.key", tokens.serialize_pem()),
        ("service-accounts.pem", tokens.public_key_pem()),
        ("audit-policy.yaml", audit::POLICY.to_owned()),
        ("kube-controller-manager.kubeconfig", kubeconfig(&ports.api_url(), authority, Some(&controllers))),
    ] {
        fs::write(folder.join(name), text)?;
    }
    Ok(())
}

// All paths are relative to the cluster's folder, where the servers run.

pub(crate) fn etcd(ports: &Ports) -> Vec<String> {
    let (clients, peers) = (ports.etcd_url(), format!("http://127.0.0.1:{}", ports.etcd_peers));
    vec![
        "--name=one".into(),
        "--data-dir=etcd".into(),
        // A test's data need not outlive the machine.
        "--unsafe-no-fsync=true".into(),
        format!("--listen-client-urls={clients}"),
        format!("--advertise-client-urls={clients}"),
        format!("--listen-peer-urls={peers}"),
        format!("--initial-advertise-peer-urls={peers}"),
        format!("--initial-cluster=one={peers}"),
    ]
}

pub(crate) fn apiserver(ports: &Ports) -> Vec<String> {
    vec![
        format!("--etcd-servers={}", ports.etcd_url()),
        "--bind-address=127.0.0.1".into(),
        format!("--secure-port={}", ports.api),
        format!("--advertise-address={ADVERTISED_ADDRESS}"),
        format!("--service-cluster-ip-range={SERVICE_RANGE}"),
        "--authorization-mode=Node,RBAC".into(),
        "--client-ca-file=ca.pem".into(),
        "--tls-cert-file=apiserver.pem".into(),
        "--tls-private-key-file=apiserver.key".into(),
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local".into(),
        "--service-account-key-file=service-accounts.pem".into(),
        "--service-account-signing-key-file=service-accounts.key".into(),
        // A test has no webhook's server to run when it changes what others write.
        "--feature-gates=MutatingAdmissionPolicy=true".into(),
        "--runtime-config=admissionregistration.k8s.io/v1beta1=true".into(),
        "--audit-policy-file=audit-policy.yaml".into(),
        format!("--audit-log-path={AUDIT_LOG}"),
        // A request's line is written before its answer ends; the log is one file, whatever its size (MiB).
        "--audit-log-mode=blocking".into(),
        "--audit-log-maxsize=1000000".into(),
    ]
}

pub(crate) fn controller_manager() -> Vec<String> {
    vec![
        "--kubeconfig=kube-controller-manager.kubeconfig".into(),
        "--leader-elect=false".into(),
        // Each controller is a user of its own, as in a real cluster: RBAC and the audit log tell them apart.
        "--use-service-account-credentials=true".into(),
        "--service-account-private-key-file=service-accounts.key".into(),
        "--root-ca-file=ca.pem".into(),
        // The stand-in's node sends no heartbeat: nobody may take it for dead.
        "--controllers=*,-node-lifecycle-controller".into(),
        // Nothing asks the controllers: no port.
        "--secure-port=0".into(),
        "--kube-api-qps=200".into(),
        "--kube-api-burst=400".into(),
    ]
}
