//! What must hold for any bytes at all, for each parser that reads bytes of strangers: mail, SMTP, stored objects,
//! proofs, queries, configurations, certificates, requests.
//!
//! A [`Target`] is a function of bytes that panics where something does not hold: the parser itself panics, what it read
//! is written differently, the pieces that bytes come in matter, a limit is passed, something forged verifies. The test
//! of this crate runs every target over its seeds and a bounded number of seeded mutations; `make fuzz TARGET=..` runs one
//! under libFuzzer for as long as you like. README.md says what is not covered.

mod calls;
mod ledger;
mod mail;
mod settings;
mod smtp;
mod stored;

/// Longest input that a target looks at, in bytes: some walk it once for each byte.
pub const INPUT_BYTES_MAX: usize = 64 * 1024;

/// One parser under test.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Also the name of its folder in `seeds/`.
    pub name: &'static str,
    check: fn(&[u8]),
    /// Further folders of seeds, from this crate's folder: fixtures that other crates keep.
    pub seeds: &'static [&'static str],
}

impl Target {
    const fn new(name: &'static str, check: fn(&[u8]), seeds: &'static [&'static str]) -> Self {
        Self { name, check, seeds }
    }

    /// Panics where something does not hold. Longer input is cut to [`INPUT_BYTES_MAX`].
    pub fn run(&self, input: &[u8]) {
        (self.check)(&input[..input.len().min(INPUT_BYTES_MAX)]);
    }

    pub fn named(name: &str) -> Option<&'static Self> {
        TARGETS.iter().find(|target| target.name == name)
    }
}

const JOURNAL: &[&str] = &["../services/mail/fixtures/journal"];
const LEDGER: &[&str] = &["../services/ledger/fixtures"];

/// Every target, in the order in which bytes meet them.
pub static TARGETS: [Target; 31] = [
    Target::new("smtp", smtp::smtp, &[]),
    Target::new("lmtp", smtp::lmtp, &[]),
    Target::new("split", mail::split, JOURNAL),
    Target::new("exchange-report", mail::exchange_report, JOURNAL),
    Target::new("envelope-header", mail::envelope_header, JOURNAL),
    Target::new("jrn-plus", mail::jrn_plus, &[]),
    Target::new("base64", mail::base64, &[]),
    Target::new("quoted-printable", mail::quoted_printable, &[]),
    Target::new("text", mail::text, JOURNAL),
    Target::new("mbox", mail::mbox, &[]),
    Target::new("mbox-write", mail::mbox_write, JOURNAL),
    Target::new("csr", calls::csr, &[]),
    Target::new("offer", calls::offer, &[]),
    Target::new("skeleton", stored::skeleton, &[]),
    Target::new("blob", stored::blob, &[]),
    Target::new("pack-footer", stored::pack_footer, &[]),
    Target::new("key-file", stored::key_file, &[]),
    Target::new("observation", stored::observation, &[]),
    Target::new("checkpoint", ledger::checkpoint, LEDGER),
    Target::new("proof", ledger::proof, LEDGER),
    Target::new("shred-certificate", ledger::shred_certificate, LEDGER),
    Target::new("policy", ledger::policy, LEDGER),
    Target::new("leaf", ledger::leaf, LEDGER),
    Target::new("tiles", ledger::tiles, &[]),
    Target::new("tree-proof", ledger::tree_proof, &[]),
    Target::new("query", settings::query, &[]),
    Target::new("cursor", calls::cursor, &[]),
    Target::new("expiry-plan", calls::expiry_plan, &[]),
    Target::new("names", settings::names, &[]),
    Target::new("agent-config", settings::agent_config, &[]),
    Target::new("certificate", settings::certificate, &[]),
];
