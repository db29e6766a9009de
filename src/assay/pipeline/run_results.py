# SPDX-License-Identifier: Apache-2.0
"""What a run of a pipeline leaves in its folder of results, beside what its verbs put there.

`summary.json`: the steps and their outcomes; `steps/NN-name.json` and `.log`: each verb's answer and messages.
Leaves to others: the meaning of the answers.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from assay.backends.durable_file import make_folder, write_durably
from assay.errors import NotRecorded

SUMMARY = "summary.json"


def write_summary(results: Path, document: dict[str, Any]) -> None:
    """`summary.json`, durably. Raises `NotRecorded`."""
    _write(results / SUMMARY, json.dumps(document, indent=2, ensure_ascii=False).encode() + b"\n")


def keep_step(results: Path, index: int, name: str, answer: dict[str, Any], log: str) -> None:
    """What the verb of step `index` answered and said. Raises `NotRecorded`."""
    stem = results / "steps" / f"{index:02d}-{name}"
    if answer:
        _write(stem.with_suffix(".json"), json.dumps(answer, indent=2, ensure_ascii=False).encode() + b"\n")
    _write(stem.with_suffix(".log"), log.encode())


def _write(path: Path, data: bytes) -> None:
    try:
        make_folder(path.parent)
        write_durably(path, data)
    except OSError as error:
        raise NotRecorded(
            f"{path} cannot be written: {error.strerror}", remedy="make room there, or use --results, and run it again"
        ) from error
