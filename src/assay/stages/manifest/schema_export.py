# SPDX-License-Identifier: Apache-2.0
"""JSON Schemas of the manifests, for editors that complete and check TOML while one types.

Guards: the schemas come from the models that read the files, so the two cannot drift.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import TypeAdapter

from assay.model.bench import Bench
from assay.model.board import Board
from assay.model.flasher_settings import PlainBoard
from assay.model.foreign_board import ForeignBoard
from assay.model.keyless import KeylessSettings
from assay.model.keys import KeyTable
from assay.model.module import Module
from assay.model.pipeline import Pipeline
from assay.model.policy import PackTests, PolicyPack
from assay.model.policy_facts import Facts
from assay.model.powercut import CutPlan
from assay.model.product import Product
from assay.model.profile import Profile
from assay.model.trust import TrustFile
from assay.model.upgrades import schema_of
from assay.model.value import Value
from assay.model.wire import WireFile
from assay.model.witness import WitnessPolicy

MANIFESTS: dict[str, type[Value]] = {
    "bench": Bench,
    "board": Board,
    "keyless": KeylessSettings,
    "keys": KeyTable,
    "module": Module,
    "pipeline": Pipeline,
    "policy": PolicyPack,
    "policy-facts": Facts,
    "policy-tests": PackTests,
    "powercut": CutPlan,
    "product": Product,
    "profile": Profile,
    "trust": TrustFile,
    "wire": WireFile,
    "witnesses": WitnessPolicy,
}
"""Manifests by the word that `assay schema` knows them by."""

_BOARDS: TypeAdapter[Board | ForeignBoard | PlainBoard] = TypeAdapter(Board | ForeignBoard | PlainBoard)
"""`boards/*.toml` are of three kinds; `firmware` tells them apart."""

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema_text(name: str) -> str:
    """The JSON Schema of the manifest `name` (a key of `MANIFESTS`), the same bytes each time."""
    schema = _boards() if name == "board" else MANIFESTS[name].model_json_schema()
    version = schema_of(MANIFESTS[name]).rpartition("/")[2]
    schema = {"$schema": DIALECT, "$id": f"urn:assay:schema:{name}:{version}", **schema}
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _boards() -> dict[str, Any]:
    """Ours, somebody else's, and a revision of that: it has what it does not inherit."""
    schema = _BOARDS.json_schema()
    foreign = schema["$defs"]["ForeignBoard"]
    schema["$defs"]["Revision"] = {**foreign, "required": ["schema", "name", "revision", "inherits", "why"]}
    schema["anyOf"].append({"$ref": "#/$defs/Revision"})
    return schema
