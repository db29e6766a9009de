# SPDX-License-Identifier: Apache-2.0
"""DSSE v1.0.2 (https://github.com/secure-systems-lab/dsse): what is signed, and the envelope around it.

Guards: lengths count bytes; base64 is the standard alphabet, padded and in its one spelling; the payload type is
in-toto's; exactly one signature.
Leaves to others: keys (`public_key`), and what the payload says.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any

from assay.errors import NotVerified
from assay.model.statement import PAYLOAD_TYPE

_REMEDY = "get the bundle again from who made it"


@dataclass(frozen=True)
class Envelope:
    """One payload, its type, one signature over both."""

    payload: bytes
    signature: bytes
    keyid: str = ""
    payload_type: str = PAYLOAD_TYPE

    @property
    def signed(self) -> bytes:
        """The bytes that the signature is over."""
        return pae(self.payload_type, self.payload)


def pae(payload_type: str, payload: bytes) -> bytes:
    """Pre-authentication encoding; lengths are in bytes of UTF-8 (DSSE protocol, "Signature Definition")."""
    kind = payload_type.encode("utf-8")
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def to_json(envelope: Envelope) -> dict[str, Any]:
    """The envelope as plain JSON. `keyid` is a hint and left out when empty."""
    signature = {"sig": encode_base64(envelope.signature)}
    if envelope.keyid:
        signature["keyid"] = envelope.keyid
    return {
        "payload": encode_base64(envelope.payload),
        "payloadType": envelope.payload_type,
        "signatures": [signature],
    }


def from_json(document: Any) -> Envelope:
    """The envelope in plain JSON that was read strictly; `NotVerified` says what is wrong with it."""
    if not isinstance(document, dict) or set(document) != {"payload", "payloadType", "signatures"}:
        raise NotVerified("the DSSE envelope does not have payload, payloadType and signatures", remedy=_REMEDY)
    if document["payloadType"] != PAYLOAD_TYPE:
        raise NotVerified(f"the payload type is not {PAYLOAD_TYPE}", remedy="only in-toto statements are verified")
    signatures = document["signatures"]
    if not isinstance(signatures, list) or len(signatures) != 1:
        raise NotVerified("the DSSE envelope does not have exactly one signature", remedy=_REMEDY)
    signature = signatures[0]
    if not isinstance(signature, dict) or not {"sig"} <= set(signature) <= {"sig", "keyid"}:
        raise NotVerified("the signature of the DSSE envelope is malformed", remedy=_REMEDY)
    keyid = signature.get("keyid", "")
    if not isinstance(keyid, str):
        raise NotVerified("the keyid of the DSSE envelope is not text", remedy=_REMEDY)
    return Envelope(
        payload=decode_base64(document["payload"], "the DSSE payload"),
        signature=decode_base64(signature["sig"], "the DSSE signature"),
        keyid=keyid,
    )


def encode_base64(data: bytes) -> str:
    """Standard base64 (RFC 4648 section 4), padded."""
    return base64.b64encode(data).decode("ascii")


def decode_base64(text: Any, what: str) -> bytes:
    """`text` from standard base64; `NotVerified` for other alphabets, missing padding, stray characters or stray
    bits.
    """
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (AttributeError, UnicodeError, binascii.Error) as error:
        raise NotVerified(f"{what} is not standard base64", remedy=_REMEDY) from error
    if encode_base64(data) != text:
        raise NotVerified(f"{what} is not base64 in its one spelling", remedy=_REMEDY)
    return data
