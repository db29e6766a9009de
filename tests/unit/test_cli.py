# SPDX-License-Identifier: Apache-2.0
"""The command as a person or a program meets it: start-up, help, completion, exit statuses, JSON, signals, pipes."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_store import publish

from assay.backends.ledgers.serial_ledger import SerialLedger
from assay.backends.stores.oci_layout import OciLayoutStore
from assay.cli.main import VERBS
from assay.cli.signals import REPEAT_S

START_MAX_S = 0.3
"""The promise of the README. Measured in seconds of processor time, since the tests share the machine."""

VERB = """
import os, sys, time
import click
from assay.cli import main
from assay.cli.session import Answer, verb
from assay.errors import LinkError, Refused
from assay.model.outcome import Outcome

@click.command()
@click.argument("how")
@verb
def command(session, how):
    if how == "fault":
        raise KeyError("a bug")
    if how == "bytes":
        "\\udcff".encode()
    if how == "name":
        open("x" * 5000)
    if how == "refused":
        raise Refused("the key is foreign", remedy="use another key")
    if how == "wait":
        print("ready", flush=True)
        time.sleep(30)
    if how == "wait-in-run":
        with session.site.journals.open_run("probe", "x") as run:
            run.begin("upload")
            print("ready", flush=True)
            time.sleep(30)
    if how == "long":
        return Answer("line\\n" * 100000)
    return Answer("fine", {"value": how})

sys.modules["assay.cli.probe"] = type(sys)("assay.cli.probe")
sys.modules["assay.cli.probe"].command = command
main.VERBS["probe"] = "For tests."
main.run()
"""


def assay(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "assay", *words],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )


def probe(*words: str, folder: Path, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", VERB, "probe", "--site", str(folder), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def test_every_verb_is_there_and_has_help() -> None:
    for name in VERBS:
        module = __import__(f"assay.cli.{name}", fromlist=["command"])
        assert module.command.help or getattr(module.command, "commands", None), name


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_version_and_help_answer_at_once(option: str) -> None:
    times = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert assay(option).returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(times) < START_MAX_S


def test_help_imports_no_verb() -> None:
    script = """
import sys
from assay.cli.main import main
main.main(["--help"], standalone_mode=False)
print(sorted(sys.modules))
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    for heavy in ("pydantic", "cryptography", "rich", "serial", "assay.model"):
        assert f"'{heavy}'" not in ended.stdout


@pytest.mark.parametrize("words", [["nope"], ["completion", "csh"], ["completion"], ["run", "--what"], ["--nope"]])
def test_a_wrong_command_line_is_status_2_with_and_without_json(words: list[str]) -> None:
    assert assay(*words).returncode == 2
    ended = assay(*words, "--json")
    assert ended.returncode == 2
    document = json.loads(ended.stdout)
    assert (document["status"], document["result"]) == (2, "USAGE")
    assert document["error"]


def test_a_wrong_pipeline_is_status_2_with_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "boards").mkdir()
    file = tmp_path / "p.toml"
    file.write_text('schema = "assay.pipeline/1"\nname = "p"\n[[steps]]\nname = "a"\ntitel = "A"\nrun = ["x"]\n')
    ended = assay("run", str(file), "--json")
    assert ended.returncode == 2
    assert "p.toml:5" in json.loads(ended.stdout)["error"]


def test_bash_completes_verbs_options_and_choices() -> None:
    def complete(line: str) -> list[str]:
        words = line.split(" ")
        ended = assay(_ASSAY_COMPLETE="bash_complete", COMP_WORDS=line, COMP_CWORD=str(len(words) - 1))
        return [row.partition(",")[2] for row in ended.stdout.splitlines()]

    assert complete("assay prov") == ["provision"]
    assert complete("assay completion ") == ["bash", "zsh", "fish"]
    assert "--dry-run" in complete("assay run --")
    assert complete("assay --vers") == ["--version"]


@pytest.mark.parametrize("verb", ["evidence", "flash x@1.0.0", "provision", "test suite", "trace X", "update x@1.0.0"])
def test_places_are_completed(tmp_path: Path, verb: str) -> None:
    for name in ("bench-1", "bench-2", "other"):
        (tmp_path / "twins" / name).mkdir(parents=True)
        (tmp_path / "twins" / name / "twin.json").touch()
    line = f"assay {verb} --place be"
    last = str(len(line.split(" ")) - 1)
    ended = assay(_ASSAY_COMPLETE="bash_complete", COMP_WORDS=line, COMP_CWORD=last, ASSAY_SITE=str(tmp_path))
    assert ended.stdout.splitlines() == ["plain,bench-1", "plain,bench-2"]


def test_boards_releases_and_serial_numbers_are_completed(tmp_path: Path) -> None:
    def complete(line: str) -> list[str]:
        last = str(len(line.split(" ")) - 1)
        names = {"_ASSAY_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": last}
        return [row.partition(",")[2] for row in assay(**names, ASSAY_SITE=str(tmp_path)).stdout.split()]

    assert complete("assay trace ") == complete("assay flash ") == []
    assert list(tmp_path.iterdir()) == [], "asking makes nothing"
    ledger = SerialLedger(tmp_path / "serials.sqlite")
    for number in (1, 2):
        ledger.adopt(bytes([number]) * 16, f"SN-{number}", "a test")
    ledger.close()
    store = OciLayoutStore(tmp_path / "store")
    for version in ("1.0.0", "1.1.0"):
        publish(store, version.encode(), version)
    assert complete("assay trace SN") == ["SN-1", "SN-2"]
    assert complete("assay update x@1.0.0 --serial SN-2") == ["SN-2"]
    assert complete("assay flash demo") == ["demo-sensor@1.0.0", "demo-sensor@1.1.0"]
    assert complete("assay build x --board ast") == ["ast1030-evb"]
    (tmp_path / "serials.sqlite").write_bytes(b"not a database")
    assert complete("assay trace SN") == []


def test_the_completion_script_works_in_bash(tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "assay").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m assay "$@"\n')
    (folder / "assay").chmod(0o755)
    script = """
eval "$(assay completion bash)"
COMP_WORDS=(assay doc); COMP_CWORD=1
_assay_completion assay
echo "${COMPREPLY[@]}"
"""
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    ended = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, env={**os.environ, "PATH": path}, check=False
    )
    assert ended.stdout.split() == ["doctor"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_for_all_shells(shell: str) -> None:
    ended = assay("completion", shell)
    assert ended.returncode == 0
    assert "_ASSAY_COMPLETE" in ended.stdout


def test_a_fault_of_ours_is_never_a_verdict(tmp_path: Path) -> None:
    process = probe("fault", "--json", folder=tmp_path)
    out, _ = process.communicate()
    assert (process.returncode, json.loads(out)["status"]) == (3, 3)
    assert "KeyError" in json.loads(out)["error"]
    process = probe("fault", folder=tmp_path)
    assert "Traceback" in process.communicate()[1]
    assert process.returncode == 3


def test_a_command_line_that_is_no_utf8(tmp_path: Path) -> None:
    process = probe("bytes", folder=tmp_path)
    told = process.communicate()[1]
    assert (process.returncode, told.splitlines()[0]) == (2, "USAGE: the command line is not UTF-8")


def test_what_the_system_refuses_has_no_traceback(tmp_path: Path) -> None:
    process = probe("name", folder=tmp_path)
    told = process.communicate()[1]
    assert process.returncode == 2
    assert "Traceback" not in told and "File name too long" in told and "give a shorter name" in told
    assert len(told) < 400


def test_an_error_says_what_to_do_next(tmp_path: Path) -> None:
    process = probe("refused", folder=tmp_path)
    assert process.communicate() == ("", "REFUSED: the key is foreign\n  next: use another key\n")
    assert process.returncode == 4


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_closes_the_run_and_says_what_state_things_are_in(tmp_path: Path, number: signal.Signals) -> None:
    process = probe("wait-in-run", "--json", folder=tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    out, errors = process.communicate()
    document = json.loads(out)
    assert (process.returncode, document["result"]) == (3, "ABORTED")
    assert errors.splitlines()[0] == f"ABORTED: stopped by {number.name}"
    assert "stopped in step upload; the same command goes on from there" in errors.splitlines()[-1]
    assert "no run was open" not in errors


def test_log_recover_settles_what_nobody_takes_up(tmp_path: Path) -> None:
    process = probe("wait-in-run", folder=tmp_path)
    assert process.stdout is not None
    process.stdout.readline()
    process.kill()
    process.communicate()
    for wanted in (1, 0):
        ended = assay("log", "recover", "--json", "--site", str(tmp_path))
        assert (ended.returncode, len(json.loads(ended.stdout)["runs"])) == (0, wanted)
    assert assay("log", "verify", "--site", str(tmp_path)).returncode == 0


def test_a_signal_without_a_run_says_so(tmp_path: Path) -> None:
    process = probe("wait", folder=tmp_path)
    assert process.stdout is not None
    process.stdout.readline()
    process.terminate()
    assert "nothing is half done" in process.communicate()[1].splitlines()[-1]
    assert process.returncode == 3


def test_a_second_signal_ends_a_verb_that_hangs_while_it_closes(tmp_path: Path) -> None:
    script = """
import sys, time
from assay.cli.signals import raise_on_signals
raise_on_signals()
try:
    print("ready", flush=True)
    time.sleep(30)
finally:
    print("closing", flush=True)
    end = time.monotonic() + 200
    while time.monotonic() < end:
        time.sleep(0.1)
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    before = time.monotonic()
    process.terminate()
    assert process.stdout.readline() == "closing\n"
    while process.poll() is None:  # the same wish, until it has been wished for long enough
        process.terminate()
        time.sleep(0.05)
    assert process.returncode == -signal.SIGTERM
    assert REPEAT_S < time.monotonic() - before < 100
    process.stdout.close()


def test_an_ignored_signal_stays_ignored(tmp_path: Path) -> None:
    script = """
import signal
signal.signal(signal.SIGHUP, signal.SIG_IGN)
from assay.cli.signals import raise_on_signals
raise_on_signals()
print(signal.getsignal(signal.SIGHUP) is signal.SIG_IGN, signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["True", "False"]


def test_a_reader_that_goes_away_changes_nothing(tmp_path: Path) -> None:
    process = probe("long", folder=tmp_path)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait() == 0
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()


def test_an_answer_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "assay", "completion", "bash"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert ended.returncode == 3
    assert "cannot be written" in ended.stderr


def test_no_color_is_honoured() -> None:
    """On a terminal, colours; with NO_COLOR none."""
    assert b"\x1b[" in _on_a_terminal({"NO_COLOR": ""})
    assert b"\x1b[" not in _on_a_terminal({"NO_COLOR": "1"})


def _on_a_terminal(environment: dict[str, str]) -> bytes:
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "assay", "doctor"]
    process = subprocess.Popen(
        command, stdout=theirs, stderr=theirs, env={**os.environ, "TERM": "xterm", **environment}
    )
    os.close(theirs)
    found = b""
    try:
        while data := os.read(ours, 65536):
            found += data
    except OSError:  # the terminal has no writer any more
        pass
    process.wait()
    os.close(ours)
    return found


@pytest.mark.parametrize(
    ("words", "meant"),
    [(["tset"], "test"), (["trase", "X"], "trace"), (["twin", "strat", "a"], "start"), (["zz"], "")],
)
def test_a_mistyped_verb_gets_a_suggestion(words: list[str], meant: str) -> None:
    from click.testing import CliRunner

    from assay.cli.main import main

    told = CliRunner().invoke(main, words)
    assert told.exit_code == 2
    assert f"No such command '{words[-2] if words[0] == 'twin' else words[0]}'" in told.output
    assert (f"Did you mean {meant}" in told.output) if meant else ("Did you mean" not in told.output)


def test_a_mistyped_place_gets_a_suggestion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from assay.errors import UsageFault
    from assay.pipeline.places import find_place
    from assay.pipeline.site import Site

    (tmp_path / "boards").mkdir()
    for name in ("demo-unit", "other"):
        (tmp_path / "site" / "twins" / name).mkdir(parents=True)
        (tmp_path / "site" / "twins" / name / "twin.json").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageFault, match=r"did you mean demo-unit\? known: demo-unit, other"):
        find_place(Site(tmp_path / "site"), "demo-unti")


def test_a_twin_cannot_end_with_a_process_that_is_gone(tmp_path: Path) -> None:
    from click.testing import CliRunner

    from assay.cli.twin import command

    gone = subprocess.Popen(["true"])
    gone.wait()
    told = CliRunner().invoke(command, ["start", "a", "--owner-pid", str(gone.pid), "--site", str(tmp_path)])
    assert told.exit_code == 2
    assert f"there is no process {gone.pid}" in told.output
    assert "--owner-pid" in told.output
    assert "disk" not in told.output
