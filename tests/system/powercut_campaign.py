# SPDX-License-Identifier: Apache-2.0
"""The whole power-cut campaign of a board, on releases that the ordinary verbs made: `nox -s powercut`.

python tests/system/powercut_campaign.py --board rv32-virt -- --sample 500
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from life_site import ROOT, whole_site


def main(arguments: list[str]) -> int:
    """The status of the verb; its answer is for people."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--board", default="ast1030-evb")
    parser.add_argument("more", nargs="*", help="arguments for assay twin powercut")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        site = whole_site(options.board, Path(folder) / "site")
        line = [sys.executable, "-m", "assay", "twin", "powercut", str(ROOT / "campaigns" / f"{options.board}.toml")]
        line += ["--trust", str(site.trust), "--site", str(site.folder), *options.more]
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ASSAY_")}
        done = subprocess.run(line, cwd=ROOT, env=kept, check=False)
        verified = subprocess.run(site.command("log", "verify", "--trust", str(site.trust))[:-1], cwd=ROOT, check=False)
        return done.returncode or verified.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
