# SPDX-License-Identifier: Apache-2.0
"""Packs and facts for the tests of policy."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cel

from assay.interfaces.policy_engine import ExpressionFault
from assay.model.policy import PolicyPack
from assay.model.policy_facts import Facts
from assay.pipeline.policy_files import LoadedPack, parse_pack, policy_engine
from assay.stages.manifest.read import read_manifest

POLICIES = Path(__file__).parents[2] / "policies"

PACK = """\
schema = "assay.policy/1"
name = "{name}"
version = "{version}"
at = [{at}]

[[checks]]
id = "{id}"
version = 1
severity = "{severity}"
deny_if = '''{deny_if}'''
message = "that is denied"
remedy = "do it in another way"
"""
POINTS = '"publish", "provision", "flash", "install"'


def pack_text(deny_if: str = "false", **changes: str) -> str:
    values = {"name": "strict", "version": "1.0.0", "at": POINTS, "id": "one", "severity": "deny"}
    return PACK.format(**values | changes, deny_if=deny_if)


def loaded(deny_if: str, **changes: str) -> LoadedPack:
    return parse_pack(pack_text(deny_if, **changes).encode(), "strict.toml", policy_engine())


def unchecked(deny_if: str, **changes: str) -> PolicyPack:
    """A pack whose expressions nobody looked at: what is left when another engine compiled it."""
    return read_manifest(pack_text(deny_if, **changes).encode(), "strict.toml", PolicyPack)


def facts_document() -> dict[str, Any]:
    document: dict[str, Any] = tomllib.loads((POLICIES / "production.tests.toml").read_text())["facts"]
    return document


def facts(**changes: Any) -> Facts:
    return Facts.model_validate_json(json.dumps(facts_document() | changes))


DIGEST = hashlib.sha256(b"pack").hexdigest()


class SecondEngine:
    """CEL by the Rust engine, for comparison."""

    name = "common-expression-language"

    def compile(self, text: str) -> SecondEngine:
        compiled = SecondEngine()
        compiled._program = cel.compile(text)
        return compiled

    def holds(self, facts: Mapping[str, Any]) -> bool:
        try:
            value = self._program.execute(dict(facts))
        except Exception as error:
            raise ExpressionFault(str(error), remedy="") from error
        if not isinstance(value, bool):
            raise ExpressionFault("no bool", remedy="")
        return value
