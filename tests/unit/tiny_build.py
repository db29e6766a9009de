# SPDX-License-Identifier: Apache-2.0
"""A module that is built in no time: a script that copies a file, and what tests do with it."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pytest

from assay.backends.builders.sandbox import why_not
from assay.backends.builders.turkish_locale import compiled_locale
from assay.pipeline.build_recipe import BuildRequest
from assay.pipeline.module_build import BuildReport, build_module
from assay.pipeline.site import Site

ROOT = Path(__file__).parents[2]
MODULE = """\
schema = "assay.module/1"
name = "tiny"
kind = "app"
version = "1.0.0"
license = "Apache-2.0"
boards = [{ name = "ast1030-evb", min_revision = 1 }]

[build]
command = ["{python}", "mod/build.py", "{out}", "{defines}"]
sources = ["mod/*.py", "mod/data"]
outputs = ["payload.bin"]

[update]
policy = "test-then-confirm"
security_counter = 1
"""
VERSIONED = (
    MODULE.replace("{defines}", "{version}")
    .replace('["mod/*.py", "mod/data"]', '["mod"]')
    .replace("security_counter = 1", "security_counter = 3")
)
"""The same, whose script is told the version."""
SAME = "open(sys.argv[1] + '/payload.bin', 'wb').write(open('mod/data/blob', 'rb').read())"
needs_sandbox = pytest.mark.skipif(why_not() is not None, reason=f"no sandbox here: {why_not()}")


class NoPause:
    """A clock on which the second build need not wait."""

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    def monotonic_s(self) -> float:
        return 0.0

    def sleep(self, seconds: float) -> None:
        assert seconds > 0


def tiny_site(folder: Path) -> Site:
    """A site with a key that no build may see."""
    site = Site(folder / "site")
    site.__dict__["clock"] = NoPause()
    site.keys_dir.mkdir(parents=True)
    (site.keys_dir / "secret.pem").write_text("secret")
    site.cache_dir.mkdir(parents=True, exist_ok=True)
    (site.cache_dir / "locales").symlink_to(compiled_once() / "locales")
    return site


@cache
def compiled_once() -> Path:
    """The cache with the locale of second builds: compiling it takes a second, and each test has a site of its own."""
    folder = Path(tempfile.gettempdir()) / f"assay-test-locale-{os.getuid()}-{os.getpid()}"
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    compiled_locale(folder)
    (folder / "locales").mkdir(parents=True, exist_ok=True)
    return folder


def tiny_project(folder: Path) -> Path:
    """A project with one module."""
    root = folder / "project"
    (root / "boards").mkdir(parents=True)
    (root / "mod" / "data").mkdir(parents=True)
    shutil.copy(ROOT / "boards" / "ast1030-evb.toml", root / "boards")
    (root / "mod" / "module.toml").write_text(MODULE)
    (root / "mod" / "data" / "blob").write_bytes(bytes(range(256)))
    write_script(root, SAME)
    return root


def write_script(root: Path, body: str) -> None:
    (root / "mod" / "build.py").write_text(f"import getpass, os, random, socket, sys, time\n{body}\n")


def request_for(root: Path, builder: str = "host", **more: object) -> BuildRequest:
    request = BuildRequest(root / "mod" / "module.toml", "ast1030-evb")
    return replace(request, builder=builder, **more)  # type: ignore[arg-type]


def build(root: Path, site: Site, builder: str = "host", **more: object) -> BuildReport:
    return build_module(request_for(root, builder, **more), site, root / "out", lambda _line: None)


BUILDERS = ["host", pytest.param("sandbox", marks=needs_sandbox)]
