//! What the core's services read.

use std::sync::Arc;

use openarchive_domain::{Digest, FixedClock};
use openarchive_ledger::{policy::Policy, receipt::verify_receipt};
use openarchive_proto::ingest::v1::{
    CompletenessRow, GetMessageRequest, GetMessagesRequest, GetProofRequest, ListAgentsRequest,
    ListMessagesRequest, ObservationKey, Offer, OpenMessageRequest, ReportStatusRequest, SeqRange, State,
};
use tonic::Code;

use crate::{
    agent::{Agent, Mail, noise, receipt},
    archive::{Archive, TENANT, everything},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_listed_shown_and_opened_byte_for_byte() {
    let archive = Archive::start().await;
    let agent = archive.agent("acme/mx1");
    let mails = [Mail::plain(1), Mail::with_attachment(2, &noise(1, 2_000_000)), Mail::plain(3)];
    let numbered: Vec<(u64, &Mail)> = (1..).zip(&mails).collect();
    agent.archive(&numbered).await;
    let listed = archive.list().await;
    let digests: Vec<&[u8]> = listed.iter().map(|message| message.message.as_ref()).collect();
    assert_eq!(digests, mails.iter().map(Mail::key).collect::<Vec<_>>());
    assert!(listed.windows(2).all(|pair| pair[0].ordinal < pair[1].ordinal));
    let rest = ListMessagesRequest {
        scope: Some(everything()),
        tenant: TENANT.into(),
        after_ordinal: listed[0].ordinal,
        limit: 1,
    };
    let rest = archive.catalogue_for_worker().list_messages(rest).await.unwrap().into_inner().messages;
    assert_eq!(rest, listed[1..2]);
    let shown = archive.get(mails[1].key()).await.unwrap();
    let message = shown.message.unwrap();
    assert_eq!(message, listed[1]);
    assert_eq!((message.subject.as_str(), message.from.as_str()), ("attached 2", "sender@example.org"));
    assert_eq!(
        (message.attachments, message.length),
        (vec!["a.pdf".to_owned()], mails[1].bytes.len() as u64)
    );
    assert_eq!((message.date.as_str(), listed[0].date.as_str()), ("", "2024-05-01T10:00:00.000Z"));
    assert_eq!(listed[0].message_id, "1@example.org");
    let envelope = shown.observations[0].envelope.clone().unwrap();
    assert_eq!(envelope, mails[1].offer(agent.seat(2)).envelope.unwrap());
    for mail in &mails {
        assert!(archive.open(mail.key()).await.unwrap() == mail.bytes);
    }
    let participants: Vec<(String, String)> = sqlx::query_as(
        "select role, address from ingest.participant where message = $1 order by role, address",
    )
    .bind(mails[0].key())
    .fetch_all(&archive.pool)
    .await
    .unwrap();
    let expected = [
        ("envelope-from", "sender@example.org"),
        ("envelope-to", "bcc@example.org"),
        ("envelope-to", "to@example.org"),
        ("from", "sender@example.org"),
        ("to", "to@example.org"),
    ];
    assert_eq!(participants, expected.map(|(role, address)| (role.to_owned(), address.to_owned())));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_several_messages_come_in_the_order_asked_for_and_only_the_tenants_own() {
    let archive = Archive::start().await;
    let mails: Vec<Mail> = (0..4).map(Mail::plain).collect();
    let numbered: Vec<(u64, &Mail)> = (1..).zip(&mails).collect();
    archive.agent("acme/mx1").archive(&numbered[..3]).await;
    archive.agent("other/mx1").archive(&numbered[3..]).await;
    let ask = async |messages: Vec<Vec<u8>>, scope| {
        let messages = messages.into_iter().map(Into::into).collect();
        let request = GetMessagesRequest { scope, tenant: TENANT.into(), messages };
        archive.catalogue.clone().get_messages(request).await.map(tonic::Response::into_inner)
    };
    let key = |mail: usize| mails[mail].key().to_vec();
    let asked = vec![key(2), key(3), vec![7; 32], key(0), key(1), key(3)];
    let answer = ask(asked, Some(everything())).await.unwrap();
    let found: Vec<&[u8]> = answer.messages.iter().map(|message| message.message.as_ref()).collect();
    assert_eq!(found, [key(2), key(0), key(1)]);
    assert_eq!(answer.answered, 6);
    assert_eq!(answer.messages[1], archive.get(&key(0)).await.unwrap().message.unwrap());

    let full = vec![key(0); 1_000];
    assert_eq!(ask(full.clone(), Some(everything())).await.unwrap().answered, 1_000);
    let refusals = [
        ask([full, vec![key(0)]].concat(), Some(everything())).await,
        ask(vec![vec![7; 31]], Some(everything())).await,
        ask(vec![key(0)], None).await,
    ];
    for refused in refusals {
        assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_many_large_rows_stops_where_it_would_be_too_large_and_says_where() {
    let archive = Archive::start().await;
    let mails: Vec<Mail> = (0..12).map(Mail::plain).collect();
    let numbered: Vec<(u64, &Mail)> = (1..).zip(&mails).collect();
    archive.agent("acme/mx1").archive(&numbered).await;
    archive.execute("update ingest.message set subject = repeat('x', 1024 * 1024)").await;
    let mut asked: Vec<Vec<u8>> = mails.iter().map(|mail| mail.key().to_vec()).collect();
    asked.insert(3, vec![7; 32]);
    let mut seen = 0;
    let mut calls = 0;
    while !asked.is_empty() {
        let request = GetMessagesRequest {
            scope: Some(everything()),
            tenant: TENANT.into(),
            messages: asked.iter().cloned().map(Into::into).collect(),
        };
        let mut client = archive.catalogue.clone().max_decoding_message_size(34 * 1024 * 1024);
        let answer = client.get_messages(request).await.unwrap().into_inner();
        seen += answer.messages.len();
        calls += 1;
        asked.drain(..answer.answered as usize);
    }
    assert_eq!((seen, calls), (12, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_kept_whole_has_its_headers_in_the_catalogue_too() {
    let archive = Archive::start().await;
    let agent = archive.agent("acme/mx1");
    let mut mail = Mail::with_attachment(4, &noise(1, 3_000));
    mail.split.skeleton = openarchive_mail::Skeleton::whole(&mail.bytes);
    mail.parts = [(Digest::of(&mail.bytes), mail.bytes.clone())].into();
    agent.archive(&[(1, &mail)]).await;
    assert_eq!(archive.list().await[0].subject, "attached 4");
    assert!(archive.open(mail.key()).await.unwrap() == mail.bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_made_today_verifies_offline_against_the_message_alone() {
    let archive = Archive::start().await;
    let (one, two) = (archive.agent("acme/mx1"), archive.agent("acme/mx2"));
    let mail = Mail::plain(1);
    one.archive(&[(1, &mail)]).await;
    let index = two.archive(&[(5, &mail)]).await[0].index;
    let log_key = one.log_key().await;
    let policy: Policy = format!("log {log_key}\nquorum none\n").parse().unwrap();
    let verify = |proof: &str| verify_receipt(proof, Some(&policy), &Digest::of(&mail.bytes)).unwrap();
    let verified = verify(&archive.proof(mail.key()).await.unwrap());
    assert_eq!((verified.leaf.agent.as_str(), verified.leaf.seat.seq), ("mx1", 1));
    let of = |agent: &Agent, seq| GetProofRequest {
        scope: Some(everything()),
        tenant: TENANT.into(),
        message: mail.key().to_vec().into(),
        observation: Some(ObservationKey {
            agent: agent.reference.name.to_string(),
            instance: agent.instance.to_vec().into(),
            agent_epoch: agent.epoch,
            seq,
        }),
    };
    let proof = archive.catalogue.clone().get_proof(of(&two, 5)).await.unwrap().into_inner().proof;
    let verified = verify(&proof);
    assert_eq!((verified.leaf.agent.as_str(), verified.index), ("mx2", index));
    let absent = archive.catalogue.clone().get_proof(of(&two, 6)).await.unwrap_err();
    assert_eq!(absent.code(), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_says_whose_mail_it_may_see_and_what_is_absent_is_not_found() {
    let archive = Archive::start().await;
    let mail = Mail::plain(1);
    archive.agent("acme/mx1").archive(&[(1, &mail)]).await;
    let (mut client, mut lists) = (archive.catalogue.clone(), archive.catalogue_for_worker());
    let (tenant, message) = (TENANT.to_owned(), mail.digest().as_bytes().to_vec());
    let codes = [
        client
            .get_message(GetMessageRequest {
                scope: None,
                tenant: tenant.clone(),
                message: message.clone().into(),
            })
            .await
            .map(drop),
        client
            .open_message(OpenMessageRequest {
                scope: None,
                tenant: tenant.clone(),
                message: message.clone().into(),
            })
            .await
            .map(drop),
        lists
            .list_messages(ListMessagesRequest {
                scope: None,
                tenant: tenant.clone(),
                after_ordinal: 0,
                limit: 0,
            })
            .await
            .map(drop),
        lists
            .list_messages(ListMessagesRequest {
                scope: Some(everything()),
                tenant: tenant.clone(),
                after_ordinal: 0,
                limit: 1_001,
            })
            .await
            .map(drop),
        client
            .get_proof(GetProofRequest {
                scope: None,
                tenant: tenant.clone(),
                message: message.into(),
                observation: None,
            })
            .await
            .map(drop),
    ];
    for (position, result) in codes.into_iter().enumerate() {
        assert_eq!(result.unwrap_err().code(), Code::InvalidArgument, "{position}");
    }
    let absent = Mail::plain(2);
    assert_eq!(archive.get(absent.key()).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(archive.open(absent.key()).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(archive.proof(absent.key()).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(archive.open(&[1, 2]).await.unwrap_err().code(), Code::InvalidArgument);
    // Another tenant's message is not there either.
    let other = GetMessageRequest {
        scope: Some(everything()),
        tenant: "other".into(),
        message: mail.key().to_vec().into(),
    };
    assert_eq!(client.get_message(other).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_number_is_stored_duplicate_quarantined_missing_or_pending() {
    let archive = Archive::start().await;
    let agent = archive.agent("acme/mx1");
    let mails: Vec<Mail> = (0..4).map(Mail::plain).collect();
    for mail in &mails {
        agent.upload(&mail.blobs()).await.unwrap();
    }
    let offer = |seq, mail: usize, occurred_at: &str| Offer {
        occurred_at: occurred_at.to_owned(),
        ..mails[mail].offer(agent.seat(seq))
    };
    let mut quarantined = offer(9, 3, "2024-05-02T23:59:59.999Z");
    quarantined.set_state(State::Quarantined);
    quarantined.reason = "no mode fits".into();
    let offers = vec![
        // 1 and 2 are missing.
        offer(3, 0, "2024-05-01T00:00:00.000Z"),
        offer(4, 1, "2024-05-01T23:59:59.999Z"),
        offer(5, 1, "2024-05-02T00:00:00.000Z"),
        // 6 and 7 are missing.
        offer(8, 2, "2024-05-02T12:00:00.000Z"),
        quarantined,
    ];
    for result in agent.commit_offers(offers).await.unwrap() {
        receipt(&result);
    }
    agent.report(12).await.unwrap();
    let range = |first, last| SeqRange { first, last };
    let rows = archive.completeness("", "").await;
    assert_eq!(rows.len(), 1);
    let row = &rows[0];
    assert_eq!((row.agent.as_str(), row.agent_epoch), ("mx1", agent.epoch));
    assert_eq!((row.first_seq, row.last_seq, row.announced_seq, row.pending), (3, 9, 12, 3));
    assert_eq!((row.stored, row.duplicate, row.quarantined), (3, 1, 1));
    assert_eq!(row.gaps, [range(1, 2), range(6, 7)]);
    let day = archive.completeness("mx1", "2024-05-01").await.remove(0);
    assert_eq!((day.first_seq, day.last_seq, day.stored, day.gaps), (3, 4, 2, vec![range(1, 2)]));
    let day = archive.completeness("mx1", "2024-05-02").await.remove(0);
    assert_eq!((day.first_seq, day.last_seq, day.gaps), (5, 9, vec![range(6, 7)]));
    assert_eq!((day.stored, day.duplicate, day.quarantined), (1, 1, 1));
    assert_eq!(archive.completeness("", "2024-05-03").await, []);
    assert_eq!(archive.completeness("mx2", "").await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_lost_disk_had_accepted_is_a_gap_once_another_instance_reports() {
    let archive = Archive::start().await;
    let lost = archive.agent("acme/mx1");
    lost.archive(&[(1, &Mail::plain(1)), (2, &Mail::plain(2))]).await;
    lost.report(5).await.unwrap();
    let mut fresh = archive.agent("acme/mx1");
    fresh.epoch = 1;
    fresh.report(0).await.unwrap();
    // Both report: a mail may still be on its way.
    let row = |rows: Vec<CompletenessRow>| rows.into_iter().find(|row| row.announced_seq == 5).unwrap();
    let now = row(archive.completeness("", "").await);
    assert_eq!((now.pending, now.gaps), (3, vec![]));
    let silent = |millis: i64| {
        format!("update ingest.agent set last_seen = last_seen - {millis} where announced_seq = 5")
    };
    archive.execute(&silent(590_000)).await;
    assert_eq!(row(archive.completeness("", "").await).pending, 3, "not silent for long enough");
    assert_eq!(missing(&archive).await, [0, 0]);
    archive.execute(&silent(11_000)).await;
    let ended = row(archive.completeness("", "").await);
    assert_eq!((ended.pending, ended.gaps), (0, vec![SeqRange { first: 3, last: 5 }]));
    let mut missed = missing(&archive).await;
    missed.sort_unstable();
    assert_eq!(missed, [0, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn at_most_a_thousand_gaps_are_named_and_observations_shown() {
    let archive = Archive::start().await;
    let agent = archive.agent("acme/mx1");
    let mail = Mail::plain(1);
    agent.archive(&[(1, &mail)]).await;
    archive
        .execute(
            "insert into ingest.observation
             select tenant, agent, instance, agent_epoch, 2 * n + 1, message, 'duplicate', reason, class, record,
               occurred_at, recorded_at, idempotency_key, leaf_index
             from ingest.observation, generate_series(1, 1001) n",
        )
        .await;
    let gaps = archive.completeness("", "").await.remove(0).gaps;
    assert_eq!((gaps.len(), gaps[999].first), (1_000, 2_000));
    // And the oldest thousand of 1,002 observations are shown.
    let shown = archive.get(mail.key()).await.unwrap();
    assert_eq!((shown.observations.len(), shown.observation_count), (1_000, 1_002));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_core_remembers_how_far_an_agent_has_counted() {
    let archive = Archive::start().await;
    let agent = archive.agent("acme/mx1");
    assert_eq!(agent.report(0).await.unwrap().highest_seq, 0);
    agent.archive(&[(3, &Mail::plain(1))]).await;
    assert_eq!(agent.report(0).await.unwrap().highest_seq, 3);
    assert_eq!(agent.report(8).await.unwrap().highest_seq, 8);
    // A disk that was rolled back to before 8: the numbers up to there were given out.
    assert_eq!(agent.report(5).await.unwrap().highest_seq, 8);
    let other_epoch = Agent { epoch: 1, ..agent.clone() };
    assert_eq!(other_epoch.report(0).await.unwrap().highest_seq, 0);
    let request = ListAgentsRequest { tenant: TENANT.into(), agent: String::new() };
    let agents = archive.catalogue.clone().list_agents(request).await.unwrap().into_inner().agents;
    let seen: Vec<(u64, u64, u64, &str)> = agents
        .iter()
        .map(|agent| (agent.agent_epoch, agent.highest_seq, agent.announced_seq, agent.version.as_str()))
        .collect();
    assert_eq!(seen, [(1, 0, 0, "0.1.0"), (u64::MAX - 1, 3, 8, "0.1.0")]);
    assert_eq!(agents[0].buffered_messages, 3);
    assert!(agents[0].last_seen.starts_with("20"), "{}", agents[0].last_seen);
    assert!(agents[0].certificate_not_after.is_empty() && agents[0].certificate_sha256.is_empty());
}

/// What is said to be buffered was so when it was said: a commit since then is no report.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_is_seen_when_it_reports_and_says_whether_it_drains() {
    let clock = Arc::new(FixedClock::at("2026-01-15T10:00:00.000Z".parse().unwrap()));
    let archive = Archive::start_at(clock.clone()).await;
    let agent = archive.agent("acme/mx1");
    let seen = async || {
        let request = ListAgentsRequest { tenant: TENANT.into(), agent: String::new() };
        let agent =
            archive.catalogue.clone().list_agents(request).await.unwrap().into_inner().agents.remove(0);
        (agent.last_seen, agent.buffered_messages, agent.draining)
    };
    let report = async |buffered_messages, draining| {
        let request = ReportStatusRequest {
            instance: agent.instance.to_vec().into(),
            agent_epoch: agent.epoch,
            buffered_messages,
            draining,
            ..ReportStatusRequest::default()
        };
        agent.client.clone().report_status(request).await.unwrap();
    };
    report(0, true).await;
    assert_eq!(seen().await, ("2026-01-15T10:00:00.000Z".to_owned(), 0, true));
    clock.set("2026-01-15T11:00:00.000Z".parse().unwrap());
    let mail = Mail::plain(1);
    agent.upload(&mail.blobs()).await.unwrap();
    agent.commit(&[(1, &mail)]).await.unwrap();
    assert_eq!(seen().await, ("2026-01-15T10:00:00.000Z".to_owned(), 0, true));
    report(2, false).await;
    assert_eq!(seen().await, ("2026-01-15T11:00:00.000Z".to_owned(), 2, false));
    // Nobody has reported to the archive that was made of its objects.
    clock.set("2026-01-15T12:00:00.000Z".parse().unwrap());
    report(0, true).await;
    archive.execute("truncate ingest.agent").await;
    assert_eq!(seen().await, ("2026-01-15T11:00:00.000Z".to_owned(), 0, false));
}

/// Of each number space of the agent mx1.
async fn missing(archive: &Archive) -> Vec<u64> {
    let request = ListAgentsRequest { tenant: TENANT.into(), agent: "mx1".into() };
    let answer = archive.catalogue.clone().list_agents(request).await.unwrap();
    answer.into_inner().agents.iter().map(|agent| agent.missing).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_agents_summary_counts_what_is_missing_of_the_last_ten_thousand() {
    let archive = Archive::start().await;
    let agent = archive.agent("acme/mx1");
    agent.report(0).await.unwrap();
    agent.archive(&[(3, &Mail::plain(1))]).await;
    assert_eq!(missing(&archive).await, [2]);
    let up_to = |from: u32, to: u32| {
        format!(
            "insert into ingest.observation
             select tenant, agent, instance, agent_epoch, n, message, 'duplicate', reason, class, record,
               occurred_at, recorded_at, idempotency_key, null
             from ingest.observation, generate_series({from}, {to}) n where seq = 3"
        )
    };
    archive.execute(&up_to(4, 10_001)).await;
    assert_eq!(missing(&archive).await, [1]);
    archive.execute(&up_to(10_002, 10_002)).await;
    assert_eq!(missing(&archive).await, [0]);
}

/// Who asks for one agent gets what it reported, and pays for little of its mail.
#[tokio::test(flavor = "multi_thread")]
async fn one_agent_is_asked_for_by_its_name() {
    let archive = Archive::start().await;
    let (first, second) = (archive.agent("acme/mx1"), archive.agent("acme/mx2"));
    for agent in [&first, &second, &Agent { epoch: 1, ..first.clone() }] {
        agent.report(8).await.unwrap();
    }
    first.archive(&[(3, &Mail::plain(1)), (4, &Mail::plain(2))]).await;
    let asked = async |agent: &str| {
        let request = ListAgentsRequest { tenant: TENANT.into(), agent: agent.into() };
        archive.catalogue.clone().list_agents(request).await.map(|answer| answer.into_inner().agents)
    };
    let mut of_all = asked("").await.unwrap();
    assert_eq!(of_all.iter().map(|agent| agent.highest_seq).max(), Some(4));
    of_all.retain(|agent| agent.agent == "mx1");
    assert_eq!(of_all.len(), 2);
    let mut of_one = asked("mx1").await.unwrap();
    let far: Vec<_> = of_one
        .iter_mut()
        .map(|agent| (agent.last_leaf_index.take().is_some(), std::mem::take(&mut agent.missing)))
        .collect();
    assert_eq!(far, [(false, 0), (true, 2)]);
    assert_eq!(of_one, of_all);
    assert_eq!(asked("mx2").await.unwrap().len(), 1);
    assert_eq!(asked("mx3").await.unwrap(), []);
    assert_eq!(asked("no name").await.unwrap_err().code(), Code::InvalidArgument);
    // Without a report the last commit is shown, so that it is known to have called.
    archive.execute("truncate ingest.agent").await;
    let committed = asked("mx1").await.unwrap();
    assert_eq!(
        committed.iter().map(|agent| (agent.highest_seq, agent.draining)).collect::<Vec<_>>(),
        [(4, false)]
    );
    assert!(asked("mx2").await.unwrap().is_empty());
}
