# SPDX-License-Identifier: Apache-2.0
"""Releases that fit together: the newest that do, the same each time, or in words why none do."""

from __future__ import annotations

import itertools
import json
import tomllib
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from resolvelib import ResolutionTooDeep
from test_plan import release as plain_release

from assay.errors import Refused
from assay.model.artifact import Artifact, Release
from assay.model.board import Board
from assay.model.compatibility import check_needs, offer_of, offers_of_board
from assay.model.deprecation import covers, deprecated
from assay.model.identifiers import Version
from assay.model.product import Product
from assay.stages.composition.resolve import RESTS_ON, Candidate, LeftOut, _Search, resolve

ROOT = Path(__file__).parents[2]
BOARD = Board.model_validate_json(
    json.dumps(tomllib.loads((ROOT / "boards" / "ast1030-evb.toml").read_text()), default=str)
)
KINDS = {"boot": "bootloader", "sensor": "app", "radio": "radio"}


def made(name: str, version: str, needs: Sequence[str] = (), offers: Sequence[str] = (), **more: Any) -> Release:
    """A release; `needs` and `offers` are interfaces, `NAME VERSION`, or modules, `NAME>=VERSION`."""
    found = plain_release(name=name, kind=KINDS[name], version=version, image_hash=digest_of(name, version))
    said: dict[str, Any] = {
        "schema": "assay.artifact/2",
        "interfaces": {"provides": pairs(offers), "requires": pairs(each for each in needs if " " in each)},
        "dependencies": [
            {"name": each.partition(">=")[0], "version": ">=" + each.partition(">=")[2]} | more.pop("depends", {})
            for each in needs
            if ">=" in each
        ],
        "contract": more,
    }
    plain = found.artifact.model_dump(mode="json", by_alias=True, exclude_none=True)
    image = found.image.model_copy(update={"file_sha256": digest_of(name, version)})
    artifact = Artifact.model_validate_json(json.dumps(plain | said))
    return found.model_copy(update={"artifact": artifact, "image": image})


def digest_of(name: str, version: str) -> str:
    return f"{name}{version}".encode().hex().ljust(64, "0")


def pairs(texts: Any) -> list[dict[str, str]]:
    return [{"name": text.split()[0], "version": text.split()[1]} for text in texts]


def product(*modules: str, **rules: str) -> Product:
    said = [{"name": name} | ({"version": rules[name]} if name in rules else {}) for name in modules]
    return Product.model_validate_json(json.dumps({"schema": "assay.product/1", "name": "node", "modules": said}))


def chosen(wanted: Product, releases: Sequence[Release], left_out: Sequence[LeftOut] = ()) -> list[str]:
    candidates = [Candidate(each) for each in releases]
    found = resolve(wanted, {BOARD.name: BOARD}, BOARD.name, candidates, left_out)
    return [each.release.reference for each in found]


BOOTS = [
    made("boot", "1.0.0", ["assay-rom 1"], ["handoff 1"]),
    made("boot", "2.0.0", ["assay-rom 1"], ["handoff 2"]),
]
SENSORS = [
    made("sensor", "1.0.0", ["handoff 1"], ["link 1"]),
    made("sensor", "1.1.0", ["handoff 1", "boot>=1.0.0"], ["link 1.2"]),
    made("sensor", "2.0.0", ["handoff 2", "boot>=2.0.0"], ["link 2"]),
]


def test_the_newest_that_fit_are_chosen() -> None:
    assert chosen(product("boot", "sensor"), [*BOOTS, *SENSORS]) == ["boot@2.0.0", "sensor@2.0.0"]
    assert chosen(product("boot", "sensor", boot=">=1.0.0"), [*BOOTS, *SENSORS]) == ["boot@1.0.0", "sensor@1.1.0"]
    assert chosen(product("sensor", "boot", sensor="==1.0.0"), [*BOOTS, *SENSORS]) == ["sensor@1.0.0", "boot@1.0.0"]


def test_a_module_further_up_chooses_first() -> None:
    radio = [made("radio", "1.0.0", ["link 1"]), made("radio", "0.9.0", ["link 2"])]
    assert chosen(product("radio", "sensor", "boot"), [*BOOTS, *SENSORS, *radio])[:2] == ["radio@1.0.0", "sensor@1.1.0"]
    assert chosen(product("boot", "sensor", "radio"), [*BOOTS, *SENSORS, *radio])[1:] == ["sensor@2.0.0", "radio@0.9.0"]


def test_a_search_for_better_that_is_given_up_leaves_what_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first search found a choice that fits; only then the steps run out."""
    radio = [made("radio", "1.0.0", ["link 1"]), made("radio", "0.9.0", ["link 2"])]
    solve, asked = _Search.solve, []

    def tired(search: _Search, pins: Sequence[Any]) -> list[Release]:
        asked.append(pins)
        if len(asked) > 1:
            raise ResolutionTooDeep(1)
        return list(reversed(BOOTS[:1] + SENSORS[:1])) if not pins else solve(search, pins)

    monkeypatch.setattr(_Search, "solve", tired)
    assert chosen(product("sensor", "boot"), [*BOOTS, *SENSORS, *radio]) == ["sensor@1.0.0", "boot@1.0.0"]
    assert len(asked) == 3
    asked.append(())
    with pytest.raises(Refused, match="gave up after"):
        chosen(product("sensor", "boot"), [*BOOTS, *SENSORS])


def test_the_order_in_the_store_changes_nothing() -> None:
    every = [*BOOTS, *SENSORS]
    assert {tuple(chosen(product("boot", "sensor"), order)) for order in itertools.permutations(every)} == {
        ("boot@2.0.0", "sensor@2.0.0")
    }


def test_a_deprecated_one_is_the_last_resort() -> None:
    old = [Candidate(each, "old" if each.version == "2.0.0" else None) for each in (*BOOTS, *SENSORS)]
    found = resolve(product("boot", "sensor"), {BOARD.name: BOARD}, BOARD.name, old)
    assert [each.release.reference for each in found] == ["boot@1.0.0", "sensor@1.1.0"]
    only = resolve(product("boot", "sensor", boot="==2.0.0"), {BOARD.name: BOARD}, BOARD.name, old)
    assert [each.deprecated for each in only] == ["old", "old"]


@pytest.mark.parametrize(
    ("modules", "rules", "told"),
    [
        (
            ("boot", "sensor"),
            {"boot": "==1.0.0", "sensor": ">=2.0.0"},
            ["the product needs boot ==1.0.0 on ast1030-evb", "sensor@2.0.0 needs boot >=2.0.0", "boot 2.0.0, 1.0.0"],
        ),
        (("sensor",), {}, ["needs the interface handoff 2 on ast1030-evb; nothing that may serve it offers any"]),
        (("boot", "sensor", "radio"), {}, ["the product needs radio on ast1030-evb; there is no release of radio"]),
    ],
)
def test_why_none_fit_is_said_in_words(modules: tuple[str, ...], rules: dict[str, str], told: list[str]) -> None:
    with pytest.raises(Refused) as caught:
        chosen(product(*modules, **rules), [*BOOTS, *SENSORS])
    text = str(caught.value.message)
    assert text.startswith("no releases of the modules of node fit together on ast1030-evb revision 1")
    for words in told:
        assert words in text


def test_what_is_not_considered_is_told_and_counted() -> None:
    left_out = [LeftOut(f"boot@3.{minor}.0", BOARD.name, "withdrawn on MONDAY: bricks") for minor in range(10)]
    with pytest.raises(Refused) as caught:
        chosen(product("boot", boot="==9.0.0"), BOOTS, left_out)
    assert "not considered: boot@3.0.0 for ast1030-evb: withdrawn on MONDAY: bricks" in caught.value.message
    assert "and 2 more that are not considered" in caught.value.message


def test_a_dependency_outside_of_the_product_is_told() -> None:
    with pytest.raises(
        Refused, match=r"sensor@1\.0\.0 needs boot >=1\.0\.0 on ast1030-evb; boot is not in the product"
    ):
        chosen(product("sensor"), [made("sensor", "1.0.0", ["boot>=1.0.0"]), *BOOTS])


def test_the_mask_rom_serves_as_a_module_too() -> None:
    assert chosen(product("boot"), [made("boot", "1.0.0", ["assay-rom>=1.0.0"])]) == ["boot@1.0.0"]
    with pytest.raises(Refused, match="assay-rom is not in the product"):
        chosen(product("boot"), [made("boot", "1.0.0", ["assay-rom>=2.0.0"])])


def test_nobody_serves_himself_and_a_bootloader_rests_on_no_app() -> None:
    with pytest.raises(Refused, match="the interface x 1"):
        chosen(product("sensor"), [made("sensor", "1.0.0", ["x 1"], ["x 1"])])
    with pytest.raises(Refused, match="the interface x 1"):
        chosen(product("boot", "sensor"), [made("boot", "1.0.0", ["x 1"]), made("sensor", "1.0.0", [], ["x 1"])])


NAMES = ("a", "b")
versions = st.sampled_from(["1.0.0", "1.1.0", "2.0.0"])
interface = st.builds("{} {}".format, st.sampled_from(NAMES), st.sampled_from(["1", "1.1", "2"]))


@st.composite
def stores(draw: st.DrawFn) -> list[Release]:
    found = []
    for name in KINDS:
        for version in sorted(draw(st.sets(versions, min_size=1, max_size=3))):
            needs = draw(st.lists(interface, max_size=2, unique=True))
            if name != "boot" and draw(st.booleans()):
                needs.append(f"boot>={draw(versions)}")
            found.append(made(name, version, needs, draw(st.lists(interface, max_size=2, unique=True))))
    return found


def fitting(releases: Sequence[Release], names: Sequence[str]) -> Iterator[tuple[Release, ...]]:
    """All combinations that fit, by trying each: what a resolver has to agree with."""
    for combination in itertools.product(*([each for each in releases if each.name == name] for name in names)):
        try:
            for one in combination:
                others = [offer_of(each) for each in combination if each.kind in RESTS_ON[one.kind] and each is not one]
                check_needs(one, (*offers_of_board(BOARD), *others))
        except Refused:
            continue
        yield combination


@settings(max_examples=60, deadline=None)
@given(stores(), st.permutations(list(KINDS)))
def test_it_finds_what_trying_every_combination_finds(releases: list[Release], names: list[str]) -> None:
    there = list(fitting(releases, names))
    try:
        found = chosen(product(*names), releases)
    except Refused:
        assert there == []
        return
    best = max(there, key=lambda one: [Version(each.version) for each in one])
    assert found == [each.reference for each in best]


@pytest.mark.parametrize(
    ("versions", "version", "covered"),
    [
        ("<1.2.0", "1.1.9+7", True),
        ("<1.2.0", "1.2.0", False),
        ("<=1.2.0", "1.2.0+9", True),
        ("<=1.2.0", "1.2.1", False),
        ("==1.2.0", "1.2.0+3", True),
        ("==1.2.0", "1.1.0", False),
        ("<2.0.0", "0.9.0", True),
    ],
)
def test_a_range_covers_versions(versions: str, version: str, covered: bool) -> None:
    assert covers(versions, version) is covered


def test_a_deprecation_has_days_and_the_gravest_counts() -> None:
    early = {"versions": "<1.1.0", "since": "2026-02-01", "reason": "slow"}
    grave = {"versions": "==1.0.0", "since": "2026-03-01", "ends": "2026-06-01", "reason": "wrong"}
    speaker, old = made("sensor", "2.0.0", deprecations=[early, grave]), made("sensor", "1.0.0")
    other = made("boot", "1.0.0")

    def on(month: int, about: Release = old) -> str | None:
        found = deprecated(about, [speaker], date(2026, month, 1))
        return found.words if found else None

    assert (on(1), on(7, speaker), on(7, other)) == (None, None, None)
    assert on(2) == "deprecated since 2026-02-01: slow (said by sensor@2.0.0)"
    assert on(6) == "deprecated since 2026-03-01, ended on 2026-06-01: wrong (said by sensor@2.0.0)"
    assert str(on(4)).startswith("deprecated since 2026-03-01, ends on 2026-06-01")
