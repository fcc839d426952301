//! The configuration file of the archive's processes (docs/configuration.md).

use openarchive_topology::{GRPC_PORT, HEALTH_PORT, REST_PORT, Role};
use serde_json::{Map, Value, json};

use super::{
    metadata::Names,
    pod::{
        AGENTS_CA_FOLDER, DATA_FOLDER, DATABASE_FOLDER, KEYS_FOLDER, OBJECT_STORE_FOLDER, SEARCH_FOLDER,
        TLS_FOLDER, TMP_FOLDER,
    },
    prober::DENY_CANARY_PORT,
};
use crate::archive::{ValidArchive, validate::Distributed};

/// Of `openarchive all`.
pub(super) fn standalone(archive: &ValidArchive) -> String {
    let mut file = common(archive);
    file.insert("dataDir".to_owned(), json!(DATA_FOLDER));
    file.insert("tmpDir".to_owned(), json!(TMP_FOLDER));
    file.insert("trust".to_owned(), json!({"agentsCa": agents_ca()}));
    text(file)
}

/// Of every service of profile Distributed: each takes what it needs.
pub(super) fn distributed(archive: &ValidArchive, spec: &Distributed) -> String {
    let mut file = common(archive);
    let target = |role: Role| {
        json!([format!("{}.{}.svc:{GRPC_PORT}", Names(archive).of(role.name()), archive.namespace)])
    };
    let called = [Role::Trust, Role::Storage, Role::Ingest, Role::Index, Role::Worker];
    let calls: Map<_, _> = called.into_iter().map(|role| (role.name().to_owned(), target(role))).collect();
    file.insert("calls".to_owned(), Value::Object(calls));
    file.insert("dataDir".to_owned(), json!(DATA_FOLDER));
    file.insert("database".to_owned(), json!({"urlFile": format!("{DATABASE_FOLDER}/url")}));
    let store = &spec.object_store;
    let s3 = json!({
        "endpoint": store.endpoint,
        "bucket": store.bucket,
        "keyBucket": store.key_bucket,
        "credentials": OBJECT_STORE_FOLDER,
    });
    file.insert("objects".to_owned(), json!({"s3": s3}));
    if let Some(search) = &spec.search {
        let mut elasticsearch = Map::from_iter([("urls".to_owned(), json!(search.elasticsearch.urls))]);
        if search.elasticsearch.secret_ref.is_some() {
            elasticsearch.insert("credentials".to_owned(), json!(SEARCH_FOLDER));
        }
        file.insert("search".to_owned(), json!({"elasticsearch": elasticsearch}));
    }
    file.insert("trust".to_owned(), json!({"keys": KEYS_FOLDER, "agentsCa": agents_ca()}));
    text(file)
}

/// Of `openarchive migrate`.
pub(super) fn migrate() -> String {
    let database = json!({
        "urlFile": format!("{DATABASE_FOLDER}/url"),
        "rolePasswords": "/etc/openarchive-passwords",
    });
    text(Map::from_iter([("database".to_owned(), database)]))
}

/// Of `openarchive prober`; `host` stands for all of them.
pub(super) fn prober(host: &str) -> String {
    let all = |port: u16| format!("0.0.0.0:{port}");
    text(Map::from_iter([
        ("listen".to_owned(), json!({"admin": all(HEALTH_PORT)})),
        ("prober".to_owned(), json!({"canary": all(DENY_CANARY_PORT), "peers": [host]})),
    ]))
}

fn common(archive: &ValidArchive) -> Map<String, Value> {
    let tenants: Vec<_> = archive.tenants.iter().map(|tenant| &tenant.name).collect();
    let all = |port: u16| format!("0.0.0.0:{port}");
    Map::from_iter([
        (
            "archive".to_owned(),
            json!({
                "domain": archive.domain,
                "name": archive.name,
                "tenants": tenants,
                "retention": {"default": archive.default_class.to_string()},
            }),
        ),
        (
            "listen".to_owned(),
            json!({"grpc": all(GRPC_PORT), "rest": all(REST_PORT), "admin": all(HEALTH_PORT)}),
        ),
        (
            "tls".to_owned(),
            json!({
                "certificate": format!("{TLS_FOLDER}/tls.crt"),
                "key": format!("{TLS_FOLDER}/tls.key"),
                "ca": format!("{TLS_FOLDER}/ca.crt"),
            }),
        ),
    ])
}

fn agents_ca() -> Value {
    json!({"certificate": format!("{AGENTS_CA_FOLDER}/tls.crt"), "key": format!("{AGENTS_CA_FOLDER}/tls.key")})
}

/// JSON is YAML. Keys in order, so that the same configuration has the same bytes.
fn text(file: Map<String, Value>) -> String {
    format!("{:#}\n", Value::Object(file))
}
