# SPDX-License-Identifier: Apache-2.0
"""URIs of keys in a PKCS#11 token: `hsm:2?label=factory` as securesystemslib writes it, `pkcs11:token=factory;object=x`
(RFC 7512).

Guards: a URI holds no PIN and no path of a library, and one that does is refused without being repeated.
Leaves to others: the token (`backends.signers.pkcs11_token`).
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, unquote_to_bytes

from assay.errors import UsageFault

PIV_SIGNATURE_KEY = 2
"""The id that `hsm:` means without a number: PIV's slot 9c, as in securesystemslib."""

TOKEN_SCHEMES = ("hsm", "pkcs11")

_FORMS = "hsm:ID?label=TOKEN, or pkcs11:token=TOKEN;object=LABEL;id=%01"


@dataclass(frozen=True)
class TokenKey:
    """A key in a token, by id (CKA_ID), by label (CKA_LABEL) or by both. `token` None: the only one there is."""

    token: str | None
    key_id: bytes | None
    label: str | None

    def __str__(self) -> str:
        named = [f"label '{self.label}'"] if self.label is not None else []
        return " and ".join([*named, *([f"id {self.key_id.hex()}"] if self.key_id is not None else [])])


def scheme_of(uri: str) -> str:
    """What stands before the colon."""
    return uri.partition(":")[0]


def parse_token_uri(uri: str) -> TokenKey:
    """The key that `uri` names. Raises `UsageFault`, which does not repeat the URI: it might hold a secret."""
    scheme, _, rest = uri.partition(":")
    path, _, query = rest.partition("?")
    if scheme == "hsm":
        return _of_library(path, query)
    if scheme != "pkcs11":
        raise UsageFault("this is no URI of a key in a token", remedy=f"write {_FORMS}")
    if query:
        raise _wrong("a pkcs11: URI has no '?' part here: module and PIN stand in [tokens] of keys.toml")
    return _of_rfc7512(path)


def _of_library(path: str, query: str) -> TokenKey:
    options = dict(parse_qsl(query, keep_blank_values=True))
    if set(options) - {"label"}:
        raise _wrong("a hsm: URI has nothing but ?label=")
    if path and not (path.isascii() and path.isdecimal() and len(path) <= 40):
        raise _wrong("the id of a key in a hsm: URI is a decimal number")
    number = int(path) if path else PIV_SIGNATURE_KEY
    key_id = number.to_bytes(max(1, (number.bit_length() + 7) // 8), "big")
    return TokenKey(options.get("label"), key_id, None)


def _of_rfc7512(path: str) -> TokenKey:
    attributes: dict[str, str] = {}
    for part in path.split(";"):
        name, equals, value = part.partition("=")
        if name not in ("token", "object", "id", "type") or not equals or name in attributes:
            raise _wrong("a pkcs11: URI has token=, object= and id= here, each once, and nothing else")
        attributes[name] = value
    if attributes.pop("type", "private") != "private":
        raise _wrong("a key that signs has type=private")
    key_id = unquote_to_bytes(attributes["id"]) if "id" in attributes else None
    label = unquote(attributes["object"], errors="replace") if "object" in attributes else None
    if not key_id and not label:
        raise _wrong("the URI names no key")
    token = unquote(attributes["token"], errors="replace") if "token" in attributes else None
    return TokenKey(token, key_id, label)


def _wrong(what: str) -> UsageFault:
    return UsageFault(what, remedy=f"write {_FORMS}")
