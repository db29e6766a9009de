# SPDX-License-Identifier: Apache-2.0
"""Every format that assay writes or reads, with its versions: what people write, what assay writes, what is signed.

Guards: one table, which `assay compat` prints and the tests walk: a format that is not in it, a version without a file
in the tests, or a model that changed without its version is found there.
Leaves to others: what may change (docs/reference/compatibility), the steps between versions (`model.upgrades`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from assay.backends.repository import floor
from assay.formats import trace_archive
from assay.formats.release_bundle import BundleIndex
from assay.model.artifact import Artifact, Release
from assay.model.flasher_settings import PlainBoard
from assay.model.foreign_board import ForeignBoard
from assay.model.foreign_verdict import ForeignTest
from assay.model.plan import Plan
from assay.model.policy import Decision
from assay.model.policy_facts import Facts
from assay.model.predicates import ForeignFlash, Patch, Quarantine, Rebuild, ToolFlash, Withdrawal
from assay.model.product import ProductLock
from assay.model.repository import ReleaseList, ReleaseTarget, RepositorySettings, WithdrawalList
from assay.model.statement import PredicateType
from assay.model.trace import Trace
from assay.model.upgrades import older_versions, schema_of
from assay.model.value import Value
from assay.pipeline.test_reports import SUITE_SCHEMA
from assay.pipeline.trace_record import MODELS
from assay.stages.manifest.schema_export import MANIFESTS

Kind = Literal["manifest", "document", "statement"]
"""What people write and `assay migrate` rewrites; what assay writes and nobody changes; what is signed."""

SUMMARY_SCHEMA = "assay.summary/1"
TWIN_SCHEMA = "assay.twin/1"

_OWN = "urn:assay:predicate:"


@dataclass(frozen=True)
class Format:
    """A format by its name without version; `newest` is written, `oldest` to `newest` are read."""

    name: str
    kind: Kind
    newest: int
    oldest: int
    models: tuple[type[Value], ...] = ()

    @property
    def versions(self) -> tuple[int, ...]:
        """All that are read, the oldest first."""
        return tuple(range(self.oldest, self.newest + 1))


_DOCUMENTS: tuple[type[Value], ...] = (
    *(Artifact, Release, Plan, Trace, Decision),
    *(RepositorySettings, ReleaseTarget, ReleaseList, WithdrawalList, BundleIndex, ProductLock),
)
_WITHOUT_MODEL = (SUITE_SCHEMA, SUMMARY_SCHEMA, TWIN_SCHEMA, trace_archive.SCHEMA, floor.SCHEMA)
_STATEMENTS: dict[PredicateType, type[Value] | None] = {
    **MODELS,
    PredicateType.FOREIGN_FLASH: ForeignFlash,
    PredicateType.TOOL_FLASH: ToolFlash,
    PredicateType.RELEASE: Release,
    PredicateType.PATCH: Patch,
    PredicateType.QUARANTINE: Quarantine,
    PredicateType.WITHDRAWAL: Withdrawal,
    PredicateType.FOREIGN_TEST: ForeignTest,
    PredicateType.REBUILD: Rebuild,
    PredicateType.VEX: None,  # CycloneDX's own document
}


def formats() -> tuple[Format, ...]:
    """All formats, by kind and name."""
    return (*_manifests(), *_documents(), *_statements())


def _manifests() -> list[Format]:
    found = []
    for name, model in sorted(MANIFESTS.items()):
        others = (ForeignBoard, PlainBoard) if name == "board" else ()
        kind: Kind = "document" if model is Facts else "manifest"
        found.append(_format(kind, schema_of(model), older_versions(schema_of(model)), (model, *others)))
    return found


def _documents() -> list[Format]:
    with_model = {schema_of(model): (model,) for model in _DOCUMENTS}
    every: dict[str, tuple[type[Value], ...]] = with_model | dict.fromkeys(_WITHOUT_MODEL, ())
    return [_format("document", schema, _also_read(models), models) for schema, models in sorted(every.items())]


def _also_read(models: tuple[type[Value], ...]) -> tuple[str, ...]:
    """Versions beside the newest that a model itself takes: such a document keeps the one that it was written with."""
    import typing

    return tuple(each for model in models for each in typing.get_args(model.model_fields["schema_"].annotation))


def _statements() -> list[Format]:
    """Our own predicate types; the others are versioned by who defined them."""
    own = sorted(
        ((kind.value, model) for kind, model in _STATEMENTS.items() if kind.value.startswith(_OWN)),
        key=lambda pair: pair[0],
    )
    found = []
    for kind, model in own:
        name, _, version = kind.rpartition(":v")
        found.append(Format(name, "statement", int(version), 1, (model,) if model else ()))
    return found


def _format(kind: Kind, newest: str, older: tuple[str, ...], models: tuple[type[Value], ...]) -> Format:
    name, _, version = newest.rpartition("/")
    return Format(name, kind, int(version), min(int(each.rpartition("/")[2]) for each in (newest, *older)), models)


def shape_of(models: tuple[type[Value], ...]) -> list[Any]:
    """What a version of a format looks like: its JSON Schemas without words for people. A part that is a format of its
    own stands there by its name and not by its shape.
    """
    return [_bare(model.model_json_schema()) for model in models]


def _bare(value: Any) -> Any:
    if isinstance(value, list):
        return [_bare(each) for each in value]
    if not isinstance(value, dict):
        return value
    if (version := _version_of(value)) is not None and "$defs" not in value:
        return {"format": version}
    words = {name for name in ("title", "description") if isinstance(value.get(name), str)}
    return {name: _bare(each) for name, each in value.items() if name not in words}


def _version_of(schema: dict[str, Any]) -> Any:
    """The name of a versioned format, when `schema` is the JSON Schema of one."""
    said = schema.get("properties", {}).get("schema", {}) if isinstance(schema.get("properties"), dict) else {}
    return said.get("const", said.get("enum")) if isinstance(said, dict) else None
