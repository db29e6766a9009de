# SPDX-License-Identifier: Apache-2.0
"""Policy at a real unit (a twin): each verb that writes one refuses first, and an override shows in its history."""

from __future__ import annotations

from pathlib import Path

import pytest
from life_site import APP, LifeSite, unit_site

from assay.model.trace import Mark

pytestmark = pytest.mark.timeout(300)
PACK = """\
schema = "assay.policy/1"
name = "recall"
version = "1.0.0"
at = ["provision", "flash", "install"]

[[checks]]
id = "withdrawn"
version = 1
when = "release.kind == 'app'"
deny_if = "release.version == '1.1.0'"
message = "1.1.0 was withdrawn"
remedy = "wait for 1.3.0"

[[checks]]
id = "blank-chips-only"
version = 1
when = "point == 'provision'"
deny_if = "unit.stage != 'rom'"
message = "the chip is not blank"
remedy = "erase it"
"""


@pytest.fixture
def site(tmp_path: Path) -> LifeSite:
    """Twin `a` is unit DEMO-000001 and runs 1.0.0; 1.1.0 was withdrawn."""
    site = unit_site("ast1030-evb", tmp_path / "site")
    (tmp_path / "recall.toml").write_text(PACK)
    site.good(
        "policy",
        "adopt",
        tmp_path / "recall.toml",
        "--reason",
        "a recall",
        "--unsafe-untested",
        "for the tests",
        "--trust",
        site.trust,
    )
    return site


def decisions(site: LifeSite) -> list[dict[str, object]]:
    return [each for each in site.good("log", "show")["entries"] if each["type"] == "decision"]


def test_no_verb_writes_what_a_policy_refuses_and_an_override_shows(site: LifeSite) -> None:
    before = site.flash_of("a")
    there = ("--place", "a", "--trust", site.trust)
    refused = [
        site.verb("flash", f"{APP}@1.1.0", *there),
        site.verb(*site.update_line("1.1.0", "a")),
        site.verb(*site.provision_line("a")),
    ]
    for told, words in zip(refused, ("withdrawn: ", "withdrawn: ", "blank-chips-only: "), strict=True):
        assert told.status == 4, told.said
        assert words in told.data["error"] and told.data["remedy"]
    assert site.flash_of("a") == before
    # Provisioning asks about bootloader and app, each one decision.
    assert [each["serial"] for each in decisions(site)] == ["DEMO-000001"] * 4
    planned = site.verb(*site.update_line("1.1.0", "a"), "--dry-run")
    assert planned.status == 4 and planned.data["policy"][0]["allowed"] is False
    assert len(decisions(site)) == 4

    done = site.good(*site.update_line("1.1.0", "a"), "--unsafe-skip-policy", "the customer waits")
    assert done["outcome"] == "PASS"
    marked = [link for link in site.links("DEMO-000001") if Mark.SKIPPED in link.marks]
    assert len(marked) == 2
    assert any("the customer waits" in each.value for link in marked for each in link.details)
    told = site.good("policy", "explain", str(decisions(site)[-1]["index"]), "--trust", site.trust)
    assert told["derived_again"] is True
    assert told["facts"]["unit"]["change"] == "newer" and told["facts"]["unit"]["proved"] is True
    assert site.good("log", "verify", "--trust", site.trust)


def test_a_blank_chip_that_a_policy_lets_pass_has_its_decisions_in_its_history(site: LifeSite) -> None:
    """They are older than its serial number, and are found by its chip."""
    site.twin("b")
    serial = site.good(*site.provision_line("b"))["serial"]
    assert [each["serial"] for each in decisions(site)] == [None, None]
    checks = [check.what for link in site.links(serial) for check in link.checks]
    assert checks.count("decided by policy 'recall' 1.0.0") == 2
