# SPDX-License-Identifier: Apache-2.0
"""Results of a trace as files: the export that somebody else can verify, and the page for people.

Guards: a file appears whole or not at all, and only in the place of one of its own kind; only a history that verifies
is exported.
Leaves to others: what is in the files (`formats.trace_archive`, `formats.html_report`).
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from assay.backends.durable_file import make_folder, write_durably
from assay.errors import NotVerified, StorageError, UsageFault
from assay.formats import trace_archive
from assay.formats.html_report import is_report, render_html
from assay.model.trace import Dossier, Trace


def write_export(path: Path, dossier: Dossier, trace: Trace, *, hide_others: bool) -> int:
    """Write the export of a verified history; answers its size in bytes. `hide_others` leaves out the other entries.

    Raises `NotVerified` for a history that is broken, `UsageFault` and `StorageError` for the file.
    """
    if trace.root.broken:
        raise NotVerified(
            f"the history of {trace.serial} is broken at {trace.root.broken[0].link} and is not exported",
            remedy="run `assay trace` without --export, and mend what it names",
        )
    data = trace_archive.encode(replace(dossier, leaves=None) if hide_others else dossier)
    check_export_file(path)
    _write(path, data)
    return len(data)


def write_page(path: Path, trace: Trace) -> int:
    """Write the HTML page, of a broken history too; answers its size in bytes."""
    data = render_html(trace).encode("utf-8")
    check_page_file(path)
    _write(path, data)
    return len(data)


def check_page_file(path: Path) -> None:
    """A page may be written to `path`: nothing is there, or a page of ours. Raises `UsageFault`, `StorageError`."""
    _check_replaceable(path, is_report, "no page that assay wrote")


def check_export_file(path: Path) -> None:
    """An export may be written to `path`: nothing is there, or an export. Raises `UsageFault`, `StorageError`."""
    _check_replaceable(path, trace_archive.is_export, "no export of assay")


def _check_replaceable(path: Path, is_ours: Callable[[bytes], bool], otherwise: str) -> None:
    """An empty file holds nothing that could be lost: `mktemp` makes such."""
    try:
        if not path.exists():
            return
        ours = path.is_file() and (path.stat().st_size == 0 or is_ours(_content(path)))
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}", remedy="name another file") from error
    if not ours:
        what = "a folder" if path.is_dir() else otherwise
        raise UsageFault(f"{path} is {what}, and is not overwritten", remedy="name another file, or remove this one")


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(trace_archive.EXPORT_BYTES_MAX)


def _write(path: Path, data: bytes) -> None:
    """Write a result, durably and at once; folders above it are made. Raises `StorageError`."""
    try:
        make_folder(path.absolute().parent)
        write_durably(path, data)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}", remedy=_remedy(error)) from error


def _remedy(error: OSError) -> str:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO)
    return "free disk space, check the disk" if full else "name a file in a folder that you may write to"
