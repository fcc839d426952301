//! mbox files: read once from front to back, kept several mails at a time.

use std::path::Path;

use futures::future::try_join_all;
use tokio::{sync::mpsc, task::spawn_blocking};

use super::{
    Import, ImportError, MAILS_AT_A_TIME,
    files::hope_after,
    read_mail::{MboxMail, MboxSkip, Place, next_of_mbox, open_mbox},
    run_record::path_text,
    slots::{SlotRecord, Slots, Start},
    summary::Hope,
};
use crate::spool::SpoolDir;

/// What the reader finds, in the order of the file.
enum Found {
    Mail { index: u64, mail: MboxMail },
    Skipped { offset: u64, bytes: u64, reason: String },
    Broken { offset: u64, reason: String },
}

impl Import<'_> {
    pub(super) async fn take_mbox(&self, path: &Path) -> Result<(), ImportError> {
        let slots = self.slots_of(path).await?;
        let start = slots.start();
        self.tally.already_imported(start.index);
        self.bar.passed(start.offset);
        let (finds, found) = mpsc::channel(MAILS_AT_A_TIME);
        let (mbox, spool_dir) = (path.to_owned(), self.acceptor.buffer().spool_dir().clone());
        // Ends by itself when nobody takes its finds any more.
        let reader = spawn_blocking(move || read_all(&mbox, start, &spool_dir, &finds));
        let (lanes, mails): (Vec<_>, Vec<_>) = (0..MAILS_AT_A_TIME).map(|_| mpsc::channel(1)).unzip();
        let keepers = mails.into_iter().map(|mails| self.keep_lane(path, mails));
        tokio::try_join!(self.deal_out(path, &slots, found, lanes), try_join_all(keepers))?;
        reader.await.map_err(|_| ImportError::Task)
    }

    /// What an interrupted run kept of this file, unless the file is another one by now.
    async fn slots_of(&self, path: &Path) -> Result<Slots, ImportError> {
        let buffer = self.acceptor.buffer();
        let mut slots = Slots::default();
        for slot in 0..MAILS_AT_A_TIME {
            let rest = self.run.rest_of(buffer, &source_of_slot(path, slot)).await?;
            if let Some(record) = rest.as_deref().and_then(SlotRecord::parse) {
                slots.set(slot, record);
            }
        }
        if slots.is_empty() {
            return Ok(slots);
        }
        let (mbox, kept, spool_dir) = (path.to_owned(), slots.clone(), buffer.spool_dir().clone());
        let same = spawn_blocking(move || is_same_file(&mbox, &kept, &spool_dir)).await;
        if same.map_err(|_| ImportError::Task)? {
            return Ok(slots);
        }
        tracing::warn!(mbox = %path.display(), "an mbox was changed since its import was interrupted; it is taken anew");
        for slot in 0..MAILS_AT_A_TIME {
            buffer.set_import_progress(self.run.progress(source_of_slot(path, slot), "")).await?;
        }
        Ok(Slots::default())
    }

    /// Gives each mail to its lane; lanes end when this does.
    async fn deal_out(
        &self,
        path: &Path,
        slots: &Slots,
        mut found: mpsc::Receiver<Found>,
        lanes: Vec<mpsc::Sender<(u64, MboxMail)>>,
    ) -> Result<(), ImportError> {
        while let Some(found) = found.recv().await {
            match found {
                Found::Mail { index, mail } if slots.is_kept(index) => {
                    self.tally.already_imported(1);
                    self.bar.passed(mail.entry.next - mail.entry.offset);
                }
                Found::Mail { index, mail } => {
                    // A lane that has ended says why itself.
                    let _ = lanes[Slots::slot_of(index)].send((index, mail)).await;
                }
                Found::Skipped { offset, bytes, reason } => {
                    self.tally.skipped(path, Some(offset), reason, Hope::None);
                    self.bar.passed(bytes);
                }
                Found::Broken { offset, reason } => {
                    self.tally.skipped(path, Some(offset), reason, Hope::Repeat);
                }
            }
        }
        Ok(())
    }

    /// Keeps the mails of one slot strictly in order: the record of one says that all before it are kept.
    async fn keep_lane(
        &self,
        path: &Path,
        mut mails: mpsc::Receiver<(u64, MboxMail)>,
    ) -> Result<(), ImportError> {
        while let Some((index, MboxMail { entry, digest, spool })) = mails.recv().await {
            let record = SlotRecord { index, offset: entry.offset, digest };
            let source = source_of_slot(path, Slots::slot_of(index));
            let progress = self.run.progress(source, &record.to_text());
            let place = Place::Mbox { path: path.to_owned(), offset: entry.offset };
            match self.keep(&place, Some(spool), &progress).await? {
                Ok(bytes) => self.tally.imported(bytes),
                Err(error) => {
                    // Nothing may be kept behind a gap: the rest of this lane is left for the repetition.
                    self.tally.skipped(path, Some(entry.offset), error.to_string(), hope_after(&error));
                    mails.close();
                    while mails.recv().await.is_some() {}
                    return Ok(());
                }
            }
            self.bar.passed(entry.next - entry.offset);
        }
        Ok(())
    }
}

fn source_of_slot(path: &Path, slot: usize) -> String {
    format!("mbox {} {slot}", path_text(path))
}

/// Reads from `start` to the end of the file.
fn read_all(path: &Path, start: Start, spool_dir: &SpoolDir, finds: &mpsc::Sender<Found>) {
    let broken = |offset, source: &std::io::Error| Found::Broken {
        offset,
        reason: format!("cannot be read: {source}"),
    };
    let mut mbox = match open_mbox(path, start.offset) {
        Ok(mbox) => mbox,
        Err(error) => {
            let _ = finds.blocking_send(broken(start.offset, &error));
            return;
        }
    };
    let mut index = start.index;
    loop {
        let found = match next_of_mbox(&mut mbox, spool_dir) {
            Ok(None) => return,
            Ok(Some(mail)) => {
                index += 1;
                Found::Mail { index: index - 1, mail }
            }
            Err(MboxSkip::Skipped { offset, next, why }) => {
                Found::Skipped { offset, bytes: next - offset, reason: why }
            }
            Err(MboxSkip::Broken { offset, source }) => broken(offset, &source),
        };
        let is_broken = matches!(found, Found::Broken { .. });
        if finds.blocking_send(found).is_err() || is_broken {
            return;
        }
    }
}

/// Whether every mail that was kept last in its slot still stands where it stood. Mail that was appended does not
/// matter.
fn is_same_file(path: &Path, slots: &Slots, spool_dir: &SpoolDir) -> bool {
    let (Some(last), start) = (slots.last_index(), slots.start()) else { return true };
    let Ok(mut mbox) = open_mbox(path, start.offset) else { return false };
    let mut index = start.index;
    while index <= last {
        match next_of_mbox(&mut mbox, spool_dir) {
            Ok(Some(MboxMail { entry, digest, .. })) => {
                if slots.contradict(&SlotRecord { index, offset: entry.offset, digest }) {
                    return false;
                }
                index += 1;
            }
            Err(MboxSkip::Skipped { .. }) => {}
            Ok(None) | Err(MboxSkip::Broken { .. }) => return false,
        }
    }
    true
}
