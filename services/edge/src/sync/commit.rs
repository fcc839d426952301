//! Second half of a batch's way: committed, its receipts checked, pruned.

use std::sync::Arc;

use futures::{StreamExt, stream};
use openarchive_proto::ingest::v1::{CommitItem, CommitResult, commit_result::Outcome};
use prost::Message as _;

use super::{
    SyncWorker,
    alarm_kind::AlarmKind,
    error::SyncError,
    limits::{
        CLASS_TRIES_MAX, COMMIT_CALLS_MAX, COMMIT_ITEMS_MAX, COMMIT_REQUEST_BYTES_MAX, COMMIT_ROUNDS_MAX,
    },
    offer::{Missing, Offered, missing_of, offer},
    proof::{Claim, name, no_receipt, prove},
};
use crate::buffer::{BufferError, Buffered, KnownCheckpoint, Prune};

/// What the core answered to the mails of one commit, sorted by what is to be done.
#[derive(Default)]
struct Answers {
    claims: Vec<Claim>,
    lacking: Vec<Offered>,
    missing: Vec<Missing>,
    mismatched: Vec<Buffered>,
    seat_taken: Vec<Buffered>,
    /// The first call that failed. What others answered counts all the same.
    failed: Option<SyncError>,
}

impl SyncWorker {
    /// Commits offered mails and prunes those with receipts that hold, until the core has all of them or says why not.
    pub(super) async fn commit(&self, offered: Vec<Offered>) -> Result<(), SyncError> {
        match offered.as_slice() {
            [] => Ok(()),
            [only] => {
                let only = only.mail.clone();
                self.commit_alone(offered, &only).await
            }
            _ => self.commit_in_rounds(offered).await,
        }
    }

    /// A mail whose class is another by now is offered again at once. One whose class never settles, or that the core
    /// does not take, is set aside.
    async fn commit_alone(&self, offered: Vec<Offered>, only: &Buffered) -> Result<(), SyncError> {
        let mut committed = self.commit_in_rounds(offered).await;
        for _ in 1..CLASS_TRIES_MAX {
            if !matches!(&committed, Err(error) if error.is_class_change()) {
                break;
            }
            let Some(mail) = self.buffer.message(only.id).await? else { return Ok(()) };
            committed = match self.offer_and_upload(vec![mail]).await {
                Ok(offered) => self.commit_in_rounds(offered).await,
                Err(error) => Err(error),
            };
        }
        match committed {
            Err(error) if error.is_class_change() => {
                let detail = format!("{}: {error}", name(only));
                self.set_aside(only.id, AlarmKind::ClassKeepsChanging, detail).await
            }
            committed => self.or_set_aside(only, committed).await,
        }
    }

    async fn commit_in_rounds(&self, offered: Vec<Offered>) -> Result<(), SyncError> {
        let mut todo = offered;
        let mut sent_whole = Vec::new();
        for _ in 0..COMMIT_ROUNDS_MAX {
            let answers = self.ask_to_commit(todo).await?;
            self.settle(answers.claims).await?;
            if let Some(error) = answers.failed {
                return Err(error);
            }
            self.upload(answers.missing).await?;
            todo = answers.lacking;
            for mail in answers.mismatched {
                if sent_whole.contains(&mail.id) {
                    let detail = format!(
                        "{}: the core cannot rebuild it, not even when it is sent whole",
                        name(&mail)
                    );
                    self.set_aside(mail.id, AlarmKind::Mismatch, detail).await?;
                } else {
                    sent_whole.push(mail.id);
                    todo.extend(self.send_whole(&mail).await?);
                }
            }
            for mail in answers.seat_taken {
                todo.extend(self.move_or_set_aside(mail).await?);
            }
            if todo.is_empty() {
                return Ok(());
            }
        }
        for offered in todo {
            let detail = format!("{}: the core asks for its blobs again and again", name(&offered.mail));
            self.set_aside(offered.mail.id, AlarmKind::BlobsKeepMissing, detail).await?;
        }
        Ok(())
    }

    /// Receipts that hold, checkpoints that grow: then, and only then, the mails go.
    async fn settle(&self, claims: Vec<Claim>) -> Result<(), SyncError> {
        if claims.is_empty() {
            return Ok(());
        }
        let trust = Arc::clone(&self.trust);
        // Signatures and hashes of a full batch take longer than a runtime thread may be held.
        let mut proofs = tokio::task::spawn_blocking(move || prove(claims, &trust))
            .await
            .map_err(|_| SyncError::Task)??;
        let checkpoints = std::mem::take(&mut proofs.checkpoints);
        let Some(last) = self.follow_growth(checkpoints).await? else { return Ok(()) };
        self.count(&proofs);
        let verified = proofs
            .proved
            .into_iter()
            .map(|proved| Prune { id: proved.id, leaf_index: proved.leaf_index, receipt: proved.receipt })
            .collect();
        let checkpoint = KnownCheckpoint { origin: self.trust.origin().to_string(), note: last.note };
        self.buffer.prune(verified, checkpoint, self.clock.now()).await?;
        Ok(())
    }

    async fn ask_to_commit(&self, offered: Vec<Offered>) -> Result<Answers, SyncError> {
        let calls = stream::iter(requests(offered)).map(|(mails, items)| async move {
            let results = self.core.commit(items).await;
            (mails, results)
        });
        let mut answers = Answers::default();
        let mut calls = calls.buffer_unordered(COMMIT_CALLS_MAX);
        while let Some((mails, results)) = calls.next().await {
            match results {
                Ok(results) => {
                    self.counters.answered(self.clock.now());
                    answers.sort_in(mails, results)?;
                }
                Err(error) => answers.failed = answers.failed.or(Some(error.into())),
            }
        }
        Ok(answers)
    }

    /// From now on the mail is kept in one piece; if it cannot be put together here either, it is set aside.
    async fn send_whole(&self, mail: &Buffered) -> Result<Vec<Offered>, SyncError> {
        tracing::warn!(mail = name(mail), "the core cannot rebuild a mail; it is sent whole");
        match self.buffer.replace_whole(mail.id).await {
            Ok(whole) => self.prepare(vec![whole]).await,
            Err(error @ BufferError::Damaged { .. }) => {
                self.set_aside(mail.id, AlarmKind::MailDamaged, format!("{}: {error}", name(mail))).await?;
                Ok(Vec::new())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// After a rollback of this disk, numbers were given out twice: a mail of an epoch that is over gets a new one.
    /// Within an epoch that cannot be, and a person must look.
    async fn move_or_set_aside(&self, mail: Buffered) -> Result<Vec<Offered>, SyncError> {
        if mail.seat.agent_epoch == self.buffer.stats().await?.agent_epoch {
            let detail = format!("{}: the core holds another mail under this number", name(&mail));
            self.set_aside(mail.id, AlarmKind::SeatTaken, detail).await?;
            return Ok(Vec::new());
        }
        let seat = self.buffer.reseat(mail.id).await?;
        tracing::warn!(
            mail = name(&mail),
            seq = seat.seq,
            "a number was given out twice; the mail gets a new one"
        );
        let moved = self.buffer.message(mail.id).await?;
        self.prepare(moved.into_iter().collect()).await
    }
}

impl Answers {
    /// An answer that is not exactly one result for each mail, in order, proves nothing.
    fn sort_in(&mut self, mails: Vec<Offered>, results: Vec<CommitResult>) -> Result<(), SyncError> {
        let mut results = results.into_iter();
        for offered in mails {
            let result = results.next().filter(|result| result.seq == offered.mail.seat.seq);
            let result = result.ok_or_else(|| no_receipt(&offered.mail, "leaves it out"))?;
            match result.outcome {
                Some(Outcome::Receipt(receipt)) => self.claims.push(Claim { offered, receipt }),
                Some(Outcome::Missing(lack)) => {
                    let missing = missing_of(&offered, lack.skeleton, &lack.parts)
                        .ok_or_else(|| no_receipt(&offered.mail, "asks for a part that it does not have"))?;
                    self.missing.extend(missing);
                    self.lacking.push(offered);
                }
                Some(Outcome::Mismatch(_)) => self.mismatched.push(offered.mail),
                Some(Outcome::SeatTaken(_)) => self.seat_taken.push(offered.mail),
                None => return Err(no_receipt(&offered.mail, "says nothing about it").into()),
            }
        }
        Ok(())
    }
}

/// Calls of bounded size.
fn requests(offered: Vec<Offered>) -> Vec<(Vec<Offered>, Vec<CommitItem>)> {
    let mut calls: Vec<(Vec<Offered>, Vec<CommitItem>)> = Vec::new();
    let mut bytes = 0;
    for offered in offered {
        let item = CommitItem { offer: Some(offer(&offered.mail)), class: offered.class.to_string() };
        let length = item.encoded_len();
        match calls.last_mut() {
            Some((mails, items))
                if items.len() < COMMIT_ITEMS_MAX && bytes + length <= COMMIT_REQUEST_BYTES_MAX =>
            {
                bytes += length;
                mails.push(offered);
                items.push(item);
            }
            _ => {
                bytes = length;
                calls.push((vec![offered], vec![item]));
            }
        }
    }
    calls
}

#[cfg(test)]
mod tests {
    use openarchive_domain::RetentionClass;
    use openarchive_proto::ingest::v1::MissingBlobs;

    use super::{super::offer::tests::mail, *};

    fn offered(seq: u64) -> Offered {
        Offered { mail: mail(seq), class: RetentionClass::DEFAULT }
    }

    #[test]
    fn commits_are_bounded_in_mails_and_in_bytes() {
        let counts = |offered| requests(offered).iter().map(|(mails, _)| mails.len()).collect::<Vec<_>>();
        let many = (0..=COMMIT_ITEMS_MAX as u64).map(offered).collect();
        assert_eq!(counts(many), [COMMIT_ITEMS_MAX, 1]);
        let long = |seq| {
            let mut offered = offered(seq);
            offered.mail.envelope.to = vec!["x".repeat(COMMIT_REQUEST_BYTES_MAX / 2)];
            offered
        };
        assert_eq!(counts(vec![long(1), long(2), offered(3)]), [1, 2]);
        assert_eq!(counts(vec![]), Vec::<usize>::new());
    }

    #[test]
    fn an_answer_without_exactly_one_outcome_for_each_mail_is_no_receipt() {
        let receipt = |seq| CommitResult { seq, outcome: Some(Outcome::Receipt(String::new())) };
        let check = |results| {
            let sorted = Answers::default().sort_in(vec![offered(1), offered(2)], results);
            let Err(SyncError::Lie(lie)) = sorted else { panic!("taken for an answer") };
            assert_eq!(lie.kind, AlarmKind::ReceiptMissing);
        };
        check(vec![receipt(1)]);
        check(vec![receipt(2), receipt(1)]);
        check(vec![receipt(1), CommitResult { seq: 2, outcome: None }]);
        let foreign = MissingBlobs { skeleton: false, parts: vec![vec![7; 32].into()] };
        check(vec![receipt(1), CommitResult { seq: 2, outcome: Some(Outcome::Missing(foreign)) }]);
        Answers::default().sort_in(vec![offered(1), offered(2)], vec![receipt(1), receipt(2)]).unwrap();
    }
}
