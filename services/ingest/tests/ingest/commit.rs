//! From offer to receipt, and every way in which a mail is not committed.

use openarchive_domain::Digest;
use openarchive_ledger::leaf::MessageState;
use openarchive_mail::{PartRef, Recipe, Segment, Skeleton};
use openarchive_proto::ingest::v1::{
    BlobRole, CommitItem, CommitMessagesRequest, GetConsistencyRequest, MissingBlobs, OfferPart,
    ReportStatusRequest, SeatTaken, State, UploadBlobsRequest, UploadHeader, commit_result::Outcome,
    upload_blobs_request::Item,
};
use tonic::Code;

use crate::{
    agent::{Blob, Mail, class, noise, receipt},
    archive::Archive,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_is_offered_uploaded_committed_and_receipted() {
    let archive = Archive::start().await;
    let agent = archive.agent("acme/mx1");
    // Nothing has been written to the log yet: its key is not known.
    assert_eq!(agent.report(2).await.unwrap().origin, "");
    let attachment = noise(1, 100_000);
    let (plain, attached) = (Mail::plain(1), Mail::with_attachment(2, &attachment));
    let large = Mail::with_attachment(3, &noise(2, 3_000_000));
    let empty = Mail::new("");
    let mails = [(1, &plain), (2, &attached), (3, &large), (4, &empty)];
    let checked = agent.archive(&mails).await;
    assert!(checked.iter().all(|checked| checked.state == MessageState::Stored));
    // Leaves stand in the order of the mails.
    assert!(checked.windows(2).all(|pair| pair[0].index < pair[1].index));
    for mail in [&plain, &attached, &large, &empty] {
        assert!(archive.open(mail.key()).await.unwrap() == mail.bytes);
    }
    // Everything is there now: nothing is asked for again, and nothing is stored again.
    let answers = agent.offers(vec![attached.offer(agent.seat(9))]).await.unwrap();
    assert!(!answers[0].skeleton_missing && answers[0].missing_parts.is_empty());
    let uploaded = agent.upload(&attached.blobs()).await.unwrap();
    assert_eq!((uploaded.stored, uploaded.already_there), (0, 2));
    assert_eq!(archive.count("jobs.job where kind = 'index'").await, 4);
    assert_eq!(archive.count("ingest.outbox").await, 0);
    assert_eq!(archive.fsck().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn growth_between_two_receipts_can_be_checked() {
    let archive = Archive::start().await;
    let agent = archive.agent("acme/mx1");
    let first = agent.archive(&[(1, &Mail::plain(1))]).await.remove(0).checkpoint;
    let second = agent.archive(&[(2, &Mail::plain(2))]).await.remove(0).checkpoint;
    assert!(second.size > first.size);
    let request = |old_size, new_size| GetConsistencyRequest { old_size, new_size };
    let answer = agent.client.clone().get_consistency(request(first.size, second.size)).await.unwrap();
    let hashes: Vec<Digest> =
        answer.into_inner().hashes.iter().map(|hash| Digest::try_from(hash.as_ref()).unwrap()).collect();
    openarchive_ledger::agent_check::check_growth(Some(&first), &second, &hashes).unwrap();
    let refused = agent.client.clone().get_consistency(request(first.size, 1 << 40)).await.unwrap_err();
    assert_ne!(refused.code(), Code::Internal, "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_bytes_again_are_one_message_with_a_further_observation() {
    let archive = Archive::start().await;
    let (one, two) = (archive.agent("acme/mx1"), archive.agent("acme/mx2"));
    let mail = Mail::plain(1);
    // Twice in one call, and again from another agent.
    let checked = one.archive(&[(1, &mail), (2, &mail)]).await;
    let states: Vec<MessageState> = checked.iter().map(|checked| checked.state).collect();
    assert_eq!(states, [MessageState::Stored, MessageState::Duplicate]);
    assert_eq!(two.archive(&[(1, &mail)]).await[0].state, MessageState::Duplicate);
    let mut quarantined = mail.offer(one.seat(3));
    quarantined.set_state(State::Quarantined);
    quarantined.reason = "not the mode of its peer".into();
    let result = one.commit_offers(vec![quarantined]).await.unwrap();
    assert_eq!(
        one.check(3, &mail, &receipt(&result[0]), &one.log_key().await).state,
        MessageState::Quarantined
    );
    assert_eq!(archive.count("ingest.message").await, 1);
    assert_eq!(archive.count("ingest.observation").await, 4);
    // One for the message, one for each later observation: agents and blind copies come with each.
    assert_eq!(archive.count("jobs.job where kind = 'index'").await, 3);
    let shown = archive.get(mail.key()).await.unwrap();
    assert_eq!((shown.agents.join(" ").as_str(), shown.observation_count), ("mx1 mx2", 4));
    let observations = archive.get(mail.key()).await.unwrap().observations;
    let seen: Vec<(&str, u64, &str, &str)> = observations
        .iter()
        .map(|seen| (seen.agent.as_str(), seen.seq, seen.state.as_str(), seen.reason.as_str()))
        .collect();
    let expected = [
        ("mx1", 1, "stored", ""),
        ("mx1", 2, "duplicate", ""),
        ("mx2", 1, "duplicate", ""),
        ("mx1", 3, "quarantined", "not the mode of its peer"),
    ];
    assert_eq!(seen, expected);
    assert_eq!(archive.fsck().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seat_holds_one_mail_for_ever_and_answers_its_receipt_again() {
    let archive = Archive::start().await;
    let agent = archive.agent("acme/mx1");
    let (mail, other) = (Mail::plain(1), Mail::plain(2));
    let first = agent.archive(&[(1, &mail)]).await;
    agent.upload(&other.blobs()).await.unwrap();
    let results = agent.commit(&[(1, &other), (2, &other)]).await.unwrap();
    assert_eq!(results[0].outcome, Some(Outcome::SeatTaken(SeatTaken {})));
    receipt(&results[1]);
    let again = agent.commit(&[(2, &other), (1, &mail)]).await.unwrap();
    let again = agent.check_all(&[(2, &other), (1, &mail)], &again).await;
    assert_eq!(again[1].index, first[0].index);
    assert_eq!(archive.count("ingest.observation").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_storage_lacks_is_named_and_nothing_is_committed() {
    let archive = Archive::start().await;
    let agent = archive.agent("acme/mx1");
    let mail = Mail::with_attachment(1, &noise(3, 5_000));
    let part = mail.parts.keys().next().unwrap().as_bytes().to_vec();
    let missing = |skeleton, parts: Vec<Vec<u8>>| {
        let parts = parts.into_iter().map(Into::into).collect();
        Some(Outcome::Missing(MissingBlobs { skeleton, parts }))
    };
    let results = agent.commit(&[(1, &mail)]).await.unwrap();
    assert_eq!(results[0].outcome, missing(true, vec![part.clone()]));
    let [content, skeleton] = mail.blobs().try_into().unwrap();
    agent.upload(&[skeleton]).await.unwrap();
    let results = agent.commit(&[(1, &mail)]).await.unwrap();
    assert_eq!(results[0].outcome, missing(false, vec![part]));
    assert_eq!(archive.count("ingest.observation").await, 0);
    agent.upload(&[content]).await.unwrap();
    agent.archive(&[(1, &mail)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_that_join_to_something_else_commit_nothing_and_hold_up_nobody() {
    let archive = Archive::start().await;
    let agent = archive.agent("acme/mx1");
    let content = [noise(4, 4_000), noise(5, 4_000)];
    let part = |content: &Vec<u8>| {
        let (digest, decoded_length) = (Digest::of(content), content.len() as u64);
        Segment::Part(PartRef { digest, decoded_length, recipe: Recipe::Identity })
    };
    // The same parts in the wrong order.
    let message = content.concat();
    let mut swapped = Mail::new(message.clone());
    swapped.parts = content.iter().map(|content| (Digest::of(content), content.clone())).collect();
    swapped.split.skeleton = Skeleton::new(vec![part(&content[1]), part(&content[0])]).unwrap();
    // A skeleton of another length, one with fewer parts than offered, and bytes that are no skeleton.
    let mut shorter = swapped.clone();
    shorter.split.skeleton = Skeleton::new(vec![part(&content[0])]).unwrap();
    let mut other_parts = swapped.clone();
    other_parts.split.skeleton = Skeleton::new(vec![Segment::Verbatim(message.clone())]).unwrap();
    let good = Mail::plain(1);
    for mail in [&swapped, &shorter, &other_parts, &good] {
        agent.upload(&mail.blobs()).await.unwrap();
    }
    let no_skeleton = b"no skeleton at all".to_vec();
    agent.upload(&[Blob { role: BlobRole::Skeleton, bytes: no_skeleton.clone() }]).await.unwrap();
    let mut malformed = swapped.offer(agent.seat(5));
    malformed.skeleton = Digest::of(&no_skeleton).as_bytes().to_vec().into();
    malformed.skeleton_length = no_skeleton.len() as u64;
    let mut offers: Vec<_> = [(1, &swapped), (2, &shorter), (3, &good), (4, &other_parts)]
        .iter()
        .map(|(seq, mail)| mail.offer(agent.seat(*seq)))
        .collect();
    offers.push(malformed);
    // A part that a lying skeleton says is longer than it is.
    let mut longer = swapped.clone();
    let lie = PartRef { digest: Digest::of(&content[0]), decoded_length: 4_001, recipe: Recipe::Identity };
    longer.split.skeleton = Skeleton::new(vec![Segment::Part(lie), part(&content[1])]).unwrap();
    agent.upload(&[longer.blobs().pop().unwrap()]).await.unwrap();
    let mut lying = longer.offer(agent.seat(6));
    lying.length += 1;
    lying.parts = vec![
        OfferPart { digest: Digest::of(&content[0]).as_bytes().to_vec().into(), length: 4_001 },
        OfferPart { digest: Digest::of(&content[1]).as_bytes().to_vec().into(), length: 4_000 },
    ];
    offers.push(lying);
    let results = agent.commit_offers(offers).await.unwrap();
    for (position, result) in results.iter().enumerate() {
        let is_mismatch = matches!(result.outcome, Some(Outcome::Mismatch(_)));
        assert_eq!(is_mismatch, position != 2, "{result:?}");
    }
    receipt(&results[2]);
    assert_eq!(archive.count("ingest.observation").await, 1);
    assert_eq!(archive.count("ingest.message").await, 1);
    // Sent whole, the mail is archived at the same seat.
    let mut whole = Mail::new(message.clone());
    whole.split.skeleton = Skeleton::whole(&message);
    whole.parts = [(Digest::of(&message), message)].into();
    agent.archive(&[(1, &whole)]).await;
    assert_eq!(archive.fsck().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_is_refused_by_the_name_of_its_field() {
    let archive = Archive::start().await;
    let agent = archive.agent("acme/mx1");
    let mail = Mail::plain(1);
    let refused = |status: tonic::Status, field: &str| {
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        assert!(status.message().starts_with(field), "{status}");
    };
    let mut bad = mail.offer(agent.seat(1));
    bad.seq = 0;
    refused(agent.offers(vec![mail.offer(agent.seat(2)), bad.clone()]).await.unwrap_err(), "offer.seq");
    refused(agent.commit_offers(vec![bad]).await.unwrap_err(), "items[0].offer.seq");
    let twice = vec![mail.offer(agent.seat(1)), mail.offer(agent.seat(1))];
    refused(agent.commit_offers(twice).await.unwrap_err(), "items[1].offer.seq");
    let many = (1..=257).map(|seq| mail.offer(agent.seat(seq))).collect();
    refused(agent.commit_offers(many).await.unwrap_err(), "items must be at most 256");
    let items =
        vec![CommitItem { offer: Some(mail.offer(agent.seat(1))), class: "1d-received-permitted".into() }];
    let status = agent.client.clone().commit_messages(CommitMessagesRequest { items }).await.unwrap_err();
    assert_eq!(status.code(), Code::Aborted);
    assert!(openarchive_rpc::has_reason(&status, "CLASS_CHANGED"));
    let version = |length| ReportStatusRequest {
        instance: vec![7; 16].into(),
        version: "v".repeat(length),
        ..ReportStatusRequest::default()
    };
    agent.client.clone().report_status(version(64)).await.unwrap();
    refused(agent.client.clone().report_status(version(65)).await.unwrap_err(), "request.version");
    refused(agent.report(u64::MAX).await.unwrap_err(), "request.highest_seq");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_breaks_its_own_word_stores_nothing_of_it() {
    let archive = Archive::start().await;
    let agent = archive.agent("acme/mx1");
    let mail = Mail::with_attachment(1, &noise(6, 700_000));
    let blob = mail.blobs().remove(0);
    let header = |change: &dyn Fn(&mut UploadHeader)| {
        let mut requests = blob.requests();
        if let Some(Item::Header(header)) = &mut requests[0].item {
            change(header);
        }
        requests
    };
    let mut cases: Vec<(&str, Vec<UploadBlobsRequest>, Code)> = vec![
        ("no header", blob.requests().split_off(1), Code::InvalidArgument),
        ("digest", header(&|header| header.digest = vec![1].into()), Code::InvalidArgument),
        ("role", header(&|header| header.role = 0), Code::InvalidArgument),
        ("too long", header(&|header| header.length = 1 << 40), Code::InvalidArgument),
        ("other class", header(&|header| header.class = "system".into()), Code::Aborted),
        ("no class", header(&|header| header.class = "for ever".into()), Code::InvalidArgument),
    ];
    let mut cut = blob.requests();
    cut.pop();
    cases.push(("cut", cut, Code::InvalidArgument));
    let mut changed = blob.requests();
    changed[1].item = Some(Item::Chunk(noise(7, 256 * 1024).into()));
    cases.push(("changed", changed, Code::InvalidArgument));
    let mut chunk = blob.requests();
    chunk[1].item = Some(Item::Chunk(noise(7, 256 * 1024 + 1).into()));
    cases.push(("large chunk", chunk, Code::InvalidArgument));
    for (name, requests, code) in cases {
        let status = agent.upload_requests(requests).await.expect_err(name);
        assert_eq!(status.code(), code, "{name}: {status}");
        let answers = agent.offers(vec![mail.offer(agent.seat(1))]).await.unwrap();
        assert_eq!(answers[0].missing_parts.len(), 1, "{name}");
    }
    assert_eq!(class(), "10y-received-forbidden");
    agent.archive(&[(1, &mail)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_of_the_largest_envelopes_fit_their_answer_and_more_are_refused() {
    let archive = Archive::start().await;
    let agent = archive.agent("acme/mx1");
    let mail = Mail::plain(1);
    agent.upload(&mail.blobs()).await.unwrap();
    let offer = |seq| {
        let mut offer = mail.offer(agent.seat(seq));
        let recipients = (0..2_000).map(|number| format!("{}{number:05}@example.org", "x".repeat(1_990)));
        offer.envelope.as_mut().unwrap().to = recipients.collect();
        offer
    };
    let results = agent.commit_offers(vec![offer(1), offer(2), offer(3)]).await.unwrap();
    assert!(results.iter().all(|result| receipt(result).len() > 6 * 1024 * 1024));
    let status = agent.commit_offers((4..8).map(offer).collect()).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    // All recipients took part, though their addresses share a beginning longer than an index holds.
    assert_eq!(archive.count("ingest.observation").await, 3);
    assert_eq!(archive.fsck().await, []);
}
