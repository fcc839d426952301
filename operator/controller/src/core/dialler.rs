use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    str::FromStr,
    sync::{Mutex, PoisonError},
};

use anyhow::Context as _;
use openarchive_operator_pki::SecretData;
use openarchive_rpc::{Pace, ReloadingTls, RpcChannel, Target, TlsFiles, connect};

/// Environment variable: `HOST:PORT=HOST:PORT`, several with commas. What is called at the first is reached at the second,
/// under the first one's name. For tests and for an operator outside the cluster.
pub const DIAL_OVERRIDE: &str = "OPENARCHIVE_DIAL_OVERRIDE";

/// Where to reach what, instead of by its name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DialOverrides(BTreeMap<String, (String, u16)>);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{DIAL_OVERRIDE}: {0:?} is not HOST:PORT=HOST:PORT")]
pub struct OverrideError(String);

impl FromStr for DialOverrides {
    type Err = OverrideError;

    fn from_str(text: &str) -> Result<Self, OverrideError> {
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        let read = |entry: &str| {
            let bad = || OverrideError(entry.to_owned());
            let (from, to) = entry.split_once('=').ok_or_else(bad)?;
            let _: Target = from.parse().map_err(|_| bad())?;
            let (host, port) = to.rsplit_once(':').ok_or_else(bad)?;
            let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(bad)?;
            Ok((from.to_owned(), (host.to_owned(), port)))
        };
        Ok(Self(entries.map(read).collect::<Result<_, _>>()?))
    }
}

/// Channels to the services of one archive.
#[derive(Clone)]
pub struct Core {
    pub trust: RpcChannel,
    pub storage: RpcChannel,
    pub ingest: RpcChannel,
}

/// Makes the channels of each archive once, and keeps them while its certificate and addresses stay.
pub struct Dialler {
    /// Mode 0700; the operator's keys lie there while it runs, because certificates are read again from files.
    folder: PathBuf,
    overrides: DialOverrides,
    cores: Mutex<HashMap<String, Known>>,
}

struct Known {
    credentials: SecretData,
    addresses: [String; 3],
    core: Core,
}

impl Dialler {
    /// `folder` must be the operator's own.
    pub fn new(folder: &Path, overrides: DialOverrides) -> io::Result<Self> {
        fs::DirBuilder::new().mode(0o700).recursive(true).create(folder)?;
        Ok(Self { folder: folder.to_owned(), overrides, cores: Mutex::default() })
    }

    /// Channels to trust, storage and ingest at `addresses` (`HOST:PORT`), with the leaf in `credentials`. Nothing is
    /// connected yet when it answers.
    pub fn core(
        &self,
        archive: &str,
        credentials: &SecretData,
        addresses: [String; 3],
    ) -> anyhow::Result<Core> {
        let mut cores = self.cores.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = cores.get(archive)
            && known.credentials == *credentials
            && known.addresses == addresses
        {
            return Ok(known.core.clone());
        }
        let tls = ReloadingTls::load(&self.store(archive, credentials)?)?;
        let channel = |address: &String| {
            Ok::<_, anyhow::Error>(connect(&[self.target(address)?], tls.clone(), Pace::NEAR))
        };
        let [trust, storage, ingest] = &addresses;
        let core = Core { trust: channel(trust)?, storage: channel(storage)?, ingest: channel(ingest)? };
        cores.insert(
            archive.to_owned(),
            Known { credentials: credentials.clone(), addresses, core: core.clone() },
        );
        Ok(core)
    }

    /// Where `address` (`HOST:PORT`) is reached: for calls without a certificate.
    pub(crate) fn reached_at(&self, address: &str) -> String {
        self.overrides
            .0
            .get(address)
            .map_or_else(|| address.to_owned(), |(host, port)| format!("{host}:{port}"))
    }

    fn target(&self, address: &str) -> anyhow::Result<Target> {
        let target: Target = address.parse()?;
        Ok(match self.overrides.0.get(address) {
            Some((host, port)) => target.reached_at(host, *port),
            None => target,
        })
    }

    fn store(&self, archive: &str, credentials: &SecretData) -> anyhow::Result<TlsFiles> {
        let folder = self.folder.join(archive.replace('/', "_"));
        fs::DirBuilder::new().mode(0o700).recursive(true).create(&folder)?;
        let file = |key: &str| -> anyhow::Result<PathBuf> {
            let content =
                credentials.get(key).with_context(|| format!("the operator's certificate lacks {key}"))?;
            let path = folder.join(key);
            let new = folder.join(format!("{key}.new"));
            let mut file =
                fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&new)?;
            file.write_all(content)?;
            fs::rename(&new, &path)?;
            Ok(path)
        };
        Ok(TlsFiles { certificate: file("tls.crt")?, key: file("tls.key")?, authorities: file("ca.crt")? })
    }
}

/// Keeps the error that a call ended with, without what it carried.
pub(super) fn failed(what: &str, status: &tonic::Status) -> anyhow::Error {
    anyhow::anyhow!("{what}: {:?}: {}", status.code(), status.message())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overrides_are_read_or_refused_by_name() {
        let read: DialOverrides = "a.b.svc:9443=127.0.0.1:4000, c:1=[::1]:2".parse().unwrap();
        assert_eq!(read.0["a.b.svc:9443"], ("127.0.0.1".to_owned(), 4000));
        assert_eq!(read.0.len(), 2);
        assert_eq!("".parse::<DialOverrides>(), Ok(DialOverrides::default()));
        for bad in ["a", "a:1", "a:1=b", "a:1=b:0", "a=b:1", "a:1=b:x"] {
            assert_eq!(bad.parse::<DialOverrides>(), Err(OverrideError(bad.to_owned())));
        }
    }
}
