# SPDX-License-Identifier: Apache-2.0
"""`assay trace` on a damaged site: one changed byte, a lost file, foreign trust; and which link is named."""

from __future__ import annotations

import json
import os
import random
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from changed_bytes import NO_EVIDENCE, Used, changed, faults, taken_away
from made_site import SERIAL, MadeSite
from rfc3161_client import HashAlgorithm, TimestampRequestBuilder
from traced_site import broken, names_in, reopened, run

from assay.model.signer_limits import TrustedServices
from assay.model.trust import STATEMENT_ROLES
from assay.pipeline.stamp_folder import STAMPS, stamp_path
from assay.pipeline.trust_file import load_trust, write_trust
from assay.simulation.sigstore_lab.lab import SigstoreLab

FLIPS = int(os.environ.get("ASSAY_FLIPS", "1"))
"""Bytes in each file and for each seed; a campaign sets ASSAY_FLIPS."""


def used(folder: Path) -> Used:
    return Used(folder / ".assay", folder / "trust.toml", SERIAL)


@pytest.mark.timeout(1800)  # for a machine under load; some seconds on an idle one
@pytest.mark.parametrize("seed", [1, 2])
def test_one_changed_byte_in_every_file(finished_copy: Path, seed: int) -> None:
    """Refused wherever a record rests on it; the rest changes nothing."""
    site = used(finished_copy)
    assert list(faults(site, random.Random(seed), flips=FLIPS)) == []
    kinds = site.kinds()
    assert sum(len(files) for kind, files in kinds.items() if kind not in NO_EVIDENCE) >= 60
    assert {"keys/*", "outbox.sqlite*"} <= set(kinds)


def test_one_changed_byte_in_what_is_taken_away(finished_copy: Path, tmp_path: Path) -> None:
    assert list(taken_away(used(finished_copy), tmp_path, random.Random(5), flips=40)) == []


def test_what_a_site_with_services_has_more(finished_copy: Path) -> None:
    """Archive stamps, and statements that wait for a log. A changed byte of the first is told, and refused once the
    keys have ended; of the second it is no matter of records: what is sent is verified before (test_log_queue).
    """
    folder = finished_copy / ".assay"
    (folder / STAMPS).mkdir()
    with SigstoreLab() as lab:
        for record in (folder / "records").glob("*.json"):
            builder = TimestampRequestBuilder().hash_algorithm(HashAlgorithm.SHA256).data(record.read_bytes())
            stamp_path(folder / STAMPS / record.stem, 1).write_bytes(lab.stamper.answer(builder.build().as_bytes()))
        services = TrustedServices(name="lab", trusted_root=json.dumps(lab.trusted_root), development=True)
    trust = load_trust(finished_copy / "trust.toml").model_copy(update={"sigstore": (services,)})
    site, dice = replace(used(finished_copy), trust=finished_copy / "later.toml"), random.Random(3)
    write_trust(site.trust, trust, replace=False)
    (folder / "log-queue").mkdir()
    (folder / "log-queue" / "ab.sigstore.json").write_bytes(next((folder / "records").glob("*.json")).read_bytes())
    told, kinds = site.traced(), site.kinds()
    assert told[0] == 0 and "Archive stamps of the site" in told[1] and "proves nothing" not in told[1]
    for path in dice.sample(kinds["stamps/*"], 3):
        assert list(changed(site, path, dice, refused=False, told=told[1])) == []
    (waiting,) = kinds["log-queue/*"]
    assert list(changed(site, waiting, dice, refused=False)) == []
    over = {"valid_until": datetime.now(UTC)}
    ended = tuple(key.model_copy(update=over) if key.role in STATEMENT_ROLES else key for key in trust.keys)
    write_trust(site.trust, trust.model_copy(update={"keys": ended}), replace=True)
    assert site.traced()[0] == 0
    assert list(changed(site, kinds["stamps/*"][0], dice, refused=True)) == []


def test_a_file_of_no_kind(finished_copy: Path) -> None:
    """Who adds a file to a site says what a changed byte in it does."""
    (finished_copy / ".assay" / "new.json").write_text("{}")
    with pytest.raises(LookupError, match=r"new\.json"):
        used(finished_copy).kinds()


def test_what_goes_unnoticed_is_a_fault(finished_copy: Path) -> None:
    site, dice = used(finished_copy), random.Random(1)
    (found,) = changed(site, site.site / "outbox.sqlite", dice, refused=True)
    assert "outbox.sqlite" in found and "status 0" in found
    (found,) = changed(site, site.site / "log" / "checkpoint", dice, refused=False)
    assert "log/checkpoint" in found and "status 4" in found


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
