# SPDX-License-Identifier: Apache-2.0
"""`assay build`, `sign` and `publish` as a user types them: one JSON document, one message, the right status."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tiny_build import ROOT, VERSIONED, needs_sandbox

from assay.backends.builders import sandbox
from assay.backends.stores.result_folder import write_result
from assay.cli.main import main
from assay.errors import ExitStatus

SCRIPT = "import sys, time; open(sys.argv[1] + '/payload.bin', 'w').write('x' * 1000 + sys.argv[2])"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(ROOT / "boards", tmp_path / "boards")
    (tmp_path / "mod").mkdir()
    (tmp_path / "mod" / "module.toml").write_text(VERSIONED)
    (tmp_path / "mod" / "build.py").write_text(SCRIPT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ASSAY_SITE", str(tmp_path / "site"))
    return tmp_path


def assay(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


def test_build_sign_publish_with_json(project: Path) -> None:
    built = assay("build", "mod", "--board", "ast1030-evb", "--out", "a", "--builder", "host", "--json")
    assert (built.exit_code, json.loads(built.stdout)["artifact"]["version"]) == (0, "1.0.0")
    again = assay("build", "mod", "--board", "ast1030-evb", "--out", "a", "--builder", "host", "--json")
    assert json.loads(again.stdout)["from_cache"] is True
    signed = assay("sign", "a", "--json")
    assert json.loads(signed.stdout)["folder"] == "a.signed"
    published = assay("publish", "a.signed", "--json")
    answer = json.loads(published.stdout)
    image = (project / "a.signed" / "image.signed.bin").read_bytes()
    assert (published.exit_code, answer["reference"], len(image)) == (0, "tiny@1.0.0", 1005 + 0x200 + 187)
    assert answer["record"]["entry"]["type"] == "release"
    assert assay("publish", "a.signed").exit_code == 0


def test_for_people_the_same_in_a_few_lines(project: Path) -> None:
    told = assay("build", "mod", "--board", "ast1030-evb", "--out", "a", "--builder", "host").stdout
    assert "two builds, same bytes" in told
    assert "time zone" in told
    assert "UNSAFE-DEVELOPMENT" in assay("sign", "a").stdout
    assert "manifest  sha256:" in assay("publish", "a.signed").stdout


UNCHANGED_MAX_S = 0.5
"""Seconds of one core; a busy machine stretches the time on the clock, and not this."""


def test_an_unchanged_module_takes_less_than_half_a_second(project: Path) -> None:
    """The whole command, start of Python and all; the firmware's app takes as long (`nox -s bench -- build`)."""
    line = [sys.executable, "-m", "assay", "build", "mod", "--board", "ast1030-evb", "--out", "a", "--json"]
    subprocess.run(line, check=True, capture_output=True)

    def again() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(line, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert json.loads(done.stdout)["from_cache"] is True
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(again() for _ in range(3)) < UNCHANGED_MAX_S


@needs_sandbox
def test_the_sandbox_is_the_default_where_it_is_and_elsewhere_it_is_told(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = ("build", "mod", "--board", "ast1030-evb", "--json", "--out")
    there = assay(*line, "a")
    assert json.loads(there.stdout)["artifact"]["builder"] == "sandbox" and "without a sandbox" not in there.stderr
    monkeypatch.setattr(sandbox, "PROGRAM", "no-such-bwrap")
    monkeypatch.delenv("CI", raising=False)  # where it is set, lines of progress are not told
    sandbox.why_not.cache_clear()
    try:
        without = assay(*line, "b")
        asked = assay(*line, "c", "--builder", "sandbox")
    finally:
        sandbox.why_not.cache_clear()
    assert json.loads(without.stdout)["artifact"]["builder"] == "host"
    assert "without a sandbox (bubblewrap is not installed" in without.stderr, without.stderr
    assert (asked.exit_code, "no sandbox here" in asked.stderr) == (ExitStatus.ERROR, True), asked.stderr


def test_where_the_result_cannot_be_is_said_before_anything_is_built(project: Path) -> None:
    (project / "mod" / "build.py").write_text("raise SystemExit(9)")
    (project / "letter.txt").write_text("dear all")
    answer = assay("build", "mod", "--board", "ast1030-evb", "--out", "letter.txt", "--builder", "host")
    assert (answer.exit_code, "letter.txt is no folder" in answer.stderr) == (ExitStatus.USAGE, True), answer.stderr


def test_two_builds_that_differ_are_fail_and_say_where(project: Path) -> None:
    (project / "mod" / "build.py").write_text(SCRIPT.replace("sys.argv[2]", "str(time.time())"))
    answer = assay("build", "mod", "--board", "ast1030-evb", "--out", "a", "--builder", "host", "--json")
    document = json.loads(answer.stdout)
    assert (answer.exit_code, document["result"]) == (ExitStatus.FAIL, "FAIL")
    assert "payload.bin differs: first at offset 0x3" in document["error"]
    assert (project / "a.differing" / "second" / "payload.bin").exists()
    assert not (project / "a").exists()


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["build", "nowhere", "--board", "ast1030-evb", "--out", "a"], 2, "there is no such file"),
        (["build", "mod", "--board", "ast1030", "--out", "a"], 2, "did you mean 'ast1030-evb'?"),
        (["build", "mod", "--board", "ast1030-evb", "--out", "a", "--version", "1"], 2, "is not a version"),
        (["build", "mod", "--board", "ast1030-evb", "--out", "mod"], 2, "holds something else"),
        (["build", "mod", "--board", "ast1030-evb", "--out", "a", "--define", "x y"], 2, "is not a define"),
        (["build", "mod", "--board", "ast1030-evb", "--out", "a", "--declare-key", "image"], 2, "declares no key"),
        (
            ["build", "mod", "--board", "ast1030-evb", "--out", "a", "--declare-key", "image=absent"],
            2,
            "cannot be read",
        ),
        (["sign", "nowhere"], 2, "name a folder that the step before has made"),
        (["publish", "nowhere"], 2, "name a folder that the step before has made"),
    ],
)
def test_what_cannot_be_is_told_in_one_message(project: Path, words: list[str], status: int, said: str) -> None:
    answer = assay(*words, *(["--builder", "host"] if words[0] == "build" else []))
    assert (answer.exit_code, said in answer.stderr) == (status, True), answer.stderr
    assert sorted(path.name for path in project.iterdir() if path.name not in ("site", "boards", "mod")) == []


def test_a_project_in_a_folder_that_compilers_cannot_write_down(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was FAIL, "correct the sources"."""
    site = project / "two\nlines"
    told = assay("build", "mod", "--board", "ast1030-evb", "--out", "a", "--builder", "host", "--site", str(site))
    assert told.exit_code == ExitStatus.USAGE
    assert "two\\u{a}lines/" in told.output and "no compiler works in a folder with the character 10" in told.output
    assert not (project / "a").exists()


def test_a_changed_artifact_is_refused(project: Path) -> None:
    assay("build", "mod", "--board", "ast1030-evb", "--out", "a", "--builder", "host")
    (project / "a" / "payload.bin").write_text("other")
    answer = assay("sign", "a")
    assert (answer.exit_code, "was changed after the build" in answer.stderr) == (ExitStatus.REFUSED, True)


def test_help_does_not_load_the_heavy_parts() -> None:
    probe = (
        "import sys; from assay.cli import build, sign, publish, schema\n"
        "heavy = {'pydantic', 'cryptography', 'cyclonedx', 'rich', 'cbor2'} & set(sys.modules)\n"
        "sys.exit(f'loaded: {heavy}' if heavy else 0)"
    )
    assert subprocess.run([sys.executable, "-c", probe], check=False).returncode == 0


def _write_for_ever(folder: Path) -> None:
    number = 0
    while True:
        number += 1
        write_result(folder, {"marker": b"", "a": b"%d" % number, "sub/b": b"%d" % number}, "marker")


def test_a_result_is_whole_or_not_there_whenever_its_writer_is_killed(tmp_path: Path) -> None:
    folder, seen, attempt = tmp_path / "result", 0, 0
    while attempt < 40 or (seen == 0 and attempt < 1000):
        attempt += 1
        worker = multiprocessing.get_context("fork").Process(target=_write_for_ever, args=(folder,))
        worker.start()
        time.sleep(0.02 + 0.0007 * attempt)
        os.kill(worker.pid or 0, signal.SIGKILL)
        worker.join()
        if folder.exists():
            seen += 1
            assert (folder / "a").read_bytes() == (folder / "sub" / "b").read_bytes()
    assert seen > 0
    write_result(folder, {"marker": b""}, "marker")
    assert [path.name for path in tmp_path.iterdir()] == ["result"]
