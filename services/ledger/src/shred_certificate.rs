//! Shred certificates: what was ordered to be destroyed, proven by the log, in one document that holds no content.
//!
//! Canonical JSON of `kind` ("shred-certificate"), `v` (1), `message` (the mail's digest), `order` (the order's leaf as
//! [`LeafProof`] text), `observations` (the mail's own leaves, each as such a text, by number), `shredded_at`, and
//! `limits`: what the document does not say. The leaves of the mail verify and say nothing any more, since the salt that
//! opened them went with the mail. So that they were this mail's is the archive's word, unless a receipt that was given
//! out before is at hand.

#[cfg(test)]
mod tests;

use openarchive_domain::{Digest, Timestamp};
use serde_json::{Value, json};

use crate::{
    jcs,
    leaf::MessageLeaf,
    leaf_proof::{LeafProof, VerifiedShred},
    origin::TenantOrArchive,
    policy::Policy,
    receipt::{Failure, ReceiptFormatError, verify_receipt},
    tree,
};

/// Longest certificate that is read, in bytes: one of [`CERTIFICATE_OBSERVATIONS_MAX`] observations, and to spare.
pub const SHRED_CERTIFICATE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Most leaves of the mail that a certificate shows, the first ones; the order names them all.
pub const CERTIFICATE_OBSERVATIONS_MAX: usize = 1_000;
/// How far the clocks of the services that say when may lie apart, in milliseconds.
const CLOCKS_APART_MILLIS_MAX: i64 = 5 * 60 * 1_000;

const KIND: &str = "shred-certificate";
const VERSION: u64 = 1;

/// What every certificate says of itself.
pub const CERTIFICATE_LIMITS: [&str; 3] = [
    "The archive destroyed its keys to this content at shredded_at, by its own clock; backups of its database and \
     replicas of its key bucket that are older may hold them until they end.",
    "Attachments that other mail of the archive shares are kept with that mail.",
    "That the observations were of this message is proven only together with a receipt that was given out before.",
];

/// Text that is no certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CertificateFormatError {
    #[error("the certificate is longer than {SHRED_CERTIFICATE_BYTES_MAX} bytes")]
    TooLong,
    #[error("the certificate is not exactly what one is in canonical JSON")]
    Form,
    #[error("a proof in the certificate cannot be read: {0}")]
    Proof(#[from] ReceiptFormatError),
}

/// All that a certificate says. Nothing in it is checked by having been read: see [`verify_certificate`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShredCertificate {
    pub message: Digest,
    pub order: LeafProof,
    /// By number; at least one, at most [`CERTIFICATE_OBSERVATIONS_MAX`].
    pub observations: Vec<LeafProof>,
    pub shredded_at: Timestamp,
}

impl ShredCertificate {
    pub fn to_text(&self) -> String {
        let certificate = json!({
            "kind": KIND,
            "limits": CERTIFICATE_LIMITS,
            "message": self.message.to_string(),
            "observations": self.observations.iter().map(LeafProof::to_text).collect::<Vec<_>>(),
            "order": self.order.to_text(),
            "shredded_at": self.shredded_at.to_string(),
            "v": VERSION,
        });
        jcs::canonicalize(&certificate).expect("a certificate is strings and a 1 under ASCII keys")
    }

    /// Reads what [`Self::to_text`] writes; a last line break may follow.
    pub fn parse(text: &str) -> Result<Self, CertificateFormatError> {
        if text.len() > SHRED_CERTIFICATE_BYTES_MAX {
            return Err(CertificateFormatError::TooLong);
        }
        let text = text.strip_suffix('\n').unwrap_or(text);
        let value: Value = serde_json::from_str(text).map_err(|_| CertificateFormatError::Form)?;
        let field = |name: &str| value[name].as_str().ok_or(CertificateFormatError::Form);
        let shown = value["observations"].as_array().ok_or(CertificateFormatError::Form)?;
        if shown.is_empty() || shown.len() > CERTIFICATE_OBSERVATIONS_MAX {
            return Err(CertificateFormatError::Form);
        }
        let proof = |text: &Value| {
            let text = text.as_str().ok_or(CertificateFormatError::Form)?;
            LeafProof::parse(text).map_err(CertificateFormatError::from)
        };
        let certificate = Self {
            message: field("message")?.parse().map_err(|_| CertificateFormatError::Form)?,
            order: LeafProof::parse(field("order")?)?,
            observations: shown.iter().map(proof).collect::<Result<_, _>>()?,
            shredded_at: field("shredded_at")?.parse().map_err(|_| CertificateFormatError::Form)?,
        };
        // Refuses further fields, other words, and any other writing.
        if certificate.to_text() == text { Ok(certificate) } else { Err(CertificateFormatError::Form) }
    }
}

/// One thing that is broken about a certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateFailure {
    #[error("the certificate cannot be read: {0}")]
    Malformed(#[from] CertificateFormatError),
    #[error("the order: {0}")]
    Order(Failure),
    #[error("leaf {index} is not in the tree of the order's checkpoint as a message of the order's tenant")]
    Observation { index: u64 },
    #[error("the leaves of the message do not ascend")]
    Disorder,
    #[error("leaf {index} is not among those that were ordered to be shredded")]
    NotOrdered { index: u64 },
    #[error("the keys are said to be destroyed before the order was given")]
    BeforeOrder,
    #[error("the receipt: {0}")]
    Receipt(Failure),
    #[error("the receipt is of a leaf that was not ordered to be shredded")]
    ReceiptElsewhere,
}

/// What a certificate proves, as far as the policy reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedCertificate {
    pub message: Digest,
    pub order: VerifiedShred,
    /// By number.
    pub observations: Vec<(u64, MessageLeaf)>,
    pub shredded_at: Timestamp,
    /// Number of the leaf that a receipt showed to be of this message.
    pub identified: Option<u64>,
}

/// Checks a certificate: the order's place in the log, the message's leaves and theirs, that the order names them, and,
/// where a receipt of the message is given that was made before, that the order names its leaf. Names everything that is
/// broken. Without a policy no signature is checked.
pub fn verify_certificate(
    text: &str,
    policy: Option<&Policy>,
    receipt: Option<&str>,
) -> Result<VerifiedCertificate, Vec<CertificateFailure>> {
    let certificate = ShredCertificate::parse(text).map_err(|error| vec![error.into()])?;
    let order = certificate.order.verify_shred(policy);
    let order = order.map_err(|all| all.into_iter().map(CertificateFailure::Order).collect::<Vec<_>>())?;
    let mut failures = Vec::new();
    let observations = check_observations(&certificate, &order, &mut failures);
    let ordered_at = order.leaf.occurred_at.as_millis();
    if certificate.shredded_at.as_millis() < ordered_at.saturating_sub(CLOCKS_APART_MILLIS_MAX) {
        failures.push(CertificateFailure::BeforeOrder);
    }
    let identified =
        receipt.and_then(|receipt| identify(receipt, policy, &certificate, &order, &mut failures));
    if !failures.is_empty() {
        return Err(failures);
    }
    let ShredCertificate { message, shredded_at, .. } = certificate;
    Ok(VerifiedCertificate { message, order, observations, shredded_at, identified })
}

fn check_observations(
    certificate: &ShredCertificate,
    order: &VerifiedShred,
    failures: &mut Vec<CertificateFailure>,
) -> Vec<(u64, MessageLeaf)> {
    let shown = &certificate.observations;
    if shown.windows(2).any(|pair| pair[0].index >= pair[1].index) {
        failures.push(CertificateFailure::Disorder);
    }
    let mut leaves = Vec::with_capacity(shown.len());
    for proof in shown {
        let index = proof.index;
        if !order.leaf.leaves.contains(&index) {
            failures.push(CertificateFailure::NotOrdered { index });
        }
        // One signature for all of them: what the order's checkpoint does not cover is not proven.
        let covered = proof.checkpoint_note == certificate.order.checkpoint_note
            && tree::verify_inclusion(
                &tree::leaf_hash(&proof.leaf),
                index,
                order.checkpoint.size,
                &proof.hashes,
                &order.checkpoint.root,
            )
            .is_ok();
        let leaf = MessageLeaf::parse(&proof.leaf).ok().map(|stamped| stamped.leaf);
        let own =
            leaf.filter(|leaf| TenantOrArchive::Tenant(leaf.tenant.clone()) == order.leaf.tenant && covered);
        match own {
            Some(leaf) => leaves.push((index, leaf)),
            None => failures.push(CertificateFailure::Observation { index }),
        }
    }
    leaves
}

/// The receipt says which mail a leaf was; the order must name that leaf.
fn identify(
    receipt: &str,
    policy: Option<&Policy>,
    certificate: &ShredCertificate,
    order: &VerifiedShred,
    failures: &mut Vec<CertificateFailure>,
) -> Option<u64> {
    match verify_receipt(receipt, policy, &certificate.message) {
        Err(all) => {
            failures.extend(all.into_iter().map(CertificateFailure::Receipt));
            None
        }
        Ok(verified) => {
            let same = |shown: &LeafProof| {
                shown.index != verified.index
                    || MessageLeaf::parse(&shown.leaf).is_ok_and(|stamped| stamped.leaf == verified.leaf)
            };
            let ordered = order.leaf.leaves.contains(&verified.index) && order.origin == verified.origin;
            if ordered && certificate.observations.iter().all(same) {
                return Some(verified.index);
            }
            failures.push(CertificateFailure::ReceiptElsewhere);
            None
        }
    }
}
