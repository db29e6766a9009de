# SPDX-License-Identifier: Apache-2.0
"""Fault injection: one wrong instruction on the bootloader's way to a verdict, and no image runs that must not.

    python firmware/tests/fault_injection.py --board ast1030-evb --seconds 60
    python firmware/tests/fault_injection.py --board rv32-virt --seconds 36000 --flips 32      all that there is
    python firmware/tests/fault_injection.py --board ast1030-evb --weak --only main            must find something
    python firmware/tests/fault_injection.py --board ast1030-evb --weak accepts-anything --way skip-lasting      same

Real QEMU boots a chip whose primary or secondary slot holds an image that is bad in one way. In each boot one
instruction is skipped (replaced by one that does nothing) or one bit of it is flipped; once, or (`-lasting`) as often
as it comes. What must not happen is that the bad image runs; recovery, the other image, a reset and a hang are safe.

Says on stderr how far it is, and at once each fault that was fatal, with what makes it again (`--again`). Prints a
table at the end; it is called PARTIAL if Ctrl-C, SIGTERM or an error was the end. Exit status 0 if no fault that comes
once was fatal, 1 if one was; with --weak, where the bootloader lacks something, the other way round, lasting faults
included; 3 if the campaign could not be done, or not to its end, whatever it found. A fault under which QEMU dies is
counted by itself (`emulator died`): nothing is known of it. Too many of them (fault_tally.py) are an error.
"""

from __future__ import annotations

import argparse
import random
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import chain, islice, product
from pathlib import Path

sys.dont_write_bytecode = True

from fault_bench import START, Fault, FaultBench, read_fault  # noqa: E402
from fault_images import HEADER_BYTES, KINDS, PLACES, ImageSet  # noqa: E402
from fault_outcome import DiedAfterwards, EmulatorDied, Outcome  # noqa: E402
from fault_plan import Place, Plan, functions, is_library, ranges, read_assembly, read_trace  # noqa: E402
from fault_tally import Ledger  # noqa: E402
from fault_workers import WORKERS, Halt, Signals, Stopped, run_all  # noqa: E402
from signed_build import Workshop  # noqa: E402

FLIPS = 2  # bits of an instruction that a sample tries
TRACE_S = 60.0  # of a boot of which each instruction is logged
WAYS = ("skip", "flip", "skip-library", "flip-library", "skip-lasting", "skip-lasting-library")
AGAIN = "again"  # the way of one fault that is given
PROGRESS_S = 30.0  # between two lines on stderr
# What --weak leaves out, one of: the second decision (then one skipped branch is enough), the proof that the verifier
# refuses something (then one lasting skip in it is), the bounds of the running hash (then one skipped branch in it
# writes the image over the stack), what keeps the image from running before it was verified (then a branch to another
# place may lead into it), that the jump needs both decisions (then a branch past them is enough), or what keeps the
# code from being written (then a copy may go over it). The campaign must see it.
SECOND_DECISION = "    struct image_source source = image_in_ram(port_memory(RAM_APP_BASE)"
REFUSAL = "    wrong |= check_refusal(&image, key);\n"
HASH = "    static struct sha256 hash;  // holds bytes of the image: never on the stack\n    sha256_init"
GUARD = "    port_forbid_execution(RAM_APP_BASE, RAM_APP_SIZE);\n"
KEEPER = "    port_forbid_writing_code();\n"
DECIDED = "port_jump(RAM_APP_BASE + (decisions[0] ^ RESULT_OK) + (decisions[1] ^ RESULT_OK), "
NOTE = "static struct stored_note note;  // off the stack"
ANYWAY = ("bootloader/main.c", DECIDED, "port_jump(RAM_APP_BASE, ")
BLOCK = "@min(Sha256.block_length, length - done)"
WEAK = {
    "decides-once": [("core/boot.c", SECOND_DECISION, "    return RESULT_OK;\n" + SECOND_DECISION), ANYWAY],
    "accepts-anything": [("core/boot.c", REFUSAL, "    (void)check_refusal;\n")],
    "hashes-at-once": [
        ("core/image.c", HASH, HASH.removeprefix("    static ")),
        ("crypto/crypto.zig", BLOCK, "length - done"),
        ("bootloader/main.c", GUARD, ""),  # which stops the image also then
    ],
    "runs-anything": [("bootloader/main.c", GUARD, "")],
    "jumps-anyway": [ANYWAY],
    "notes-on-stack": [
        ("core/notes.c", NOTE, "struct stored_note note;  //"),
        ("bootloader/main.c", KEEPER, ""),  # which stops it also then, as the decisions do
        ANYWAY,
    ],
    "writes-code": [("bootloader/main.c", KEEPER, "")],
}


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
        with closing(self.bench()) as bench:
            bench.boot(None)
            self._chip = bench.end()

    def _logged(self, *what: str) -> Path:
        with closing(self.bench(*what, "-D", str(self._folder / "log"))) as bench:
            if bench.boot(None, TRACE_S).outcome != self.right:
                raise RuntimeError(f"{self.kind} in {self.place} does not end in {self.right.value} without a fault")
            bench.end()
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

    def at(self, fault: Fault) -> str:
        """The instruction that it spoils, for a person."""
        return f"{self.plan.name(fault.address)} {fault.address:#x}"

    def describe(self, fault: Fault) -> str:
        """Where it is and what it does, for a person; and how to make it again."""
        right = self.plan.code(fault.address)
        changed = int.from_bytes(right, "little") ^ int.from_bytes(fault.code, "little")
        bit = f" (bit {changed.bit_length() - 1})" if changed.bit_count() == 1 else ""
        return (
            f"{self.kind} in {self.place}: {self.at(fault)} "
            f"{right.hex()} -> {fault.code.hex()}{bit}, time {fault.hit} after "
            f"{self.plan.name(fault.anchor) if fault.anchor else 'the start'} {fault.count}, "
            f'--scene "{self.kind} {self.place}" --again {fault.spell()}'
        )

    def places(self, way: str, dice: random.Random) -> list[Place]:
        """All that one way offers, in a seeded order."""
        if way.startswith("skip-lasting"):
            addresses = self._library() if way.endswith("-library") else self.plan.addresses()
            places = [Place(address, 0, 0, 1) for address in addresses]
        elif way.endswith("-library"):
            places = list(self.plan.library_places(self._library()))
        else:
            places = list(self.plan.places())
        places = [place for place in places if self._only.search(self.plan.name(place.address))]
        dice.shuffle(places)
        return places

    def faults(self, way: str, dice: random.Random, flips: int) -> tuple[int, Iterator[Fault]]:
        """All that one way offers, in a seeded order, and how many they are."""
        places = self.places(way, dice)
        if way.startswith("skip-lasting"):
            return len(places), (self.plan.skip(place, lasting=True) for place in places)
        if way.startswith("skip"):
            return len(places), (self.plan.skip(place) for place in places)
        count = sum(min(flips, 8 * len(self.plan.code(place.address))) for place in places)
        return count, chain.from_iterable(self.plan.flips(place, dice, flips) for place in places)


class Trial:
    """One board on which the faults of one way are tried, one after the other."""

    def __init__(self, scene: Scene, way: str, ledger: Ledger, bench: FaultBench) -> None:
        self._scene, self._way, self._ledger, self._bench = scene, way, ledger, bench
        self._last: tuple[Fault, Outcome] | None = None

    def attempt(self, fault: Fault) -> None:
        """One boot. Raises RuntimeError, OSError."""
        try:
            boot = self._bench.boot(fault)
        except DiedAfterwards as error:
            self._doubt(str(error))
            boot = self._bench.boot(fault)
        self._last = (fault, boot.outcome)
        told = self._scene.describe(fault)
        if boot.outcome is Outcome.RAN_OTHER:
            told += f", stopped at {boot.pc:#x}"
        told += f": {boot.ended}" if boot.ended else ""
        self._ledger.note(self._way, boot.outcome, self._scene.at(fault), told)

    def _doubt(self, why: str) -> None:
        """The emulator died after a boot that seemed to have come to its end: nobody knows what that was worth."""
        if self._last is None:
            raise EmulatorDied(why)
        fault, outcome = self._last
        told = f"{self._scene.describe(fault)}, {outcome.value}, and before the next one: {why}"
        self._ledger.doubt(self._way, outcome, self._scene.at(fault), told)


def try_all(scene: Scene, way: str, faults: Iterator[Fault], end: float, ledger: Ledger, halt: Halt) -> None:
    """Boots with one fault after the other, until there are none left, the time is over, or somebody says halt. Raises
    RuntimeError, OSError."""
    with closing(scene.bench()) as bench, halt.reaches(bench):
        trial = Trial(scene, way, ledger, bench)
        for fault in faults:
            if halt.asked:
                return
            try:
                trial.attempt(fault)
            except (RuntimeError, OSError) as error:
                if halt.asked:  # and so it is no wonder
                    return
                raise EmulatorDied(f"{scene.describe(fault)}: {error}") from error
            if time.monotonic() > end:
                return


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


def scenes_of(workshop: Workshop, given: argparse.Namespace, folder: Path, ledger: Ledger) -> list[Scene]:
    """Those that were asked for, prepared."""
    images = ImageSet(workshop)
    wanted = [(kind, place) for kind, place in product(KINDS, PLACES) if given.scene in f"{kind} {place}"]
    wanted = random.Random(given.seed).sample(wanted, min(given.scenes, len(wanted)))
    scenes = []
    for number, (kind, place) in enumerate(wanted, 1):
        ledger.say(f"{ledger.what}: prepares {kind} in {place}, scene {number} of {len(wanted)}")
        (folder / f"{kind}-{place}").mkdir()
        scenes.append(Scene(images, kind, place, given.only, folder / f"{kind}-{place}"))
    return scenes


def campaign(workshop: Workshop, given: argparse.Namespace, folder: Path, ledger: Ledger) -> None:
    """All ways on all scenes, each for its part of the time. Raises RuntimeError, OSError, Stopped."""
    scenes = scenes_of(workshop, given, folder, ledger)
    parts = [(scene, way) for scene in scenes for way in ledger.tallies]
    share_s = given.seconds * WORKERS / len(parts)
    halt = Halt()

    def job(scene: Scene, way: str) -> Callable[[], None]:
        def work() -> None:
            dice = random.Random(f"{given.seed} {scene.kind} {scene.place} {way}")
            count, faults = (1, iter([given.again])) if given.again else scene.faults(way, dice, given.flips)
            ledger.offer(min(count, given.count or count))
            try_all(scene, way, islice(faults, given.count), time.monotonic() + share_s, ledger, halt)

        return work

    run_all([job(*part) for part in parts], halt, lambda: ledger.say(ledger.progress()), given.every)


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
    parser.add_argument("--again", type=read_fault, metavar="FAULT", help="only this one, as it was told")
    parser.add_argument("--every", type=float, default=PROGRESS_S, help="seconds between lines of progress on stderr")
    parser.add_argument("--weak", nargs="?", choices=WEAK, const="decides-once", help="a bootloader that lacks that")
    parser.add_argument("--folder", type=Path, help="where to build; else a temporary one")
    parser.add_argument("--cache", type=Path, help="of the compiler; else in that folder")
    given = parser.parse_args(arguments)
    given.way = [AGAIN] if given.again else given.way or list(WAYS)
    return given


def say(line: str) -> None:
    """At once, on stderr; workers do it, too."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def attempt(given: argparse.Namespace, name: Path, ledger: Ledger) -> str:
    """The campaign; why it did not come to its end, or nothing."""
    folder = given.folder or name
    folder.mkdir(exist_ok=True)
    workshop = Workshop(given.board, folder, given.cache or folder / "cache", given.compiler)
    try:
        if given.weak:
            workshop.firmware = weaken(workshop.firmware, name, given.weak)
        campaign(workshop, given, name, ledger)
    except (RuntimeError, OSError, Stopped) as error:
        return str(error)
    return ""


def main(arguments: list[str]) -> int:
    """See the module's docstring."""
    given = parse(arguments)
    weak = f", weak: {given.weak}" if given.weak else ""
    ledger = Ledger(f"{given.board}, {given.compiler}, seed {given.seed}{weak}", given.way, say)
    with Signals() as signals, tempfile.TemporaryDirectory() as name:
        problem = attempt(given, Path(name), ledger)
        signals.ignore()
        print(ledger.table(problem), flush=True)
    if problem:
        say(f"fault_injection.py: {problem}")
        return 3
    counts = [tally for way, tally in ledger.tallies.items() if given.weak or not way.startswith("skip-lasting")]
    fatal = any(tally.tried[Outcome.RAN_BAD] for tally in counts)
    return 1 if fatal != bool(given.weak) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
