//! Every target over its committed seeds and a bounded number of seeded mutations of them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod mutations;

use std::{
    collections::BTreeSet,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use mutations::Mutations;
use openarchive_fuzz::{TARGETS, Target};

/// Mutated inputs of one target. `OPENARCHIVE_FUZZ_MUTATIONS` sets another number.
const MUTATIONS: usize = 500;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Committed inputs, in the order of their paths.
fn seeds(target: &Target) -> Vec<Vec<u8>> {
    let own = folder().join("seeds").join(target.name);
    let mut files = BTreeSet::new();
    for folder in target.seeds.iter().map(|seeds| folder().join(seeds)).chain([own]) {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        files.extend(entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()));
    }
    files.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// The first input that `check` does not hold for: a seed, or a mutation of seeds.
fn first_failure(name: &str, seeds: &[Vec<u8>], count: usize, check: impl Fn(&[u8])) -> Option<Vec<u8>> {
    let mut mutations = Mutations::of(name, seeds);
    let mutated = (0..count).map(|_| mutations.next());
    seeds
        .iter()
        .cloned()
        .chain(mutated)
        .find(|input| catch_unwind(AssertUnwindSafe(|| check(input))).is_err())
}

#[test]
fn every_target_holds_for_its_seeds_and_their_mutations() {
    let count = std::env::var("OPENARCHIVE_FUZZ_MUTATIONS").map_or(MUTATIONS, |count| count.parse().unwrap());
    let next = AtomicUsize::new(0);
    let work = || -> Vec<String> {
        let mut failed = Vec::new();
        while let Some(target) = TARGETS.get(next.fetch_add(1, Ordering::Relaxed)) {
            let failure = first_failure(target.name, &seeds(target), count, |input| target.run(input));
            failed.extend(failure.map(|input| format!("{}: b\"{}\"", target.name, input.escape_ascii())));
        }
        failed
    };
    let failed: Vec<String> = thread::scope(|scope| {
        let threads: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert!(failed.is_empty(), "does not hold (see above why):\n{}", failed.join("\n"));
}

#[test]
fn every_target_has_seeds_and_every_seed_a_target() {
    for target in &TARGETS {
        assert!(!seeds(target).is_empty(), "{} has no seeds", target.name);
        assert!(Target::named(target.name).is_some());
    }
    for entry in fs::read_dir(folder().join("seeds")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(Target::named(&name).is_some(), "seeds/{name} belongs to no target");
    }
    for seeds in TARGETS.iter().flat_map(|target| target.seeds) {
        assert!(folder().join(Path::new(seeds)).is_dir(), "{seeds} is not there");
    }
}

#[test]
fn what_only_a_mutation_shows_is_found() {
    let seeds = [b"From: a@example.org\r\n\r\nbody\r\n".to_vec(), b"0123456789".to_vec()];
    let planted = |input: &[u8]| assert!(!input.windows(2).any(|two| two == b"\n\n" || two[1] > 0x7f));
    assert!(seeds.iter().all(|seed| catch_unwind(|| planted(seed)).is_ok()));
    let found = first_failure("planted", &seeds, MUTATIONS, planted).unwrap();
    assert_eq!(
        first_failure("planted", &seeds, MUTATIONS, planted),
        Some(found),
        "a run is not like the other"
    );
    assert_eq!(first_failure("planted", &seeds, MUTATIONS, |_| ()), None);
}
