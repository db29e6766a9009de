# SPDX-License-Identifier: Apache-2.0
"""The shapes of all formats as they were agreed on, in tests/data/formats/versions.json.

`python tests/unit/format_shapes.py --accept NAME...` takes the present shape of formats that are still open (no release
of assay had this version); `--freeze` closes all of them, at a release.
"""

from __future__ import annotations

import hashlib
import json
import sys
from functools import cache
from pathlib import Path
from typing import Any

from assay.pipeline.format_table import formats, shape_of

FOLDER = Path(__file__).parents[1] / "data" / "formats"
KEPT = FOLDER / "versions.json"


@cache
def present() -> dict[str, str]:
    """Name and version of each format that has a model, and the digest of its shape."""
    return {f"{each.name}/{each.newest}": _digest(shape_of(each.models)) for each in formats() if each.models}


def _digest(shape: list[Any]) -> str:
    return hashlib.sha256(json.dumps(shape, sort_keys=True).encode()).hexdigest()


def kept() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    return found


def why_not(name: str, digest: str, agreed: dict[str, dict[str, Any]]) -> str | None:
    """What is wrong with the present shape of `name`, and what to do."""
    entry = agreed.get(name)
    if entry is None:
        return f"{name} is new: keep a file of it in {FOLDER.name}/, then accept it"
    if entry["shape_sha256"] == digest:
        return None
    if entry["frozen"]:
        return f"{name} is frozen, and its model changed: give it a new version (docs/reference/compatibility.md)"
    return f"{name} is open, and its model changed: old files of it must still be read; then accept it"


def main(arguments: list[str]) -> int:
    agreed, now = kept(), present()
    if arguments[:1] == ["--freeze"]:
        agreed = {name: {"shape_sha256": agreed[name]["shape_sha256"], "frozen": True} for name in now}
    elif arguments[:1] == ["--accept"]:
        for name in arguments[1:] or now:
            if agreed.get(name, {}).get("frozen") and agreed[name]["shape_sha256"] != now[name]:
                print(why_not(name, now[name], agreed))
                return 1
            agreed[name] = {"frozen": False} | agreed.get(name, {}) | {"shape_sha256": now[name]}
    else:
        print(__doc__)
        return 2
    KEPT.write_text(json.dumps(agreed, indent=1, sort_keys=True) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
