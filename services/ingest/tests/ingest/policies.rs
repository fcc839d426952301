//! Retention policies, from the operator's call to the class of a mail, and beyond the life of the database.

use std::sync::Arc;

use openarchive_domain::{FixedClock, Seat};
use openarchive_ingest::{INVALID, Ingest, LOCKED_IN_CORE};
use openarchive_mail::text::HEADER_ADDRESSES_MAX;
use openarchive_proto::ingest::v1::{
    ApplyPoliciesRequest, ApplyPoliciesResponse, CommitItem, CommitMessagesRequest, CommitResult, Direction,
    Envelope, Erasure, HeaderAddresses, Offer, PolicyDecision, RetentionPolicy, StartFrom, TenantDomains,
    UploadBlobsRequest, catalogue_service_client::CatalogueServiceClient, retention_policy::KeepFor,
    upload_blobs_request::Item,
};
use openarchive_rpc::{PeerIdentity, Role, RpcChannel, has_reason, in_process_as};
use tonic::{Code, Status};

use crate::{
    agent::{Agent, Mail, class, receipt},
    archive::{Archive, WAIT_MAX},
    faults::Fails,
};

/// Everybody's mail, kept for some years and erasable.
pub(crate) fn policy(name: &str, years: u32) -> RetentionPolicy {
    RetentionPolicy {
        name: name.to_owned(),
        uid: format!("uid-of-{name}"),
        generation: 1,
        tenant: String::new(),
        mailboxes: Vec::new(),
        domains: Vec::new(),
        direction: Direction::Any.into(),
        keep_for: Some(KeepFor::Years(years)),
        start_from: StartFrom::Received.into(),
        erasure: Erasure::Permitted.into(),
        locked: false,
    }
}

pub(crate) fn locked(name: &str, years: u32) -> RetentionPolicy {
    RetentionPolicy { locked: true, ..policy(name, years) }
}

pub(crate) fn of(mailbox: &str, policy: RetentionPolicy) -> RetentionPolicy {
    RetentionPolicy { mailboxes: vec![mailbox.to_owned()], ..policy }
}

pub(crate) async fn apply_to(
    ingest: &Ingest,
    policies: Vec<RetentionPolicy>,
) -> Result<ApplyPoliciesResponse, Status> {
    let tenants = vec![TenantDomains { tenant: "acme".to_owned(), domains: vec!["corp.example".to_owned()] }];
    let channel: RpcChannel = in_process_as(Role::Operator, ingest.catalogue_server());
    let request = ApplyPoliciesRequest { tenants, policies };
    Ok(CatalogueServiceClient::new(channel).apply_policies(request).await?.into_inner())
}

impl Archive {
    pub(crate) async fn apply(&self, policies: Vec<RetentionPolicy>) -> ApplyPoliciesResponse {
        apply_to(&self.ingest, policies).await.unwrap()
    }

    /// Leaves that put policies in force, in the archive's own log.
    async fn policy_leaves(&self) -> Vec<String> {
        sqlx::query_scalar(
            r#"select convert_from(l.body, 'UTF8') from trust.leaf l join trust.log using (log_id)
               where tenant = '_' and stream = 'evidence' and convert_from(l.body, 'UTF8') like '%"kind":"policies"%'
               order by leaf_index"#,
        )
        .fetch_all(&self.pool)
        .await
        .unwrap()
    }
}

/// Name, decision, reason and what stands.
fn told(answer: &ApplyPoliciesResponse) -> Vec<String> {
    let text = |outcome: &openarchive_proto::ingest::v1::PolicyOutcome| {
        let standing = outcome.standing.as_ref();
        let standing = standing.map(|s| format!("{} {} {}", s.uid, s.generation, s.class));
        let decision = match outcome.decision() {
            PolicyDecision::Accepted => "accepted",
            PolicyDecision::Refused => "refused",
            PolicyDecision::Kept => "kept",
            PolicyDecision::Unspecified => "nothing",
        };
        format!("{} {decision} {} {}", outcome.name, outcome.reason, standing.unwrap_or_default())
    };
    answer.outcomes.iter().map(text).collect()
}

pub(crate) fn mail(number: u32, from: &str, to: &str) -> Mail {
    Mail::new(format!("From: {from}\r\nTo: {to}\r\nSubject: number {number}\r\n\r\nbody {number}\r\n"))
}

fn offer(mail: &Mail, seat: Seat, from: &str, to: &[&str]) -> Offer {
    let to = to.iter().map(|&to| to.to_owned()).collect();
    let (peer, mode) = ("192.0.2.1".to_owned(), "plain".to_owned());
    Offer { envelope: Some(Envelope { from: from.to_owned(), to, peer, mode }), ..mail.offer(seat) }
}

async fn offered(agent: &Agent, offer: Offer) -> String {
    agent.offers(vec![offer]).await.unwrap().remove(0).class
}

/// Every blob of a mail, for a class of the caller's choice.
fn requests_as(mail: &Mail, class: &str) -> Vec<UploadBlobsRequest> {
    let mut requests: Vec<_> = mail.blobs().iter().flat_map(crate::agent::Blob::requests).collect();
    for request in &mut requests {
        if let Some(Item::Header(header)) = &mut request.item {
            class.clone_into(&mut header.class);
        }
    }
    requests
}

impl Agent {
    async fn upload_as(&self, mail: &Mail, class: &str) {
        self.upload_requests(requests_as(mail, class)).await.unwrap();
    }
}

async fn commit(agent: &Agent, offer: Offer, class: &str) -> Result<CommitResult, Status> {
    let items = vec![CommitItem { offer: Some(offer), class: class.to_owned() }];
    let answer = agent.client.clone().commit_messages(CommitMessagesRequest { items }).await?;
    Ok(answer.into_inner().results.remove(0))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_class_of_the_next_offer_follows_from_the_policies_on_every_replica() {
    let archive = Archive::start().await;
    let other = archive.replica();
    let caller = PeerIdentity::local_agent("acme/mx1".parse().unwrap());
    let agent = Agent::new(in_process_as(caller, other.agent_server()), "acme/mx1".parse().unwrap());
    let strangers = archive.agent("other/mx1");
    let mail = mail(1, "ann@corp.example", "x@else.example");
    let sent = || offer(&mail, agent.seat(1), "ann@corp.example", &["x@else.example"]);
    let received = || offer(&mail, agent.seat(1), "x@else.example", &["Ann@Corp.Example"]);
    let check = async |policies: Vec<RetentionPolicy>, of_sent: &str, of_received: &str| {
        archive.apply(policies).await;
        assert_eq!(offered(&agent, sent()).await, of_sent);
        assert_eq!(offered(&agent, received()).await, of_received);
    };
    let default = class();
    check(vec![], &default, &default).await;
    let outbound = RetentionPolicy { direction: Direction::Outbound.into(), ..policy("sent", 2) };
    check(vec![outbound.clone()], "2y-received-permitted", &default).await;
    // Of two that match the longer one counts, and erasure is forbidden if one of them says so.
    let ann =
        RetentionPolicy { erasure: Erasure::Forbidden.into(), ..of("ANN@corp.example", policy("ann", 1)) };
    check(vec![outbound.clone(), ann.clone()], "2y-received-forbidden", "1y-received-forbidden").await;
    let year_end = RetentionPolicy {
        keep_for: Some(KeepFor::Months(36)),
        start_from: StartFrom::YearEnd.into(),
        domains: vec!["corp.example".to_owned()],
        ..policy("corp", 1)
    };
    let all = vec![outbound, ann, year_end];
    check(all, "36m-yearend-forbidden", "36m-yearend-forbidden").await;
    // Another tenant has neither these domains nor a policy of acme's.
    let acmes = RetentionPolicy { tenant: "acme".to_owned(), ..policy("acmes", 3) };
    check(vec![acmes], "3y-received-permitted", "3y-received-permitted").await;
    let theirs = Mail::plain(1);
    assert_eq!(offered(&strangers, theirs.offer(strangers.seat(1))).await, default);
    check(vec![], &default, &default).await;
    other.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_is_kept_by_the_addresses_of_its_header_though_the_offer_does_not_say_them() {
    let archive = Archive::start().await;
    let agent = archive.agent("acme/mx1");
    archive.apply(vec![of("hr@corp.example", policy("hr", 2))]).await;
    let mail = mail(1, "x@else.example", "hr@corp.example");
    // An import: the envelope says nothing.
    let imported = |seq| offer(&mail, agent.seat(seq), "", &[]);
    assert_eq!(offered(&agent, imported(1)).await, class());
    agent.upload(&mail.blobs()).await.unwrap();
    let status = commit(&agent, imported(1), &class()).await.unwrap_err();
    assert!(status.code() == Code::Aborted && has_reason(&status, "CLASS_CHANGED"), "{status:?}");
    assert_eq!(archive.count("ingest.observation").await, 0);
    // Offered again, and from then on, its class is known.
    let kept = "2y-received-permitted";
    assert_eq!(offered(&agent, imported(1)).await, kept);
    agent.keep_offer(imported(1), &mail).await;
    assert_eq!(archive.get(mail.key()).await.unwrap().message.unwrap().class, kept);
    let again = agent.offers(vec![imported(2)]).await.unwrap().remove(0);
    assert_eq!((again.class.as_str(), again.skeleton_missing), (kept, false));
    // Mail that the policy does not match is not held up.
    let plain = Mail::plain(7);
    agent.archive(&[(3, &plain)]).await;
    archive.all_leaves().await;
    assert_eq!(archive.fsck().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hint_at_the_header_gives_the_class_at_once_and_one_that_lies_costs_only_an_upload() {
    let archive = Archive::start().await;
    let agent = archive.agent("acme/mx1");
    archive.apply(vec![of("hr@corp.example", policy("hr", 2))]).await;
    let (default, of_hr) = (class(), "2y-received-permitted".to_owned());
    let (to_hr, to_ann) =
        (mail(1, "x@else.example", "hr@corp.example"), mail(2, "x@else.example", "ann@corp.example"));
    let hinted = |mail: &Mail, seq, to: Vec<String>| {
        let header = Some(HeaderAddresses { from: vec!["x@else.example".to_owned()], to });
        Offer { header, ..offer(mail, agent.seat(seq), "", &[]) }
    };
    let hr = || vec!["HR@Corp.Example".to_owned()];
    let ann = || vec!["ann@corp.example".to_owned()];
    let skeletons = async |class: &str| {
        archive.count(&format!("storage.pack_entry where kind = 2 and class = '{class}'")).await
    };

    assert_eq!(offered(&agent, hinted(&to_hr, 1, hr())).await, of_hr);
    agent.keep_offer(hinted(&to_hr, 1, hr()), &to_hr).await;
    assert_eq!(archive.get(to_hr.key()).await.unwrap().message.unwrap().class, of_hr);
    assert_eq!((skeletons(&of_hr).await, skeletons(&default).await), (1, 0), "it was uploaded once");

    // More than a hint holds is none; as much as it holds is one.
    let many = |count| [vec!["a@b.example".to_owned(); count], hr()].concat();
    assert_eq!(offered(&agent, hinted(&to_ann, 2, many(HEADER_ADDRESSES_MAX - 2))).await, of_hr);
    assert_eq!(offered(&agent, hinted(&to_ann, 2, many(HEADER_ADDRESSES_MAX - 1))).await, default);

    for (seq, mail, lie, expected) in
        [(2, &to_ann, hr(), &default), (3, &mail(3, "x@else.example", "hr@corp.example"), ann(), &of_hr)]
    {
        let lying = || hinted(mail, seq, lie.clone());
        let guessed = offered(&agent, lying()).await;
        assert_ne!(&guessed, expected);
        agent.upload_as(mail, &guessed).await;
        let status = commit(&agent, lying(), &guessed).await.unwrap_err();
        assert!(has_reason(&status, "CLASS_CHANGED"), "{status:?}");
        // The mail itself is there now, and counts.
        assert_eq!(&offered(&agent, lying()).await, expected);
        agent.keep_offer(lying(), mail).await;
        assert_eq!(&archive.get(mail.key()).await.unwrap().message.unwrap().class, expected);
    }
    archive.all_leaves().await;
    assert_eq!(archive.fsck().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_mail_gets_a_class_that_its_own_addresses_do_not_give() {
    let archive = Archive::start().await;
    let agent = archive.agent("acme/mx1");
    archive.apply(vec![of("hr@corp.example", policy("hr", 2))]).await;
    // Some mail gets this class, so the blobs may be uploaded; this mail does not.
    let mail = mail(1, "x@else.example", "ann@corp.example");
    let short = "2y-received-permitted";
    let offer = || offer(&mail, agent.seat(1), "x@else.example", &["ann@corp.example"]);
    let requests = requests_as(&mail, short);
    agent.upload_requests(requests.clone()).await.unwrap();
    let status = commit(&agent, offer(), short).await.unwrap_err();
    assert!(has_reason(&status, "CLASS_CHANGED"), "{status:?}");
    // A class that no mail gets is not even stored.
    archive.apply(vec![]).await;
    let status = agent.upload_requests(requests).await.unwrap_err();
    assert!(status.code() == Code::Aborted && has_reason(&status, "CLASS_CHANGED"), "{status:?}");
    agent.keep_offer(offer(), &mail).await;
    assert_eq!(archive.get(mail.key()).await.unwrap().message.unwrap().class, class());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_locked_never_shortens_and_the_others_are_not_held_up() {
    let mut archive = Archive::start().await;
    let first = archive.apply(vec![locked("tax", 6), policy("rest", 1)]).await;
    assert_eq!(
        told(&first),
        [
            "tax accepted  uid-of-tax 1 6y-received-permitted",
            "rest accepted  uid-of-rest 1 1y-received-permitted"
        ]
    );
    assert_eq!((first.version, first.leaf_index.is_some()), (1, true));
    // The same again changes nothing and answers the same.
    assert_eq!(archive.apply(vec![locked("tax", 6), policy("rest", 1)]).await, first);
    archive.restart().await;
    let stands = format!("refused {LOCKED_IN_CORE} uid-of-tax 1 6y-received-permitted");
    let recreated = RetentionPolicy { uid: "another".to_owned(), ..locked("tax", 5) };
    for shorter in [
        locked("tax", 5),
        policy("tax", 7),
        RetentionPolicy { keep_for: Some(KeepFor::Months(120)), ..locked("tax", 6) },
        RetentionPolicy { start_from: StartFrom::YearEnd.into(), ..locked("tax", 6) },
        of("ann@corp.example", locked("tax", 6)),
        recreated,
    ] {
        let answer = archive.apply(vec![shorter, policy("rest", 2)]).await;
        let told = told(&answer);
        assert_eq!(told[0], format!("tax {stands}"));
        assert_eq!(told[1], "rest accepted  uid-of-rest 1 2y-received-permitted");
    }
    // A policy that is none is refused, and what stands stays.
    let bad = RetentionPolicy { mailboxes: vec!["nobody".to_owned()], ..policy("rest", 3) };
    let answer = archive.apply(vec![bad, locked("tax", 6)]).await;
    assert_eq!(
        told(&answer),
        [
            format!("rest refused {INVALID} uid-of-rest 1 2y-received-permitted"),
            "tax accepted  uid-of-tax 1 6y-received-permitted".to_owned()
        ]
    );
    assert_eq!(answer.outcomes[0].message, "policies[0].mailboxes must be addresses like jane@example.org");
    // Deleted: the one that is not locked is gone, the other is in force and listed.
    let answer = archive.apply(vec![]).await;
    let kept = format!("tax kept {LOCKED_IN_CORE} uid-of-tax 1 6y-received-permitted");
    assert_eq!(told(&answer), [kept]);
    let agent = archive.agent("acme/mx1");
    assert_eq!(offered(&agent, Mail::plain(1).offer(agent.seat(1))).await, "6y-received-permitted");
    // It grows, also from another object.
    let longer = RetentionPolicy {
        uid: "another".to_owned(),
        generation: 4,
        erasure: Erasure::Forbidden.into(),
        ..locked("tax", 8)
    };
    let answer = archive.apply(vec![longer]).await;
    assert_eq!(told(&answer), ["tax accepted  another 4 8y-received-forbidden"]);
    assert_eq!(offered(&agent, Mail::plain(1).offer(agent.seat(1))).await, "8y-received-forbidden");
    assert_eq!(archive.fsck().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_set_is_a_leaf_that_says_nothing_of_whom_it_names() {
    let archive = Archive::start().await;
    for years in [1, 2, 2, 3] {
        archive.apply(vec![of("ann@corp.example", policy("ann", years))]).await;
    }
    let leaves = archive.policy_leaves().await;
    assert_eq!(leaves.len(), 3);
    for leaf in &leaves {
        assert!(!leaf.contains("ann") && !leaf.contains("corp") && !leaf.contains("received"), "{leaf}");
    }
    assert_eq!(archive.count("ingest.policy_set").await, 3);
    assert_eq!(archive.count("storage.pack_entry where tenant = '_' and class = 'system'").await, 3);
    assert_eq!(archive.fsck().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_restores_what_is_in_force_and_what_is_locked() {
    let archive = Archive::start().await;
    let agent = archive.agent("acme/mx1");
    archive.apply(vec![policy("old", 9)]).await;
    let before = archive.apply(vec![locked("tax", 6), of("hr@corp.example", policy("hr", 7))]).await;
    agent.keep(1, &Mail::plain(1)).await;
    archive.lose_the_catalogue().await;
    assert_eq!(archive.count("ingest.policy_set").await, 0);
    assert_eq!(offered(&agent, Mail::plain(2).offer(agent.seat(2))).await, class());
    assert_eq!(archive.rebuild().await.damage, []);
    assert_eq!(archive.fsck().await, []);
    let mail = Mail::plain(2);
    let to_hr = offer(&mail, agent.seat(2), "x@else.example", &["hr@corp.example"]);
    assert_eq!(offered(&agent, to_hr).await, "7y-received-permitted");
    assert_eq!(
        archive.apply(vec![locked("tax", 6), of("hr@corp.example", policy("hr", 7))]).await,
        before,
        "nothing is written anew"
    );
    let answer = archive.apply(vec![locked("tax", 1)]).await;
    assert_eq!(answer.outcomes[0].reason, LOCKED_IN_CORE);
    assert_eq!(answer.version, before.version + 1);
    // Again, and over what is there.
    assert_eq!(archive.rebuild().await.damage, []);
    assert_eq!(archive.fsck().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_ends_anywhere_and_is_repeated_puts_one_set_in_force() {
    let mut archive = Archive::start().await;
    let steps = [
        ("PutBlobs", Fails::Before),
        ("PutBlobs", Fails::After),
        ("Append", Fails::Before),
        ("Append", Fails::After),
    ];
    for (years, (method, fails)) in (1..).zip(steps) {
        archive.faults.plan(method, fails);
        let failed = apply_to(&archive.ingest, vec![locked("tax", years)]).await;
        assert!(failed.is_err() && archive.faults.is_spent(), "{method}");
        archive.restart().await;
        let answer = archive.apply(vec![locked("tax", years)]).await;
        assert_eq!((answer.version, answer.outcomes[0].decision()), (years.into(), PolicyDecision::Accepted));
        assert!(answer.leaf_index.is_some());
    }
    assert_eq!(archive.policy_leaves().await.len(), 4);
    assert_eq!(archive.fsck().await, []);
    // Nobody asks again: the leaf is sent by itself.
    archive.faults.plan("Append", Fails::Before);
    apply_to(&archive.ingest, vec![locked("tax", 5)]).await.unwrap_err();
    archive.restart().await;
    let begun = tokio::time::Instant::now();
    while archive.policy_leaves().await.len() < 5 {
        assert!(begun.elapsed() < WAIT_MAX, "the leaf waits");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_whose_leaf_is_late_does_not_come_back_over_a_later_one() {
    let archive = Archive::start().await;
    archive.faults.plan("Append", Fails::Before);
    apply_to(&archive.ingest, vec![locked("tax", 6)]).await.unwrap_err();
    archive.apply(vec![locked("tax", 7)]).await;
    let leaves = archive.policy_leaves().await;
    let versions: Vec<String> = leaves
        .iter()
        .map(|leaf| serde_json::from_str::<serde_json::Value>(leaf).unwrap()["version"].to_string())
        .collect();
    assert!(versions.len() == 2 && versions.is_sorted(), "{versions:?}");
    archive.lose_the_catalogue().await;
    assert_eq!(archive.rebuild().await.damage, []);
    let answer = archive.apply(vec![locked("tax", 6)]).await;
    assert_eq!(answer.outcomes[0].reason, LOCKED_IN_CORE);
    assert_eq!(archive.fsck().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn sets_that_come_at_once_come_one_after_another_and_lose_no_lock() {
    let archive = Archive::start().await;
    let replicas = [archive.replica(), archive.replica(), archive.replica()];
    let calls = replicas.iter().zip(["a", "b", "c"]).map(|(replica, name)| {
        let policies = vec![locked(name, 1)];
        async move { apply_to(replica, policies).await.unwrap() }
    });
    let mut versions: Vec<u64> =
        futures::future::join_all(calls).await.into_iter().map(|answer| answer.version).collect();
    versions.sort_unstable();
    assert_eq!(versions, [1, 2, 3]);
    let answer = archive.apply(vec![]).await;
    let names: Vec<&str> = answer.outcomes.iter().map(|outcome| outcome.name.as_str()).collect();
    assert_eq!((names, answer.version), (vec!["a", "b", "c"], 3));
    assert_eq!(archive.fsck().await, []);
    for replica in replicas {
        replica.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_that_stands_keeps_its_class_when_the_policies_change() {
    let clock = Arc::new(FixedClock::at("2026-01-15T10:00:00.000Z".parse().unwrap()));
    let archive = Archive::start_at(clock).await;
    let agent = archive.agent("acme/mx1");
    let mail = Mail::plain(1);
    archive.apply(vec![policy("all", 3)]).await;
    agent.keep(1, &mail).await;
    archive.apply(vec![policy("all", 1)]).await;
    let answers = agent.offers(vec![mail.offer(agent.seat(1)), mail.offer(agent.seat(2))]).await.unwrap();
    assert_eq!(answers[0].class, "3y-received-permitted");
    assert_eq!(answers[1].class, "1y-received-permitted");
    receipt(&commit(&agent, mail.offer(agent.seat(1)), "3y-received-permitted").await.unwrap());
    let refused = commit(&agent, mail.offer(agent.seat(2)), "3y-received-permitted").await.unwrap_err();
    assert!(has_reason(&refused, "CLASS_CHANGED"), "{refused:?}");
}
