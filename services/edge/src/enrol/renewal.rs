//! A running agent gets its next certificate in time, and uses it without a restart.

use std::{path::Path, sync::Arc, time::Duration};

use openarchive_domain::{Clock, Timestamp, random};
use openarchive_proto::ingest::v1::{RenewCertificateRequest, agent_service_client::AgentServiceClient};
use openarchive_rpc::RpcChannel;
use rcgen::PublicKeyData as _;
use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;
use tonic::Request;

use super::{
    CALL_DEADLINE, EnrolError, OwnCertificate, at, certificate_request, files, files::Secrecy, read_key,
};
use crate::{
    buffer::Buffer,
    sync::{AlarmKind, CoreAddress},
};

/// How often a renewal looks at the clock and at the files, and how long it waits after each try.
#[derive(Debug, Clone, Copy)]
pub struct RenewalPace {
    pub look: Duration,
    pub after_a_try: Duration,
}

impl Default for RenewalPace {
    fn default() -> Self {
        Self { look: Duration::from_mins(1), after_a_try: Duration::from_mins(10) }
    }
}

/// Keeps the certificate of [`CoreAddress`] fresh: same key, new certificate, replaced as a whole. One that somebody else
/// replaces is noticed, too.
pub struct Renewal {
    pub address: CoreAddress,
    pub buffer: Buffer,
    pub clock: Arc<dyn Clock>,
    /// Whoever calls the core takes its channel from here: each new certificate brings another one. Calls in hand end
    /// on theirs.
    pub channel: watch::Sender<RpcChannel>,
    pub pace: RenewalPace,
}

impl Renewal {
    /// Looks until `stopping`. Cancel-safe: a certificate that was issued and not written is issued again.
    pub async fn run(self, stopping: CancellationToken) {
        stopping.run_until_cancelled(self.work()).await;
    }

    async fn work(&self) {
        let spread = u16::from_be_bytes(random::bytes());
        let mut in_use = read(&self.address.certificate).await.ok();
        loop {
            sleep(self.pace.look).await;
            let found = match read(&self.address.certificate).await {
                Ok(found) => found,
                Err(error) => {
                    tracing::warn!(%error, "the agent's certificate cannot be read");
                    continue;
                }
            };
            let Some(own) = OwnCertificate::parse(&found) else { continue };
            if in_use.as_ref() != Some(&found) && self.reconnect() {
                in_use = Some(found);
            }
            if self.clock.now() < own.renew_at(spread) {
                continue;
            }
            match self.renew(&own).await {
                Ok(renewed) => {
                    tracing::info!(not_after = %renewed, "the agent's certificate is renewed");
                    if self.reconnect() {
                        in_use = read(&self.address.certificate).await.ok();
                    }
                    self.clear_alarm().await;
                }
                Err(error) => self.failed(&own, &error).await,
            }
            sleep(self.pace.after_a_try).await;
        }
    }

    /// Answers until when the new certificate is good. It is durable then.
    async fn renew(&self, own: &OwnCertificate) -> Result<Timestamp, EnrolError> {
        let key = read_key(&self.address.key)?;
        let mut request = Request::new(RenewCertificateRequest { csr: certificate_request(&key)?.into() });
        request.set_timeout(CALL_DEADLINE);
        let channel = self.channel.borrow().clone();
        let answer = AgentServiceClient::new(channel).renew_certificate(request).await.map_err(|status| {
            let why = status.message().chars().filter(|c| !c.is_control()).take(300).collect();
            EnrolError::Refused { code: status.code(), why }
        })?;
        let chain = answer.into_inner().certificate_chain;
        let new = OwnCertificate::parse(chain.as_bytes())
            .ok_or(EnrolError::Answer("it holds no agent's certificate"))?;
        if new.public_key != key.subject_public_key_info() {
            return Err(EnrolError::Answer("the certificate is for another key"));
        }
        if new.agent != own.agent {
            return Err(EnrolError::Answer("the certificate is another agent's"));
        }
        if new.not_after < own.not_after {
            return Err(EnrolError::Answer("the certificate ends before the one that it is to replace"));
        }
        let path = self.address.certificate.clone();
        let write = move || files::replace(&path, chain.as_bytes(), Secrecy::Public).map_err(at(&path));
        tokio::task::spawn_blocking(write)
            .await
            .map_err(|_| EnrolError::Answer("it could not be written: the task broke off"))??;
        Ok(new.not_after)
    }

    /// From now on calls go over connections with the certificate of the files.
    fn reconnect(&self) -> bool {
        match self.address.connect() {
            Ok(channel) => {
                self.channel.send_replace(channel);
                true
            }
            Err(error) => {
                tracing::warn!(%error, "the agent's certificate has changed and cannot be used; the earlier one stays in use");
                false
            }
        }
    }

    async fn failed(&self, own: &OwnCertificate, error: &EnrolError) {
        let now = self.clock.now();
        let remaining_hours = own.remaining(now).as_secs() / 3600;
        tracing::warn!(%error, remaining_hours, "the agent's certificate is not renewed; trying again");
        if now < own.alarm_at() {
            return;
        }
        let kind = AlarmKind::CertificateEnding;
        let detail = format!("the certificate ends at {} and is not renewed: {error}", own.not_after);
        if let Err(error) = self.buffer.raise_alarm(kind.as_str(), detail, now).await {
            tracing::error!(%error, %kind, "an alarm cannot be written");
        }
    }

    async fn clear_alarm(&self) {
        if let Err(error) = self.buffer.clear_alarm(AlarmKind::CertificateEnding.as_str()).await {
            tracing::error!(%error, "an alarm cannot be taken down");
        }
    }
}

async fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    tokio::fs::read(path).await
}
