//! Orders and holds that meet what became of the archive meanwhile.

use openarchive_domain::RetentionClass;
use openarchive_ingest::HELD;
use openarchive_proto::ingest::v1::{LiftSuspensionRequest, ShredCause};

use crate::{
    agent::{Mail, noise},
    archive::{Archive, TENANT},
    governance::{ACTOR, keys_left, permitted, refused},
};

impl Archive {
    async fn lift(&self) {
        let request = LiftSuspensionRequest { tenant: TENANT.into(), actor: ACTOR.into() };
        self.catalogue.clone().lift_suspension(request).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_that_was_shredded_and_came_again_in_another_class_needs_nothing_in_the_first_and_can_go_again()
{
    let (mut archive, agent) = permitted().await;
    let shared = noise(1, 3_000);
    let (again, other) = (Mail::with_attachment(1, &shared), Mail::with_attachment(2, &shared));
    agent.keep(1, &again).await;
    agent.keep(2, &other).await;
    archive.shred(1, &[&again]).await.unwrap();
    assert_eq!(keys_left(&archive).await, 3);
    archive.restart_with("5y-received-permitted".parse::<RetentionClass>().unwrap()).await;
    let agent = archive.agent("acme/mx1");
    agent.keep(3, &again).await;
    assert_eq!(keys_left(&archive).await, 3 + 3, "the part is there once in each class");

    // The last mail that needs the part in the first class goes, and the part with it.
    archive.shred(2, &[&other]).await.unwrap();
    assert_eq!(keys_left(&archive).await, 3);
    assert_eq!(archive.open(again.key()).await.unwrap(), again.bytes);
    assert_eq!(archive.fsck().await, []);
    archive.shred(3, &[&again]).await.unwrap();
    assert_eq!(keys_left(&archive).await, 0);
    archive.unreadable(&again).await;
    assert_eq!(archive.fsck().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_whose_job_died_or_waits_goes_on_at_once_when_the_suspension_is_lifted() {
    let (archive, agent) = permitted().await;
    let mails = [Mail::plain(1), Mail::plain(2), Mail::plain(3)];
    for (number, mail) in (1..).zip(&mails) {
        agent.keep(number.into(), mail).await;
        archive.order(number, ShredCause::Erasure, &[mail]).await.unwrap();
    }
    let job = |number: u8| format!("where kind = 'shred' and unique_key like '{number:02x}{number:02x}%'");
    let (dead, waits, runs) = (job(1), job(2), job(3));
    archive
        .execute(&format!(
            "update jobs.job set state = 'dead', attempts = 8, finished_at = now() {dead};
             update jobs.job set attempts = 5, run_at = now() + interval '1 hour' {waits};
             update jobs.job set state = 'running', attempts = 2, lease_owner = gen_random_uuid(),
               lease_until = now() + interval '1 hour' {runs};"
        ))
        .await;
    archive.rebuild().await;
    assert_eq!(archive.count(&format!("jobs.job {dead} and state = 'dead'")).await, 1);
    archive.lift().await;
    for job in [dead, waits] {
        let due = "state = 'ready' and attempts = 0 and run_at <= now() and finished_at is null";
        assert_eq!(archive.count(&format!("jobs.job {job} and {due}")).await, 1, "{job}");
    }
    let kept = "state = 'running' and attempts = 2 and lease_owner is not null";
    assert_eq!(archive.count(&format!("jobs.job {runs} and {kept}")).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_keeps_mail_that_only_a_second_rebuild_could_restore() {
    let (archive, agent) = permitted().await;
    let (whole, damaged) = (Mail::plain(1), Mail::plain(2));
    agent.keep(1, &whole).await;
    agent.keep(2, &damaged).await;
    archive.hold("case-1", &[&whole, &damaged]).await.unwrap();
    archive.hold("case-2", &[&damaged]).await.unwrap();
    archive.release("case-2").await.unwrap();
    archive
        .execute(
            "create table saved as select e.* from storage.pack_entry e
               join ingest.observation o on o.record = e.digest and o.seq = 2;
             delete from storage.pack_entry e using saved s where e.digest = s.digest",
        )
        .await;
    archive.lose_the_catalogue().await;
    let report = archive.rebuild().await;
    assert_eq!((report.restored, report.damage.len()), (1, 1));
    assert_eq!(archive.holds(Some(&whole), false).await[0].messages, 1);
    // The pack was repaired.
    archive.execute("insert into storage.pack_entry select * from saved; drop table saved").await;
    let report = archive.rebuild().await;
    assert_eq!((report.restored, report.damage), (1, Vec::new()));
    assert_eq!(archive.holds(Some(&damaged), false).await[0].messages, 2);
    assert_eq!(archive.rebuild().await.damage, []);
    archive.lift().await;
    refused(archive.order(1, ShredCause::Erasure, &[&damaged]).await, HELD);
    assert_eq!(archive.fsck().await, []);
    archive.release("case-1").await.unwrap();
    archive.shred(1, &[&damaged]).await.unwrap();
}
