# SPDX-License-Identifier: Apache-2.0
"""The lab's Rekor v2: a log of `hashedrekord` 0.0.2 entries in memory, read as tiles.

Guards: an entry's signature verifies with its key or certificate before it is logged. A DSSE envelope is logged by the
digest of its pre-authentication encoding, as rekor-tiles wants it.
"""

from __future__ import annotations

import base64
import threading
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from assay.formats import canonical_json, merkle, signed_note, tlog_tiles
from assay.formats.checkpoint import Checkpoint
from assay.formats.tlog_tiles import Tile
from assay.simulation.sigstore_lab.certificate_authority import verify_prehashed

P256 = "PKIX_ECDSA_P256_SHA_256"
KIND, VERSION = "hashedrekord", "0.0.2"


class TransparencyLog:
    """A log with the name `origin`: the host of its address, which clients take for the name in its checkpoints."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self._key = Ed25519PrivateKey.generate()
        self._entries: list[bytes] = []
        self._lock = threading.Lock()

    @property
    def public_raw(self) -> bytes:
        """32 bytes of the Ed25519 public key."""
        return self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    @property
    def public_der(self) -> bytes:
        """The public key as DER SubjectPublicKeyInfo."""
        return self._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    @property
    def log_id(self) -> bytes:
        """SHA-256 whose first 4 bytes are the key hash of its checkpoints (C2SP signed-note)."""
        return signed_note.VerifierKey(self.origin, self.public_raw).key_id

    def answer(self, document: dict[str, Any]) -> dict[str, Any]:
        """`POST /api/v2/log/entries`. Raises `ValueError` for what is refused."""
        if set(document) != {"hashedRekordRequestV002"}:
            raise ValueError("invalid type, must be hashedrekord")
        asked = document["hashedRekordRequestV002"]
        verifier = asked["signature"]["verifier"]
        if verifier.get("keyDetails") != P256 or not _signature_is_good(asked):
            raise ValueError("the signature does not verify with its key")
        entry = canonical_json.encode(
            {
                "apiVersion": VERSION,
                "kind": KIND,
                "spec": {
                    "hashedRekordV002": {
                        "data": {"algorithm": "SHA2_256", "digest": asked["digest"]},
                        "signature": {"content": asked["signature"]["content"], "verifier": verifier},
                    }
                },
            }
        )
        with self._lock:
            self._entries.append(entry)
            return self._proved(len(self._entries) - 1, len(self._entries))

    def read(self, path: str) -> bytes:
        """A file of the log (C2SP tlog-tiles). Raises `KeyError` for one that it has not."""
        with self._lock:
            size = len(self._entries)
            if path == tlog_tiles.CHECKPOINT_PATH:
                return self._checkpoint(size).encode("utf-8")
            return self._tile({tile.path: tile for tile in tlog_tiles.tiles_of(size)}[path])

    def _tile(self, tile: Tile) -> bytes:
        first = tile.index * tlog_tiles.TILE_WIDTH
        places = range(first, first + tile.width)
        if tile.level is None:
            return tlog_tiles.encode_entries([self._entries[place] for place in places])
        hashes = self._hashes(len(self._entries))
        return b"".join(hashes(tile.level * tlog_tiles.TILE_HEIGHT, place) for place in places)

    def _hashes(self, size: int) -> merkle.HashReader:
        return merkle.reader_of_leaves([merkle.leaf_hash(entry) for entry in self._entries[:size]])

    def _checkpoint(self, size: int) -> str:
        text = Checkpoint(self.origin, size, merkle.root(size, self._hashes(size))).text
        signature = self._key.sign(text.encode("utf-8"))
        return signed_note.write(text, self.origin, self.public_raw, signature).decode("utf-8")

    def _proved(self, index: int, size: int) -> dict[str, Any]:
        """A TransparencyLogEntry in protobuf's JSON: 64-bit numbers are strings."""
        hashes = self._hashes(size)
        return {
            "logIndex": str(index),
            "logId": {"keyId": _text(self.log_id)},
            "kindVersion": {"kind": KIND, "version": VERSION},
            "inclusionProof": {
                "logIndex": str(index),
                "rootHash": _text(merkle.root(size, hashes)),
                "treeSize": str(size),
                "hashes": [_text(each) for each in merkle.inclusion_proof(index, size, hashes)],
                "checkpoint": {"envelope": self._checkpoint(size)},
            },
            "canonicalizedBody": _text(self._entries[index]),
        }


def _signature_is_good(asked: dict[str, Any]) -> bool:
    verifier = asked["signature"]["verifier"]
    if "x509Certificate" in verifier:
        key: object = x509.load_der_x509_certificate(_bytes(verifier["x509Certificate"]["rawBytes"])).public_key()
    else:
        key = load_der_public_key(_bytes(verifier["publicKey"]["rawBytes"]))
    return verify_prehashed(key, _bytes(asked["signature"]["content"]), _bytes(asked["digest"]))


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
