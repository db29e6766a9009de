# SPDX-License-Identifier: Apache-2.0
"""`labgrid-client` as a program: what it is asked, what its words mean, and where a place's console is.

Guards: labgrid's fork of pyserial is never in our environment; whatever it says becomes one of our errors; no call
lasts without end. Leaves to others: holding a place (`hold`), opening its console (`serial_transport`).
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from assay.errors import InfrastructureError, LinkError, PlaceBusy, ToolMissing, UsageFault
from assay.model.bench import LabgridPlace

CALL_TIMEOUT_S = 60.0
"""One call of labgrid-client: it takes a second, and asks the exporter, which starts ser2net."""
INSTALL = (
    "make an environment for it (python -m venv DIR; DIR/bin/pip install labgrid), and name it in bench.toml: "
    'program = "DIR/bin/labgrid-client"'
)
RFC2217_OPTIONS = "ign_set_control&timeout=10"
"""As labgrid opens its own ports: ser2net does not acknowledge control lines on every kind of port."""
_TAKEN = re.compile(r"already acquired by (?P<host>[^\s/]+)/(?P<user>\S+?)\.(?:\s|$)")
_ELSEWHERE = re.compile(r"You have already acquired place \S+ on (?P<host>\S+?)\.(?:\s|$)")
_OURS = re.compile(r"You have already acquired place \S+?\.\s*$", re.MULTILINE)
_RESOURCE = re.compile(
    r"^Acquired resource '(?P<name>[^']*)' \(\S+/NetworkSerialPort/\S*\):\n(?P<data>(?:  .*\n)+)", re.MULTILINE
)


def words_for(place: LabgridPlace) -> list[str]:
    """The command line up to the verb. Raises ToolMissing."""
    program = shutil.which(place.program)
    if program is None:
        raise ToolMissing(f"labgrid's client {place.program!r} is not installed", remedy=INSTALL)
    return [program, "-x", place.coordinator, "-p", place.place]


def folders_of(place: LabgridPlace) -> tuple[Path, ...]:
    """What has to be seen for the client to run: its environment, and the Python that this was made of."""
    environment_of = Path(words_for(place)[0]).absolute().parent.parent.resolve()
    python = (environment_of / "bin" / "python").resolve()
    return environment_of, python.parent.parent


def environment() -> dict[str, str]:
    """Ours, without what would name another place or coordinator."""
    return {name: value for name, value in os.environ.items() if name not in ("LG_PLACE", "LG_ENV", "LG_COORDINATOR")}


def ask(place: LabgridPlace, *words: str) -> str:
    """What the client says. Raises what `judge` does."""
    try:
        done = subprocess.run(
            [*words_for(place), *words],
            capture_output=True, text=True, errors="replace", env=environment(), timeout=CALL_TIMEOUT_S,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise LinkError(
            f"labgrid-client {words[0]} of place {place.place} did not end in {CALL_TIMEOUT_S:g} s",
            remedy=f"look at the coordinator ({place.coordinator}) and at the exporter of the place",
        ) from error
    if done.returncode:
        judge(place, words[0], done.stdout + done.stderr)
    return done.stdout


def is_ours_already(said: str) -> bool:
    """True when the person that we run as has acquired the place on this host."""
    return _OURS.search(said) is not None


def judge(place: LabgridPlace, verb: str, said: str) -> None:
    """Raises the error that labgrid's words mean: PlaceBusy naming who has it, UsageFault, LinkError."""
    if taken := _TAKEN.search(said):
        raise PlaceBusy(
            f"labgrid place {place.place} is used by labgrid user {taken['user']} on {taken['host']}",
            remedy=f"ask {taken['user']}, or wait (--wait)",
        )
    if elsewhere := _ELSEWHERE.search(said):
        raise PlaceBusy(
            f"labgrid place {place.place} is used by you, on {elsewhere['host']}",
            remedy="release it there, or wait (--wait)",
        )
    if "already acquired by place" in said:
        raise PlaceBusy(f"labgrid: {_last_line(said)}", remedy="wait (--wait), or release the other place")
    if "matches nothing" in said:
        raise UsageFault(
            f"the labgrid coordinator at {place.coordinator} has no place {place.place}",
            remedy=f"labgrid-client -x {place.coordinator} places lists them",
        )
    if "oordinator" in said and ("unavailable" in said or "Could not connect" in said):
        raise LinkError(
            f"the labgrid coordinator at {place.coordinator} does not answer",
            remedy="start it, or correct `coordinator` of the place in bench.toml",
        )
    raise InfrastructureError(
        f"labgrid-client {verb} of place {place.place}: {_last_line(said)}",
        remedy=f"try it by hand: labgrid-client -x {place.coordinator} -p {place.place} {verb}",
    )


def console_of(place: LabgridPlace) -> str:
    """The address of the place's console, for pyserial. The place has to be ours: its exporter opens the port then.

    Raises UsageFault when there is none or several, LinkError when it is away.
    """
    ports = _serial_ports(ask(place, "show"))
    if place.console is not None:
        ports = {name: data for name, data in ports.items() if name == place.console}
    if len(ports) != 1:
        names = ", ".join(sorted(ports)) or "none"
        raise UsageFault(
            f"labgrid place {place.place} has {len(ports)} serial ports here: {names}",
            remedy='name one in bench.toml: labgrid = { ..., console = "NAME" }',
        )
    ((name, data),) = ports.items()
    parameters = data.get("params", {})
    if not data.get("avail") or not parameters.get("port"):
        raise LinkError(
            f"the serial port {name} of labgrid place {place.place} is not there",
            remedy="look at the exporter: is the board connected, and ser2net installed?",
        )
    if parameters.get("extra", {}).get("proxy_required"):
        raise UsageFault(
            f"the serial port {name} of labgrid place {place.place} is reached through labgrid's SSH proxy only",
            remedy="run the exporter without --isolated, or forward the port yourself and name it as `port`",
        )
    where = f"{parameters['host']}:{parameters['port']}"
    if parameters.get("protocol") == "raw":
        return f"socket://{where}"
    return f"rfc2217://{where}?{RFC2217_OPTIONS}"


def _serial_ports(said: str) -> dict[str, dict[str, Any]]:
    """The serial ports that `labgrid-client show` tells of; it prints them as Python writes dictionaries."""
    found = {}
    for match in _RESOURCE.finditer(said):
        try:
            data = ast.literal_eval(match["data"].strip())
        except (ValueError, SyntaxError) as error:
            raise InfrastructureError(
                f"labgrid's words are not understood: {match['data'][:80]!r}", remedy="use labgrid 24 to 26"
            ) from error
        if isinstance(data, dict):
            found[match["name"]] = data
    return found


def _last_line(said: str) -> str:
    return (said.strip().splitlines() or ["it said nothing"])[-1]


class LabgridPower:
    """`interfaces.power.Power` by whatever power driver labgrid has for the place, which has to be ours."""

    def __init__(self, place: LabgridPlace) -> None:
        self._place = place

    def on(self) -> None:
        """Power on."""
        ask(self._place, "power", "on")

    def off(self) -> None:
        """Power off."""
        ask(self._place, "power", "off")

    def cycle(self, off_s: float = 0.05) -> None:
        """Off for at least `off_s` seconds, then on: a call takes a second by itself."""
        self.off()
        time.sleep(off_s)
        self.on()

    def cut(self) -> None:
        """As `off`."""
        self.off()

    def is_on(self) -> bool:
        """What the switch says. Raises InfrastructureError for one that cannot be asked."""
        said = ask(self._place, "power", "get")
        if not (state := re.search(r" is (on|off)\s*$", said)):
            raise InfrastructureError(f"labgrid's switch says {_last_line(said)!r}", remedy="look at its driver")
        return state[1] == "on"
