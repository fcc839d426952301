/// How far a check or a rebuild has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Packs that are done.
    pub packs: u64,
    /// Packs in all, as far as is known.
    pub packs_total: u64,
    /// Bytes of packs that were read.
    pub bytes: u64,
}
