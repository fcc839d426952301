use std::io::Write;

/// Says why a test is skipped. Where nothing may be skipped (CI, root) it fails instead.
pub fn skip(reason: &str) {
    assert!(std::env::var_os("OPENARCHIVE_NO_SKIP").is_none(), "may not be skipped here: {reason}");
    // Written past the test's captured output, so that the reason is seen in every run.
    let _ = writeln!(std::io::stderr(), "SKIP: {reason}");
}
