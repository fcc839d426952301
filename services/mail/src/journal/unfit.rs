use std::fmt;

/// Why a mail does not fit the journal mode of its peer. The mail is quarantined: kept like any other, and flagged.
///
/// A fixed set of short phrases ([`Unfit::reason`]) without personal data; they are stored, so they do not change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unfit {
    /// Mode `jrn-plus`: a recipient is not `jrn+LOCAL=DOMAIN@HOST`.
    Recipients,
    /// Mode `x-envelope-to`: the header names no recipient.
    NoEnvelopeTo,
    /// Mode `x-envelope-to`: the fields hold something else than addresses.
    EnvelopeSyntax,
    /// Mode `exchange-report`: the header is not that of a report.
    NotAReport,
    /// Mode `exchange-report`: not one envelope text followed by one mail or two.
    ReportStructure,
    /// Mode `exchange-report`: the last boundary is missing.
    ReportCutOff,
    /// Mode `exchange-report`: the envelope text does not follow the published format.
    ReportEnvelope,
    /// Mode `exchange-report`: the mail inside is not what its transfer encoding says.
    MailEncoding,
    /// More recipients than one mail may have here.
    TooManyRecipients,
    /// The reader failed on this mail; a bug of ours, to be reported.
    Reader,
}

impl Unfit {
    pub const ALL: [Self; 10] = [
        Self::Recipients,
        Self::NoEnvelopeTo,
        Self::EnvelopeSyntax,
        Self::NotAReport,
        Self::ReportStructure,
        Self::ReportCutOff,
        Self::ReportEnvelope,
        Self::MailEncoding,
        Self::TooManyRecipients,
        Self::Reader,
    ];

    /// What is stored with the mail.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Recipients => "recipients do not fit the journal mode",
            Self::NoEnvelopeTo => "no X-Envelope-To field",
            Self::EnvelopeSyntax => "envelope fields that are not addresses",
            Self::NotAReport => "not a journal report",
            Self::ReportStructure => "journal report without its parts",
            Self::ReportCutOff => "journal report cut off",
            Self::ReportEnvelope => "journal report with an unreadable envelope",
            Self::MailEncoding => "journal report with an undecodable mail",
            Self::TooManyRecipients => "too many recipients",
            Self::Reader => "the agent could not read the mail",
        }
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The core takes ASCII phrases of at most 200 bytes without `@`.
    #[test]
    fn each_reason_is_a_short_phrase_of_its_own() {
        let reasons: BTreeSet<&str> = Unfit::ALL.into_iter().map(Unfit::reason).collect();
        assert_eq!(reasons.len(), Unfit::ALL.len());
        for reason in reasons {
            let is_phrase = reason.bytes().all(|byte| byte.is_ascii_alphanumeric() || b" -".contains(&byte));
            assert!(is_phrase && reason.len() <= 60, "{reason}");
        }
    }

    #[test]
    fn each_reason_is_documented() {
        let docs = include_str!("../../../../docs/agent.md");
        for unfit in Unfit::ALL {
            assert!(docs.contains(&format!("| `{unfit}` |")), "{unfit}");
        }
    }
}
