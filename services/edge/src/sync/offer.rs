//! What is said of a mail before its content is sent, and what the core answers to that.

use std::collections::BTreeMap;

use bytes::Bytes;
use openarchive_domain::{Digest, RetentionClass};
use openarchive_proto::ingest::v1 as proto;

use super::{core_calls::OFFER, error::SyncError};
use crate::buffer::{BlobRef, Buffered, MessageId, State};

/// A mail and its retention class, as the core told it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Offered {
    pub(super) mail: Buffered,
    pub(super) class: RetentionClass,
}

/// What a blob is to the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    Part,
    Skeleton,
}

/// A blob that the archive lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Missing {
    pub(super) class: RetentionClass,
    pub(super) role: Role,
    pub(super) blob: BlobRef,
    /// A mail that refers to it.
    pub(super) of: MessageId,
}

/// Without the hint at the header, which is of no use beside the mail itself.
pub(super) fn offer(mail: &Buffered) -> proto::Offer {
    let (state, reason) = match &mail.state {
        State::Stored => (proto::State::Stored, String::new()),
        State::Quarantined { reason } => (proto::State::Quarantined, reason.clone()),
    };
    let envelope = &mail.envelope;
    proto::Offer {
        instance: mail.seat.instance.to_vec().into(),
        agent_epoch: mail.seat.agent_epoch,
        seq: mail.seat.seq,
        message: bytes_of(&mail.message),
        length: mail.length,
        skeleton: bytes_of(&mail.skeleton.digest),
        skeleton_length: mail.skeleton.length,
        parts: mail
            .parts
            .iter()
            .map(|part| proto::OfferPart { digest: bytes_of(&part.digest), length: part.length })
            .collect(),
        envelope: Some(proto::Envelope {
            from: envelope.from.clone(),
            to: envelope.to.clone(),
            peer: envelope.peer.clone(),
            mode: envelope.mode.clone(),
        }),
        occurred_at: mail.occurred_at.to_string(),
        state: state.into(),
        reason,
        flags: mail.flags.clone(),
        header: None,
    }
}

pub(super) fn bytes_of(digest: &Digest) -> Bytes {
    Bytes::copy_from_slice(digest.as_bytes())
}

/// Puts answers to mails, by seq: all mails are of one epoch.
pub(super) fn match_answers(
    mails: Vec<Buffered>,
    answers: Vec<proto::OfferMessagesResponse>,
) -> Result<(Vec<Offered>, Vec<Missing>), SyncError> {
    let error = |what| SyncError::Answer { call: OFFER, what };
    let mut by_seq: BTreeMap<u64, _> = answers.into_iter().map(|answer| (answer.seq, answer)).collect();
    let (mut offered, mut missing) = (Vec::with_capacity(mails.len()), Vec::new());
    for mail in mails {
        let answer = by_seq.remove(&mail.seat.seq).ok_or_else(|| error("a mail has no answer"))?;
        let class = answer.class.parse().ok().filter(|class| *class != RetentionClass::System);
        let class = class.ok_or_else(|| error("a class is none that mail can have"))?;
        let mail = Offered { mail, class };
        missing.extend(
            missing_of(&mail, answer.skeleton_missing, &answer.missing_parts)
                .ok_or_else(|| error("a part is asked for that the mail does not have"))?,
        );
        offered.push(mail);
    }
    Ok((offered, missing))
}

/// `None` if a part is named that is not the mail's: nothing is sent that was not offered.
pub(super) fn missing_of(offered: &Offered, skeleton: bool, parts: &[Bytes]) -> Option<Vec<Missing>> {
    let Offered { mail, class } = offered;
    let missing = |role, blob| Missing { class: *class, role, blob, of: mail.id };
    let skeleton = skeleton.then(|| missing(Role::Skeleton, mail.skeleton));
    let own: BTreeMap<Digest, BlobRef> = mail.parts.iter().map(|part| (part.digest, *part)).collect();
    let parts = parts.iter().map(|digest| {
        let digest = Digest::try_from(digest.as_ref()).ok()?;
        own.get(&digest).map(|part| missing(Role::Part, *part))
    });
    skeleton.map(Some).into_iter().chain(parts).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use openarchive_domain::{Seat, Timestamp};

    use super::*;
    use crate::buffer::Envelope;

    /// A mail with two parts, number `seq`.
    pub(in crate::sync) fn mail(seq: u64) -> Buffered {
        let blob = |what: &str| BlobRef { digest: Digest::of(format!("{what} {seq}").as_bytes()), length: 7 };
        Buffered {
            id: MessageId::START,
            seat: Seat { instance: [1; 16], agent_epoch: u64::MAX, seq },
            message: Digest::of(&seq.to_be_bytes()),
            length: 5000,
            skeleton: blob("skeleton"),
            parts: vec![blob("first part"), blob("second part")],
            envelope: Envelope {
                from: String::new(),
                to: vec!["a@example.org".to_owned()],
                peer: "192.0.2.1".to_owned(),
                mode: "plain".to_owned(),
            },
            occurred_at: Timestamp::from_millis(1_700_000_000_123),
            state: State::Quarantined { reason: "recipients do not fit".to_owned() },
            flags: vec!["nul".to_owned()],
        }
    }

    fn answer(seq: u64, missing_parts: Vec<Bytes>) -> proto::OfferMessagesResponse {
        proto::OfferMessagesResponse {
            seq,
            class: "10y-received-forbidden".to_owned(),
            skeleton_missing: true,
            missing_parts,
        }
    }

    #[test]
    fn an_offer_says_all_that_the_leaf_will_commit_to() {
        let mail = mail(3);
        let offer = offer(&mail);
        assert_eq!((offer.agent_epoch, offer.seq, offer.length), (u64::MAX, 3, 5000));
        assert_eq!(offer.message.as_ref(), mail.message.as_bytes());
        assert_eq!(offer.occurred_at, "2023-11-14T22:13:20.123Z");
        assert_eq!(offer.state(), proto::State::Quarantined);
        assert_eq!(offer.reason, "recipients do not fit");
        assert_eq!(offer.parts.len(), 2);
        assert_eq!(offer.envelope.unwrap().to, ["a@example.org"]);
    }

    #[test]
    fn answers_are_put_to_their_mails_in_whatever_order_they_come() {
        let second = bytes_of(&mail(2).parts[1].digest);
        let answers = vec![answer(2, vec![second]), answer(1, vec![])];
        let (offered, missing) = match_answers(vec![mail(1), mail(2)], answers).unwrap();
        assert_eq!(offered.iter().map(|offered| offered.mail.seat.seq).collect::<Vec<_>>(), [1, 2]);
        let digests: Vec<_> = missing.iter().map(|missing| missing.blob).collect();
        assert_eq!(digests, [mail(1).skeleton, mail(2).skeleton, mail(2).parts[1]]);
        assert_eq!(missing[2].role, Role::Part);
    }

    #[test]
    fn an_answer_that_makes_no_sense_is_no_answer() {
        let check = |answers, expected: &str| {
            let error = match_answers(vec![mail(1)], answers).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check(vec![answer(2, vec![])], "no answer");
        check(vec![answer(1, vec![Bytes::from_static(b"short")])], "does not have");
        check(vec![answer(1, vec![bytes_of(&mail(9).skeleton.digest)])], "does not have");
        for class in ["system", "for ever", ""] {
            let answer = proto::OfferMessagesResponse { class: class.to_owned(), ..answer(1, vec![]) };
            check(vec![answer], "class");
        }
    }
}
