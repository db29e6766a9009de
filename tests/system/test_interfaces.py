# SPDX-License-Identifier: Apache-2.0
"""A release that needs what the unit does not offer is refused by every verb that would write it, before flash."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from life_site import APP, BOOTLOADER, LIVE, ROOT, LifeSite, unit_site

pytestmark = pytest.mark.timeout(300)

MODULE = """\
schema = "assay.module/1"
name = "demo-sensor"
kind = "app"
version = "{version}"
license = "Apache-2.0"
boards = [{{ name = "ast1030-evb", min_revision = 1 }}]

[build]
command = ["{{python}}", "mod/build.py", "{{out}}", "{{version}}"]
sources = ["mod"]
outputs = ["payload.bin"]

[interfaces]
requires = [{requires}]

[update]
policy = "test-then-confirm"
security_counter = 1
"""
SCRIPT = "import sys; open(sys.argv[1] + '/payload.bin', 'w').write('x' * 1000 + sys.argv[2])"
TOO_NEW, SERVED, STRANGE = "1.3.0", "1.4.0", "1.5.0"
NEEDS = {
    TOO_NEW: '{ name = "assay-handoff", version = "2" }',
    SERVED: '{ name = "assay-handoff", version = "1" }, { name = "assay-rom", version = "1.0" }',
    STRANGE: '{ name = "cellular-modem", version = "1" }',
}


def publish(site: LifeSite, project: Path, version: str) -> None:
    """A release that no unit could run, and that says what it needs."""
    (project / "mod").mkdir(parents=True, exist_ok=True)
    shutil.copytree(ROOT / "boards", project / "boards", dirs_exist_ok=True)
    (project / "mod" / "build.py").write_text(SCRIPT)
    (project / "mod" / "module.toml").write_text(MODULE.format(version=version, requires=NEEDS[version]))
    out = project / version
    site.good("build", project / "mod", "--board", site.board, "--builder", "host", "--out", out)
    site.good("sign", out)
    site.good("publish", f"{out}.signed")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> LifeSite:
    folder = tmp_path_factory.mktemp("needs")
    site = unit_site("ast1030-evb", folder / "site")
    for version in NEEDS:
        publish(site, folder / "project", version)
    return site


def lines(site: LifeSite, version: str, results: Path) -> dict[str, tuple[str | Path, ...]]:
    release = f"{APP}@{version}"
    provision = [release if word == f"{APP}@1.0.0" else word for word in site.provision_line("blank")]
    suite = ("test", ROOT / "suites" / "demo-sensor", "--release", release, "--results", results)
    return {
        "update": site.update_line(version, "a"),
        "plan": site.update_line(version, "a", "--plan"),
        "flash": ("flash", release, "--place", "a", "--trust", site.trust),
        "provision": tuple(provision),
        "dry run": (*provision, "--dry-run"),
        "fresh twin": (*suite, "--place", f"twin:{site.board}", "--trust", site.trust),
    }


@pytest.mark.parametrize("verb", ["update", "plan", "flash", "provision", "dry run", "fresh twin"])
def test_an_app_for_another_bootloader_is_refused_and_nothing_is_written(
    site: LifeSite, verb: str, tmp_path: Path
) -> None:
    if not (site.folder / "twins" / "blank").exists():
        site.twin("blank")
    before = [site.flash_of(name) for name in ("a", "blank")]
    told = site.verb(*lines(site, TOO_NEW, tmp_path)[verb])
    assert told.status == 4, told.said
    assert f"{APP}@{TOO_NEW} needs the interface assay-handoff 2" in told.data["error"]
    assert f"the bootloader {BOOTLOADER} offers assay-handoff 1" in told.data["error"]
    assert [site.flash_of(name) for name in ("a", "blank")] == before


def test_what_nobody_offers_is_refused_with_all_that_is_offered(site: LifeSite) -> None:
    told = site.verb(*site.update_line(STRANGE, "a", "--plan"))
    assert told.status == 4, told.said
    for said in ("cellular-modem 1", "the mask ROM assay-rom 1.0.0 offers assay-rom 1", f"the bootloader {BOOTLOADER}"):
        assert said in told.data["error"]


def test_what_the_unit_offers_is_planned(site: LifeSite) -> None:
    """Bootloader and mask ROM together offer it, so there is nothing to refuse."""
    told = site.good(*site.update_line(SERVED, "a", "--plan"))
    assert told["plan"]["unit"]["modules"] == {"assay-bootloader": "1.0.0", "assay-rom": "1.0.0"}


def test_a_bootloader_that_no_release_has_offers_nothing(site: LifeSite, tmp_path: Path) -> None:
    other = LifeSite(tmp_path / "other", site.board)
    publish(other, tmp_path / "project", SERVED)
    trust = ("--name", "other", "--allow-development", "--allow-emulated")
    other.good("keys", "trust", "--out", other.trust, *trust)
    shutil.copytree(site.folder / "twins", other.folder / "twins", ignore=LIVE, dirs_exist_ok=True)
    before = other.flash_of("a")
    told = other.verb("flash", f"{APP}@{SERVED}", "--place", "a", "--trust", other.trust)
    assert (told.status, "is of no release in this site's store" in told.data["error"]) == (4, True), told.said
    assert other.flash_of("a") == before
