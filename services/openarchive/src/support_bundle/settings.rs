//! Settings, key by key: a key that is not named here is not written.

use std::path::Path;

use serde_json::{Value, json};

use crate::{archive_file::ArchiveFile, config::RoleConfig};

pub(super) fn of_archive(archive: &ArchiveFile) -> Value {
    json!({
        "domain": archive.domain,
        "name": archive.name,
        "tenants": archive.tenants.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "default_class": archive.default_class.to_string(),
    })
}

pub(super) fn of_role(config: &RoleConfig) -> Value {
    let path = |path: &Path| path.display().to_string();
    let calls: Vec<Value> = config
        .calls
        .iter()
        .map(|(role, targets)| {
            let targets: Vec<String> = targets.iter().map(ToString::to_string).collect();
            json!({ "role": role.name(), "at": targets })
        })
        .collect();
    json!({
        "domain": config.archive.domain,
        "name": config.archive.name,
        "tenants": config.archive.tenants.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "default_class": config.archive.default_class.to_string(),
        "listen": config.listen.to_string(),
        "admin": config.admin.to_string(),
        "tls": {
            "certificate": path(&config.tls.certificate),
            "key": path(&config.tls.key),
            "ca": path(&config.tls.ca),
        },
        "has_database": config.database.is_some(),
        "objects": config.objects.as_deref().map(path),
        "data_dir": config.data_dir.as_deref().map(path),
        "calls": calls,
        "trust": config.trust.as_ref().map(|trust| json!({
            "keys": path(&trust.keys),
            "signs_agents": trust.agents_ca.is_some(),
        })),
    })
}
