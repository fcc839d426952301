//! One pass over a pack object: its SHA-256, and every body opened and compared with its digest.

use std::io;

use openarchive_domain::{Digest, DigestHasher};
use openarchive_envelope::{
    BlobOpener, BlobScope, Dek, OpenError,
    pack::{self, Footer, PACK_HEADER, PACK_TRAILER_BYTES, PackError},
};
use openarchive_objects::{ObjectError, ObjectKey, ObjectStore};
use uuid::Uuid;

use crate::{StorageError, blob_id::BlobId, pack_flush::blocking, requests::BLOB_BYTES_MAX};

/// A body that is to be opened.
pub(crate) struct Body {
    pub(crate) ordinal: i32,
    pub(crate) id: BlobId,
    pub(crate) offset: u64,
    pub(crate) length: u64,
    pub(crate) dek: Dek,
}

pub(crate) struct Scan {
    pub(crate) sha256: Digest,
    pub(crate) length: u64,
    /// By ordinal: the raw length, or why the body does not open.
    pub(crate) bodies: Vec<(i32, Result<u64, OpenError>)>,
}

/// Reads the pack once from its start. Memory stays at a few MiB, whatever the pack holds.
pub(crate) async fn scan(
    objects: &ObjectStore,
    key: &ObjectKey,
    scope: &BlobScope,
    bodies: Vec<Body>,
) -> Result<Scan, StorageError> {
    let mut reader = objects.open(key).await?;
    let mut pass = Pass::new(scope, bodies);
    let mut piece = reader.next_piece().await?;
    while let Some(bytes) = piece {
        let feed = blocking(move || {
            pass.feed(&bytes);
            Ok(pass)
        });
        let (fed, next) = tokio::join!(feed, reader.next_piece());
        (pass, piece) = (fed?, next?);
    }
    Ok(pass.finish())
}

struct Pass {
    scope: BlobScope,
    hasher: DigestHasher,
    /// By offset.
    bodies: Vec<Body>,
    /// The body that is being opened, or comes next.
    next: usize,
    begun: bool,
    /// Of the body that is being opened; after a failure there is none, and the rest is passed over.
    opener: Option<BlobOpener>,
    opened: Vec<(i32, Result<u64, OpenError>)>,
}

impl Pass {
    fn new(scope: &BlobScope, mut bodies: Vec<Body>) -> Self {
        bodies.sort_by_key(|body| body.offset);
        let hasher = DigestHasher::default();
        Self { scope: scope.clone(), hasher, bodies, next: 0, begun: false, opener: None, opened: Vec::new() }
    }

    fn feed(&mut self, piece: &[u8]) {
        let start = self.hasher.length();
        self.hasher.update(piece);
        let end = self.hasher.length();
        while let Some(body) = self.bodies.get(self.next)
            && body.offset < end
        {
            let body_end = body.offset.saturating_add(body.length);
            let from = body.offset.max(start) - start;
            let to = body_end.min(end).max(start) - start;
            if !self.begun {
                let reachable = body.offset >= start;
                self.begin(reachable);
            }
            self.feed_body(&piece[from as usize..to as usize]);
            if body_end > end {
                return;
            }
            self.end_body();
        }
    }

    /// A body that begins before what is still to come overlaps the one before: rows may say so, a footer cannot.
    fn begin(&mut self, reachable: bool) {
        self.begun = true;
        let body = &self.bodies[self.next];
        if !reachable {
            self.opened.push((body.ordinal, Err(OpenError::Truncated)));
            return;
        }
        match BlobOpener::new(&body.dek, &body.id.context(&self.scope), BLOB_BYTES_MAX) {
            Ok(opener) => self.opener = Some(opener),
            Err(error) => self.opened.push((body.ordinal, Err(error))),
        }
    }

    fn feed_body(&mut self, bytes: &[u8]) {
        if let Some(opener) = &mut self.opener
            && let Err(error) = opener.feed(bytes, &mut io::sink())
        {
            self.opener = None;
            self.opened.push((self.bodies[self.next].ordinal, Err(error)));
        }
    }

    fn end_body(&mut self) {
        if let Some(opener) = self.opener.take() {
            self.opened.push((self.bodies[self.next].ordinal, opener.finish(&mut io::sink())));
        }
        self.begun = false;
        self.next += 1;
    }

    fn finish(mut self) -> Scan {
        // Bodies that the object does not reach; the one under way may have failed already.
        for body in &self.bodies[self.next..] {
            if !self.opened.iter().any(|(ordinal, _)| *ordinal == body.ordinal) {
                self.opened.push((body.ordinal, Err(OpenError::Truncated)));
            }
        }
        self.opened.sort_by_key(|(ordinal, _)| *ordinal);
        Scan { length: self.hasher.length(), sha256: self.hasher.finish(), bodies: self.opened }
    }
}

/// Reads header and footer of a pack of `length` bytes. The inner error means: damaged.
pub(crate) async fn read_footer(
    objects: &ObjectStore,
    key: &ObjectKey,
    length: u64,
    scope: &BlobScope,
    pack_id: Uuid,
    dek: &Dek,
) -> Result<Result<Footer, PackError>, StorageError> {
    match read_footer_parts(objects, key, length).await? {
        Err(error) => Ok(Err(error)),
        Ok((place, body)) => Ok(Footer::open(dek, scope, pack_id.as_bytes(), place, &body)),
    }
}

async fn read_footer_parts(
    objects: &ObjectStore,
    key: &ObjectKey,
    length: u64,
) -> Result<Result<(pack::FooterPlace, Vec<u8>), PackError>, ObjectError> {
    if length < (PACK_HEADER.len() + PACK_TRAILER_BYTES) as u64 {
        return Ok(Err(PackError::NotAPack));
    }
    let header = objects.get_range(key, 0, PACK_HEADER.len() as u64).await?;
    let trailer =
        objects.get_range(key, length - PACK_TRAILER_BYTES as u64, PACK_TRAILER_BYTES as u64).await?;
    let (Some(header), Some(trailer)) = (header.first_chunk(), trailer.first_chunk()) else {
        return Ok(Err(PackError::NotAPack));
    };
    let place = pack::check_header(header).and_then(|()| pack::locate_footer(length, *trailer));
    match place {
        Err(error) => Ok(Err(error)),
        Ok(place) => Ok(Ok((place, objects.get_range(key, place.offset, place.length).await?))),
    }
}

#[cfg(test)]
mod tests {
    use openarchive_envelope::{BlobKind, seal_blob};

    use super::*;

    /// Bodies of the given raw lengths, one behind the other from byte 5.
    fn pack(lengths: &[usize]) -> (Vec<u8>, Vec<Body>) {
        let mut bytes = PACK_HEADER.to_vec();
        let bodies = (1..).zip(lengths).map(|(ordinal, &length)| {
            let raw = vec![ordinal as u8; length];
            let id = BlobId { kind: BlobKind::Part, digest: Digest::of(&raw) };
            let dek = Dek::new([ordinal as u8; 32]);
            let body = seal_blob(&dek, [7; 24], &id.context(&BlobScope::Archive), &raw).unwrap();
            let offset = bytes.len() as u64;
            bytes.extend_from_slice(&body);
            Body { ordinal, id, offset, length: body.len() as u64, dek }
        });
        let bodies = bodies.collect();
        (bytes, bodies)
    }

    fn opened(bytes: &[u8], bodies: Vec<Body>, piece: usize) -> Vec<(i32, Result<u64, String>)> {
        let mut pass = Pass::new(&BlobScope::Archive, bodies);
        bytes.chunks(piece).for_each(|bytes| pass.feed(bytes));
        let scan = pass.finish();
        assert_eq!((scan.length, scan.sha256), (bytes.len() as u64, Digest::of(bytes)));
        scan.bodies
            .into_iter()
            .map(|(ordinal, opened)| (ordinal, opened.map_err(|error| error.to_string())))
            .collect()
    }

    #[test]
    fn bodies_open_however_the_pack_is_cut_into_pieces() {
        for piece in [1, 7, 100, 5_000, 1_000_000] {
            let (bytes, bodies) = pack(&[0, 40_000, 1, 17]);
            assert_eq!(opened(&bytes, bodies, piece), [(1, Ok(0)), (2, Ok(40_000)), (3, Ok(1)), (4, Ok(17))]);
        }
    }

    #[test]
    fn every_body_is_answered_for_also_where_rows_place_it_wrongly() {
        let cut_off = || Err(OpenError::Truncated.to_string());
        let differs = || Err(OpenError::WrongKeyOrContext.to_string());
        for piece in [10, 1_000_000] {
            let (bytes, mut bodies) = pack(&[100, 100, 100]);
            bodies[1].offset -= 50;
            bodies[2].length += 1;
            let found = opened(&bytes, bodies, piece);
            assert_eq!(found[0], (1, Ok(100)));
            assert!(found[1] == (2, cut_off()) || found[1] == (2, differs()), "{found:?}");
            assert_eq!(found[2], (3, cut_off()));
        }
    }
}
