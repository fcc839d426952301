//! Plans of expiry, and runs that follow them.

use std::{collections::BTreeSet, sync::Arc};

use openarchive_domain::{Digest, FixedClock};
use openarchive_ingest::{EXPIRY_PLAN_MESSAGES_MAX, HELD, PLAN_CHANGED, PLAN_EARLY, RETAINED, SUSPENDED};
use openarchive_proto::ingest::v1::{
    LiftSuspensionRequest, PlanExpiryRequest, PlanExpiryResponse, RunExpiryRequest, RunExpiryResponse,
    ShredCause,
};
use serde_json::Value;
use tonic::{Code, Status};

use crate::{
    agent::{Agent, Mail, noise},
    archive::{Archive, TENANT},
    governance::{ACTOR, keys_left, refused},
};

const MADE: &str = "2026-01-15T10:00:00.000Z";
/// Ten years later, after the locks of all packs.
const OVER: &str = "2036-06-01T00:00:00.000Z";

impl Archive {
    pub(crate) async fn plan(&self, at: &str, after: &[u8], limit: u32) -> PlanExpiryResponse {
        let (tenant, after) = (TENANT.into(), after.to_vec().into());
        let request = PlanExpiryRequest { tenant, at: at.into(), after, limit };
        self.catalogue.clone().plan_expiry(request).await.unwrap().into_inner()
    }

    async fn run(&self, plan: &[u8]) -> Result<RunExpiryResponse, Status> {
        let request =
            RunExpiryRequest { tenant: TENANT.into(), plan: plan.to_vec().into(), actor: ACTOR.into() };
        Ok(self.catalogue.clone().run_expiry(request).await?.into_inner())
    }
}

/// The lines of mails.
fn lines(plan: &PlanExpiryResponse) -> Vec<Value> {
    let text = std::str::from_utf8(&plan.plan).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), plan.lines as usize + 2);
    lines[1..lines.len() - 1].to_vec()
}

async fn archive_in_2026() -> (Archive, Agent, Arc<FixedClock>) {
    let clock = Arc::new(FixedClock::at(MADE.parse().unwrap()));
    let archive = Archive::start_at(clock.clone()).await;
    let agent = archive.agent("acme/mx1");
    (archive, agent, clock)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_class_forbids_goes_only_when_its_time_and_its_lock_are_over() {
    let (archive, agent, clock) = archive_in_2026().await;
    let (early, late) = (Mail::plain(1), Mail::plain(2));
    agent.keep(1, &early).await;
    clock.set("2026-03-01T00:00:00.000Z".parse().unwrap());
    agent.keep(2, &late).await;
    archive.hold("case-1", &[&late]).await.unwrap();
    refused(archive.order(1, ShredCause::Erasure, &[&early]).await, RETAINED);
    refused(archive.order(1, ShredCause::Expiry, &[&early]).await, RETAINED);
    assert_eq!(archive.plan("", &[], 0).await.lines, 0);
    assert_eq!(archive.plan("2036-01-15T09:59:59.999Z", &[], 0).await.lines, 0);

    let plan = archive.plan(OVER, &[], 0).await;
    assert_eq!((plan.lines, plan.expiring, plan.next.len()), (2, 1, 0));
    let mut expected = [
        (early.digest().to_string(), "2036-01-15T10:00:00.000Z", "expire", "[]"),
        (late.digest().to_string(), "2036-03-01T00:00:00.000Z", "keep", "[\"case-1\"]"),
    ];
    expected.sort();
    for (line, (message, expires, action, holds)) in lines(&plan).iter().zip(expected) {
        assert_eq!((&line["message"], &line["expires_at"]), (&message.into(), &expires.into()));
        assert_eq!((&line["action"], line["holds"].to_string().as_str()), (&action.into(), holds));
        assert_eq!((&line["class"], &line["observations"]), (&"10y-received-forbidden".into(), &1.into()));
    }
    refused(archive.run(&plan.plan).await, PLAN_EARLY);

    // Expired, but the lock of its keys reaches to the end of the month: the plan says so, and runs without it.
    clock.set("2036-01-20T00:00:00.000Z".parse().unwrap());
    let plan = archive.plan("", &[], 0).await;
    assert_eq!((plan.lines, plan.expiring), (1, 0));
    assert_eq!(lines(&plan)[0]["locked_until"], "2036-02-01T00:00:00.000Z");
    assert_eq!(archive.run(&plan.plan).await.unwrap(), RunExpiryResponse::default());
    refused(archive.order(1, ShredCause::Expiry, &[&early]).await, RETAINED);
    clock.set(OVER.parse().unwrap());
    archive.order(1, ShredCause::Expiry, &[&early]).await.unwrap();
    archive.carry_out(1).await;
    archive.unreadable(&early).await;
    refused(archive.order(2, ShredCause::Expiry, &[&late]).await, HELD);
    assert_eq!(archive.plan("", &[], 0).await.lines, 1);
    assert_eq!(archive.fsck().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_does_what_its_plan_says_and_nothing_else() {
    let (archive, agent, clock) = archive_in_2026().await;
    let shared = noise(1, 3_000);
    let due: Vec<Mail> = (1..=5).map(|number| Mail::with_attachment(number, &shared)).collect();
    let (held, later) = (Mail::with_attachment(6, &shared), Mail::with_attachment(7, &shared));
    for (seq, mail) in (1..).zip(&due) {
        agent.keep(seq, mail).await;
    }
    agent.keep(6, &held).await;
    archive.hold("case-1", &[&held]).await.unwrap();
    clock.set("2036-03-01T00:00:00.000Z".parse().unwrap());
    agent.keep(7, &later).await;
    clock.set(OVER.parse().unwrap());
    let plan = archive.plan("", &[], 0).await;
    assert_eq!((plan.lines, plan.expiring), (6, 5));
    let before = keys_left(&archive).await;

    let done = archive.run(&plan.plan).await.unwrap();
    assert_eq!((done.orders.len(), done.messages), (1, 5));
    assert_eq!(archive.run(&plan.plan).await.unwrap(), done, "the same plan again changes nothing");
    let tenant = TENANT.to_owned();
    let ordered: BTreeSet<Digest> = due.iter().map(Mail::digest).collect();
    let listed: BTreeSet<Digest> = lines(&plan)
        .iter()
        .filter(|line| line["action"] == "expire")
        .map(|line| line["message"].as_str().unwrap().parse().unwrap())
        .collect();
    assert_eq!(listed, ordered);
    let shred = done.orders[0].shred.to_vec();
    assert_eq!(archive.carry_out_order(&tenant, shred).await, 2 * 5);
    assert_eq!(keys_left(&archive).await, before - 2 * 5);
    for mail in &due {
        archive.unreadable(mail).await;
    }
    for mail in [&held, &later] {
        assert_eq!(
            archive.open(mail.key()).await.unwrap(),
            mail.bytes,
            "what it shared with others is there"
        );
    }
    assert_eq!(archive.run(&plan.plan).await.unwrap(), done);
    let plan = archive.plan("", &[], 0).await;
    assert_eq!((plan.lines, plan.expiring), (1, 0));
    assert_eq!(archive.fsck().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_no_longer_holds_is_refused_as_a_whole() {
    let (archive, agent, clock) = archive_in_2026().await;
    let mails: Vec<Mail> = (1..=3).map(Mail::plain).collect();
    for (seq, mail) in (1..).zip(&mails) {
        agent.keep(seq, mail).await;
    }
    clock.set(OVER.parse().unwrap());
    let plan = archive.plan("", &[], 0).await.plan;
    archive.hold("case-1", &[&mails[1]]).await.unwrap();
    refused(archive.run(&plan).await, PLAN_CHANGED);
    archive.release("case-1").await.unwrap();
    // Not a byte may differ, and another tenant has its own.
    let text = String::from_utf8(plan.to_vec()).unwrap();
    for bad in ["", &text[1..], &text.replace("expire", "keep"), &format!("{text} ")] {
        assert_eq!(archive.run(bad.as_bytes()).await.unwrap_err().code(), Code::InvalidArgument, "{bad}");
    }
    let (other, actor) = ("other".into(), ACTOR.into());
    let request = RunExpiryRequest { tenant: other, plan: plan.clone(), actor };
    let status = archive.catalogue.clone().run_expiry(request).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    // Seen again: from now on it is kept for another ten years.
    agent.keep(4, &mails[2]).await;
    refused(archive.run(&plan).await, PLAN_CHANGED);
    assert_eq!(archive.list().await.len(), 3, "nothing was ordered");
    let plan = archive.plan("", &[], 0).await;
    assert_eq!((plan.lines, plan.expiring), (2, 2));

    archive.lose_the_catalogue().await;
    archive.rebuild().await;
    refused(archive.run(&plan.plan).await, SUSPENDED);
    assert_eq!(archive.plan("", &[], 0).await.suspended_at, OVER);
    let lift = LiftSuspensionRequest { tenant: TENANT.into(), actor: ACTOR.into() };
    archive.catalogue.clone().lift_suspension(lift).await.unwrap();
    assert_eq!(archive.run(&plan.plan).await.unwrap().messages, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn plans_go_on_where_the_one_before_ended() {
    let (archive, agent, clock) = archive_in_2026().await;
    let mails: Vec<Mail> = (1..=5).map(Mail::plain).collect();
    for (seq, mail) in (1..).zip(&mails) {
        agent.keep(seq, mail).await;
    }
    clock.set(OVER.parse().unwrap());
    let (mut after, mut seen) = (Vec::new(), Vec::new());
    for expected in [2, 2, 1] {
        let plan = archive.plan("", &after, 2).await;
        assert_eq!((plan.lines, plan.next.is_empty()), (expected, expected == 1));
        seen.extend(lines(&plan).iter().map(|line| line["message"].as_str().unwrap().to_owned()));
        assert_eq!(archive.run(&plan.plan).await.unwrap().messages, expected);
        after = plan.next.to_vec();
    }
    let all: BTreeSet<String> = mails.iter().map(|mail| mail.digest().to_string()).collect();
    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), all);
    let most = |limit| {
        let request = PlanExpiryRequest { tenant: TENANT.into(), limit, ..Default::default() };
        let mut catalogue = archive.catalogue.clone();
        async move { catalogue.plan_expiry(request).await }
    };
    assert!(most(EXPIRY_PLAN_MESSAGES_MAX).await.is_ok());
    let status = most(EXPIRY_PLAN_MESSAGES_MAX + 1).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
}
