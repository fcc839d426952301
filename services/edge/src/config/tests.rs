use openarchive_mail::{journal::JournalMode, limits::MESSAGE_BYTES_MAX};

use super::*;
use crate::smtp::{PeerLimits, RATE_PER_MINUTE_MAX};

const FULL: &str = "
dataDir: data
hostname: mx1.example.com
drain: true
admin: 127.0.0.1:9464
core:
  address: https://archive.example.com:7443
  ca: ca.pem
  certificate: /etc/openarchive/agent.pem
  key: agent.key
  logPolicy: trust.policy
listeners:
  - name: journal
    address: 127.0.0.1
    port: 2525
    protocol: lmtp
    startTLS: {certificate: tls.pem, key: tls.key, required: true}
    peers:
      - cidrs: [192.0.2.0/24, 2001:db8::/32, 198.51.100.7]
        journalMode: jrn-plus
        limits: {connections: 50, connectionsPerMinute: 600, mailsPerMinute: 100000}
      - cidrs: [0.0.0.0/0]
        journalMode: plain
buffer:
  highWater: 2GiB
limits:
  messageSize: 150MiB
  connections: 7
  commandTimeoutSeconds: 10
  bodyTimeoutSeconds: 20
";

const SMALL: &str = "
dataDir: /var/lib/edge
listeners:
  - name: journal
    port: 2525
    peers:
      - {cidrs: [127.0.0.0/8], journalMode: plain}
";

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(Path::new("/etc/edge/edge.yaml"), text).map_err(|error| error.to_string())
}

#[test]
fn the_whole_file_is_read_with_paths_beside_it() {
    let config = parse(FULL).unwrap();
    assert_eq!(config.data_dir, Path::new("/etc/edge/data"));
    assert_eq!(config.hostname, "mx1.example.com");
    let core = config.core.unwrap();
    assert_eq!(core.ca, Path::new("/etc/edge/ca.pem"));
    assert_eq!(core.certificate, Path::new("/etc/openarchive/agent.pem"));
    let listener = &config.listeners[0];
    assert_eq!(listener.address.to_string(), "127.0.0.1:2525");
    assert_eq!(listener.start_tls, StartTls::Required);
    let given =
        CertificateSource::Given { certificate: "/etc/edge/tls.pem".into(), key: "/etc/edge/tls.key".into() };
    assert_eq!(listener.certificate, given);
    assert_eq!(listener.protocol, Protocol::Lmtp);
    assert_eq!(listener.peers[0].mode, JournalMode::JrnPlus);
    let limits = PeerLimits {
        connections_max: 50,
        connections_per_minute: Some(600),
        mails_per_minute: Some(RATE_PER_MINUTE_MAX),
    };
    assert_eq!((&listener.peers[0].limits, &listener.peers[1].limits), (&limits, &PeerLimits::default()));
    assert_eq!(listener.peers[0].cidrs[2].to_string(), "198.51.100.7/32");
    assert_eq!(config.high_water_bytes, 2 << 30);
    assert_eq!((config.limits.connections_max, config.limits.command_timeout), (7, Duration::from_secs(10)));
    assert_eq!(config.intake, Intake::Draining);
}

#[test]
fn a_small_file_has_sensible_defaults() {
    let config = parse(SMALL).unwrap();
    assert!(config.core.is_none() && !config.hostname.is_empty());
    assert_eq!(config.listeners[0].certificate, CertificateSource::SelfSigned);
    assert_eq!(config.listeners[0].start_tls, StartTls::Offered);
    assert_eq!(config.listeners[0].protocol, Protocol::Smtp);
    assert_eq!(config.listeners[0].address.to_string(), "0.0.0.0:2525");
    assert_eq!((config.high_water_bytes, config.limits), (HIGH_WATER_BYTES, Limits::default()));
    assert_eq!(config.intake, Intake::Open);
    assert_eq!(parse(&format!("{SMALL}buffer: {{highWater: 4096}}")).unwrap().high_water_bytes, 4096);
    for mode in JournalMode::ALL {
        let config = parse(&SMALL.replace("plain", mode.as_str())).unwrap();
        assert_eq!(config.listeners[0].peers[0].mode, mode);
    }
}

/// Each with what is wrong, where, and what to do.
#[test]
fn every_error_names_the_file_the_key_and_what_to_do() {
    let check = |from: &str, to: &str, expected: &[&str]| {
        assert!(FULL.contains(from), "{from}");
        let error = parse(&FULL.replacen(from, to, 1)).unwrap_err();
        for part in expected.iter().chain(&["/etc/edge/edge.yaml"]) {
            assert!(error.contains(part), "{part:?} in {error}");
        }
    };
    check("mx1.example.com", "'mx1 example'", &["hostname", "is no host name", "mx1.example.com"]);
    check("127.0.0.1:9464", "9464", &["admin", "\"9464\" is no address with a port", "127.0.0.1:9464"]);
    check("https://archive", "archive", &["core.address", "is not an https URL", "https://HOST:PORT"]);
    check("name: journal", "name: ''", &["listeners[0].name", "it is empty", "journal"]);
    check("address: 127.0.0.1", "address: here", &["listeners[0].address", "no IP address", "0.0.0.0"]);
    check(
        "protocol: lmtp",
        "protocol: uucp",
        &["listeners[0].protocol", "\"uucp\" is no protocol", "smtp or lmtp"],
    );
    check("port: 2525", "port: 25", &["listeners[0].port", "25 is for SMTP", "2424"]);
    check(", key: tls.key", "", &["listeners[0].startTLS", "give both or neither"]);
    check("certificate: tls.pem, ", "", &["listeners[0].startTLS", "give both or neither"]);
    let modes = "write plain, jrn-plus, x-envelope-to or exchange-report";
    check("jrn-plus", "JrnPlus", &["listeners[0].peers[0].journalMode", "\"JrnPlus\"", modes]);
    check(
        "192.0.2.0/24",
        "192.0.2.0/33",
        &["listeners[0].peers[0].cidrs", "\"192.0.2.0/33\"", "192.0.2.0/24"],
    );
    check("[0.0.0.0/0]", "[]", &["listeners[0].peers[1].cidrs", "matches nobody", "192.0.2.0/24"]);
    let limits = "listeners[0].peers[0].limits";
    check("connections: 50", "connections: 0", &[limits, ".connections: 0 lets nobody in", "at least 1"]);
    let rate = "give 1 to 100000, or leave it out for no limit";
    for bad in ["0", "100001"] {
        let to = format!("connectionsPerMinute: {bad}");
        check("connectionsPerMinute: 600", &to, &[limits, ".connectionsPerMinute: ", bad, rate]);
        let to = format!("mailsPerMinute: {bad}");
        check("mailsPerMinute: 100000", &to, &[limits, ".mailsPerMinute: ", bad, rate]);
    }
    check("2GiB", "0", &["buffer.highWater", "takes no mail at all", "8GiB"]);
    check("2GiB", "2GB", &["\"2GB\" is no size", "8GiB"]);
    check("150MiB", "151MiB", &["limits.messageSize", "give 1 byte to 150MiB"]);
    check("150MiB", "0", &["limits.messageSize", "give 1 byte to 150MiB"]);
    check("connections: 7", "connections: 0", &["limits.connections", "lets nobody in", "at least 1"]);
    check(
        "commandTimeoutSeconds: 10",
        "commandTimeoutSeconds: 0",
        &["limits.commandTimeoutSeconds", "at least 1"],
    );
    check("bodyTimeoutSeconds: 20", "bodyTimeoutSeconds: 0", &["limits.bodyTimeoutSeconds", "at least 1"]);
    let no_peers = FULL.split("    peers:").next().unwrap().to_owned() + "    peers: []\n";
    let error = parse(&no_peers).unwrap_err();
    assert!(error.contains("listeners[0].peers: nobody could deliver; list the mail servers"), "{error}");
    let error = parse("dataDir: data\nlisteners: []\n").unwrap_err();
    assert!(error.contains("listeners: there is none; give at least one"), "{error}");
    let twice = FULL.replace(
        "buffer:",
        "  - {name: journal, port: 1, peers: [{cidrs: [::/0], journalMode: plain}]}\nbuffer:",
    );
    let error = parse(&twice).unwrap_err();
    assert!(error.contains("listeners[1].name") && error.contains("give each its own"), "{error}");
}

/// With the line, since the file's shape is at fault.
#[test]
fn an_unknown_key_is_refused_at_every_place_and_a_missing_one_is_named() {
    let check = |from: &str, to: &str, expected: &[&str]| {
        assert!(FULL.contains(from), "{from}");
        let error = parse(&FULL.replacen(from, to, 1)).unwrap_err();
        for part in expected.iter().chain(&["/etc/edge/edge.yaml", "line "]) {
            assert!(error.contains(part), "{part:?} in {error}");
        }
    };
    let unknown = "unknown field";
    check("hostname:", "hostnam:", &[unknown, "hostnam", "hostname"]);
    check("  address: https", "  adress: https", &[unknown, "adress"]);
    check("    port: 2525", "    port: 2525\n    tls: true", &[unknown, "tls", "startTLS"]);
    check("required: true", "require: true", &[unknown, "require"]);
    check("journalMode: jrn-plus", "journalMode: jrn-plus\n        mode: plain", &[unknown, "mode"]);
    check("mailsPerMinute", "mailsPerHour", &[unknown, "mailsPerHour", "mailsPerMinute"]);
    check("highWater: 2GiB", "highWater: 2GiB\n  lowWater: 1GiB", &[unknown, "lowWater"]);
    check("messageSize", "maxMessageSize", &[unknown, "maxMessageSize", "messageSize"]);
    check("dataDir: data\n", "", &["missing field", "dataDir"]);
    check("name: journal\n    address: 127.0.0.1", "address: 127.0.0.1", &["missing field", "name"]);
    check("    port: 2525\n", "", &["missing field", "port"]);
    check("  ca: ca.pem\n", "", &["missing field", "ca"]);
    check("  logPolicy: trust.policy\n", "", &["missing field", "logPolicy"]);
    check(
        "cidrs: [0.0.0.0/0]\n        journalMode: plain",
        "cidrs: [0.0.0.0/0]",
        &["missing field", "journalMode"],
    );
    check("port: 2525", "port: 99999", &["port"]);
    check("connections: 7", "connections: many", &["connections"]);
    check("required: true", "required: perhaps", &["required"]);
    check("drain: true", "drain: soon", &["drain"]);
    assert!(parse("listeners: {}").unwrap_err().contains("/etc/edge/edge.yaml"));
    assert!(parse("\t- not yaml: [").is_err());
}

#[test]
fn the_message_limit_is_what_the_splitter_takes() {
    assert_eq!(Limits::default().message_bytes_max, MESSAGE_BYTES_MAX);
    assert_eq!(MESSAGE_BYTES_MAX, 150 * 1024 * 1024);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Config::load(Path::new("/nowhere/edge.yaml")).unwrap_err().to_string();
    assert!(error.contains("/nowhere/edge.yaml"), "{error}");
}

#[test]
fn the_configuration_in_the_documentation_is_valid() {
    let docs = include_str!("../../../../docs/agent.md");
    let (_, rest) = docs.split_once("```yaml\n").unwrap();
    let (text, _) = rest.split_once("```").unwrap();
    let config = parse(text).unwrap();
    assert_eq!(config.limits, Limits::default(), "it shows the defaults");
    assert_eq!(config.listeners[0].peers[0].limits.connections_max, PeerLimits::default().connections_max);
}
