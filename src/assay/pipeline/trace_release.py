# SPDX-License-Identifier: Apache-2.0
"""One release that a unit was given: source, build, contents, signed image and publication, back to back.

Guards: every statement is about the very file that the unit's records name; the image's bytes are verified again with a
trusted image key; what the release says of its build is what the signed provenance says.
Leaves to others: whether the statements are genuine (`trace_record`), what the unit did with the image (`trace_unit`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from assay.formats import strict_json
from assay.formats.mcuboot_image import CheckedImage, verify_image
from assay.model.artifact import Release
from assay.model.policy import DecisionRecord, Point, PolicyNote
from assay.model.predicates import ImageReference, Withdrawal
from assay.model.record import PREDICATES, RecordType
from assay.model.trace import TraceNode
from assay.pipeline.trace_life import Life
from assay.pipeline.trace_link import KEY_DIGITS, Link, count
from assay.pipeline.trace_policy import statement_digest, tell_decision, tell_policy
from assay.pipeline.trace_record import OpenedRecord, read_predicate
from assay.stages.provenance.statements import POLICY_ANNOTATION
from assay.stages.provenance.verify import verify_provenance
from assay.stages.signing.sign import check_says

RELEASE_KINDS = (RecordType.PROVENANCE, RecordType.SBOM, RecordType.RELEASE)


class ReleaseChain:
    """The links of the release of `image`, from the records about its file."""

    def __init__(self, image: ImageReference, records: Sequence[OpenedRecord], life: Life) -> None:
        self.image = image
        self.records = [record for record in records if _is_about(record, image.file_sha256)]
        self._files = life.files
        self._trust = life.trust
        self._adoptions = life.adoptions
        self._name = f"releases/{image.release}"
        self._published_as = self._read_release()
        self._decisions: dict[str, DecisionRecord] = {}

    def node(self) -> TraceNode:
        """The release as a tree."""
        release = self._published_as
        provenance, bom, published = (self._by_kind(kind) for kind in RELEASE_KINDS)
        nodes = [self._source(record) for record in provenance]
        nodes += [self._build(record, release) for record in provenance]
        nodes += [self._bom(record, release) for record in bom]
        nodes += [self._image(release)]
        nodes += [self._decided(record) for record in self._by_kind(RecordType.DECISION)]
        nodes += [self._published(record) for record in published]
        nodes += [self._withdrawn(record) for record in self._by_kind(RecordType.WITHDRAWAL)]
        for kind, found in zip(RELEASE_KINDS, (provenance, bom, published), strict=True):
            if not found:
                nodes.append(self._lost(kind))
        title = f"{self.image.release}, image {self.image.image_hash[:KEY_DIGITS]}"
        return Link(self._name, title).with_children(nodes)

    def _by_kind(self, kind: RecordType) -> list[OpenedRecord]:
        return [record for record in self.records if record.kind is kind]

    def _read_release(self) -> Release | None:
        """The published release, if its record verified."""
        for record in self._by_kind(RecordType.RELEASE):
            found = _release_in(record)
            if found is not None:
                return found
        return None

    def _source(self, record: OpenedRecord) -> TraceNode:
        link = Link(f"{self._name}/source", "Source")
        if record.verified is None:
            link.fault("the provenance does not verify, so nothing says what it was built from")
            return link.node()
        predicate = record.verified.statement.predicate
        link.attempt(lambda: _tell_source(link, predicate))
        link.checked("stated by the provenance", record.verified.signer)
        return link.node()

    def _build(self, record: OpenedRecord, release: Release | None) -> TraceNode:
        link = record.link
        link.link = f"{self._name}/build"
        link.tell("record", link.title)
        link.title = "Build"
        if record.verified is None:
            return link.node()
        verified = record.verified
        expected: dict[str, Any] = {}
        if release is not None:
            expected = {
                "kind": release.kind,
                "version": release.version,
                "board": release.board,
                "module": release.name,
            }
        checks = link.attempt(lambda: verify_provenance(verified, expected))
        link.take(checks or ())
        link.attempt(lambda: _tell_build(link, verified.statement.predicate))
        return link.node()

    def _bom(self, record: OpenedRecord, release: Release | None) -> TraceNode:
        link = record.link
        link.link = f"{self._name}/sbom"
        link.tell("record", link.title)
        link.title = "Bill of materials"
        if record.verified is None:
            return link.node()
        bom = record.verified.statement.predicate
        link.attempt(lambda: _tell_parts(link, bom))
        if release is not None and (kept := self._files.get(release.artifact.sbom_sha256)) is not None:
            same = link.attempt(lambda: strict_json.loads_object(kept, "the bill of materials")) == bom
            link.expect(same, "the built bill of materials is the signed one", "the built bill of materials is another")
        return link.node()

    def _image(self, release: Release | None) -> TraceNode:
        link = Link(f"{self._name}/image", f"Signed image, {self.image.file_sha256[:KEY_DIGITS]}")
        data = self._files.get(self.image.file_sha256)
        if data is None:
            link.lost(f"the image file {self.image.file_sha256} is not there")
            return link.node()
        link.expect(
            hashlib.sha256(data).hexdigest() == self.image.file_sha256,
            f"{len(data)} bytes with the SHA-256 that the unit's records name",
            f"the image file was changed: it does not have the SHA-256 {self.image.file_sha256}",
        )
        found = link.attempt(lambda: verify_image(data, self._trust))
        if found is not None:
            link.take(found.checks)
            self._check_image(link, found, release)
        return link.node()

    def _check_image(self, link: Link, image: CheckedImage, release: Release | None) -> None:
        """The image against what the unit's records and the release say of it."""
        link.tell("runs on", f"board {image.says.board}, from revision {image.says.min_revision}")
        link.tell("hash", image.image_hash)
        link.expect(
            image.image_hash == self.image.image_hash,
            "the recomputed hash is the one that the unit's records name",
            f"the unit's records name the hash {self.image.image_hash} for this file",
        )
        if release is None:
            return
        link.attempt(lambda: check_says(image, release.artifact))
        if link.holds:
            link.checked("payload, name, version, board, revision and security counter are those of the build")

    def _decided(self, record: OpenedRecord) -> TraceNode:
        link = record.link
        link.link = f"{self._name}/decision-{record.logged.index}"
        if isinstance(record.predicate, DecisionRecord):
            tell_decision(record, record.predicate, self._adoptions)
            self._decisions[statement_digest(record)] = record.predicate
        return link.node()

    def _published(self, record: OpenedRecord) -> TraceNode:
        link = record.link
        link.link = f"{self._name}/release"
        link.tell("record", link.title)
        link.title = f"Published as {self.image.release}"
        release = self._published_as
        if release is None:
            return link.node()
        self._tell_policy(record)
        said = (release.reference, release.image.file_sha256, release.image.image_hash)
        expected = (self.image.release, self.image.file_sha256, self.image.image_hash)
        link.expect(
            said == expected,
            "with the name, file and hash that the unit's records say",
            f"it was published as {said[0]}",
        )
        known = {record.entry.record for record in self.records if record.entry is not None}
        for predicate_type, digest in sorted(release.attestations.items()):
            link.expect(
                digest in known, f"attestation {predicate_type}", f"its attestation {predicate_type} is not in the log"
            )
        return link.node()

    def _withdrawn(self, record: OpenedRecord) -> TraceNode:
        """It was withdrawn: what a unit got before that is as true as ever, and whoever reads this wants to know."""
        link = record.link
        link.link = f"{self._name}/withdrawal"
        link.tell("record", link.title)
        link.title = "Withdrawn"
        found = record.predicate
        if isinstance(found, Withdrawal):
            link.title = f"WITHDRAWN on {found.at}: {found.reason}"
            link.tell("by", found.by)
            link.expect(
                found.image_hash == self.image.image_hash,
                "about this image",
                f"it withdraws an image with the hash {found.image_hash}",
            )
        return link.node()

    def _tell_policy(self, record: OpenedRecord) -> None:
        """Who decided that it may be published, as the signed release names them."""
        subjects = record.verified.statement.subject if record.verified else ()
        noted = next(
            (said[POLICY_ANNOTATION] for one in subjects if POLICY_ANNOTATION in (said := one.annotations or {})), None
        )
        about = Point.PUBLISH, (self.image.file_sha256,)
        in_force = self._adoptions.in_force(Point.PUBLISH, record.logged.index or 0)
        note = record.link.attempt(lambda: read_predicate(PolicyNote, noted)) if noted is not None else None
        tell_policy(record.link, note if isinstance(note, PolicyNote) else None, self._decisions, about, in_force)

    def _lost(self, kind: RecordType) -> TraceNode:
        link = Link(f"{self._name}/{kind}", f"{kind.capitalize()} of {self.image.release}")
        link.lost(f"no record of the type {PREDICATES[kind]} is about the file {self.image.file_sha256}")
        return link.node()


def _release_in(record: OpenedRecord) -> Release | None:
    if record.verified is None:
        return None
    predicate = record.verified.statement.predicate
    found = record.link.attempt(lambda: read_predicate(Release, predicate))
    return found if isinstance(found, Release) else None


def _is_about(record: OpenedRecord, file_sha256: str) -> bool:
    statement = record.verified.statement if record.verified is not None else record.claim
    return statement is not None and any(item.digest.get("sha256") == file_sha256 for item in statement.subject)


def _tell_source(link: Link, predicate: Mapping[str, Any]) -> None:
    """Repository and commit, or that there is none, as a signed provenance says it."""
    source = _dependencies(predicate)[0]
    digest, notes = source.get("digest", {}), source.get("annotations", {})
    commit, based_on = digest.get("gitCommit"), notes.get("basedOnCommit")
    if commit:
        link.title = f"Source: commit {commit[:KEY_DIGITS]}"
    elif based_on:
        link.title = f"Source: commit {based_on[:KEY_DIGITS]} with changes that are in no commit (dirty)"
    else:
        link.title = "Source: in no commit (not from git)"
    if source.get("uri"):
        link.tell("repository", source["uri"])
    link.tell("inputs", f"SHA-256 {digest.get('sha256')} over the declared files")


def _tell_build(link: Link, predicate: Mapping[str, Any]) -> None:
    """What was compared, with which tools, as a signed provenance says it."""
    internal = predicate.get("buildDefinition", {}).get("internalParameters", {})
    link.title = f"Build: {internal.get('buildsCompared')} builds gave the same bytes"
    link.tell("tools", ", ".join(_tool(tool) for tool in _dependencies(predicate)[1:]))
    link.tell("differed in", ", ".join(internal.get("variations", [])))
    interfaces = internal.get("interfaces", {})
    needs = [*interfaces.get("requires", []), *internal.get("dependencies", [])]
    for name, said in (("needs", needs), ("offers", interfaces.get("provides", []))):
        if said:
            link.tell(name, ", ".join(f"{one.get('name')} {one.get('version')}" for one in said))
    if able := internal.get("contract", {}).get("capabilities"):
        link.tell("can do", ", ".join(map(str, able)))


def _tell_parts(link: Link, bom: Mapping[str, Any]) -> None:
    """What a signed bill of materials lists."""
    parts = [f"{part.get('name')} {part.get('version', '')}".strip() for part in bom.get("components", [])]
    link.title = f"Bill of materials: {bom.get('bomFormat')} {bom.get('specVersion')}, {count(len(parts), 'part')}"
    link.tell("parts", ", ".join(parts) or "none besides the module")


def _dependencies(predicate: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = predicate.get("buildDefinition", {}).get("resolvedDependencies", [])
    return [item for item in found if isinstance(item, dict)] or [{}]


def _tool(tool: Mapping[str, Any]) -> str:
    version = tool.get("annotations", {}).get("version", "")
    return f"{tool.get('name')} {version} (SHA-256 {str(tool.get('digest', {}).get('sha256'))[:KEY_DIGITS]})"
