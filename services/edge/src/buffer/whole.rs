//! Rebuilding a mail from the buffer, and keeping one as a single part when the splitter's work is not trusted.

use std::io;

use openarchive_domain::{Digest, DigestHasher};
use openarchive_mail::{PartEncoder, PartRef, Recipe, Segment, Skeleton, limits::PART_BYTES_MIN};
use rusqlite::{Connection, params};

use super::{
    BlobReader, Buffer, BufferError, Buffered, MessageId, NewBlob, blob, error::Doing, prune::release_blobs,
    store::refer_to_parts,
};
use crate::{content::Content, spool::Spool};

impl Buffer {
    /// The exact bytes of a buffered mail; [`BufferError::Damaged`] if they do not have its digest.
    ///
    /// Holds at most a few MiB, and the rest in a spool file.
    pub async fn rebuild(&self, message: &Buffered) -> Result<Content, BufferError> {
        let damaged = |detail: String| BufferError::Damaged { id: message.id, detail };
        let encoded = self
            .blob_in_memory(message.skeleton.digest)
            .await?
            .ok_or_else(|| damaged("its skeleton is missing".to_owned()))?;
        let skeleton = Skeleton::decode(&encoded).map_err(|error| damaged(error.to_string()))?;
        let mut join = Join { spool: Spool::new(self.spool_dir()), hasher: DigestHasher::default() };
        for segment in skeleton.segments() {
            match segment {
                Segment::Verbatim(bytes) => join.push(bytes).await?,
                Segment::Part(part) => {
                    let reader = self.blob(part.digest).await?;
                    let reader = reader.ok_or_else(|| damaged(format!("part {} is missing", part.digest)))?;
                    join.push_part(part, reader).await?;
                }
            }
        }
        if join.hasher.length() != message.length || join.hasher.finish() != message.message {
            return Err(damaged("the joined bytes have another digest".to_owned()));
        }
        Ok(join.spool.into_content()?)
    }

    /// From now on the mail is one identity part (or verbatim, if it is small), with the same seat and digest.
    ///
    /// For when the core cannot rebuild it from what the splitter made.
    pub async fn replace_whole(&self, id: MessageId) -> Result<Buffered, BufferError> {
        let message = self.message(id).await?.ok_or(BufferError::NotBuffered(id))?;
        let content = self.rebuild(&message).await?;
        let skeleton = whole_skeleton(&content, message.message)?;
        let parts: Vec<NewBlob> =
            skeleton.parts().map(|part| NewBlob { digest: part.digest, content: content.clone() }).collect();
        let encoded = skeleton.encode();
        let skeleton = NewBlob { digest: Digest::of(&encoded), content: encoded.into() };
        self.write(message.length, move |connection| replace(connection, id, &skeleton, &parts)).await?;
        self.message(id).await?.ok_or(BufferError::NotBuffered(id))
    }
}

struct Join {
    spool: Spool,
    hasher: DigestHasher,
}

impl Join {
    async fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.spool.tail().extend_from_slice(bytes);
        self.spool.settle().await
    }

    async fn push_part(&mut self, part: &PartRef, mut reader: BlobReader) -> Result<(), BufferError> {
        let (mut encoder, mut out) = (PartEncoder::new(&part.recipe), Vec::new());
        while let Some(chunk) = reader.next().await? {
            encoder.push(&chunk, &mut out);
            self.push(&out).await?;
            out.clear();
        }
        encoder.finish(&mut out);
        Ok(self.push(&out).await?)
    }
}

/// A skeleton that takes nothing apart: like [`Skeleton::whole`], without the message in memory.
pub(crate) fn whole_skeleton(message: &Content, digest: Digest) -> Result<Skeleton, io::Error> {
    let length = message.length();
    if length < PART_BYTES_MIN as u64 {
        let mut bytes = vec![0; length as usize];
        message.read_exact_at(&mut bytes, 0)?;
        return Ok(Skeleton::whole(&bytes));
    }
    let part = PartRef { digest, decoded_length: length, recipe: Recipe::Identity };
    Skeleton::new(vec![Segment::Part(part)]).map_err(io::Error::other)
}

fn replace(
    connection: &Connection,
    id: MessageId,
    skeleton: &NewBlob,
    parts: &[NewBlob],
) -> Result<(), BufferError> {
    // New references first, so that a blob which stays is not dropped in between.
    let (skeleton, mut added) = blob::refer(connection, skeleton)?;
    let mut ids = Vec::with_capacity(parts.len());
    for part in parts {
        let (id, bytes) = blob::refer(connection, part)?;
        ids.push(id);
        added += bytes;
    }
    let freed = release_blobs(connection, id)?;
    let changed = connection
        .execute("UPDATE message SET skeleton = ?2 WHERE id = ?1", params![id.0, skeleton])
        .doing("replace the skeleton of a mail")?;
    if changed == 0 {
        return Err(BufferError::NotBuffered(id));
    }
    refer_to_parts(connection, id, &ids).doing("replace the parts of a mail")?;
    connection
        .execute("UPDATE meta SET bytes = bytes + ?1 - ?2", params![added as i64, freed as i64])
        .doing("count a replaced mail")?;
    Ok(())
}
