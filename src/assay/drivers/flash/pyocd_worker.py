# SPDX-License-Identifier: Apache-2.0
"""pyOCD, as a library in a process of its own: what it is asked comes as JSON on stdin, what it found goes in lines.

Guards: a probe is opened by its whole unique id (pyOCD itself takes any part of one); a locked chip is never unlocked,
since that erases it; no script or configuration of the folder that somebody happens to be in is loaded.
Leaves to others: ending it when it hangs, and what its words mean (`drivers.flash.pyocd`).

A process of its own, because a call into a USB driver cannot be taken back.
"""

from __future__ import annotations

import importlib
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

MARK = "ASSAY "
"""Begins the lines that are answers; all others are what pyOCD says."""
FAILED = 3

Answer = dict[str, Any]


def answer(**found: Any) -> None:
    """One line for the driver."""
    print(MARK + json.dumps(found), flush=True)


def probes() -> list[Any]:
    """All that are connected."""
    helpers = importlib.import_module("pyocd.core.helpers")
    found = helpers.ConnectHelper.get_all_connected_probes(blocking=False, print_wait_message=False)
    return list(found)


def main() -> int:
    """Do what stdin asks for."""
    asked = json.load(sys.stdin)
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(levelname)s %(message)s")
    there = probes()
    chosen = [probe for probe in there if probe.unique_id == asked["uid"]]
    if len(chosen) != 1:
        answer(probes=[{"uid": each.unique_id, "description": each.description} for each in there])
        return FAILED
    try:
        with _session(chosen[0], asked) as session:
            _DO[asked["do"]](session.board.target, asked)
    except Exception as error:  # whatever it throws is told in one line, and the driver says what it means
        answer(error=type(error).__name__, words=str(error))
        return FAILED
    return 0


def _session(probe: Any, asked: Answer) -> Any:
    session = importlib.import_module("pyocd.core.session")
    options = {
        "target_override": asked["target"],
        "connect_mode": asked["connect"],
        "frequency": asked["frequency"],
        "auto_unlock": False,
        "no_config": True,
        "project_dir": asked["folder"],
        "resume_on_disconnect": asked["do"] != "halt",
    }
    return session.Session(probe, options={key: value for key, value in options.items() if value is not None})


def _identify(target: Any, asked: Answer) -> None:
    core = target.selected_core_or_raise
    told: Answer = {
        "part": str(target.part_number),
        "core": str(getattr(core, "name", "")),
        "dpidr": hex(target.dp.dpidr.idr),
    }
    if asked["chip_address"] is not None:
        told["chip"] = bytes(target.read_memory_block8(asked["chip_address"], 4 * asked["chip_words"])).hex()
    if asked["kind_address"] is not None:
        told["kind"] = f"0x{target.read32(asked['kind_address']):08x}"
    answer(**told)


def _write(target: Any, asked: Answer) -> None:
    loaders = importlib.import_module("pyocd.flash.loader")
    for part in asked["parts"]:
        region = target.memory_map.get_region_for_address(part["address"])
        if region is None or not region.is_flash or part["address"] + part["size"] - 1 > region.end:
            raise ValueError(f"no flash region holds {part['size']} bytes at {part['address']:#x}")
    target.reset_and_halt()
    loader = loaders.FlashLoader(
        target.session, progress=lambda done: answer(progress=float(done)), chip_erase="sector", smart_flash=False,
        keep_unwritten=True,
    )  # fmt: skip
    for part in asked["parts"]:
        loader.add_data(part["address"], list(Path(part["file"]).read_bytes()))
    loader.commit()
    answer(written=len(asked["parts"]))


def _read(target: Any, asked: Answer) -> None:
    target.halt()
    for part in asked["parts"]:
        data = bytes(target.read_memory_block8(part["address"], part["size"]))
        Path(part["back"]).write_bytes(data)
    answer(read=len(asked["parts"]))


def _reset(target: Any, _asked: Answer) -> None:
    target.reset()
    answer(reset=True)


def _halt(target: Any, _asked: Answer) -> None:
    target.halt()
    answer(halted=True)


_DO: dict[str, Callable[[Any, Answer], None]] = {
    "identify": _identify,
    "write": _write,
    "read": _read,
    "reset": _reset,
    "halt": _halt,
}

if __name__ == "__main__":
    raise SystemExit(main())
