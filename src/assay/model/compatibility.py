# SPDX-License-Identifier: Apache-2.0
"""Whether a release finds on a unit what it needs there: interfaces and other modules, in the versions that it wants.

Guards: what nobody is known to offer counts as not there; a refusal says who needs which version, and who offers which.
Leaves to others: which bootloader is on the unit, and that the releases verify (`pipeline.unit_offers`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from assay.errors import Refused, WrongBoard
from assay.model.artifact import Release
from assay.model.board import Board
from assay.model.contract import Dependency, Interface, Resources
from assay.model.identifiers import Version


@dataclass(frozen=True)
class Offer:
    """One part of a unit and what it offers. `who` names it for people; `version` only if it is a module."""

    who: str
    provides: tuple[Interface, ...] = ()
    module: str = ""
    version: str = ""
    capabilities: tuple[str, ...] = ()


def offer_of(release: Release) -> Offer:
    """What a release offers to others; nothing when it was built before releases said so."""
    interfaces = release.artifact.interfaces
    provides = interfaces.provides if interfaces is not None else ()
    contract = release.artifact.contract
    able = contract.capabilities if contract is not None else ()
    return Offer(f"the {release.kind} {release.reference}", provides, release.name, release.version, able)


def offers_of_board(board: Board) -> tuple[Offer, ...]:
    """What every unit of a board offers: the design itself, and the mask ROM in its chip."""
    offers = [Offer(f"the board {board.name} revision {board.revision}", board.provides)]
    if (rom := board.mask_rom) is not None:
        offers.append(Offer(f"the mask ROM {rom.name} {rom.version}", rom.provides, rom.name, rom.version))
    return tuple(offers)


def check_needs(release: Release, offers: Sequence[Offer]) -> None:
    """Interfaces and modules that `release` needs are among `offers`. Raises `Refused`."""
    check_interfaces(release, offers)
    for dependency in release.artifact.dependencies:
        _check_dependency(release, dependency, offers)
    check_capabilities(release, offers)


def unmet_need(release: Release, offers: Sequence[Offer]) -> str | None:
    """The first need of `release` that `offers` do not serve, in words; None when they serve all."""
    try:
        check_needs(release, offers)
    except Refused as refused:
        return refused.message
    return None


def check_capabilities(release: Release, offers: Sequence[Offer]) -> None:
    """The modules that `release` depends on can do what it needs of them. Raises `Refused`."""
    for dependency in release.artifact.dependencies:
        able = {each for offer in offers if offer.module == dependency.name for each in offer.capabilities}
        missing = [each for each in dependency.capabilities or () if each not in able]
        if missing:
            raise Refused(
                f"{release.reference} needs {dependency.name} to be able to do {', '.join(missing)}; "
                f"the one that is there can do {', '.join(sorted(able)) or 'nothing of that kind'}",
                remedy=f"take a release of {release.name} for what is there; nothing was written",
            )


def check_hardware(release: Release, board: Board) -> None:
    """The board, in the revision of its file, has what `release` was built for. Raises `WrongBoard`."""
    fault = hardware_fault(release, board)
    if fault is not None:
        raise WrongBoard(fault, remedy=f"take a release of {release.name} for this board, or another board")


def hardware_fault(release: Release, board: Board) -> str | None:
    """Why `release` cannot be on `board`, in words: board, revision, flash, RAM or peripherals; None if it can."""
    if release.board != board.name:
        return f"{release.reference} is for {release.board}, not for {board.name}"
    contract = release.artifact.contract
    last = contract.max_revision if contract is not None else None
    if not release.min_revision <= board.revision <= (board.revision if last is None else last):
        until = "and later" if last is None else f"to {last}"
        said = f"{release.reference} is for revision {release.min_revision} {until} of {board.name}"
        return f"{said}, this is {board.revision}"
    if contract is None:
        return None
    size = release.image.size
    if contract.resources.flash is not None and size > contract.resources.flash:
        return f"the image of {release.reference} has {size} bytes, and promises at most {contract.resources.flash}"
    lacks = what_lacks(release.kind, contract.resources, board)
    return f"{release.reference} needs {lacks}" if lacks else None


FLASH_AREA = {"app": "primary", "bootloader": "boot", "radio": "radio_primary"}
"""Where the image of a module lies; a mask ROM is not in the flash."""
RAM_RANGE = {"app": "app", "bootloader": "boot", "rom": "rom"}
"""Where a module runs; a radio has a processor of its own."""


def what_lacks(kind: str, resources: Resources, board: Board) -> str | None:
    """What a module of `kind` takes and `board` does not have, in words; None when it has all of it."""
    area, ram = board.flash.areas.get(FLASH_AREA.get(kind, "")), board.ram.get(RAM_RANGE.get(kind, ""))
    if resources.flash is not None and area is not None and resources.flash > area.size:
        return f"{resources.flash} bytes of flash, the area '{FLASH_AREA[kind]}' of {board.name} has {area.size}"
    if resources.ram is not None and ram is not None and resources.ram > ram.size:
        return f"{resources.ram} bytes of RAM, the range '{RAM_RANGE[kind]}' of {board.name} has {ram.size}"
    missing = [each for each in resources.peripherals if each not in board.peripherals]
    if missing:
        return f"{', '.join(missing)}; {board.name} has {', '.join(board.peripherals) or 'no peripherals in its file'}"
    return None


def check_interfaces(release: Release, offers: Sequence[Offer]) -> None:
    """Interfaces that `release` needs are among `offers`. Raises `Refused`."""
    interfaces = release.artifact.interfaces
    for needed in interfaces.requires if interfaces is not None else ():
        if not any(serves(offered, needed) for offer in offers for offered in offer.provides):
            raise Refused(
                f"{release.reference} needs the interface {needed.name} {needed.version}: "
                f"{_who_offers(needed, offers)}",
                remedy=f"take a release of {release.name} that needs what is there, or a unit that offers it; "
                "nothing was written",
            )


def satisfies(version: str, requirement: str) -> bool:
    """Whether a module of `version` meets `>=1.2.3` (same major) or `==1.2.3`."""
    has, wanted = Version(version), Version(requirement[2:])
    return has == wanted if requirement.startswith("==") else has >= wanted and has.numbers[0] == wanted.numbers[0]


def serves(offered: Interface, needed: Interface) -> bool:
    """The same interface with the same first number, and not older: `2.1` serves `2` and `2.0`, never `3` or `2.2`."""
    if offered.name != needed.name:
        return False
    has, wants = ([int(number) for number in one.version.split(".")] for one in (offered, needed))
    pairs = list(zip_longest(has, wants, fillvalue=0))
    return has[0] == wants[0] and [one for one, _ in pairs] >= [other for _, other in pairs]


def _who_offers(needed: Interface, offers: Sequence[Offer]) -> str:
    """Those with another version of it; when there is none, everybody with all that they offer."""
    near = [offer for offer in offers if any(offered.name == needed.name for offered in offer.provides)]
    told = []
    for offer in near or offers:
        offered = [one for one in offer.provides if not near or one.name == needed.name]
        words = ", ".join(f"{one.name} {one.version}" for one in offered) or "nothing"
        told.append(f"{offer.who} offers {words}")
    return "; ".join(told)


def _check_dependency(release: Release, dependency: Dependency, offers: Sequence[Offer]) -> None:
    there = [offer for offer in offers if offer.module == dependency.name]
    if any(satisfies(offer.version, dependency.version) for offer in there):
        return
    has = f"the unit has {there[0].version}" if there else "which the unit is not known to have"
    raise Refused(
        f"{release.reference} needs {dependency.name} {dependency.version}, {has}",
        remedy=f"take a release of {release.name} for what is there; nothing was written"
        if there
        else "publish that module's release in this site's store, so that its image is recognized",
    )
