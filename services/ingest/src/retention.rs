//! Which retention class a mail gets. The one place that decides it, at the offer.

use openarchive_domain::RetentionClass;

use crate::offer::Offer;

/// The rule that gives each mail its class.
///
/// Until policies exist every mail gets the archive's required default. They will be matched here, against the
/// envelope and header addresses of the offer: the latest expiry gives keepFor and startFrom, erasure is Forbidden
/// if any matching policy says so, and none matching means the default (evidence.md section 2).
#[derive(Debug, Clone, Copy)]
pub(crate) struct RetentionRule {
    default: RetentionClass,
}

impl RetentionRule {
    pub(crate) const fn new(default: RetentionClass) -> Self {
        Self { default }
    }

    pub(crate) const fn class_of(&self, _offer: &Offer) -> RetentionClass {
        self.default
    }

    /// Whether some mail may get this class today: what an agent may upload into.
    pub(crate) fn gives(&self, class: RetentionClass) -> bool {
        class == self.default
    }
}
