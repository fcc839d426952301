//! Mail that did not fit its peer's mode, until somebody lets it go.

use openarchive_ingest::{Finding, NOT_QUARANTINED, SHREDDED};
use openarchive_proto::ingest::v1::{
    ListQuarantineRequest, QuarantinedMessage, ReleaseQuarantineRequest, ShredCause, State,
};
use tonic::{Code, Status};

use crate::{
    agent::{Agent, Mail},
    archive::{Archive, TENANT},
    governance::{ACTOR, permitted, refused},
};

impl Archive {
    async fn quarantine(&self) -> Vec<QuarantinedMessage> {
        let request = ListQuarantineRequest { tenant: TENANT.into(), after_ordinal: 0, limit: 0 };
        self.catalogue.clone().list_quarantine(request).await.unwrap().into_inner().messages
    }

    async fn let_go(&self, mail: &Mail) -> Result<u64, Status> {
        let (message, actor) = (mail.key().to_vec().into(), ACTOR.into());
        let request = ReleaseQuarantineRequest { tenant: TENANT.into(), message, actor };
        Ok(self.catalogue.clone().release_quarantine(request).await?.into_inner().leaf_index)
    }
}

impl Agent {
    async fn quarantine(&self, seq: u64, mail: &Mail) {
        let mut offer = mail.offer(self.seat(seq));
        offer.set_state(State::Quarantined);
        offer.reason = "no journal report".into();
        self.keep_offer(offer, mail).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn quarantined_mail_is_on_the_list_until_somebody_lets_it_go() {
    let (archive, agent) = permitted().await;
    let (odd, fine) = (Mail::plain(1), Mail::plain(2));
    agent.quarantine(1, &odd).await;
    agent.quarantine(2, &odd).await;
    agent.keep(3, &fine).await;
    let listed = archive.quarantine().await;
    assert_eq!((listed.len(), listed[0].message.as_ref()), (1, odd.key()));
    refused(archive.let_go(&fine).await, NOT_QUARANTINED);
    assert_eq!(archive.let_go(&Mail::plain(3)).await.unwrap_err().code(), Code::NotFound);

    archive.let_go(&odd).await.unwrap();
    assert_eq!(archive.quarantine().await, []);
    refused(archive.let_go(&odd).await, NOT_QUARANTINED);
    assert_eq!(archive.open(odd.key()).await.unwrap(), odd.bytes);
    assert_eq!(archive.fsck().await, []);

    // It comes again, and does not fit again.
    agent.quarantine(4, &odd).await;
    assert_eq!(archive.quarantine().await.len(), 1);
    archive.let_go(&odd).await.unwrap();

    // Who takes the release out of the database is found out.
    archive
        .execute(
            "create table saved as table ingest.quarantine_release; delete from ingest.quarantine_release",
        )
        .await;
    let findings = archive.fsck().await;
    assert!(matches!(findings[..], [Finding::ActDiffers { .. }, Finding::ActDiffers { .. }]), "{findings:?}");
    archive.execute("insert into ingest.quarantine_release select * from saved; drop table saved").await;

    // That it was let go outlives the catalogue.
    archive.lose_the_catalogue().await;
    let report = archive.rebuild().await;
    assert_eq!((report.restored, report.damage), (4, Vec::new()));
    assert_eq!(archive.quarantine().await, []);
    refused(archive.let_go(&odd).await, NOT_QUARANTINED);
    assert_eq!(archive.fsck().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_that_is_shredded_leaves_the_list_and_is_not_let_go() {
    let (archive, agent) = permitted().await;
    let odd = Mail::plain(1);
    agent.quarantine(1, &odd).await;
    archive.order(1, ShredCause::Erasure, &[&odd]).await.unwrap();
    assert_eq!(archive.quarantine().await, []);
    refused(archive.let_go(&odd).await, SHREDDED);
}
