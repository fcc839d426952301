//! Splitting a message that fits into memory.

use std::{collections::BTreeMap, convert::Infallible};

use openarchive_domain::Digest;

use super::{PartSink, Split, Splitter};
use crate::PartRef;

#[derive(Debug, Default)]
pub(crate) struct PartsInMemory {
    pub(crate) parts: BTreeMap<Digest, Vec<u8>>,
    current: Vec<u8>,
}

impl PartSink for PartsInMemory {
    type Error = Infallible;

    fn begin(&mut self) -> Result<(), Infallible> {
        self.current.clear();
        Ok(())
    }

    fn data(&mut self, decoded: &[u8]) -> Result<(), Infallible> {
        self.current.extend_from_slice(decoded);
        Ok(())
    }

    fn end(&mut self, part: &PartRef) -> Result<(), Infallible> {
        self.parts.insert(part.digest, std::mem::take(&mut self.current));
        Ok(())
    }

    fn abort(&mut self) -> Result<(), Infallible> {
        self.current.clear();
        Ok(())
    }
}

/// The parts are keyed by the digest of their content; one that occurs twice is there once.
pub fn split_in_memory(message: &[u8]) -> (Split, BTreeMap<Digest, Vec<u8>>) {
    let mut splitter = Splitter::new(PartsInMemory::default());
    let Ok(()) = splitter.feed(message);
    let Ok((split, sink)) = splitter.finish();
    (split, sink.parts)
}
