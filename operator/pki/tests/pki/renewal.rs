//! What a leaf says, and when it is issued again.

use openarchive_operator_pki::{
    Action, BACKDATED_SECONDS, CA_CERTIFICATE, Certificate, Identity, LEAF_DAYS, LeafSpec, SecretData,
    TLS_CERTIFICATE, TLS_KEY, Target, Why, report,
};
use openarchive_rpc::{PeerIdentity, Role};
use x509_parser::parse_x509_certificate;

use crate::{
    verifier::{Believed, Shown},
    world::{DAY, START, World, after, domain, fingerprint, spec},
};

fn leaf(world: &World, name: &str) -> Certificate {
    Certificate::chain_of_pem(&world.found.leaves[name][TLS_CERTIFICATE]).unwrap().swap_remove(0)
}

fn issues(world: &World) -> Vec<(String, Why)> {
    let actions = world.plan().actions.into_iter();
    actions
        .map(|action| match action {
            Action::Issue { target: Target::Leaf(name), why } => (name, why),
            Action::Issue { target: Target::AgentsCa, why } => ("agents".to_owned(), why),
            Action::Rebundle { leaf } => (leaf, Why::OtherAuthorities),
            Action::Authority(transition) => panic!("{transition:?}"),
        })
        .collect()
}

#[test]
fn a_leaf_says_who_it_is_where_it_serves_and_that_it_calls() {
    let world = World::started(&[Role::Trust, Role::Operator]);
    let secret = &world.found.leaves["trust"];
    let report = report("main-trust-tls", &secret[TLS_CERTIFICATE]).unwrap();
    assert_eq!(report.name, "main-trust-tls");
    assert_eq!(report.subject, "CN=trust");
    assert!(
        report.issuer.starts_with("CN=OpenArchive CA ") && report.issuer.ends_with(", O=archive.example"),
        "{report:?}"
    );
    let names =
        ["URI:spiffe://archive.example/service/trust", "DNS:main-trust", "DNS:main-trust.archive.svc"];
    assert_eq!(report.names, names);
    assert_eq!(report.not_before, after(START, -(BACKDATED_SECONDS.cast_signed() * 1000)));
    assert_eq!(report.not_after, after(START, i64::from(LEAF_DAYS) * DAY));
    assert_eq!(report.fingerprint, leaf(&world, "trust").fingerprint());
    let der = Shown::of_secret(secret).first();
    let (_, parsed) = parse_x509_certificate(&der).unwrap();
    assert_eq!(report.serial, hex::encode(parsed.raw_serial()));
    assert!(!parsed.is_ca());
    let usage = parsed.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.server_auth && usage.client_auth);
    let identity = PeerIdentity::of_certificate(&der, "archive.example").unwrap();
    assert_eq!(identity, PeerIdentity::Service(Role::Trust));

    let der = Shown::of_secret(&world.found.leaves["operator"]).first();
    let (_, parsed) = parse_x509_certificate(&der).unwrap();
    let usage = parsed.extended_key_usage().unwrap().unwrap().value;
    assert!(!usage.server_auth && usage.client_auth, "it has no DNS name: it only calls");
}

#[test]
fn an_agent_in_the_cluster_is_named_in_its_one_uri() {
    let mut world = World::new(&[Role::Ingest]);
    let agent = Identity::Agent("acme/mx1".parse().unwrap());
    world.specs.push(LeafSpec::new("operator", agent, ["main-mx1.archive.svc"]).unwrap());
    world.whole_pass();
    let shown = Shown::of_secret(&world.found.leaves["operator"]);
    let PeerIdentity::Agent(found) = PeerIdentity::of_certificate(&shown.first(), "archive.example").unwrap()
    else {
        panic!("it is an agent's")
    };
    assert_eq!(found.agent.to_string(), "acme/mx1");
    let ingest = Believed::of_secret(&world.found.leaves["ingest"]);
    ingest.client(&shown, world.now).unwrap();
    ingest.server(&shown, "main-mx1.archive.svc", world.now).unwrap();
}

#[test]
fn a_certificate_is_renewed_after_two_thirds_of_its_life_and_a_little_later_at_the_most() {
    let mut world = World::started(&[Role::Trust, Role::Storage, Role::Ingest]);
    let mut times = Vec::new();
    for name in ["trust", "storage", "ingest"] {
        let own = leaf(&world, name);
        let life = own.not_after().as_millis() - own.not_before().as_millis();
        let passed = own.renew_at().as_millis() - own.not_before().as_millis();
        assert!(passed >= life / 3 * 2 && passed <= life / 3 * 2 + life / 20, "{passed} of {life}");
        assert_eq!(own.renew_at(), leaf(&world, name).renew_at(), "the same certificate, the same time");
        times.push((own.renew_at(), name));
    }
    times.sort();
    assert!(times[0].0 < times[2].0, "those that were issued together do not come together");
    let (first, name) = times[0];
    assert_eq!(world.plan().look_again_at, first);
    world.now = after(first, -1);
    assert_eq!(world.plan().actions, []);
    world.now = first;
    assert_eq!(issues(&world), [(name.to_owned(), Why::Age)]);
    let before = fingerprint(&world.found.leaves[name]);
    world.whole_pass();
    assert_ne!(fingerprint(&world.found.leaves[name]), before);
    assert_eq!(world.plan().actions, []);
}

#[test]
fn each_thing_that_is_wrong_with_a_secret_has_it_written_again_for_that_reason() {
    let started = || World::started(&[Role::Trust, Role::Storage]);
    let strange = World::started(&[Role::Trust]).found.leaves["trust"].clone();
    let check = |expected: Why, change: &dyn Fn(&mut SecretData)| {
        let mut world = started();
        let before = world.found.leaves["trust"].clone();
        change(world.found.leaves.get_mut("trust").unwrap());
        assert_eq!(issues(&world), [("trust".to_owned(), expected)]);
        world.whole_pass();
        assert_eq!(world.plan().actions, [], "{expected:?}");
        let same_key = world.found.leaves["trust"][TLS_KEY] == before[TLS_KEY];
        assert_eq!(same_key, expected == Why::OtherAuthorities, "{expected:?}");
        world.check();
    };
    let put = |secret: &mut SecretData, key: &str, bytes: &[u8]| {
        secret.insert(key.to_owned(), bytes.to_vec());
    };
    check(Why::Incomplete, &|secret| drop(secret.remove(TLS_KEY)));
    check(Why::Incomplete, &|secret| put(secret, TLS_CERTIFICATE, b""));
    check(Why::Unreadable, &|secret| put(secret, TLS_CERTIFICATE, b"-----BEGIN CERTIFICATE-----\nAAAA\n"));
    check(Why::Unreadable, &|secret| put(secret, TLS_KEY, b"\xff"));
    check(Why::KeyMismatch, &|secret| put(secret, TLS_KEY, &strange[TLS_KEY]));
    check(Why::OtherIssuer, &|secret| *secret = strange.clone());
    check(Why::OtherAuthorities, &|secret| put(secret, CA_CERTIFICATE, &strange[CA_CERTIFICATE]));
    check(Why::OtherAuthorities, &|secret| drop(secret.remove(CA_CERTIFICATE)));
    let extended = [strange[TLS_CERTIFICATE].clone(), strange[CA_CERTIFICATE].clone()].concat();
    check(Why::OtherAuthorities, &|secret| {
        let own = secret[TLS_CERTIFICATE].clone();
        put(secret, TLS_CERTIFICATE, &[own, extended.clone()].concat());
    });

    let mut world = started();
    world.found.leaves.remove("trust");
    assert_eq!(issues(&world), [("trust".to_owned(), Why::Missing)]);
    let mut world = started();
    world.now = after(world.now, -2 * DAY);
    let why = |name: &str| (name.to_owned(), Why::Age);
    assert_eq!(
        issues(&world),
        ["agents", "trust", "storage"].map(why),
        "not valid yet: a clock was set back"
    );
    world.now = START;
    world.found.agents_ca = Some(world.found.leaves["trust"].clone());
    assert_eq!(issues(&world), [("agents".to_owned(), Why::OtherNames)]);
}

#[test]
fn a_leaf_whose_names_change_is_issued_again_and_one_that_is_not_wanted_stays_alone() {
    let mut world = World::started(&[Role::Gateway, Role::Trust]);
    let mut names: Vec<String> = spec(Role::Gateway).dns_names().map(str::to_owned).collect();
    names.push("Archive.Example.com".to_owned());
    world.specs[0] = LeafSpec::new("gateway", Identity::Service(Role::Gateway), &names).unwrap();
    assert_eq!(issues(&world), [("gateway".to_owned(), Why::OtherNames)]);
    world.whole_pass();
    let shown = Shown::of_secret(&world.found.leaves["gateway"]);
    Believed::of_secret(&world.found.leaves["trust"])
        .server(&shown, "archive.example.com", world.now)
        .unwrap();
    world.specs[0] = LeafSpec::new("gateway", Identity::Service(Role::Worker), &names).unwrap();
    assert_eq!(issues(&world), [("gateway".to_owned(), Why::OtherNames)]);
    world.specs.remove(0);
    assert_eq!(world.plan().actions, []);
}

#[test]
fn nothing_that_is_printed_holds_a_key() {
    let mut world = World::started(&[Role::Trust]);
    world.request = Some("now".to_owned());
    world.whole_pass();
    let state = world.state();
    let printed = format!("{state:?} {:?} {:?}", state.issuing(), world.plan());
    assert!(printed.contains("CN=OpenArchive CA") && !printed.contains("PRIVATE"), "{printed}");
    assert_eq!(domain().to_string(), "archive.example");
}
