//! From the checkpoint that was kept to the one that a receipt rests on: the log must have grown, and nothing else.

use openarchive_ledger::{agent_check::check_growth, checkpoint::Checkpoint};

use super::{
    SyncWorker,
    alarm_kind::AlarmKind,
    core_calls::CONSISTENCY,
    error::{Lie, SyncError},
    proof::{SignedCheckpoint, suspect},
};

impl SyncWorker {
    /// Follows the log from the kept checkpoint through all of `checkpoints` (smallest first), each step with its
    /// consistency proof. Answers the last one; `None` if there is none at all.
    pub(super) async fn follow_growth(
        &self,
        checkpoints: Vec<SignedCheckpoint>,
    ) -> Result<Option<SignedCheckpoint>, SyncError> {
        let mut known = self.kept_checkpoint().await?;
        let mut last = None;
        for new in checkpoints {
            let hashes = match &known {
                // Everything follows from nothing, and equal trees need no proof.
                Some(old) if old.size > 0 && old.size < new.checkpoint.size => self
                    .core
                    .consistency(old.size, new.checkpoint.size)
                    .await
                    .map_err(|error| self.unproved(error, &new))?,
                _ => Vec::new(),
            };
            check_growth(known.as_ref(), &new.checkpoint, &hashes).map_err(|error| Lie {
                kind: error.into(),
                detail: error.to_string(),
                suspect: Some(suspect(&self.trust, new.note.clone())),
            })?;
            known = Some(new.checkpoint.clone());
            last = Some(new);
        }
        Ok(last)
    }

    async fn kept_checkpoint(&self) -> Result<Option<Checkpoint>, SyncError> {
        let origin = self.trust.origin().to_string();
        let Some(note) = self.buffer.checkpoint(&origin).await? else { return Ok(None) };
        match Checkpoint::parse_signed(&note) {
            Ok((checkpoint, _)) => Ok(Some(checkpoint)),
            Err(_) => Err(SyncError::KeptCheckpoint { origin }),
        }
    }

    /// A core that answers, but will not show how its log grew, is as good as one that cannot.
    fn unproved(&self, error: SyncError, new: &SignedCheckpoint) -> SyncError {
        let is_unable = match &error {
            SyncError::Call(call) => call.is_unable(),
            SyncError::Answer { .. } => true,
            _ => false,
        };
        if !is_unable {
            return error;
        }
        SyncError::Lie(Lie {
            kind: AlarmKind::LogGrowthUnproved,
            detail: format!(
                "no usable answer to {CONSISTENCY} up to {} leaves: {error}",
                new.checkpoint.size
            ),
            suspect: Some(suspect(&self.trust, new.note.clone())),
        })
    }
}
