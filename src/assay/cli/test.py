# SPDX-License-Identifier: Apache-2.0
"""`assay test`: run a suite on a unit, and sign what it found."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from assay.cli.place_names import complete_place
from assay.cli.session import Answer, Session, verb
from assay.cli.site_names import complete_release, complete_serial

if TYPE_CHECKING:
    from assay.pipeline.test_run import TestAnswer

FILE = click.Path(path_type=Path, dir_okay=False)
FOLDER = click.Path(path_type=Path, file_okay=False)
CASES_SHOWN_MAX = 20
"""Tests that did not pass, in the answer for people; all of them are in the reports."""


@click.command(name="test", short_help="Test a unit, and sign what the tests found.")
@click.argument("suite", type=FOLDER)
@click.option(
    "--place",
    required=True,
    metavar="NAME",
    shell_complete=complete_place,
    help="A place, a twin, or twin:BOARD for a fresh twin.",
)
@click.option(
    "--serial",
    default=None,
    metavar="SERIAL",
    shell_complete=complete_serial,
    help="The unit that has to be there, and to prove it.",
)
@click.option(
    "--release",
    default=None,
    metavar="NAME@VERSION",
    shell_complete=complete_release,
    help="The release that the unit has to run.",
)
@click.option(
    "--image",
    "images",
    multiple=True,
    metavar="[N=]FILE",
    help="Instead of a release: the image file that somebody else's board has to run; N is its image number [0].",
)
@click.option(
    "--accept-unverified-image",
    "unverified",
    is_flag=True,
    help="With --image: an image that nobody signed, or with a key that the trust file does not name.",
)
@click.option("--trust", required=True, type=FILE, envvar="ASSAY_TRUST", help="The trust file [ASSAY_TRUST].")
@click.option("--results", required=True, type=FOLDER, help="Where the reports go.")
@click.option("-n", "workers", type=int, default=1, help="Fresh twins that share the tests out (--place twin:BOARD).")
@click.option("--timeout", "timeout_s", type=float, default=600.0, show_default=True, help="Seconds for the suite.")
@click.option("--bench", type=FILE, default=None, help="The bench file [default: bench.toml of the project].")
@click.option("--wait", "wait_s", type=float, default=0.0, help="Seconds to wait for a place that is taken.")
@click.option(
    "--sandbox-bind",
    multiple=True,
    metavar="PATH[:rw]",
    help="Let the tests read (with :rw write) this path, too; may be repeated.",
)
@click.option("--quarantined", is_flag=True, help="Test it although it is in quarantine (assay bench quarantine).")
@click.option("--sandbox-net", is_flag=True, help="Let the tests use the network.")
@verb
def command(session: Session, suite: Path, **options: Any) -> Answer:
    """Run the pytest suite in the folder SUITE on a unit, and sign what it found.

    The unit is asked for its image hash before and after; somebody else's board (--image) proves neither that nor
    itself, and the record says so. The tests run in a sandbox with the project, its port, and neither keys nor network;
    --sandbox-... opens it for instruments, and the record says so. Reports for other tools (junit.xml, openhtf.json)
    and pytest's own words (pytest.log) go to the results folder.
    """
    from assay.pipeline.test_run import TestOrder, run_suite

    order = TestOrder(suite=suite, **options)
    quiet = "CI" in os.environ
    answer = run_suite(
        session.site,
        order,
        warn=session.say,
        say=_nothing if quiet else session.say,
        tell=_tell if sys.stderr.isatty() and not quiet else None,
    )
    return Answer(_text(answer, order.results), _data(answer, order.results), answer.status)


def _nothing(_line: str) -> None:
    """Progress in CI."""


def _tell(line: bytes) -> None:
    """pytest's output as it comes, for who watches."""
    click.echo(line.decode("utf-8", "replace"), err=True, nl=False)


def _data(answer: TestAnswer, results: Path) -> dict[str, Any]:
    from assay.model.attempts import flaky
    from assay.model.foreign_unit import ForeignTestedUnit

    run = answer.run
    units = [
        {"place": unit.place, "says": unit.says, "emulated": unit.emulated}
        if isinstance(unit, ForeignTestedUnit)
        else {"place": unit.place, "serial": unit.serial, "chip": unit.chip, "emulated": unit.emulated}
        for unit in answer.units
    ]
    return {
        "outcome": run.outcome.value,
        "reason": run.reason,
        "layer": run.layer,
        "flaky": flaky(run.cases, run.retries),
        "retries": {name: rule.model_dump(mode="json") for name, rule in run.retries.items()},
        "suite": run.suite,
        **answer.tested.as_json,
        "units": units,
        "serial": answer.units[0].serial if len(answer.units) == 1 else None,
        "cases": [case.model_dump(mode="json", exclude_none=True) for case in run.cases],
        "skipped": [skipped.model_dump(mode="json") for skipped in run.skipped],
        "sandbox": answer.sandbox,
        "results": str(results),
        "files": answer.files,
        "record_type": answer.record.entry.type.value,
        "record": answer.record.entry.record,
        "log_index": answer.record.index,
    }


def _text(answer: TestAnswer, results: Path) -> str:
    from assay.model.attempts import counted, flaky

    run = answer.run
    counts = counted(run.cases, run.retries)
    passed = sum(case.outcome == "PASS" for case in counts)
    units = ", ".join(f"{unit.place} ({unit.known_as})" for unit in answer.units)
    lines = [f"{run.outcome} {run.suite} on {units}, {answer.tested.reference}"]
    lines[0] += f" ({run.layer})" if run.layer else ""
    lines[0] += f": {run.reason}" if run.reason else ""
    lines.append(f"  {passed} of {len(counts)} tests passed" + (f", {len(run.skipped)} skipped" if run.skipped else ""))
    bad = [case for case in run.cases if case.outcome != "PASS"]
    for case in bad[:CASES_SHOWN_MAX]:
        layer = f" ({case.layer})" if case.layer else ""
        lines.append(f"  {case.outcome}{layer} {case.name}: {case.message.strip().partition(chr(10))[0]}")
    lines += [f"  tried again, and passed by its rule: {name}" for name in flaky(run.cases, run.retries)]
    lines += [f"  {line}" for line in _measurements(answer)]
    lines += [f"  no {line}" for line in answer.tested.cautions]
    lines.append(f"  reports in {results}: {', '.join(sorted(answer.files))}")
    record = answer.record
    lines.append(f"  {record.entry.type.value} record {record.entry.record[:16]}, entry {record.index} of the log")
    return "\n".join(lines)


def _measurements(answer: TestAnswer) -> list[str]:
    from assay.stages.hil.measuring import describe

    return [describe(measurement) for case in answer.run.cases for measurement in case.measurements]
