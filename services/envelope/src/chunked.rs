//! C2SP chunked encryption, <https://c2sp.org/chunked-encryption>, as Cobblestone-256: HKDF-Expand-SHA-512 and
//! AES-256-GCM. A body is `salt 24 | commitment 32 | chunks`; every chunk but the last holds 16 KiB, the last less.

use aes_gcm::{Aes256Gcm, KeyInit, aead::AeadInOut};
use hmac::{Hmac, Mac};
use sha2::Sha512;

use crate::{BlobContext, Dek, OpenError};

/// Plaintext bytes of every chunk but the last, which holds fewer.
pub const CHUNK_BYTES: usize = 16 * 1024;
/// Bytes of the authentication tag behind each chunk.
pub const TAG_BYTES: usize = 16;
/// Bytes of the random salt a body begins with.
pub const SALT_BYTES: usize = 24;
/// Bytes before the first chunk: salt and key commitment.
pub const HEADER_BYTES: usize = SALT_BYTES + COMMITMENT_BYTES;
/// The random start of a body; never the same twice under one DEK.
pub type Salt = [u8; SALT_BYTES];

const COMMITMENT_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;
const SEALED_CHUNK_BYTES: usize = CHUNK_BYTES + TAG_BYTES;
/// Chunks of one body, at most (2^38, 4 PiB).
const CHUNKS_MAX: u64 = 1 << 38;
const INFO_PREFIX: &[u8] = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0";

/// Length of the body that `plaintext_bytes` bytes are encrypted to.
pub const fn sealed_length(plaintext_bytes: u64) -> u64 {
    let chunks = plaintext_bytes / CHUNK_BYTES as u64 + 1;
    HEADER_BYTES as u64 + plaintext_bytes + chunks * TAG_BYTES as u64
}

struct MessageKeys {
    cipher: Aes256Gcm,
    base_nonce: [u8; NONCE_BYTES],
    commitment: [u8; COMMITMENT_BYTES],
    chunks: u64,
}

impl MessageKeys {
    /// `key 32 || base nonce 12 || commitment 32 = HKDF-Expand(DEK, info)` (RFC 5869 section 2.3). Written with HMAC
    /// because HKDF crates demand a pseudorandom key as long as the hash; two blocks of 64 bytes give the 76 needed.
    fn derive(dek: &Dek, salt: &Salt, context: &BlobContext) -> Self {
        let context = context.to_ascii();
        let keyed = Hmac::<Sha512>::new_from_slice(dek.as_bytes()).expect("HMAC takes a key of any length");
        let mac = |previous: &[u8], counter: u8| {
            let mut mac = keyed.clone();
            for piece in [previous, INFO_PREFIX, salt, context.as_bytes(), &[counter]] {
                mac.update(piece);
            }
            <[u8; 64]>::from(mac.finalize().into_bytes())
        };
        let first = mac(&[], 1);
        let second = mac(&first, 2);
        let mut key = [0; 32];
        key.copy_from_slice(&first[..32]);
        let mut base_nonce = [0; NONCE_BYTES];
        base_nonce.copy_from_slice(&first[32..44]);
        let mut commitment = [0; COMMITMENT_BYTES];
        commitment[..20].copy_from_slice(&first[44..]);
        commitment[20..].copy_from_slice(&second[..12]);
        Self { cipher: Aes256Gcm::new(&key.into()), base_nonce, commitment, chunks: 0 }
    }

    /// Base nonce XOR chunk number, big-endian. `None` beyond the format's limit.
    fn next_nonce(&mut self) -> Option<[u8; NONCE_BYTES]> {
        if self.chunks >= CHUNKS_MAX {
            return None;
        }
        let mut nonce = self.base_nonce;
        for (byte, counter) in nonce[NONCE_BYTES - 8..].iter_mut().zip(self.chunks.to_be_bytes()) {
            *byte ^= counter;
        }
        self.chunks += 1;
        Some(nonce)
    }
}

/// More chunks than one body may have.
#[derive(Debug)]
pub(crate) struct TooManyChunks;

/// Encrypts a stream. Header and chunks are appended to `out` as they become complete.
pub(crate) struct ChunkSealer {
    keys: MessageKeys,
    salt: Option<Salt>,
    pending: Vec<u8>,
}

impl ChunkSealer {
    pub(crate) fn new(dek: &Dek, salt: Salt, context: &BlobContext) -> Self {
        Self { keys: MessageKeys::derive(dek, &salt, context), salt: Some(salt), pending: Vec::new() }
    }

    pub(crate) fn push(&mut self, mut plain: &[u8], out: &mut Vec<u8>) -> Result<(), TooManyChunks> {
        self.write_header(out);
        if !self.pending.is_empty() {
            let (head, rest) = plain.split_at(plain.len().min(CHUNK_BYTES - self.pending.len()));
            self.pending.extend_from_slice(head);
            plain = rest;
            if self.pending.len() < CHUNK_BYTES {
                return Ok(());
            }
            seal_chunk(&mut self.keys, &self.pending, out)?;
            self.pending.clear();
        }
        let mut chunks = plain.chunks_exact(CHUNK_BYTES);
        for chunk in &mut chunks {
            seal_chunk(&mut self.keys, chunk, out)?;
        }
        self.pending.extend_from_slice(chunks.remainder());
        Ok(())
    }

    /// Writes the last chunk, which is shorter than the others, perhaps empty: that marks the end.
    pub(crate) fn finish(mut self, out: &mut Vec<u8>) -> Result<(), TooManyChunks> {
        self.write_header(out);
        seal_chunk(&mut self.keys, &self.pending, out)
    }

    fn write_header(&mut self, out: &mut Vec<u8>) {
        if let Some(salt) = self.salt.take() {
            out.extend_from_slice(&salt);
            out.extend_from_slice(&self.keys.commitment);
        }
    }
}

fn seal_chunk(keys: &mut MessageKeys, plain: &[u8], out: &mut Vec<u8>) -> Result<(), TooManyChunks> {
    let nonce = keys.next_nonce().ok_or(TooManyChunks)?;
    let start = out.len();
    out.extend_from_slice(plain);
    let tag = keys
        .cipher
        .encrypt_inout_detached(&nonce.into(), &[], (&mut out[start..]).into())
        .expect("16 KiB are far below the AES-GCM message limit");
    out.extend_from_slice(&tag);
    Ok(())
}

/// Decrypts a stream. The sink sees only bytes of chunks that were verified.
pub(crate) struct ChunkOpener {
    dek: Dek,
    context: BlobContext,
    keys: Option<MessageKeys>,
    pending: Vec<u8>,
}

impl ChunkOpener {
    pub(crate) fn new(dek: &Dek, context: &BlobContext) -> Self {
        Self { dek: dek.clone(), context: context.clone(), keys: None, pending: Vec::new() }
    }

    pub(crate) fn push(
        &mut self,
        mut body: &[u8],
        sink: &mut impl FnMut(&[u8]) -> Result<(), OpenError>,
    ) -> Result<(), OpenError> {
        while !body.is_empty() {
            let wanted = if self.keys.is_some() { SEALED_CHUNK_BYTES } else { HEADER_BYTES };
            let (head, rest) = body.split_at(body.len().min(wanted - self.pending.len()));
            self.pending.extend_from_slice(head);
            body = rest;
            if self.pending.len() < wanted {
                return Ok(());
            }
            if self.keys.is_some() {
                self.open_pending(sink)?;
            } else {
                self.keys = Some(self.check_header()?);
            }
            self.pending.clear();
        }
        Ok(())
    }

    /// Opens the last chunk. A body cut at a chunk's border has none and is refused as truncated.
    pub(crate) fn finish(
        mut self,
        sink: &mut impl FnMut(&[u8]) -> Result<(), OpenError>,
    ) -> Result<(), OpenError> {
        if self.keys.is_none() || self.pending.len() < TAG_BYTES {
            return Err(OpenError::Truncated);
        }
        self.open_pending(sink)
    }

    fn check_header(&self) -> Result<MessageKeys, OpenError> {
        let (salt, commitment) = self.pending.split_at(SALT_BYTES);
        let salt: &Salt = salt.try_into().map_err(|_| OpenError::Truncated)?;
        let keys = MessageKeys::derive(&self.dek, salt, &self.context);
        let differing = keys.commitment.iter().zip(commitment).fold(0, |bits, (a, b)| bits | (a ^ b));
        if differing == 0 { Ok(keys) } else { Err(OpenError::WrongKeyOrContext) }
    }

    fn open_pending(
        &mut self,
        sink: &mut impl FnMut(&[u8]) -> Result<(), OpenError>,
    ) -> Result<(), OpenError> {
        let keys = self.keys.as_mut().ok_or(OpenError::Truncated)?;
        let chunk = keys.chunks;
        let nonce = keys.next_nonce().ok_or(OpenError::Tampered { chunk })?;
        let (plain, tag) = self.pending.split_last_chunk_mut::<TAG_BYTES>().ok_or(OpenError::Truncated)?;
        let tag = *tag;
        keys.cipher
            .decrypt_inout_detached(&nonce.into(), &[], (&mut *plain).into(), &tag.into())
            .map_err(|_| OpenError::Tampered { chunk })?;
        sink(plain)
    }
}
