# SPDX-License-Identifier: Apache-2.0
"""Which key signs for which role of a site, as a person sets it.

Guards: a log keeps the key that it was begun with; a public key that is given is one, and no private one.
Leaves to others: keys and tokens (`backends.signers`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from assay.backends.named_file import read_named
from assay.errors import Refused, UsageFault
from assay.formats.public_key import parse_public_key
from assay.model.keys import Token
from assay.model.trust import Role, TrustedKey
from assay.pipeline.site import Site

KEY_BYTES_MAX = 16384


def use_key(
    site: Site, role: Role, uri: str, *, public: Path | None, name: str | None, make: bool, production: bool
) -> TrustedKey:
    """From now on the key at `uri` signs for `role`. Raises `Refused`, `UsageFault`, and what its token raises."""
    if role is Role.LOG and (site.folder / "log" / "checkpoint").exists():
        raise Refused(
            f"the log in {site.folder} was begun with another key, and would not verify any more",
            remedy="begin another site (--site) with the new key",
        )
    pem = None if public is None else _read_public(public)
    return site.keys.use_key(role, uri, public=pem, name=name, make=make, production=production)


def set_token(site: Site, label: str, document: Mapping[str, Any]) -> Token:
    """From now on the token `label` is reached as `document` says. Raises `UsageFault`."""
    if not label or not label.isprintable():
        raise UsageFault("a token is named by its label", remedy="see `pkcs11-tool --list-slots`")
    try:
        token = Token.model_validate_json(json.dumps(document))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        what = first["msg"].removeprefix("Value error, ")
        raise UsageFault(
            f"this is no token: {'.'.join(map(str, first['loc']))}: {what}", remedy="see `assay keys token --help`"
        ) from error
    site.keys.set_token(label, token)
    return token


def _read_public(path: Path) -> str:
    try:
        pem = read_named(path, KEY_BYTES_MAX).decode("ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageFault(f"{path} is no PEM file that can be read", remedy="name the public key") from error
    if "PRIVATE" in pem:
        raise UsageFault(f"{path} is a private key, which stays where it is", remedy="name the public key")
    parse_public_key(pem)
    return pem
