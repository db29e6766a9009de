# SPDX-License-Identifier: Apache-2.0
"""The PIN of a token, from where `keys.toml` says that it comes.

Guards: a PIN is in no argument, no log and no error; a file that others can read is refused; a person is asked only
where there is one. Leaves to others: what happens to a wrong PIN (`wrong_pin`).
"""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import subprocess
import termios
import time
from collections.abc import Iterator
from pathlib import Path

from assay.errors import InfrastructureError, Refused
from assay.interfaces.readiness import readable
from assay.interfaces.signer import KeyPlace
from assay.model.keys import PinSource

COMMAND_WITHIN_S = 30.0
"""Seconds that a command gets to print a PIN; it may ask a password store."""

PROMPT_WITHIN_S = 120.0
"""Seconds that a person gets to type it."""

PIN_BYTES_MAX = 256
"""More than any token takes (PKCS#11 tokens say 255 at most)."""

_GROUP_OR_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def read_pin(token: str, source: PinSource, place: KeyPlace) -> str:
    """The PIN of `token`. Raises `Refused` where none can be had, `InfrastructureError` for a command that fails."""
    if source.env is not None:
        found = place.secrets.get(source.env) or os.environ.get(source.env, "")
        missing = f"the variable {source.env} is not set"
    elif source.file is not None:
        found, missing = _from_file(place.folder / source.file), f"the file {place.folder / source.file} is empty"
    elif source.command is not None:
        place.announce(f"the command that gives the PIN of the token '{token}'", COMMAND_WITHIN_S + 1)
        found, missing = _from_command(token, source.command, place.folder), "its command printed nothing"
    else:
        place.announce(f"a person to type the PIN of the token '{token}'", PROMPT_WITHIN_S + 1)
        found, missing = ask(token), "nothing was typed"
    if not found or "\0" in found or len(found.encode()) > PIN_BYTES_MAX:
        raise Refused(f"there is no PIN for the token '{token}': {missing}", remedy="see [tokens] in keys.toml")
    return found


def _from_file(path: Path) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise Refused(f"{path} is no plain file", remedy="name the file with the PIN")
            if found.st_mode & _GROUP_OR_OTHERS:
                mode = stat.S_IMODE(found.st_mode)
                raise Refused(f"the PIN in {path} can be read by others (mode {mode:04o})", remedy=f"chmod 600 {path}")
            if found.st_uid not in (os.geteuid(), 0):
                raise Refused(f"{path} belongs to another user, who knows the PIN", remedy="make it your own")
            return _first_line(file.read(PIN_BYTES_MAX + 2))
    except OSError as error:
        raise Refused(
            f"the PIN in {path} cannot be read: {error.strerror}", remedy="write it there, mode 600"
        ) from error


def _from_command(token: str, command: tuple[str, ...], folder: Path) -> str:
    what = f"the command that gives the PIN of the token '{token}' ({command[0]})"
    try:
        ended = subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=COMMAND_WITHIN_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        told = f"{what} did not end within {COMMAND_WITHIN_S:.0f} s"
        raise InfrastructureError(told, remedy="run it by hand and look") from None  # its output is in the exception
    except OSError as error:
        raise InfrastructureError(f"{what} cannot be run: {error.strerror}", remedy="correct keys.toml") from error
    if ended.returncode:
        raise InfrastructureError(f"{what} ended with {ended.returncode}", remedy="run it by hand and look")
    return _first_line(ended.stdout)


def _first_line(data: bytes) -> str:
    return data.split(b"\n", 1)[0].removesuffix(b"\r").decode("utf-8", errors="replace")


def ask(token: str) -> str:
    """Ask on the terminal, unseen. Raises `Refused` where nobody can be asked: no terminal, or not in front of it."""
    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        raise _nobody(token) from error
    try:
        if os.tcgetpgrp(terminal) != os.getpgrp():
            raise _nobody(token)
        with _unseen(terminal):
            os.write(terminal, f"PIN of the token '{token}': ".encode())
            return _typed_line(terminal, token)
    finally:
        os.close(terminal)


def _nobody(token: str) -> Refused:
    remedy = "call it from a terminal, or let the PIN come from a file or a command (keys.toml)"
    return Refused(f"nobody can be asked for the PIN of the token '{token}' here", remedy=remedy)


@contextlib.contextmanager
def _unseen(terminal: int) -> Iterator[None]:
    """No echo; Ctrl-C ends the question, and the terminal is as it was in any case."""
    before = termios.tcgetattr(terminal)
    silent = termios.tcgetattr(terminal)
    silent[3] &= ~termios.ECHO
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        termios.tcsetattr(terminal, termios.TCSAFLUSH, silent)
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSAFLUSH, before)
        os.write(terminal, b"\n")
        signal.signal(signal.SIGINT, handler)


def _typed_line(terminal: int, token: str) -> str:
    deadline, typed = time.monotonic() + PROMPT_WITHIN_S, b""
    while not typed.endswith(b"\n"):
        typing = readable(terminal, deadline - time.monotonic())
        part = os.read(terminal, PIN_BYTES_MAX) if typing else b""
        if not part:
            told = f"nobody typed the PIN of the token '{token}' within {PROMPT_WITHIN_S:.0f} s"
            raise InfrastructureError(told, remedy="try again")
        typed += part
    return _first_line(typed)
