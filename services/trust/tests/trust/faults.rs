//! Every write to the object store, failed, and failed but persisted: each time all is checked again.

use openarchive_objects::{Calls, Fault, Faults};
use openarchive_trust::TrustConfig;

use crate::archive::{Archive, all_leaves, append, prove, start};

const LOG: &str = "acme/evidence";

/// Grows a log over the edge of a tile, with a checkpoint after each step.
async fn live(archive: &Archive, faults: Option<Faults>) -> usize {
    let objects = match &faults {
        Some(faults) => archive.store.clone().with_faults(faults.clone()),
        None => archive.store.clone(),
    };
    let (trust, mut client) = start(TrustConfig { objects, ..archive.config() }).await;
    for numbers in [0..2, 2..250, 250..300] {
        let leaves = append(&mut client, LOG, numbers.clone()).await;
        prove(&mut client, archive, LOG, &leaves).await;
        // The same again, as a caller does whose answer was lost.
        assert_eq!(append(&mut client, LOG, numbers).await, leaves);
    }
    trust.shutdown().await;
    faults.map_or(0, |faults| faults.counted() as usize)
}

async fn check(fault: Fault) {
    let faultless = Archive::new().await;
    let writes = live(&faultless, Some(Faults::none(Calls::Writes))).await;
    assert!(writes > 10, "{writes}");
    for index in 0..writes as u64 {
        let archive = Archive::new().await;
        live(&archive, Some(Faults::at(index, Calls::Writes, fault))).await;
        assert_eq!(archive.fsck().await, [], "{fault:?} at write {index}");
        // A start without faults goes on as if nothing had been.
        let (trust, mut client) = archive.start().await;
        let last = append(&mut client, LOG, [300]).await;
        assert_eq!(last[0].index, 301);
        let all = all_leaves(&mut client, LOG).await;
        prove(&mut client, &archive, LOG, &all).await;
        trust.shutdown().await;
        assert_eq!(archive.fsck().await, [], "{fault:?} at write {index}, after a restart");
        archive.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_failed_is_made_good() {
    check(Fault::Failed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_answer_was_lost_is_made_good() {
    check(Fault::FailedButPersisted).await;
}

/// The store says that it has the object, and has not: it is noticed before anything rests on it.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_was_acknowledged_and_lost_is_noticed_and_made_good() {
    check(Fault::Lost).await;
}
