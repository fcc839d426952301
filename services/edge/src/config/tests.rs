use openarchive_mail::{journal::JournalMode, limits::MESSAGE_BYTES_MAX};

use super::*;

const FULL: &str = "
dataDir: data
hostname: mx1.example.com
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
    startTLS: {certificate: tls.pem, key: tls.key, required: true}
    peers:
      - cidrs: [192.0.2.0/24, 2001:db8::/32, 198.51.100.7]
        journalMode: jrn-plus
      - cidrs: [0.0.0.0/0]
        journalMode: plain
buffer:
  highWater: 2GiB
limits:
  messageSize: 150MiB
  connections: 7
  commandTimeoutSeconds: 10
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
    assert_eq!(listener.peers[0].mode, JournalMode::JrnPlus);
    assert_eq!(listener.peers[0].cidrs[2].to_string(), "198.51.100.7/32");
    assert_eq!(config.high_water_bytes, 2 << 30);
    assert_eq!((config.limits.connections_max, config.limits.command_timeout), (7, Duration::from_secs(10)));
}

#[test]
fn a_small_file_has_sensible_defaults() {
    let config = parse(SMALL).unwrap();
    assert!(config.core.is_none() && !config.hostname.is_empty());
    assert_eq!(config.listeners[0].certificate, CertificateSource::SelfSigned);
    assert_eq!(config.listeners[0].start_tls, StartTls::Offered);
    assert_eq!(config.listeners[0].address.to_string(), "0.0.0.0:2525");
    assert_eq!((config.high_water_bytes, config.limits), (HIGH_WATER_BYTES, Limits::default()));
    assert_eq!(parse(&format!("{SMALL}buffer: {{highWater: 4096}}")).unwrap().high_water_bytes, 4096);
}

#[test]
fn every_error_names_the_file_the_key_and_what_to_do() {
    let check = |from: &str, to: &str, expected: &[&str]| {
        assert!(FULL.contains(from), "{from}");
        let error = parse(&FULL.replace(from, to)).unwrap_err();
        for part in expected.iter().chain(&["/etc/edge/edge.yaml"]) {
            assert!(error.contains(part), "{part:?} in {error}");
        }
    };
    check("hostname:", "hostnam:", &["hostnam", "unknown field"]);
    check("port: 2525", "port: 99999", &["port"]);
    check("name: journal", "", &["missing field", "name"]);
    check("mx1.example.com", "'mx1 example'", &["hostname", "mx1.example.com"]);
    check("https://archive", "archive", &["core.address", "https://HOST:PORT"]);
    check("address: 127.0.0.1", "address: here", &["listeners[0].address", "0.0.0.0"]);
    check(", key: tls.key", "", &["listeners[0].startTLS", "give both or neither"]);
    check("jrn-plus", "JrnPlus", &["listeners[0].peers[0].journalMode", "jrn-plus"]);
    check("192.0.2.0/24", "192.0.2.0/33", &["listeners[0].peers[0].cidrs", "192.0.2.0/33"]);
    check("[0.0.0.0/0]", "[]", &["listeners[0].peers[1].cidrs", "192.0.2.0/24"]);
    check("2GiB", "0", &["buffer.highWater", "8GiB"]);
    check("2GiB", "2GB", &["2GB", "8GiB"]);
    check("150MiB", "151MiB", &["limits.messageSize", "150MiB"]);
    check("connections: 7", "connections: 0", &["limits.connections"]);
    check("commandTimeoutSeconds: 10", "commandTimeoutSeconds: 0", &["limits.commandTimeoutSeconds"]);
    let twice = FULL.replace(
        "buffer:",
        "  - {name: journal, port: 1, peers: [{cidrs: [::/0], journalMode: plain}]}\nbuffer:",
    );
    assert!(parse(&twice).unwrap_err().contains("listeners[1].name"));
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
