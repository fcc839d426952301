//! The one place that reads the system's randomness.

/// Fresh random bytes from the operating system.
///
/// Panics if the operating system has no randomness to give: no key may be made then, and no caller could continue.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}
