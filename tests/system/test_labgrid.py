# SPDX-License-Identifier: Apache-2.0
"""Places of a real labgrid: its coordinator, exporter, ser2net and client, on loopback, with a twin as the board.

labgrid lives in an environment of its own (`nox -s labgrid`); without it these tests are skipped.
"""

from __future__ import annotations

import ctypes
import http.server
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from free_ports import free_port
from life_site import APP, ROOT, LifeSite, Told, environment, unit_site

from assay.drivers.twin.control import open_twin_power

SER2NET = shutil.which("ser2net", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
PROGRAMS = ROOT / ".nox" / "labgrid" / "bin"
PATIENCE_S = 100.0
SOME_CASES = "a_cut_is_off or option_that"

pytestmark = [
    pytest.mark.skipif(
        not (PROGRAMS / "labgrid-client").exists() or SER2NET is None, reason="no labgrid here: nox -s labgrid"
    ),
    pytest.mark.timeout(300),
]


@dataclass
class Lab:
    """A labgrid with one place, `desk`, which is `far` in the bench file."""

    site: LifeSite
    bench: Path
    coordinator: str
    twin: Path

    def labgrid(self, *words: str, user: str | None = None) -> subprocess.CompletedProcess[str]:
        line = [str(PROGRAMS / "labgrid-client"), "-x", self.coordinator, *words]
        other = {"LG_USERNAME": user, "LG_HOSTNAME": "elsewhere"} if user else {}
        return subprocess.run(line, capture_output=True, text=True, timeout=PATIENCE_S, env={**os.environ, **other})

    @property
    def holder(self) -> str:
        """`host/user`, as labgrid names it; empty when nobody has the place."""
        said = self.labgrid("-p", "desk", "show").stdout.splitlines()
        found = next((line.split(":", 1)[1].strip() for line in said if line.strip().startswith("acquired:")), "")
        return "" if found == "None" else found

    def verb(self, *words: str | Path) -> Told:
        return self.site.verb(*words, "--bench", self.bench)

    def started(self, *words: str) -> subprocess.Popen[bytes]:
        line = [sys.executable, "-m", "assay", "bench", "acquire", "--bench", str(self.bench)]
        return subprocess.Popen([*line, "--site", str(self.site.folder), *words], cwd=ROOT, env=environment())

    def until(self, true: Callable[[], bool], what: str) -> None:
        end_s = time.monotonic() + PATIENCE_S
        while not true():
            assert time.monotonic() < end_s, f"{what}: {self.holder!r}"
            time.sleep(0.2)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("labgrid")
    site = unit_site("ast1030-evb", folder / "site")
    site.good("twin", "start", "a")
    twin, relay = site.folder / "twins" / "a", _relay(site.folder / "twins" / "a")
    coordinator, children = f"127.0.0.1:{free_port()}", []
    resources = folder / "exporter.yaml"
    url = f"http://127.0.0.1:{relay.server_address[1]}/relay/{{index}}/{{value}}"
    resources.write_text(
        json.dumps(
            {
                "desk": {
                    "RawSerialPort": {"port": os.path.realpath(twin / "tty"), "speed": 115200},
                    "NetworkPowerPort": {"model": "simplerest", "host": url, "index": 1},
                }
            }
        )
    )
    lab = Lab(site, folder / "bench.toml", coordinator, twin)
    lab.bench.write_text(
        'schema = "assay.bench/1"\n[[places]]\nname = "far"\nboard = "ast1030-evb"\n'
        f'labgrid = {{ place = "desk", coordinator = "{coordinator}", program = "{PROGRAMS / "labgrid-client"}" }}\n'
    )
    try:
        children.append(_child(folder, "labgrid-coordinator", "-l", coordinator))
        lab.until(lambda: lab.labgrid("places").returncode == 0, "the coordinator comes up")
        words = ("-c", coordinator, "-n", "bench", "--hostname", "127.0.0.1", str(resources))
        children.append(_child(folder, "labgrid-exporter", *words))
        lab.until(lambda: "bench/desk/NetworkSerialPort" in lab.labgrid("resources").stdout, "the exporter comes up")
        for words in (("create",), ("add-match", "bench/desk/*")):
            assert lab.labgrid("-p", "desk", *words).returncode == 0
        yield lab
    finally:
        for child in reversed(children):
            child.terminate()
            child.wait(PATIENCE_S)
        relay.shutdown()
        site.verb("twin", "stop", "a")


def _child(folder: Path, program: str, *words: str) -> subprocess.Popen[bytes]:
    log = (folder / f"{program}.log").open("wb")
    path = f"{PROGRAMS}:{os.environ['PATH']}:/usr/sbin"
    return subprocess.Popen(
        [str(PROGRAMS / program), *words], stdout=log, stderr=log, cwd=folder, env={**os.environ, "PATH": path},
        preexec_fn=lambda: ctypes.CDLL(None).prctl(1, signal.SIGKILL),  # PR_SET_PDEATHSIG
    )  # fmt: skip


def _relay(twin: Path) -> http.server.ThreadingHTTPServer:
    """A relay with an HTTP interface, as labgrid's `simplerest` wants it, that switches the twin."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            power, value = open_twin_power(str(twin)), self.path.rstrip("/").split("/")[3:]
            if value:
                power.on() if value == ["1"] else power.off()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"1" if power.is_on() else b"0")

        def log_message(self, *_words: Any) -> None:
            """Quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def test_a_verb_acquires_the_place_uses_its_console_and_gives_it_back(lab: Lab) -> None:
    told = lab.verb("bench", "ask", "far")
    assert (told.status, told.data.get("board")) == (0, "ast1030-evb"), told.said
    assert lab.holder == ""


def test_who_has_it_in_labgrid_is_named_and_waited_for(lab: Lab) -> None:
    assert lab.labgrid("-p", "desk", "acquire", user="ann").returncode == 0
    told = lab.verb("bench", "ask", "far")
    assert told.status == 3 and "is used by labgrid user ann on elsewhere" in told.data["error"], told.said
    assert told.data["layer"] == "port" and lab.holder == "elsewhere/ann"
    timer = threading.Timer(3.0, lambda: lab.labgrid("-p", "desk", "release", user="ann"))
    timer.start()
    try:
        told = lab.verb("bench", "ask", "far", "--wait", str(PATIENCE_S))
        assert told.status == 0, told.said
    finally:
        timer.join()


def test_what_a_person_acquired_by_hand_is_shared_and_left(lab: Lab) -> None:
    assert lab.labgrid("-p", "desk", "acquire").returncode == 0
    try:
        assert lab.verb("bench", "ask", "far").status == 0
        assert lab.holder != ""
    finally:
        lab.labgrid("-p", "desk", "release")


def test_power_by_whatever_switch_labgrid_has(lab: Lab) -> None:
    power = open_twin_power(str(lab.twin))
    told = lab.verb("power", "off", "far")
    assert (told.status, told.data.get("power"), power.is_on()) == (0, "off", False), told.said
    told = lab.verb("power", "cycle", "far", "--off-time", "0.1")
    assert (told.status, told.data.get("power"), power.is_on()) == (0, "on", True), told.said


SWITCH = """
from assay.drivers.labgrid.client import LabgridPower
from assay.model.bench import LabgridPlace

def switch(address, *, place, program):
    return LabgridPower(LabgridPlace(place=place, coordinator=address, program=program))
"""


def test_its_switch_conforms(lab: Lab, tmp_path: Path) -> None:
    """The case that switches least, and one about faults: each call of labgrid's client takes a second."""
    (tmp_path / "theirs.py").write_text(SWITCH)
    suite = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--pyargs", "assay.conformance.power"]
    words = ["--assay-driver=theirs:switch", f"--assay-driver-address={lab.coordinator}", "-k", SOME_CASES]
    for option in ('place="desk"', f'program="{PROGRAMS / "labgrid-client"}"'):
        words += ["--assay-driver-option", option]
    assert lab.labgrid("-p", "desk", "acquire").returncode == 0
    try:
        done = subprocess.run(
            [*suite, *words, "--assay-driver-absent=127.0.0.1:1"], cwd=tmp_path, capture_output=True, text=True,
            timeout=PATIENCE_S * 3, check=False, env={**os.environ, "PYTHONPATH": str(tmp_path)},
        )  # fmt: skip
        assert done.returncode == 0 and "2 passed" in done.stdout, done.stdout + done.stderr
    finally:
        lab.verb("power", "on", "far")
        lab.labgrid("-p", "desk", "release")


def test_the_console_and_what_is_sent_to_it(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "typed").write_bytes(b"version\n")
    told = lab.verb("console", "far", "--send", tmp_path / "typed", "--seconds", "20")
    assert told.status == 0 and f"name={APP}" in json.dumps(told.data["lines"]), told.said


def _taken_away(lab: Lab) -> bool:
    """The console asks for the place again at once, and may be before ann: then it is taken away once more."""
    lab.labgrid("-p", "desk", "release", "--kick", user="admin")
    return lab.labgrid("-p", "desk", "acquire", user="ann").returncode == 0


def test_a_place_that_its_admin_takes_away_in_the_middle_of_a_console(lab: Lab, tmp_path: Path) -> None:
    """The console is told, names who has it now, and is there again when it is free."""
    line = [sys.executable, "-m", "assay", "console", "far", "--bench", str(lab.bench), "--site", str(lab.site.folder)]
    said = tmp_path / "said"

    def shows(pattern: str) -> Callable[[], bool]:
        return lambda: re.search(pattern, said.read_text(errors="replace"), re.DOTALL) is not None

    with said.open("wb") as out:
        console = subprocess.Popen([*line, "--seconds", "200"], cwd=ROOT, env=environment(), stdout=out, stderr=out)
    try:
        lab.until(shows("connected to"), "the console is there")
        lab.until(lambda: _taken_away(lab), "ann has the place")
        lab.until(shows("labgrid user ann on elsewhere"), f"who took it is named: {said.read_text()}")
        assert lab.holder == "elsewhere/ann"
        assert lab.labgrid("-p", "desk", "release", user="ann").returncode == 0
        lab.until(shows("user ann.*connected to"), f"the console comes back: {said.read_text()}")
    finally:
        console.send_signal(signal.SIGINT)
        console.wait(PATIENCE_S)
        print(said.read_text())
    lab.until(lambda: lab.holder == "", "the place is released")


def test_a_holder_that_is_killed_holds_nothing_in_labgrid(lab: Lab) -> None:
    holder = lab.started("far", "--", "sleep", "1000")
    try:
        lab.until(lambda: lab.holder != "", "the place is acquired")
        holder.send_signal(signal.SIGKILL)
        holder.wait(PATIENCE_S)
        lab.until(lambda: lab.holder == "", "the place is released")
    finally:
        holder.kill()
    assert lab.verb("bench", "ask", "far").status == 0


def test_a_hold_that_lasts_is_shared_and_given_back(lab: Lab) -> None:
    line = (sys.executable, "-m", "assay", "bench")
    more = f"--bench {lab.bench} --site {lab.site.folder}"
    assay = " ".join(line)
    script = f"{assay} acquire {more} far && {assay} ask far {more} && {assay} release far --site {lab.site.folder}"
    done = subprocess.run(
        ["sh", "-c", script], capture_output=True, text=True, timeout=120, cwd=ROOT, env=environment()
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lab.until(lambda: lab.holder == "", "the place is released")


def test_an_update_and_a_suite_over_labgrid(lab: Lab, tmp_path: Path) -> None:
    told = lab.verb(*lab.site.update_line("1.1.0", "far"))
    assert told.status == 0, told.said
    suite = tmp_path / "suite"
    suite.mkdir()
    (suite / "test_it.py").write_text(
        "def test_it(unit, console):\n    console.send('version')\n    assert unit.place == 'far'\n"
        "    assert 'version=1.1.0' in console.wait_for('ASSAY-APP 1')\n"
    )
    line = ("test", suite, "--place", "far", "--release", f"{APP}@1.1.0", "--trust", lab.site.trust)
    told = lab.verb(*line, "--results", tmp_path / "results")
    assert (told.status, told.data.get("outcome")) == (0, "PASS"), told.said
    assert lab.holder == ""


def test_the_two_suites_of_the_page_take_turns_below_one_hold(lab: Lab, tmp_path: Path) -> None:
    """Their pytest with their fixtures, then ours; the files are those of the page."""
    page = (ROOT / "docs" / "how-to" / "coming-from-labgrid-or-pytest-embedded.md").read_text()
    version = lab.verb("evidence", "--place", "far", "--trust", lab.site.trust).data["version"]
    for name, text in re.findall(r"```{code-block} \w+\n:caption: ([\w/.]+)[^\n]*\n\n(.*?)```", page, re.S):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text.replace("1.4.0", version))
    theirs = [str(PROGRAMS / "pytest"), "-q", "-p", "no:cacheprovider", "--lg-env", str(tmp_path / "old/env.yaml")]
    theirs += ["--lg-coordinator", lab.coordinator, str(tmp_path / "old")]
    ours = [sys.executable, "-m", "assay", "test", tmp_path / "new", "--place", "far", "--release", f"{APP}@{version}"]
    ours += ["--trust", lab.site.trust, "--results", tmp_path / "results"]
    ours += ["--bench", lab.bench, "--site", lab.site.folder]
    script = f"{shlex.join(theirs)} && {shlex.join(map(str, ours))}"
    words = ["--bench", lab.bench, "--site", lab.site.folder, "far", "--", "sh", "-c", script]
    done = subprocess.run(
        [sys.executable, "-m", "assay", "bench", "acquire", *words], cwd=ROOT, env=environment(),
        capture_output=True, text=True, timeout=PATIENCE_S * 4, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout and f"PASS new on far (DEMO-000001), {APP}@{version}" in done.stdout, done.stdout
    lab.until(lambda: lab.holder == "", "the place is released")


@pytest.mark.parametrize(
    ("change", "status", "says"),
    [
        (('place = "desk"', 'place = "nowhere"'), 2, "has no place nowhere"),
        (('coordinator = "', 'coordinator = "/'), 2, "coordinator"),
        (("labgrid-client", "labgrid-klient"), 3, "labgrid-klient' is not installed"),
    ],
)
def test_what_is_wrong_is_told(lab: Lab, tmp_path: Path, change: tuple[str, str], status: int, says: str) -> None:
    wrong = tmp_path / "bench.toml"
    wrong.write_text(lab.bench.read_text().replace(*change))
    told = lab.site.verb("bench", "ask", "far", "--bench", wrong)
    assert told.status == status and says in told.data["error"], told.said


def test_a_coordinator_that_is_away_is_told(lab: Lab, tmp_path: Path) -> None:
    wrong = tmp_path / "bench.toml"
    wrong.write_text(lab.bench.read_text().replace(lab.coordinator, "127.0.0.1:1"))
    told = lab.site.verb("bench", "ask", "far", "--bench", wrong)
    assert told.status == 3 and "coordinator at 127.0.0.1:1 does not answer" in told.data["error"], told.said
