//! One sentence, and one stable code for programs, for each thing that can be broken.

use openarchive_ledger::{
    commitment::Field,
    policy::{Policy, PolicyError, PolicyFailure},
    receipt::Failure,
    shred_certificate::CertificateFailure,
};

use crate::{
    report::Finding,
    shred::{SENTENCE_NOT_IDENTIFIED, SENTENCE_SHRED_NOT_ANCHORED},
};

pub(crate) fn of_policy_file(error: &PolicyError) -> Finding {
    Finding { code: "policy_unreadable", sentence: format!("The policy file cannot be read: {error}.") }
}

pub(crate) fn of_failure(failure: &Failure) -> Finding {
    let (code, sentence) = match failure {
        Failure::Malformed(reason) => ("proof_unreadable", format!("The proof cannot be read: {reason}.")),
        Failure::Policy(failure) => of_policy(*failure),
        Failure::Origin => {
            ("origin_unknown", "The checkpoint's origin is not the name of an archive's log.".to_owned())
        }
        Failure::Inclusion(reason) => {
            let sentence = format!("The leaf is not in the tree that the checkpoint commits to: {reason}.");
            ("leaf_not_in_tree", sentence)
        }
        Failure::OtherLog => {
            ("leaf_in_other_log", "The leaf stands in a log where leaves of its tenant do not belong.".to_owned())
        }
        Failure::Opening(field) => of_opening(*field),
        Failure::Envelope => {
            ("envelope_unreadable", "What the proof shows as the envelope is not an envelope.".to_owned())
        }
        Failure::OtherMessage => (
            "message_differs",
            "The message is not the one that was archived: its SHA-256 differs from the one in the proof. Changed \
             line endings alone are enough for that; take the file as the archive gave it out."
                .to_owned(),
        ),
    };
    Finding { code, sentence }
}

pub(crate) fn of_certificate(failure: &CertificateFailure) -> Finding {
    let (code, sentence) = match failure {
        CertificateFailure::Malformed(reason) => {
            ("certificate_unreadable", format!("The certificate cannot be read: {reason}."))
        }
        CertificateFailure::Order(failure) => {
            let Finding { code, sentence } = of_failure(failure);
            (code, format!("The order to shred: {sentence}"))
        }
        CertificateFailure::Observation { index } => {
            let sentence = format!(
                "Leaf {index} is not in the tree that the order's checkpoint commits to, as a message of its tenant."
            );
            ("leaf_not_in_tree", sentence)
        }
        CertificateFailure::Disorder => (
            "leaves_disordered",
            "The leaves of the message do not ascend: one may be shown twice.".to_owned(),
        ),
        CertificateFailure::NotOrdered { index } => {
            ("leaf_not_ordered", format!("Leaf {index} is not among those that were ordered to be shredded."))
        }
        CertificateFailure::BeforeOrder => (
            "shredded_before_order",
            "The keys are said to have been destroyed before the order was given.".to_owned(),
        ),
        CertificateFailure::Receipt(failure) => {
            let Finding { code, sentence } = of_failure(failure);
            (code, format!("The receipt: {sentence}"))
        }
        CertificateFailure::ReceiptElsewhere => {
            ("receipt_elsewhere", "The receipt is of a leaf that was not ordered to be shredded.".to_owned())
        }
    };
    Finding { code, sentence }
}

/// What keeps a certificate in which nothing is broken from being verified.
pub(crate) fn of_what_was_not_given(policy: Option<&Policy>, identified: Option<u64>) -> Vec<Finding> {
    let mut missing = Vec::new();
    if policy.is_none() {
        missing.push(Finding { code: "not_anchored", sentence: SENTENCE_SHRED_NOT_ANCHORED.to_owned() });
    }
    if identified.is_none() {
        missing.push(Finding { code: "not_identified", sentence: SENTENCE_NOT_IDENTIFIED.to_owned() });
    }
    missing
}

fn of_policy(failure: PolicyFailure) -> (&'static str, String) {
    let code = match failure {
        PolicyFailure::UnknownLog => "log_not_trusted",
        PolicyFailure::ForeignKey => "checkpoint_key_foreign",
        PolicyFailure::BadSignature => "checkpoint_signature_bad",
        PolicyFailure::BadCosignature => "cosignature_bad",
        PolicyFailure::NoQuorum => "quorum_not_met",
    };
    (code, format!("The checkpoint is not one that the policy accepts: {failure}."))
}

fn of_opening(field: Field) -> (&'static str, String) {
    let code = match field {
        Field::Message => "message_opening_bad",
        Field::Envelope => "envelope_opening_bad",
        Field::Object => "object_opening_bad",
    };
    (code, format!("What the proof shows as the {field} is not what the leaf commits to."))
}
