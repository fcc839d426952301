use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, sync::Arc};

use openarchive_domain::{FixedClock, SystemClock, Timestamp};
use openarchive_rpc::{ClientCertificates, ServerTls, serve, server_builder};
use openarchive_schema::DatabaseRole;
use openarchive_testkit::database::TestDatabase;
use rcgen::{CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};
use sqlx::PgPool;
use tokio::{net::TcpListener, sync::watch};

use super::*;

const DOMAIN: &str = "archive.test";

/// A storage role that is well, beside a real database and somebody who answers as trust.
struct Site {
    dir: tempfile::TempDir,
    database: TestDatabase,
    authority: CertifiedIssuer<'static, KeyPair>,
    _stop: watch::Sender<bool>,
}

impl Site {
    async fn start() -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        let database = TestDatabase::start();
        let pool = PgPool::connect(&database.url()).await.unwrap();
        openarchive_schema::migrate(&pool).await.unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "authority");
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let (stop, stopped) = watch::channel(false);
        let site = Self { dir, database, authority, _stop: stop };
        fs::write(site.path("ca.pem"), site.authority.pem()).unwrap();
        site.certificate("tls", &["localhost"], Some(&format!("spiffe://{DOMAIN}/service/storage")));
        site.certificate("trust", &["localhost"], Some(&format!("spiffe://{DOMAIN}/service/trust")));
        site.write("url", &site.database.url_as(DatabaseRole::Storage.as_str()));
        fs::create_dir(site.path("objects")).unwrap();
        let port = site.serve("trust", stopped).await;
        site.write(
            "role.yaml",
            &format!(
                "archive: {{domain: {DOMAIN}, tenants: [acme], retention: {{default: 10y-received-forbidden}}}}
listen: {{grpc: 127.0.0.1:1, admin: 127.0.0.1:2}}
tls: {{certificate: tls.pem, key: tls.key, ca: ca.pem}}
database: {{urlFile: url}}
objects: {{local: objects}}
dataDir: data
calls: {{trust: [\"localhost:{port}\"]}}
trust: {{keys: keys}}
"
            ),
        );
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn replace(&self, from: &str, to: &str) {
        let text = fs::read_to_string(self.path("role.yaml")).unwrap();
        assert!(text.contains(from), "{text}");
        self.write("role.yaml", &text.replace(from, to));
    }

    fn certificate(&self, name: &str, hosts: &[&str], uri: Option<&str>) {
        let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        if let Some(uri) = uri {
            params.subject_alt_names.push(SanType::URI(uri.try_into().unwrap()));
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.authority).unwrap();
        self.write(&format!("{name}.pem"), &certificate.pem());
        self.write(&format!("{name}.key"), &key.serialize_pem());
    }

    /// A gRPC server without services, with the certificate `name`.
    async fn serve(&self, name: &str, stop: watch::Receiver<bool>) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let files = openarchive_rpc::ReloadingTls::load(&openarchive_rpc::TlsFiles {
            certificate: self.path(&format!("{name}.pem")),
            key: self.path(&format!("{name}.key")),
            authorities: self.path("ca.pem"),
        })
        .unwrap();
        let router = server_builder().add_routes(tonic::service::Routes::default());
        let tls = ServerTls { files, clients: ClientCertificates::Required };
        tokio::spawn(serve(listener, router, tls, stop));
        port
    }

    async fn examine(&self, role: Role) -> Vec<Finding> {
        examine(role, &self.path("role.yaml"), &Environment::default(), &SystemClock).await
    }

    /// Exactly one finding is bad, and it says this.
    async fn assert_bad(&self, says: &str) {
        let findings = self.examine(Role::Storage).await;
        let bad: Vec<_> = findings.iter().filter(|finding| finding.verdict == Verdict::Bad).collect();
        assert!(bad.len() == 1 && bad[0].what.contains(says), "should say {says:?}: {bad:#?}");
        assert!(bad[0].about == "config" || bad[0].about == "tls" || !bad[0].remedy.is_empty(), "{bad:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_is_well_has_nothing_bad_and_no_secret_is_shown() {
    let site = Site::start().await;
    let findings = site.examine(Role::Storage).await;
    assert!(findings.iter().all(|finding| finding.verdict == Verdict::Good), "{findings:#?}");
    assert_eq!(findings.len(), 10, "{findings:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_misconfiguration_is_named() {
    let site = Site::start().await;

    site.replace("dataDir: data\n", "");
    site.assert_bad("dataDir: is missing").await;
    site.replace("objects: {local: objects}\n", "objects: {local: objects}\ndataDir: data\n");

    let storage = format!("spiffe://{DOMAIN}/service/storage");
    let key = fs::read_to_string(site.path("tls.key")).unwrap();
    fs::copy(site.path("trust.key"), site.path("tls.key")).unwrap();
    site.assert_bad("does not belong to the first certificate").await;
    site.write("tls.key", &key);
    site.certificate("tls", &["localhost"], Some("spiffe://archive.test/service/ingest"));
    site.assert_bad("the certificate names [\"spiffe://archive.test/service/ingest\"]").await;
    site.certificate("tls", &["localhost"], None);
    site.assert_bad("the certificate names []").await;
    site.certificate("tls", &[], Some(&storage));
    site.assert_bad("the certificate names no host").await;
    site.certificate("tls", &["localhost"], Some(&storage));

    site.write("url", &site.database.url());
    site.assert_bad("passes by row-level security").await;
    site.write("url", &site.database.url_as(DatabaseRole::Ingest.as_str()));
    site.assert_bad("connects as openarchive_ingest").await;
    site.write("url", "postgres://openarchive_storage:secret-word@127.0.0.1:1/openarchive");
    site.assert_bad("cannot connect").await;
    let shown = format!("{:?}", site.examine(Role::Storage).await);
    assert!(!shown.contains("secret-word"), "{shown}");
    site.write("url", &site.database.url_as(DatabaseRole::Storage.as_str()));

    let role = fs::read_to_string(site.path("role.yaml")).unwrap();
    let port = role.split("localhost:").nth(1).unwrap().split('"').next().unwrap().to_owned();
    site.replace(&format!("localhost:{port}"), "no-such-host.invalid:1");
    site.assert_bad("its name does not resolve").await;
    site.write("role.yaml", &role.replace(&format!("localhost:{port}"), "localhost:1"));
    site.assert_bad("cannot connect").await;
    site.write("role.yaml", &role.replace(&format!("localhost:{port}"), &format!("127.0.0.1:{port}")));
    site.assert_bad("TLS fails").await;
    let (_stop, stopped) = watch::channel(false);
    site.certificate("ingest", &["localhost"], Some("spiffe://archive.test/service/ingest"));
    let other = site.serve("ingest", stopped).await;
    site.write("role.yaml", &role.replace(&port, &other.to_string()));
    site.assert_bad("is not trust of archive.test").await;
    site.write("role.yaml", &role);

    let pool = PgPool::connect(&site.database.url()).await.unwrap();
    sqlx::query!("update public.schema_version set version = 1, oldest_compatible = 1")
        .execute(&pool)
        .await
        .unwrap();
    site.assert_bad("schema version 1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clocks_and_certificates_are_judged_by_the_time() {
    let site = Site::start().await;
    let at = async |millis: i64| {
        let clock: Arc<dyn Clock> = Arc::new(FixedClock::at(Timestamp::from_millis(millis)));
        let findings =
            examine(Role::Storage, &site.path("role.yaml"), &Environment::default(), &*clock).await;
        let not_good = findings.into_iter().filter(|finding| finding.verdict != Verdict::Good);
        not_good.map(|finding| (finding.verdict, finding.what)).collect::<Vec<_>>()
    };
    let now = SystemClock.now().as_millis();
    let slow = at(now - 30_000).await;
    assert!(matches!(slow.as_slice(), [(Verdict::Warning, what)] if what.contains("s apart")), "{slow:?}");
    let off = at(now + 3_600_000).await;
    assert!(matches!(off.as_slice(), [(Verdict::Bad, what)] if what.contains("takes nothing")), "{off:?}");
    // rcgen's certificates hold until the year 4096.
    let late = at(70_000_000_000_000).await;
    assert!(
        late.iter().any(|(verdict, what)| *verdict == Verdict::Bad && what.contains("expired")),
        "{late:?}"
    );
}

#[test]
fn keys_that_others_may_read_are_bad() {
    let dir = tempfile::tempdir().unwrap();
    let keys = dir.path().join("keys");
    assert_eq!(folders::keys(&keys).verdict, Verdict::Warning, "they are made at the first start");
    fs::create_dir(&keys).unwrap();
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    mode(&keys, 0o755);
    assert!(folders::keys(&keys).what.contains("may enter"));
    mode(&keys, 0o700);
    assert_eq!(folders::keys(&keys).verdict, Verdict::Good);
    fs::write(keys.join("kek"), "x").unwrap();
    mode(&keys.join("kek"), 0o640);
    assert!(folders::keys(&keys).what.contains("may read"));
    mode(&keys.join("kek"), 0o600);
    assert_eq!(folders::keys(&keys).verdict, Verdict::Good);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_is_looked_at_as_a_whole() {
    let site = Site::start().await;
    site.certificate("all", &["localhost"], Some(&format!("spiffe://{DOMAIN}/service/all")));
    let text = format!(
        "archive: {{domain: {DOMAIN}, tenants: [acme], retention: {{default: 10y-received-forbidden}}}}
listen: {{grpc: 127.0.0.1:1, rest: 127.0.0.1:2, admin: 127.0.0.1:3}}
tls: {{certificate: all.pem, key: all.key, ca: ca.pem}}
dataDir: data
"
    );
    let bad = |text: &str| {
        site.write("all.yaml", text);
        let findings = examine_all(&site.path("all.yaml"), &Environment::default(), &SystemClock);
        let bad = findings.into_iter().filter(|finding| finding.verdict == Verdict::Bad);
        bad.map(|finding| finding.what).collect::<Vec<_>>()
    };
    assert_eq!(bad(&text), [] as [String; 0]);
    let found = bad(&text.replace("all.pem", "trust.pem").replace("all.key", "trust.key"));
    assert!(found.len() == 1 && found[0].contains("service/trust"), "{found:?}");
    let found = bad(&(text.clone() + "trust: {keys: open}\n"));
    assert_eq!(found, [] as [String; 0]);
    fs::create_dir(site.path("open")).unwrap();
    fs::set_permissions(site.path("open"), fs::Permissions::from_mode(0o755)).unwrap();
    let found = bad(&(text.clone() + "trust: {keys: open}\n"));
    assert!(found.len() == 1 && found[0].contains("may enter"), "{found:?}");
    assert!(bad(&text.replace("dataDir: data", ""))[0].contains("dataDir: is missing"));
}
