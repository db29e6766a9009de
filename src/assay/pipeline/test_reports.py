# SPDX-License-Identifier: Apache-2.0
"""The reports of a run for other people's tools: JUnit XML, OpenHTF's JSON, and the run as it is (`suite.json`).

Guards: a report is whole or not there.
Leaves to others: their formats (`formats.junit`, `formats.openhtf`), and the record that is signed (`test_run`).
"""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from assay.backends.durable_file import make_folder, write_durably
from assay.errors import StorageError

if TYPE_CHECKING:
    from assay.model.verdict import SuiteRun

JUNIT = "junit.xml"
OPENHTF = "openhtf.json"
SUITE = "suite.json"
SUITE_SCHEMA = "assay.suite/1"


def write_reports(folder: Path, suite: str, *, started: str, finished: str) -> SuiteRun:
    """Judge the events in `folder` from inside pytest, and write the reports beside them. Raises StorageError."""
    from assay.pipeline.test_events import read_events
    from assay.stages.hil.verdict import judge_run

    run = judge_run(suite, read_events(folder), exit_status=None, started=started, finished=finished)
    write_all(folder, reports(run, claims_of(run)))
    return run


def reports(run: SuiteRun, facts: Mapping[str, str]) -> dict[str, bytes]:
    """The reports by file name. `facts` say what was tested: they become properties and metadata."""
    from assay.formats.junit import junit_xml
    from assay.formats.openhtf import openhtf_json

    host = socket.gethostname()
    dut = facts.get("assay.serial") or facts.get("assay.chip") or "unknown"
    return {
        SUITE: json.dumps({"schema": SUITE_SCHEMA, **run.model_dump(mode="json")}, indent=1).encode() + b"\n",
        JUNIT: junit_xml(run, facts, hostname=host),
        OPENHTF: openhtf_json(run, dut_id=dut, station_id=host, metadata=facts),
    }


def claims_of(run: SuiteRun) -> dict[str, str]:
    """What the test processes say that they tested."""
    from assay.model.foreign_unit import ForeignUnitSeen
    from assay.model.verdict import UnitSeen

    ours = [unit for unit in run.units if isinstance(unit, UnitSeen)]
    hashes = {unit.image_hash for unit in ours}
    foreign = [row for unit in run.units if isinstance(unit, ForeignUnitSeen) for row in unit.slots if row.active]
    facts = {
        "assay.place": ",".join(unit.place for unit in run.units),
        "assay.board": ",".join(sorted({unit.board for unit in run.units})),
        "assay.emulated": ",".join(sorted({str(unit.emulated).lower() for unit in run.units})),
        "assay.serial": ",".join(unit.serial for unit in ours if unit.serial),
        "assay.chip": ",".join(unit.chip for unit in ours),
        "assay.image.hash": ",".join(sorted(hashes | {row.image_hash for row in foreign if row.image_hash})),
        "assay.image.how": "quoted" if foreign else "",
    }
    return {name: value for name, value in facts.items() if value}


def write_all(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write each file whole, and durably, in `folder`, which is made. Raises StorageError."""
    try:
        make_folder(folder)
        for name, data in files.items():
            write_durably(folder / name, data)
    except OSError as error:
        remedy = "give a folder that can be written, with room on its disk"
        raise StorageError(f"{error.filename or folder}: {error.strerror}", remedy=remedy) from error
