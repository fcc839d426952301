//! First half of a batch's way: offered, and everything uploaded that the archive lacks.

use std::sync::atomic::Ordering;

use futures::{StreamExt, TryStreamExt, stream};
use openarchive_ledger::leaf::MessageState;
use openarchive_proto::ingest::v1::Offer;
use openarchive_telemetry::metrics;

use super::{
    SyncWorker,
    alarm_kind::AlarmKind,
    error::SyncError,
    header,
    limits::{BATCH_BYTES_MAX, UPLOAD_STREAMS_MAX},
    offer::{Missing, Offered, match_answers, offer},
    proof::{Proofs, name},
    stats::add,
    upload,
};
use crate::buffer::{BufferError, Buffered, MessageId};

/// The next mails to send.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) mails: Vec<Buffered>,
    /// Where the batch after this one begins.
    pub(super) last: MessageId,
}

impl SyncWorker {
    /// Mails after `after`, of one epoch, without those that are set aside. `None` at the end.
    pub(super) async fn next_batch(&self, after: MessageId) -> Result<Option<Batch>, SyncError> {
        let found = self.buffer.pending(after, self.batch_messages.load(Ordering::Relaxed)).await?;
        if found.is_empty() {
            return Ok(None);
        }
        let (mut mails, mut last, mut bytes) = (Vec::new(), after, 0);
        for mail in found {
            if let Some(first) = mails.first() {
                let first: &Buffered = first;
                if first.seat.agent_epoch != mail.seat.agent_epoch || bytes + mail.length > BATCH_BYTES_MAX {
                    break;
                }
            }
            last = mail.id;
            if !self.is_set_aside(mail.id) {
                bytes += mail.length;
                mails.push(mail);
            }
        }
        Ok(Some(Batch { mails, last }))
    }

    /// Offers mails of one epoch and uploads what the core says is missing. Answers those that can be committed: not
    /// a mail whose content here is damaged, nor a single one that the core does not take.
    pub(super) async fn prepare(&self, mails: Vec<Buffered>) -> Result<Vec<Offered>, SyncError> {
        match mails.as_slice() {
            [] => Ok(Vec::new()),
            [only] => {
                let only = only.clone();
                let prepared = self.offer_and_upload(mails).await;
                self.or_set_aside(&only, prepared).await
            }
            _ => self.offer_and_upload(mails).await,
        }
    }

    pub(super) async fn offer_and_upload(&self, mails: Vec<Buffered>) -> Result<Vec<Offered>, SyncError> {
        let (mut offers, mut hints) = (Vec::with_capacity(mails.len()), header::Budget::of_batch());
        for mail in &mails {
            offers.push(Offer { header: hints.addresses(&self.buffer, mail).await, ..offer(mail) });
        }
        let answers = self.core.offer(offers).await?;
        self.counters.answered(self.clock.now());
        add(&self.counters.offered, mails.len() as u64);
        let blobs: u64 = mails.iter().map(|mail| 1 + mail.parts.len() as u64).sum();
        let (offered, missing) = match_answers(mails, answers)?;
        let uploaded = self.upload(missing).await?;
        add(&self.counters.skipped_blobs, blobs.saturating_sub(uploaded));
        Ok(offered)
    }

    /// Uploads each blob once; says how many that were. A mail whose blob is damaged here is set aside.
    pub(super) async fn upload(&self, missing: Vec<Missing>) -> Result<u64, SyncError> {
        let streams = upload::plan(missing);
        let (mut blobs, mut bytes) = (0, 0);
        for blob in streams.iter().flatten() {
            blobs += 1;
            bytes += blob.blob.length;
        }
        let sent = stream::iter(streams)
            .map(|stream| upload::send(&self.core, &self.buffer, stream))
            .buffer_unordered(UPLOAD_STREAMS_MAX)
            .try_collect::<()>()
            .await;
        if let Err(SyncError::Buffer(BufferError::Damaged { id, detail })) = &sent {
            self.set_aside(*id, AlarmKind::MailDamaged, format!("mail {id} of the buffer: {detail}")).await?;
        }
        sent?;
        if blobs > 0 {
            self.counters.answered(self.clock.now());
        }
        add(&self.counters.uploaded_blobs, blobs);
        add(&self.counters.uploaded_bytes, bytes);
        metrics::EDGE_UPLOADS.add([], blobs);
        metrics::EDGE_UPLOAD_BYTES.add([], bytes);
        Ok(blobs)
    }

    /// A mail that the core does not take even alone must not hold up the others.
    pub(super) async fn or_set_aside<T: Default>(
        &self,
        mail: &Buffered,
        outcome: Result<T, SyncError>,
    ) -> Result<T, SyncError> {
        match outcome {
            Err(error) if error.is_about_content() => {
                let detail = format!("{}: {error}", name(mail));
                self.set_aside(mail.id, AlarmKind::MailRefused, detail).await?;
                Ok(T::default())
            }
            outcome => outcome,
        }
    }

    pub(super) fn count(&self, proofs: &Proofs) {
        let duplicates =
            proofs.proved.iter().filter(|proved| proved.state == MessageState::Duplicate).count();
        add(&self.counters.committed, proofs.proved.len() as u64);
        add(&self.counters.duplicates, duplicates as u64);
    }
}
