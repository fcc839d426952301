//! Secrets of profile Distributed beside certificates. Keys and passwords are made once and never in place of others: what was
//! encrypted under a key is lost with it. What only people can give is looked for before anything names it.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{Api, ResourceExt, api::PostParams};
use openarchive_operator_api::FIELD_MANAGER;
use openarchive_topology::Role;

use super::{
    ValidArchive,
    audit::History,
    build::Names,
    validate::{Distributed, Shape},
};
use crate::{Context, Halt, Reason, objects::named};

/// Component and name's end of the Secret with the keys of the archive, and what it holds: what trust reads in its folder of keys.
const KEYS: &str = "keys";
const KEYS_HELD: [&str; 2] = ["kek", "log-seed"];
/// Component and name's end of the Secret with the passwords that the migrate Job gives to the database's roles.
const PASSWORDS: &str = "database-passwords";
/// The key of a Secret that holds the database's URL.
const URL: &str = "url";
/// Of a key, and of a password before it is written as hex digits.
const SECRET_BYTES: usize = 32;
/// Nothing tells the operator that a Secret of somebody else was made.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(15);

/// As they are to stand, before any object that names them. Empty for profile Standalone, which makes its own.
pub(super) async fn given_secrets(
    context: &Context,
    archive: &ValidArchive,
    live: &[Secret],
    history: &History,
) -> Result<Vec<Secret>, Halt> {
    let Shape::Distributed(spec) = &archive.shape else { return Ok(Vec::new()) };
    let admin = admin_url(context, archive, spec).await?;
    exists(context, archive, &spec.object_store.secret_ref.name, "spec.objectStore.secretRef").await?;
    if let Some(search) = spec.search.as_ref().and_then(|search| search.elasticsearch.secret_ref.as_ref()) {
        exists(context, archive, &search.name, "spec.search.elasticsearch.secretRef").await?;
    }
    let roles: Vec<_> = spec.services.iter().map(|(role, _)| *role).filter(|role| logs_in(*role)).collect();
    let users: Vec<_> = roles.iter().map(|role| user(*role)).collect();
    let users: Vec<_> = users.iter().map(String::as_str).collect();
    let once = Once { context, archive, live, history };
    let keys = once.made(KEYS, &KEYS_HELD).await?;
    let passwords = once.made(PASSWORDS, &users).await?;
    let mut secrets = Vec::new();
    for role in roles {
        let password = value(&passwords, &user(role)).unwrap_or_default();
        let url = url_of(&admin, &user(role), password).ok_or_else(|| unfit(spec))?;
        let names = Names(archive);
        secrets.push(Secret {
            metadata: names.owned(names.of(&format!("{}-database", role.name())), role.name()),
            data: Some(BTreeMap::from([(URL.to_owned(), ByteString(url.into_bytes()))])),
            ..Secret::default()
        });
    }
    secrets.extend([keys, passwords]);
    Ok(secrets)
}

/// Whether the service has a role in the database.
pub(super) const fn logs_in(role: Role) -> bool {
    !matches!(role, Role::Index | Role::Operator)
}

/// As the archive's schema names it.
fn user(role: Role) -> String {
    format!("openarchive_{}", role.name())
}

fn missing(name: &str, field: &str) -> Halt {
    let message = format!("waits for Secret {name}, which {field} names: make it, or correct the name");
    Halt::waiting(Reason::ReferenceNotFound, message, LOOK_AGAIN_AFTER)
}

async fn exists(context: &Context, archive: &ValidArchive, name: &str, field: &str) -> Result<(), Halt> {
    let api: Api<Secret> = Api::namespaced(context.client.clone(), &archive.namespace);
    let found = api.get_metadata_opt(name).await;
    let found = found.map_err(|error| Halt::kubernetes(format!("get Secret {name}"), error))?;
    found.map(|_| ()).ok_or_else(|| missing(name, field))
}

async fn admin_url(context: &Context, archive: &ValidArchive, spec: &Distributed) -> Result<String, Halt> {
    let name = &spec.database.admin_secret_ref.name;
    let api: Api<Secret> = Api::namespaced(context.client.clone(), &archive.namespace);
    let found = api.get_opt(name).await;
    let found = found.map_err(|error| Halt::kubernetes(format!("get Secret {name}"), error))?;
    let found = found.ok_or_else(|| missing(name, "spec.database.adminSecretRef"))?;
    value(&found, URL).map(|url| url.trim().to_owned()).ok_or_else(|| unfit(spec))
}

/// Nothing of what the Secret holds is repeated.
fn unfit(spec: &Distributed) -> Halt {
    let message = format!(
        "waits for key {URL} of Secret {}, which spec.database.adminSecretRef names, to be \
         postgres://OWNER:PASSWORD@HOST:PORT/DATABASE, without user or password among its parameters",
        spec.database.admin_secret_ref.name
    );
    Halt::waiting(Reason::ReferenceNotFound, message, LOOK_AGAIN_AFTER)
}

fn value<'a>(secret: &'a Secret, key: &str) -> Option<&'a str> {
    std::str::from_utf8(&secret.data.as_ref()?.get(key)?.0).ok()
}

/// The database of `admin` for another user. `None`: it is no such URL.
fn url_of(admin: &str, user: &str, password: &str) -> Option<String> {
    let (scheme, rest) =
        admin.split_once("://").filter(|(scheme, _)| matches!(*scheme, "postgres" | "postgresql"))?;
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let parameters = path.split_once('?').map_or("", |(_, parameters)| parameters);
    let tells = |parameter: &str| matches!(parameter.split('=').next(), Some("user" | "password"));
    // A password with an unquoted slash would end in the path.
    let is_whole = !path.split('?').next().is_some_and(|path| path.contains('@'));
    let is_fit = is_whole && !host.is_empty() && !parameters.split('&').any(tells);
    is_fit.then(|| format!("{scheme}://{user}:{password}@{host}{path}"))
}

/// Secrets that are made once.
struct Once<'a> {
    context: &'a Context,
    archive: &'a ValidArchive,
    live: &'a [Secret],
    history: &'a History,
}

impl Once<'_> {
    /// The Secret, with a random value of each key. It has no owner, and nobody can change it.
    async fn made(&self, component: &'static str, keys: &[&str]) -> Result<Secret, Halt> {
        let names = Names(self.archive);
        let name = names.of(component);
        let as_it_stands = |secret: &Secret| Secret {
            metadata: names.kept(name.clone(), component),
            data: secret.data.clone(),
            immutable: Some(true),
            ..Secret::default()
        };
        if let Some(found) = named(self.live, &name) {
            return match keys.iter().find(|key| value(found, key).is_none_or(str::is_empty)) {
                None => Ok(as_it_stands(found)),
                Some(key) => Err(lost(&format!("Secret {name} lacks {key}"))),
            };
        }
        // Also by an archive of this name that was there before: what it stored is there still.
        if self.history.ever_had("Secret", &name) {
            return Err(lost(&format!("Secret {name} is gone")));
        }
        let mut data = BTreeMap::new();
        for key in keys {
            data.insert((*key).to_owned(), ByteString(random()?.into_bytes()));
        }
        let secret = as_it_stands(&Secret { data: Some(data), ..Secret::default() });
        let api: Api<Secret> = Api::namespaced(self.context.client.clone(), &self.archive.namespace);
        let parameters =
            PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        // Created and never applied over one that another operator made meanwhile.
        let stored = api.create(&parameters, &secret).await;
        stored.map_err(|error| Halt::kubernetes(format!("store Secret {}", secret.name_any()), error))?;
        tracing::info!(archive = self.archive.name, secret = secret.name_any(), "made: back it up");
        Ok(secret)
    }
}

fn lost(what: &str) -> Halt {
    let message = format!(
        "{what}: it was made once and another one would open nothing that is stored: restore it from its backup"
    );
    Halt::terminal(Reason::ReferenceNotFound, message)
}

/// In hex digits.
fn random() -> Result<String, Halt> {
    let mut bytes = [0; SECRET_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| Halt::Transient {
        reason: Reason::KubernetesApi,
        what: "the system gives no random bytes".to_owned(),
        source: anyhow::anyhow!("{error}"),
    })?;
    Ok(hex::encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_reaches_the_database_of_the_owner_and_knows_nothing_of_him() {
        let check = |admin: &str, expected: Option<&str>| {
            assert_eq!(url_of(admin, "openarchive_trust", "f00d").as_deref(), expected, "{admin}");
        };
        let whole = "postgres://openarchive_trust:f00d@db.svc:5432/mail?sslmode=verify-full";
        check("postgres://owner:secret@db.svc:5432/mail?sslmode=verify-full", Some(whole));
        check("postgres://owner:s@cret@db.svc/mail", Some("postgres://openarchive_trust:f00d@db.svc/mail"));
        check("postgresql://db.svc/mail", Some("postgresql://openarchive_trust:f00d@db.svc/mail"));
        check("postgres://owner:secret@db.svc", Some("postgres://openarchive_trust:f00d@db.svc"));
        check("postgres://owner:secret@/mail", None);
        check("postgres://owner:pa/ss@db.svc/mail", None);
        check("postgres://db.svc/mail?user=owner&password=secret", None);
        check("mysql://owner:secret@db.svc/mail", None);
        check("db.svc", None);
    }
}
