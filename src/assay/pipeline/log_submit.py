# SPDX-License-Identifier: Apache-2.0
"""Log what was signed by key while the transparency log was away.

Guards: what is handed out was verified: entry, time stamp and signature, by the services' trusted root; a bundle leaves
the queue only then. One that fails stays, and the others are logged all the same. Which key signed is read from the
bundle, and the key from the queue, the site or a trust file: its id is its digest. A release that was published with a
statement that is logged later gets the logged one beside it.
Leaves to others: the queue (`backends.signers.log_queue`), HTTP (`backends.logs.rekor_client`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assay.backends.logs import rekor_client
from assay.backends.logs.rekor_client import Services
from assay.backends.signers.keyless import queue_of, read_trust_config
from assay.backends.signers.log_queue import LogQueue
from assay.errors import AssayError, NotVerified, UsageFault
from assay.formats import public_key, sigstore_bundle, strict_json
from assay.formats.statement_verifier import read_statement, verify_statement
from assay.model.artifact import Release
from assay.model.signer_limits import LogPlace, TrustedServices
from assay.model.trust import Role, TrustedKey, TrustFile
from assay.pipeline.site import Site
from assay.pipeline.statement_forms import attach_forms

REQUEST_TIMEOUT_S = 30.0
"""A Rekor v2 answers when the entry is in a checkpoint, which may take 20 s."""

_SERVICES = "used"


@dataclass(frozen=True)
class Logged:
    """What became of one bundle: its logged form and the place in the log, or why it still waits."""

    file: Path
    place: LogPlace | None = None
    error: AssayError | None = None


def waiting(site: Site) -> int:
    """How many bundles wait for the log."""
    return len(LogQueue(site.folder / "log-queue").waiting())


def enqueue(site: Site, bundles: Iterable[bytes], trust: TrustFile | None = None) -> None:
    """Have statements wait for the log, too, that were signed by key by a builder of the site, or of `trust`. Raises
    `NotVerified` for others, before any of them waits; `StorageError`.
    """
    queue = LogQueue(site.folder / "log-queue")
    checked = [(bundle, _key_of(bundle, site, queue, trust)) for bundle in bundles]
    for bundle, key in checked:
        kind = read_statement(sigstore_bundle.decode(bundle).envelope.payload).predicateType
        by_it = TrustFile(schema="assay.trust/1", name="this-site", allow_development=True, keys=(key,))
        verify_statement(bundle, by_it, role=Role.BUILDER, predicate_types={kind})
    for bundle, key in checked:
        queue.put(bundle, key.public)


def _key_of(bundle: bytes, site: Site, queue: LogQueue, trust: TrustFile | None) -> TrustedKey:
    """The key that the bundle names, as builder: it may not be the site's any more. Raises `NotVerified`."""
    hint = sigstore_bundle.decode(bundle).material
    own = site.signers.public_key(Role.BUILDER)
    if not isinstance(hint, sigstore_bundle.KeyHint) or hint.hint == own.keyid:
        return own
    kept = queue.public_key(hint.hint)
    given = [key.public for key in trust.keys_for(Role.BUILDER)] if trust is not None else []
    for pem in (*([kept] if kept is not None else []), *given):
        key = public_key.trusted_key(pem, Role.BUILDER, name="builder", development=own.development)
        if key.keyid == hint.hint:
            return key
    raise NotVerified(
        f"the bundle is by the key {hint.hint[:16]}, which is not the site's, and not in the trust file",
        remedy="name a trust file that has the builder's key of then: assay log submit --trust FILE",
    )


def submit_waiting(site: Site, trust: TrustFile | None = None) -> list[Logged]:
    """Log each bundle that waits, by whichever key; `trust`: whose builders may have signed what waits without its key.
    Raises `UsageFault` where nothing says which log is meant.
    """
    settings, queue = site.keyless, queue_of(site.signers)
    if settings is None or queue is None:
        raise UsageFault(f"{site.folder} does not sign keyless", remedy="name the services: assay keys keyless")
    text = read_trust_config(site.folder, settings)
    if text is None:
        raise UsageFault("the public Sigstore's log takes entries of the client only", remedy="name a trust config")
    config = strict_json.loads_object(text.encode(), "the trust config")
    services = rekor_client.services_of(config)
    root = json.dumps(config.get("trustedRoot"))
    found = []
    for path, bundle in queue.each():
        try:
            key = _key_of(bundle, site, queue, trust)
            logged, place = log_bundle(bundle, key, services, root)
            found.append(Logged(queue.settle(path, logged), place))
        except AssayError as error:
            found.append(Logged(path, error=error))
    for release in site.store.releases():
        attach_logged(site, release)
    return found


def attach_logged(site: Site, release: Release) -> int:
    """Put beside a published `release` those of its statements that were logged since they were signed, or before they
    were published; answers how many were new. What was published stays as it is.
    """
    forms = LogQueue(site.folder / "log-queue").logged()
    return attach_forms(site.store, release, forms) if forms else 0


def log_bundle(bundle: bytes, key: TrustedKey, services: Services, root_text: str) -> tuple[bytes, LogPlace]:
    """`bundle` (by `key`) with an entry of the log and a time stamp, verified. Raises `AssayError`."""
    opened = sigstore_bundle.decode(bundle)
    if opened.material != sigstore_bundle.KeyHint(key.keyid):
        raise NotVerified("the bundle that waits is by another key", remedy="use the keys of the site that signed it")
    envelope = opened.envelope
    digest, der = hashlib.sha256(envelope.signed).digest(), public_key.der_of(key.public)
    stamp = rekor_client.stamp(services, envelope.signature, REQUEST_TIMEOUT_S)
    entry = rekor_client.log_key_signature(services, envelope.signature, digest, der, REQUEST_TIMEOUT_S)
    logged = sigstore_bundle.encode(envelope, key.keyid, (entry,), (stamp,))
    return logged, _verified(logged, key, root_text)


def _verified(bundle: bytes, key: TrustedKey, root_text: str) -> LogPlace:
    kind = read_statement(sigstore_bundle.decode(bundle).envelope.payload).predicateType
    update: dict[str, Any] = {"sigstore": _SERVICES, "log_required": True}
    services = TrustedServices(name=_SERVICES, trusted_root=root_text)
    trust = TrustFile(
        schema="assay.trust/1",
        name="self-check",
        allow_development=True,
        keys=(key.model_copy(update=update),),
        sigstore=(services,),
    )
    found = verify_statement(bundle, trust, role=key.role, predicate_types={kind})
    assert found.place is not None  # `log_required`; a stamp that does not verify is refused, too
    return found.place
