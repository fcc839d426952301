mod migrate;

use std::fs;

use tempfile::TempDir;

use super::*;

/// A configuration that serves every role, with the files it names.
fn folder() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in ["tls.crt", "tls.key", "ca.crt", "agents.crt", "agents.key"] {
        fs::write(dir.path().join(name), "x").unwrap();
    }
    fs::write(dir.path().join("database-url"), "postgres://role:secret-word@db/openarchive\n").unwrap();
    fs::write(dir.path().join("role.yaml"), GOOD).unwrap();
    fs::write(dir.path().join("nothing"), "\n").unwrap();
    for (folder, text) in [("passwords", "secret-word\n"), ("no-passwords", " \n")] {
        fs::create_dir(dir.path().join(folder)).unwrap();
        for role in openarchive_schema::DatabaseRole::ALL {
            fs::write(dir.path().join(folder).join(role.as_str()), text).unwrap();
        }
    }
    dir
}

const GOOD: &str = "archive:
  domain: archive.example.org
  tenants: [acme, other]
  retention: {default: 10y-received-forbidden}
listen: {grpc: 127.0.0.1:9443, rest: 127.0.0.1:8443, admin: 127.0.0.1:9090}
tls: {certificate: tls.crt, key: tls.key, ca: ca.crt}
database: {urlFile: database-url, rolePasswords: passwords}
objects: {local: objects}
dataDir: data
calls:
  trust: [\"trust:9443\"]
  storage: [\"storage-0:9443\", \"storage-1:9443\"]
  ingest: [\"ingest:9443\"]
  index: [\"index:9443\"]
  worker: [\"worker:9443\"]
trust:
  keys: keys
  agentsCa: {certificate: agents.crt, key: agents.key}
worker:
  fixity: {intervalDays: 7, bytesPerSecond: 1000000}
";

const SERVICES: [Role; 6] =
    [Role::Ingest, Role::Storage, Role::Index, Role::Trust, Role::Gateway, Role::Worker];

fn load(role: Role, text: &str, variables: &[(&str, &str)]) -> Result<RoleConfig, String> {
    let dir = folder();
    let path = dir.path().join("role.yaml");
    fs::write(&path, text).unwrap();
    let environment =
        Environment::of(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    RoleConfig::load(role, &path, &environment)
        .map_err(|error| error.to_string().replace(dir.path().to_str().unwrap(), "DIR"))
}

fn targets(config: &RoleConfig, role: Role) -> Vec<String> {
    config.targets(role).iter().map(ToString::to_string).collect()
}

#[test]
fn one_file_serves_every_role_and_each_takes_what_it_needs() {
    for role in SERVICES {
        let config = load(role, GOOD, &[]).unwrap();
        assert_eq!(config.archive.domain, "archive.example.org");
        assert_eq!(config.archive.name, "main");
        assert_eq!(config.archive.tenants.len(), 2);
        assert_eq!(config.listen.port(), if role == Role::Gateway { 8443 } else { 9443 });
        assert_eq!(config.trust.is_some(), role == Role::Trust);
        assert_eq!(config.objects.is_some(), matches!(role, Role::Trust | Role::Storage));
    }
    let ingest = load(Role::Ingest, GOOD, &[]).unwrap();
    assert_eq!(targets(&ingest, Role::Storage), ["storage-0:9443", "storage-1:9443"]);
    assert!(targets(&ingest, Role::Index).is_empty());
}

#[test]
fn a_file_that_makes_much_of_little_is_refused_before_it_has_made_it() {
    let bomb = include_str!("../../../../fuzz/seeds/agent-config/bomb.yaml");
    let refused = load(Role::Ingest, bomb, &[]).unwrap_err();
    assert!(refused.len() <= 8192 && !refused.contains("unknown field"), "{refused}");
}

#[test]
fn the_environment_lies_over_the_file() {
    let variables = [
        ("OPENARCHIVE__LISTEN__GRPC", "0.0.0.0:1"),
        ("OPENARCHIVE__ARCHIVE__TENANTS", "[solo]"),
        ("OPENARCHIVE__CALLS__STORAGE", "[\"a:1\", \"b:2\"]"),
        ("OPENARCHIVE_LOG", "debug"),
    ];
    let config = load(Role::Ingest, GOOD, &variables).unwrap();
    assert_eq!(config.listen.to_string(), "0.0.0.0:1");
    assert_eq!(config.archive.tenants.iter().map(ToString::to_string).collect::<Vec<_>>(), ["solo"]);
    assert_eq!(targets(&config, Role::Storage), ["a:1", "b:2"]);
    let without = GOOD.replace("urlFile: database-url, ", "");
    assert!(load(Role::Ingest, &without, &[("OPENARCHIVE__DATABASE__URL_FILE", "database-url")]).is_ok());
}

/// Role, text to find in the good file, what it becomes, and what the refusal must say.
const BAD: &[(Role, &str, &str, &str)] = &[
    (Role::Ingest, "archive:", "archives:", "unknown field `archives`"),
    (Role::Ingest, "  domain:", "  domains:", "archive.domains: unknown field"),
    (
        Role::Ingest,
        "tenants: [acme, other]",
        "tenants: []",
        "archive.tenants: there is none: list at least one",
    ),
    (Role::Ingest, "[acme, other]", "[acme, acme]", "archive.tenants[1]: is listed twice: list it once"),
    (Role::Ingest, "[acme, other]", "[Not A Label]", "archive.tenants[0]:"),
    (Role::Ingest, "archive.example.org", "\"\"", "archive.domain: domain of an origin \"\" is not valid"),
    (
        Role::Ingest,
        "archive.example.org",
        "NOT A Domain",
        "archive.domain: domain of an origin \"NOT A Domain\" is not valid",
    ),
    (Role::Index, "archive.example.org", "archive..org", "archive.domain: domain of an origin \"\" is not"),
    (
        Role::Gateway,
        "  tenants:",
        "  name: a/b c\n  tenants:",
        "archive.name: archive of an origin \"a/b c\" is not valid",
    ),
    (Role::Trust, "  tenants:", "  name: \"\"\n  tenants:", "archive.name: archive of an origin \"\" is not"),
    (
        Role::Ingest,
        "archive:
  domain: archive.example.org
  tenants: [acme, other]
  retention: {default: 10y-received-forbidden}
",
        "",
        "archive: is missing, and ingest needs it",
    ),
    (Role::Ingest, "10y-received-forbidden", "ten-years", "archive.retention.default: \"ten-years\""),
    (Role::Ingest, "{default:", "{defaults:", "archive.retention.defaults: unknown field"),
    (
        Role::Ingest,
        "grpc: 127.0.0.1:9443",
        "grpc: localhost",
        "listen.grpc: \"localhost\" is not ADDRESS:PORT",
    ),
    (Role::Ingest, "grpc: 127.0.0.1:9443, ", "", "listen.grpc: is missing, and ingest needs it"),
    (Role::Ingest, "grpc:", "grcp:", "listen.grcp: unknown field"),
    (Role::Gateway, "rest: 127.0.0.1:8443, ", "", "listen.rest: is missing, and gateway needs it"),
    (Role::Index, ", admin: 127.0.0.1:9090", "", "listen.admin: is missing, and index needs it"),
    (Role::Index, "127.0.0.1:9090", "9090", "listen.admin: "),
    (Role::Ingest, "tls.crt", "no.crt", "tls.certificate: DIR/no.crt is not a file"),
    (Role::Ingest, "key: tls.key", "key: no.key", "tls.key: DIR/no.key is not a file"),
    (Role::Ingest, "ca: ca.crt", "ca: no.crt", "tls.ca: DIR/no.crt is not a file"),
    (Role::Ingest, "tls: {certificate: tls.crt,", "tls: {", "tls: missing field `certificate`"),
    (Role::Ingest, "{certificate: tls.crt", "{cert: tls.crt", "tls.cert: unknown field"),
    (
        Role::Index,
        "tls: {certificate: tls.crt, key: tls.key, ca: ca.crt}\n",
        "",
        "tls: is missing, and index needs it",
    ),
    (
        Role::Ingest,
        "urlFile: database-url",
        "url: postgres://role:secret-word@db/x",
        "database.url: unknown field",
    ),
    (
        Role::Ingest,
        "urlFile: database-url",
        "urlFile: tls.crt",
        "database.urlFile: its text is not a postgres:// URL",
    ),
    (
        Role::Ingest,
        "urlFile: database-url",
        "urlFile: \"postgres://role:secret-word@db/x\"",
        "database.urlFile: it is a URL, not the path of a file",
    ),
    (Role::Ingest, "urlFile: database-url", "urlFile: none", "database.urlFile: DIR/none is not a file"),
    (Role::Worker, "urlFile: database-url", "urlFile: nothing", "database.urlFile: DIR/nothing is empty"),
    (Role::Worker, "urlFile: database-url", "urlFile: \"\"", "database.urlFile: DIR/ is not a file"),
    (Role::Ingest, "urlFile: database-url, ", "", "database.urlFile: is missing, and ingest needs it"),
    (Role::Storage, "local: objects", "locale: objects", "objects.locale: unknown field"),
    (
        Role::Storage,
        "objects: {local: objects}",
        "objects: {}",
        "objects.local: is missing, and storage needs it",
    ),
    (Role::Trust, "objects: {local: objects}\n", "", "objects.local: is missing, and trust needs it"),
    (Role::Storage, "dataDir: data\n", "", "dataDir: is missing, and storage needs it"),
    (Role::Index, "dataDir: data\n", "", "dataDir: is missing, and index needs it"),
    (Role::Ingest, "  trust: [\"trust:9443\"]\n", "", "calls.trust: is missing, and ingest needs it"),
    (Role::Storage, "  trust: [\"trust:9443\"]\n", "", "calls.trust: is missing, and storage needs it"),
    (Role::Worker, "  ingest: [\"ingest:9443\"]\n", "", "calls.ingest: is missing, and worker needs it"),
    (Role::Worker, "  index: [\"index:9443\"]\n", "", "calls.index: is missing, and worker needs it"),
    (Role::Gateway, "  index: [\"index:9443\"]\n", "", "calls.index: is missing, and gateway needs it"),
    (Role::Gateway, "  worker: [\"worker:9443\"]\n", "", "calls.worker: is missing, and gateway needs it"),
    (
        Role::Gateway,
        "  worker: [\"worker:9443\"]\n",
        "  worker: []\n",
        "calls.worker: is missing, and gateway needs it",
    ),
    (
        Role::Ingest,
        "\"storage-1:9443\"",
        "\"https://storage-1:9443\"",
        "calls.storage[1]: \"https://storage-1:9443\" is not HOST:PORT",
    ),
    (Role::Ingest, "\"storage-1:9443\"", "\"storage-1\"", "calls.storage[1]: \"storage-1\" is not HOST:PORT"),
    (Role::Ingest, "  worker:", "  workers:", "calls.workers: unknown field"),
    (
        Role::Trust,
        "trust:
  keys: keys
  agentsCa: {certificate: agents.crt, key: agents.key}
",
        "",
        "trust: is missing, and trust needs it",
    ),
    (Role::Trust, "{certificate: agents.crt", "{cert: agents.crt", "trust.agentsCa.cert: unknown field"),
    (Role::Trust, "  keys: keys", "  key: keys", "trust.key: unknown field"),
    (Role::Trust, "  keys: keys\n", "", "trust.keys: is missing, and trust needs it"),
    (
        Role::Trust,
        "certificate: agents.crt",
        "certificate: no.crt",
        "trust.agentsCa.certificate: DIR/no.crt is not a file",
    ),
    (Role::Trust, "key: agents.key", "key: no.key", "trust.agentsCa.key: DIR/no.key is not a file"),
    (Role::Worker, "intervalDays: 7", "interval: 7", "worker.fixity.interval: unknown field"),
    (Role::Worker, "intervalDays: 7", "intervalDays: 0", "worker.fixity.intervalDays: 0 is no such number"),
    (
        Role::Worker,
        "intervalDays: 7",
        "intervalDays: 367",
        "worker.fixity.intervalDays: 367 is no such number",
    ),
    (Role::Worker, "1000000", "65535", "worker.fixity.bytesPerSecond: 65535 is too slow"),
    (Role::Ingest, "listen: {", "listen: {{", "DIR/role.yaml: "),
];

#[test]
fn each_bad_key_is_refused_with_its_name_and_what_to_do() {
    for (role, from, to, says) in BAD {
        assert!(GOOD.contains(from), "{from}");
        let refused = load(*role, &GOOD.replacen(from, to, 1), &[]).expect_err(to);
        assert!(refused.contains(says), "{to:?}: {refused}\n  should say: {says}");
        assert!(refused.starts_with("DIR/role.yaml"), "{refused}");
    }
}

#[test]
fn domain_and_name_leave_room_for_the_longest_log() {
    // Of 255 bytes, 140 are for tenant, stream, epoch and slashes.
    let room = 255 - 140;
    let check = |domain: usize, name: usize, refused: Option<&str>| {
        let domain = "a.".repeat(domain)[..domain - 1].to_owned() + "a";
        let text = GOOD.replace("archive.example.org", &domain);
        let text = text.replace("  tenants:", &format!("  name: {}\n  tenants:", "m".repeat(name)));
        match (load(Role::Index, &text, &[]), refused) {
            (Ok(_), None) => {}
            (Err(found), Some(key)) => {
                assert!(found.contains(&format!("{key}: domain and archive are so long")), "{found}");
            }
            (found, _) => panic!("{refused:?}: {found:?}"),
        }
    };
    check(room - 1, 1, None);
    check(room, 1, Some("archive.domain"));
    check(room - 2, 2, None);
    check(room - 2, 3, Some("archive.name"));
}

/// What `all` needs, of the same shape.
const GOOD_ALL: &str = "archive:
  domain: archive.example.org
  tenants: [acme, other]
  retention: {default: 10y-received-forbidden}
listen: {grpc: 127.0.0.1:9443, rest: 127.0.0.1:8443, admin: 127.0.0.1:9090}
tls: {certificate: tls.crt, key: tls.key, ca: ca.crt}
dataDir: data
tmpDir: /tmp/oa
trust:
  agentsCa: {certificate: agents.crt, key: agents.key}
worker:
  fixity: {intervalDays: 7, bytesPerSecond: 1000000}
";

fn load_all(text: &str) -> Result<AllConfig, String> {
    let dir = folder();
    let path = dir.path().join("all.yaml");
    fs::write(&path, text).unwrap();
    AllConfig::load(&path, &Environment::default())
        .map_err(|error| error.to_string().replace(dir.path().to_str().unwrap(), "DIR"))
}

#[test]
fn all_takes_its_own_sections_and_keeps_its_keys_with_its_data_unless_told_otherwise() {
    let config = load_all(GOOD_ALL).unwrap();
    assert_eq!((config.grpc.port(), config.rest.port(), config.admin.port()), (9443, 8443, 9090));
    assert!(config.data_dir.ends_with("data"));
    assert_eq!(config.tmp_dir, Path::new("/tmp/oa"));
    assert_eq!(config.keys, None);
    assert!(config.agents_ca.is_some());
    assert_eq!(config.fixity.interval.as_secs(), 7 * 86_400);
    let keys = GOOD_ALL.replace("trust:\n", "trust:\n  keys: elsewhere\n");
    assert!(load_all(&keys).unwrap().keys.unwrap().ends_with("elsewhere"));
    let least = load_all(&GOOD_ALL[..GOOD_ALL.find("tmpDir").unwrap()]).unwrap();
    assert_eq!(least.tmp_dir, Path::new("/tmp"));
    assert!(least.agents_ca.is_none());
}

#[test]
fn all_refuses_each_bad_key_with_its_name_and_what_to_do() {
    let long = format!("tmpDir: /{}", "x".repeat(80));
    let check = |from: &str, to: &str, says: &str| {
        assert!(GOOD_ALL.contains(from), "{from}");
        let refused = load_all(&GOOD_ALL.replacen(from, to, 1)).expect_err(to);
        assert!(refused.contains(says), "{to:?}: {refused}\n  should say: {says}");
        assert!(refused.starts_with("DIR/all.yaml"), "{refused}");
    };
    check("dataDir: data\n", "", "dataDir: is missing, and all needs it");
    check("grpc: 127.0.0.1:9443, ", "", "listen.grpc: is missing, and all needs it");
    check("rest: 127.0.0.1:8443, ", "", "listen.rest: is missing, and all needs it");
    check(", admin: 127.0.0.1:9090", "", "listen.admin: is missing, and all needs it");
    check("127.0.0.1:8443", "localhost", "listen.rest: \"localhost\" is not ADDRESS:PORT");
    check("tls: {certificate: tls.crt, key: tls.key, ca: ca.crt}\n", "", "tls: is missing, and all needs it");
    check("ca: ca.crt", "ca: no.crt", "tls.ca: DIR/no.crt is not a file");
    check("{certificate: tls.crt", "{cert: tls.crt", "tls.cert: unknown field");
    check("{certificate: agents.crt", "{cert: agents.crt", "trust.agentsCa.cert: unknown field");
    check("archive.example.org", "NOT A Domain", "archive.domain: domain of an origin \"NOT A Domain\"");
    check("  tenants:", "  name: a/b c\n  tenants:", "archive.name: archive of an origin \"a/b c\"");
    let archive = &GOOD_ALL[..GOOD_ALL.find("listen").unwrap()];
    check(archive, "", "archive: is missing, and all needs it");
    check("key: agents.key", "key: no.key", "trust.agentsCa.key: DIR/no.key is not a file");
    check("[acme, other]", "[]", "archive.tenants: there is none: list at least one");
    check("intervalDays: 7", "intervalDays: 0", "worker.fixity.intervalDays: 0 is no such number");
    check("tmpDir: /tmp/oa", &long, "tmpDir: /xxx");
    check("tmpDir: /tmp/oa", &long, "give a path of at most 80 bytes");
    check("tmpDir:", "tempDir:", "unknown field `tempDir`");
    let leave_out = "leave this section out, or run the roles as separate services";
    for (section, says) in [
        ("database: {urlFile: database-url}", "database: all has a PostgreSQL of its own in dataDir"),
        ("database: {rolePasswords: passwords}", "database: all has a PostgreSQL of its own in dataDir"),
        ("objects: {local: objects}", "objects: all has its objects in dataDir"),
        ("calls: {worker: [\"worker:9443\"]}", "calls: all has every role in its own process"),
    ] {
        check("dataDir: data\n", &format!("dataDir: data\n{section}\n"), &format!("{says}: {leave_out}"));
    }
}

/// What `prober` needs, of the same shape.
const GOOD_PROBER: &str = "listen: {admin: 0.0.0.0:9090}
prober:
  canary: 0.0.0.0:9999
  peers: [main-prober.mail.svc, 10.0.0.7, \"fd00::7\"]
";

fn load_prober(text: &str) -> Result<ProberConfig, String> {
    let dir = folder();
    let path = dir.path().join("prober.yaml");
    fs::write(&path, text).unwrap();
    ProberConfig::load(&path, &Environment::default())
        .map_err(|error| error.to_string().replace(dir.path().to_str().unwrap(), "DIR"))
}

#[test]
fn a_prober_needs_two_ports_and_its_peers_and_refuses_what_it_does_not_know() {
    let config = load_prober(GOOD_PROBER).unwrap();
    assert_eq!((config.admin.port(), config.canary.port()), (9090, 9999));
    assert_eq!(config.peers, ["main-prober.mail.svc", "10.0.0.7", "fd00::7"]);
    let check = |from: &str, to: &str, says: &str| {
        assert!(GOOD_PROBER.contains(from), "{from}");
        let refused = load_prober(&GOOD_PROBER.replacen(from, to, 1)).expect_err(to);
        assert!(refused.contains(says), "{to:?}: {refused}\n  should say: {says}");
        assert!(refused.starts_with("DIR/prober.yaml"), "{refused}");
    };
    check("listen: {admin: 0.0.0.0:9090}\n", "", "listen.admin: is missing, and prober needs it");
    check("prober:", "probers:", "unknown field `probers`");
    check("canary:", "canaries:", "prober.canaries: unknown field");
    check("  canary: 0.0.0.0:9999\n", "", "prober: missing field `canary`");
    check("0.0.0.0:9999", "9999", "prober.canary: ");
    check("0.0.0.0:9999", "0.0.0.0:0", "prober.canary: 0 is no port");
    check("0.0.0.0:9090", "0.0.0.0:0", "listen.admin: 0 is no port");
    check("0.0.0.0:9999", "127.0.0.1:9090", "prober.canary: it is the port of listen.admin");
    check("[main-prober.mail.svc, 10.0.0.7, \"fd00::7\"]", "[]", "prober.peers: there is none");
    check("10.0.0.7", "\"10.0.0.7:9090\"", "prober.peers[1]: \"10.0.0.7:9090\" is neither");
    check("10.0.0.7", "http://peer", "prober.peers[1]: \"http://peer\" is neither");
    check("10.0.0.7", "\"\"", "prober.peers[1]: \"\" is neither");
    let nothing = load_prober("listen: {admin: 0.0.0.0:9090}\n").unwrap_err();
    assert!(nothing.contains("prober: is missing, and prober needs it"), "{nothing}");
}

#[test]
fn the_fixity_pass_is_as_configured_within_its_limits_and_usual_otherwise() {
    let check = |section: &str, days: u64, bytes_per_second: u64| {
        let written = "worker:\n  fixity: {intervalDays: 7, bytesPerSecond: 1000000}\n";
        assert!(GOOD.contains(written));
        let fixity = load(Role::Worker, &GOOD.replace(written, section), &[]).unwrap().fixity;
        assert_eq!((fixity.interval.as_secs(), fixity.bytes_per_second), (days * 86_400, bytes_per_second));
    };
    check("", 30, 16 * 1024 * 1024);
    check("worker: {}\n", 30, 16 * 1024 * 1024);
    check("worker: {fixity: {intervalDays: 1, bytesPerSecond: 65536}}\n", 1, 65_536);
    check("worker: {fixity: {intervalDays: 366}}\n", 366, 16 * 1024 * 1024);
}

#[test]
fn a_bad_variable_is_refused_with_its_name() {
    for (variable, value, says) in [
        ("OPENARCHIVE__LISTEN__GRCP", "0.0.0.0:1", "listen.grcp: unknown field"),
        ("OPENARCHIVE__LISTEN__GRPC__PORT", "1", "OPENARCHIVE__LISTEN__GRPC__PORT: `port` is not a section"),
        ("OPENARCHIVE__CALLS__TRUST", "[", "OPENARCHIVE__CALLS__TRUST: its value is not YAML"),
    ] {
        let refused = load(Role::Ingest, GOOD, &[(variable, value)]).expect_err(variable);
        assert!(refused.contains(says), "{refused}\n  should say: {says}");
    }
}

#[test]
fn no_refusal_and_no_debug_form_shows_a_secret() {
    let config = load(Role::Ingest, GOOD, &[]).unwrap();
    assert!(config.database.as_ref().unwrap().as_str().contains("secret-word"));
    assert!(!format!("{config:?}").contains("secret-word"));
    let dir = folder();
    let migration = load_migration(&dir.path().join("role.yaml"), &Environment::default()).unwrap();
    assert_eq!(migration.passwords.len(), 5);
    assert!(migration.passwords.iter().all(|(_, password)| password.as_str() == "secret-word"));
    assert!(!format!("{migration:?}").contains("secret-word"));
    fs::write(dir.path().join("database-url"), "mysql://root:secret-word@db").unwrap();
    let refused = load_migration(&dir.path().join("role.yaml"), &Environment::default()).unwrap_err();
    assert!(!refused.to_string().contains("secret-word"), "{refused}");
}

#[test]
fn the_documented_files_serve_every_role_and_all_of_them() {
    let text = include_str!("../../../../docs/configuration.md");
    let example = text.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let dir = folder();
    for file in ["tls/tls.crt", "tls/tls.key", "tls/ca.crt", "tls/agents.crt", "tls/agents.key"] {
        fs::create_dir_all(dir.path().join("tls")).unwrap();
        fs::write(dir.path().join(file), "x").unwrap();
    }
    fs::create_dir(dir.path().join("secrets")).unwrap();
    fs::rename(dir.path().join("passwords"), dir.path().join("secrets/passwords")).unwrap();
    fs::write(dir.path().join("secrets/database-url"), "postgres://role@db/openarchive").unwrap();
    let path = dir.path().join("role.yaml");
    fs::write(&path, example).unwrap();
    for role in SERVICES {
        RoleConfig::load(role, &path, &Environment::default()).unwrap();
    }
    load_migration(&path, &Environment::default()).unwrap();
    let example = text.split("```yaml\n").nth(2).unwrap().split("```").next().unwrap();
    fs::write(&path, example).unwrap();
    AllConfig::load(&path, &Environment::default()).unwrap();
    let example = text.split("```yaml\n").nth(3).unwrap().split("```").next().unwrap();
    fs::write(&path, example).unwrap();
    ProberConfig::load(&path, &Environment::default()).unwrap();
}
