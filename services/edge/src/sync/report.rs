//! Telling the core how far this agent has counted, and finding out that its own disk was rolled back.

use openarchive_proto::ingest::v1::ReportStatusRequest;

use super::{SyncWorker, alarm_kind::AlarmKind, error::SyncError};
use crate::{config::Intake, import::ImportLock};

impl SyncWorker {
    /// Asked at start before anything is sent, and from time to time. If the core knows a number that was never given
    /// out here, this disk was rolled back: from now on mail is counted in a new epoch.
    pub(super) async fn report(&self) -> Result<(), SyncError> {
        // Asked before the buffer is counted: mail of an import that ends meanwhile is in the count.
        let draining =
            self.options.intake == Intake::Draining && ImportLock::is_seen_free(self.buffer.data_dir()).await;
        let before = self.buffer.stats().await?;
        let answer = self
            .core
            .report(ReportStatusRequest {
                instance: self.buffer.instance().to_vec().into(),
                agent_epoch: before.agent_epoch,
                highest_seq: before.highest_seq,
                buffered_messages: before.messages,
                buffered_bytes: before.bytes,
                version: env!("CARGO_PKG_VERSION").to_owned(),
                draining,
            })
            .await?;
        self.counters.answered(self.clock.now());
        // Only the configured policy decides which log counts; the core's word is good for a hint.
        let (origin, key) = (self.trust.origin().to_string(), self.trust.key().to_string());
        let is_other = answer.origin != origin || answer.verifier_key != key;
        // A log that was never written to has no name yet.
        if is_other && !answer.origin.is_empty() {
            tracing::warn!(
                configured = key,
                "the core names another log or key than the log policy; receipts are checked against the policy"
            );
        }
        // Read again: mail that came meanwhile may have been committed already.
        let after = self.buffer.stats().await?;
        if after.agent_epoch == before.agent_epoch && answer.highest_seq > after.highest_seq {
            let detail = format!(
                "the core knows mail {} of epoch {}, but only {} were given out here: this disk was rolled back, and \
                 mail between may be lost; a new epoch was opened",
                answer.highest_seq, before.agent_epoch, after.highest_seq
            );
            tracing::error!(detail, "this agent's disk was rolled back");
            self.buffer.raise_alarm(AlarmKind::DiskRolledBack.as_str(), detail, self.clock.now()).await?;
            let epoch = u64::from_be_bytes(openarchive_domain::random::bytes());
            self.buffer.set_epoch(epoch).await?;
        }
        Ok(())
    }
}
