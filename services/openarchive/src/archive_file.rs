//! `archive.yaml`: what an archive is, in its data folder, where every command looks.

use std::{fs, path::Path};

use anyhow::{Context, bail};
use openarchive_domain::{RetentionClass, Tenant};
use serde::{Deserialize, Serialize};

use crate::{
    config::ArchiveConfig,
    layout::{Secrecy, write_file},
};

const DOMAIN_DEFAULT: &str = "archive.localhost";
const TENANT_DEFAULT: &str = "default";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    domain: String,
    name: String,
    tenants: Vec<String>,
    retention: WrittenRetention,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrittenRetention {
    default: String,
}

/// The archive's identity and its default retention.
#[derive(Debug, Clone)]
pub(crate) struct ArchiveFile {
    pub(crate) domain: String,
    pub(crate) name: String,
    pub(crate) tenants: Vec<Tenant>,
    pub(crate) default_class: RetentionClass,
}

impl ArchiveFile {
    /// Reads `DIR/archive.yaml`; at first start writes it from what was asked. Later starts may not ask for another
    /// domain: log origins and certificates name it. Tenants may be added, never removed.
    pub(crate) fn open_or_create(
        root: &Path,
        domain: Option<&str>,
        tenants: &[Tenant],
    ) -> anyhow::Result<Self> {
        let path = root.join("archive.yaml");
        if !path.is_file() {
            let mut names: Vec<String> = tenants.iter().map(ToString::to_string).collect();
            if names.is_empty() {
                names.push(TENANT_DEFAULT.to_owned());
            }
            write(&path, domain.unwrap_or(DOMAIN_DEFAULT), "main", names, RetentionClass::DEFAULT)?;
        }
        let file = Self::open(root)?;
        if let Some(asked) = domain
            && asked != file.domain
        {
            bail!("{}: the domain is {} and cannot become {asked}", path.display(), file.domain);
        }
        if let Some(missing) = tenants.iter().find(|tenant| !file.tenants.contains(tenant)) {
            bail!("{}: tenant {missing} is not listed: add it to `tenants` and start again", path.display());
        }
        Ok(file)
    }

    /// Takes what the configuration of `openarchive all` says into `DIR/archive.yaml`. Domain and name of an archive never
    /// change, and no tenant is ever removed; tenants may be added, and the default class of later mail may change.
    pub(crate) fn adopt(root: &Path, config: &ArchiveConfig) -> anyhow::Result<Self> {
        let path = root.join("archive.yaml");
        if path.is_file() {
            let standing = Self::open(root)?;
            for (key, before, now) in
                [("domain", &standing.domain, &config.domain), ("name", &standing.name, &config.name)]
            {
                if before != now {
                    bail!("archive.{key}: it is {before} in {} and cannot become {now}", path.display());
                }
            }
            if let Some(gone) = standing.tenants.iter().find(|tenant| !config.tenants.contains(tenant)) {
                bail!(
                    "archive.tenants: {gone} is missing: a tenant may be added, never removed, because its mail is \
                     kept; list it again"
                );
            }
            if standing.tenants == config.tenants && standing.default_class == config.default_class {
                return Ok(standing);
            }
        }
        let tenants = config.tenants.iter().map(ToString::to_string).collect();
        write(&path, &config.domain, &config.name, tenants, config.default_class)?;
        Self::open(root)
    }

    /// Reads and checks `DIR/archive.yaml`.
    pub(crate) fn open(root: &Path) -> anyhow::Result<Self> {
        let path = root.join("archive.yaml");
        let text = fs::read_to_string(&path).with_context(|| {
            format!("cannot read {}: is {} an archive's data folder?", path.display(), root.display())
        })?;
        let written: Written = serde_saphyr::from_str(&text).with_context(|| path.display().to_string())?;
        let tenants = written.tenants.iter().map(|name| name.parse()).collect::<Result<Vec<Tenant>, _>>();
        let file = Self {
            tenants: tenants.with_context(|| format!("{}: tenants", path.display()))?,
            default_class: written
                .retention
                .default
                .parse()
                .with_context(|| format!("{}: retention.default", path.display()))?,
            domain: written.domain,
            name: written.name,
        };
        if file.tenants.is_empty() {
            bail!("{}: tenants: at least one is needed", path.display());
        }
        Ok(file)
    }
}

fn write(
    path: &Path,
    domain: &str,
    name: &str,
    tenants: Vec<String>,
    default: RetentionClass,
) -> anyhow::Result<()> {
    let written = Written {
        domain: domain.to_owned(),
        name: name.to_owned(),
        tenants,
        retention: WrittenRetention { default: default.to_string() },
    };
    let text = serde_saphyr::to_string(&written).context("cannot write archive.yaml")?;
    write_file(path, text.as_bytes(), Secrecy::Public)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_may_add_tenants_and_change_the_default_class_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let config = |domain: &str, name: &str, tenants: &[&str], class: &str| ArchiveConfig {
            domain: domain.to_owned(),
            name: name.to_owned(),
            tenants: tenants.iter().map(|tenant| tenant.parse().unwrap()).collect(),
            default_class: class.parse().unwrap(),
        };
        let (ten, two) = ("10y-received-forbidden", "2y-received-forbidden");
        let adopt = |config: &ArchiveConfig| ArchiveFile::adopt(dir.path(), config);
        adopt(&config("a.example", "main", &["acme"], ten)).unwrap();
        let grown = adopt(&config("a.example", "main", &["other", "acme"], two)).unwrap();
        assert_eq!(grown.tenants.len(), 2);
        assert_eq!(grown.default_class.to_string(), two);
        assert_eq!(ArchiveFile::open(dir.path()).unwrap().tenants, grown.tenants);
        for (bad, says) in [
            (config("b.example", "main", &["acme", "other"], ten), "archive.domain: it is a.example in"),
            (config("a.example", "second", &["acme", "other"], ten), "archive.name: it is main in"),
            (config("a.example", "main", &["other"], ten), "archive.tenants: acme is missing"),
        ] {
            let refused = adopt(&bad).unwrap_err().to_string();
            assert!(refused.starts_with(says), "{refused}");
        }
        assert_eq!(ArchiveFile::open(dir.path()).unwrap().default_class.to_string(), two);
    }

    #[test]
    fn the_first_start_fixes_the_domain_and_a_wrong_file_is_refused_with_its_key() {
        let dir = tempfile::tempdir().unwrap();
        let first = ArchiveFile::open_or_create(dir.path(), Some("example.org"), &[]).unwrap();
        assert_eq!((first.domain.as_str(), first.tenants[0].as_str()), ("example.org", "default"));
        assert!(ArchiveFile::open_or_create(dir.path(), Some("example.com"), &[]).is_err());
        let acme = "acme".parse().unwrap();
        assert!(ArchiveFile::open_or_create(dir.path(), None, &[acme]).is_err());
        for (from, to) in
            [("tenants:", "tenant:"), ("10y-received-forbidden", "ten years"), ("default\n", "De fault\n")]
        {
            let path = dir.path().join("archive.yaml");
            let good = fs::read_to_string(&path).unwrap();
            assert!(good.contains(from), "{good}");
            fs::write(&path, good.replace(from, to)).unwrap();
            assert!(ArchiveFile::open(dir.path()).is_err(), "{to}");
            fs::write(&path, good).unwrap();
        }
    }
}
