# SPDX-License-Identifier: Apache-2.0
"""`assay flash` at several places at a time: each place for itself, one answer, and one signal for all."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from life_site import APP, ROOT, VERB_TIMEOUT_S, LifeSite, environment, unit_site

from assay.model.record import RecordType
from assay.pipeline.flash_run import FlashOrder, load_ahead
from assay.pipeline.site import Site

pytestmark = pytest.mark.timeout(300)

LINE_BAUD = 19_200  # an upload takes 40 s, and can be met
END_S = 20.0  # half of that


@pytest.fixture
def site(tmp_path: Path) -> LifeSite:
    """Twins `a` and `b` are units that run 1.0.0, `c` is a blank chip."""
    site = unit_site("ast1030-evb", tmp_path / "site")
    twins = site.folder / "twins"
    shutil.copytree(twins / "a", twins / "b", symlinks=True)
    site.twin("c")
    return site


def line(site: LifeSite, *places: str) -> list[str | Path]:
    named = [word for place in places for word in ("--place", place)]
    return ["flash", f"{APP}@1.1.0", *named, "--trust", site.trust]


@contextlib.contextmanager
def running(site: LifeSite, *places: str, baud: int = LINE_BAUD) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for place in places:
            site.good("twin", "start", place, "--baud", str(baud))
            stack.callback(site.verb, "twin", "stop", place, "--force")
        yield


def flashed(site: LifeSite) -> int:
    """How many records of a flash the log has."""
    entries = Site(site.folder).records.entries()
    return sum(entry.type is RecordType.FLASH for _, entry in entries)


def begun(site: LifeSite, *places: str) -> subprocess.Popen[str]:
    """The verb, once the upload has begun at each of `places`."""
    told = {**environment(), "PYTHONUNBUFFERED": "1"}
    del told["CI"]  # lines are told
    pipe = subprocess.PIPE
    verb = subprocess.Popen(site.command(*line(site, *places)), stdout=pipe, stderr=pipe, text=True, cwd=ROOT, env=told)
    found: set[str] = set()
    assert verb.stderr is not None
    for said in verb.stderr:
        found |= {place for place in places if said.startswith(f"{place}: ")}
        if found == set(places):
            time.sleep(1.5)
            return verb
    raise AssertionError(f"ended with {verb.wait()}, and only {sorted(found)} began")


def test_what_one_place_refuses_stops_no_other(site: LifeSite) -> None:
    before = flashed(site)
    told = site.verb(*line(site, "a", "c", "b"))
    assert told.status == 4, told.said
    first, blank, last = told.data["places"]
    assert [each["place"] for each in (first, blank, last)] == ["a", "c", "b"]
    assert [each["result"] for each in (first, blank, last)] == ["PASS", "REFUSED", "PASS"]
    assert "no bootloader" in blank["error"] and "text" not in first
    assert first["read_back"] == last["read_back"] == first["image_hash"]
    assert flashed(site) == before + 2 and first["record"] != last["record"]
    assert site.good("log", "verify", "--trust", site.trust)


def test_people_read_what_each_place_answered(site: LifeSite) -> None:
    words = site.command(*line(site, "a", "c"))
    words.remove("--json")
    done = subprocess.run(words, capture_output=True, text=True, timeout=VERB_TIMEOUT_S, cwd=ROOT, env=environment())
    assert done.returncode == 4, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == f"PASS {APP}@1.1.0 on a" and lines[-1] == "REFUSED: 1 of 2 places passed"
    assert any(text.startswith("REFUSED on c: ") for text in lines)


def test_what_all_places_need_is_loaded_once(site: LifeSite) -> None:
    """ADR 0326: drivers and models come with the fork; loading them again takes each place half a second of a core."""
    told = {**environment(), "PYTHONPROFILEIMPORTTIME": "1"}
    words = site.command(*line(site, "a", "b"))
    done = subprocess.run(words, capture_output=True, text=True, timeout=VERB_TIMEOUT_S, cwd=ROOT, env=told)
    assert done.returncode == 0, done.stderr[-4000:]
    for place in ("a", "b"):
        begin = f"{place}: import time:"
        loaded = {text.rpartition("|")[2].strip() for text in done.stderr.splitlines() if text.startswith(begin)}
        assert "assay.backends.records.site_recorder" in loaded, "a place tells what it loads"
        assert not {name for name in loaded if name.startswith(("assay.drivers.mcumgr", "smp.", "assay.formats.dsse"))}


@pytest.mark.parametrize("keys", ["good", "damaged"])
def test_nothing_stays_open_over_the_fork(site: LifeSite, keys: str) -> None:
    """What is wrong with the keys is for each place to tell; a signer of ours in its hands would not end with us."""
    if keys == "damaged":
        (site.folder / "keys" / "keys.toml").write_text("no table")
    files, programs, threads = opened(), set(children(os.getpid())), set(threading.enumerate())
    ours = Site(site.folder)
    load_ahead(ours, FlashOrder(f"{APP}@1.1.0", "a", site.trust))
    assert "keys" in vars(ours), "it did not come as far as the keys"
    assert not opened() - files  # what earlier tests left may end meanwhile
    assert not set(children(os.getpid())) - programs
    assert not set(threading.enumerate()) - threads


def opened() -> set[str]:
    return {f"{each.name} {each.readlink()}" for each in Path("/proc/self/fd").iterdir() if each.is_symlink()}


def test_a_signal_reaches_each_place_and_each_says_its_state(site: LifeSite) -> None:
    with running(site, "a", "b"):
        verb = begun(site, "a", "b")
        verb.terminate()  # this process alone: it hands the signal on
        out, _ = verb.communicate(timeout=200)
        told = json.loads(out)
        assert (verb.returncode, told["error"]) == (3, "stopped by SIGTERM")
        for place in ("a", "b"):
            assert any(note.startswith(f"{place}: ") and "(in the journal: " in note for note in told["notes"]), told
    again = site.verb(*line(site, "a", "b"))
    assert again.status == 0, again.said
    assert [each["read_back"] == each["image_hash"] for each in again.data["places"]] == [True, True]


def test_places_do_not_outlive_a_verb_that_is_killed(site: LifeSite) -> None:
    with running(site, "a", "b"):
        verb = begun(site, "a", "b")
        workers = children(verb.pid)
        assert len(workers) == 2
        verb.kill()
        verb.communicate(timeout=200)
        until = time.monotonic() + END_S
        while any(Path(f"/proc/{pid}").exists() for pid in workers):
            assert time.monotonic() < until, "a place goes on without its verb"
            time.sleep(0.1)
    assert site.verb(*line(site, "a", "b")).status == 0
    assert site.good("log", "verify", "--trust", site.trust)


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_place_that_dies_is_an_error_and_the_others_go_on(site: LifeSite) -> None:
    with running(site, "a", "b", baud=115_200):
        verb = begun(site, "a", "b")
        os.kill(children(verb.pid)[0], signal.SIGKILL)
        out, _ = verb.communicate(timeout=VERB_TIMEOUT_S)
    dead, other = json.loads(out)["places"]
    assert verb.returncode == 3
    assert (dead["result"], dead["error"]) == ("ERROR", "the process of place a was ended")
    assert (other["result"], other["read_back"] == other["image_hash"]) == ("PASS", True)


def test_what_cannot_be_meant_is_a_usage_error(site: LifeSite) -> None:
    twice = site.within(*line(site, "a", "b", "a"))
    assert (twice.status, twice.data["error"]) == (2, "place a is named twice")
    before = flashed(site)
    near = site.within(*line(site, "a", "bb"))
    assert (near.status, "called 'bb'" in near.data["error"], flashed(site)) == (2, True, before)
    one = site.within(*line(site, "a", "b"), "--serial", "DEMO-000001")
    assert (one.status, "one place" in one.data["error"]) == (2, True)
