# SPDX-License-Identifier: Apache-2.0
"""Locks on the places of this host: one file for each port, locked with flock(2).

Guards: a lock dies with its holder, however that ends; whoever waits is told who is in the way, and gets the place in
the order of coming; two names or checkouts that mean one port meet. A process below the holder (a pytest that `assay
test` started) shares the place, one at a time. A lock can be bound to another process (a shell): then its keeper holds
it, and what runs below that shell shares it.
Leaves to others: programs that do not ask for the lock; those meet the port's own exclusiveness (`serial_transport`).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import signal
import stat
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from assay.drivers.locks.ancestors import is_stopped, started
from assay.drivers.locks.lock_record import LockRecord, read_record, record_of, unknown, write_record
from assay.drivers.locks.waiting_line import WaitingLine
from assay.errors import PlaceBusy, Refused, StorageError
from assay.interfaces.lock import Holder
from assay.model.bench import NO_PORTS

LOCK_DIR_VARIABLE = "ASSAY_LOCK_DIR"
SYSTEM_LOCK_DIR = Path("/run/lock/assay")
SYSTEM_TTYS = Path("/sys/class/tty")
USB_INTERFACE = re.compile(r"[0-9]+-[0-9.]+:[0-9]+\.[0-9]+")
DIR_MODE = 0o1777  # every user of the host may lock, none may remove another's file
FILE_MODE = 0o666  # a place is handed from user to user
PROBE_PATIENCE_S = 0.1  # who looks at a lock holds it for some microseconds
POLL_S = 0.02
KEEPER_PATIENCE_S = 5.0
LEVELS_MAX = 8  # a pipeline, its verb, its pytest, its worker: four, and room


def place_key(port: str) -> str:
    """One text for all names of one port: links resolved, but a twin's port by its lasting path, not /dev/pts/N, and a
    USB port by its socket: its name can change while somebody holds it.
    """
    if port.startswith(NO_PORTS):
        return f"id {port.partition(':')[2].lower().lstrip('0')}"  # one probe, in whichever field; some pad with zeros
    if "://" in port:
        return _url_key(port)
    resolved = os.path.realpath(port)
    if resolved.startswith("/dev/pts/"):
        path = Path(port)
        return str(Path(os.path.realpath(path.parent)) / path.name)
    return _usb_socket(Path(resolved).name) or resolved


def _url_key(url: str) -> str:
    """Scheme and host in small letters, which they may be written in; the rest as it is."""
    scheme, _, rest = url.partition("://")
    where, slash, path = rest.partition("/")
    user, at, host = where.rpartition("@")
    return f"{scheme.lower()}://{user}{at}{host.lower()}{slash}{path}"


def _usb_socket(device: str) -> str | None:
    """`usb 1-2.3:1.0` for the tty of that USB interface; None for any other file."""
    parts = os.path.realpath(SYSTEM_TTYS / device / "device").split("/")
    return next((f"usb {part}" for part in reversed(parts) if USB_INTERFACE.fullmatch(part)), None)


def place_digest(port: str) -> str:
    """What the files of a place are called."""
    return hashlib.sha256(place_key(port).encode()).hexdigest()[:32]


class FileLocks:
    """`interfaces.lock.Locks` in a folder of this host."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder

    def acquire(
        self, port: str, *, verb: str, place: str = "", wait_s: float = 0.0, note: str = "", bound_to: int | None = None
    ) -> FileLock:
        """Take the place at `port`, or share it below an ancestor that has it. `bound_to` is the process that it is
        held for (None: this one): those below it share the place.

        Raises PlaceBusy naming the holder after `wait_s`, StorageError when locks cannot be kept.
        """
        mine = record_of(bound_to or os.getpid(), verb, place or port, note)
        return self._acquire(port, place, mine, time.monotonic() + max(wait_s, PROBE_PATIENCE_S))

    def acquire_all(
        self, doors: Sequence[str], *, verb: str, place: str, wait_s: float = 0.0, note: str = "",
        bound_to: int | None = None,
    ) -> HeldDoors:  # fmt: skip
        """Take a unit with all ways to it, its port first, so that places which share one of them meet.

        Two who want the same ones take them in the same order. Raises as `acquire`; then none is held.
        """
        mine = record_of(bound_to or os.getpid(), verb, place, note)
        deadline_s = time.monotonic() + max(wait_s, PROBE_PATIENCE_S)
        by_key = {place_key(door): door for door in reversed(doors)}
        locks: dict[str, FileLock] = {}
        try:
            for key, door in sorted(by_key.items()):
                locks[key] = self._acquire(door, place, mine, deadline_s)
        except BaseException:
            HeldDoors(tuple(locks.values())).release()
            raise
        first = locks.pop(place_key(doors[0]))
        return HeldDoors((first, *locks.values()))

    @contextmanager
    def in_line(self, doors: Sequence[str], *, verb: str, place: str) -> Iterator[Callable[[], bool]]:
        """Stand in the lines of a unit while the block lasts, for who would take one of several; the function says
        whether it is free and our turn, and is asked at least every second, since who is silent is passed.
        """
        mine = str(record_of(os.getpid(), verb, place, "").holder)
        with ExitStack() as stack:
            lines = [self._line(door) for door in {place_key(door): door for door in doors}.values()]
            turns = [stack.enter_context(line.number(mine)) for line in lines]
            yield lambda: self._is_turn(turns) and self.holder_of(doors) is None

    @staticmethod
    def _is_turn(turns: Sequence[Callable[[], bool]]) -> bool:
        asked = [called() for called in turns]  # each one shows itself
        return all(asked)

    def _line(self, port: str) -> WaitingLine:
        return WaitingLine(self._path(port, 0).with_suffix(".line"), open_or_create)

    def _acquire(self, port: str, place: str, mine: LockRecord, deadline_s: float) -> FileLock:
        line = self._line(port)
        if not line.waiters():
            lock, _ = self._try(port, mine)
            if lock is not None:
                return lock
        with line.number(str(mine.holder)) as called:
            while True:
                # Who shares an ancestor's place stands in no line: those in it wait for that ancestor.
                lock, holder = self._try(port, mine) if called() or self._is_lent(port) else (None, None)
                if lock is not None:
                    return lock
                if time.monotonic() >= deadline_s:
                    raise self._busy(port, place, holder or self.holder(port), line)
                time.sleep(POLL_S)

    def _busy(self, port: str, place: str, holder: Holder | None, line: WaitingLine) -> PlaceBusy:
        pid = os.getpid()
        before = [waiter.who for waiter in line.waiters() if waiter.pid != pid]
        who = str(holder) if holder and holder.pid else "a process that did not say who it is"
        waits = f"; {len(before)} wait before: {', '.join(before)}" if before else ""
        remedy = "wait for it (--wait SECONDS), or end that process"
        if holder and is_stopped(holder.pid):
            remedy = f"that process is stopped: kill -CONT {holder.pid} lets it go on; or end it"
        return PlaceBusy(f"{place or port} is used by {who}{waits}", remedy=remedy)

    def _is_lent(self, port: str) -> bool:
        record = self._seen(port, 0)
        return record is not None and record.is_above()

    def waiting(self, port: str) -> list[str]:
        """Who waits for the place, the first one first."""
        return [waiter.who for waiter in self._line(port).waiters()]

    def held(self) -> list[Holder]:
        """Everybody who holds a place of this host now."""
        folder = checked_folder(self._folder or lock_folder())
        records = [self._record_at(path) for path in sorted(folder.glob("*.0.lock"))]
        holders = dict.fromkeys(record.holder for record in records if record)  # one who holds several doors, once
        return sorted(holders, key=lambda holder: holder.place)

    def end_hold(self, place: str) -> Holder | None:
        """End a lasting hold (`FileLock.keep`) of this process or one above it on the place of that name, also when its
        unit is unplugged; None when nobody holds it.

        Raises Refused when it is somebody else's, or the lock of a verb that runs.
        """
        folder = checked_folder(self._folder or lock_folder())
        found = [(path, record) for path in folder.glob("*.0.lock") if (record := self._record_at(path))]
        named = [(path, record) for path, record in found if record.holder.place == place]
        if not named:
            return None
        path, record = next(((path, record) for path, record in named if record.is_above()), named[0])
        if not record.is_above():
            raise Refused(
                f"{place} is held by {record.holder}", remedy="only who holds a place gives it back: ask them"
            )
        if not record.keeper or started(record.keeper) != record.keeper_started:
            raise Refused(f"{place} is held by {record.holder}", remedy="it is free when that process ends")
        os.kill(record.keeper, signal.SIGTERM)
        end_s = time.monotonic() + KEEPER_PATIENCE_S
        while (now := self._record_at(path)) and now.keeper == record.keeper:
            if time.monotonic() > end_s:
                raise StorageError(f"the keeper of the lock (pid {record.keeper}) does not end", remedy="kill it")
            time.sleep(POLL_S)
        return record.holder

    def holder_of(self, doors: Sequence[str]) -> Holder | None:
        """Who holds one of the ways to a unit, the first one first; None when all are free."""
        return next((holder for door in doors if (holder := self.holder(door))), None)

    def waiting_of(self, doors: Sequence[str]) -> list[str]:
        """Who waits for one of the ways to a unit."""
        return list(dict.fromkeys(who for door in doors for who in self.waiting(door)))

    def holder(self, port: str) -> Holder | None:
        """Who holds the place now; None when it is free."""
        records = (self._seen(port, level) for level in range(LEVELS_MAX))
        return next((record.holder for record in records if record is not None), None)

    def _seen(self, port: str, level: int) -> LockRecord | None:
        """Who holds that level now."""
        return self._record_at(self._path(port, level))

    def _record_at(self, path: Path) -> LockRecord | None:
        try:
            file = _open(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _no_locks(path, error.strerror or str(error)) from error
        try:
            if not _flock(path, file, fcntl.LOCK_SH):
                return read_record(file) or LockRecord(unknown(path.name), 0)
        finally:
            os.close(file)
        return None

    def _try(self, port: str, mine: LockRecord) -> tuple[FileLock | None, Holder | None]:
        """Level 0 is the place itself; below an ancestor's lock on level n the place is level n + 1's."""
        lender: Holder | None = None
        for level in range(LEVELS_MAX):
            path = self._path(port, level)
            file = open_or_create(path)
            if not _flock(path, file, fcntl.LOCK_EX):
                record = read_record(file)
                os.close(file)
                if record is None or not record.is_above():
                    return None, record.holder if record else None
                lender = lender or record.holder
                continue
            # A child may still work below a holder that was killed, or its child below both.
            below = [self._seen(port, under) for under in range(level + 1, LEVELS_MAX)]
            stranger = next((record for record in below if record is not None and not record.is_above()), None)
            if stranger is not None:
                os.close(file)
                return None, stranger.holder
            _write(path, file, mine)
            return FileLock(path, file, mine, lender or mine.holder), None
        return None, lender

    def _path(self, port: str, level: int) -> Path:
        return checked_folder(self._folder or lock_folder()) / f"{place_digest(port)}.{level}.lock"


class FileLock:
    """A place that is ours (`interfaces.lock.Held`)."""

    def __init__(self, path: Path, file: int, record: LockRecord, holder: Holder) -> None:
        self._path = path
        self._file: int | None = file
        self._record = record
        self._holder = holder

    def keep(self) -> None:
        """For a process that was forked from who took the place: be its keeper, until it ends or is told to."""
        assert self._file is not None
        pid = os.getpid()
        self._record = replace(self._record, keeper=pid, keeper_started=started(pid) or 0)
        _write(self._path, self._file, self._record)

    @property
    def holder(self) -> Holder:
        """Who holds it: this process, or the process above it that lent it."""
        return self._holder

    @property
    def lent(self) -> bool:
        """True when a process above this one has the place, and shares it."""
        return not self._path.name.endswith(".0.lock")

    def is_of(self, port: str) -> bool:
        """True when this is the lock of what is at `port` now."""
        return self._path.name.partition(".")[0] == place_digest(port)

    def release(self) -> None:
        """Give the place back; a second call does nothing."""
        if self._file is not None:
            with suppress(OSError):
                os.ftruncate(self._file, 0)  # else the next one is taken for us until it has written who it is
        self.hand_over()

    def hand_over(self) -> None:
        """Let go of it where a process that was forked from this one keeps it."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class HeldDoors:
    """A unit with all ways to it, which is ours; `locks` begin with its port's."""

    def __init__(self, locks: tuple[FileLock, ...]) -> None:
        self._locks = locks

    def keep(self) -> None:
        """As `FileLock.keep`."""
        for lock in self._locks:
            lock.keep()

    @property
    def holder(self) -> Holder:
        """Who holds it: this process, or the process above it that lent it."""
        return self._locks[0].holder

    @property
    def lent(self) -> bool:
        """True when a process above this one has the place, and shares it."""
        return self._locks[0].lent

    def is_of(self, port: str) -> bool:
        """True when what is at `port` now is the unit that is held."""
        return self._locks[0].is_of(port)

    def release(self) -> None:
        """Give all back; a second call does nothing."""
        for lock in reversed(self._locks):
            lock.release()

    def hand_over(self) -> None:
        """Let go of all where a process that was forked from this one keeps them."""
        for lock in self._locks:
            lock.hand_over()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def lock_folder() -> Path:
    """`ASSAY_LOCK_DIR`, else /run/lock/assay, else a folder in the temporary folder that all users share."""
    if named := os.environ.get(LOCK_DIR_VARIABLE):
        return Path(named)
    if SYSTEM_LOCK_DIR.is_dir() or os.access(SYSTEM_LOCK_DIR.parent, os.W_OK | os.X_OK):
        return SYSTEM_LOCK_DIR
    return Path(tempfile.gettempdir()) / "assay-lock"  # no such folder, or one that is root's alone (Fedora)


def checked_folder(folder: Path) -> Path:
    """The folder, made if it is not there; never through a link that somebody laid there. Raises StorageError."""
    try:
        try:
            folder.mkdir(parents=True)
            folder.chmod(DIR_MODE)  # mkdir's mode is narrowed by the umask
        except FileExistsError:
            pass
        found = folder.lstat()
    except OSError as error:
        raise _no_locks(folder, error.strerror or str(error)) from error
    if not stat.S_ISDIR(found.st_mode):
        raise _no_locks(folder, "it is a link or a file, and no folder")
    if found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
        raise _no_locks(folder, "everybody may remove locks there (no sticky bit)")
    return folder


def _no_locks(folder: Path, why: str) -> StorageError:
    return StorageError(
        f"locks cannot be kept in {folder}: {why}", remedy=f"set {LOCK_DIR_VARIABLE} to a folder that you may write"
    )


def _flock(path: Path, file: int, how: int) -> bool:
    """False when somebody has it. Raises StorageError where a file system (some of those in networks) has no locks."""
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise _no_locks(path.parent, f"its file system has no locks ({error.strerror})") from error
    return True


def _open(path: Path) -> int:
    """An existing lock file. The kernel's protected_regular forbids O_CREAT on another user's file here."""
    file = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise OSError(f"{path} is no plain file")
    return file


def open_or_create(path: Path) -> int:
    """The lock file, for all users of the host; whoever made it. Raises StorageError."""
    for _ in range(2):
        try:
            return _open(path)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise _no_locks(path, error.strerror or str(error)) from error
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)
            os.fchmod(file, FILE_MODE)
            return file
        except FileExistsError:
            continue
        except OSError as error:
            raise _no_locks(path, error.strerror or str(error)) from error
    raise _no_locks(path, "it comes and goes")


def _write(path: Path, file: int, record: LockRecord) -> None:
    try:
        write_record(file, record)
    except OSError as error:
        os.close(file)
        raise _no_locks(path, error.strerror or str(error)) from error
