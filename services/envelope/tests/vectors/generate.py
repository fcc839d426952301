"""Writes vectors.json: known answers for blobs and wrapped keys, made without our code.

The encryption is written here from https://c2sp.org/chunked-encryption (commit
1225032687556092e30c845edae8bac8d26cae09) with hashlib, and every body is opened again with the Cobblestone-256
of PyPI cryptography >= 50, which shares nothing with either. Run: python generate.py (needs cryptography, zstandard).
"""

import hashlib
import hmac
import json
import pathlib

import zstandard
from cryptography.cobblestone import Cobblestone256Decryptor
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding

CHUNK = 16 * 1024


def chunked(key: bytes, salt: bytes, context: bytes, plain: bytes) -> bytes:
    info = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0" + salt + context
    first = hmac.digest(key, info + b"\x01", "sha512")
    okm = first + hmac.digest(key, first + info + b"\x02", "sha512")
    aead, nonce, commitment = AESGCM(okm[:32]), int.from_bytes(okm[32:44], "big"), okm[44:76]
    body = salt + commitment
    for number in range(len(plain) // CHUNK + 1):
        chunk = plain[number * CHUNK : (number + 1) * CHUNK]
        body += aead.encrypt((nonce ^ number).to_bytes(12, "big"), chunk, None)
    return body


def seeded(name: str, length: int) -> bytes:
    return hashlib.shake_256(name.encode()).digest(length)


def blob(name: str, scope: str, kind: str, raw: bytes, codec: int = 0, digest: bytes | None = None) -> dict:
    digest = digest or hashlib.sha256(raw).digest()
    context = f"openarchive/blob/v1|{scope}|{kind}|{digest.hex()}".encode()
    key, salt = seeded(name + " key", 32), seeded(name + " salt", 24)
    payload = zstandard.ZstdCompressor(level=19).compress(raw) if codec else raw
    plain = bytes([1, codec]) + len(raw).to_bytes(8, "big") + payload
    body = chunked(key, salt, context, plain)
    opener = Cobblestone256Decryptor(key, context=context)
    assert opener.update(body) + opener.finalize() == plain
    vector = {
        "name": name,
        "dek": key.hex(),
        "salt": salt.hex(),
        "scope": scope,
        "kind": kind,
        "digest": digest.hex(),
        "codec": codec,
        "raw_length": len(raw),
        "body_length": len(body),
        "body_sha256": hashlib.sha256(body).hexdigest(),
    }
    if len(body) < 400:
        vector["body"] = body.hex()
    return vector


def counting(length: int) -> bytes:
    """Raw bytes: i * 31 + 7, modulo 256."""
    return bytes((i * 31 + 7) & 0xFF for i in range(length))


FRAME = 10
BLOBS = [blob(f"{n} raw bytes", "acme", "part", counting(n)) for n in (0, 1, 100, CHUNK - FRAME - 1, CHUNK - FRAME,
         CHUNK - FRAME + 1, 2 * CHUNK - FRAME, 40_000)]
BLOBS += [blob(f"kind {kind}", "_", kind, counting(64)) for kind in ("skeleton", "observation", "state", "config")]
BLOBS.append(blob("a footer: the digest is of the pack id", "acme", "footer", counting(64),
                  digest=hashlib.sha256(bytes(range(16))).digest()))
BLOBS.append(blob("foreign Zstandard", "acme", "part", counting(40_000), codec=1))


def wrap(name: str) -> dict:
    wrapping, key = seeded(name + " wrapping key", 32), seeded(name + " key", 32)
    return {"wrapping_key": wrapping.hex(), "key": key.hex(),
            "wrapped": aes_key_wrap_with_padding(wrapping, key).hex()}


vectors = {"blobs": BLOBS, "wraps": [wrap(f"wrap {n}") for n in range(4)]}
path = pathlib.Path(__file__).with_name("vectors.json")
path.write_text(json.dumps(vectors, indent=1) + "\n")
