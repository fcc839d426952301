//! A small archive in memory for tests: one log, its key, one mail.

use openarchive_domain::{Digest, RetentionClass, Seat, Timestamp};

use crate::{
    checkpoint::Checkpoint,
    commitment::{Field, Salt},
    leaf::{Envelope, MessageLeaf, MessageState, stamp},
    note::Signer,
    origin::Origin,
    receipt::{Openings, Receipt},
    tree::{self, Hash, LeafHashes, leaf_hash, root_of},
};

pub(crate) const MESSAGE: &[u8] = include_bytes!("../fixtures/message.eml");

/// What the vectors in `fixtures/` are made for.
pub(crate) const ORIGIN: &str = "archive.example.com/main/acme/evidence/1";

pub(crate) fn signer(origin: &str) -> Signer {
    Signer::new(origin, &[7; 32]).unwrap()
}

pub(crate) fn envelope() -> Envelope {
    Envelope {
        from: "a@example.com".to_owned(),
        mode: "plain".to_owned(),
        peer: "mx".to_owned(),
        to: vec!["b@example.org".to_owned(), "ü@example.org".to_owned()],
    }
}

pub(crate) fn time() -> Timestamp {
    "2026-01-02T03:04:05.678Z".parse().unwrap()
}

/// The leaf of the one mail, and what opens it.
pub(crate) fn message_leaf() -> (MessageLeaf, Openings) {
    let salt = Salt::new(std::array::from_fn(|i| i as u8));
    let (message, message_opening) = salt.commit(Field::Message, Digest::of(MESSAGE).as_bytes().to_vec());
    let (envelope, envelope_opening) = salt.commit(Field::Envelope, envelope().value());
    let leaf = MessageLeaf {
        tenant: "acme".parse().unwrap(),
        agent: "mx1".parse().unwrap(),
        seat: Seat { instance: std::array::from_fn(|i| i as u8), agent_epoch: u64::MAX, seq: 42 },
        class: RetentionClass::DEFAULT,
        state: MessageState::Stored,
        message,
        envelope,
        occurred_at: "2026-01-02T03:04:00.000Z".parse().unwrap(),
    };
    (leaf, Openings { message: message_opening, envelope: envelope_opening })
}

/// A log of any leaves, with whatever key and origin a test wants to lie with.
pub(crate) struct TestLog {
    pub(crate) origin: Origin,
    pub(crate) leaves: Vec<Vec<u8>>,
}

impl TestLog {
    /// Some other leaves, then the one of `leaf`.
    pub(crate) fn with(leaf: &MessageLeaf) -> Self {
        let mut leaves: Vec<Vec<u8>> = (0..4).map(|i| vec![i]).collect();
        leaves.push(stamp(leaf.body(), time()).unwrap());
        Self { origin: ORIGIN.parse().unwrap(), leaves }
    }

    pub(crate) fn hashes(&self) -> Vec<Hash> {
        self.leaves.iter().map(|leaf| leaf_hash(leaf)).collect()
    }

    pub(crate) fn checkpoint(&self) -> Checkpoint {
        Checkpoint {
            origin: self.origin.to_string(),
            size: self.leaves.len() as u64,
            root: root_of(&self.hashes()),
        }
    }

    /// The receipt of the last leaf, signed by `signer`.
    pub(crate) fn receipt(&self, openings: &Openings, signer: &Signer) -> Receipt {
        let index = self.leaves.len() as u64 - 1;
        Receipt {
            leaf: self.leaves.last().unwrap().clone(),
            openings: openings.clone(),
            index,
            hashes: tree::inclusion_proof(index, index + 1, &LeafHashes(&self.hashes())).unwrap(),
            checkpoint_note: self.checkpoint().sign(signer).unwrap().to_string(),
        }
    }
}

/// A witness of tests.
pub(crate) mod cosign {
    use ed25519_dalek::{Signer as _, SigningKey};

    use crate::{
        cosignature::{WitnessKey, message},
        note::NoteSignature,
    };

    fn signing_key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    pub(crate) fn key(name: &str, seed: u8) -> WitnessKey {
        WitnessKey::new(name, signing_key(seed).verifying_key().as_bytes()).unwrap()
    }

    pub(crate) fn line(name: &str, seed: u8, time: u64, note_text: &str) -> NoteSignature {
        let signature = signing_key(seed).sign(&message(time, note_text)).to_bytes();
        NoteSignature {
            name: name.to_owned(),
            key_id: key(name, seed).key_id(),
            signature: [&time.to_be_bytes()[..], &signature].concat(),
        }
    }
}
