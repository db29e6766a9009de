# SPDX-License-Identifier: Apache-2.0
"""A station that trusts a verifier and no builder: it writes what has a summary, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from life_site import APP, BOOTLOADER, unit_site

pytestmark = pytest.mark.timeout(300)
PACK = """\
schema = "assay.policy/1"
name = "release"
version = "1.0.0"
at = ["publish", "flash"]

[[checks]]
id = "built-twice"
version = 1
when = "!has(release.summary)"
deny_if = "release.provenance.builds_compared < 2"
message = "it was built once"
remedy = "build it with assay"

[[checks]]
id = "by-our-policy"
version = 1
when = "has(release.summary)"
deny_if = "!release.summary.policy_uri.startsWith('urn:assay:policy:release:')"
message = "its summary is of another policy"
remedy = "summarize it by the policy 'release'"
"""


def test_a_station_verifies_one_statement(tmp_path: Path) -> None:
    site = unit_site("ast1030-evb", tmp_path / "site")
    (tmp_path / "release.toml").write_text(PACK)
    site.good(
        "policy", "adopt", tmp_path / "release.toml", "--reason", "for stations", "--unsafe-untested", "for the tests"
    )
    station = tmp_path / "station.toml"
    allow = ("--allow-development", "--allow-emulated", "--summaries")
    site.good("keys", "trust", "--out", station, "--name", "station", *allow)
    line = ("flash", f"{APP}@1.1.0", "--place", "a", "--trust", station)
    told = site.verb(*line)
    assert (told.status, "has no verification summary" in told.data["error"]) == (4, True), told.said
    for release in (f"{APP}@1.1.0", BOOTLOADER):  # what the app needs of the bootloader has to verify, too
        site.good("policy", "summarize", release, "--board", site.board)
    assert site.good(*line)["outcome"] == "PASS"
    decided = [each for each in site.good("log", "show")["entries"] if each["type"] == "decision"]
    facts = site.good("policy", "explain", str(decided[-1]["index"]))["facts"]
    assert "provenance" not in facts["release"] and facts["release"]["summary"]["levels"] == ["SLSA_BUILD_LEVEL_1"]
    assert site.good("log", "verify", "--trust", site.trust)
