# SPDX-License-Identifier: Apache-2.0
"""Releases that fit together on given hardware, one for each module of a product; or why there are none. Pure.

The search is resolvelib's (pip's). A module is a package, and so is an interface that a module needs: its candidates
are the board, the mask ROM, and releases of other modules that offer it, each of which pins that release.
Guards: the same inputs give the same choice; the newest release first, those that are deprecated last; whatever is
chosen passes `model.compatibility`, as it will when it is flashed.
Leaves to others: which releases may be considered at all (`pipeline.product_candidates`), and verifying them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from resolvelib import AbstractProvider, BaseReporter, ResolutionImpossible, ResolutionTooDeep, Resolver
from resolvelib.structs import RequirementInformation

from assay.errors import Refused
from assay.model.artifact import Release
from assay.model.board import Board
from assay.model.compatibility import Offer, offer_of, offers_of_board, satisfies, serves, unmet_need
from assay.model.contract import Interface
from assay.model.identifiers import Version
from assay.model.product import Product, ProductModule

ROUNDS_MAX = 100_000
"""Steps of the search: a product of ten modules with a hundred releases each takes some hundreds."""
LEFT_OUT_SHOWN_MAX = 8
"""Releases whose exclusion a refusal tells of."""

RESTS_ON = {"rom": (), "bootloader": ("rom",), "app": ("rom", "bootloader", "radio"), "radio": ("bootloader", "app")}
"""Kinds of modules whose offers serve a module of a kind, besides the board and its mask ROM."""


@dataclass(frozen=True)
class Candidate:
    """A release that may be chosen; `deprecated` says why it should not be, if another one fits."""

    release: Release
    deprecated: str | None = None


@dataclass(frozen=True)
class LeftOut:
    """A release of a module of the product that is not considered, and why."""

    reference: str
    board: str
    why: str


Key = tuple[str, ...]


@dataclass(frozen=True)
class _Need:
    """One requirement. `module` or `interface` is what is needed; `pin` is a release, and no other one."""

    board: str
    module: str = ""
    version: str | None = None
    capabilities: tuple[str, ...] = ()
    pin: str | None = None
    interface: Interface | None = None
    asker: str = ""
    kind: str = ""

    @property
    def key(self) -> Key:
        if self.interface is None:
            return ("module", self.board, self.module)
        major = self.interface.version.partition(".")[0]
        return ("interface", self.board, self.asker, self.interface.name, major)

    @property
    def words(self) -> str:
        if self.interface is not None:
            return f"the interface {self.interface.name} {self.interface.version}"
        able = f" that can do {', '.join(self.capabilities)}" if self.capabilities else ""
        return f"{self.module} {self.version or ''}".strip() + able


@dataclass(frozen=True)
class _Choice:
    """What is chosen for a key: a release, or (for an interface) the board; the same one by key and file."""

    key: Key
    file_sha256: str = ""
    release: Release | None = field(default=None, compare=False)


def resolve(
    product: Product,
    boards: Mapping[str, Board],
    default: str,
    candidates: Sequence[Candidate],
    left_out: Sequence[LeftOut] = (),
) -> tuple[Candidate, ...]:
    """One release for each module of `product`, in its order; a module without a board goes on `default`.

    Raises `Refused` that says who needs what, and which releases were not considered.
    """
    search = _Search(product, boards, default, candidates)
    try:
        found = _best(product, search)
    except ResolutionImpossible as impossible:
        raise _refusal(product, boards, search.told(impossible.causes), left_out) from impossible
    except ResolutionTooDeep as deep:
        told = (f"the search gave up after {ROUNDS_MAX} steps",)
        raise _refusal(product, boards, told, left_out) from deep
    answer = tuple(next(each for each in candidates if each.release is release) for release in found)
    for misfit in misfits(answer, boards):
        raise Refused(misfit, remedy="publish a release that serves what is needed, or change the product")
    return answer


def _best(product: Product, search: _Search) -> list[Release]:
    """The choice in which the first module has the best release that it can have, then the second, and so on.

    resolvelib lets a later need push back what was pinned before; so each module asks for its best, one after another.
    Where the search for a better one is given up, the one at hand stays.
    """
    found = search.solve(())
    pins: list[_Need] = []
    for index, module in enumerate(product.modules):
        key = search.root(module).key
        for wanted in search.in_order(key):
            if wanted is found[index]:
                break
            try:
                found = search.solve((*pins, _pin(wanted)))
            except ResolutionImpossible:
                continue
            except ResolutionTooDeep:
                pass  # what was found before fits: nobody is refused it for want of a newer one
            break
        pins.append(_pin(found[index]))
    return found


def _pin(release: Release) -> _Need:
    return _Need(release.board, release.name, pin=release.image.file_sha256)


def misfits(chosen: Sequence[Candidate], boards: Mapping[str, Board]) -> Iterator[str]:
    """The first need of each of `chosen` that is not served by the others or by its board (one of `boards`), in words;
    by the very function that is asked before flash is written.
    """
    for one in chosen:
        release = one.release
        kinds = RESTS_ON[release.kind]
        others = [
            offer_of(each.release)
            for each in chosen
            if each.release.board == release.board and each.release.kind in kinds and each.release is not release
        ]
        unmet = unmet_need(release, (*offers_of_board(boards[release.board]), *others))
        if unmet is not None:
            yield unmet


class _Search(AbstractProvider[_Need, _Choice, Key]):
    """The product as resolvelib asks for it."""

    def __init__(
        self, product: Product, boards: Mapping[str, Board], default: str, candidates: Sequence[Candidate]
    ) -> None:
        self._product = product
        self._default = default
        self._on_board = {name: offers_of_board(board) for name, board in boards.items()}
        self._releases = sorted(candidates, key=_newest_first)
        self._members = {(self._board_of(module), module.name) for module in product.modules}
        self._order = {self.root(module).key: index for index, module in enumerate(product.modules)}

    def solve(self, pins: Sequence[_Need]) -> list[Release]:
        """Any choice with `pins`, a release for each module in order. Raises `ResolutionImpossible`."""
        keys = [self.root(module) for module in self._product.modules]
        found = Resolver(self, BaseReporter()).resolve([*keys, *pins], max_rounds=ROUNDS_MAX)
        chosen = (found.mapping[need.key].release for need in keys)
        return [release for release in chosen if release is not None]

    def in_order(self, key: Key) -> list[Release]:
        """The releases of a module, the best first."""
        return [each.release for each in self._modules(key) if each.release is not None]

    def root(self, module: ProductModule) -> _Need:
        return _Need(self._board_of(module), module.name, module.version, module.capabilities)

    def _board_of(self, module: ProductModule) -> str:
        return module.board or self._default

    def identify(self, requirement_or_candidate: _Need | _Choice) -> Key:
        return requirement_or_candidate.key

    def get_preference(self, identifier: Key, *_state: Any, **_more: Any) -> tuple[int, int, Key]:
        """Modules in the order of the product, then interfaces: who stands first chooses first."""
        return (0 if identifier[0] == "module" else 1, self._order.get(identifier, len(self._order)), identifier)

    def find_matches(
        self,
        identifier: Key,
        requirements: Mapping[Key, Iterator[_Need]],
        incompatibilities: Mapping[Key, Iterator[_Choice]],
    ) -> list[_Choice]:
        needs, out = list(requirements[identifier]), set(incompatibilities[identifier])
        offered = self._modules(identifier) if identifier[0] == "module" else self._servers(identifier, needs)
        return [each for each in offered if each not in out and all(self.is_satisfied_by(need, each) for need in needs)]

    def _modules(self, key: Key) -> Iterator[_Choice]:
        for each in self._releases if key[1:] in self._members else ():
            if ("module", each.release.board, each.release.name) == key:
                yield _Choice(key, each.release.image.file_sha256, each.release)

    def _servers(self, key: Key, needs: Sequence[_Need]) -> Iterator[_Choice]:
        """The board before any module: what it offers needs nobody else."""
        yield _Choice(key)
        kinds = RESTS_ON[needs[0].kind]
        for each in self._releases:
            release = each.release
            member = (release.board, release.name) in self._members
            if member and release.board == key[1] and release.name != key[2] and release.kind in kinds:
                yield _Choice(key, release.image.file_sha256, release)

    def is_satisfied_by(self, requirement: _Need, candidate: _Choice) -> bool:
        offers = self._offers(requirement.board, candidate)
        if requirement.interface is not None:
            return any(serves(one, requirement.interface) for offer in offers for one in offer.provides)
        release = candidate.release
        assert release is not None
        return (
            (requirement.pin in (None, release.image.file_sha256))
            and (requirement.version is None or satisfies(release.version, requirement.version))
            and set(requirement.capabilities) <= set(offers[0].capabilities)
        )

    def _offers(self, board: str, candidate: _Choice) -> tuple[Offer, ...]:
        return self._on_board[board] if candidate.release is None else (offer_of(candidate.release),)

    def get_dependencies(self, candidate: _Choice) -> Iterable[_Need]:
        release = candidate.release
        if release is None:
            return []
        if candidate.key[0] == "interface":
            return [_pin(release)]
        return [*self._interface_needs(release), *self._module_needs(release)]

    def _interface_needs(self, release: Release) -> Iterator[_Need]:
        interfaces = release.artifact.interfaces
        for needed in interfaces.requires if interfaces is not None else ():
            yield _Need(release.board, interface=needed, asker=release.name, kind=release.kind)

    def _module_needs(self, release: Release) -> Iterator[_Need]:
        for needed in release.artifact.dependencies:
            on_board = [offer for offer in self._on_board[release.board] if offer.module == needed.name]
            able = {each for offer in on_board for each in offer.capabilities}
            if any(satisfies(offer.version, needed.version) for offer in on_board) and able >= set(
                needed.capabilities or ()
            ):
                continue
            yield _Need(release.board, needed.name, needed.version, needed.capabilities or ())

    def told(self, causes: Iterable[RequirementInformation[_Need, _Choice]]) -> tuple[str, ...]:
        """The conflict in words: who needs what, and what there is."""
        lines: list[str] = []
        for cause in causes:
            need, parent = cause.requirement, cause.parent
            if need.pin is not None:
                continue
            by = "the product" if parent is None or parent.release is None else parent.release.reference
            line = f"{by} needs {need.words} on {need.board}; {self._what_there_is(need)}"
            lines += [line] if line not in lines else []
        return tuple(lines)

    def _what_there_is(self, need: _Need) -> str:
        if need.interface is None:
            if (need.board, need.module) not in self._members:
                return f"{need.module} is not in the product"
            there = [one.release.version for one in self._releases if _is(one.release, need)]
            return f"there is {need.module} {', '.join(there)}" if there else f"there is no release of {need.module}"
        name, told = need.interface.name, []
        for offer in (*self._on_board[need.board], *map(offer_of, self._members_on(need))):
            told += [f"{offer.who} offers {name} {one.version}" for one in offer.provides if one.name == name]
        return "; ".join(told) or "nothing that may serve it offers any"

    def _members_on(self, need: _Need) -> list[Release]:
        kinds = RESTS_ON[need.kind]
        return [
            each.release
            for each in self._releases
            if each.release.board == need.board
            and (need.board, each.release.name) in self._members
            and each.release.kind in kinds
            and each.release.name != need.asker
        ]


def _is(release: Release, need: _Need) -> bool:
    return (release.board, release.name) == (need.board, need.module)


def _newest_first(one: Candidate) -> tuple[Any, ...]:
    numbers = tuple(-number for number in Version(one.release.version).numbers)
    return (one.deprecated is not None, one.release.name, one.release.board, numbers)


def _refusal(
    product: Product, boards: Mapping[str, Board], told: Sequence[str], left_out: Sequence[LeftOut]
) -> Refused:
    where = " and ".join(f"{board.name} revision {board.revision}" for board in boards.values())
    lines = [f"no releases of the modules of {product.name} fit together on {where}", *(f"  {line}" for line in told)]
    lines += [f"  not considered: {each.reference} for {each.board}: {each.why}" for each in left_out][
        :LEFT_OUT_SHOWN_MAX
    ]
    if len(left_out) > LEFT_OUT_SHOWN_MAX:
        lines.append(f"  and {len(left_out) - LEFT_OUT_SHOWN_MAX} more that are not considered")
    remedy = "publish a release that serves what is needed, or change the product"
    return Refused("\n".join(lines), remedy=remedy)
