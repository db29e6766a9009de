# SPDX-License-Identifier: Apache-2.0
"""Trust files on disk, and the trust file of a site: the public keys that its own signers have.

Guards: a file that is read has every key id recomputed; a file that is written never replaces another one unasked.
Leaves to others: the text (`formats.trust_file`), what is trusted for what (whoever keeps the file).
"""

from __future__ import annotations

import functools
import hashlib
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from assay.backends.durable_file import exclusive, make_folder, write_durably
from assay.backends.named_file import read_named
from assay.errors import ManifestFault, StorageError, UsageFault
from assay.formats import trust_file, trust_policy
from assay.formats.image_key import parse_image_key
from assay.formats.toml_document import MANIFEST_BYTES_MAX, TomlDocument
from assay.model.identifiers import parse_name
from assay.model.signer_limits import SummaryPolicy
from assay.model.trust import BUILDER_IDS, Asking, ImageKey, Role, TrustedKey, TrustFile
from assay.pipeline.stamp_folder import STAMPS, StampFolder, stamps_of
from assay.stages.manifest.read import read_manifest

if TYPE_CHECKING:
    from assay.pipeline.site import Site

KEY_BYTES_MAX = 16384
NAME_LENGTH_MAX = 63

_ANCHORED_ELSEWHERE = (Role.LOG, Role.WITNESS)
"""Roles whose keys are named in another way: a log by its origin, a witness in the policy of who asks for it."""


def load_trust(path: Path) -> TrustFile:
    """The trust file at `path`. Raises `ManifestFault` with file and line."""
    return load_trust_and_digest(path)[0]


def load_trust_and_digest(path: Path) -> tuple[TrustFile, str]:
    """The trust file at `path` and the SHA-256 of the very bytes that it was read from. Raises `ManifestFault`."""
    try:
        raw = read_named(path, MANIFEST_BYTES_MAX + 1)  # one too many is refused, and a device without end is not read
    except FileNotFoundError as error:
        remedy = "check the path, or write one with `assay keys trust --out FILE`"
        raise ManifestFault(str(path), None, "there is no such trust file", remedy=remedy) from error
    except OSError as error:
        raise ManifestFault(str(path), None, f"cannot be read: {error.strerror}", remedy="make it readable") from error
    trust = read_manifest(raw, str(path), TrustFile)
    for where, what in trust_file.faults(trust):
        line = TomlDocument(raw, str(path)).line_of(where) if where else None
        raise ManifestFault(str(path), line, what, remedy="write it again with `assay keys trust`")
    if trust.seal is not None and not trust_file.seal_is_good(raw, trust.seal):
        line = TomlDocument(raw, str(path)).line_of(("seal",))
        remedy = "restore it from a copy; if you changed it yourself, take out the line with the seal"
        raise ManifestFault(str(path), line, "the file was changed after it was written", remedy=remedy)
    asking = Asking(now=functools.partial(datetime.now, UTC), stamps=StampFolder(stamps_of(path)).of)
    return trust.model_copy(update={"seal": None}).asked(asking), hashlib.sha256(raw).hexdigest()


def site_trust(
    site: Site,
    name: str,
    *,
    allow_development: bool = False,
    allow_emulated: bool = False,
    image_keys: tuple[ImageKey, ...] = (),
) -> TrustFile:
    """A trust file with the keys of all roles that `site` has, its log, and `image_keys` of others. Development keys
    that are not there yet are made.

    Raises `UsageFault` for a name that a trust file cannot have, before any key is made.
    """
    trust = TrustFile(
        schema="assay.trust/1",
        name=parse_name(name, "a trust file"),
        allow_development=allow_development,
        allow_emulated=allow_emulated,
        keys=tuple(_key(site, role) for role in site.signers.roles() if role not in _ANCHORED_ELSEWHERE),
        logs=(site.recorder.trusted_log(),),
        image_keys=image_keys,
    )
    asking = Asking(now=site.clock.now, stamps=StampFolder(site.folder / STAMPS).of)
    return _with_keyless(site, trust).asked(asking)


def _with_keyless(site: Site, trust: TrustFile) -> TrustFile:
    """With the identity that the site's builder signs as, where it signs keyless and has done so."""
    settings = site.keyless
    if settings is None:
        return trust
    from assay.backends.signers.keyless import own_trust

    own = own_trust(site.folder, settings)
    if own is None:
        return trust
    return trust.model_copy(update={"sigstore": (own[0],), "identities": (own[1],)})


def without_builders(trust: TrustFile, policies: tuple[SummaryPolicy, ...] = ()) -> TrustFile:
    """`trust` for who verifies releases by their summaries: nobody who builds is named. `policies`: whose count."""
    return trust.model_copy(
        update={
            "summary_policies": policies,
            "keys": tuple(key for key in trust.keys if key.role is not Role.BUILDER),
            "identities": tuple(each for each in trust.identities if each.role is not Role.BUILDER),
        }
    )


def read_summary_policy(text: str) -> SummaryPolicy:
    """`NAME`, `NAME@VERSION` or `NAME@sha256:DIGEST`: whose summaries count. Raises `UsageFault`."""
    name, _, which = text.partition("@")
    digest = which.removeprefix("sha256:") if which.startswith("sha256:") else None
    try:
        return SummaryPolicy(name=name, version=None if digest else which or None, sha256=digest)
    except ValueError as error:
        raise UsageFault(f"{text!r} names no policy", remedy="write NAME, NAME@1.2.3 or NAME@sha256:DIGEST") from error


def read_image_key(text: str) -> ImageKey:
    """`BOARD=FILE`: the public key in the file, for images of that board. Raises `UsageFault`, `NotVerified`."""
    board, equals, file = text.partition("=")
    if not equals:
        raise UsageFault(f"{text!r} names no board", remedy="write BOARD=FILE")
    path = Path(file)
    try:
        pem = read_named(path, KEY_BYTES_MAX).decode("ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageFault(f"{path} is no PEM file that can be read", remedy="name the public key") from error
    if "PRIVATE" in pem:
        raise UsageFault(
            f"{path} is a private key, which stays where it is", remedy=f"imgtool getpub -k {path} -e pem > FILE"
        )
    pem = _key_alone(pem)
    parse_image_key(pem)
    name = re.sub(r"[^a-z0-9]+", "-", path.stem.lower()).strip("-")[:NAME_LENGTH_MAX] or "key"
    return ImageKey(name=name, boards=(parse_name(board, "a board"),), public=pem)


def _key_alone(text: str) -> str:
    """The key in the text of a PEM file, without what stands around it: a trust file says nothing else."""
    found = re.search(r"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", text, re.DOTALL)
    return f"{found[0]}\n" if found else text


def write_trust(path: Path, trust: TrustFile, *, replace: bool) -> None:
    """Write `trust` to `path`, durably. A file with other content is replaced only when asked (`UsageFault`); one in
    which a signer is there twice is not written: nobody would read it.
    """
    for _where, what in trust_policy.repeated(trust):
        raise UsageFault(what, remedy="give each role a key of its own: assay keys use ROLE URI")
    data = trust_file.encode(trust)
    try:
        if path.is_file() and path.read_bytes() == data:
            return
        if path.exists() and not replace:
            raise UsageFault(f"{path} is there and says something else", remedy="add --replace, or write another file")
        make_folder(path.absolute().parent)
        # The folder is the lock: a lock file of our own would stay there, or, removed, lock out nobody.
        with exclusive(path.absolute().parent):
            write_durably(path, data)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}", remedy="choose another folder") from error


def _key(site: Site, role: Role) -> TrustedKey:
    key = site.signers.public_key(role)
    if role is not Role.BUILDER:
        return key
    return key.model_copy(update={"builder_ids": tuple(sorted(BUILDER_IDS.values()))})
