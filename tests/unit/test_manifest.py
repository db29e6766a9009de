# SPDX-License-Identifier: Apache-2.0
"""Manifests: what is right is read, what is wrong says file, line and what was expected (status 2)."""

from __future__ import annotations

from pathlib import Path

import pytest

from assay.errors import ExitStatus, ManifestFault, UsageFault
from assay.model.board import Board
from assay.model.module import Module
from assay.model.profile import Profile
from assay.pipeline.manifest_files import board_file, load_any_board, load_board, load_module, project_root
from assay.stages.manifest.read import read_manifest

ROOT = Path(__file__).parents[2]

MODULE = """\
schema = "assay.module/2"
name = "demo-sensor"
kind = "app"
version = "1.0.0"
license = "Apache-2.0"

[[boards]]
name = "ast1030-evb"
min_revision = 1

[build]
command = ["{python}", "build.py"]
sources = ["src"]
outputs = ["payload.bin"]

[update]
policy = "test-then-confirm"
health_timeout_s = 10
security_counter = 1
"""


def fault_of(text: str, model: type[Module] | type[Board] | type[Profile] = Module) -> ManifestFault:
    with pytest.raises(ManifestFault) as caught:
        read_manifest(text.encode(), "module.toml", model)
    assert caught.value.status is ExitStatus.USAGE
    return caught.value


def test_a_module_is_read() -> None:
    module = read_manifest(MODULE.encode(), "module.toml", Module)
    assert (module.name, module.boards[0].min_revision, module.update.health_timeout_s) == ("demo-sensor", 1, 10.0)


@pytest.mark.parametrize("path", sorted((ROOT / "boards").glob("*.toml")), ids=lambda path: path.stem)
def test_the_boards_of_the_project_are_right(path: Path) -> None:
    assert load_any_board(path).name == path.stem


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        (
            "health_timeout_s = 10",
            "health_timeout = 10",
            18,
            "unknown key 'health_timeout'; did you mean 'health_timeout_s'?",
        ),
        ("license", "licence", 5, "unknown key 'licence'; did you mean 'license'?"),
        ("sources =", "source =", 13, "did you mean 'sources'?"),
        ('version = "1.0.0"', 'version = "1.0"', 4, "'1.0' is not a version"),
        ('version = "1.0.0"', 'version = "256.0.0"', 4, "does not fit an MCUboot header"),
        ("min_revision = 1", 'min_revision = "1"', 9, "expected a whole number, not '1'"),
        ("min_revision = 1", "min_revision = -1", 9, "greater than or equal to 0"),
        ("min_revision = 1", "min_revision = true", 9, "expected a whole number, not True"),
        ("health_timeout_s = 10", 'health_timeout_s = "10s"', 18, "expected a number (seconds), not '10s'"),
        ("health_timeout_s = 10", "health_timeout_s = nan", 18, "health_timeout_s"),
        ("health_timeout_s = 10", "health_timeout_s = 2026-01-01", 18, "expected a number (seconds)"),
        ('kind = "app"', 'kind = "application"', 3, "'app', 'bootloader', 'rom' or 'radio'"),
        ('name = "demo-sensor"', 'name = "../x"', 2, "expected a name of 1 to 63 lower-case letters"),
        ('sources = ["src"]', 'sources = ["../src"]', 13, "is not a path inside the project"),
        ('sources = ["src"]', 'in_copy = true\nsources = ["src"]', 13, "a command makes its own copy"),
        ('sources = ["src"]', 'sources = ["/etc"]', 13, "is not a path inside the project"),
        ("[update]", "[[components]]\nversion = '1'\n[update]", 16, "missing key 'name'"),
        ("[update]", "[[components]]\nname = 'x'\npurl = 'x'\n[update]", 18, "'x' is no package URL"),
        ("[update]", "[[components]]\nname = 'x'\npurl = 'pkg:npm/x@2'\n[update]", 18, "say version = '2'"),
        ("[update]", "[[components]]\nname = 'x'\n[[components]]\nname = 'x'\n[update]", 18, "x is there twice"),
        ("[update]", "[[components]]\nname = 'x '\n[update]", 17, "name"),
        ("[update]", "[[components]]\nname = 'x'\nlicense = '((('\n[update]", 18, "'(((' is no SPDX expression"),
        ("[update]", "[[components]]\nname = 'x'\nversion = '1\u202e2'\n[update]", 18, "holds U+202E (RIGHT-TO"),
        ("[update]", "[[components]]\nname = 'e\u0301'\n[update]", 17, "write them in one piece (NFC)"),
        ('outputs = ["payload.bin"]', "outputs = []", 14, "at least 1 item"),
        ('license = "Apache-2.0"\n', "", None, "missing key 'license'"),
        ("security_counter = 1\n", "", 16, "missing key 'security_counter' in update"),
        ("security_counter = 1", "security_counter = 4294967296", 19, "less than or equal to 4294967295"),
        ('schema = "assay.module/2"', 'schema = "assay.module/3"', 1, "is newer than"),
        ('schema = "assay.module/2"', 'schema = "assay.board/2"', 1, "expected schema 'assay.module/2'"),
        ('schema = "assay.module/2"', "", 1, 'expected schema = "assay.module/2" at the top'),
    ],
)
def test_a_fault_says_line_and_expectation(old: str, new: str, line: int | None, said: str) -> None:
    assert MODULE.count(old) == 1
    fault = fault_of(MODULE.replace(old, new))
    assert (fault.line, said in fault.message) == (line, True), fault.message
    assert fault.message.startswith(f"module.toml:{line}: " if line else "module.toml: ")


UNSEEN = [
    f"\\u{code}"
    for code in ["0007", "009b", "200b", "200f", "061c", "2066", "202e", "2028", "feff", "00a0", "e000", "000a"]
]


@pytest.mark.parametrize("char", UNSEEN)
@pytest.mark.parametrize("key", ["name", "version", "purl", "license"])
def test_what_cannot_be_seen_is_in_no_component(key: str, char: str) -> None:
    good = {"name": "x", "version": "1", "purl": "pkg:generic/x@1", "license": "MIT"}
    rows = "\n".join(f'{name} = "{text + char + "y" if name == key else text}"' for name, text in good.items())
    fault = fault_of(MODULE.replace("[update]", f"[[components]]\n{rows}\n[update]"))
    assert fault.message.startswith(f"module.toml:{17 + list(good).index(key)}: components[1].{key}: ")
    assert fault.message.isascii() and fault.message.isprintable()


@pytest.mark.parametrize("char", UNSEEN[:-1])
def test_what_cannot_be_seen_is_in_no_description(char: str) -> None:
    fault = fault_of(MODULE.replace("[[boards]]", f'description = "measures{char}"\n\n[[boards]]'))
    assert fault.message.startswith("module.toml:7: description: holds U+")
    read_manifest(MODULE.replace("[[boards]]", 'description = "a\\n\\tb"\n\n[[boards]]').encode(), "m", Module)


@pytest.mark.parametrize(
    "licence",
    ["MIT", "mit", "Apache-2.0 OR MIT", "Apache-2.0+", "GPL-2.0-only WITH Classpath-exception-2.0", "LicenseRef-own",
     "(MIT AND (ISC OR BSD-3-Clause)) OR LicenseRef-a", "DocumentRef-a:LicenseRef-b AND MIT", "GPL-2.0+", "NIST-PD-TNT",
     "GPL-2.0-only WITH AdditionRef-own"],
)  # fmt: skip
def test_a_licence_is_kept_as_it_is_written(licence: str) -> None:
    module = read_manifest(MODULE.replace("Apache-2.0", licence).encode(), "module.toml", Module)
    assert module.license == licence


@pytest.mark.parametrize(
    ("licence", "said"),
    [
        *((text, "is no SPDX expression") for text in (
            "(((", "()", "OR", "MIT AND", "AND MIT", "MIT OR OR ISC", "MIT MIT", "MIT)", "MIT/Apache-2.0", "MIT, ISC",
            " MIT", "MIT WITH", "MIT AND NOT ISC", "Apache License", "M\u0130T",
            "MIT WITH LLVM-exception WITH LLVM-exception")),
        *((text, "is no licence of the SPDX list: write LicenseRef-NAME") for text in (
            "Proprietary", "BSD", "MIT++", "LicenseRef-own+", "Classpath-exception-2.0", "MIT OR GPL")),
        *((text, "is no exception of the SPDX list") for text in ("MIT WITH ISC", "GPL-2.0-only WITH Own")),
        *((text, "is no licence: name it") for text in ("NONE", "NOASSERTION")),
        ("", "at least 1 character"), ("MIT" + " AND MIT" * 30, "at most 200 characters"),
    ],
)  # fmt: skip
def test_a_licence_that_is_none(licence: str, said: str) -> None:
    fault = fault_of(MODULE.replace("Apache-2.0", licence))
    assert fault.message.startswith("module.toml:5: license: ") and said in fault.message


def test_all_faults_are_told_at_once() -> None:
    text = (
        MODULE.replace("min_revision = 1", "min_rev = 1").replace('"1.0.0"', '"one"').replace("[update]", "[updates]")
    )
    message = fault_of(text).message
    assert [line.split(": ")[0] for line in message.splitlines()] == [f"module.toml:{line}" for line in (4, 9, 16)]


def test_keys_that_stand_nowhere_have_no_line() -> None:
    """Also where there are several of them."""
    head, _, _ = MODULE.partition("[update]")
    message = fault_of(head.replace('kind = "app"\n', "").replace('license = "Apache-2.0"\n', "")).message
    assert [line.split(" ")[:3] for line in message.splitlines()] == [["module.toml:", "missing", "key"]] * 3


BOARD = (ROOT / "boards" / "ast1030-evb.toml").read_text()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("scratch = { offset = 0xe0000, size = 0x1000 }", "scratch = { offset = 0xdf000, size = 0x1000 }", "overlaps"),
        (
            "scratch = { offset = 0xe0000, size = 0x1000 }",
            "scratch = { offset = 0xe0000, size = 0x100 }",
            "erase sectors",
        ),
        ("scratch = { offset = 0xe0000, size = 0x1000 }", "", "missing area 'scratch'"),
        ("radio_secondary = { offset = 0xf1000, size = 0x8000 }", "", "missing area 'radio_secondary'"),
        ("otp = { offset = 0xff000, size = 0x1000 }", "otp = { offset = 0xff000, size = 0x2000 }", "behind the flash"),
        ("emulated = true", "emulated = false", "emulated = true"),
        ("size = 0x100000 ", 'size = "1 MiB"', "flash.size: expected a whole number (bytes), not '1 MiB'"),
        ("handoff =", "handof =", "missing RAM range 'handoff'"),
    ],
)
def test_a_board_that_cannot_be_is_refused_on_its_line(old: str, new: str, said: str) -> None:
    assert BOARD.count(old) == 1
    fault = fault_of(BOARD.replace(old, new), Board)
    assert said in fault.message
    assert fault.line is not None


PROFILE = (ROOT / "provisioning" / "demo.toml").read_text()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('unit = "ms"', 'unit = "s"', "limits[1].unit: boot-time is measured in 'ms', not in 's'"),
        ('name = "boot-time"', 'name = "weight"', "limits[1].name: the factory does not measure 'weight'"),
    ],
)
def test_a_limit_that_nobody_measures_is_refused_on_its_line(old: str, new: str, said: str) -> None:
    assert PROFILE.count(old) == 1
    fault = fault_of(PROFILE.replace(old, new), Profile)
    assert said in fault.message
    assert fault.line == PROFILE[: PROFILE.index(old)].count("\n") + 1


def test_files_that_are_not_there_are_told(tmp_path: Path) -> None:
    with pytest.raises(ManifestFault, match="there is no such file"):
        load_module(tmp_path / "module.toml")
    with pytest.raises(UsageFault, match="lies in no project"):
        project_root(tmp_path)
    (tmp_path / "module.toml").mkdir()
    with pytest.raises(ManifestFault, match=r"cannot be read|there is no such file"):
        load_module(tmp_path / "module.toml")


@pytest.mark.parametrize("name", ["../boards/ast1030-evb", "ast1030", "", "a/b", "A"])
def test_a_board_that_is_not_there_lists_those_that_are(name: str) -> None:
    with pytest.raises(UsageFault) as caught:
        board_file(ROOT, name)
    assert "ast1030-evb" in caught.value.remedy


def test_a_board_file_carries_the_name_it_is_found_by(tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text(BOARD)
    with pytest.raises(ManifestFault, match="the board is called 'ast1030-evb'"):
        load_board(tmp_path / "other.toml")
