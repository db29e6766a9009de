# SPDX-License-Identifier: Apache-2.0
"""The facts that a policy decides on, out of what was verified: statements of the release, test results in the log.

Guards: nothing is a fact that no trusted key signed, or that the gate did not verify; a test result that nobody trusted
signed gives no fact, so it can only lack. One that the log names and that is not there, or that cannot be read, might
be the FAILED that a policy asks for: then there are no facts at all. Leaves to others: what follows from them
(`stages.policy.decide`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import ValidationError

from assay.errors import AssayError, NotVerified
from assay.formats import log_entry, sigstore_bundle
from assay.formats.mcuboot_image import verify_image
from assay.formats.signer_choice import distinct_signers
from assay.formats.statement_verifier import verify_statement, without_thresholds
from assay.interfaces.device import DeviceInfo
from assay.interfaces.place import Found
from assay.model.artifact import Release, ReleaseSummary, VerifiedImage
from assay.model.board import Board
from assay.model.campaign import CAMPAIGN, CampaignVerdict
from assay.model.identifiers import Version
from assay.model.policy import Point
from assay.model.policy_facts import (
    BenchFacts,
    BoardFacts,
    BuilderFacts,
    Facts,
    ImageSignerFacts,
    PartFacts,
    ProvenanceFacts,
    RebuildFacts,
    ReleaseFacts,
    RequestFacts,
    SbomFacts,
    SignerFacts,
    SourceFacts,
    SummaryFacts,
    TestFacts,
    ToolFacts,
    TrustFacts,
    UnitFacts,
    VerifierFacts,
)
from assay.model.record import RecordType
from assay.model.statement import PredicateType
from assay.model.trust import Role, TrustedKey, TrustedSigner, TrustFile, VerifiedStatement
from assay.model.verdict import SuiteVerdict
from assay.pipeline.rebuild_statements import VerifiedRebuild, agreeing, rebuilds_of

if TYPE_CHECKING:
    from assay.pipeline.site import Site
from assay.pipeline.statement_forms import newest_form

S = TypeVar("S", bound=SignerFacts)

_TEST_MARK = b'"type":"test"'


def facts_of(
    site: Site,
    trust: TrustFile,
    point: Point,
    image: VerifiedImage,
    board: Board,
    *,
    bundles: Mapping[str, bytes] | None = None,
    unit: UnitFacts | None = None,
    request: RequestFacts | None = None,
) -> Facts:
    """The facts about `image`, which passed the gate with `trust`; `bundles` where the store does not have them yet.

    Raises `NotVerified` where the statements that the gate verified verify no more.
    """
    return Facts(
        point=point,
        release=_release(site, trust, image, bundles if bundles is not None else _bundles(site, trust, image)),
        board=BoardFacts(name=board.name, revision=board.revision, emulated=board.emulated),
        trust=TrustFacts(
            name=trust.name, allow_development=trust.allow_development, allow_emulated=trust.allow_emulated
        ),
        unit=unit,
        request=request or RequestFacts(),
    )


def unit_facts(found: Found, release: Release, *, proved: bool, security_counter: int | None = None) -> UnitFacts:
    """What answers on the place; `proved` when its evidence was verified."""
    if not isinstance(found, DeviceInfo):
        return UnitFacts(chip=found.chip.hex(), stage="rom", proved=False)
    return UnitFacts(
        chip=found.chip.hex(),
        stage=found.stage.value,
        proved=proved,
        serial=found.serial,
        name=found.name,
        version=found.version,
        state=found.state,
        security_counter=security_counter,
        change=_change(found, release),
    )


def _change(found: DeviceInfo, release: Release) -> Literal["newer", "same", "older", "other"]:
    if found.name != release.name:
        return "other"
    here, there = Version(found.version), Version(release.version)
    return "same" if here == there else "newer" if here < there else "older"


def _bundles(site: Site, trust: TrustFile, image: VerifiedImage) -> dict[str, bytes]:
    """The statements of the release; none where a summary stood for them: nobody here verified them."""
    release = image.release
    if image.summary is not None:
        return {}
    published = {kind: site.store.get(digest) for kind, digest in release.attestations.items()}
    return {kind: newest_form(site.store, release, kind, bundle, trust) for kind, bundle in published.items()}


def _release(site: Site, trust: TrustFile, image: VerifiedImage, bundles: Mapping[str, bytes]) -> ReleaseFacts:
    release = image.release
    version = Version(release.version)
    major, minor, revision, build = version.numbers
    stated = {kind: _statement(bundle, kind, trust, release) for kind, bundle in bundles.items()}
    provenance, bom = stated.get(PredicateType.PROVENANCE.value), stated.get(PredicateType.SBOM.value)
    verified_rebuilds = rebuilds_of(site, trust, release)
    rebuilds = tuple(_rebuild(each, provenance) for each in verified_rebuilds)
    return ReleaseFacts(
        reference=release.reference,
        name=release.name,
        kind=release.kind,
        version=release.version,
        numbers=(major, minor, revision, build),
        board=release.board,
        min_revision=release.min_revision,
        security_counter=release.security_counter,
        size=release.image.size,
        file_sha256=release.image.file_sha256,
        image_hash=release.image.image_hash,
        image_key=_image_key(image, trust),
        provenance=_provenance(provenance) if provenance else None,
        sbom=_sbom(bom) if bom else None,
        summary=_summary(image.summary) if image.summary else None,
        tests=_tests(site, trust, release),
        patches=len(release.patches),
        rebuilds=rebuilds,
        builders_agree=agreeing(provenance, verified_rebuilds) if provenance else 0,
    )


def _statement(bundle: bytes, kind: str, trust: TrustFile, release: Release) -> VerifiedStatement:
    alone = without_thresholds(trust)  # the gate has counted the signers
    return verify_statement(
        bundle, alone, role=Role.BUILDER, predicate_types={kind}, subject_sha256=release.image.file_sha256
    )


def _image_key(image: VerifiedImage, trust: TrustFile) -> ImageSignerFacts:
    key = next(check.key for check in verify_image(image.data, trust).checks if check.key is not None)
    return signer_facts(ImageSignerFacts, key)


def signer_facts(kind: type[S], signer: TrustedSigner) -> S:
    """The key or the identity that signed."""
    keyid = signer.keyid if isinstance(signer, TrustedKey) else signer.who_sha256
    return kind(role=signer.role, name=signer.name, keyid=keyid, development=signer.development)


def _provenance(verified: VerifiedStatement) -> ProvenanceFacts:
    """What the signed statement says; the gate saw that its shape is ours."""
    predicate = verified.statement.predicate
    definition = predicate["buildDefinition"]
    internal, (source, *tools) = definition["internalParameters"], definition["resolvedDependencies"]
    builder_id = predicate["runDetails"]["builder"]["id"]
    return ProvenanceFacts(
        builder_id=builder_id,
        builder=builder_id.rpartition(":")[2],
        builds_compared=internal["buildsCompared"],
        variations=tuple(internal["variations"]),
        source=SourceFacts(
            repository=source.get("uri"),
            commit=source["digest"].get("gitCommit"),
            dirty=source["annotations"]["dirty"],
            digest=source["digest"]["sha256"],
        ),
        tools=tuple(
            ToolFacts(name=tool["name"], version=tool["annotations"]["version"], sha256=tool["digest"]["sha256"])
            for tool in tools
        ),
        signer=signer_facts(BuilderFacts, verified.signer),
    )


def _rebuild(found: VerifiedRebuild, provenance: VerifiedStatement | None) -> RebuildFacts:
    signer = found.statement.signer
    return RebuildFacts(
        result=found.said.result,
        builder_id=found.said.builder_id,
        other_builder=provenance is None or not found.statement.is_who & provenance.is_who,
        other_tools=found.said.other_tools,
        signer=signer_facts(BuilderFacts, signer),
    )


def _sbom(verified: VerifiedStatement) -> SbomFacts:
    bom = verified.statement.predicate
    parts = bom.get("components", [])
    return SbomFacts(
        format=f"{bom.get('bomFormat')} {bom.get('specVersion')}",
        parts=tuple(PartFacts(name=str(part.get("name")), version=str(part.get("version", ""))) for part in parts),
        signer=signer_facts(BuilderFacts, verified.signer),
    )


def _summary(summary: ReleaseSummary) -> SummaryFacts:
    return SummaryFacts(
        verifier_id=summary.verifier_id,
        policy_uri=summary.policy_uri,
        policy_sha256=summary.policy_sha256,
        levels=summary.levels,
        signer=signer_facts(VerifierFacts, summary.signer),
    )


@dataclass(frozen=True)
class _Tested:
    """A result, and who says so."""

    facts: TestFacts
    by: VerifiedStatement

    @property
    def failed(self) -> bool:
        return self.facts.result == "FAILED"

    def is_of(self, other: _Tested) -> bool:
        return (self.facts.kind, self.facts.name) == (other.facts.kind, other.facts.name)


def _tests(site: Site, trust: TrustFile, release: Release) -> tuple[TestFacts, ...]:
    """Signed test results on this very file, in the order of the site's log. Where the trust file wants several
    signers, a suite or campaign has passed only once so many say so; one that failed stays a fact by itself.
    """
    found = tuple(_results(site, trust, release))
    needed = trust.threshold(PredicateType.TEST_RESULT)
    passed = [each for each in found if not each.failed]
    return tuple(
        each.facts
        for each in found
        if each.failed or distinct_signers(other.by for other in passed if other.is_of(each)) >= needed
    )


def _results(site: Site, trust: TrustFile, release: Release) -> Iterator[_Tested]:
    if not (site.folder / "log" / "checkpoint").is_file():
        return
    for index, leaf in site.records.log.entries(site.records.log.checkpoint().size):
        if _TEST_MARK not in leaf:
            continue
        entry = log_entry.decode(leaf, f"log: entry {index}")
        if entry.type is RecordType.TEST and (found := _test(site, trust, entry.record, release)) is not None:
            yield found


def _as_ever(trust: TrustFile) -> TrustFile:
    """`trust` as if whom it names counted for ever, and needed nobody beside him: no windows, revocations, services of
    a key, thresholds.
    """
    always = {"valid_from": None, "valid_until": None, "revoked": False}
    return trust.model_copy(
        update={
            "keys": tuple(
                key.model_copy(update={**always, "sigstore": None, "log_required": False}) for key in trust.keys
            ),
            "identities": tuple(each.model_copy(update=always) for each in trust.identities),
            "sigstore": tuple(each.model_copy(update={"valid_until": None}) for each in trust.sigstore),
            "thresholds": (),
        }
    )


def _test(site: Site, trust: TrustFile, record: str, release: Release) -> _Tested | None:
    """A result that is about this file and verifies; else it is no fact. Raises `NotVerified` when nobody can say.

    A test that failed stays a fact when its signer counts no more (rotated, revoked, services that ended): else a new
    key at the bench would let out what the old one refused. It can deny something, and grant nothing.

    The subject's name is the signer's word: one who may speak about some modules says nothing about another one's file.
    """
    file_sha256 = release.image.file_sha256
    try:
        bundle = site.records.record(record)
    except AssayError as error:
        raise NotVerified(f"a test result of the log cannot be had: {error.message}", remedy=error.remedy) from error
    try:
        if file_sha256.encode() not in sigstore_bundle.decode(bundle).envelope.payload:
            return None
    except NotVerified:
        return None
    for at, by in enumerate((without_thresholds(trust), _as_ever(trust))):
        found = _verified_test(bundle, by, release, record)
        if found is not None and (at == 0 or found.failed):
            return found
    return None


def _verified_test(bundle: bytes, trust: TrustFile, release: Release, record: str) -> _Tested | None:
    """What a result says that verifies by `trust`. Raises `ToolMissing` where that needs more than is installed."""
    try:
        verified = verify_statement(
            bundle,
            trust,
            role=Role.BENCH,
            predicate_types={PredicateType.TEST_RESULT},
            subject_sha256=release.image.file_sha256,
        )
    except NotVerified:
        return None
    if verified.signer.modules and release.name not in verified.signer.modules:
        return None
    try:
        return _Tested(_result(verified, record), verified)
    except ValidationError as error:
        raise NotVerified(
            f"the test result {record} on this image verifies, and has a form that this version cannot read",
            remedy="use the version of assay that the bench has",
        ) from error


def _result(verified: VerifiedStatement, record: str) -> TestFacts:
    predicate: dict[str, Any] = verified.statement.predicate
    verdict: SuiteVerdict | CampaignVerdict
    if CAMPAIGN in predicate:
        verdict = CampaignVerdict.model_validate_json(json.dumps(predicate))
        name, emulated, serials = verdict.campaign.plan, verdict.campaign.run.emulated, frozenset[str]()
    else:
        verdict = SuiteVerdict.model_validate_json(json.dumps(predicate))
        name, emulated = verdict.bench.suite, verdict.bench.run.emulated
        serials = frozenset(unit.serial for unit in verdict.bench.units if unit.serial)
    return TestFacts(
        kind="campaign" if CAMPAIGN in predicate else "suite",
        name=name,
        result=verdict.result,
        passed=len(verdict.passed_tests),
        failed=len(verdict.failed_tests),
        emulated=emulated,
        serials=tuple(sorted(serials)),
        record=record,
        signer=signer_facts(BenchFacts, verified.signer),
    )
