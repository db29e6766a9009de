# SPDX-License-Identifier: Apache-2.0
"""Sigstore instances and identities for a trust file, out of the words of a command line."""

from __future__ import annotations

from pathlib import Path

from assay.backends.named_file import read_named
from assay.errors import NotVerified, UsageFault
from assay.formats import canonical_json, strict_json, trust_file, trusted_root
from assay.model.identifiers import parse_name
from assay.model.signer_limits import TrustedServices
from assay.model.trust import BUILDER_IDS, Role, TrustedIdentity, TrustFile

ROOT_BYTES_MAX = 128 * 1024
"""Bytes of a trusted root that goes into a trust file; that of the public Sigstore has about ten thousand."""

_DEVELOPMENT = "UNSAFE-DEVELOPMENT"


def with_identities(trust: TrustFile, services: tuple[str, ...], identities: tuple[str, ...]) -> TrustFile:
    """`trust` with Sigstore instances (`NAME=FILE`) and identities (`NAME=ROLE,ISSUER,SAN`). Raises `UsageFault`."""
    if not services and not identities:
        return trust
    grown = trust.model_copy(
        update={
            "sigstore": (*trust.sigstore, *(read_services(text) for text in services)),
            "identities": (*trust.identities, *(read_identity(text, n) for n, text in enumerate(identities, 1))),
        }
    )
    for _where, what in trust_file.faults(grown):
        raise UsageFault(what, remedy="see assay keys trust -h")
    return grown


def read_services(text: str) -> TrustedServices:
    """`NAME=FILE`: a trusted root, or a client trust config with one in it. Raises `UsageFault`."""
    name, equals, file = text.partition("=")
    if not equals:
        raise UsageFault(f"{text!r} names no file", remedy="write NAME=FILE")
    return services_from(parse_name(name, "a Sigstore instance"), Path(file))


def services_from(name: str, path: Path) -> TrustedServices:
    """The services whose trusted root is in the file. Raises `UsageFault`."""
    try:
        document = strict_json.loads_object(read_named(path, ROOT_BYTES_MAX + 1), str(path))
        root = canonical_json.encode(document.get("trustedRoot", document)).decode("utf-8")
        trusted_root.read(root)
    except OSError as error:
        raise UsageFault(f"{path} cannot be read: {error.strerror}", remedy="check the path") from error
    except NotVerified as error:
        raise UsageFault(f"{path}: {error.message}", remedy=error.remedy) from error
    return TrustedServices(name=name, trusted_root=root, development=_DEVELOPMENT in root)


def read_identity(text: str, number: int) -> TrustedIdentity:
    """`NAME=ROLE,ISSUER,SAN`, the `number`-th of them. Raises `UsageFault`."""
    name, _, rest = text.partition("=")
    role, _, names = rest.partition(",")
    issuer, comma, san = names.partition(",")
    if not comma or role not in set(Role):
        raise UsageFault(f"{text!r} names no identity", remedy="write NAME=ROLE,ISSUER,SAN")
    return TrustedIdentity(
        role=Role(role),
        name=f"{role}-{number}",
        issuer=issuer,
        san=None if "*" in san else san,
        san_pattern=san if "*" in san else None,
        sigstore=parse_name(name, "a Sigstore instance"),
        builder_ids=tuple(sorted(BUILDER_IDS.values())) if Role(role) is Role.BUILDER else (),
    )
