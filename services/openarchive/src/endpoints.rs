//! `endpoints.json`: where a running archive is reached. Written at start, removed at a clean stop.

use std::{fs, net::SocketAddr};

use serde::Serialize;

use crate::layout::{DataDir, Secrecy, write_file};

#[derive(Debug, Serialize)]
pub(crate) struct Endpoints {
    /// REST, https.
    pub(crate) gateway: String,
    /// gRPC for agents, mTLS.
    pub(crate) ingest: String,
    /// SMTP of the agent beside the core, if it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) smtp: Option<SocketAddr>,
    /// Probes and metrics, plain HTTP, if they are answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) admin: Option<SocketAddr>,
    pub(crate) pid: u32,
}

impl Endpoints {
    pub(crate) fn write(&self, data: &DataDir) -> anyhow::Result<()> {
        write_file(&data.endpoints(), &serde_json::to_vec_pretty(self)?, Secrecy::Public)
    }
}

pub(crate) fn remove(data: &DataDir) {
    // A leftover does no harm: the next start writes it anew.
    let _ = fs::remove_file(data.endpoints());
}
