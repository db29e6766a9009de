# SPDX-License-Identifier: Apache-2.0
"""A site with published firmware, made by the ordinary verbs once for all test processes of a machine, and copied.

Each test gets a copy, with twins of its own. A twin that a verb starts ends with that verb.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from assay.cli.main import main
from assay.model.trace import TraceNode

ROOT = Path(__file__).parents[2]
BOOTLOADER = "assay-bootloader@1.0.0"
APP = "demo-sensor"
BAD_VERSION = "1.2.0"
PATCHED_VERSION = "1.3.0"
RAISED_VERSION = "1.4.0"
BAD_REASON = "sha256 known answer"
APPS: dict[str, tuple[str, ...]] = {
    "1.0.0": (),
    "1.1.0": (),
    BAD_VERSION: ("--define", "SELFTEST_FAULT=3"),
}
VERB_TIMEOUT_S = 200
LIVE = shutil.ignore_patterns("control", "tty", "wire.lock", "*.log")
"""Files of a twin that mean something only while it runs."""
NOT_IN_RELEASES = ("tests", "linux", "README.md")
"""In the firmware's folder, and no source of what is made here."""
BASE = Path(tempfile.gettempdir()) / f"assay-test-sites-{os.getuid()}"


@dataclass(frozen=True)
class Told:
    """How a verb ended, what it answered as JSON, and what it said to people."""

    status: int
    data: dict[str, Any]
    said: str


@dataclass(frozen=True)
class LifeSite:
    """A site in `folder`; `board` is the board of its releases."""

    folder: Path
    board: str

    @property
    def trust(self) -> Path:
        """The trust file of the demo: development keys and emulated boards allowed."""
        return self.folder / "trust.toml"

    def command(self, *arguments: str | Path) -> list[str]:
        """The command line of a verb on this site."""
        return [sys.executable, "-m", "assay", *map(str, arguments), "--site", str(self.folder), "--json"]

    def verb(self, *arguments: str | Path) -> Told:
        """Run a verb to its end."""
        done = subprocess.run(
            self.command(*arguments),
            capture_output=True, text=True, timeout=VERB_TIMEOUT_S, cwd=ROOT, env=environment(),
        )  # fmt: skip
        said = done.stdout + done.stderr
        assert "Traceback" not in done.stderr, said
        try:
            return Told(done.returncode, json.loads(done.stdout), said)
        except ValueError as error:
            raise AssertionError(f"not one JSON document: {said}") from error

    def within(self, *arguments: str | Path) -> Told:
        """As `verb`, in this process: a verb's start costs more than what many of them do."""
        line = [*map(str, arguments), "--site", str(self.folder), "--json"]
        done = CliRunner().invoke(main, line, env={"CI": "1"})
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
        return Told(done.exit_code, json.loads(done.stdout), done.stdout + done.stderr)

    def good(self, *arguments: str | Path) -> dict[str, Any]:
        """Run a verb that must PASS; answers what it answered."""
        told = self.verb(*arguments)
        assert told.status == 0, f"{arguments}: {told.status} {told.said}"
        return told.data

    def links(self, serial: str) -> tuple[TraceNode, ...]:
        """All links of a unit's history, which holds."""
        root = self.good("trace", serial, "--trust", self.trust)["trace"]["root"]
        return tuple(TraceNode.model_validate_json(json.dumps(root)).walk())

    def provision_line(self, place: str, *more: str | Path) -> tuple[str | Path, ...]:
        """The arguments of `assay provision` with the demo's profile."""
        line = ("provision", "--place", place, "--profile", ROOT / "provisioning" / "demo.toml")
        return (*line, "--bootloader", BOOTLOADER, "--app", f"{APP}@1.0.0", "--trust", self.trust, *more)

    def update_line(self, version: str, place: str, *more: str | Path) -> tuple[str | Path, ...]:
        """The arguments of `assay update`."""
        return ("update", f"{APP}@{version}", "--place", place, "--trust", self.trust, *more)

    def twin(self, name: str) -> Path:
        """Make a blank twin; answers its folder. It runs while a verb uses it."""
        self.good("twin", "create", name, "--board", self.board)
        rom = self.folder / "cache" / "rom" / self.board / "part.elf"
        settings = self.folder / "twins" / name / "twin.json"
        settings.write_text(json.dumps({**json.loads(settings.read_text()), "rom": str(rom)}))
        return self.folder / "twins" / name

    def flash_of(self, name: str) -> bytes:
        """What the flash of a twin that does not run holds."""
        return (self.folder / "twins" / name / "flash.bin").read_bytes()


def environment() -> dict[str, str]:
    """The environment of a verb: this process's, without what would send it to another site."""
    return {name: value for name, value in os.environ.items() if not name.startswith("ASSAY_")} | {"CI": "1"}


def life_site(board: str, folder: Path) -> LifeSite:
    """A copy of the site with releases for `board`, in `folder`."""
    template = _template(board)
    shutil.copytree(template, folder, symlinks=True, dirs_exist_ok=True, ignore=LIVE)
    return LifeSite(folder, board)


def unit_site(board: str, folder: Path) -> LifeSite:
    """A copy of the site in which twin `a` is a provisioned unit, DEMO-000001, that runs 1.0.0."""
    template = _made(board, "unit", lambda making: _provision(life_site(board, making)))
    shutil.copytree(template, folder, symlinks=True, dirs_exist_ok=True, ignore=LIVE)  # whole: releases, log and all
    site = LifeSite(folder, board)
    site.twin("a")
    return site


def patched_site(board: str, folder: Path) -> LifeSite:
    """As `unit_site`, with PATCHED_VERSION published, which has patches from 1.0.0 and from 1.1.0."""
    site = unit_site(board, folder)
    shutil.copytree(_made(board, "patched", lambda making: _make_patched(unit_site(board, making))), folder,
                    symlinks=True, dirs_exist_ok=True, ignore=LIVE)  # fmt: skip
    return site


def whole_site(board: str, folder: Path) -> LifeSite:
    """As `patched_site`, with two versions of the radio's firmware and one of the app that has a higher counter."""
    site = patched_site(board, folder)
    for version in ("1.0.0", "1.1.0"):
        _release(site, "radio", version, ())
    _release(site, "app", RAISED_VERSION, (), manifest="raised.toml")
    return site


def two_image_site(board: str, folder: Path) -> LifeSite:
    """As `unit_site`, with two versions of the radio's firmware, and no patches."""
    site = unit_site(board, folder)
    shutil.copytree(_made(board, "radios", lambda making: _make_radios(unit_site(board, making))), folder,
                    symlinks=True, dirs_exist_ok=True, ignore=LIVE)  # fmt: skip
    return site


def _make_radios(site: LifeSite) -> None:
    for version in ("1.0.0", "1.1.0"):
        _release(site, "radio", version, ())
    shutil.rmtree(site.folder / "twins")


def _make_patched(site: LifeSite) -> None:
    rom = site.folder / "cache"
    rom.rename(site.folder / "cache.kept")
    rom.symlink_to(BASE / "cache")
    bases = [word for version in ("1.0.0", "1.1.0") for word in ("--delta-from", f"{APP}@{version}")]
    _release(site, "app", PATCHED_VERSION, (), bases)
    rom.unlink()
    (site.folder / "cache.kept").rename(rom)
    shutil.rmtree(site.folder / "twins")


def _provision(site: LifeSite) -> None:
    site.twin("a")
    site.good(*site.provision_line("a"))


def _template(board: str) -> Path:
    return _made(board, "releases", lambda making: _make_releases(LifeSite(making, board)))


def _made(board: str, what: str, make: Callable[[Path], None]) -> Path:
    """The folder that `make` makes; one process makes it and the others wait."""
    BASE.mkdir(parents=True, exist_ok=True)
    folder = BASE / f"{board}-{what}-{_sources_digest(board)}"
    with (BASE / f"{board}-{what}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            making = BASE / f"{board}-{what}.making"
            shutil.rmtree(making, ignore_errors=True)
            make(making)
            making.rename(folder)
    return folder


def _make_releases(site: LifeSite) -> None:
    site.folder.mkdir()
    (BASE / "cache").mkdir(exist_ok=True)
    (site.folder / "cache").symlink_to(BASE / "cache")  # builds outlive changes of what is around them
    _make(site)
    (site.folder / "cache").unlink()
    shutil.copytree(BASE / "cache" / "rom" / site.board, site.folder / "cache" / "rom" / site.board)


def _make(site: LifeSite) -> None:
    work = site.folder / "work"
    work.mkdir(parents=True)
    image_key = work / "image.pem"
    image_key.write_text(
        subprocess.run(
            [*site.command("keys", "show", "image")[:-1]], capture_output=True, text=True, check=True, cwd=ROOT
        ).stdout
    )
    _release(site, "bootloader", "1.0.0", ("--declare-key", f"image={image_key}"))
    for version, more in APPS.items():
        _release(site, "app", version, more)
    site.good(
        "build", "firmware/rom/module.toml", "--board", site.board, "--out", site.folder / "cache/rom" / site.board
    )
    site.good("keys", "trust", "--out", site.trust, "--name", "demo", "--allow-development", "--allow-emulated")
    shutil.rmtree(work)


def _release(
    site: LifeSite, part: str, version: str, more: tuple[str, ...], to_sign: Sequence[str] = (),
    manifest: str = "module.toml",
) -> None:  # fmt: skip
    out = site.folder / "work" / f"{part}-{version}"
    line = ("build", f"firmware/{part}/{manifest}", "--board", site.board, "--version", version)
    site.good(*line, *more, "--out", out)
    site.good("sign", out, *to_sign)
    site.good("publish", f"{out}.signed")


def _sources_digest(board: str) -> str:
    """Everything that a release is made of, and what makes it."""
    digest = hashlib.sha256(Path(__file__).read_bytes() + (ROOT / "boards" / f"{board}.toml").read_bytes())
    stages = ("build", "signing", "registry", "provenance")
    makers = [ROOT / "src" / "assay" / "stages" / stage for stage in stages]
    makers += [ROOT / "src" / "assay" / part for part in ("formats/mcuboot_image.py", "model/artifact.py")]
    parts = [each for each in sorted((ROOT / "firmware").iterdir()) if each.name not in NOT_IN_RELEASES]
    for folder in (*parts, *makers):
        for file in [folder, *sorted(folder.rglob("*"))]:
            if file.is_file() and "__pycache__" not in file.parts:
                digest.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]
