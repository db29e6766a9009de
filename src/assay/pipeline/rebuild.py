# SPDX-License-Identifier: Apache-2.0
"""Build a release again from nothing but its provenance: fetch the commit, build, compare, state what came out.

Guards: the provenance is verified before it is followed, and the inputs that the commit gives are the very ones that it
names, or nothing is said. It is built anew: neither a kept result nor a compiler's cache, which the build of the
release may have filled, has a say. What is compared: every output, the image up to its signature, and the bill of
materials (with the tools that the provenance names: tools that differ here are told, and are not in the image).
Leaves to others: the recipe and the statement (`stages.provenance.rebuild`), building (`pipeline.module_build`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from assay.backends.builders import diffoscope_program
from assay.backends.builders.choice import AUTO
from assay.backends.builders.git_fetch import fetch_tree, refuse_passwords
from assay.backends.builders.imgtool_program import ImgtoolProgram
from assay.backends.stores.result_folder import write_result
from assay.errors import NotVerified, UsageFault
from assay.formats.mcuboot_image import parse_image
from assay.formats.statement_verifier import verify_beside
from assay.model.artifact import BuiltArtifact, Release, ToolIdentity
from assay.model.build_recipe import PAYLOAD
from assay.model.predicates import ComparedPart
from assay.model.record import RecordRef, RecordType
from assay.model.statement import PredicateType
from assay.model.trust import Role, TrustFile
from assay.pipeline.artifact_folder import write_artifact
from assay.pipeline.build_recipe import BuildRequest, declared_inputs
from assay.pipeline.manifest_files import board_file, load_board, project_root
from assay.pipeline.module_build import BuildReport, Say, build_module
from assay.pipeline.site import Site
from assay.stages.build.comparison import difference
from assay.stages.build.inputs import digest_of
from assay.stages.build.result import bill_of
from assay.stages.provenance.rebuild import Recipe, compare, differing, other_tools, rebuild_statement, recipe_of
from assay.stages.provenance.verify import verify_provenance
from assay.stages.signing.parameters import image_parameters

DIFFERING = ".differing"
CONTAINER = "container"
"""The builder whose toolchain is an image."""


@dataclass(frozen=True)
class RebuildOrder:
    """What to build again: a provenance (Sigstore bundle), the release in the store that it belongs to if there is one.

    `beside`: provenances of others about the same, where the trust file wants several signers.
    `builder`: with `auto` a container, of the image that the provenance names if it names one. `source`: a repository
    (folder or URL) in place of the one that the provenance names. `original`: the signed image
    or the payload, to show a difference; of a release in the store it is there.
    """

    provenance: bytes
    trust: TrustFile
    release: Release | None = None
    source: str | None = None
    builder: str = AUTO
    trees: Mapping[str, Path] = field(default_factory=dict)
    original: bytes | None = None
    beside: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class Rebuilt:
    """What came out. `difference`: the first one in words, `report` the folder with both and what diffoscope says;
    `no_diffoscope`: why it says nothing.
    """

    recipe: Recipe
    built: BuiltArtifact
    compared: tuple[ComparedPart, ...]
    other_tools: tuple[str, ...]
    record: RecordRef
    bundle: bytes
    difference: str | None = None
    report: Path | None = None
    no_diffoscope: str | None = None

    @property
    def identical(self) -> bool:
        """Whether every part is the same."""
        return not differing(self.compared)


def rebuild(order: RebuildOrder, site: Site, out: Path | None, say: Say) -> Rebuilt:
    """Build it again, sign and record what came out, and leave the artifact in `out` if given. A difference is a
    result, and no error. Raises `NotVerified`, `UnitFailed` when it does not build, `InfrastructureError`,
    `UsageFault`.
    """
    recipe = _recipe(order)
    source = order.source or recipe.source.repository
    if source is None:
        raise UsageFault(
            "the provenance does not say where the sources are: their repository has no public address",
            remedy="name a clone with --source FOLDER_OR_URL",
        )
    refuse_passwords(source)
    with tempfile.TemporaryDirectory(prefix="assay-rebuild-", ignore_cleanup_errors=True) as scratch:
        checkout = Path(scratch).resolve()
        say(f"fetching commit {str(recipe.source.commit)[:12]} from {source}")
        fetch_tree(source, str(recipe.source.commit), checkout)
        report = _build(order, recipe, checkout, site, say)
        compared = _compare(recipe, report, checkout)
    statement = rebuild_statement(recipe, report.built.artifact, compared)
    record = site.recorder.record(statement, RecordType.REBUILD, Role.BUILDER)
    bundle = site.recorder.bundle(record)
    if order.release is not None:
        site.store.attach(order.release, PredicateType.REBUILD.value, bundle)
    if out is not None:
        write_artifact(out, report.built)
    rebuilt = Rebuilt(recipe, report.built, compared, other_tools(recipe, report.built.artifact.tools), record, bundle)
    return rebuilt if rebuilt.identical else _explained(rebuilt, order, site, out)


def _recipe(order: RebuildOrder) -> Recipe:
    subject = order.release.image.file_sha256 if order.release is not None else None
    verified = verify_beside(
        order.provenance,
        order.beside,
        order.trust,
        role=Role.BUILDER,
        predicate_types={PredicateType.PROVENANCE},
        subject_sha256=subject,
    )
    verify_provenance(verified, {})
    return recipe_of(verified)


def _build(order: RebuildOrder, recipe: Recipe, checkout: Path, site: Site, say: Say) -> BuildReport:
    manifest = checkout / recipe.manifest
    if not manifest.resolve().is_relative_to(checkout) or not manifest.is_file():
        raise NotVerified(f"the commit has no {recipe.manifest!r}", remedy="get the provenance again")
    image = next((_image_of(tool) for tool in recipe.tools if tool.name == "image"), None)
    builder = CONTAINER if image is not None and order.builder == AUTO else order.builder
    request = BuildRequest(
        *(manifest, recipe.board, recipe.version, recipe.defines, recipe.keys, builder),
        fresh=True,
        check=True,
        image=image if builder == CONTAINER else None,
        trees=order.trees,
    )
    if digest_of(declared_inputs(request).files) != recipe.source.digest:
        raise NotVerified(
            f"commit {str(recipe.source.commit)[:12]} does not hold the inputs that the provenance names",
            remedy="an input is not in version control, or the provenance is wrong: ask who built it",
        )
    return build_module(request, site, None, say)


def _image_of(tool: ToolIdentity) -> str:
    digest = f"sha256:{tool.sha256}"
    return f"{tool.version}@{digest}" if tool.version else digest


def _compare(recipe: Recipe, report: BuildReport, checkout: Path) -> tuple[ComparedPart, ...]:
    built, subject = report.built, report.subject
    assert subject is not None  # it was built just now
    image_hash = None
    if built.artifact.kind != "rom":
        root = project_root((checkout / recipe.manifest).parent)
        board = load_board(board_file(root, recipe.board))
        image_hash = ImgtoolProgram().bytes_to_sign(built.payload, image_parameters(built.artifact, board)).hex()
    # The bill says with which tools it was made; those are compared by themselves, and told.
    bill = bill_of(replace(subject, source=recipe.source, tools=recipe.tools), built.files)
    return compare(recipe, built.files, image_hash, bill)


def _explained(rebuilt: Rebuilt, order: RebuildOrder, site: Site, out: Path | None) -> Rebuilt:
    """The same, with the difference in the payload shown, where the original is at hand."""
    original = _original_payload(order, site)
    if original is None or PAYLOAD not in differing(rebuilt.compared):
        return rebuilt
    found = difference({PAYLOAD: original}, {PAYLOAD: rebuilt.built.payload})
    if found is None:
        return rebuilt
    folder = out or site.cache_dir / "rebuilt" / rebuilt.recipe.provenance_sha256[:16]
    kept = folder.with_name(folder.name + DIFFERING)
    files = {"DIFFERING": b"", f"attested/{PAYLOAD}": original, f"rebuilt/{PAYLOAD}": rebuilt.built.payload}
    said = diffoscope_program.report(PAYLOAD, original, rebuilt.built.payload)
    if said.text is not None:
        files["diffoscope.txt"] = said.text.encode()
    write_result(kept, files, "DIFFERING")
    words = found.replace("the first build", "the release").replace("the second", "the rebuild")
    return replace(rebuilt, difference=words, report=kept, no_diffoscope=said.why_not)


def _original_payload(order: RebuildOrder, site: Site) -> bytes | None:
    data = order.original
    if data is None and order.release is not None:
        data = site.store.get(order.release.image.file_sha256)
    if data is None:
        return None
    try:
        return parse_image(data).payload
    except NotVerified:
        return data
