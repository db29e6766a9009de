# SPDX-License-Identifier: Apache-2.0
"""Power by somebody's program: `program` (any command), `uhubctl` (USB hubs), `ssh` (a command on another host).

Guards: commands are argument lists and never meet a shell of ours; a program that is missing, fails or hangs is named
with its last words; ssh asks nobody anything and knows its host beforehand.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Sequence

from assay.drivers.power.switch import Switch
from assay.errors import InfrastructureError, ToolMissing, UsageFault
from assay.formats.visible_text import visible

PROGRAM_WAIT_S = 20.0  # uhubctl tries a hub several times; a login over a slow link takes 6 s
WORDS_SHOWN = 200  # characters of what a program said last

SSH_OPTIONS = (
    "BatchMode=yes", "StrictHostKeyChecking=yes", "NoHostAuthenticationForLocalhost=no", "VerifyHostKeyDNS=no",
    "ConnectTimeout=10", "ServerAliveInterval=3",
)  # fmt: skip
"""Of an option that is given twice ssh takes the first."""
SSH_HOST_KEYS = (
    "stricthostkeychecking", "userknownhostsfile", "globalknownhostsfile", "knownhostscommand", "hostkeyalias",
    "nohostauthenticationforlocalhost", "verifyhostkeydns",
)  # fmt: skip
"""ssh's options that decide which host key is accepted, in small letters: not for a bench file."""
SSH_BROKEN = 255  # ssh's own status when the link or the login failed

_UHUBCTL_PORT = re.compile(r"^\s*Port\s+(\d+):\s+([0-9a-fA-F]{4})\b(.*)$", re.MULTILINE)


class ProgramSwitch(Switch):
    """`status` is a command whose exit status is 0 for on and 1 for off; without it the switch cannot be asked."""

    def __init__(self, on: Sequence[str], off: Sequence[str], status: Sequence[str], name: str) -> None:
        super().__init__()
        self._on, self._off, self._status, self.name = tuple(on), tuple(off), tuple(status), name

    def tell(self, on: bool) -> None:
        """Raises ToolMissing, InfrastructureError."""
        _said(self._on if on else self._off)

    def ask(self) -> bool | None:
        """Raises ToolMissing, InfrastructureError."""
        if not self._status:
            return None
        ended = _run(self._status)
        if ended.returncode not in (0, 1):
            raise _failed(self._status, ended)
        return ended.returncode == 0


class UhubctlSwitch(Switch):
    """One port of a USB hub that can switch it."""

    def __init__(self, hub: str, port: int) -> None:
        super().__init__()
        self._words = ("uhubctl", "-l", hub, "-p", str(port))
        self._port = port
        self.name = f"port {port} of USB hub {hub}"

    def tell(self, on: bool) -> None:
        """Raises ToolMissing, InfrastructureError."""
        _said((*self._words, "-a", "on" if on else "off"))

    def ask(self) -> bool:
        """Raises ToolMissing, InfrastructureError."""
        said = _said(self._words)
        for number, _, flags in _UHUBCTL_PORT.findall(said):
            if int(number) == self._port:
                return "power" in flags.split()
        raise InfrastructureError(f"uhubctl does not show {self.name}", remedy="uhubctl lists the hubs that can switch")


def open_program(
    address: str = "", *, on: Sequence[str], off: Sequence[str], status: Sequence[str] = ()
) -> ProgramSwitch:
    """Driver `program`: commands as argument lists; `{address}` in a word is the address. Raises UsageFault."""
    first, second = _command("on", on, address), _command("off", off, address)
    return ProgramSwitch(first, second, _command("status", status, address), f"the switch behind {first[0]}")


def open_ssh(
    address: str, *, on: Sequence[str], off: Sequence[str], status: Sequence[str] = (), options: Sequence[str] = ()
) -> ProgramSwitch:
    """Driver `ssh`: commands on the host `address` (`user@host`, or a name of ssh_config); `options` are words for ssh.

    The host's key has to be known, and no option says which are. Raises UsageFault.
    """
    if not address or address.startswith("-"):
        raise UsageFault(f"{address!r} is no host for ssh", remedy="write it as user@host in the place's power.address")
    _leave_host_keys(options)
    ssh = ("ssh", *(word for option in SSH_OPTIONS for word in ("-o", option)), "-T", *options, address, "--")

    def over_ssh(name: str, words: Sequence[str]) -> tuple[str, ...]:
        # ssh joins its words with blanks and gives them to a shell there: quoted, they arrive as they left.
        return (*ssh, shlex.join(_command(name, words, "")))

    asking = over_ssh("status", status) if status else ()
    return ProgramSwitch(over_ssh("on", on), over_ssh("off", off), asking, f"the switch on {address}")


def open_uhubctl(address: str, *, port: int) -> UhubctlSwitch:
    """Driver `uhubctl`: `address` is the hub's location as uhubctl lists it (`1-1.4`). Raises UsageFault."""
    if not re.fullmatch(r"[0-9]+(-[0-9]+(\.[0-9]+)*)?", address):
        raise UsageFault(f"{address!r} is no location of a hub", remedy="take it from uhubctl's list: 1-1.4")
    if isinstance(port, bool) or not isinstance(port, int) or port < 1:
        raise UsageFault(f"{port!r} is no port of a hub", remedy="ports are numbered from 1")
    return UhubctlSwitch(address, port)


def _leave_host_keys(options: Sequence[str]) -> None:
    for word in options:
        if any(name in word.lower() for name in SSH_HOST_KEYS):
            raise UsageFault(
                f"power option {word!r} decides which host keys are accepted",
                remedy="take it out: the key belongs into the known_hosts of who runs assay",
            )


def _command(name: str, words: Sequence[str], address: str) -> tuple[str, ...]:
    if isinstance(words, str) or (name != "status" and not words) or any(not isinstance(word, str) for word in words):
        raise UsageFault(
            f"power option {name!r} is no command: {words!r}",
            remedy=f'write its words: {name} = ["program", "argument"]',
        )
    return tuple(word.replace("{address}", address) for word in words)


def _said(words: Sequence[str]) -> str:
    ended = _run(words)
    if ended.returncode != 0:
        raise _failed(words, ended)
    return ended.stdout


def _run(words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    if shutil.which(words[0]) is None:
        package = {"ssh": "openssh-client"}.get(words[0], words[0])
        remedy = "put it there, or correct its path" if "/" in words[0] else f"apt-get install {package}"
        raise ToolMissing(f"the program {words[0]} is not installed", remedy=remedy)
    try:
        return subprocess.run(
            list(words), stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
            timeout=PROGRAM_WAIT_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise InfrastructureError(
            f"{words[0]} did not end within {PROGRAM_WAIT_S:g} s", remedy="run it by hand and see"
        ) from error
    except OSError as error:
        raise ToolMissing(f"cannot run {words[0]}: {error.strerror}", remedy="look at its file") from error


def _failed(words: Sequence[str], ended: subprocess.CompletedProcess[str]) -> InfrastructureError:
    last = [line.strip() for line in (ended.stdout + "\n" + ended.stderr).splitlines() if line.strip()]
    said = visible(last[-1])[:WORDS_SHOWN] if last else "nothing"
    if words[0] == "ssh" and ended.returncode == SSH_BROKEN:
        said = visible("; ".join(last[-2:]))[:WORDS_SHOWN] if last else "nothing"  # why comes before what
        remedy = "the host's key has to be in known_hosts, and a key of yours allowed there: try the same ssh by hand"
        return InfrastructureError(f"ssh does not get there: {said}", remedy=remedy)
    return InfrastructureError(
        f"{words[0]} failed with status {ended.returncode}, and says: {said}", remedy="run it by hand and see"
    )
