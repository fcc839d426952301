//! Reads the recorded configurations back: leaves, checkpoint and bodies, for whoever exports or verifies them.

use std::{collections::BTreeSet, time::Duration};

use anyhow::Context as _;
use openarchive_domain::Digest;
use openarchive_ledger::{checkpoint::Checkpoint, note::Verifier, policy::Policy};
use openarchive_operator_snapshot::{ConfigLog, LogLeaf, SNAPSHOT_BYTES_MAX, Snapshot};
use openarchive_proto::{
    storage::v1::{BlobKind, BlobRef, GetBlobRequest, storage_service_client::StorageServiceClient},
    trust::v1::{GetCheckpointRequest, GetInclusionProofsRequest, trust_service_client::TrustServiceClient},
};
use tonic::{Code, Request};

use super::{
    Core,
    dialler::failed,
    recorder::{ARCHIVE_WIDE, log, read_config_log, timed},
};

/// Trust signs the `config` log every half minute, and waits at most 45 s for that.
const PROOF_DEADLINE: Duration = Duration::from_secs(60);

/// What the archive has on record.
#[derive(Debug, Clone)]
pub struct History {
    /// Signed; covers every leaf that was there when the reading began.
    pub checkpoint_note: String,
    /// From 0 on; at least those that the checkpoint covers.
    pub leaves: Vec<LogLeaf>,
    pub log: ConfigLog,
    pub snapshots: Vec<Snapshot>,
    /// What the leaves record and the archive does not give back whole.
    pub missing: Vec<Digest>,
}

/// How far the reading is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Leaves,
    /// Waits for the next signature if the newest leaf has none yet.
    Checkpoint,
    Bodies {
        read: usize,
        of: usize,
    },
}

/// Reads everything that an export holds. `None`: nothing is recorded yet.
pub async fn read_history(core: &Core, mut progress: impl FnMut(Step)) -> anyhow::Result<Option<History>> {
    progress(Step::Leaves);
    let (mut log, mut leaves) = read_config_log(core).await?;
    let Some(last) = leaves.last().map(|leaf| leaf.index) else { return Ok(None) };
    progress(Step::Checkpoint);
    let checkpoint_note = checkpoint_over(core, last).await?;
    let (checkpoint, _) =
        Checkpoint::parse_signed(&checkpoint_note).context("trust answered no checkpoint")?;
    if checkpoint.size > leaves.len() as u64 {
        // Others were appended meanwhile.
        (log, leaves) = read_config_log(core).await?;
    }
    let recorded: BTreeSet<Digest> =
        log.subjects().flat_map(|subject| log.of(subject)).map(|recorded| recorded.leaf.sha256).collect();
    let mut history = History { checkpoint_note, leaves, log, snapshots: Vec::new(), missing: Vec::new() };
    for (read, digest) in recorded.iter().enumerate() {
        progress(Step::Bodies { read, of: recorded.len() });
        match read_snapshot(core, digest).await? {
            Some(snapshot) => history.snapshots.push(snapshot),
            None => history.missing.push(*digest),
        }
    }
    Ok(Some(history))
}

/// The key of the `config` log as a C2SP tlog-policy, as the archive itself gives it: whoever keeps it can tell later whether an
/// export was signed by this archive.
pub async fn read_log_policy(core: &Core) -> anyhow::Result<String> {
    let (_, leaves) = read_config_log(core).await?;
    let last = leaves.last().context("the archive has recorded no configuration yet")?;
    // A log that is new has no checkpoint yet.
    checkpoint_over(core, last.index).await?;
    let request = GetCheckpointRequest { log: Some(log()) };
    let answer = TrustServiceClient::new(core.trust.clone()).get_checkpoint(timed(request)).await;
    let answer = match answer {
        Ok(answer) => answer.into_inner(),
        Err(status) => return Err(failed("trust gives no checkpoint of the config log", &status)),
    };
    let key: Verifier = answer.verifier_key.parse().context("trust answered no key")?;
    String::from_utf8(Policy::of_logs(vec![key]).to_text()).context("the policy is no text")
}

async fn checkpoint_over(core: &Core, index: u64) -> anyhow::Result<String> {
    let mut request = Request::new(GetInclusionProofsRequest { log: Some(log()), indices: vec![index] });
    request.set_timeout(PROOF_DEADLINE);
    let answer = TrustServiceClient::new(core.trust.clone()).get_inclusion_proofs(request).await;
    match answer {
        Ok(answer) => Ok(answer.into_inner().checkpoint_note),
        Err(status) => Err(failed("trust gives no checkpoint over the newest configuration", &status)),
    }
}

/// `None`: the archive has it no more, or not as it was.
async fn read_snapshot(core: &Core, digest: &Digest) -> anyhow::Result<Option<Snapshot>> {
    let blob = BlobRef { kind: BlobKind::Config.into(), digest: digest.as_bytes().to_vec().into() };
    let request = GetBlobRequest { tenant: ARCHIVE_WIDE.to_owned(), blob: Some(blob), class: String::new() };
    let answer = StorageServiceClient::new(core.storage.clone()).get_blob(timed(request)).await;
    let lost = |status: &tonic::Status| matches!(status.code(), Code::NotFound | Code::DataLoss);
    let unread = |status: &tonic::Status| failed("storage cannot give a configuration back", status);
    let mut chunks = match answer {
        Ok(answer) => answer.into_inner(),
        Err(status) if lost(&status) => return Ok(None),
        Err(status) => return Err(unread(&status)),
    };
    let mut body = Vec::new();
    loop {
        match chunks.message().await {
            Ok(Some(part)) => body.extend_from_slice(&part.chunk),
            Ok(None) => break,
            Err(status) if lost(&status) => return Ok(None),
            Err(status) => return Err(unread(&status)),
        }
        if body.len() > SNAPSHOT_BYTES_MAX {
            return Ok(None);
        }
    }
    let snapshot = std::str::from_utf8(&body).ok().and_then(|text| Snapshot::parse(text).ok());
    Ok(snapshot.filter(|snapshot| snapshot.digest() == *digest))
}
