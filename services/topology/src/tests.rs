use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use super::*;

fn protos(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            protos(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            found.push(path);
        }
    }
}

/// Every `/package.Service/Method` of the project's proto files.
fn methods_of_protos() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    let mut files = Vec::new();
    protos(&root.join("openarchive"), &mut files);
    let set = protox::compile(&files, [&root]).unwrap();
    let mut methods = BTreeSet::new();
    for file in &set.file {
        for service in &file.service {
            for method in &service.method {
                methods.insert(format!("/{}.{}/{}", file.package(), service.name(), method.name()));
            }
        }
    }
    methods
}

#[test]
fn every_method_of_every_service_stands_in_the_table_once_and_nothing_else_does() {
    let mut table = BTreeSet::new();
    for method in METHODS {
        assert!(table.insert(method.path.to_owned()), "{} stands there twice", method.path);
        assert!(!method.callers.is_empty() && !method.why.is_empty(), "{}", method.path);
        let package = format!("/openarchive.{}.", method.server.name());
        assert!(method.path.starts_with(&package), "{} is served elsewhere", method.path);
    }
    let real = methods_of_protos();
    let missing: Vec<_> = real.difference(&table).collect();
    let invented: Vec<_> = table.difference(&real).collect();
    assert!(missing.is_empty() && invented.is_empty(), "missing: {missing:#?}, invented: {invented:#?}");
}

#[test]
fn whoever_may_call_a_method_has_an_edge_to_its_server_and_every_edge_between_services_is_used() {
    let endpoint = |caller: &Caller| match caller {
        Caller::Role(role) => Endpoint::Role(*role),
        Caller::Agent | Caller::Anonymous => Endpoint::Agent,
    };
    let called: BTreeSet<(Endpoint, Endpoint)> = METHODS
        .iter()
        .flat_map(|method| method.callers.iter().map(|c| (endpoint(c), Endpoint::Role(method.server))))
        .collect();
    let edges: BTreeSet<(Endpoint, Endpoint)> =
        EDGES.iter().filter(|edge| edge.port == GRPC_PORT).map(|edge| (edge.from, edge.to)).collect();
    assert_eq!(called, edges);
}

#[test]
fn no_connection_is_listed_twice_and_every_pod_is_probed_scraped_and_finds_names() {
    let mut seen = BTreeMap::new();
    for edge in EDGES {
        assert_eq!(seen.insert((edge.from, edge.to, edge.port), edge.why), None, "{edge:?}");
    }
    for pod in Role::ALL.map(Endpoint::Role).into_iter().chain([Endpoint::Agent]) {
        assert!(seen.contains_key(&(Endpoint::Node, pod, HEALTH_PORT)), "{pod:?}");
        assert!(seen.contains_key(&(Endpoint::Monitoring, pod, HEALTH_PORT)), "{pod:?}");
        assert!(seen.contains_key(&(pod, Endpoint::Dns, DNS_PORT)), "{pod:?}");
    }
}

#[test]
fn an_unknown_method_may_be_called_by_nobody() {
    let callers = Role::ALL.map(Caller::Role).into_iter().chain([Caller::Agent, Caller::Anonymous]);
    for caller in callers {
        for path in [
            "",
            "/",
            "/openarchive.trust.v1.TrustService",
            "/openarchive.trust.v1.TrustService/Nothing",
            "/openarchive.trust.v1.TrustService/append",
            "/openarchive.trust.v1.TrustService/Append/",
            "//openarchive.trust.v1.TrustService/Append",
            "/openarchive.trust.v1.TrustService/%41ppend",
        ] {
            assert!(!may_call(path, caller), "{path} {caller:?}");
        }
    }
}

#[test]
fn each_role_has_its_own_logs() {
    let check = |stream: &str, appenders: &[Role], readers: &[Role]| {
        for role in Role::ALL {
            assert_eq!(
                may_append(stream, Caller::Role(role)),
                appenders.contains(&role),
                "{stream} {role:?}"
            );
            assert_eq!(may_read(stream, Caller::Role(role)), readers.contains(&role), "{stream} {role:?}");
        }
        for caller in [Caller::Agent, Caller::Anonymous] {
            assert!(!may_append(stream, caller) && !may_read(stream, caller), "{stream} {caller:?}");
        }
    };
    check("evidence", &[Role::Ingest, Role::Storage], &[Role::Ingest, Role::Storage, Role::Gateway]);
    check("audit", &[Role::Gateway], &[Role::Gateway]);
    check("config", &[Role::Operator], &[Role::Operator]);
    check("other", &[], &[]);
    check("", &[], &[]);
}

#[test]
fn a_role_is_found_by_its_name_alone() {
    for role in Role::ALL {
        assert_eq!(Role::of_name(role.name()), Some(role));
        assert_eq!(Role::of_name(&role.name().to_uppercase()), None);
    }
    assert_eq!(Role::of_name(""), None);
    assert_eq!(Role::of_name("edge"), None);
}

#[test]
fn the_page_in_the_docs_is_fresh() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/topology.md");
    let fresh = page();
    if std::env::var_os("OPENARCHIVE_WRITE_GENERATED").is_some() {
        fs::write(&path, &fresh).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(committed, fresh, "{} is stale: run `make gen` and commit the result", path.display());
}
