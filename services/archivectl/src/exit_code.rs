/// It worked; what was verified holds.
pub const EXIT_OK: u8 = 0;
/// Any other error.
pub const EXIT_ERROR: u8 = 1;
/// The command line is not understood.
pub const EXIT_USAGE: u8 = 2;
/// Something is broken, or mail is missing: each is named.
pub const EXIT_VERIFICATION_FAILED: u8 = 3;
/// Consistent, but no policy says whose it is, or no receipt which mail was shredded.
pub const EXIT_NOT_ANCHORED: u8 = 4;

/// For `--help`.
pub(crate) const EXIT_CODES_HELP: &str = "\
Exit codes:
  0  it worked; what was verified holds
  1  any other error
  2  the command line is not understood
  3  verification failed, or mail is missing (completeness): each broken or missing thing is named
  4  consistent but not anchored: no policy was given, or to verify-shred no receipt";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_lists_every_code_and_the_verifier_agrees() {
        let codes = [EXIT_OK, EXIT_ERROR, EXIT_USAGE, EXIT_VERIFICATION_FAILED, EXIT_NOT_ANCHORED];
        let listed = EXIT_CODES_HELP.lines().skip(1).map(|line| line.trim().split(' ').next().unwrap());
        assert_eq!(listed.collect::<Vec<_>>(), codes.map(|code| code.to_string()));
        assert_eq!(
            [EXIT_OK, EXIT_VERIFICATION_FAILED, EXIT_NOT_ANCHORED],
            [
                openarchive_verify::EXIT_VERIFIED,
                openarchive_verify::EXIT_FAILED,
                openarchive_verify::EXIT_CONSISTENT_NOT_ANCHORED
            ]
        );
    }
}
