//! An archive in memory: it keeps real logs with a real key, remembers blobs, rebuilds mail, and lies when told to.

use std::collections::{BTreeMap, BTreeSet};

use openarchive_domain::{AgentRef, Digest, RetentionClass, Seat, Timestamp};
use openarchive_ledger::{
    checkpoint::Checkpoint,
    commitment::{Field, Salt},
    leaf::{Envelope, MessageLeaf, MessageState, stamp},
    note::Signer,
    origin::Origin,
    receipt::{Openings, Receipt},
    tree::{Hash, HashReader, NodeId, consistency_proof, inclusion_proof, leaf_hash, node_hash, root_at},
};
use openarchive_mail::{PartEncoder, Segment, Skeleton};
use openarchive_proto::ingest::v1 as proto;

pub(crate) const ORIGIN: &str = "archive.test/main/acme/evidence/1";

/// What the archive lies about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lie {
    WrongDigest,
    OtherEnvelope,
    OtherTenant,
    OtherAgent,
    OtherSeq,
    OtherClass,
    BadOpening,
    ForeignKey,
    OtherLog,
    NotInTree,
    NoProof,
    NoOutcome,
    NoResults,
    OldCheckpoint,
    ForkedTree,
    ForkedTreeOfTheSameSize,
    NoConsistency,
    WrongConsistency,
}

/// What goes wrong without anybody lying.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Mail that is not sent whole does not rebuild.
    CannotRebuild,
    /// No mail rebuilds, whole or not.
    CannotRebuildAtAll,
    /// What was uploaded is forgotten, once.
    LosesUploads,
    /// Every call is turned away.
    Away,
    /// Mail from this sender is turned away with whatever comes with it.
    RefusesSender(&'static str),
    /// Whatever is committed with mail from this sender is said to be of another class than the offer's answer said.
    KeepsChangingClass(&'static str),
}

pub(crate) struct Archive {
    pub(crate) lie: Option<Lie>,
    pub(crate) fault: Option<Fault>,
    pub(crate) blobs: BTreeMap<(String, i32, Digest), Vec<u8>>,
    /// Every blob that came, in order.
    pub(crate) uploads: Vec<Digest>,
    pub(crate) leaves: Vec<Vec<u8>>,
    pub(crate) commit_calls: u64,
    /// What agents said of themselves, in order.
    pub(crate) reports: Vec<proto::ReportStatusRequest>,
    /// Highest seq by instance and epoch.
    pub(crate) highest: BTreeMap<([u8; 16], u64), u64>,
    seats: BTreeMap<(AgentRef, Seat), Seated>,
    messages: BTreeSet<Digest>,
}

#[derive(Clone)]
struct Seated {
    message: Digest,
    index: u64,
    openings: Openings,
}

pub(crate) fn signer(origin: &str, seed: u8) -> Signer {
    Signer::new(origin, &[seed; 32]).unwrap()
}

impl Archive {
    pub(crate) fn new() -> Self {
        Self {
            lie: None,
            fault: None,
            blobs: BTreeMap::new(),
            uploads: Vec::new(),
            leaves: (0..3u8).map(|n| vec![n]).collect(),
            commit_calls: 0,
            reports: Vec::new(),
            highest: BTreeMap::new(),
            seats: BTreeMap::new(),
            messages: BTreeSet::new(),
        }
    }

    /// Different mails that are archived.
    pub(crate) fn messages(&self) -> usize {
        self.messages.len()
    }

    /// Observations: numbers of agents that are taken.
    pub(crate) fn observations(&self) -> usize {
        self.seats.len()
    }

    /// Different mails and observations.
    pub(crate) fn counted(&self) -> (usize, usize) {
        (self.messages(), self.observations())
    }

    pub(crate) fn has(&self, class: &str, role: proto::BlobRole, digest: &[u8]) -> bool {
        let digest = Digest::try_from(digest).unwrap();
        self.blobs.contains_key(&(class.to_owned(), role.into(), digest))
    }

    pub(crate) fn commit(
        &mut self,
        agent: &AgentRef,
        items: &[proto::CommitItem],
    ) -> Vec<proto::CommitResult> {
        self.commit_calls += 1;
        self.lie_about_the_past();
        let outcomes: Vec<_> = items.iter().map(|item| self.take(agent, item)).collect();
        let tree = Tree::of(&self.leaves);
        let results = items.iter().zip(outcomes).map(|(item, outcome)| {
            let offer = item.offer.as_ref().unwrap();
            let outcome = match outcome {
                Ok(seated) => self.receipt(&seated, &tree).map(proto::commit_result::Outcome::Receipt),
                Err(outcome) => Some(outcome),
            };
            proto::CommitResult { seq: offer.seq, outcome }
        });
        let results = results.collect();
        if self.lie == Some(Lie::NoResults) { Vec::new() } else { results }
    }

    pub(crate) fn consistency(&self, old: u64, new: u64) -> Vec<Hash> {
        let mut proof = consistency_proof(old, new, &Tree::of(&self.leaves)).unwrap();
        if self.lie == Some(Lie::WrongConsistency) {
            proof[0] = Digest::of(b"");
        }
        proof
    }

    fn take(
        &mut self,
        agent: &AgentRef,
        item: &proto::CommitItem,
    ) -> Result<Seated, proto::commit_result::Outcome> {
        let offer = item.offer.as_ref().unwrap();
        let seat = seat_of(offer);
        let message = Digest::try_from(offer.message.as_ref()).unwrap();
        if let Some(seated) = self.seats.get(&(agent.clone(), seat)) {
            let same = seated.message == message;
            return if same {
                Ok(seated.clone())
            } else {
                Err(proto::commit_result::Outcome::SeatTaken(proto::SeatTaken {}))
            };
        }
        let missing = self.missing(&item.class, offer);
        if missing.skeleton || !missing.parts.is_empty() {
            return Err(proto::commit_result::Outcome::Missing(missing));
        }
        if !self.rebuilds(&item.class, offer) {
            let detail = "the rebuilt bytes have another digest".to_owned();
            return Err(proto::commit_result::Outcome::Mismatch(proto::Mismatch { detail }));
        }
        let seated = self.append(agent, item, seat, message);
        self.seats.insert((agent.clone(), seat), seated.clone());
        let highest = self.highest.entry((seat.instance, seat.agent_epoch)).or_default();
        *highest = seat.seq.max(*highest);
        Ok(seated)
    }

    pub(crate) fn missing(&self, class: &str, offer: &proto::Offer) -> proto::MissingBlobs {
        let parts = offer.parts.iter().map(|part| part.digest.clone());
        proto::MissingBlobs {
            skeleton: !self.has(class, proto::BlobRole::Skeleton, &offer.skeleton),
            parts: parts.filter(|part| !self.has(class, proto::BlobRole::Part, part)).collect(),
        }
    }

    fn rebuilds(&self, class: &str, offer: &proto::Offer) -> bool {
        let blob =
            |role: proto::BlobRole, digest: Digest| &self.blobs[&(class.to_owned(), role.into(), digest)];
        let skeleton = Digest::try_from(offer.skeleton.as_ref()).unwrap();
        let skeleton = Skeleton::decode(blob(proto::BlobRole::Skeleton, skeleton)).unwrap();
        let is_whole = skeleton.segments().len() == 1;
        match self.fault {
            Some(Fault::CannotRebuildAtAll) => return false,
            Some(Fault::CannotRebuild) if !is_whole => return false,
            _ => {}
        }
        let mut bytes = Vec::new();
        for segment in skeleton.segments() {
            match segment {
                Segment::Verbatim(verbatim) => bytes.extend_from_slice(verbatim),
                Segment::Part(part) => {
                    let mut encoder = PartEncoder::new(&part.recipe);
                    encoder.push(blob(proto::BlobRole::Part, part.digest), &mut bytes);
                    encoder.finish(&mut bytes);
                }
            }
        }
        Digest::of(&bytes).as_bytes()[..] == offer.message[..]
    }

    fn append(&mut self, agent: &AgentRef, item: &proto::CommitItem, seat: Seat, message: Digest) -> Seated {
        let offer = item.offer.as_ref().unwrap();
        let proto::Envelope { from, to, peer, mode } = offer.envelope.clone().unwrap();
        let mut envelope = Envelope { from, mode, peer, to };
        let salt = Salt::new(*Digest::of(&self.leaves.len().to_be_bytes()).as_bytes());
        let mut said = message;
        match self.lie {
            Some(Lie::WrongDigest) => said = Digest::of(b"another mail"),
            Some(Lie::OtherEnvelope) => envelope.to.clear(),
            _ => {}
        }
        let (committed, message_opening) = salt.commit(Field::Message, said.as_bytes().to_vec());
        let (envelope, envelope_opening) = salt.commit(Field::Envelope, envelope.value());
        let first = self.messages.insert(message);
        let mut leaf = MessageLeaf {
            tenant: agent.tenant.clone(),
            agent: agent.name.clone(),
            seat,
            class: item.class.parse().unwrap(),
            state: match (offer.state(), first) {
                (proto::State::Quarantined, _) => MessageState::Quarantined,
                (_, true) => MessageState::Stored,
                (_, false) => MessageState::Duplicate,
            },
            message: committed,
            envelope,
            occurred_at: offer.occurred_at.parse().unwrap(),
        };
        match self.lie {
            Some(Lie::OtherTenant) => leaf.tenant = "other".parse().unwrap(),
            Some(Lie::OtherAgent) => leaf.agent = "mx9".parse().unwrap(),
            Some(Lie::OtherSeq) => leaf.seat.seq += 1,
            Some(Lie::OtherClass) => leaf.class = "1d-received-permitted".parse::<RetentionClass>().unwrap(),
            _ => {}
        }
        self.leaves.push(stamp(leaf.body(), Timestamp::from_millis(1_700_000_000_000)).unwrap());
        let mut openings = Openings { message: message_opening, envelope: envelope_opening };
        if self.lie == Some(Lie::BadOpening) {
            openings.message.key = Salt::new([9; 32]).field_key(Field::Message);
        }
        Seated { message, index: self.leaves.len() as u64 - 1, openings }
    }

    fn lie_about_the_past(&mut self) {
        match self.lie {
            Some(Lie::OldCheckpoint) => {
                self.leaves.truncate(1);
                // What was cut off was never there: a seat that is committed again is a new one.
                self.seats.retain(|_, seated| seated.index < 1);
            }
            Some(Lie::ForkedTree) => self.leaves[1] = b"rewritten".to_vec(),
            Some(Lie::ForkedTreeOfTheSameSize) => {
                self.leaves.pop();
            }
            _ => {}
        }
    }

    fn receipt(&self, seated: &Seated, tree: &Tree) -> Option<String> {
        match self.lie {
            Some(Lie::NoProof) => return Some(String::new()),
            Some(Lie::NoOutcome) => return None,
            _ => {}
        }
        let size = self.leaves.len() as u64;
        let (origin, seed) = match self.lie {
            Some(Lie::OtherLog) => ("archive.test/main/other/evidence/1", 1),
            Some(Lie::ForeignKey) => (ORIGIN, 66),
            _ => (ORIGIN, 1),
        };
        let origin: Origin = origin.parse().unwrap();
        let checkpoint = Checkpoint { origin: origin.to_string(), size, root: root_at(size, tree).unwrap() };
        let mut proof = inclusion_proof(seated.index, size, tree).unwrap();
        if self.lie == Some(Lie::NotInTree) {
            proof[0] = Digest::of(b"");
        }
        let receipt = Receipt {
            leaf: self.leaves[seated.index as usize].clone(),
            openings: seated.openings.clone(),
            index: seated.index,
            hashes: proof,
            checkpoint_note: checkpoint.sign(&signer(&origin.to_string(), seed)).unwrap().to_string(),
        };
        Some(receipt.to_text())
    }
}

/// Hashes of all complete subtrees, by level: so that thousands of receipts do not take all day.
struct Tree(Vec<Vec<Hash>>);

impl Tree {
    fn of(leaves: &[Vec<u8>]) -> Self {
        let mut levels = vec![leaves.iter().map(|leaf| leaf_hash(leaf)).collect::<Vec<_>>()];
        while let Some(below) = levels.last().filter(|level| level.len() > 1) {
            let above = below.as_chunks().0.iter().map(|[left, right]| node_hash(left, right)).collect();
            levels.push(above);
        }
        Self(levels)
    }
}

impl HashReader for Tree {
    type Error = std::convert::Infallible;

    fn hash(&self, node: NodeId) -> Result<Hash, Self::Error> {
        Ok(self.0[node.level as usize][node.index as usize])
    }
}

fn seat_of(offer: &proto::Offer) -> Seat {
    Seat {
        instance: offer.instance.as_ref().try_into().unwrap(),
        agent_epoch: offer.agent_epoch,
        seq: offer.seq,
    }
}
