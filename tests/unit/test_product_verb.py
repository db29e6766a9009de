# SPDX-License-Identifier: Apache-2.0
"""`assay product` and `assay compat` on real releases: built, signed, published, deprecated, withdrawn."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from published_release import SCRIPT, Published

from assay.cli.compat import command as compat
from assay.cli.product import command as product
from assay.errors import Refused, UnitFailed, UsageFault, WrongBoard
from assay.pipeline.deprecations import tell_deprecated
from assay.pipeline.image_signing import sign_artifact
from assay.pipeline.publishing import publish_signed
from assay.pipeline.release_gate import verify_release
from assay.pipeline.withdrawing import withdraw

ROOT = Path(__file__).parents[2]
MODULE = """\
schema = "assay.module/2"
name = "{name}"
kind = "{kind}"
version = "{version}"
license = "Apache-2.0"
boards = [{{ name = "ast1030-evb", min_revision = 1, max_revision = 2 }}]

[build]
command = ["{{python}}", "mod/build.py", "{{out}}", "{{version}}"]
sources = ["mod"]
outputs = ["payload.bin"]

[interfaces]
{interfaces}

{more}

[update]
policy = "test-then-confirm"
security_counter = 1
"""
DEPRECATES = """\
[[deprecations]]
versions = "<1.1.0"
since = 2026-02-01
ends = 2026-08-01
reason = "drifts"
"""
PRODUCT = """\
schema = "assay.product/1"
name = "node"

[[modules]]
name = "probe"

[[modules]]
name = "sensor"
"""
RELEASES = (
    ("sensor", "app", "1.0.0", 'provides = [{ name = "link", version = "1" }]', ""),
    ("sensor", "app", "1.1.0", 'provides = [{ name = "link", version = "2" }]', DEPRECATES),
    ("probe", "radio", "1.0.0", 'requires = [{ name = "link", version = "1" }]', ""),
)


class At:
    """A clock that stands."""

    def __init__(self, day: str) -> None:
        self._now = datetime.fromisoformat(day).replace(tzinfo=UTC)

    def now(self) -> datetime:
        return self._now


class Node(Published):
    """A site with three releases, and a product of two modules."""

    def release(self, name: str, kind: str, version: str, interfaces: str, more: str) -> None:
        module = MODULE.format(name=name, kind=kind, version=version, interfaces=interfaces, more=more)
        (self.root / "mod" / "module.toml").write_text(module)
        out = self.root / f"{name}-{version}"
        self.build(out, version)
        sign_artifact(out, self.site, out.with_suffix(".signed"))
        publish_signed(out.with_suffix(".signed"), self.site)

    def ask(self, verb: Any, *words: str) -> tuple[int, dict[str, Any]]:
        answer = CliRunner().invoke(verb, [*words, "--json", "--site", str(self.site.folder)])
        assert answer.exception is None or isinstance(answer.exception, SystemExit), answer.exception
        return answer.exit_code, json.loads(answer.stdout)

    def resolve(self, *words: str, board: str = "ast1030-evb") -> tuple[int, dict[str, Any]]:
        return self.ask(product, "resolve", str(self.root), "--board", board, *words)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("node")
    (root / "mod").mkdir()
    (root / "boards").mkdir()
    shutil.copy(ROOT / "boards" / "ast1030-evb.toml", root / "boards")
    (root / "mod" / "build.py").write_text(SCRIPT)
    (root / "product.toml").write_text(PRODUCT)
    node, patch = Node(root), pytest.MonkeyPatch()
    patch.chdir(root)
    for each in RELEASES:
        node.release(*each)
    patch.undo()
    return root


@pytest.fixture
def node(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    copy = tmp_path / "node"
    shutil.copytree(made, copy)
    monkeypatch.chdir(copy)
    return Node(copy)


def references(document: dict[str, Any]) -> list[str]:
    return [f"{each['name']}@{each['version']}" for each in document["lock"]["releases"]]


def test_a_file_that_is_no_lock_is_not_overwritten(node: Node) -> None:
    letter, pipe, merged = (node.root / name for name in ("letter.txt", "pipe", "merged.json"))
    letter.write_text("dear all")
    os.mkfifo(pipe)
    for path in (letter, pipe):
        status, refused = node.resolve("--at", "2026-01-15", "--lock", str(path))
        assert (status, "is no lock, and is not overwritten" in refused["error"]) == (2, True)
    assert letter.read_text() == "dear all" and pipe.is_fifo()
    merged.write_text('<<<<<<<\n{"schema": "assay.product-lock/1"}\n')
    assert node.resolve("--at", "2026-01-15", "--lock", str(merged))[0] == 0  # left by a merge


def test_the_lock_names_what_fits_and_is_the_same_each_time(node: Node) -> None:
    status, found = node.resolve("--at", "2026-01-15")
    lock = Path(found["file"]).read_bytes()
    assert (status, references(found)) == (0, ["probe@1.0.0", "sensor@1.0.0"])
    assert node.resolve("--at", "2026-01-16")[0] == 0
    assert Path(found["file"]).read_bytes() == lock
    assert node.ask(product, "check", ".")[1] == {"status": 0, "result": "PASS", "product": "node", "faults": []}


def test_a_deprecated_one_is_chosen_with_a_word_until_it_ends(node: Node) -> None:
    _, found = node.resolve("--at", "2026-02-01", "--dry-run")
    (said,) = [each["deprecated"] for each in found["lock"]["releases"] if "deprecated" in each]
    assert said == "deprecated since 2026-02-01, ends on 2026-08-01: drifts (said by sensor@1.1.0)"
    assert (found["file"], (node.root / "product.lock.json").exists()) == (None, False)
    status, refused = node.resolve("--at", "2026-08-01")
    assert status == 4
    assert "probe@1.0.0 needs the interface link 1 on ast1030-evb" in refused["error"]
    assert "not considered: sensor@1.0.0 for ast1030-evb: deprecated since 2026-02-01, ended on" in refused["error"]


def test_what_is_written_to_a_unit_is_told_and_a_new_unit_gets_nothing_that_ended(node: Node) -> None:
    release = node.site.store.find("sensor", "1.0.0", "ast1030-evb")
    said: list[str] = []

    def tell(day: str, *, new_unit: bool) -> list[str]:
        said.clear()
        node.site.__dict__["clock"] = At(day)
        tell_deprecated(node.site, node.trust(), node.board, [release], said.append, new_unit=new_unit)
        return said

    assert tell("2026-01-31", new_unit=True) == []
    assert tell("2026-02-01", new_unit=True)[0].startswith("caution: sensor@1.0.0 is deprecated since 2026-02-01")
    assert len(tell("2026-08-01", new_unit=False)) == 1
    with pytest.raises(Refused, match=r"sensor@1\.0\.0 is deprecated since 2026-02-01, ended on 2026-08-01"):
        tell("2026-08-01", new_unit=True)
    nobody = node.trust(keys=tuple(key for key in node.trust().keys if key.role != "builder"))
    node.site.__dict__["clock"] = At("2026-08-01")
    tell_deprecated(node.site, nobody, node.board, [release], said.append, new_unit=True)


def test_a_withdrawn_one_is_never_chosen_and_its_lock_no_longer_holds(node: Node) -> None:
    assert node.resolve("--at", "2026-01-15")[0] == 0
    withdraw(node.site, "sensor@1.0.0", "ast1030-evb", "loses its calibration")
    status, found = node.ask(product, "check", ".")
    assert status == 4
    assert "sensor@1.0.0 for ast1030-evb: withdrawn on" in found["faults"][0]
    status, refused = node.resolve("--at", "2026-01-15")
    assert (status, "loses its calibration" in refused["error"]) == (4, True)


def test_a_release_that_does_not_verify_is_left_out(node: Node) -> None:
    release = node.site.store.find("sensor", "1.0.0", "ast1030-evb")
    blob = node.site.folder / "store" / "blobs" / "sha256" / release.image.file_sha256
    blob.write_bytes(blob.read_bytes()[:-1] + b"!")
    status, refused = node.resolve("--at", "2026-01-15")
    assert (status, "not considered: sensor@1.0.0" in refused["error"]) == (4, True)


def test_a_lock_of_another_product_or_board_file_is_told(node: Node) -> None:
    node.resolve("--at", "2026-01-15")
    (node.root / "product.toml").write_text(PRODUCT.replace('"probe"', '"probe"\nversion = ">=1.0.0"'))
    assert "another product" in node.ask(product, "check", ".")[1]["faults"][0]
    node.resolve("--at", "2026-01-15")
    with (node.root / "boards" / "ast1030-evb.toml").open("a") as board:
        board.write("# another file\n")
    status, found = node.ask(product, "check", ".")
    assert (status, found["faults"]) == (
        4,
        ["the board file of ast1030-evb is another one than the one that was locked"],
    )


def _locked(node: Node, version: str) -> dict[str, Any]:
    """The row that a lock has for a release of the sensor."""
    release = node.site.store.find("sensor", version, "ast1030-evb")
    digests = {"file_sha256": release.image.file_sha256, "image_hash": release.image.image_hash}
    return {"name": "sensor", "kind": "app", "version": version, "board": "ast1030-evb", **digests}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda node, lock: lock["releases"].pop(), "sensor is in the product, and not in the lock"),
        (lambda node, lock: lock["releases"].append(_locked(node, "1.1.0")), "sensor@1.1.0 for ast1030-evb is not in"),
        (lambda node, lock: lock["releases"].__setitem__(1, _locked(node, "1.1.0")), "probe@1.0.0 needs the interface"),
        (lambda node, lock: lock["boards"].pop(), "is for a board that the lock does not name"),
        (lambda node, lock: lock["releases"][0].update(image_hash="ab" * 32), "another image"),
        (lambda node, lock: lock["releases"][0].update(kind="app"), "another image"),
    ],
)
def test_a_lock_that_was_changed_by_hand_is_told(node: Node, change: Any, said: str) -> None:
    """Each of its releases is in the store and verifies; together they are not what was resolved."""
    path = Path(node.resolve("--at", "2026-01-15")[1]["file"])
    assert node.ask(product, "check", ".")[0] == 0
    lock = json.loads(path.read_text())
    change(node, lock)
    path.write_text(json.dumps(lock))
    status, found = node.ask(product, "check", ".")
    assert (status, [said in fault for fault in found["faults"]].count(True) >= 1) == (4, True), found


def test_a_lock_keeps_the_versions_that_the_product_asks_for(node: Node) -> None:
    """Also when somebody wrote the digest of the product into it."""
    path = Path(node.resolve("--at", "2026-01-15")[1]["file"])
    text = PRODUCT.replace('name = "sensor"', 'name = "sensor"\nversion = ">=1.1.0"')
    (node.root / "product.toml").write_text(text)
    lock = json.loads(path.read_text()) | {"product_sha256": hashlib.sha256(text.encode()).hexdigest()}
    path.write_text(json.dumps(lock))
    status, found = node.ask(product, "check", ".")
    assert (status, found["faults"]) == (4, ["sensor@1.0.0 for ast1030-evb is not what the product asks for: >=1.1.0"])


@pytest.mark.parametrize(
    ("words", "board", "status", "said"),
    [
        (("--revision", "3"), "ast1030-evb", 4, "probe@1.0.0 is for revision 1 to 2 of ast1030-evb, this is 3"),
        (("--at", "soon"), "ast1030-evb", 2, "is not a day"),
        ((), "none", 2, "there is no boards/none.toml"),
    ],
)
def test_what_cannot_be_is_told(node: Node, words: tuple[str, ...], board: str, status: int, said: str) -> None:
    found, document = node.resolve(*words, board=board)
    assert (found, said in document["error"]) == (status, True), document


def cells(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["reference"]: each for each in document["releases"]}


def test_the_matrix_shows_who_fits_what(node: Node) -> None:
    status, found = node.ask(compat, "--at", "2026-03-01")
    rows = cells(found)
    assert status == 0
    assert rows["probe@1.0.0"]["fits_with"] == ["sensor@1.0.0"]
    assert rows["probe@1.0.0"]["hardware"] == [{"board": "ast1030-evb", "revision": 1, "why_not": None}]
    assert rows["probe@1.0.0"]["revisions"] == [1, 2]
    assert rows["sensor@1.0.0"]["state"] == "deprecated"
    assert rows["sensor@1.1.0"]["state"] == "current"
    withdraw(node.site, "sensor@1.0.0", "ast1030-evb", "loses its calibration")
    rows = cells(node.ask(compat, "--at", "2026-03-01")[1])
    assert rows["sensor@1.0.0"]["state"] == "withdrawn"
    assert rows["probe@1.0.0"]["fits_with"] == []
    assert "needs the interface link 1" in rows["probe@1.0.0"]["unserved"]


def test_the_matrix_has_another_revision_and_the_formats(node: Node) -> None:
    _, found = node.ask(compat, "--revision", "ast1030-evb=3")
    (hardware,) = cells(found)["probe@1.0.0"]["hardware"]
    assert "to 2 of ast1030-evb, this is 3" in hardware["why_not"]
    module = next(each for each in found["formats"] if each["name"] == "assay.module")
    assert (module["newest"], module["reads"]) == (2, [1, 2])


@pytest.fixture
def plain() -> Callable[..., str]:
    def run(*words: str) -> str:
        answer = CliRunner().invoke(compat, list(words))
        assert answer.exit_code == 0, answer.output
        return answer.stdout

    return run


def test_for_people_it_is_a_table(node: Node, plain: Callable[..., str]) -> None:
    text = plain("--site", str(node.site.folder), "--at", "2026-03-01")
    assert "sensor@1.1.0" in text and "assay.module" in text
    assert all(len(line) <= 120 for line in text.splitlines())


def test_the_gate_refuses_what_the_board_cannot_hold(node: Node) -> None:
    later = node.board.model_copy(update={"revision": 3})
    with pytest.raises(WrongBoard, match="is for revision 1 to 2 of ast1030-evb, this is 3"):
        verify_release(node.site.store, node.trust(), "sensor", "1.0.0", later)
    assert verify_release(node.site.store, node.trust(), "sensor", "1.0.0", node.board)


def test_a_need_that_nothing_serves_yet_is_told_at_publish(node: Node) -> None:
    shutil.rmtree(node.site.folder / "store")
    published = publish_signed(node.root / "probe-1.0.signed", node.site)
    assert len(published.cautions) == 1
    assert "nothing in the store serves it yet: probe@1.0.0 needs the interface link 1" in published.cautions[0]
    publish_signed(node.root / "sensor-1.0.signed", node.site)
    assert publish_signed(node.root / "probe-1.0.signed", node.site).cautions == ()


@pytest.mark.parametrize(
    ("old", "new", "error", "said"),
    [
        ("[update]", "[resources]\nflash = 100\n[update]", UnitFailed, "promises at most 100"),
        ("[update]", '[resources]\nperipherals = ["can"]\n[update]', UsageFault, "needs can; ast1030-evb has uart"),
        ("min_revision = 1, max_revision = 2", "min_revision = 0, max_revision = 0", UsageFault, "up to revision 0"),
    ],
)
def test_a_build_is_held_to_its_contract(node: Node, old: str, new: str, error: type[Exception], said: str) -> None:
    module = node.root / "mod" / "module.toml"
    module.write_text(module.read_text().replace(old, new))
    with pytest.raises(error, match=said):
        node.build(node.root / "again")
