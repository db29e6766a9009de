# SPDX-License-Identifier: Apache-2.0
"""`assay trace` against lies that are well signed: somebody with the site's keys records what was not so."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from made_site import SERIAL, MadeSite
from traced_site import broken, names_in, predicate_of, reopened

from assay.formats import sigstore_bundle
from assay.formats.statement_verifier import read_statement
from assay.model.outcome import Outcome
from assay.model.record import PREDICATES, RecordType
from assay.model.statement import Statement, Subject
from assay.model.trust import BUILDER_IDS, Role
from assay.pipeline.trace_collect import SiteReading

BUILT = {"runDetails": {"builder": {"id": min(BUILDER_IDS.values())}}}


def lie(finished_copy: Path, tell: Callable[[MadeSite], object]) -> dict[str, str]:
    """The broken links after somebody with the site's keys recorded what `tell` says, logged and all."""
    tell(reopened(finished_copy))
    return broken(finished_copy)


def test_a_record_that_was_never_logged(finished_copy: Path, tmp_path: Path) -> None:
    """A well-signed record that somebody laid into the folder."""
    made = MadeSite(finished_copy / ".assay")
    before = set((finished_copy / ".assay/records").iterdir())
    saved = tmp_path / "log"
    shutil.copytree(finished_copy / ".assay/log", saved)
    made.interrupted(made.unit(SERIAL, 1), verb="flash")
    assert len(set((finished_copy / ".assay/records").iterdir()) - before) == 1
    shutil.rmtree(finished_copy / ".assay/log")
    shutil.copytree(saved, finished_copy / ".assay/log")
    found = broken(finished_copy)
    assert any(link.startswith("records/not-logged-") and "no entry of the log" in text for link, text in found.items())


def test_an_update_that_nobody_recorded(finished_copy: Path) -> None:
    found = lie(finished_copy, lambda made: made.update(made.unit(SERIAL, 1), "demo-sensor@1.2.0", "demo-sensor@1.0.0"))
    assert list(found) == ["records/00000021-update"]
    assert "#19 left it running demo-sensor@1.1.0: a record is missing" in found["records/00000021-update"]


def test_evidence_of_another_image(finished_copy: Path) -> None:
    found = lie(finished_copy, lambda made: made.evidence(made.unit(SERIAL, 1), "demo-sensor@1.2.0"))
    assert "a record is missing" in found["records/00000021-evidence"]


def test_evidence_of_another_bootloader(finished_copy: Path) -> None:
    found = lie(
        finished_copy, lambda made: made.evidence(made.unit(SERIAL, 1), "demo-sensor@1.1.0", "demo-sensor@1.0.0")
    )
    assert "booted by demo-sensor@1.0.0" in found["records/00000021-evidence"]


def test_evidence_signed_by_another_device(finished_copy: Path) -> None:
    def tell(made: MadeSite) -> None:
        unit = made.unit(SERIAL, 1)
        unit.key = made.unit(SERIAL, 9).key
        made.evidence(unit, "demo-sensor@1.1.0")

    assert "not signed by the key" in lie(finished_copy, tell)["records/00000021-evidence"]


def test_evidence_that_is_recorded_twice(finished_copy: Path) -> None:
    """The old answer, told as if the unit had been asked again: everything in it verifies but for that."""

    def tell(made: MadeSite) -> None:
        record = next(entry.record for _, entry in made.site.records.entries(start=19))
        statement = read_statement(sigstore_bundle.decode(made.site.records.record(record)).envelope.payload)
        said = statement.predicate
        again = {**said, "run": {**json.loads(json.dumps(said["run"])), "run_id": "another"}}
        twice = statement.model_copy(update={"predicate": again})
        made.site.recorder.record(twice, RecordType.EVIDENCE, Role.FIELD, SERIAL)

    assert "this evidence was given before, in #19" in lie(finished_copy, tell)["records/00000021-evidence"]


def test_a_failed_update_that_stayed(finished_copy: Path) -> None:
    found = lie(
        finished_copy,
        lambda made: made.update(
            made.unit(SERIAL, 1), "demo-sensor@1.1.0", "demo-sensor@1.2.0", Outcome.FAIL, after="demo-sensor@1.2.0"
        ),
    )
    assert "the record says FAIL" in found["records/00000021-update"]


def test_a_test_of_another_image_than_the_unit_ran(finished_copy: Path) -> None:
    found = lie(
        finished_copy, lambda made: made.test(made.unit(SERIAL, 1), "demo-sensor@1.2.0", runs="demo-sensor@1.1.0")
    )
    assert "did not run the tested image" in found["records/00000021-test"]


def test_a_bench_that_says_more_than_the_unit_signed(finished_copy: Path) -> None:
    found = lie(
        finished_copy, lambda made: made.test(made.unit(SERIAL, 1), "demo-sensor@1.1.0", signs="demo-sensor@1.0.0")
    )
    assert "evidence says something else about before the tests" in found["records/00000021-test"]


def test_evidence_in_a_test_by_another_device(finished_copy: Path) -> None:
    def tell(made: MadeSite) -> None:
        unit = made.unit(SERIAL, 1)
        unit.key = made.unit(SERIAL, 9).key
        made.test(unit, "demo-sensor@1.1.0")

    assert "not signed by the key" in lie(finished_copy, tell)["records/00000021-test"]


@pytest.mark.parametrize(
    ("kind", "predicate"),
    [
        (RecordType.PROVENANCE, BUILT | {"buildDefinition": []}),
        (
            RecordType.PROVENANCE,
            BUILT | {"buildDefinition": {"resolvedDependencies": [{"digest": 1, "annotations": []}]}},
        ),
        (RecordType.SBOM, {"components": [1]}),
    ],
)
def test_a_signed_statement_of_a_strange_shape(
    finished_copy: Path, kind: RecordType, predicate: dict[str, object]
) -> None:
    def tell(made: MadeSite) -> None:
        subject = Subject(name="image", digest={"sha256": made.reference("demo-sensor@1.1.0").file_sha256})
        statement = Statement(subject=(subject,), predicateType=PREDICATES[kind].value, predicate=predicate)
        made.site.recorder.record(statement, kind, Role.BUILDER)

    assert any("could not be verified" in faults for faults in lie(finished_copy, tell).values())


def test_one_serial_number_for_two_chips(finished_copy: Path) -> None:
    found = lie(
        finished_copy, lambda made: made.provision(made.unit(SERIAL, 7), "demo-boot@1.0.0", "demo-sensor@1.0.0")
    )
    assert "a serial number belongs to one chip" in found["records/00000021-provisioning"]


def test_a_release_that_nobody_attested(finished_copy: Path) -> None:
    def tell(made: MadeSite) -> None:
        ghost = made.releases["demo-sensor@1.1.0"]
        image = ghost.image.model_copy(update={"file_sha256": "d" * 64})
        made.releases["ghost@1.0.0"] = ghost.model_copy(update={"image": image})
        made.update(made.unit(SERIAL, 1), "demo-sensor@1.1.0", "ghost@1.0.0")

    found = lie(finished_copy, tell)
    assert {"releases/ghost@1.0.0/provenance", "releases/ghost@1.0.0/image"} <= set(found)


def test_a_record_that_calls_a_file_by_another_hash(finished_copy: Path) -> None:
    def tell(made: MadeSite) -> None:
        release = made.releases["demo-sensor@1.0.0"]
        image = release.image.model_copy(update={"image_hash": "e" * 64})
        made.releases["demo-sensor@1.0.0"] = release.model_copy(update={"image": image})
        shutil.rmtree(finished_copy / ".assay/log")
        shutil.rmtree(finished_copy / ".assay/records")
        (finished_copy / ".assay/outbox.sqlite").unlink()
        made.provision(made.unit(SERIAL, 1), "demo-boot@1.0.0", "demo-sensor@1.0.0")
        made.write_trust(finished_copy / "trust.toml", allow_development=True, allow_emulated=True)

    assert "name the hash eeee" in lie(finished_copy, tell)["releases/demo-sensor@1.0.0/image"]


def test_a_record_that_says_that_a_twin_is_real(finished_copy: Path) -> None:
    def tell(made: MadeSite) -> None:
        made.emulated = False
        made.flash(made.unit(SERIAL, 1), "demo-sensor@1.1.0")

    assert "disagree on whether the unit is emulated" in lie(finished_copy, tell)["records/00000021-flash"]


def test_a_plan_that_is_not_the_recorded_one(finished_copy: Path) -> None:
    def tell(made: MadeSite) -> None:
        unit = made.unit(SERIAL, 1)
        record = predicate_of(finished_copy, names_in(finished_copy)["record15"])
        record["run"] = made.header(Outcome.PASS).model_dump(mode="json")
        record["plan_sha256"] = "0" * 64
        record["before"], record["plan"]["unit"]["image_hash"] = record["after"], record["after"]["image_hash"]
        from assay.model.predicates import Update

        made.record(Update.model_validate_json(json.dumps(record)), RecordType.UPDATE, Role.FIELD, unit)

    assert "the plan does not have the recorded digest" in lie(finished_copy, tell)["records/00000021-update"]


def test_a_history_written_again_without_the_bad_update(finished_copy: Path, finished: Path) -> None:
    """Even with the log key: later records keep checkpoints of the log that was, which this one does not continue."""
    entries = SiteReading(finished / ".assay").log.leaves
    shutil.rmtree(finished_copy / ".assay/log")
    (finished_copy / ".assay/outbox.sqlite").unlink()
    made = MadeSite(finished_copy / ".assay")
    from assay.backends.logs.tile_log import TileLog
    from assay.formats import checkpoint, merkle, signed_note
    from assay.formats.public_key import raw_ed25519

    origin = SiteReading(finished / ".assay").log.head.origin  # type: ignore[union-attr]
    signers = made.site.signers
    empty = checkpoint.Checkpoint(origin, 0, merkle.EMPTY_ROOT).text
    (finished_copy / ".assay/log").mkdir()
    public = raw_ed25519(signers.public_key(Role.LOG).public)
    note = signed_note.write(empty, origin, public, signers.sign(Role.LOG, empty.encode()))
    (finished_copy / ".assay/log/checkpoint").write_bytes(note)
    TileLog(finished_copy / ".assay/log", signers).append([*entries[:18], *entries[19:]])
    (finished_copy / ".assay/records" / (json.loads(entries[18])["record"] + ".json")).unlink()
    found = broken(finished_copy)
    assert "the checkpoint that the record keeps" in found["records/00000018-evidence"]
