use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, sync::Arc, time::Duration};

use openarchive_domain::{FixedClock, SystemClock, Timestamp};
use openarchive_ledger::origin::Origin;
use openarchive_rpc::{ClientCertificates, ServerTls, serve, server_builder};
use openarchive_schema::DatabaseRole;
use openarchive_testkit::database::TestDatabase;
use openarchive_trust::{KEK_FILE, Keys, LOG_SEED_FILE};
use rcgen::{CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};
use sqlx::PgPool;
use tokio::{net::TcpListener, sync::watch};

use super::*;
use crate::config::TlsConfig;

const DOMAIN: &str = "archive.test";

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A storage role that is well, beside a real database and somebody who answers as trust.
struct Site {
    dir: tempfile::TempDir,
    database: TestDatabase,
    authority: Authority,
    /// Where trust answers.
    port: u16,
    _stop: watch::Sender<bool>,
}

impl Site {
    async fn start() -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        let database = TestDatabase::start();
        let pool = PgPool::connect(&database.url()).await.unwrap();
        openarchive_schema::migrate(&pool).await.unwrap();
        let (stop, stopped) = watch::channel(false);
        let mut site = Self { dir, database, authority: authority("authority"), port: 0, _stop: stop };
        fs::write(site.path("ca.pem"), site.authority.pem()).unwrap();
        site.certificate("tls", &["localhost"], Some(&format!("spiffe://{DOMAIN}/service/storage")));
        site.certificate("trust", &["localhost"], Some(&format!("spiffe://{DOMAIN}/service/trust")));
        site.write("url", &site.database.url_as(DatabaseRole::Storage.as_str()));
        fs::create_dir(site.path("objects")).unwrap();
        site.port = site.serve("trust", stopped).await;
        let port = site.port;
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
        self.certificate_of(&self.authority, name, hosts, uri, |_| {});
    }

    fn certificate_of(
        &self,
        authority: &Authority,
        name: &str,
        hosts: &[&str],
        uri: Option<&str>,
        change: impl FnOnce(&mut CertificateParams),
    ) {
        let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        if let Some(uri) = uri {
            params.subject_alt_names.push(SanType::URI(uri.try_into().unwrap()));
        }
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, authority).unwrap();
        self.write(&format!("{name}.pem"), &certificate.pem());
        self.write(&format!("{name}.key"), &key.serialize_pem());
    }

    /// Those that [`Keys::from_secrets`] would make of 32 times 1 and 32 times `seed`.
    fn write_keys(&self, seed: u8) {
        let folder = self.path("keys");
        fs::create_dir_all(&folder).unwrap();
        chmod(&folder, 0o700);
        for (name, byte) in [(KEK_FILE, 1), (LOG_SEED_FILE, seed)] {
            fs::write(folder.join(name), format!("{byte:02x}").repeat(32)).unwrap();
            chmod(&folder.join(name), 0o600);
        }
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

    async fn assert_bad(&self, says: &str) {
        self.assert_bad_of(Role::Storage, says).await;
    }

    async fn assert_nothing_bad_of(&self, role: Role, one_says: &str) {
        let findings = self.examine(role).await;
        assert!(findings.iter().all(|finding| finding.verdict != Verdict::Bad), "{findings:#?}");
        assert!(findings.iter().any(|finding| finding.what.contains(one_says)), "{one_says}: {findings:#?}");
    }

    /// Exactly one finding is bad, and it says this.
    async fn assert_bad_of(&self, role: Role, says: &str) {
        let findings = self.examine(role).await;
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
    site.replace("domain: archive.test", "domain: NOT A Domain");
    site.assert_bad("archive.domain: ").await;
    site.replace("domain: NOT A Domain", "domain: archive.test, name: a/b c");
    site.assert_bad("archive.name: ").await;
    site.replace("domain: archive.test, name: a/b c", "domain: archive.test");

    site.write("afile", "");
    site.replace("dataDir: data", "dataDir: afile/x");
    site.assert_bad("afile is not a folder").await;
    site.replace("dataDir: afile/x", "dataDir: /proc/x");
    site.assert_bad("/proc cannot be written").await;
    site.replace("dataDir: /proc/x", "dataDir: data");
    site.replace("local: objects", "local: afile");
    site.assert_bad("afile is not a folder").await;
    site.replace("local: afile", "local: objects");

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
    let other = authority("another authority");
    site.certificate_of(&other, "tls", &["localhost"], Some(&storage), |_| {});
    site.assert_bad("no authority of tls.ca issued the certificate").await;
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
    let port = site.port.to_string();
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
    let (from, until): (i64, i64) = (1_000_000_000, 2_000_000_000);
    let storage = format!("spiffe://{DOMAIN}/service/storage");
    site.certificate_of(&site.authority, "tls", &["localhost"], Some(&storage), |params| {
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        params.not_before = epoch + Duration::from_secs(from.cast_unsigned());
        params.not_after = epoch + Duration::from_secs(until.cast_unsigned());
    });
    let path = |name| site.path(name);
    let tls = TlsConfig { certificate: path("tls.pem"), key: path("tls.key"), ca: path("ca.pem") };
    let check = |seconds: i64, verdict: Verdict, says: &str| {
        let clock = FixedClock::at(Timestamp::from_millis(seconds * 1000));
        let findings = certificate::examine("storage", DOMAIN, &tls, &clock);
        let found = findings.iter().any(|found| found.verdict == verdict && found.what.contains(says));
        assert!(found, "{seconds}: {verdict:?} {says}: {findings:#?}");
    };
    let fortnight = 14 * 86_400;
    check(from - 1, Verdict::Bad, "is valid only from");
    check(from, Verdict::Good, "is valid until");
    check(until - fortnight, Verdict::Good, "is valid until");
    check(until - fortnight + 1, Verdict::Warning, "ends in 13 days");
    check(until - 1, Verdict::Warning, "ends in 0 days");
    check(until, Verdict::Bad, "has expired on");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_trust_would_refuse_at_its_start_is_named() {
    let site = Site::start().await;
    let trust = Role::Trust;
    site.write("url", &site.database.url_as(DatabaseRole::Trust.as_str()));
    site.replace("certificate: tls.pem, key: tls.key", "certificate: trust.pem, key: trust.key");
    site.assert_nothing_bad_of(trust, "the first start makes them").await;

    let pool = PgPool::connect(&site.database.url()).await.unwrap();
    let origin: Origin = format!("{DOMAIN}/main/acme/evidence/1").parse().unwrap();
    sqlx::query(
        "insert into trust.log (tenant, stream, origin, verifier_key) values ('acme', 'evidence', $1, $2)",
    )
    .bind(origin.to_string())
    .bind(Keys::from_secrets([1; 32], [2; 32]).verifier(&origin).to_string())
    .execute(&pool)
    .await
    .unwrap();
    site.assert_bad_of(trust, "does not hold their keys").await;
    site.write_keys(9);
    site.assert_bad_of(trust, "belongs to another signing key").await;
    site.write_keys(2);
    site.assert_nothing_bad_of(trust, "the database holds 1 logs").await;
    site.replace("tenants: [acme]", "tenants: [other]");
    site.assert_bad_of(trust, "tenant acme, whom the configuration does not list").await;
    site.replace("tenants: [other]", "tenants: [acme, other]");
    site.replace("domain: archive.test", "domain: archive.test, name: other");
    site.assert_bad_of(trust, "but the configuration says archive.test/other").await;
    site.replace("domain: archive.test, name: other", "domain: archive.test");

    site.replace("{keys: keys}", "{keys: keys, agentsCa: {certificate: agents.pem, key: agents.key}}");
    site.write("agents.pem", "garbage");
    site.write("agents.key", "garbage");
    site.assert_bad_of(trust, "holds no certificate of an authority").await;
    let agents = authority("agents");
    site.write("agents.pem", &agents.pem());
    site.assert_bad_of(trust, "holds no private key").await;
    site.write("agents.key", &site.authority.key().serialize_pem());
    site.assert_bad_of(trust, "does not belong to").await;
    site.write("agents.key", &agents.key().serialize_pem());
    site.assert_nothing_bad_of(trust, "can sign agents' certificates").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_a_call_and_says_nothing_is_named_after_five_seconds() {
    let site = Site::start().await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    site.replace(&format!("localhost:{}", site.port), &format!("localhost:{port}"));
    site.assert_bad(&format!("trust at localhost:{port}: no answer within 5 s")).await;
}

#[test]
fn a_folder_that_is_not_there_yet_is_looked_for_from_where_doctor_runs() {
    let finding = folders::writable("dataDir", Path::new("not-there-yet/x"));
    assert!(finding.verdict != Verdict::Bad && finding.what.contains("not-there-yet/x"), "{finding:?}");
    let finding = folders::writable("dataDir", Path::new("Cargo.toml/x"));
    assert!(
        finding.verdict == Verdict::Bad && finding.what.ends_with("Cargo.toml is not a folder"),
        "{finding:?}"
    );
}

#[test]
fn less_than_one_gib_of_room_is_warned_about() {
    let room = |free| folders::room("dataDir", Path::new("data"), free);
    let (enough, little) = (room(folders::FREE_BYTES_MIN), room(folders::FREE_BYTES_MIN - 1));
    assert!(enough.verdict == Verdict::Good && enough.what.contains("1 GiB free"), "{enough:?}");
    assert!(little.verdict == Verdict::Warning && little.what.contains("1023 MiB left"), "{little:?}");
}

#[test]
fn missing_programs_of_postgresql_are_bad_and_the_finding_says_what_to_do() {
    let missing = postgres(Err(PostgresError::NotInstalled));
    assert!(missing.verdict == Verdict::Bad && missing.what.contains("OPENARCHIVE_PG_BIN"), "{missing:?}");
}

#[test]
fn keys_that_others_may_read_are_bad() {
    let dir = tempfile::tempdir().unwrap();
    let keys = dir.path().join("keys");
    assert_eq!(folders::keys(&keys).verdict, Verdict::Warning, "they are made at the first start");
    fs::create_dir(&keys).unwrap();
    chmod(&keys, 0o755);
    assert!(folders::keys(&keys).what.contains("may enter"));
    chmod(&keys, 0o700);
    assert_eq!(folders::keys(&keys).verdict, Verdict::Warning, "they are made at the first start");
    for name in [KEK_FILE, LOG_SEED_FILE] {
        fs::write(keys.join(name), "01".repeat(32)).unwrap();
        chmod(&keys.join(name), 0o640);
        assert!(folders::keys(&keys).what.contains("may read"));
        chmod(&keys.join(name), 0o600);
    }
    assert_eq!(folders::keys(&keys).verdict, Verdict::Good);
}

#[test]
fn keys_that_cannot_be_read_or_are_none_are_bad() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(KEK_FILE);
    fs::write(&file, "x").unwrap();
    chmod(&file, 0o600);
    chmod(dir.path(), 0o700);
    for (folder, says) in [
        (file.clone(), "cannot be read"),
        (file.join("keys"), "cannot be read"),
        (dir.path().to_owned(), "does not hold 64 hex digits"),
    ] {
        let finding = folders::keys(&folder);
        assert!(finding.verdict == Verdict::Bad && finding.what.contains(says), "{says}: {finding:?}");
    }
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
    let found = bad(&(text.clone() + "trust: {agentsCa: {certificate: ca.pem, key: all.key}}\n"));
    assert!(found.len() == 1 && found[0].contains("does not belong to"), "{found:?}");
    let found = bad(&text.replace(DOMAIN, "NOT A Domain"));
    assert!(found.len() == 1 && found[0].contains("archive.domain: "), "{found:?}");
}
