# SPDX-License-Identifier: Apache-2.0
"""Questions to `assay trace` about a finished site (`made_site`), and to the site itself."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from click.testing import CliRunner, Result
from made_site import SERIAL, MadeSite

from assay.cli.trace import command
from assay.model.trace import Trace
from assay.pipeline.trace_collect import SiteReading
from assay.pipeline.trace_site import trace_site
from assay.pipeline.trust_anchor import load_anchor


def run(folder: Path, *arguments: str, serial: str = SERIAL) -> Result:
    options = ["--site", str(folder / ".assay"), "--trust", str(folder / "trust.toml")]
    return CliRunner().invoke(command, [serial, *options, *arguments])


def trace(folder: Path, *, serial: str = SERIAL, trust: str = "trust.toml") -> Trace:
    anchor, digest = load_anchor(folder / trust)
    return trace_site(folder / ".assay", serial, anchor, digest)[1]


def broken(folder: Path) -> dict[str, str]:
    """Broken links of the trace as the command gives it, with what is said about each; its status must be 4."""
    result = run(folder, "--json")
    assert result.exit_code == 4, result.output
    return {item["link"]: "; ".join(item["faults"]) for item in json.loads(result.stdout)["broken"]}


def names_in(folder: Path) -> dict[str, str]:
    """Digests that the patterns above need."""
    reading = SiteReading(folder / ".assay")
    entries = [json.loads(leaf) for leaf in reading.log.leaves]
    bench = predicate_of(folder, entries[13]["record"])["urn:assay:test-run:v1"]
    update = predicate_of(folder, entries[15]["record"])
    named = {f"record{index}": entry["record"] for index, entry in enumerate(entries)}
    ca = next((folder / ".assay/device-ca").glob("*.der")).stem
    return named | {"junit": bench["files"]["junit.xml"], "image": update["image"]["file_sha256"], "ca": ca}


def predicate_of(folder: Path, record: str) -> dict:  # type: ignore[type-arg]
    bundle = json.loads((folder / ".assay" / "records" / f"{record}.json").read_text())
    predicate: dict = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))["predicate"]  # type: ignore[type-arg]
    return predicate


def reopened(folder: Path) -> MadeSite:
    made = MadeSite(folder / ".assay")
    made.releases = {release.reference: release for release in made.site.store.releases()}
    return made
