# SPDX-License-Identifier: Apache-2.0
"""`assay trace` on a damaged site: one changed byte, a lost file, foreign trust; and which link is named."""

from __future__ import annotations

import json
import os
import random
import shutil
from pathlib import Path

import pytest
from made_site import MadeSite
from traced_site import broken, names_in, reopened, run

NOT_COVERED = ("keys/", "outbox.sqlite", "lock", "DEMO-")
"""docs/reference/trace lists them: private keys, the outbox (a copy of the log), locks; DEMO- is the fixture's."""

FLIPS = int(os.environ.get("ASSAY_FLIPS", "1"))
"""Positions in each file and for each seed; a campaign sets ASSAY_FLIPS."""


def files_of(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("seed", [1, 2])
def test_one_changed_byte_in_any_covered_file(finished_copy: Path, seed: int) -> None:
    dice, found = random.Random(seed), 0
    for name in files_of(finished_copy):
        path = finished_copy / name
        whole_data = path.read_bytes()
        if any(part in name for part in NOT_COVERED):
            continue
        for _ in range(FLIPS):
            place, bit = dice.randrange(len(whole_data)), dice.randrange(8)
            damaged = bytearray(whole_data)
            damaged[place] ^= 1 << bit
            path.write_bytes(bytes(damaged))
            result = run(finished_copy, "--brief")
            assert result.exit_code == 4, f"{name}: bit {bit} of byte {place}: {result.output}"
            assert "Traceback" not in result.output
            found += 1
        path.write_bytes(whole_data)
    assert found >= 60 * FLIPS
    assert run(finished_copy).exit_code == 0


@pytest.mark.parametrize(
    ("pattern", "link"),
    [
        ("records/{record15}.json", "records/00000015-update"),
        ("records/{record0}.json", "releases/demo-boot@1.0.0/build"),
        ("records/{record14}.json", "site/record/{record14}"),
        ("attachments/{junit}", "records/00000013-test"),
        ("store/blobs/sha256/{image}", "releases/demo-sensor@1.1.0/image"),
        ("log/checkpoint", "log"),
        ("log/tile/entries/000.p/21", "log"),
        ("log/tile/0/000.p/21", "site/log/entry"),
        ("store/index.json", "site/store"),
        ("device-ca/{ca}.der", "site/device-ca"),
        ("device-ca/{ca}.pem", "site/device-ca"),
    ],
)
def test_the_link_that_broke_is_named(finished_copy: Path, pattern: str, link: str) -> None:
    names = names_in(finished_copy)
    path = finished_copy / ".assay" / pattern.format(**names)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x04
    path.write_bytes(bytes(data))
    found = broken(finished_copy)
    assert link.format(**names) in found, found
    shown = run(finished_copy, "--brief").stdout
    assert "#19" in shown or "record" in shown
    assert f"  {link.format(**names)}: " in shown


@pytest.mark.parametrize(
    ("pattern", "link", "words"),
    [
        ("records/{record15}.json", "records/00000015-update", "is not there"),
        ("records/{record2}.json", "releases/demo-boot@1.0.0/release", "no record of the type"),
        ("attachments/{junit}", "records/00000013-test", "junit.xml"),
        ("store/blobs/sha256/{image}", "releases/demo-sensor@1.1.0/image", "is not there"),
        ("log/tile/entries/000.p/21", "log", "entries"),
        ("log/checkpoint", "log", ""),
    ],
)
def test_what_is_missing_is_named(finished_copy: Path, pattern: str, link: str, words: str) -> None:
    (finished_copy / ".assay" / pattern.format(**names_in(finished_copy))).unlink()
    found = broken(finished_copy)
    assert link in found and words in found[link], found


def test_the_rest_of_the_tree_is_shown_when_the_log_cannot_be_read(finished_copy: Path) -> None:
    path = finished_copy / ".assay/log/tile/entries/000.p/21"
    path.write_bytes(b"\xff\xff" + path.read_bytes()[2:])
    result = run(finished_copy, "--brief")
    assert result.exit_code == 4
    for words in ("Provisioned with demo-boot@1.0.0", "Update from demo-sensor@1.0.0 to demo-sensor@1.1.0", "Evidence"):
        assert words in result.stdout


@pytest.mark.parametrize(
    ("allow", "words"), [({"allow_emulated": True}, "UNSAFE-DEVELOPMENT"), ({"allow_development": True}, "emulated")]
)
def test_what_the_trust_file_does_not_allow(finished_copy: Path, allow: dict[str, bool], words: str) -> None:
    MadeSite(finished_copy / ".assay").write_trust(finished_copy / "trust.toml", **allow)
    found = broken(finished_copy)
    assert words in found["records/00000016-run"]
    assert len(found) > 5


def test_another_sites_keys_verify_nothing(finished_copy: Path, tmp_path: Path) -> None:
    MadeSite(tmp_path / "elsewhere").write_trust(
        finished_copy / "trust.toml", allow_development=True, allow_emulated=True
    )
    found = broken(finished_copy)
    assert "log" in found and "records/00000012-provisioning" in found


def test_the_certificate_of_another_device_ca(finished_copy: Path, tmp_path: Path) -> None:
    shutil.rmtree(finished_copy / ".assay/device-ca")
    shutil.copytree((MadeSite(tmp_path / "elsewhere").folder) / "device-ca", finished_copy / ".assay/device-ca")
    assert "not the certificate of a device CA of this trust file" in broken(finished_copy)["site/device-ca"]


def test_unit_only_leaves_the_others_alone(finished_copy: Path) -> None:
    path = finished_copy / ".assay" / "records" / (names_in(finished_copy)["record14"] + ".json")
    path.write_bytes(path.read_bytes() + b" ")
    assert run(finished_copy).exit_code == 4
    assert run(finished_copy, "--unit-only").exit_code == 0


@pytest.mark.parametrize("what", ["manifest", "release", "bundle"])
def test_a_lost_document_of_the_store_breaks_the_stores_link(finished_copy: Path, what: str) -> None:
    """Status 4 here, since the history rests on it; a verb that only wants to write it says ERROR (ADR 0082)."""
    store = finished_copy / ".assay" / "store"
    row = json.loads((store / "index.json").read_text())["manifests"][0]
    blobs = store / "blobs" / "sha256"
    manifest = json.loads((blobs / row["digest"][7:]).read_text())
    release = json.loads((blobs / manifest["config"]["digest"][7:]).read_text())
    lost = {
        "manifest": row["digest"][7:],
        "release": manifest["config"]["digest"][7:],
        "bundle": next(iter(release["attestations"].values())),
    }
    (blobs / lost[what]).unlink()
    assert "is not there" in broken(finished_copy)["site/store"]


def test_a_store_that_was_written_before_tags_had_no_plus_is_whole(finished_copy: Path) -> None:
    made = reopened(finished_copy)
    made.publish("demo-sensor", "2.0.0+7")
    index = finished_copy / ".assay" / "store" / "index.json"
    assert "demo-sensor:2.0.0_7" in index.read_text()
    assert run(finished_copy).exit_code == 0
    index.write_text(index.read_text().replace(":2.0.0_7", ":2.0.0+7"))
    assert run(finished_copy).exit_code == 0
    index.write_text(index.read_text().replace(":2.0.0+7", ":2.0.0-7"))
    assert "does not say what follows" in broken(finished_copy)["site/store"]
