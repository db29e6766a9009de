# SPDX-License-Identifier: Apache-2.0
"""What a builder has to do (`interfaces.builder.Builder`): some twenty short builds, by /bin/sh and the usual programs.

`--assay-driver-option image=sha256:...` is the image of a builder that needs one; `engine` where its service listens.
A builder that does not keep a build in (`keeps_in`) says so, and is not asked for walls.
"""

from __future__ import annotations

import os
import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from assay.backends.entry_points import installed_driver
from assay.conformance.driver_choice import choice_of
from assay.errors import AssayError, UnitFailed
from assay.interfaces.builder import Builder, BuilderSettings, BuildTask

STARTED_WITHIN_S = 60.0
LOG_CHARACTERS_MAX = 1024 * 1024


@pytest.fixture(scope="module")
def builder(request: pytest.FixtureRequest) -> Builder:
    """The builder under test."""
    choice = choice_of(request.config)
    open_builder = choice.function or installed_driver("builders", choice.name)
    return cast("Builder", open_builder(BuilderSettings(**choice.options)))


@pytest.fixture
def task(tmp_path: Path, builder: Builder) -> BuildTask:
    """A build that does nothing, with a file among its sources."""
    made = task_in(tmp_path, builder)
    (made.source / "input").write_text("declared")
    return made


def task_in(folder: Path, builder: Builder) -> BuildTask:
    """A build in new folders below `folder`."""
    source, out, cache, home = (folder / name for name in ("source", "out", "cache", "home"))
    for each in (source, out, cache, home):
        each.mkdir(parents=True)
    environment = {"PATH": builder.path, "HOME": str(home), "LC_ALL": "C"}
    return BuildTask(("true",), source, out, cache, home, environment=environment, uid=1234)


def script(task: BuildTask, text: str) -> BuildTask:
    """The same, whose command is a line for the shell."""
    return replace(task, command=("/bin/sh", "-c", text))


def result(builder: Builder, task: BuildTask, text: str) -> str:
    """What the line writes to an output."""
    builder.run(script(task, f"{{ {text}; }} > {task.out}/result"))
    return (task.out / "result").read_text().strip()


def test_it_has_a_name_and_says_what_it_is_made_of(builder: Builder) -> None:
    """They go into the provenance: a name as in `builder.id`, digests that are digests."""
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]*", builder.name)
    for tool in (*(builder.tools() or ()), *builder.parts()):
        assert tool.name and re.fullmatch(r"[0-9a-f]{64}", tool.sha256)
    assert builder.tools() == builder.tools() and builder.parts() == builder.parts()


def test_a_build_starts_among_its_sources_and_leaves_its_outputs(builder: Builder, task: BuildTask) -> None:
    """Paths are the same inside and outside."""
    assert result(builder, task, "cat input && echo && pwd").split("\n") == ["declared", str(task.source)]


def test_what_a_build_prints_is_answered(builder: Builder, task: BuildTask) -> None:
    """On both streams."""
    said = builder.run(script(task, "echo first words; echo other words >&2"))
    assert "first words" in said and "other words" in said


def test_of_a_build_that_prints_without_end_the_end_is_kept(builder: Builder, task: BuildTask) -> None:
    """Eight million characters in one line."""
    doubled = "x=0123456789abcdef; for each in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19; do x=$x$x; done"
    said = builder.run(script(task, f"{doubled}; echo $x; echo last words"))
    assert said.rstrip().endswith("last words") and len(said) < LOG_CHARACTERS_MAX


def test_a_build_that_fails_says_so_with_the_end_of_its_output(builder: Builder, task: BuildTask) -> None:
    """`UnitFailed`: the build is bad, the builder is not."""
    with pytest.raises(UnitFailed, match="last words"):
        builder.run(script(task, "echo first words; echo last words; exit 3"))


def test_a_program_that_is_not_there_is_an_error_of_ours(builder: Builder, task: BuildTask) -> None:
    """With something that a person can do."""
    with pytest.raises(AssayError) as told:
        builder.run(replace(task, command=("no-such-program-anywhere",)))
    assert told.value.message and told.value.remedy


def test_the_environment_is_the_one_of_the_task(
    builder: Builder, task: BuildTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No variable of the caller."""
    monkeypatch.setenv("ASSAY_CONFORMANCE_SECRET", "x")
    asked = replace(task, environment={**task.environment, "ASKED": "a b"})
    lines = result(builder, asked, "env").splitlines()
    assert "ASKED=a b" in lines and f"HOME={task.home}" in lines
    assert not [line for line in lines if "SECRET" in line]


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_the_umask_is_the_one_of_the_task(builder: Builder, task: BuildTask, umask: int) -> None:
    """As the build sees it; what it left can be read all the same."""
    assert int(result(builder, replace(task, umask=umask), "umask"), 8) == umask


def test_words_of_a_command_arrive_as_they_are(builder: Builder, task: BuildTask) -> None:
    """No shell reads them."""
    words = ("a b", "$HOME", "'", '"', "", "*", "\\")
    run = replace(task, command=("/bin/sh", "-c", f'printf "%s\\n" "$@" > {task.out}/result', "sh", *words))
    builder.run(run)
    assert (task.out / "result").read_text() == "".join(f"{word}\n" for word in words)


def test_what_it_claims_to_change_is_what_a_build_sees(builder: Builder, task: BuildTask) -> None:
    """User id, host name and number of processors, as far as it claims them."""
    asked = replace(task, uid=2345, hostname="birch", cpus=1)
    seen = result(builder, asked, "id -u; cat /proc/sys/kernel/hostname; nproc").split("\n")
    claims = {"user id": ("2345", seen[0]), "host name": ("birch", seen[1]), "CPU count": ("1", seen[2])}
    for name in builder.changes:
        expected, found = claims[name]
        assert found == expected, name


def test_all_processors_are_there_unless_fewer_are_asked_for(builder: Builder, task: BuildTask) -> None:
    """As many as this process may use."""
    if "CPU count" in builder.changes:
        assert int(result(builder, task, "nproc")) == len(os.sched_getaffinity(0))


def test_cache_and_home_can_be_written(builder: Builder, task: BuildTask) -> None:
    """And what is in them is there afterwards."""
    builder.run(script(task, f"echo kept > {task.cache}/file && mkdir {task.home}/x && echo x > /tmp/scratch"))
    assert (task.cache / "file").read_text() == "kept\n"


@pytest.mark.parametrize(
    "attempt",
    ["echo x > input", "echo x > new", "echo x > /etc/new", "cat {beside}", "cat {hidden}/key", "cat /etc/shadow"],
)
def test_a_build_is_kept_in(builder: Builder, task: BuildTask, tmp_path: Path, attempt: str) -> None:
    """Sources and system cannot be written; what is beside them is not there, nor are folders to be hidden."""
    if not builder.keeps_in:
        pytest.skip(f"'{builder.name}' says that it does not keep a build in")
    beside, hidden = tmp_path / "beside", tmp_path / "keys"
    beside.write_text("x")
    hidden.mkdir()
    (hidden / "key").write_text("x")
    with pytest.raises(UnitFailed):
        builder.run(replace(script(task, attempt.format(beside=beside, hidden=hidden)), hidden=(hidden,)))
    assert (task.source / "input").read_text() == "declared" and beside.read_text() == "x"


def test_there_is_no_network(builder: Builder, task: BuildTask) -> None:
    """No interface but a loopback of its own, on which nothing of this host listens."""
    if not builder.keeps_in:
        pytest.skip(f"'{builder.name}' says that it does not keep a build in")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = f":{server.getsockname()[1]:04X}"
        seen = result(builder, task, "cat /proc/net/dev /proc/net/tcp")
    assert re.findall(r"^\s*(\w+):\s+\d", seen, re.MULTILINE) in (["lo"], ["lo", "0"]) and port not in seen


def test_declared_trees_are_seen_and_not_written(builder: Builder, task: BuildTask, tmp_path: Path) -> None:
    """`seen` folders, read-only where builds are kept in."""
    (tmp_path / "sdk").mkdir()
    (tmp_path / "sdk" / "tool").write_text("from the sdk")
    asked = replace(task, seen=(tmp_path / "sdk",))
    assert result(builder, asked, f"cat {tmp_path}/sdk/tool") == "from the sdk"
    if builder.keeps_in:
        with pytest.raises(UnitFailed):
            builder.run(script(asked, f"echo x > {tmp_path}/sdk/tool"))


def test_two_builds_at_the_same_time_do_not_meet(builder: Builder, tmp_path: Path) -> None:
    """From two threads, as every module is built."""
    others = [task_in(tmp_path / name, builder) for name in ("a", "b")]
    with ThreadPoolExecutor(2) as pool:
        said = list(pool.map(lambda each: result(builder, each, "sleep 0.2; pwd"), others))
    assert said == [str(each.source) for each in others]


def test_stopping_ends_the_builds_that_run(builder: Builder, task: BuildTask) -> None:
    """Their `run` raises, soon; and no other begins. This is the last one: the builder is of no use afterwards."""
    raised: list[AssayError] = []

    def build() -> None:
        try:
            builder.run(script(task, f"touch {task.out}/started; sleep 300"))
        except AssayError as error:
            raised.append(error)

    running = threading.Thread(target=build)
    running.start()
    deadline_s = time.monotonic() + STARTED_WITHIN_S
    while not (task.out / "started").exists() and time.monotonic() < deadline_s:
        time.sleep(0.05)
    builder.stop()
    running.join(STARTED_WITHIN_S)
    assert not running.is_alive() and len(raised) == 1
    with pytest.raises(AssayError):
        builder.run(task)
