# SPDX-License-Identifier: Apache-2.0
"""Whether a release finds on a unit what it needs there: interfaces and other modules, in the versions that it wants.

Guards: what nobody is known to offer counts as not there; a refusal says who needs which version, and who offers which.
Leaves to others: which bootloader is on the unit, and that the releases verify (`pipeline.unit_offers`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from assay.errors import Refused
from assay.model.artifact import Release
from assay.model.identifiers import Version
from assay.model.manifest import Board, Dependency, Interface


@dataclass(frozen=True)
class Offer:
    """One part of a unit and what it offers. `who` names it for people; `version` only if it is a module."""

    who: str
    provides: tuple[Interface, ...] = ()
    module: str = ""
    version: str = ""


def offer_of(release: Release) -> Offer:
    """What a release offers to others; nothing when it was built before releases said so."""
    interfaces = release.artifact.interfaces
    provides = interfaces.provides if interfaces is not None else ()
    return Offer(f"the {release.kind} {release.reference}", provides, release.name, release.version)


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


def check_interfaces(release: Release, offers: Sequence[Offer]) -> None:
    """Interfaces that `release` needs are among `offers`. Raises `Refused`."""
    interfaces = release.artifact.interfaces
    for needed in interfaces.requires if interfaces is not None else ():
        if not any(_serves(offered, needed) for offer in offers for offered in offer.provides):
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


def _serves(offered: Interface, needed: Interface) -> bool:
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
