# SPDX-License-Identifier: Apache-2.0
"""Flashing a unit that is a host: files by SFTP, and a command of its own that uses them: driver `sftp`.

Guards: the command runs only after the unit computed the digest of every file where it lies, and it was the right one;
words are words, never a text for a shell. Leaves to others: what the command does with a file.

In words of commands `{path}` and `{sha256}` are those of the file.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from assay.drivers.ssh.opening import open_ssh
from assay.drivers.ssh.remote_path import checked_path
from assay.errors import DeviceTimeout, InfrastructureError, LinkError, UnitFailed, UsageFault
from assay.formats.visible_text import visible
from assay.interfaces.device import Progress
from assay.interfaces.flasher import Action, FlashPlan, Identity, Part, ReadBack
from assay.interfaces.remote_host import STATUS_UNKNOWN, RemoteResult
from assay.model.ssh import SshAddress

if TYPE_CHECKING:
    from assay.drivers.ssh.host import SshHost

ASK_TIMEOUT_S = 30.0
WORDS_SHOWN = 200
UP_AGAIN_S = 1.0
BOOT_ID = "/proc/sys/kernel/random/boot_id"
BOOT_ID_MAX = 64
_SHA256 = re.compile(r"\\?([0-9a-f]{64})\b")


class SftpFlasher:
    """One unit behind an SSH address."""

    def __init__(
        self, host: SshHost, commands: dict[str, tuple[str, ...]], use_timeout_s: float, up_s: float, reboots: bool
    ) -> None:
        self._host = host
        self._commands = commands
        self._use_timeout_s = use_timeout_s
        self._up_s = up_s
        self._reboots = reboots
        self.name = f"SFTP to {host.name}"

    def identify(self) -> Identity:
        """Kind and chip as the unit's own commands tell them, and the key that it has shown."""
        told = {which: self._told(which) for which in ("kind", "chip") if self._commands[which]}
        facts = (("host", self._host.name), ("host key", self._host.host_key()))
        return Identity(chip=told.get("chip"), kind=told.get("kind"), facts=facts)

    def plan(self, parts: Sequence[Part]) -> FlashPlan:
        """Each file to its path, then what uses it. Raises UsageFault for a part without a path."""
        actions: list[Action] = []
        for part in parts:
            actions.append(Action("write", where=_path(part), size=part.size))
            if self._commands["use"]:
                actions.append(Action("use", _filled(self._commands["use"], part)))
        if self._commands["reset"]:
            actions.append(Action("reset", self._commands["reset"]))
        return FlashPlan(tuple(parts), tuple(actions))

    def write(self, plan: FlashPlan, progress: Progress) -> None:
        """All files first, each verified where it lies; then they are used, in the same order."""
        total, before = sum(part.size for part in plan.parts), 0
        for part in plan.parts:
            self._put(part, before, total, progress)
            before += part.size
        progress(total, total)
        for part in plan.parts if self._commands["use"] else ():
            self._use(part)

    def read_back(self, plan: FlashPlan, progress: Progress) -> tuple[ReadBack, ...]:
        """The digest of each file as the unit tells it now: by `digest`, else of the file where it lies."""
        told = tuple(self._digest(part) for part in plan.parts)
        total = sum(part.size for part in plan.parts)
        progress(total, total)
        return told

    def reset(self) -> None:
        """By the command `reset`, which may end the link, and the unit is back afterwards; without one nothing."""
        words = self._commands["reset"]
        if not words:
            return
        boot = self._boot() if self._reboots else b""
        if not self._reboots:
            self._host.wait_up(ASK_TIMEOUT_S)  # a link that is down already is no host that went down by the command
        with suppress(LinkError):  # it went down before it could say so
            ended = self._host.run(words, timeout_s=ASK_TIMEOUT_S)
            if ended.status not in (0, STATUS_UNKNOWN):
                raise _said_no("reset", words, ended)
        self._wait_for_another(boot)

    def _wait_for_another(self, boot: bytes) -> None:
        """Until the host is up in another boot than `boot`: a host that is told to restart lives on for a while."""
        deadline_s = time.monotonic() + self._up_s
        while True:
            last = ""
            try:
                self._host.wait_up(max(UP_AGAIN_S, deadline_s - time.monotonic()))
                if not boot or self._boot() != boot:
                    return
            except InfrastructureError as error:  # on its way down or up: no link, no SFTP any more, no logins yet
                last = f": {error.message}"
            if time.monotonic() > deadline_s:
                raise DeviceTimeout(
                    f"{self._host.name} did not restart within {self._up_s:g} s{last}",
                    remedy="look at its console, or give it more time (`up_s`)",
                )
            time.sleep(UP_AGAIN_S)

    def _boot(self) -> bytes:
        return self._host.get(BOOT_ID, BOOT_ID_MAX)

    def close(self) -> None:
        """Hang up."""
        self._host.close()

    def _put(self, part: Part, before: int, total: int, progress: Progress) -> None:
        def moved(done: int, _size: int) -> None:
            progress(before + done, total)

        self._host.put(part.data, _path(part), part.sha256, progress=moved)

    def _use(self, part: Part) -> None:
        words = _filled(self._commands["use"], part)
        ended = self._host.run(words, timeout_s=self._use_timeout_s)
        if ended.status == STATUS_UNKNOWN:
            raise InfrastructureError(
                f"{words[0]} on {self._host.name} was killed, and what it did is not known",
                remedy="look at the unit, then flash it again",
            )
        if not ended.ok:
            raise _said_no("use", words, ended)

    def _digest(self, part: Part) -> ReadBack:
        words = _filled(self._commands["digest"], part)
        if not words:
            found, by = self._host.sha256_of(_path(part)), "its sha256sum"
        else:
            ended = self._host.run(words, timeout_s=self._use_timeout_s)
            match = _SHA256.match(ended.stdout.decode(errors="replace"))
            if not ended.ok or match is None:
                raise _said_no("digest", words, ended)
            found, by = match[1], words[0]
        if found != part.sha256:
            raise UnitFailed(
                f"{self._host.name} has {part.name} with the SHA-256 {found}, written was {part.sha256}",
                remedy="look at the unit's storage, and at what uses the file",
            )
        says = f"; it says: {self._told('says')}" if self._commands["says"] else ""
        return ReadBack(part.name, part.where, part.size, found, "device", f"by {by} on {self._host.name}{says}")

    def _told(self, which: str) -> str:
        """The first line that a command of the unit says."""
        words = self._commands[which]
        ended = self._host.run(words, timeout_s=ASK_TIMEOUT_S)
        lines = ended.stdout.replace(b"\0", b"").decode(errors="replace").strip().splitlines()
        if not ended.ok or not lines:
            said = visible(ended.words)[:WORDS_SHOWN] or "nothing"
            raise InfrastructureError(
                f"{words[0]} on {self._host.name} does not tell `{which}`; it says: {said}",
                remedy=f"correct `{which}` of the board's flasher",
            )
        return visible(lines[0])[:WORDS_SHOWN]


def open_sftp(
    address: str = "", *, ssh: SshAddress | None, use: Sequence[str] = (), digest: Sequence[str] = (),
    says: Sequence[str] = (), kind: Sequence[str] = (), chip: Sequence[str] = (), reset: Sequence[str] = (),
    use_timeout_s: float = 600.0, up_s: float = 120.0, reboots: bool = True,
) -> SftpFlasher:  # fmt: skip
    """Driver `sftp`: `ssh` is the place's; the options are commands, each a list of words. Raises UsageFault."""
    if ssh is None or address:
        raise UsageFault("the flasher sftp goes to the place's host", remedy="add `ssh` to the place in bench.toml")
    given = {"use": use, "digest": digest, "says": says, "kind": kind, "chip": chip, "reset": reset}
    for name, words in given.items():
        if isinstance(words, str) or any(not isinstance(word, str) for word in words):
            raise UsageFault(
                f"option {name!r} of the flasher sftp is no command: {words!r}",
                remedy=f'write its words: {name} = ["program", "argument"]',
            )
    commands = {name: tuple(words) for name, words in given.items()}
    return SftpFlasher(open_ssh(ssh), commands, use_timeout_s, up_s, reboots)


def _filled(words: tuple[str, ...], part: Part) -> tuple[str, ...]:
    return tuple(word.replace("{path}", _path(part)).replace("{sha256}", part.sha256) for word in words)


def _path(part: Part) -> str:
    if not isinstance(part.where, str):
        raise UsageFault(
            f"the flasher sftp needs a path for '{part.name}'",
            remedy=f'write addresses = {{ {part.name} = "/path/on/the/unit" }} into the board\'s flasher',
        )
    return str(checked_path(part.where))


def _said_no(which: str, words: Sequence[str], ended: RemoteResult) -> UnitFailed:
    return UnitFailed(
        f"{which}: {words[0]} ended with status {ended.status}, and says: {visible(ended.words)[:WORDS_SHOWN]}",
        remedy="look at the unit",
    )
