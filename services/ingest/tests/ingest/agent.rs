//! The agent's side of a sync, and mail to sync.

use std::collections::BTreeMap;

use openarchive_domain::{AgentRef, Digest, RetentionClass, Seat};
use openarchive_ledger::{
    agent_check::{Checked, Expectation, check_receipt},
    leaf::{Envelope as LeafEnvelope, MessageState},
    note::Verifier,
};
use openarchive_mail::{Split, split_in_memory};
use openarchive_proto::ingest::v1::{
    BlobRole, CommitItem, CommitMessagesRequest, CommitResult, Envelope, Offer, OfferMessagesRequest,
    OfferMessagesResponse, OfferPart, ReportStatusRequest, ReportStatusResponse, State, UploadBlobsRequest,
    UploadBlobsResponse, UploadHeader, agent_service_client::AgentServiceClient, commit_result::Outcome,
    upload_blobs_request::Item,
};
use openarchive_rpc::{CHUNK_BYTES_MAX, RPC_MESSAGE_BYTES_MAX, RpcChannel};
use tonic::Status;

use crate::archive::origin_of;

pub(crate) const OCCURRED_AT: &str = "2024-05-01T10:00:00.000Z";

/// A mail and what the splitter makes of it.
#[derive(Debug, Clone)]
pub(crate) struct Mail {
    pub(crate) bytes: Vec<u8>,
    pub(crate) split: Split,
    pub(crate) parts: BTreeMap<Digest, Vec<u8>>,
}

impl Mail {
    pub(crate) fn new(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        let (split, parts) = split_in_memory(&bytes);
        Self { bytes, split, parts }
    }

    /// A short mail without parts.
    pub(crate) fn plain(number: u32) -> Self {
        Self::new(format!(
            "From: Sender <sender@example.org>\r\nTo: to@example.org\r\nSubject: number {number}\r\n\
             Message-ID: <{number}@example.org>\r\nDate: Wed, 01 May 2024 12:00:00 +0200\r\n\r\nbody {number}\r\n"
        ))
    }

    /// A mail with an attachment of base64 in lines of 76.
    pub(crate) fn with_attachment(number: u32, attachment: &[u8]) -> Self {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        let text = STANDARD.encode(attachment);
        let lines: Vec<&str> =
            text.as_bytes().chunks(76).map(|line| std::str::from_utf8(line).unwrap()).collect();
        Self::new(format!(
            "From: sender@example.org\r\nTo: to@example.org\r\nSubject: attached {number}\r\nMIME-Version: 1.0\r\n\
             Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\ntext {number}\r\n\
             --b\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename=\"a.pdf\"\r\n\
             Content-Transfer-Encoding: base64\r\n\r\n{}\r\n--b--\r\n",
            lines.join("\r\n")
        ))
    }

    pub(crate) fn digest(&self) -> Digest {
        self.split.message
    }

    pub(crate) fn key(&self) -> &[u8] {
        self.split.message.as_bytes()
    }

    pub(crate) fn offer(&self, seat: Seat) -> Offer {
        let skeleton = self.split.skeleton.encode();
        Offer {
            instance: seat.instance.to_vec().into(),
            agent_epoch: seat.agent_epoch,
            seq: seat.seq,
            message: self.key().to_vec().into(),
            length: self.bytes.len() as u64,
            skeleton: Digest::of(&skeleton).as_bytes().to_vec().into(),
            skeleton_length: skeleton.len() as u64,
            parts: self
                .parts
                .iter()
                .map(|(digest, part)| OfferPart {
                    digest: digest.as_bytes().to_vec().into(),
                    length: part.len() as u64,
                })
                .collect(),
            envelope: Some(Envelope {
                from: "sender@example.org".into(),
                to: vec!["to@example.org".into(), "bcc@example.org".into()],
                peer: "192.0.2.1".into(),
                mode: "plain".into(),
            }),
            occurred_at: OCCURRED_AT.into(),
            state: State::Stored.into(),
            reason: String::new(),
            flags: self.split.flags.names().into_iter().map(str::to_owned).collect(),
            header: None,
        }
    }

    /// Every blob: the parts, then the skeleton.
    pub(crate) fn blobs(&self) -> Vec<Blob> {
        let mut blobs: Vec<Blob> =
            self.parts.values().map(|part| Blob { role: BlobRole::Part, bytes: part.clone() }).collect();
        blobs.push(Blob { role: BlobRole::Skeleton, bytes: self.split.skeleton.encode() });
        blobs
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Blob {
    pub(crate) role: BlobRole,
    pub(crate) bytes: Vec<u8>,
}

impl Blob {
    pub(crate) fn requests(&self) -> Vec<UploadBlobsRequest> {
        let header = UploadHeader {
            class: class(),
            role: self.role.into(),
            digest: Digest::of(&self.bytes).as_bytes().to_vec().into(),
            length: self.bytes.len() as u64,
        };
        let chunks = self.bytes.chunks(CHUNK_BYTES_MAX).map(|chunk| Item::Chunk(chunk.to_vec().into()));
        let items = std::iter::once(Item::Header(header)).chain(chunks);
        items.map(|item| UploadBlobsRequest { item: Some(item) }).collect()
    }
}

pub(crate) fn class() -> String {
    RetentionClass::DEFAULT.to_string()
}

#[derive(Debug, Clone)]
pub(crate) struct Agent {
    pub(crate) client: AgentServiceClient<RpcChannel>,
    pub(crate) reference: AgentRef,
    pub(crate) instance: [u8; 16],
    pub(crate) epoch: u64,
}

impl Agent {
    pub(crate) fn new(channel: RpcChannel, reference: AgentRef) -> Self {
        let client = AgentServiceClient::new(channel).max_decoding_message_size(RPC_MESSAGE_BYTES_MAX);
        Self { client, reference, instance: [7; 16], epoch: u64::MAX - 1 }
    }

    pub(crate) fn seat(&self, seq: u64) -> Seat {
        Seat { instance: self.instance, agent_epoch: self.epoch, seq }
    }

    pub(crate) async fn offers(&self, offers: Vec<Offer>) -> Result<Vec<OfferMessagesResponse>, Status> {
        let requests: Vec<_> =
            offers.into_iter().map(|offer| OfferMessagesRequest { offer: Some(offer) }).collect();
        let mut answers =
            self.client.clone().offer_messages(futures::stream::iter(requests)).await?.into_inner();
        let mut all = Vec::new();
        while let Some(answer) = answers.message().await? {
            all.push(answer);
        }
        Ok(all)
    }

    pub(crate) async fn upload(&self, blobs: &[Blob]) -> Result<UploadBlobsResponse, Status> {
        self.upload_requests(blobs.iter().flat_map(Blob::requests).collect()).await
    }

    pub(crate) async fn upload_requests(
        &self,
        requests: Vec<UploadBlobsRequest>,
    ) -> Result<UploadBlobsResponse, Status> {
        Ok(self.client.clone().upload_blobs(futures::stream::iter(requests)).await?.into_inner())
    }

    pub(crate) async fn commit_offers(&self, offers: Vec<Offer>) -> Result<Vec<CommitResult>, Status> {
        let items =
            offers.into_iter().map(|offer| CommitItem { offer: Some(offer), class: class() }).collect();
        let answer = self.client.clone().commit_messages(CommitMessagesRequest { items }).await?;
        Ok(answer.into_inner().results)
    }

    pub(crate) async fn commit(&self, mails: &[(u64, &Mail)]) -> Result<Vec<CommitResult>, Status> {
        self.commit_offers(mails.iter().map(|(seq, mail)| mail.offer(self.seat(*seq))).collect()).await
    }

    /// Offers, uploads what is missing, commits, and checks every receipt.
    pub(crate) async fn archive(&self, mails: &[(u64, &Mail)]) -> Vec<Checked> {
        let offers = mails.iter().map(|(seq, mail)| mail.offer(self.seat(*seq))).collect();
        let answers = self.offers(offers).await.unwrap();
        assert_eq!(answers.len(), mails.len());
        let mut blobs = Vec::new();
        for (answer, (seq, mail)) in answers.iter().zip(mails) {
            assert_eq!((answer.seq, &answer.class), (*seq, &class()));
            for part in &answer.missing_parts {
                let digest = Digest::try_from(part.as_ref()).unwrap();
                blobs.push(Blob { role: BlobRole::Part, bytes: mail.parts[&digest].clone() });
            }
            if answer.skeleton_missing {
                blobs.push(Blob { role: BlobRole::Skeleton, bytes: mail.split.skeleton.encode() });
            }
        }
        self.upload(&blobs).await.unwrap();
        let results = self.commit(mails).await.unwrap();
        self.check_all(mails, &results).await
    }

    pub(crate) async fn check_all(&self, mails: &[(u64, &Mail)], results: &[CommitResult]) -> Vec<Checked> {
        assert_eq!(results.len(), mails.len());
        let log_key = self.log_key().await;
        let checked = mails.iter().zip(results).map(|((seq, mail), result)| {
            assert_eq!(result.seq, *seq);
            self.check(*seq, mail, &receipt(result), &log_key)
        });
        checked.collect()
    }

    pub(crate) fn check(&self, seq: u64, mail: &Mail, receipt: &str, log_key: &Verifier) -> Checked {
        let offer = mail.offer(self.seat(seq));
        let envelope = offer.envelope.unwrap();
        let expectation = Expectation {
            tenant: self.reference.tenant.clone(),
            agent: self.reference.name.clone(),
            seat: self.seat(seq),
            class: RetentionClass::DEFAULT,
            states: MessageState::ALL.to_vec(),
            occurred_at: OCCURRED_AT.parse().unwrap(),
            message: mail.digest(),
            envelope: LeafEnvelope {
                from: envelope.from,
                mode: envelope.mode,
                peer: envelope.peer,
                to: envelope.to,
            },
        };
        check_receipt(
            receipt,
            &expectation,
            &origin_of(self.reference.tenant.as_str()).parse().unwrap(),
            log_key,
        )
        .unwrap()
    }

    pub(crate) async fn log_key(&self) -> Verifier {
        let status = self.report(0).await.unwrap();
        assert_eq!(status.origin, origin_of(self.reference.tenant.as_str()));
        status.verifier_key.parse().unwrap()
    }

    pub(crate) async fn report(&self, highest_seq: u64) -> Result<ReportStatusResponse, Status> {
        let request = ReportStatusRequest {
            instance: self.instance.to_vec().into(),
            agent_epoch: self.epoch,
            highest_seq,
            buffered_messages: 3,
            buffered_bytes: 4,
            version: "0.1.0".into(),
            draining: false,
        };
        Ok(self.client.clone().report_status(request).await?.into_inner())
    }
}

#[track_caller]
pub(crate) fn receipt(result: &CommitResult) -> String {
    match &result.outcome {
        Some(Outcome::Receipt(receipt)) => receipt.clone(),
        other => panic!("seq {} got no receipt: {other:?}", result.seq),
    }
}

/// Bytes that do not compress, the same for the same seed (xorshift64*).
pub(crate) fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut out = Vec::with_capacity(bytes + 8);
    while out.len() < bytes {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        out.extend_from_slice(&state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes());
    }
    out.truncate(bytes);
    out
}
