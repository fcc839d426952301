//! Where the bytes of the message go: verbatim runs into the skeleton, part content into the sink.

use openarchive_domain::{Digest, DigestHasher};

use super::{Flags, PartSink};
use crate::{
    PartRef, Recipe, Segment, Skeleton,
    limits::{BLOCK_BYTES, PART_BYTES_MIN, REFERENCES_MAX, SKELETON_VERBATIM_BYTES, VERBATIM_RUN_BYTES},
};

pub(crate) struct Output<S> {
    sink: S,
    pub(crate) flags: Flags,
    segments: Vec<Segment>,
    /// The verbatim run since the last part; once it streams, only what the sink has not seen of it.
    run: Vec<u8>,
    /// The run became so long that it is an identity part.
    streaming_run: Option<DigestHasher>,
    /// The body that is being taken out.
    part: Option<DigestHasher>,
    references: usize,
    /// Verbatim and trailing bytes that the skeleton keeps so far.
    kept: usize,
}

impl<S: PartSink> Output<S> {
    pub(crate) fn new(sink: S) -> Self {
        Self {
            sink,
            flags: Flags::default(),
            segments: Vec::new(),
            run: Vec::new(),
            streaming_run: None,
            part: None,
            references: 0,
            kept: 0,
        }
    }

    pub(crate) fn verbatim(&mut self, bytes: &[u8]) -> Result<(), S::Error> {
        debug_assert!(self.part.is_none());
        self.run.extend_from_slice(bytes);
        if self.streaming_run.is_some() {
            if self.run.len() >= BLOCK_BYTES {
                self.stream_run()?;
            }
        } else if self.run.len() >= self.run_bytes_max() {
            self.sink.begin()?;
            self.streaming_run = Some(DigestHasher::default());
            self.stream_run()?;
        }
        Ok(())
    }

    /// Decoded content of the body that is being taken out. False, and nothing done, if the skeleton has no
    /// room for another reference: then the body, and all that follows, stays verbatim.
    pub(crate) fn part_data(&mut self, decoded: &[u8]) -> Result<bool, S::Error> {
        if self.part.is_none() {
            // One reference stays free for the verbatim run that may follow.
            if self.references + usize::from(self.streaming_run.is_some()) + 2 > REFERENCES_MAX {
                self.flags.structure_limit = true;
                return Ok(false);
            }
            self.close_run()?;
            self.sink.begin()?;
        }
        self.part.get_or_insert_default().update(decoded);
        self.sink.data(decoded)?;
        Ok(true)
    }

    pub(crate) fn end_part(&mut self, recipe: Recipe) -> Result<(), S::Error> {
        if let Recipe::Base64(recipe) = &recipe {
            self.kept += recipe.trailing.len();
        }
        match self.part.take() {
            Some(content) => self.refer_to(content, recipe),
            None => Ok(()),
        }
    }

    /// Whether the skeleton may keep bytes that could stand in a run just as well.
    pub(crate) fn has_room_for_trailing(&self) -> bool {
        self.kept < SKELETON_VERBATIM_BYTES
    }

    pub(crate) fn finish(mut self, message_length: u64) -> Result<(Skeleton, Flags, S), S::Error> {
        self.close_run()?;
        Ok((Skeleton::from_splitter(message_length, self.segments), self.flags, self.sink))
    }

    pub(crate) fn abandon(mut self) -> Result<S, S::Error> {
        if self.part.is_some() || self.streaming_run.is_some() {
            self.sink.abort()?;
        }
        Ok(self.sink)
    }

    fn run_bytes_max(&self) -> usize {
        if self.kept < SKELETON_VERBATIM_BYTES { VERBATIM_RUN_BYTES } else { PART_BYTES_MIN }
    }

    fn stream_run(&mut self) -> Result<(), S::Error> {
        for block in self.run.chunks(BLOCK_BYTES) {
            self.streaming_run.get_or_insert_default().update(block);
            self.sink.data(block)?;
        }
        self.run.clear();
        Ok(())
    }

    fn close_run(&mut self) -> Result<(), S::Error> {
        if self.streaming_run.is_some() {
            self.stream_run()?;
        }
        if let Some(content) = self.streaming_run.take() {
            return self.refer_to(content, Recipe::Identity);
        }
        if !self.run.is_empty() {
            self.kept += self.run.len();
            self.segments.push(Segment::Verbatim(self.run.as_slice().to_vec()));
            self.run.clear();
        }
        Ok(())
    }

    fn refer_to(&mut self, content: DigestHasher, recipe: Recipe) -> Result<(), S::Error> {
        let decoded_length = content.length();
        let digest: Digest = content.finish();
        let part = PartRef { digest, decoded_length, recipe };
        self.sink.end(&part)?;
        self.references += 1;
        self.segments.push(Segment::Part(part));
        Ok(())
    }

    #[cfg(test)]
    pub(crate) fn held_bytes(&self) -> usize {
        self.run.capacity() + self.kept
    }
}
