//! One entry for every target: `OPENARCHIVE_FUZZ_TARGET` names it. `fuzz/run.sh` builds and starts this.
#![no_main]

use std::sync::LazyLock;

use openarchive_fuzz::Target;

static TARGET: LazyLock<&'static Target> = LazyLock::new(|| {
    let name = std::env::var("OPENARCHIVE_FUZZ_TARGET").unwrap_or_default();
    Target::named(&name).expect("OPENARCHIVE_FUZZ_TARGET names no target")
});

libfuzzer_sys::fuzz_target!(|input: &[u8]| TARGET.run(input));
