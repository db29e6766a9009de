# SPDX-License-Identifier: Apache-2.0
"""Results of a trace as files: the export that somebody else can verify, and the page for people.

Guards: a file appears whole or not at all; only a history that verifies is exported.
Leaves to others: what is in the files (`formats.trace_archive`, `formats.html_report`).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from assay.backends.durable_file import make_folder, write_durably
from assay.errors import NotVerified, StorageError, UsageFault
from assay.formats import trace_archive
from assay.formats.html_report import render_html
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
    write_file(path, data)
    return len(data)


def write_page(path: Path, trace: Trace) -> int:
    """Write the HTML page, of a broken history too; answers its size in bytes."""
    data = render_html(trace).encode("utf-8")
    write_file(path, data)
    return len(data)


def write_file(path: Path, data: bytes) -> None:
    """Write a result, durably and at once; folders above it are made. Raises `UsageFault`, `StorageError`."""
    if path.is_dir():
        raise UsageFault(f"{path} is a folder", remedy="name a file")
    try:
        make_folder(path.absolute().parent)
        write_durably(path, data)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}", remedy="free disk space, check it") from error
