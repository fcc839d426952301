//! What an agent's buffer says about it, whether it runs or not.

use std::fmt;

use openarchive_domain::Timestamp;
use serde::Serialize;

use crate::{
    buffer::{Alarm, Buffer, BufferError, Stats},
    config::Intake,
};

/// Shape of `openarchive-edge status -o json`. Numbers that may exceed 2^53 are strings.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    pub instance: String,
    pub agent_epoch: String,
    pub highest_seq: String,
    pub buffered_messages: u64,
    pub buffered_bytes: u64,
    pub high_water_bytes: u64,
    /// The configuration says that no new mail is taken: from the agent's next start on. Whether the running agent takes none
    /// is in `sync`.
    pub draining: bool,
    /// When the oldest mail still here was accepted.
    pub oldest_pending: Option<String>,
    pub oldest_pending_seconds: Option<i64>,
    pub last_receipt_index: Option<String>,
    pub alarms: Vec<Alarm>,
    /// Counted since the running agent, or the last one that ran, was started (see `sync::SyncStats`); `draining`: it takes, or
    /// took, no new mail.
    pub sync: Option<serde_json::Value>,
}

impl Status {
    pub async fn of(
        buffer: &Buffer,
        intake: Intake,
        now: Timestamp,
        sync: Option<serde_json::Value>,
    ) -> Result<Self, BufferError> {
        let Stats { messages, bytes, agent_epoch, highest_seq, oldest_pending } = buffer.stats().await?;
        Ok(Self {
            instance: hex::encode(buffer.instance()),
            agent_epoch: agent_epoch.to_string(),
            highest_seq: highest_seq.to_string(),
            buffered_messages: messages,
            buffered_bytes: bytes,
            high_water_bytes: buffer.high_water_bytes(),
            draining: intake == Intake::Draining,
            oldest_pending: oldest_pending.map(|time| time.to_string()),
            oldest_pending_seconds: oldest_pending.map(|time| (now.as_millis() - time.as_millis()) / 1000),
            last_receipt_index: buffer.last_leaf_index().await?.map(|index| index.to_string()),
            alarms: buffer.alarms().await?,
            sync,
        })
    }
}

/// For people.
impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes as f64 / (1024.0 * 1024.0);
        let percent = self.buffered_bytes as f64 * 100.0 / self.high_water_bytes as f64;
        writeln!(f, "instance         {}", self.instance)?;
        writeln!(f, "agent epoch      {}", self.agent_epoch)?;
        writeln!(f, "accepted         {} mails in this epoch", self.highest_seq)?;
        writeln!(
            f,
            "buffered         {} mails, {:.1} MiB ({percent:.0} % of the high-water mark of {:.0} MiB)",
            self.buffered_messages,
            mib(self.buffered_bytes),
            mib(self.high_water_bytes)
        )?;
        let in_force = self.sync.as_ref().and_then(|sync| sync["draining"].as_bool()).unwrap_or(false);
        match (self.draining, in_force) {
            (true, true) => writeln!(f, "new mail         none is taken: `drain` is set")?,
            (true, false) => {
                writeln!(f, "new mail         `drain` is set: in force after a restart of the agent")?;
            }
            (false, true) => {
                writeln!(
                    f,
                    "new mail         none is taken until a restart of the agent: `drain` was set at its start"
                )?;
            }
            (false, false) => {}
        }
        match (&self.oldest_pending, self.oldest_pending_seconds) {
            (Some(time), Some(seconds)) => writeln!(f, "oldest waiting   since {time} ({seconds} s)")?,
            _ => writeln!(f, "oldest waiting   none, all is archived")?,
        }
        let last = self.last_receipt_index.as_deref().unwrap_or("none yet");
        writeln!(f, "last receipt     {last}")?;
        let state = self.sync.as_ref().and_then(|sync| sync["state"].as_str()).unwrap_or("not started yet");
        writeln!(f, "sync             {state}")?;
        if self.alarms.is_empty() {
            return writeln!(f, "alarms           none");
        }
        for alarm in &self.alarms {
            writeln!(f, "ALARM            {} since {}: {}", alarm.kind, alarm.first_at, alarm.detail)?;
        }
        Ok(())
    }
}
