//! An agent in this process.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use openarchive_domain::{FixedClock, Timestamp};
use openarchive_edge::{
    agent::Agent,
    buffer::{Buffered, KnownCheckpoint, MessageId, Prune},
    config::{CertificateSource, Config, Intake, Limits, ListenerConfig},
    content::Content,
    smtp::{
        Peer, PeerLimits,
        session::{Protocol, StartTls},
    },
};
use openarchive_mail::journal::JournalMode;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::client::{Client, HOSTNAME};

pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

pub(crate) struct Edge {
    pub(crate) runtime: Runtime,
    agent: Option<Agent>,
    pub(crate) address: SocketAddr,
    pub(crate) folder: TempDir,
}

pub(crate) fn peer(cidr: &str, mode: JournalMode) -> Peer {
    Peer { cidrs: vec![cidr.parse().unwrap()], mode, limits: PeerLimits::default() }
}

/// One listener on a free port for this machine, in mode plain.
pub(crate) fn config(data_dir: PathBuf) -> Config {
    Config {
        data_dir,
        hostname: HOSTNAME.to_owned(),
        core: None,
        listeners: vec![ListenerConfig {
            name: "journal".to_owned(),
            address: "127.0.0.1:0".parse().unwrap(),
            protocol: Protocol::Smtp,
            start_tls: StartTls::Offered,
            certificate: CertificateSource::SelfSigned,
            peers: vec![peer("127.0.0.0/8", JournalMode::Plain)],
        }],
        high_water_bytes: 1 << 30,
        limits: Limits::default(),
        intake: Intake::Open,
        admin: None,
    }
}

impl Edge {
    pub(crate) fn start(change: impl FnOnce(&mut Config)) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(folder.path().to_owned());
        change(&mut config);
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let agent = runtime.block_on(Agent::start(config, Arc::new(FixedClock::at(NOW)))).unwrap();
        let address = agent.listening()[0].address;
        Self { runtime, agent: Some(agent), address, folder }
    }

    pub(crate) fn client(&self) -> Client {
        Client::ready(self.address)
    }

    pub(crate) fn agent(&self) -> &Agent {
        self.agent.as_ref().unwrap()
    }

    pub(crate) fn stop(&mut self) {
        let agent = self.agent.take().unwrap();
        self.runtime.block_on(agent.stop());
    }

    pub(crate) fn pending(&self) -> Vec<Buffered> {
        self.runtime.block_on(self.agent().buffer().pending(MessageId::START, 100_000)).unwrap()
    }

    /// The bytes of the only mail in the buffer.
    pub(crate) fn only_mail(&self) -> (Buffered, Vec<u8>) {
        let pending = self.pending();
        assert_eq!(pending.len(), 1);
        let content = self.runtime.block_on(self.agent().buffer().rebuild(&pending[0])).unwrap();
        (pending[0].clone(), bytes_of(&content))
    }

    /// As if the archive had proved to have everything.
    pub(crate) fn drain(&self) {
        let prune = |m: Buffered| Prune { id: m.id, leaf_index: m.seat.seq, receipt: "receipt".to_owned() };
        let verified = self.pending().into_iter().map(prune).collect();
        let checkpoint = KnownCheckpoint { origin: "o".to_owned(), note: "n".to_owned() };
        self.runtime.block_on(self.agent().buffer().prune(verified, checkpoint, NOW)).unwrap();
    }
}

pub(crate) fn bytes_of(content: &Content) -> Vec<u8> {
    let mut bytes = Vec::new();
    content
        .read(1 << 20, |piece| {
            bytes.extend_from_slice(piece);
            std::io::Result::Ok(())
        })
        .unwrap();
    bytes
}
