# SPDX-License-Identifier: Apache-2.0
"""A suite sees and changes what it is there for, and nothing else: keys, records, results, files."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from hil_unit import (
    Unit,
    needs_sandbox,
    no_process_is_left,
    statement,
    unit,
)
from life_site import ROOT, environment

__all__ = ["no_process_is_left", "unit"]


@needs_sandbox
def test_a_suite_can_neither_read_the_keys_nor_write_the_records(unit: Unit) -> None:
    told = unit.test(f"""
SITE = pathlib.Path({str(unit.site.folder)!r})
def test_keys(unit):
    assert list((SITE / "keys").iterdir()) == []
def test_roots_of_other_processes(unit):
    roots = [path for path in pathlib.Path("/proc").glob("[0-9]*/root") if (path / str(SITE)[1:] / "keys").exists()]
    assert [name for path in roots for name in os.listdir(path / str(SITE)[1:] / "keys")] == []
@pytest.mark.parametrize("name", ["records/x", "log/x", "store/x", "keys.toml", "journal.sqlite"])
def test_write(unit, name):
    with pytest.raises(OSError):
        (SITE / name).write_bytes(b"x")
def test_environment(unit):
    assert not [name for name in os.environ if "KEY" in name or name == "SECRET_OF_THE_CALLER"]
""")
    assert told.status == 0, told.said
    assert told.data["sandbox"] == "bubblewrap"
    assert list((unit.site.folder / "keys").iterdir())


@needs_sandbox
def test_a_suite_sees_nothing_of_this_machine_that_it_does_not_need(unit: Unit, tmp_path: Path) -> None:
    secret = tmp_path / "another-project" / "secret"
    secret.parent.mkdir()
    secret.write_text("of somebody else")
    unit.site.twin("other")
    suite = f"""
import socket
SECRET = pathlib.Path({str(secret)!r})
def test_files(unit, power):
    power.cycle()
    assert pathlib.Path({str(ROOT)!r}, "boards").is_dir()
    assert not SECRET.exists()
    (SITE / "twins" / "u" / "note").touch()
    with pytest.raises(OSError):
        (SITE / "twins" / "other" / "note").touch()
    assert os.listdir("/dev/pts") == [os.path.basename(os.readlink(SITE / "twins" / "u" / "tty"))]
    assert [name for name in os.listdir("/tmp") if name.startswith("assay-test-sites")] == []
SITE = pathlib.Path({str(unit.site.folder)!r})
def test_network(unit):
    assert [name for _, name in socket.if_nameindex()] == ["lo"]
"""
    told = unit.test(suite)
    assert told.status == 0, told.said
    bench = statement(unit.site, told.data["record"])["predicate"]["urn:assay:test-run:v1"]
    assert "sandbox_opened" not in bench
    opened = unit.test(suite, "--sandbox-bind", str(secret.parent), "--sandbox-net")
    assert (opened.status, next(case["outcome"] for case in opened.data["cases"])) == (1, "FAIL"), opened.said
    bench = statement(unit.site, opened.data["record"])["predicate"]["urn:assay:test-run:v1"]
    assert bench["sandbox_opened"] == [str(secret.parent), "network"]
    for refused in (unit.site.folder, "/", "/nowhere", "relative"):
        assert unit.test("def test_it(unit): pass", "--sandbox-bind", str(refused)).status == 2


CHANGES_ITSELF = "def test_it(unit): pathlib.Path(__file__).write_text('def test_it(): pass')"


@needs_sandbox
def test_a_suite_cannot_change_itself(unit: Unit) -> None:
    told = unit.test(CHANGES_ITSELF)
    (case,) = told.data["cases"]
    assert (told.status, case["outcome"], "Read-only file system" in case["message"]) == (3, "ERROR", True)


def test_without_a_sandbox_it_is_said_and_a_suite_that_changes_itself_is_error(unit: Unit, tmp_path: Path) -> None:
    for program in ("qemu-system-arm", "git"):
        (tmp_path / program).symlink_to(str(shutil.which(program)))
    done = subprocess.run(
        unit.site.command(*unit.line(unit.suite(CHANGES_ITSELF))),
        cwd=ROOT, env=environment() | {"PATH": str(tmp_path)}, capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    told = json.loads(done.stdout)
    assert (done.returncode, told["reason"]) == (3, "the suite's files changed while it ran")
    assert told["sandbox"] == "none"
    assert "no sandbox, the tests could read this site's keys: bubblewrap is not installed" in done.stderr


def test_results_that_somebody_else_wrote_prove_nothing(unit: Unit) -> None:
    told = unit.test("""
def test_it(unit, request):
    events = pathlib.Path(request.config.getoption("--assay-events"))
    (events / "gw9.events.jsonl").write_text("all is well\\n")
""")
    assert (told.status, told.data["record_type"]) == (3, "run")
    assert "gw9.events.jsonl:1: not an event" in told.data["reason"]
