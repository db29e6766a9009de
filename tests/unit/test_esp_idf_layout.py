# SPDX-License-Identifier: Apache-2.0
"""A project of ESP-IDF, by the lines that the page on other people's projects shows, in the sandbox.

ESP-IDF itself is in no package index, and is not here: the checkout and the folder of tools are stand-ins of a few
lines that are laid out as its own are, and found by nothing but `export.sh`. They compile for this machine, by the real
CMake and Ninja.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from test_west_and_platformio import BINARY, MAIN, cmake_of, needs, put, theirs
from tiny_build import build, needs_sandbox, tiny_site

from assay.errors import UnitFailed

MORE = """\
arguments = ["-DOTHER=1"]
trees = ["IDF_PATH", "IDF_TOOLS_PATH"]
collect = { "payload.bin" = "app.bin" }
"""
EXPORT = """\
[ -n "$BASH_VERSION" ] || { echo "for bash"; return 1; }
export PATH="$IDF_PATH/tools:$IDF_TOOLS_PATH/tools/cross/bin:$PATH"
export IDF_PYTHON_ENV_PATH="$IDF_TOOLS_PATH/python_env"
"""
IDF_PY = """\
#!/usr/bin/env python3
import argparse, os, subprocess
parser = argparse.ArgumentParser()
parser.add_argument("-C", "--project-dir", required=True)
parser.add_argument("-B", "--build-dir", required=True)
parser.add_argument("-D", "--define-cache-entry", action="append", default=[])
parser.add_argument("action", choices=["build"])
asked = parser.parse_args()
assert os.environ["IDF_PYTHON_ENV_PATH"].startswith(os.environ["IDF_TOOLS_PATH"])
open(asked.project_dir + "/sdkconfig", "w").close()  # it writes beside the sources
defines = ["-D" + entry for entry in asked.define_cache_entry]
here = ["-S", asked.project_dir, "-B", asked.build_dir]
subprocess.check_call(["cmake", "-GNinja", "-DCMAKE_C_COMPILER=cross-gcc", *here, *defines])
subprocess.check_call(["cmake", "--build", asked.build_dir])
"""
CMAKE = cmake_of(f"COMMAND {BINARY} app app.bin")
PROJECT = {"main.c": MAIN, "CMakeLists.txt": CMAKE}


@pytest.fixture
def trees(tmp_path: Path) -> dict[str, Path]:
    """The checkout, and what its `install.sh` would have left."""
    checkout = put(tmp_path / "esp-idf", {"export.sh": EXPORT, "tools/idf.py": IDF_PY})
    tools = put(tmp_path / "espressif", {"tools/cross/bin/cross-gcc": '#!/bin/sh\nexec gcc "$@"\n'})
    for program in (checkout / "tools" / "idf.py", tools / "tools" / "cross" / "bin" / "cross-gcc"):
        program.chmod(0o755)
    return {"IDF_PATH": checkout, "IDF_TOOLS_PATH": tools}


@needs_sandbox
@needs("cmake", "ninja", "gcc", "bash")
def test_an_app_by_idf_py(tmp_path: Path, trees: dict[str, Path]) -> None:
    root = theirs(tmp_path, "esp-idf", MORE, PROJECT)
    built = build(root, tiny_site(tmp_path), "sandbox", trees=trees, defines={"LEVEL": "7"}).built
    assert b"./main.c\0" in built.payload and (7).to_bytes(4, "little") in built.payload
    tools = {tool.name for tool in built.artifact.tools}
    assert {"bash", "cmake", "ninja", "tree:IDF_PATH", "tree:IDF_TOOLS_PATH"} <= tools
    assert not (root / "theirs" / "sdkconfig").exists()


@needs_sandbox
@needs("bash")
def test_without_the_checkout_it_says_which_tree_is_missing(tmp_path: Path, trees: dict[str, Path]) -> None:
    root = theirs(tmp_path, "esp-idf", MORE.replace('"IDF_PATH", ', ""), PROJECT)
    with pytest.raises(UnitFailed, match="IDF_PATH: has to be among the trees"):
        build(root, tiny_site(tmp_path), "sandbox", trees={"IDF_TOOLS_PATH": trees["IDF_TOOLS_PATH"]})
