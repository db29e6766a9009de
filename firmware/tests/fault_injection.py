# SPDX-License-Identifier: Apache-2.0
"""Fault injection: one wrong instruction on the bootloader's way to a verdict, and no image runs that must not.

    python firmware/tests/fault_injection.py --board ast1030-evb --seconds 60
    python firmware/tests/fault_injection.py --board rv32-virt --seconds 36000 --flips 32      all that there is
    python firmware/tests/fault_injection.py --board ast1030-evb --weak --only main            must find something
    python firmware/tests/fault_injection.py --board ast1030-evb --weak accepts-anything --way skip-lasting      same

Real QEMU boots a chip whose primary or secondary slot holds an image that is bad in one way. In each boot one
instruction is skipped (replaced by one that does nothing) or one bit of it is flipped; once, or (`-lasting`) as often
as it comes. What must not happen is that the bad image runs; recovery, the other image, a reset and a hang are safe.

Prints a table, and each fault that was fatal. Exit status 0 if no fault that comes once was fatal, 1 if one was; with
--weak, where the bootloader lacks something, the other way round, lasting faults included; 3 if the campaign could not
be done.
"""

from __future__ import annotations

import argparse
import random
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain, islice, product
from pathlib import Path

sys.dont_write_bytecode = True

from fault_bench import START, EmulatorDied, Fault, FaultBench, Outcome  # noqa: E402
from fault_images import HEADER_BYTES, KINDS, PLACES, ImageSet  # noqa: E402
from fault_plan import Place, Plan, functions, is_library, ranges, read_assembly, read_trace  # noqa: E402
from signed_build import Workshop  # noqa: E402

FLIPS = 2  # bits of an instruction that a sample tries
TRACE_S = 60.0  # of a boot of which each instruction is logged
WAYS = ("skip", "flip", "skip-library", "flip-library", "skip-lasting", "skip-lasting-library")
WORKERS = 2
# What --weak leaves out, one of: the second decision (then one skipped branch is enough), the proof that the verifier
# refuses something (then one lasting skip in it is), the bounds of the running hash (then one skipped branch in it
# writes the image over the stack), or what keeps the image from running before it was verified (then a branch to
# another place may lead into it). The campaign must see it.
SECOND_DECISION = "    struct image_source source = image_in_ram(port_memory(RAM_APP_BASE)"
REFUSAL = "    wrong |= check_refusal(&image, key);\n"
HASH = "    static struct sha256 hash;  // holds bytes of the image: never on the stack\n    sha256_init"
GUARD = "    port_forbid_execution(RAM_APP_BASE, RAM_APP_SIZE);\n"
BLOCK = "@min(Sha256.block_length, length - done)"
WEAK = {
    "decides-once": [("core/boot.c", SECOND_DECISION, "    return RESULT_OK;\n" + SECOND_DECISION)],
    "accepts-anything": [("core/boot.c", REFUSAL, "    (void)check_refusal;\n")],
    "hashes-at-once": [
        ("core/image.c", HASH, HASH.removeprefix("    static ")),
        ("crypto/crypto.zig", BLOCK, "length - done"),
        ("bootloader/main.c", GUARD, ""),  # which stops the image also then
    ],
    "runs-anything": [("bootloader/main.c", GUARD, "")],
}


@dataclass
class Tally:
    """What came of the faults of one way."""

    tried: Counter[Outcome] = field(default_factory=Counter)
    fatal: list[str] = field(default_factory=list)
    other: list[str] = field(default_factory=list)  # something ran that is neither image: to be looked at


class Scene:
    """One bad image at one place, and what the bootloader does about it."""

    def __init__(self, images: ImageSet, kind: str, place: str, only: str, folder: Path) -> None:
        self.images, self.kind, self.place = images, kind, place
        self._only, self._folder = re.compile(only), folder
        workshop = images.workshop
        built = workshop.build("bootloader", symbols=True)
        self._named = functions(built / "part.elf", images.machine.pc == 15)
        self._payload = (built / "payload.bin").read_bytes()
        if self._payload != (workshop.build("bootloader") / "payload.bin").read_bytes():
            raise RuntimeError("a bootloader with symbols is another one than the one without")
        self.symbols = {function.name: function.start for function in self._named}
        self._rom = workshop.build("rom") / "part.elf"
        self.right = Outcome.RECOVERY if place == "primary" else Outcome.RAN_GOOD
        self._chip = images.chip(kind, place)
        self._settle()
        self.plan = self._trace()

    def bench(self, *extra: str) -> FaultBench:
        """A board with this chip."""
        return FaultBench(self.images, self._rom, self.symbols, self._chip, extra)

    def _settle(self) -> None:
        """The chip after its first boot, in which notes and counter are written."""
        bench = self.bench()
        bench.boot(None)
        self._chip = bench.end()
        bench.close()

    def _logged(self, *what: str) -> Path:
        bench = self.bench(*what, "-D", str(self._folder / "log"))
        try:
            if bench.boot(None, TRACE_S).outcome != self.right:
                raise RuntimeError(f"{self.kind} in {self.place} does not end in {self.right.value} without a fault")
            bench.end()
        finally:
            bench.close()
        return self._folder / "log"

    def _trace(self) -> Plan:
        own = ranges(function for function in self._named if not is_library(function.name))
        log = self._logged("-d", "exec,nochain", "-singlestep", "-dfilter", own)
        base = self.images.layout["ram"]["boot"]["base"] + HEADER_BYTES
        return Plan(read_trace(log, self.symbols[START]), self._named, self._payload, base, self.images.machine)

    def _library(self) -> list[int]:
        """Instructions of the library that a boot executes."""
        library = ranges(function for function in self._named if is_library(function.name))
        return read_assembly(self._logged("-d", "in_asm", "-dfilter", library))

    def describe(self, fault: Fault) -> str:
        """Where it is and what it does, for a person."""
        return (
            f"{self.kind} in {self.place}: {self.plan.name(fault.address)} {fault.address:#x} "
            f"{self.plan.code(fault.address).hex()} -> {fault.code.hex()}, time {fault.hit} after "
            f"{self.plan.name(fault.anchor) if fault.anchor else 'the start'} {fault.count}"
        )

    def faults(self, way: str, dice: random.Random, flips: int) -> Iterator[Fault]:
        """All that one way offers, in a seeded order."""
        lasting = way.startswith("skip-lasting")
        if lasting:
            addresses = self._library() if way.endswith("-library") else self.plan.addresses()
            places = [Place(address, 0, 0, 1) for address in addresses]
        elif way.endswith("-library"):
            places = list(self.plan.library_places(self._library()))
        else:
            places = list(self.plan.places())
        places = [place for place in places if self._only.search(self.plan.name(place.address))]
        dice.shuffle(places)
        if lasting:
            return (self.plan.skip(place, lasting=True) for place in places)
        if way.startswith("skip"):
            return (self.plan.skip(place) for place in places)
        return chain.from_iterable(self.plan.flips(place, dice, flips) for place in places)


def try_all(scene: Scene, faults: Iterator[Fault], end: float) -> Tally:
    """Boots with one fault after the other, until there are none left or the time is over. Raises RuntimeError."""
    tally = Tally()
    bench = scene.bench()
    try:
        for fault in faults:
            try:
                boot = bench.boot(fault)
            except EmulatorDied as error:
                raise EmulatorDied(f"{scene.describe(fault)}: {error}") from error
            tally.tried[boot.outcome] += 1
            if boot.outcome is Outcome.RAN_BAD:
                tally.fatal.append(scene.describe(fault))
            if boot.outcome is Outcome.RAN_OTHER:
                tally.other.append(f"{scene.describe(fault)}, stopped at {boot.pc:#x}")
            if time.monotonic() > end:
                break
    finally:
        bench.close()
    return tally


def weaken(firmware: Path, folder: Path, how: str) -> Path:
    """A copy of the firmware that lacks something."""
    copy = folder / "weak-firmware"
    shutil.copytree(firmware, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for name, right, wrong in WEAK[how]:
        source = copy / name
        text = source.read_text(encoding="utf-8")
        if text.count(right) != 1:
            raise RuntimeError(f"the place to weaken in {name} is not there, or there twice")
        source.write_text(text.replace(right, wrong), encoding="utf-8")
    return copy


def campaign(workshop: Workshop, given: argparse.Namespace, folder: Path) -> dict[str, Tally]:
    """All ways on all scenes, each for its part of the time."""
    dice = random.Random(given.seed)
    images = ImageSet(workshop)
    wanted = [(kind, place) for kind, place in product(KINDS, PLACES) if given.scene in f"{kind} {place}"]
    wanted = dice.sample(wanted, min(given.scenes, len(wanted)))
    scenes = []
    for kind, place in wanted:
        (folder / f"{kind}-{place}").mkdir()
        scenes.append(Scene(images, kind, place, given.only, folder / f"{kind}-{place}"))
    jobs = [(scene, way) for scene in scenes for way in given.way]
    share_s = given.seconds * WORKERS / len(jobs)
    tallies = {way: Tally() for way in given.way}

    def work(job: tuple[Scene, str]) -> tuple[str, Tally]:
        scene, way = job
        faults = scene.faults(way, random.Random(f"{given.seed} {scene.kind} {scene.place} {way}"), given.flips)
        return way, try_all(scene, islice(faults, given.count), time.monotonic() + share_s)

    with ThreadPoolExecutor(WORKERS) as pool:
        for way, tally in pool.map(work, jobs):
            tallies[way].tried += tally.tried
            tallies[way].fatal += tally.fatal
            tallies[way].other += tally.other
    return tallies


def report(board: str, given: argparse.Namespace, tallies: dict[str, Tally]) -> None:
    """The table."""
    print(f"{board}, {given.compiler}, seed {given.seed}")
    print(f"{'fault':14}" + "".join(f"{outcome.value:>20}" for outcome in Outcome))
    for way, tally in tallies.items():
        print(f"{way:14}" + "".join(f"{tally.tried[outcome]:20}" for outcome in Outcome))
    for way, tally in tallies.items():
        for line in sorted(tally.fatal):
            print(f"FATAL {way}: {line}")
        for line in sorted(tally.other):
            print(f"OTHER {way}: {line}")


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Faults in the bootloader on an emulated board.")
    parser.add_argument("--board", required=True)
    parser.add_argument("--compiler", choices=("zig", "gcc"), default="zig")
    parser.add_argument("--seconds", type=float, default=60, help="of faults; the preparation comes on top")
    parser.add_argument("--count", type=int, help="of faults in each scene and way, at most")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scenes", type=int, default=len(KINDS) * len(PLACES), help="chosen by the seed")
    parser.add_argument("--scene", default="", help="only scenes whose name holds this")
    parser.add_argument("--way", choices=WAYS, action="append")
    parser.add_argument("--flips", type=int, default=FLIPS, help="bits of each instruction")
    parser.add_argument("--only", default="", help="only functions whose name this regular expression finds")
    parser.add_argument("--weak", nargs="?", choices=WEAK, const="decides-once", help="a bootloader that lacks that")
    parser.add_argument("--folder", type=Path, help="where to build; else a temporary one")
    parser.add_argument("--cache", type=Path, help="of the compiler; else in that folder")
    given = parser.parse_args(arguments)
    given.way = given.way or list(WAYS)
    return given


def main(arguments: list[str]) -> int:
    """See the module's docstring."""
    given = parse(arguments)
    with tempfile.TemporaryDirectory() as name:
        folder = given.folder or Path(name)
        folder.mkdir(exist_ok=True)
        workshop = Workshop(given.board, folder, given.cache or folder / "cache", given.compiler)
        if given.weak:
            workshop.firmware = weaken(workshop.firmware, Path(name), given.weak)
        try:
            tallies = campaign(workshop, given, Path(name))
        except (RuntimeError, OSError) as error:
            print(f"fault_injection.py: {error}", file=sys.stderr)
            return 3
    report(given.board, given, tallies)
    counts = [tally for way, tally in tallies.items() if given.weak or not way.startswith("skip-lasting")]
    fatal = any(tally.fatal for tally in counts)
    return 1 if fatal != bool(given.weak) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
