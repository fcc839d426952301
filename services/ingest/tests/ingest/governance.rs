//! Holds, shredding and expiry, with the worker's part played by the test.

use std::{collections::BTreeSet, sync::Arc};

use openarchive_domain::{Digest, FixedClock, RetentionClass};
use openarchive_ingest::{HELD, HOLD_EXISTS, RETAINED, SHREDDED, SUSPENDED};
use openarchive_ledger::{leaf::ShredCause as Cause, shred_proof::verify_shred};
use openarchive_proto::{
    ingest::v1::{
        CommitItem, CommitMessagesRequest, ExpiryLine, FinishShredRequest, GetShredCertificateRequest,
        GetShredRequest, HoldSummary, LiftSuspensionRequest, ListHoldsRequest, PlanExpiryRequest,
        ReleaseHoldRequest, SetHoldRequest, ShredCause, ShredMessagesRequest, upload_blobs_request::Item,
    },
    storage::v1::ShredRequest,
};
use openarchive_rpc::has_reason;
use tonic::{Code, Status};

use crate::{
    agent::{Agent, Mail, noise, receipt},
    archive::{Archive, TENANT},
};

const PERMITTED: &str = "10y-received-permitted";
const ACTOR: &str = "tok-1";

impl Agent {
    /// Archives mail in whatever class the rule gives it.
    async fn keep(&self, seq: u64, mail: &Mail) {
        let answer = self.offers(vec![mail.offer(self.seat(seq))]).await.unwrap().remove(0);
        let mut requests = Vec::new();
        for blob in mail.blobs() {
            let digest = Digest::of(&blob.bytes);
            let missing = answer.skeleton_missing && blob.bytes == mail.split.skeleton.encode();
            if missing || answer.missing_parts.iter().any(|part| part.as_ref() == digest.as_bytes()) {
                requests.extend(blob.requests());
            }
        }
        for request in &mut requests {
            if let Some(Item::Header(header)) = &mut request.item {
                header.class.clone_from(&answer.class);
            }
        }
        self.upload_requests(requests).await.unwrap();
        let items = vec![CommitItem { offer: Some(mail.offer(self.seat(seq))), class: answer.class }];
        let answer = self.client.clone().commit_messages(CommitMessagesRequest { items }).await.unwrap();
        receipt(&answer.into_inner().results[0]);
    }
}

impl Archive {
    async fn hold(&self, hold: &str, mails: &[&Mail]) -> Result<u64, Status> {
        let request = SetHoldRequest {
            tenant: TENANT.into(),
            hold: hold.into(),
            reason: "a case".into(),
            query: "subject:attached".into(),
            messages: mails.iter().map(|mail| mail.key().to_vec().into()).collect(),
            actor: ACTOR.into(),
        };
        Ok(self.catalogue.clone().set_hold(request).await?.into_inner().leaf_index)
    }

    async fn release(&self, hold: &str) -> Result<u64, Status> {
        let request = ReleaseHoldRequest { tenant: TENANT.into(), hold: hold.into(), actor: "tok-2".into() };
        Ok(self.catalogue.clone().release_hold(request).await?.into_inner().leaf_index)
    }

    async fn holds(&self, mail: Option<&Mail>, released: bool) -> Vec<HoldSummary> {
        let message = mail.map_or_else(Vec::new, |mail| mail.key().to_vec()).into();
        let request = ListHoldsRequest { tenant: TENANT.into(), message, released };
        self.catalogue.clone().list_holds(request).await.unwrap().into_inner().holds
    }

    async fn order(&self, id: u8, cause: ShredCause, mails: &[&Mail]) -> Result<u64, Status> {
        let request = ShredMessagesRequest {
            tenant: TENANT.into(),
            shred: vec![id; 16].into(),
            cause: cause.into(),
            messages: mails.iter().map(|mail| mail.key().to_vec().into()).collect(),
            actor: ACTOR.into(),
        };
        Ok(self.catalogue.clone().shred_messages(request).await?.into_inner().leaf_index)
    }

    /// What the worker does, as far as storage and ingest go.
    async fn carry_out(&self, id: u8) -> u32 {
        let (tenant, shred): (String, Vec<u8>) = (TENANT.into(), vec![id; 16]);
        let mut catalogue = self.catalogue_for_worker();
        let request = GetShredRequest { tenant: tenant.clone(), shred: shred.clone().into() };
        let order = catalogue.get_shred(request).await.unwrap().into_inner();
        let request = ShredRequest { tenant: tenant.clone(), leaf_index: order.leaf_index };
        let keys = self.storage_for_worker().shred(request).await.unwrap().into_inner().keys;
        catalogue.finish_shred(FinishShredRequest { tenant, shred: shred.into() }).await.unwrap();
        keys
    }

    async fn shred(&self, id: u8, mails: &[&Mail]) -> Result<(), Status> {
        self.order(id, ShredCause::Erasure, mails).await?;
        self.carry_out(id).await;
        Ok(())
    }

    async fn plan(&self, at: &str) -> (Vec<ExpiryLine>, String) {
        let request = PlanExpiryRequest { tenant: TENANT.into(), at: at.into(), ..Default::default() };
        let answer = self.catalogue.clone().plan_expiry(request).await.unwrap().into_inner();
        (answer.lines, answer.suspended_at)
    }

    /// Loses the catalogue, but for nothing.
    async fn lose_the_catalogue(&self) {
        self.all_leaves().await;
        self.execute(
            "truncate ingest.message, ingest.message_part, ingest.participant, ingest.observation, ingest.agent,
               ingest.outbox, ingest.act, ingest.hold, ingest.shred, ingest.suspension restart identity cascade;
             truncate jobs.job;",
        )
        .await;
    }

    async fn unreadable(&self, mail: &Mail) {
        for status in [
            self.open(mail.key()).await.unwrap_err(),
            self.get(mail.key()).await.unwrap_err(),
            self.proof(mail.key()).await.unwrap_err(),
        ] {
            assert!(has_reason(&status, SHREDDED) && status.code() == Code::NotFound, "{status:?}");
        }
    }
}

async fn permitted() -> (Archive, Agent) {
    let mut archive = Archive::start().await;
    archive.restart_with(PERMITTED.parse::<RetentionClass>().unwrap()).await;
    let agent = archive.agent("acme/mx1");
    (archive, agent)
}

#[track_caller]
fn refused(outcome: Result<impl std::fmt::Debug, Status>, reason: &str) {
    let status = outcome.unwrap_err();
    assert!(has_reason(&status, reason), "{status:?}");
}

/// Bytes of every key file and every row that still holds a key.
async fn keys_left(archive: &Archive) -> i64 {
    sqlx::query_scalar(
        "select (select count(*) from storage.pack_entry where wrapped_dek is not null)
           + (select count(*) from storage.pack_copy where wrapped_dek is not null)",
    )
    .fetch_one(&archive.pool)
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn shredded_mail_is_unreadable_and_what_it_shared_with_other_mail_survives() {
    let (archive, agent) = permitted().await;
    let (shared, own) = (noise(1, 3_000), noise(2, 3_000));
    let (first, second, third) = (
        Mail::with_attachment(1, &shared),
        Mail::with_attachment(2, &shared),
        Mail::with_attachment(3, &own),
    );
    for (seq, mail) in (1..).zip([&first, &second, &third, &first]) {
        agent.keep(seq, mail).await;
    }
    // Part, skeleton and record of each, a second record of the first.
    assert_eq!(keys_left(&archive).await, 2 + 3 + 4);
    let leaf = archive.order(1, ShredCause::Erasure, &[&first, &third]).await.unwrap();
    assert_eq!(archive.order(1, ShredCause::Erasure, &[&first, &third]).await.unwrap(), leaf);
    // From the order on, before a key has gone.
    archive.unreadable(&first).await;
    assert_eq!(archive.list().await.len(), 1);
    refused(archive.order(2, ShredCause::Erasure, &[&first]).await, SHREDDED);
    assert_eq!(archive.fsck().await, []);
    // Two skeletons, three records, the part that only the third had. Again changes nothing.
    assert_eq!(archive.carry_out(1).await, 6);
    assert_eq!(archive.carry_out(1).await, 6);
    assert_eq!(keys_left(&archive).await, 3);
    archive.unreadable(&first).await;
    archive.unreadable(&third).await;
    assert_eq!(archive.open(second.key()).await.unwrap(), second.bytes);
    let left: (String, i64) = sqlx::query_as(
        "select string_agg(subject || header_from || message_id, ''),
           (select count(*) from ingest.participant p join ingest.message m using (tenant, message)
            where m.shred is not null)
         from ingest.message where shred is not null",
    )
    .fetch_one(&archive.pool)
    .await
    .unwrap();
    assert_eq!(left, (String::new(), 0));
    assert_eq!(archive.fsck().await, []);

    // The certificate: by the log's own key, with the numbers of the leaves that say nothing any more.
    let request = GetShredCertificateRequest { tenant: TENANT.into(), message: first.key().to_vec().into() };
    let proof = archive.catalogue.clone().get_shred_certificate(request).await.unwrap().into_inner().proof;
    let verified = verify_shred(&proof, None).unwrap();
    assert_eq!((verified.index, verified.leaf.cause), (leaf, Cause::Erasure));
    let leaves: Vec<i64> = sqlx::query_scalar(
        "select leaf_index from ingest.observation where message <> $1 order by leaf_index",
    )
    .bind(second.key())
    .fetch_all(&archive.pool)
    .await
    .unwrap();
    assert_eq!(verified.leaf.leaves, leaves.iter().map(|leaf| *leaf as u64).collect::<BTreeSet<_>>());
    assert!(verify_shred(&proof.replacen("index ", "index 1", 1), None).is_err());

    // Now nobody else needs the part.
    archive.shred(3, &[&second]).await.unwrap();
    assert_eq!(keys_left(&archive).await, 0);

    // The same mail may come again: it is new.
    agent.keep(5, &first).await;
    assert_eq!(archive.open(first.key()).await.unwrap(), first.bytes);
    assert_eq!(archive.get(first.key()).await.unwrap().observations.len(), 1);
    assert_eq!(archive.fsck().await, []);

    // With the catalogue lost: what was shredded is no damage, what came again is there.
    archive.lose_the_catalogue().await;
    let report = archive.rebuild().await;
    assert_eq!((report.restored, report.damage), (1, Vec::new()));
    assert_eq!(archive.open(first.key()).await.unwrap(), first.bytes);
    assert_eq!(archive.open(second.key()).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(archive.fsck().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_beats_shredding_until_the_last_one_is_released() {
    let (archive, agent) = permitted().await;
    let (first, second) = (Mail::plain(1), Mail::plain(2));
    agent.keep(1, &first).await;
    agent.keep(2, &second).await;
    archive.hold("case-1", &[&first, &second]).await.unwrap();
    archive.hold("case-2", &[&first]).await.unwrap();
    refused(archive.hold("case-2", &[&second]).await, HOLD_EXISTS);
    assert_eq!(archive.hold("case-3", &[&Mail::plain(3)]).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(archive.hold("Case 3", &[&first]).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(archive.holds(Some(&first), false).await.len(), 2);
    assert_eq!(archive.holds(Some(&second), false).await[0].messages, 2);

    refused(archive.order(1, ShredCause::Erasure, &[&first]).await, HELD);
    archive.release("case-1").await.unwrap();
    refused(archive.release("case-1").await, "HOLD_RELEASED");
    refused(archive.order(1, ShredCause::Erasure, &[&first]).await, HELD);
    // All or nothing.
    refused(archive.order(2, ShredCause::Erasure, &[&first, &second]).await, HELD);
    assert_eq!(archive.open(second.key()).await.unwrap(), second.bytes);
    let all = archive.holds(None, true).await;
    assert_eq!((all[0].released_by.as_str(), all[1].released_at.as_str()), ("tok-2", ""));

    // Holds outlive the catalogue: their leaves name records that are kept like mail.
    archive.lose_the_catalogue().await;
    let report = archive.rebuild().await;
    assert_eq!(report.damage, []);
    assert_eq!(archive.holds(None, true).await, all);
    refused(archive.order(1, ShredCause::Erasure, &[&second]).await, SUSPENDED);
    let lift = LiftSuspensionRequest { tenant: TENANT.into(), actor: ACTOR.into() };
    archive.catalogue.clone().lift_suspension(lift.clone()).await.unwrap();
    refused(archive.catalogue.clone().lift_suspension(lift).await, "NOT_SUSPENDED");
    refused(archive.order(1, ShredCause::Erasure, &[&first]).await, HELD);

    archive.release("case-2").await.unwrap();
    archive.shred(1, &[&first]).await.unwrap();
    refused(archive.hold("case-3", &[&first]).await, SHREDDED);
    refused(archive.hold("case-3", &[&second, &first]).await, SHREDDED);
    assert_eq!(archive.fsck().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_is_set_while_mail_is_shredded_wins_or_is_refused() {
    let (archive, agent) = permitted().await;
    let mails: Vec<Mail> = (1..=12).map(Mail::plain).collect();
    for (seq, mail) in (1..).zip(&mails) {
        agent.keep(seq, mail).await;
    }
    let races = mails.iter().enumerate().map(|(number, mail)| {
        let archive = &archive;
        async move {
            let (name, mails) = (format!("race-{number}"), [mail]);
            let (held, ordered) = tokio::join!(
                archive.hold(&name, &mails),
                archive.order(number as u8 + 1, ShredCause::Erasure, &mails)
            );
            match (held, ordered) {
                (Ok(_), Err(status)) => {
                    assert!(has_reason(&status, HELD), "{status:?}");
                    assert_eq!(archive.open(mail.key()).await.unwrap(), mail.bytes);
                }
                (Err(status), Ok(_)) => {
                    assert!(has_reason(&status, SHREDDED), "{status:?}");
                    archive.unreadable(mail).await;
                }
                other => panic!("{other:?}"),
            }
        }
    });
    futures::future::join_all(races).await;
    assert_eq!(archive.fsck().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_class_forbids_goes_only_when_its_time_and_its_lock_are_over() {
    let clock = Arc::new(FixedClock::at("2026-01-15T10:00:00.000Z".parse().unwrap()));
    let archive = Archive::start_at(clock.clone()).await;
    let agent = archive.agent("acme/mx1");
    let (early, late) = (Mail::plain(1), Mail::plain(2));
    agent.keep(1, &early).await;
    clock.set("2026-03-01T00:00:00.000Z".parse().unwrap());
    agent.keep(2, &late).await;
    archive.hold("case-1", &[&late]).await.unwrap();
    refused(archive.order(1, ShredCause::Erasure, &[&early]).await, RETAINED);
    refused(archive.order(1, ShredCause::Expiry, &[&early]).await, RETAINED);
    assert_eq!(archive.plan("").await.0, []);
    assert_eq!(archive.plan("2036-01-15T09:59:59.999Z").await.0, []);

    let planned = archive.plan("2036-06-01T00:00:00.000Z").await.0;
    let mut expected = [
        (early.key(), "2036-01-15T10:00:00.000Z", vec![]),
        (late.key(), "2036-03-01T00:00:00.000Z", vec!["case-1".to_owned()]),
    ];
    expected.sort();
    for (line, (message, expires, holds)) in planned.iter().zip(expected) {
        assert_eq!((line.message.as_ref(), line.expires_at.as_str()), (message, expires));
        assert_eq!((&line.holds, line.class.as_str()), (&holds, "10y-received-forbidden"));
    }
    // Expired, but the lock of its keys reaches to the end of the month.
    clock.set("2036-01-20T00:00:00.000Z".parse().unwrap());
    assert_eq!(archive.plan("").await.0.len(), 1);
    refused(archive.order(1, ShredCause::Expiry, &[&early]).await, RETAINED);
    clock.set("2036-06-01T00:00:00.000Z".parse().unwrap());
    archive.order(1, ShredCause::Expiry, &[&early]).await.unwrap();
    archive.carry_out(1).await;
    archive.unreadable(&early).await;
    refused(archive.order(2, ShredCause::Expiry, &[&late]).await, HELD);
    assert_eq!(archive.plan("").await.0.len(), 1);
    assert_eq!(archive.fsck().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn storage_destroys_only_what_a_leaf_of_the_tenant_orders() {
    let (archive, agent) = permitted().await;
    let mail = Mail::plain(1);
    agent.keep(1, &mail).await;
    let before = keys_left(&archive).await;
    let mut storage = archive.storage_for_worker();
    for leaf_index in [0, 1, 2, 1_000] {
        let request = ShredRequest { tenant: TENANT.into(), leaf_index };
        refused(storage.shred(request).await, "SHRED_NOT_ORDERED");
    }
    let leaf_index = archive.order(1, ShredCause::Erasure, &[&mail]).await.unwrap();
    let request = ShredRequest { tenant: "other".into(), leaf_index };
    refused(storage.shred(request).await, "SHRED_NOT_ORDERED");
    assert_eq!(keys_left(&archive).await, before);
}
