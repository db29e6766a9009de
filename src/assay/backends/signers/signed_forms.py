# SPDX-License-Identifier: Apache-2.0
"""What the keys that sign bytes may sign: the form of an image hash, a checkpoint, a cosignature, a certificate, a
manifest of RAUC.

Guards: a signature that one role gives can never be taken for something that another one says. The forms exclude
each other and a statement's encoding: 32 bytes; text of three lines; text of five lines, the first `cosignature/v1`;
one DER SEQUENCE of more than 32 bytes; text that begins with `[update]`; canonical JSON that begins with `{"_type":`.
The key for RAUC bundles signs its own certificate, too.
Leaves to others: whether the content is right (whoever asks), roles of statements (`model.trust`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

from assay.errors import NotVerified
from assay.formats import checkpoint, cosignature
from assay.formats.rauc_bundle import RAUC_UNIT
from assay.model.trust import Role

DER_SEQUENCE = 0x30
RAUC_MANIFEST_BYTES_MAX = 4096
_TUF_TYPES = tuple(b'{"_type":"%b",' % kind for kind in (b"root", b"targets", b"snapshot", b"timestamp"))


def may_sign_bytes(role: Role, data: bytes) -> bool:
    """Whether the key of `role` is for signing `data` as it is. False for every role that signs statements."""
    form = _FORMS.get(role)
    return form is not None and form(data)


def is_repository_metadata(data: bytes) -> bool:
    """Whether `data` is what a key of a TUF repository signs: canonical JSON, whose first member is its type."""
    return data.startswith(_TUF_TYPES)


def _is_image_hash(data: bytes) -> bool:
    return len(data) == hashlib.sha256().digest_size


def _is_checkpoint(data: bytes) -> bool:
    try:
        checkpoint.read_text(data)
    except NotVerified:
        return False
    return True


def _is_cosignature(data: bytes) -> bool:
    try:
        cosignature.read_message(data)
    except NotVerified:
        return False
    return True


def _is_certificate(data: bytes) -> bool:
    """A TBSCertificate (RFC 5280 section 4.1) is a SEQUENCE that fills `data`, its length in the long form (X.690
    section 8.1.3.5): the shortest certificate has more than 127 bytes.
    """
    if len(data) < 4 or data[0] != DER_SEQUENCE or data[1] not in (0x81, 0x82):
        return False
    begin = 2 + (data[1] & 0x7F)
    return begin + int.from_bytes(data[2:begin], "big") == len(data)


def _is_for_rauc(data: bytes) -> bool:
    """A bundle's manifest, of at most some hundred bytes, or the certificate of the key itself."""
    manifest = data.startswith(b"[update]\ncompatible=") and b"\n[bundle]\nformat=verity\n" in data
    own = _is_certificate(data) and data.count(RAUC_UNIT.encode()) == 2  # subject and issuer
    return own or (manifest and len(data) <= RAUC_MANIFEST_BYTES_MAX and data.isascii())


_FORMS: Mapping[Role, Callable[[bytes], bool]] = {
    Role.IMAGE: _is_image_hash,
    Role.LOG: _is_checkpoint,
    Role.DEVICE_CA: _is_certificate,
    Role.RAUC: _is_for_rauc,
    Role.WITNESS: _is_cosignature,
}
