//! Whether what the log says of one object is one chain, and goes with the snapshots that are at hand.

use std::collections::BTreeMap;

use openarchive_domain::Digest;

use crate::{
    finding::Finding,
    generations::{Stage, listed, skipped},
    leaf::ConfigLeaf,
    log::Recorded,
    snapshot::Snapshot,
};

/// Checks the leaves of one object, and each snapshot that is given against its leaf. A snapshot that is not given is
/// for the caller to miss.
pub(crate) fn check_recorded(
    recorded: &[Recorded],
    snapshots: &BTreeMap<Digest, &Snapshot>,
    findings: &mut Vec<Finding>,
) {
    let mut before: Option<&ConfigLeaf> = None;
    let mut seen = BTreeMap::new();
    for Recorded { index, leaf, .. } in recorded {
        if let Some(first) = seen.insert(leaf.sha256, *index) {
            findings.push(Finding::LeafRepeated { index: *index, first });
        }
        let expected = before.map(|before| before.sha256);
        let follows = leaf.previous == expected;
        if !follows {
            findings.push(Finding::ChainBroken { index: *index, expected, found: leaf.previous });
        }
        if let Some(snapshot) = snapshots.get(&leaf.sha256) {
            if ConfigLeaf::of(snapshot) != *leaf {
                findings.push(Finding::LeafDisagrees { index: *index, sha256: leaf.sha256 });
            }
            // Behind a break it is not known what came before.
            if follows {
                findings.extend(check_generations(snapshot, before.map(ConfigLeaf::stage)));
            }
        }
        before = Some(leaf);
    }
}

/// Whether a snapshot lists exactly the generations that nobody applied since the one before it.
pub(crate) fn check_generations(snapshot: &Snapshot, before: Option<Stage<'_>>) -> Option<Finding> {
    let sha256 = snapshot.digest();
    let now = snapshot.stage();
    match skipped(before, now) {
        None => Some(Finding::GenerationWentBack { sha256, generation: now.generation }),
        Some(expected) if expected == snapshot.skipped_generations() => None,
        Some(expected) => Some(Finding::GenerationsUnlisted {
            sha256,
            expected: listed(&expected),
            found: listed(snapshot.skipped_generations()),
        }),
    }
}
