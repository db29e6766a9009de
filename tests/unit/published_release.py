# SPDX-License-Identifier: Apache-2.0
"""A project with a site, and one module built, signed and published there."""

from __future__ import annotations

from pathlib import Path

from tiny_build import VERSIONED

from assay.model.artifact import VerifiedImage
from assay.model.manifest import Board
from assay.model.trust import TrustFile
from assay.pipeline.build_recipe import BuildRequest
from assay.pipeline.manifest_files import load_board
from assay.pipeline.module_build import build_module
from assay.pipeline.release_gate import verify_release
from assay.pipeline.site import Site
from assay.pipeline.trust_file import site_trust

MODULE = VERSIONED.replace(
    "[update]",
    """\
[interfaces]
requires = [{ name = "assay-handoff", version = "1" }]

[[dependencies]]
name = "assay-bootloader"
version = ">=1.0.0"

[update]""",
)


SCRIPT = "import sys; open(sys.argv[1] + '/payload.bin', 'w').write('x' * 1000 + sys.argv[2])"


class NoPause:
    """The host's clock, on which nobody waits."""

    def __getattr__(self, name: str) -> object:
        from assay.backends.clocks.system_clock import SystemClock

        return getattr(SystemClock(), name)

    def sleep(self, seconds: float) -> None:
        return


class Published:
    """A project with a site, and one module built, signed and published there."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.site = Site(root / "site")
        self.site.__dict__["clock"] = NoPause()
        self.artifact, self.signed = root / "artifact", root / "signed"

    @property
    def board(self) -> Board:
        return load_board(self.root / "boards" / "ast1030-evb.toml")

    def trust(self, **changes: object) -> TrustFile:
        trusted = site_trust(self.site, "test", allow_development=True, allow_emulated=True)
        return trusted.model_copy(update=changes)

    def gate(self, trust: TrustFile | None = None) -> VerifiedImage:
        return verify_release(self.site.store, trust or self.trust(), "tiny", None, self.board)

    def build(self, out: Path, version: str = "1.0.0") -> None:
        request = BuildRequest(self.root / "mod" / "module.toml", "ast1030-evb", version, builder="host")
        build_module(request, self.site, out, lambda _line: None)
