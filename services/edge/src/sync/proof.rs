//! Whether receipts hold, against what this agent knows itself. Pure: nothing here asks the core or the disk.

use std::collections::BTreeMap;

use openarchive_ledger::{
    agent_check::{Expectation, check_receipt},
    checkpoint::Checkpoint,
    leaf::{Envelope, MessageState},
    receipt::Receipt,
};

use super::{alarm_kind::AlarmKind, error::Lie, log_trust::LogTrust, offer::Offered};
use crate::buffer::{Buffered, KnownCheckpoint, MessageId, State};

/// A receipt that the core gave for a mail.
#[derive(Debug, Clone)]
pub(super) struct Claim {
    pub(super) offered: Offered,
    pub(super) receipt: String,
}

/// A receipt that holds, as far as it goes: growth of its checkpoint is still to be checked.
#[derive(Debug)]
pub(super) struct Proved {
    pub(super) id: MessageId,
    pub(super) leaf_index: u64,
    pub(super) state: MessageState,
    pub(super) receipt: String,
}

/// A checkpoint with its signed note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SignedCheckpoint {
    pub(super) checkpoint: Checkpoint,
    pub(super) note: String,
}

/// All receipts of a batch, and the checkpoints they rest on: each once, the smallest first.
#[derive(Debug, Default)]
pub(super) struct Proofs {
    pub(super) proved: Vec<Proved>,
    pub(super) checkpoints: Vec<SignedCheckpoint>,
}

/// All or nothing: one lie, and none of the others is worth anything.
pub(super) fn prove(claims: Vec<Claim>, trust: &LogTrust) -> Result<Proofs, Lie> {
    let mut proved = Vec::with_capacity(claims.len());
    let mut checkpoints = BTreeMap::new();
    for claim in claims {
        let (one, signed) = prove_one(claim, trust)?;
        proved.push(one);
        // Two trees of one size are two entries here; that one of them is a fork shows when growth is checked.
        checkpoints.entry((signed.checkpoint.size, signed.checkpoint.root)).or_insert(signed);
    }
    Ok(Proofs { proved, checkpoints: checkpoints.into_values().collect() })
}

fn prove_one(claim: Claim, trust: &LogTrust) -> Result<(Proved, SignedCheckpoint), Lie> {
    let Claim { offered, receipt } = claim;
    let parsed = Receipt::parse(&receipt).ok();
    let checked = check_receipt(&receipt, &expectation(&offered, trust), trust.origin(), trust.key());
    match (checked, parsed) {
        (Ok(checked), Some(parsed)) => {
            let proved =
                Proved { id: offered.mail.id, leaf_index: checked.index, state: checked.state, receipt };
            let note = parsed.checkpoint_note;
            Ok((proved, SignedCheckpoint { checkpoint: checked.checkpoint, note }))
        }
        (Err(error), parsed) => Err(Lie {
            kind: error.into(),
            detail: format!("{}: {error}", name(&offered.mail)),
            suspect: parsed.map(|parsed| suspect(trust, parsed.checkpoint_note)),
        }),
        // What has been checked has been parsed before.
        (Ok(_), None) => Err(no_receipt(&offered.mail, "cannot be read")),
    }
}

/// The core answered something for this mail, but no receipt.
pub(super) fn no_receipt(mail: &Buffered, what: &str) -> Lie {
    let detail = format!("{}: the core's answer to the commit {what}", name(mail));
    Lie { kind: AlarmKind::ReceiptMissing, detail, suspect: None }
}

pub(super) fn suspect(trust: &LogTrust, note: String) -> KnownCheckpoint {
    KnownCheckpoint { origin: trust.origin().to_string(), note }
}

/// How a mail is called in alarms and logs: by its number, which is no personal data.
pub(super) fn name(mail: &Buffered) -> String {
    format!("mail {} of epoch {}", mail.seat.seq, mail.seat.agent_epoch)
}

fn expectation(offered: &Offered, trust: &LogTrust) -> Expectation {
    let Offered { mail, class } = offered;
    let crate::buffer::Envelope { from, to, peer, mode } = mail.envelope.clone();
    Expectation {
        tenant: trust.agent().tenant.clone(),
        agent: trust.agent().name.clone(),
        seat: mail.seat,
        class: *class,
        states: match mail.state {
            State::Stored => vec![MessageState::Stored, MessageState::Duplicate],
            State::Quarantined { .. } => vec![MessageState::Quarantined],
        },
        occurred_at: mail.occurred_at,
        message: mail.message,
        envelope: Envelope { from, mode, peer, to },
    }
}
