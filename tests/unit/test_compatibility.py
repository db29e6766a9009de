# SPDX-License-Identifier: Apache-2.0
"""What a release needs of a unit and who offers it: versions, words, and the board files of this project."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_plan import release as plain_release

from assay.errors import Refused, WrongBoard
from assay.model.artifact import Artifact, Release
from assay.model.board import Board
from assay.model.compatibility import (
    Offer,
    check_hardware,
    check_interfaces,
    check_needs,
    hardware_fault,
    offer_of,
    offers_of_board,
    satisfies,
)
from assay.model.contract import Interface, Interfaces
from assay.model.module import Module

ROOT = Path(__file__).parents[2]
DOCUMENTS = {file: tomllib.loads(file.read_text()) for file in sorted((ROOT / "boards").glob("*.toml"))}
BOARDS = [file for file, document in DOCUMENTS.items() if "mask_rom" in document and "ssh" not in document]
"""Those that the firmware here is built for."""
LINUX_BOARDS = [file for file, document in DOCUMENTS.items() if "ssh" in document]
"""Linux modules: their mask ROM is somebody else's U-Boot."""


def manifest(file: Path, model: type[Any]) -> Any:
    return model.model_validate_json(json.dumps(tomllib.loads(file.read_text())))


def release(
    *requires: tuple[str, str], provides: tuple[tuple[str, str], ...] = (), needs: dict[str, str] | None = None
) -> Release:
    found = plain_release()
    said = {
        "interfaces": Interfaces(provides=interfaces(*provides), requires=interfaces(*requires)).model_dump(),
        "dependencies": [{"name": name, "version": rule} for name, rule in (needs or {}).items()],
    }
    artifact = type(found.artifact).model_validate_json(
        json.dumps(found.artifact.model_dump(mode="json", by_alias=True) | said)
    )
    return found.model_copy(update={"artifact": artifact})


def interfaces(*pairs: tuple[str, str]) -> tuple[Interface, ...]:
    return tuple(Interface(name=name, version=version) for name, version in pairs)


@pytest.mark.parametrize(
    ("offered", "needed", "serves"),
    [
        ("1", "1", True),
        ("1.2", "1", True),
        ("1.2", "1.2.0", True),
        ("1.10", "1.9", True),
        ("1.0", "1", True),
        ("1", "1.1", False),
        ("1.2", "1.10", False),
        ("2", "1", False),
        ("1", "2", False),
    ],
)
def test_an_interface_serves_the_same_major_version_from_its_own_downwards(
    offered: str, needed: str, serves: bool
) -> None:
    there = [Offer("the bootloader b@1.0.0", interfaces(("handoff", offered)))]
    if serves:
        check_interfaces(release(("handoff", needed)), there)
        return
    with pytest.raises(Refused, match=f"demo-sensor@1.1.0 needs the interface handoff {needed}.*handoff {offered}"):
        check_interfaces(release(("handoff", needed)), there)


def test_a_refusal_names_who_needs_what_and_who_offers_what() -> None:
    there = [Offer("the board b revision 1"), Offer("the mask ROM r 1.0.0", interfaces(("rom", "1"), ("x", "2")))]
    with pytest.raises(Refused) as caught:
        check_needs(release(("handoff", "2")), there)
    assert caught.value.message == (
        "demo-sensor@1.1.0 needs the interface handoff 2: the board b revision 1 offers nothing; "
        "the mask ROM r 1.0.0 offers rom 1, x 2"
    )


def test_every_interface_has_to_be_there_and_one_name_is_no_other() -> None:
    with pytest.raises(Refused, match="interface second 1"):
        check_needs(release(("first", "1"), ("second", "1")), [Offer("x", interfaces(("first", "1")))])
    with pytest.raises(Refused):
        check_needs(release(("handoff", "1")), [Offer("x", interfaces(("handoffs", "1")))])


@pytest.mark.parametrize(
    ("version", "rule", "meets"),
    [
        ("1.4.0", ">=1.0.0", True),
        ("1.0.0+7", ">=1.0.0", True),
        ("2.0.0", ">=1.0.0", False),
        ("1.0.0", ">=1.0.1", False),
        ("1.0.0", "==1.0.0", True),
        ("1.0.1", "==1.0.0", False),
    ],
)
def test_a_dependency_is_met_by_a_version(version: str, rule: str, meets: bool) -> None:
    assert satisfies(version, rule) is meets
    there = [Offer("the bootloader boot@x", module="boot", version=version)]
    if meets:
        check_needs(release(needs={"boot": rule}), there)
        return
    with pytest.raises(Refused, match=f"needs boot {rule}, the unit has {version}".replace("+", r"\+")):
        check_needs(release(needs={"boot": rule}), there)


def test_a_module_that_nobody_knows_of_is_not_there() -> None:
    with pytest.raises(Refused, match="not known to have"):
        check_needs(release(needs={"boot": ">=1.0.0"}), [Offer("the board b revision 1")])


def test_a_release_from_before_offers_nothing_and_needs_nothing() -> None:
    old = plain_release()
    assert old.artifact.interfaces is None
    assert offer_of(old).provides == ()
    check_needs(old, [])


@pytest.mark.parametrize("file", BOARDS, ids=lambda file: file.stem)
def test_the_modules_of_this_project_fit_each_other_on_every_board(file: Path) -> None:
    """What a twin's ROM is built of is what its board file says; and app, bootloader and ROM fit."""
    board: Board = manifest(file, Board)
    parts = {name: manifest(ROOT / "firmware" / name / "module.toml", Module) for name in ("rom", "bootloader", "app")}
    assert board.mask_rom is not None
    assert (board.mask_rom.name, board.mask_rom.version) == (parts["rom"].name, parts["rom"].version)
    assert board.mask_rom.provides == parts["rom"].interfaces.provides
    offers = offers_of_board(board)
    for name in ("bootloader", "app"):
        module: Module = parts[name]
        needs = {needed.name: needed.version for needed in module.dependencies}
        asked = release(
            *((one.name, one.version) for one in module.interfaces.requires),
            provides=tuple((one.name, one.version) for one in module.interfaces.provides),
            needs=needs,
        ).model_copy(update={"name": module.name, "version": module.version})
        check_needs(asked, offers)
        offers = (*offers, offer_of(asked))


@pytest.mark.parametrize("file", LINUX_BOARDS, ids=lambda file: file.stem)
def test_the_parts_of_a_linux_module_fit_each_other(file: Path) -> None:
    offers = offers_of_board(manifest(file, Board))
    for folder in ("boot", ""):
        module = manifest(ROOT / "firmware" / "linux" / folder / "module.toml", Module)
        for need in module.interfaces.requires:
            assert any(need in offer.provides for offer in offers), (file, need)
        offers = (*offers, Offer(module.name, module=module.name, provides=module.interfaces.provides))


def contracted(dependencies: tuple[dict[str, Any], ...] = (), **contract: Any) -> Release:
    found = plain_release()
    said = {"schema": "assay.artifact/2", "contract": contract, "dependencies": list(dependencies)}
    document = found.artifact.model_dump(mode="json", by_alias=True, exclude_none=True) | said
    return found.model_copy(update={"artifact": type(found.artifact).model_validate_json(json.dumps(document))})


BOARD: Board = manifest(ROOT / "boards" / "ast1030-evb.toml", Board)


def test_a_module_is_asked_what_it_can_do() -> None:
    asks = contracted(({"name": "boot", "version": ">=1.0.0", "capabilities": ["patches", "radio"]},))
    able = Offer("the bootloader", module="boot", version="1.0.0", capabilities=("patches",))
    with pytest.raises(Refused, match="needs boot to be able to do radio; the one that is there can do patches"):
        check_needs(asks, [able])
    check_needs(asks, [replace(able, capabilities=("radio", "patches"))])
    assert offer_of(contracted(capabilities=["x"])).capabilities == ("x",)


@pytest.mark.parametrize(
    ("contract", "said"),
    [
        ({"resources": {"flash": 0x60001}}, "393217 bytes of flash, the area 'primary' of ast1030-evb has 393216"),
        ({"resources": {"ram": 0x50001}}, "327681 bytes of RAM, the range 'app'"),
        ({"resources": {"peripherals": ["uart", "can"]}}, "needs can; ast1030-evb has uart, spi-nor"),
        ({"resources": {"flash": 1000}}, "has 200000 bytes, and promises at most 1000"),
        ({"resources": {"flash": 0x60000, "ram": 0x50000, "peripherals": ["uart"]}, "max_revision": 1}, None),
    ],
)
def test_a_board_has_what_a_release_takes_or_lacks_it_in_words(contract: dict[str, Any], said: str | None) -> None:
    asked = contracted(**contract)
    if said is None:
        check_hardware(asked, BOARD)
        return
    with pytest.raises(WrongBoard, match=re.escape(said)):
        check_hardware(asked, BOARD)


@pytest.mark.parametrize(("revision", "fits"), [(0, False), (1, True), (2, True), (3, False)])
def test_a_release_is_for_revisions_from_one_to_another(revision: int, fits: bool) -> None:
    board = BOARD.model_copy(update={"revision": revision})
    said = hardware_fault(contracted(max_revision=2), board)
    assert said == (None if fits else f"demo-sensor@1.1.0 is for revision 1 to 2 of ast1030-evb, this is {revision}")
    assert hardware_fault(plain_release(), BOARD.model_copy(update={"revision": 9})) is None


def test_an_artifact_of_the_first_version_has_no_contract() -> None:
    document = plain_release().artifact.model_dump(mode="json", by_alias=True, exclude_none=True)
    with pytest.raises(ValueError, match="first version has no contract"):
        Artifact.model_validate_json(json.dumps(document | {"schema": "assay.artifact/1", "contract": {}}))
