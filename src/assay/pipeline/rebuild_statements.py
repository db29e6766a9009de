# SPDX-License-Identifier: Apache-2.0
"""Statements of people who built a release again, beside it in the store: verified, counted, taken in from elsewhere.

Guards: one counts only when it is signed by a builder that the trust file names, about the file of this release and the
payload in it, and follows the very provenance of this release. One signer counts once, and where the trust file wants
several, none of them says that the release is the same until so many do.
Leaves to others: making one (`pipeline.rebuild`), what a policy asks for (`pipeline.policy_facts`).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import ValidationError

from assay.errors import AssayError, NotVerified
from assay.formats import sigstore_bundle
from assay.formats.signer_choice import distinct_signers
from assay.formats.statement_verifier import verify_statement, without_thresholds
from assay.model.artifact import Release
from assay.model.predicates import Rebuild
from assay.model.statement import PredicateType
from assay.model.trust import Role, TrustFile, VerifiedStatement

if TYPE_CHECKING:
    from assay.pipeline.site import Site


@dataclass(frozen=True)
class VerifiedRebuild:
    """A rebuild that verifies, and who says so."""

    said: Rebuild
    statement: VerifiedStatement


def verify_rebuild(bundle: bytes, trust: TrustFile, release: Release, provenance: bytes) -> VerifiedRebuild:
    """The rebuild of `release` in `bundle`; `provenance` is that of the release, as a bundle. Raises `NotVerified`."""
    verified = verify_statement(
        bundle,
        without_thresholds(trust),  # those beside the release are counted
        role=Role.BUILDER,
        predicate_types={PredicateType.REBUILD},
        subject_sha256=release.image.file_sha256,
    )
    try:
        said = Rebuild.model_validate_json(json.dumps(verified.statement.predicate))
    except ValidationError as error:
        raise _refused("has a form that is not ours", "get it again from who built it") from error
    followed = hashlib.sha256(sigstore_bundle.decode(provenance).envelope.payload).hexdigest()
    if (said.release, said.board) != (release.reference, release.board) or said.provenance != followed:
        raise _refused(f"is not about {release.reference} and its provenance", "build the published release again")
    differs = any(part.attested != part.found for part in said.compared)
    if differs is (said.result == "identical"):
        raise _refused("says one thing and shows another", "get it again from who built it")
    _check_compared(said, release)
    return VerifiedRebuild(said, verified)


def _check_compared(said: Rebuild, release: Release) -> None:
    """An identical rebuild compared payload, image and bill of materials, all of this release."""
    attested = {part.name: part.attested for part in said.compared}
    expected = {
        "payload.bin": release.image.payload_sha256,
        "image": release.image.image_hash,
        "sbom.cdx.json": release.artifact.sbom_sha256,
    }
    wrong = [name for name, digest in expected.items() if attested.get(name) != digest]
    if wrong:
        raise _refused(f"did not compare the {wrong[0]} of {release.reference}", "build the published release again")


def rebuilds_of(site: Site, trust: TrustFile, release: Release) -> tuple[VerifiedRebuild, ...]:
    """The rebuilds beside the release that count, the oldest first: those that verify. Identical ones count where as
    many signers say so as the trust file wants; a difference counts by itself, since it can grant nothing.
    """
    found = []
    bundles = site.store.attached(release, PredicateType.REBUILD.value)
    provenance = site.store.get(release.attestations[PredicateType.PROVENANCE.value]) if bundles else b""
    for bundle in bundles:
        try:
            found.append(verify_rebuild(bundle, trust, release, provenance))
        except AssayError:
            continue
    same = distinct_signers(each.statement for each in found if each.said.result == "identical")
    enough = same >= trust.threshold(PredicateType.REBUILD)
    return tuple(each for each in found if enough or each.said.result != "identical")


def agreeing(provenance: VerifiedStatement, rebuilds: tuple[VerifiedRebuild, ...]) -> int:
    """How many distinct signers say the same: who built it, and who built it again to the same bytes."""
    return distinct_signers([provenance, *(each.statement for each in rebuilds if each.said.result == "identical")])


def take_in(site: Site, trust: TrustFile, release: Release, bundle: bytes) -> VerifiedRebuild:
    """Keep somebody else's rebuild beside the release in the store, once it verifies."""
    provenance = site.store.get(release.attestations[PredicateType.PROVENANCE.value])
    found = verify_rebuild(bundle, trust, release, provenance)
    site.store.attach(release, PredicateType.REBUILD.value, bundle)
    return found


def _refused(what: str, remedy: str) -> NotVerified:
    return NotVerified(f"the rebuild {what}", remedy=remedy)
