//! Holds, shredding and expiry, with the worker's part played by the test.

use std::collections::BTreeSet;

use openarchive_domain::{Digest, RetentionClass};
use openarchive_ingest::{
    Finding, HELD, HOLD_EXISTS, HOLD_MESSAGES_MAX, SHRED_EXISTS, SHRED_MESSAGES_MAX, SHREDDED, SUSPENDED,
};
use openarchive_ledger::{leaf::ShredCause as Cause, policy::Policy, shred_certificate::verify_certificate};
use openarchive_proto::{
    ingest::v1::{
        CommitItem, CommitMessagesRequest, FinishShredRequest, GetShredCertificateRequest, GetShredRequest,
        HoldSummary, LiftSuspensionRequest, ListHoldsRequest, Offer, ReleaseHoldRequest, SetHoldRequest,
        ShredCause, ShredMessagesRequest, upload_blobs_request::Item,
    },
    storage::v1::ShredRequest,
};
use openarchive_rpc::has_reason;
use tonic::{Code, Status};

use crate::{
    agent::{Agent, Mail, noise, receipt},
    archive::{Archive, TENANT},
};

pub(crate) const PERMITTED: &str = "10y-received-permitted";
pub(crate) const ACTOR: &str = "tok-1";

impl Agent {
    /// Archives mail in whatever class the rule gives it.
    pub(crate) async fn keep(&self, seq: u64, mail: &Mail) {
        self.keep_offer(mail.offer(self.seat(seq)), mail).await;
    }

    pub(crate) async fn keep_offer(&self, offer: Offer, mail: &Mail) {
        let answer = self.offers(vec![offer.clone()]).await.unwrap().remove(0);
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
        let items = vec![CommitItem { offer: Some(offer), class: answer.class }];
        let answer = self.client.clone().commit_messages(CommitMessagesRequest { items }).await.unwrap();
        receipt(&answer.into_inner().results[0]);
    }
}

impl Archive {
    pub(crate) async fn hold(&self, hold: &str, mails: &[&Mail]) -> Result<u64, Status> {
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

    pub(crate) async fn release(&self, hold: &str) -> Result<u64, Status> {
        let request = ReleaseHoldRequest { tenant: TENANT.into(), hold: hold.into(), actor: "tok-2".into() };
        Ok(self.catalogue.clone().release_hold(request).await?.into_inner().leaf_index)
    }

    pub(crate) async fn holds(&self, mail: Option<&Mail>, released: bool) -> Vec<HoldSummary> {
        let message = mail.map_or_else(Vec::new, |mail| mail.key().to_vec()).into();
        let request = ListHoldsRequest { tenant: TENANT.into(), message, released };
        self.catalogue.clone().list_holds(request).await.unwrap().into_inner().holds
    }

    pub(crate) async fn order(&self, id: u8, cause: ShredCause, mails: &[&Mail]) -> Result<u64, Status> {
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
    pub(crate) async fn carry_out(&self, id: u8) -> u32 {
        self.carry_out_order(TENANT, vec![id; 16]).await
    }

    pub(crate) async fn carry_out_order(&self, tenant: &str, shred: Vec<u8>) -> u32 {
        let tenant = tenant.to_owned();
        let mut catalogue = self.catalogue_for_worker();
        let request = GetShredRequest { tenant: tenant.clone(), shred: shred.clone().into() };
        let order = catalogue.get_shred(request).await.unwrap().into_inner();
        let request = ShredRequest { tenant: tenant.clone(), leaf_index: order.leaf_index };
        let keys = self.storage_for_worker().shred(request).await.unwrap().into_inner().keys;
        catalogue.finish_shred(FinishShredRequest { tenant, shred: shred.into() }).await.unwrap();
        keys
    }

    pub(crate) async fn shred(&self, id: u8, mails: &[&Mail]) -> Result<(), Status> {
        self.order(id, ShredCause::Erasure, mails).await?;
        self.carry_out(id).await;
        Ok(())
    }

    pub(crate) async fn certificate(&self, mail: &Mail) -> Result<String, Status> {
        let request =
            GetShredCertificateRequest { tenant: TENANT.into(), message: mail.key().to_vec().into() };
        Ok(self.catalogue.clone().get_shred_certificate(request).await?.into_inner().certificate)
    }

    /// Loses the catalogue, but for nothing.
    pub(crate) async fn lose_the_catalogue(&self) {
        self.all_leaves().await;
        self.execute(
            "truncate ingest.message, ingest.message_part, ingest.participant, ingest.observation, ingest.agent,
               ingest.outbox, ingest.act, ingest.hold, ingest.shred, ingest.suspension, ingest.quarantine_release
               restart identity cascade;
             truncate jobs.job;",
        )
        .await;
    }

    pub(crate) async fn unreadable(&self, mail: &Mail) {
        for status in [
            self.open(mail.key()).await.unwrap_err(),
            self.get(mail.key()).await.unwrap_err(),
            self.proof(mail.key()).await.unwrap_err(),
        ] {
            assert!(has_reason(&status, SHREDDED) && status.code() == Code::NotFound, "{status:?}");
        }
    }
}

/// An archive whose mail may be erased.
pub(crate) async fn permitted() -> (Archive, Agent) {
    let mut archive = Archive::start().await;
    archive.restart_with(PERMITTED.parse::<RetentionClass>().unwrap()).await;
    let agent = archive.agent("acme/mx1");
    (archive, agent)
}

#[track_caller]
pub(crate) fn refused(outcome: Result<impl std::fmt::Debug, Status>, reason: &str) {
    let status = outcome.unwrap_err();
    assert!(has_reason(&status, reason), "{status:?}");
}

/// Bytes of every key file and every row that still holds a key.
pub(crate) async fn keys_left(archive: &Archive) -> i64 {
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
    let proof = archive.proof(first.key()).await.unwrap();
    let leaf = archive.order(1, ShredCause::Erasure, &[&first, &third]).await.unwrap();
    assert_eq!(archive.certificate(&first).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(archive.order(1, ShredCause::Erasure, &[&first, &third]).await.unwrap(), leaf);
    for others in [&[&first][..], &[&first, &second], &[&first, &second, &third]] {
        refused(archive.order(1, ShredCause::Erasure, others).await, SHRED_EXISTS);
    }
    refused(archive.order(1, ShredCause::Expiry, &[&first, &third]).await, SHRED_EXISTS);
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
    let certificate = archive.certificate(&first).await.unwrap();
    let policy = Policy::of_logs(vec![agent.log_key().await]);
    let verified = verify_certificate(&certificate, Some(&policy), Some(&proof)).unwrap();
    assert_eq!((verified.order.index, verified.order.leaf.cause), (leaf, Cause::Erasure));
    assert_eq!((verified.message, verified.observations.len()), (first.digest(), 2));
    assert_eq!(verified.identified, Some(verified.observations[0].0));
    assert_eq!(archive.certificate(&second).await.unwrap_err().code(), Code::NotFound);
    // Of the other mail of the order it shows no leaf of the first.
    let other = archive.certificate(&third).await.unwrap();
    let other = verify_certificate(&other, Some(&policy), None).unwrap();
    assert_eq!((other.message, other.observations.len(), other.order.index), (third.digest(), 1, leaf));
    let verified = verified.order;
    let leaves: Vec<i64> = sqlx::query_scalar(
        "select leaf_index from ingest.observation where message <> $1 order by leaf_index",
    )
    .bind(second.key())
    .fetch_all(&archive.pool)
    .await
    .unwrap();
    assert_eq!(verified.leaf.leaves, leaves.iter().map(|leaf| *leaf as u64).collect::<BTreeSet<_>>());
    assert!(verify_certificate(&certificate.replacen("index ", "index 1", 1), None, None).is_err());

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
async fn holds_and_orders_have_as_many_mails_as_their_limits() {
    let (archive, _agent) = permitted().await;
    let ids =
        |count: usize| (0..count).map(|number| Digest::of(&number.to_be_bytes()).as_bytes().to_vec().into());
    let order = |count| {
        let request = ShredMessagesRequest {
            tenant: TENANT.into(),
            shred: vec![1; 16].into(),
            cause: ShredCause::Erasure.into(),
            messages: ids(count).collect(),
            actor: ACTOR.into(),
        };
        let mut catalogue = archive.catalogue.clone();
        async move { catalogue.shred_messages(request).await.unwrap_err().code() }
    };
    let hold = |count| {
        let request = SetHoldRequest {
            tenant: TENANT.into(),
            hold: "case-1".into(),
            reason: "a case".into(),
            query: String::new(),
            messages: ids(count).collect(),
            actor: ACTOR.into(),
        };
        let mut catalogue = archive.catalogue.clone();
        async move { catalogue.set_hold(request).await.unwrap_err().code() }
    };
    // Within the limit they are looked for, and none is there.
    assert_eq!(order(SHRED_MESSAGES_MAX).await, Code::NotFound);
    assert_eq!(hold(HOLD_MESSAGES_MAX).await, Code::NotFound);
    for refused in [
        order(0).await,
        order(SHRED_MESSAGES_MAX + 1).await,
        hold(0).await,
        hold(HOLD_MESSAGES_MAX + 1).await,
    ] {
        assert_eq!(refused, Code::InvalidArgument);
    }
    // A hold that is refused leaves no record of anybody's mail behind.
    assert_eq!(archive.count("storage.pack_entry").await, 0);
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

/// The database was lost while the worker had not come to an order yet.
#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_was_not_carried_out_stands_after_a_rebuild_and_goes_on_when_somebody_lets_it() {
    let (archive, agent) = permitted().await;
    let (going, gone, live) = (Mail::with_attachment(1, &noise(1, 3_000)), Mail::plain(2), Mail::plain(3));
    for (seq, mail) in (1..).zip([&going, &gone, &live]) {
        agent.keep(seq, mail).await;
    }
    archive.shred(1, &[&gone]).await.unwrap();
    archive.order(2, ShredCause::Erasure, &[&going]).await.unwrap();
    let before = keys_left(&archive).await;
    archive.lose_the_catalogue().await;
    let report = archive.rebuild().await;
    assert_eq!((report.restored, report.damage), (1, Vec::new()));
    assert_eq!(archive.rebuild().await.damage, [], "a second rebuild finds nothing to do");
    // Nobody can read it, though its keys are there still; the other one's leaf says what became of it.
    archive.unreadable(&going).await;
    assert_eq!(archive.open(gone.key()).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(archive.open(live.key()).await.unwrap(), live.bytes);
    assert_eq!(archive.list().await.len(), 1);
    assert_eq!((archive.fsck().await, keys_left(&archive).await), (Vec::new(), before));
    let states = "select string_agg(state, ' ' order by ordered_at) from ingest.shred";
    let state: String = sqlx::query_scalar(states).fetch_one(&archive.pool).await.unwrap();
    assert_eq!(state, "shredded shredding");
    assert_eq!(archive.count("jobs.job where kind = 'shred'").await, 0);

    let lift = LiftSuspensionRequest { tenant: TENANT.into(), actor: ACTOR.into() };
    archive.catalogue.clone().lift_suspension(lift).await.unwrap();
    assert_eq!(archive.count("jobs.job where kind = 'shred'").await, 1);
    assert_eq!(archive.carry_out(2).await, 3);
    assert_eq!(keys_left(&archive).await, 2);
    archive.unreadable(&going).await;
    let certificate = archive.certificate(&going).await.unwrap();
    let policy = Policy::of_logs(vec![agent.log_key().await]);
    assert_eq!(verify_certificate(&certificate, Some(&policy), None).unwrap().message, going.digest());
    assert_eq!(archive.fsck().await, []);

    // Once more, with everything done and the suspension lifted: nothing is left of either, and nothing is missed.
    archive.lose_the_catalogue().await;
    assert_eq!(archive.rebuild().await.damage, []);
    assert_eq!(archive.fsck().await, []);
    assert_eq!(archive.open(going.key()).await.unwrap_err().code(), Code::NotFound);
    refused(archive.order(3, ShredCause::Erasure, &[&live]).await, SUSPENDED);
}

/// As somebody with the database's password could change them: what was done stands in the log.
#[tokio::test(flavor = "multi_thread")]
async fn an_act_that_somebody_takes_out_of_the_database_is_missed() {
    let (archive, agent) = permitted().await;
    let (held, gone) = (Mail::plain(1), Mail::plain(2));
    agent.keep(1, &held).await;
    agent.keep(2, &gone).await;
    archive.hold("case-1", &[&held]).await.unwrap();
    archive.hold("case-2", &[&held]).await.unwrap();
    archive.release("case-2").await.unwrap();
    archive.shred(1, &[&gone]).await.unwrap();
    assert_eq!(archive.fsck().await, []);
    let cases = [
        (
            "hold_message",
            "delete from ingest.hold_message where hold = 'case-1'",
            "insert into ingest.hold_message select * from saved where hold = 'case-1'",
        ),
        (
            "hold",
            "update ingest.hold set released_at = 1, released_by = 'x', released_act = created_act
             where hold = 'case-1'",
            "update ingest.hold set released_at = null, released_by = null, released_act = null
             where hold = 'case-1'",
        ),
        (
            "hold",
            "update ingest.hold set released_at = 1, released_by = 'x' where hold = 'case-1'",
            "update ingest.hold set released_at = null, released_by = null where hold = 'case-1'",
        ),
        (
            "hold",
            "update ingest.hold set released_at = null where hold = 'case-2'",
            "update ingest.hold h set released_at = s.released_at from saved s where s.hold = h.hold",
        ),
        (
            "hold",
            "update ingest.hold set record = sha256('another') where hold = 'case-1'",
            "update ingest.hold h set record = s.record from saved s where s.hold = h.hold",
        ),
        (
            "shred_observation",
            "delete from ingest.shred_observation",
            "insert into ingest.shred_observation select * from saved",
        ),
        (
            "act",
            "update ingest.act set idempotency_key = sha256('another') where body like '%case-1%'",
            "update ingest.act a set idempotency_key = s.idempotency_key from saved s where s.act_id = a.act_id",
        ),
    ];
    for (table, change, undo) in cases {
        archive.execute(&format!("create table saved as table ingest.{table}; {change}")).await;
        let findings = archive.fsck().await;
        let about_acts =
            |found: &Finding| matches!(found, Finding::ActDiffers { .. } | Finding::ActMissing { .. });
        assert!(findings.iter().any(about_acts), "{change}: {findings:?}");
        archive.execute(&format!("{undo}; drop table saved")).await;
        assert_eq!(archive.fsck().await, [], "{undo}");
    }
}
