# SPDX-License-Identifier: Apache-2.0
"""The place of one test process: taken by the host's lock, its unit proved, its twin fresh if that was asked for.

Guards: each process has a place of its own; a fresh twin runs nothing but verified images and ends with this process.
Leaves to others: opening a place (`places`), verifying a release (`release_gate`), making a twin (`fresh_twin`), the
proof (`stages.hil.running_image`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from assay.errors import AssayError, UsageFault, WrongBoard, at_layer
from assay.interfaces.device import Stage
from assay.model.ssh import SSH_SCHEME
from assay.stages.hil.running_image import Expected, how_at_boot, prove
from assay.stages.hil.unit_under_test import ConsoleLines, UnitPower, UnitUnderTest, restart

if TYPE_CHECKING:
    from assay.interfaces.device import Console, Device
    from assay.model.artifact import Release, VerifiedImage
    from assay.model.board import Board
    from assay.model.foreign_board import ForeignBoard
    from assay.model.trust import TrustFile
    from assay.model.verdict import UnitSeen
    from assay.pipeline.places import OpenPlace, PlaceAddress
    from assay.pipeline.site import Site
    from assay.pipeline.test_foreign import ForeignBenchPlace
    from assay.pipeline.test_session import Wish

READY_TIMEOUT_S = 15.0
"""Seconds for the app to answer after power on: the emulated boards need 0.1 s, one with a swap to finish some more."""
FRESH_TWIN = "twin:"
VERB = "test"
DEVICE = "mcumgr"


@dataclass
class BenchPlace:
    """A place with its unit; `expected` learns the chip at the first proof, and holds to it."""

    name: str
    board: Board
    release: Release
    device: Device
    console: ConsoleLines | None
    power: UnitPower | None
    expected: Expected
    features: tuple[str, ...] = ()
    _last: UnitUnderTest | None = None

    def ready(self) -> UnitUnderTest:
        """Power on, app up, image proved. Raises InfrastructureError or WrongBoard with the layer that is to blame."""
        if self.power is not None and not self.power.is_on():
            self.power.on()
        with at_layer("link"):
            self.device.wait_ready(Stage.APP, READY_TIMEOUT_S)
        proof = prove(self.device, self.expected)
        self.expected = replace(self.expected, chip=proof.info.chip)
        self._last = UnitUnderTest(self.name, self.board, self.release, proof)
        return self._last

    def restart(self, how: str, off_s: float) -> None:
        """The known power state before another attempt. Raises InfrastructureError of layer power."""
        restart(self.name, self.power, how, off_s)

    def answers(self) -> bool:
        """True when the device answers anything."""
        try:
            self.device.info()
        except AssayError:
            return False
        return True

    def seen(self) -> UnitSeen:
        """The unit at the last proof, for an event."""
        from assay.model.verdict import UnitSeen

        assert self._last is not None
        info = self._last.info
        return UnitSeen(
            place=self.name,
            board=self.board.name,
            revision=info.revision,
            emulated=self.board.emulated,
            chip=info.chip.hex(),
            serial=info.serial,
            version=info.version,
            image_hash=(info.image_hash or b"").hex(),
        )


TestedPlace: TypeAlias = "BenchPlace | ForeignBenchPlace"


@contextlib.contextmanager
def open_bench_place(wish: Wish, worker: str) -> Iterator[TestedPlace]:
    """The one place of the wish. Raises PlaceBusy when somebody has it, and what `places` raises."""
    from assay.pipeline.site import Site

    site = Site(wish.site or nearest_site(Path.cwd()))
    (name,) = wish.places
    with contextlib.ExitStack() as stack:
        if name.startswith(FRESH_TWIN):
            yield _fresh(site, wish, name.removeprefix(FRESH_TWIN), worker, stack)
        else:
            yield _named(site, wish, name, stack)


def _bench_place(site: Site, place: OpenPlace, console: Console | None, image: VerifiedImage) -> BenchPlace:
    """`place`, with what the image under test makes of it."""
    release = image.release
    image_hash = bytes.fromhex(release.image.image_hash)
    expected = Expected(image_hash, place.board.name, release.reference, place.chip, how_at_boot(place.board))
    power = None
    if place.power is not None:
        power = UnitPower(place.power, console or place.device, site.clock.sleep)
    lines = ConsoleLines(console) if console is not None else None
    return BenchPlace(place.name, place.board, release, place.device, lines, power, expected, place.features)


def offer_of(wish: Wish, name: str) -> tuple[str, tuple[str, ...]]:
    """Board and features of a place that was named, without opening it. Raises what `places.find_place` raises."""
    from assay.pipeline.places import find_place
    from assay.pipeline.site import Site

    if name.startswith(FRESH_TWIN):
        return name.removeprefix(FRESH_TWIN), ()
    address = find_place(Site(wish.site or nearest_site(Path.cwd())), name, bench=wish.bench)
    return address.board.name, address.features


@contextlib.contextmanager
def in_line(wish: Wish, name: str) -> Iterator[Callable[[], bool]]:
    """Stand in the line of a place that was named while the block lasts; the function says whether it is our turn."""
    from assay.drivers.locks.file_lock import FileLocks
    from assay.pipeline.places import find_place
    from assay.pipeline.site import Site

    address = find_place(Site(wish.site or nearest_site(Path.cwd())), name, bench=wish.bench)
    with FileLocks().in_line((address.port, *address.doors), verb=VERB, place=name) as is_free:
        yield is_free


def check_quarantine(wish: Wish, name: str) -> None:
    """Raises InQuarantine when tests keep away from the place."""
    if not name.startswith(FRESH_TWIN):
        from assay.pipeline.quarantine import check
        from assay.pipeline.site import Site

        check(Site(wish.site or nearest_site(Path.cwd())), name)


def _named(site: Site, wish: Wish, name: str, stack: contextlib.ExitStack) -> TestedPlace:
    from assay.model.foreign_board import ForeignBoard
    from assay.pipeline.places import find_place, open_place

    address = find_place(site, name, bench=wish.bench)
    if wish.board is not None and wish.board != address.board.name:
        raise WrongBoard(
            f"place {name} has board {address.board.name}, asked for is {wish.board}", remedy="name another place"
        )
    if isinstance(address.board, ForeignBoard):
        return _foreign(site, wish, name, address.board, stack)
    place = stack.enter_context(open_place(site, name, verb=VERB, bench=wish.bench))
    return _bench_place(site, place, _console(address, place, stack), _image(site, wish, place.board))


def _foreign(site: Site, wish: Wish, name: str, board: ForeignBoard, stack: contextlib.ExitStack) -> ForeignBenchPlace:
    from assay.pipeline.foreign_images import ImageChoice, parse_images
    from assay.pipeline.foreign_place import open_foreign_place
    from assay.pipeline.test_foreign import foreign_bench_place, images_under_test

    trust = _trust(wish)
    choice = ImageChoice(parse_images(wish.images), wish.trust or Path(), wish.unverified)
    tested = images_under_test(choice, board, trust, _nothing)
    place = stack.enter_context(open_foreign_place(site, name, verb=VERB, bench=wish.bench))
    return foreign_bench_place(place, tested.images)


def _console(address: PlaceAddress, place: OpenPlace, stack: contextlib.ExitStack) -> Console | None:
    """The lines for people: on the link itself, or on the port beside it; None for a unit that has only its link."""
    if place.board.ssh is None:
        return place.device
    if address.port.startswith(SSH_SCHEME):
        return None
    from assay.pipeline import driver_doors

    serial = place.board.serial
    transport = driver_doors.open_transport(address.port, serial.baud)
    stack.callback(transport.close)
    return driver_doors.device_driver(DEVICE)(transport, serial.baud, "console")


def _nothing(_line: str) -> None:
    """What is known of an image's signature was said by who verified it."""


def _fresh(site: Site, wish: Wish, board_name: str, worker: str, stack: contextlib.ExitStack) -> BenchPlace:
    from assay.pipeline.fresh_twin import fresh_twin
    from assay.pipeline.manifest_files import board_file, load_board, project_root
    from assay.pipeline.places import open_place

    board = load_board(board_file(project_root(Path.cwd()), board_name))
    image = _image(site, wish, board)
    with at_layer("flasher"):
        name = stack.enter_context(fresh_twin(site, board, image, _trust(wish), worker))
    place = stack.enter_context(open_place(site, name, verb=VERB))
    return _bench_place(site, place, place.device, image)


def _image(site: Site, wish: Wish, board: Board) -> VerifiedImage:
    from assay.pipeline.release_gate import verify_release
    from assay.pipeline.unit_records import parse_reference

    if not wish.release:
        raise UsageFault(
            f"no release to test on a {board.name}: an image file alone is for somebody else's board",
            remedy="name it with --assay-release NAME@VERSION (or ASSAY_RELEASE)",
        )
    name, version = parse_reference(wish.release)
    return verify_release(site.store, _trust(wish), name, version, board)


def _trust(wish: Wish) -> TrustFile:
    from assay.pipeline.trust_file import load_trust

    if wish.trust is None:
        raise UsageFault("no trust file", remedy="name one with --assay-trust FILE (or ASSAY_TRUST)")
    return load_trust(wish.trust)


def nearest_site(start: Path) -> Path:
    """The nearest `.assay` upwards from `start`. Raises UsageFault."""
    for folder in (start, *start.parents):
        if (folder / ".assay").is_dir():
            return folder / ".assay"
    raise UsageFault(f"no site in {start} or above", remedy="name one with --assay-site DIR (or ASSAY_SITE)")
