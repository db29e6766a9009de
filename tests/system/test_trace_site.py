# SPDX-License-Identifier: Apache-2.0
"""`assay trace` on a finished site: what it shows, what one changed byte does to it, and lies that are well signed."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from made_site import OTHER, SERIAL, MadeSite, finished_site

from assay.cli.trace import command
from assay.formats import canonical_json, sigstore_bundle
from assay.formats.statement_verifier import read_statement
from assay.model.outcome import Outcome
from assay.model.record import PREDICATES, RecordType
from assay.model.statement import Statement, Subject
from assay.model.trace import Trace
from assay.model.trust import Role
from assay.pipeline.trace_collect import SiteReading
from assay.pipeline.trace_site import trace_site
from assay.pipeline.trust_anchor import load_anchor

NOT_COVERED = ("keys/", "outbox.sqlite", "lock", "DEMO-")
"""docs/reference/trace lists them: private keys, the outbox (a copy of the log), locks; DEMO- is the fixture's."""

FLIPS = int(os.environ.get("ASSAY_FLIPS", "1"))
"""Positions in each file and for each seed; a campaign sets ASSAY_FLIPS."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished site in `.assay` and its trust file; nobody writes to it."""
    folder = tmp_path_factory.mktemp("whole")
    finished_site(folder / ".assay").write_trust(folder / "trust.toml", allow_development=True, allow_emulated=True)
    return folder


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    """A copy of the finished site, to be damaged."""
    shutil.copytree(whole, tmp_path / "copy")
    return tmp_path / "copy"


def run(folder: Path, *arguments: str, serial: str = SERIAL) -> Result:
    options = ["--site", str(folder / ".assay"), "--trust", str(folder / "trust.toml")]
    return CliRunner().invoke(command, [serial, *options, *arguments])


def trace(folder: Path, *, serial: str = SERIAL, trust: str = "trust.toml") -> Trace:
    anchor, digest = load_anchor(folder / trust)
    return trace_site(folder / ".assay", serial, anchor, digest)[1]


def broken(folder: Path) -> dict[str, str]:
    """Broken links of the trace as the command gives it, with what is said about each; its status must be 4."""
    result = run(folder, "--json")
    assert result.exit_code == 4, result.output
    return {item["link"]: "; ".join(item["faults"]) for item in json.loads(result.stdout)["broken"]}


def test_the_whole_chain_is_shown(whole: Path) -> None:
    result = run(whole)
    assert result.exit_code == 0, result.output
    for words in (
        "Source: commit 4b0d51300000",
        "Build: 2 builds gave the same bytes",
        "#12 Provisioned with demo-boot@1.0.0 and demo-sensor@1.0.0: PASS",
        "#13 Tested demo-sensor@1.0.0 with suites/demo-sensor: PASS",
        "measured    boot_time 52 ms (0 to 500): PASS",
        "#15 Update from demo-sensor@1.0.0 to demo-sensor@1.1.0: PASS",
        "#16 Run of test without a result: ABORTED",
        "#18 Update from demo-sensor@1.1.0 to demo-sensor@1.2.0: FAIL",
        "device said selftest failed code=7 reason=sensor out of range",
        "#19 Evidence: the unit proves that it runs demo-sensor@1.1.0",
        "Last evidence: it ran demo-sensor@1.1.0, confirmed",
        "after entry 18 and before entry 19",
        "1 record logged, 0 of them changed this unit",
        "VERIFIED: 33 links",
        "UNSAFE-DEVELOPMENT: this rests on development keys",
        "emulated: the unit is a twin",
    ):
        assert words in result.stdout, words
    assert " now" not in result.stdout
    assert OTHER not in result.stdout


def test_every_link_that_rests_on_a_key_names_it(whole: Path) -> None:
    for node in trace(whole).root.walk():
        for check in node.checks:
            assert check.keyid is None or (check.key_name and check.development)
        if any(check.development for check in node.checks):
            assert "UNSAFE-DEVELOPMENT" in node.marks, node.link


def test_json_is_one_document_and_a_trace(whole: Path) -> None:
    document = json.loads(run(whole, "--json").stdout)
    assert (document["status"], document["result"], document["broken"]) == (0, "PASS", [])
    assert Trace.model_validate_json(json.dumps(document["trace"])) == trace(whole)


def test_the_page_shows_the_same(whole: Path, tmp_path: Path) -> None:
    result = run(whole, "--html", str(tmp_path / "new" / "page.html"))
    page = (tmp_path / "new" / "page.html").read_text()
    assert result.exit_code == 0 and "all 33 links verified" in page and "#18 Update" in page


def test_updates_after_the_last_evidence_are_said(copy: Path) -> None:
    made = reopened(copy)
    made.update(made.unit(SERIAL, 1), "demo-sensor@1.1.0", "demo-sensor@1.0.0")
    shown = run(copy)
    assert shown.exit_code == 0, shown.output
    assert "1 of them changed this unit" in shown.stdout
    assert "what the unit runs since then, no evidence says" in shown.stdout


def files_of(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("seed", [1, 2])
def test_one_changed_byte_in_any_covered_file(copy: Path, seed: int) -> None:
    dice, found = random.Random(seed), 0
    for name in files_of(copy):
        path = copy / name
        whole_data = path.read_bytes()
        if any(part in name for part in NOT_COVERED):
            continue
        for _ in range(FLIPS):
            place, bit = dice.randrange(len(whole_data)), dice.randrange(8)
            damaged = bytearray(whole_data)
            damaged[place] ^= 1 << bit
            path.write_bytes(bytes(damaged))
            result = run(copy, "--brief")
            assert result.exit_code == 4, f"{name}: bit {bit} of byte {place}: {result.output}"
            assert "Traceback" not in result.output
            found += 1
        path.write_bytes(whole_data)
    assert found >= 60 * FLIPS
    assert run(copy).exit_code == 0


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
def test_the_link_that_broke_is_named(copy: Path, pattern: str, link: str) -> None:
    names = names_in(copy)
    path = copy / ".assay" / pattern.format(**names)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x04
    path.write_bytes(bytes(data))
    found = broken(copy)
    assert link.format(**names) in found, found
    shown = run(copy, "--brief").stdout
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
def test_what_is_missing_is_named(copy: Path, pattern: str, link: str, words: str) -> None:
    (copy / ".assay" / pattern.format(**names_in(copy))).unlink()
    found = broken(copy)
    assert link in found and words in found[link], found


def names_in(folder: Path) -> dict[str, str]:
    """Digests that the patterns above need."""
    reading = SiteReading(folder / ".assay")
    entries = [json.loads(leaf) for leaf in reading.log.leaves]
    bench = _predicate(folder, entries[13]["record"])["urn:assay:test-run:v1"]
    update = _predicate(folder, entries[15]["record"])
    named = {f"record{index}": entry["record"] for index, entry in enumerate(entries)}
    ca = next((folder / ".assay/device-ca").glob("*.der")).stem
    return named | {"junit": bench["files"]["junit.xml"], "image": update["image"]["file_sha256"], "ca": ca}


def _predicate(folder: Path, record: str) -> dict:  # type: ignore[type-arg]
    bundle = json.loads((folder / ".assay" / "records" / f"{record}.json").read_text())
    predicate: dict = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))["predicate"]  # type: ignore[type-arg]
    return predicate


def test_the_rest_of_the_tree_is_shown_when_the_log_cannot_be_read(copy: Path) -> None:
    path = copy / ".assay/log/tile/entries/000.p/21"
    path.write_bytes(b"\xff\xff" + path.read_bytes()[2:])
    result = run(copy, "--brief")
    assert result.exit_code == 4
    for words in ("Provisioned with demo-boot@1.0.0", "Update from demo-sensor@1.0.0 to demo-sensor@1.1.0", "Evidence"):
        assert words in result.stdout


def test_a_serial_number_that_nobody_knows(whole: Path) -> None:
    result = run(whole, serial="DEMO-00001")
    assert result.exit_code == 2
    assert f"did you mean {SERIAL}, {OTHER}?" in result.stderr


@pytest.mark.parametrize("serial", ["", "a/b", "..", "a b", "x" * 300])
def test_what_is_no_serial_number(whole: Path, serial: str) -> None:
    result = run(whole, serial=serial)
    assert result.exit_code == 2 and "serial number" in result.stderr


def test_trust_is_never_taken_from_the_site(whole: Path) -> None:
    result = CliRunner().invoke(command, [SERIAL, "--site", str(whole / ".assay")], env={"ASSAY_TRUST": ""})
    assert result.exit_code == 2 and "--trust" in result.stderr
    named = CliRunner().invoke(
        command, [SERIAL, "--site", str(whole / ".assay")], env={"ASSAY_TRUST": str(whole / "trust.toml")}
    )
    assert named.exit_code == 0


@pytest.mark.parametrize(
    ("allow", "words"), [({"allow_emulated": True}, "UNSAFE-DEVELOPMENT"), ({"allow_development": True}, "emulated")]
)
def test_what_the_trust_file_does_not_allow(copy: Path, allow: dict[str, bool], words: str) -> None:
    MadeSite(copy / ".assay").write_trust(copy / "trust.toml", **allow)
    found = broken(copy)
    assert words in found["records/00000016-run"]
    assert len(found) > 5


def test_another_sites_keys_verify_nothing(copy: Path, tmp_path: Path) -> None:
    MadeSite(tmp_path / "elsewhere").write_trust(copy / "trust.toml", allow_development=True, allow_emulated=True)
    found = broken(copy)
    assert "log" in found and "records/00000012-provisioning" in found


def test_the_certificate_of_another_device_ca(copy: Path, tmp_path: Path) -> None:
    shutil.rmtree(copy / ".assay/device-ca")
    shutil.copytree((MadeSite(tmp_path / "elsewhere").folder) / "device-ca", copy / ".assay/device-ca")
    assert "not the certificate of a device CA of this trust file" in broken(copy)["site/device-ca"]


def test_a_record_that_was_never_logged(copy: Path, tmp_path: Path) -> None:
    """A well-signed record that somebody laid into the folder."""
    made = MadeSite(copy / ".assay")
    before = set((copy / ".assay/records").iterdir())
    saved = tmp_path / "log"
    shutil.copytree(copy / ".assay/log", saved)
    made.interrupted(made.unit(SERIAL, 1), verb="flash")
    assert len(set((copy / ".assay/records").iterdir()) - before) == 1
    shutil.rmtree(copy / ".assay/log")
    shutil.copytree(saved, copy / ".assay/log")
    found = broken(copy)
    assert any(link.startswith("records/not-logged-") and "no entry of the log" in text for link, text in found.items())


def test_a_record_on_its_way_into_the_log_is_no_fault_of_the_log(copy: Path) -> None:
    """What a killed recorder leaves: the bundle is in the outbox and in the folder, the log knows nothing of it."""
    import sqlite3

    data = b'{"stopped":"here"}'
    with sqlite3.connect(copy / ".assay/outbox.sqlite") as database:
        database.execute(
            "INSERT INTO outbox (payload, statement, type, role, serial, since, bundle) VALUES (?,?,?,?,?,?,?)",
            ("0" * 64, b"{}", "run", "field", OTHER, "2026-11-23", data),
        )
    (copy / f".assay/records/{hashlib.sha256(data).hexdigest()}.json").write_bytes(data)
    result = run(copy)
    assert result.exit_code == 0, result.output
    assert "1 record on the way into the log" in result.stdout


def reopened(copy: Path) -> MadeSite:
    made = MadeSite(copy / ".assay")
    made.releases = {release.reference: release for release in made.site.store.releases()}
    return made


def lie(copy: Path, tell: Callable[[MadeSite], object]) -> dict[str, str]:
    """The broken links after somebody with the site's keys recorded what `tell` says, logged and all."""
    tell(reopened(copy))
    return broken(copy)


def test_an_update_that_nobody_recorded(copy: Path) -> None:
    found = lie(copy, lambda made: made.update(made.unit(SERIAL, 1), "demo-sensor@1.2.0", "demo-sensor@1.0.0"))
    assert list(found) == ["records/00000021-update"]
    assert "#19 left it running demo-sensor@1.1.0: a record is missing" in found["records/00000021-update"]


def test_evidence_of_another_image(copy: Path) -> None:
    found = lie(copy, lambda made: made.evidence(made.unit(SERIAL, 1), "demo-sensor@1.2.0"))
    assert "a record is missing" in found["records/00000021-evidence"]


def test_evidence_of_another_bootloader(copy: Path) -> None:
    found = lie(copy, lambda made: made.evidence(made.unit(SERIAL, 1), "demo-sensor@1.1.0", "demo-sensor@1.0.0"))
    assert "booted by demo-sensor@1.0.0" in found["records/00000021-evidence"]


def test_evidence_signed_by_another_device(copy: Path) -> None:
    def tell(made: MadeSite) -> None:
        unit = made.unit(SERIAL, 1)
        unit.key = made.unit(SERIAL, 9).key
        made.evidence(unit, "demo-sensor@1.1.0")

    assert "not signed by the key" in lie(copy, tell)["records/00000021-evidence"]


def test_evidence_that_is_recorded_twice(copy: Path) -> None:
    """The old answer, told as if the unit had been asked again: everything in it verifies but for that."""

    def tell(made: MadeSite) -> None:
        record = next(entry.record for _, entry in made.site.records.entries(start=19))
        statement = read_statement(sigstore_bundle.decode(made.site.records.record(record)).envelope.payload)
        said = statement.predicate
        again = {**said, "run": {**json.loads(json.dumps(said["run"])), "run_id": "another"}}
        twice = statement.model_copy(update={"predicate": again})
        made.site.recorder.record(twice, RecordType.EVIDENCE, Role.FIELD, SERIAL)

    assert "this evidence was given before, in #19" in lie(copy, tell)["records/00000021-evidence"]


def test_a_failed_update_that_stayed(copy: Path) -> None:
    found = lie(
        copy,
        lambda made: made.update(
            made.unit(SERIAL, 1), "demo-sensor@1.1.0", "demo-sensor@1.2.0", Outcome.FAIL, after="demo-sensor@1.2.0"
        ),
    )
    assert "the record says FAIL" in found["records/00000021-update"]


def test_a_test_of_another_image_than_the_unit_ran(copy: Path) -> None:
    found = lie(copy, lambda made: made.test(made.unit(SERIAL, 1), "demo-sensor@1.2.0", runs="demo-sensor@1.1.0"))
    assert "did not run the tested image" in found["records/00000021-test"]


def test_a_bench_that_says_more_than_the_unit_signed(copy: Path) -> None:
    found = lie(copy, lambda made: made.test(made.unit(SERIAL, 1), "demo-sensor@1.1.0", signs="demo-sensor@1.0.0"))
    assert "evidence says something else about before the tests" in found["records/00000021-test"]


def test_evidence_in_a_test_by_another_device(copy: Path) -> None:
    def tell(made: MadeSite) -> None:
        unit = made.unit(SERIAL, 1)
        unit.key = made.unit(SERIAL, 9).key
        made.test(unit, "demo-sensor@1.1.0")

    assert "not signed by the key" in lie(copy, tell)["records/00000021-test"]


@pytest.mark.parametrize(
    ("kind", "predicate"),
    [
        (RecordType.PROVENANCE, {"buildDefinition": []}),
        (RecordType.PROVENANCE, {"buildDefinition": {"resolvedDependencies": [{"digest": 1, "annotations": []}]}}),
        (RecordType.SBOM, {"components": [1]}),
    ],
)
def test_a_signed_statement_of_a_strange_shape(copy: Path, kind: RecordType, predicate: dict[str, object]) -> None:
    def tell(made: MadeSite) -> None:
        subject = Subject(name="image", digest={"sha256": made.reference("demo-sensor@1.1.0").file_sha256})
        statement = Statement(subject=(subject,), predicateType=PREDICATES[kind].value, predicate=predicate)
        made.site.recorder.record(statement, kind, Role.BUILDER)

    assert any("could not be verified" in faults for faults in lie(copy, tell).values())


def test_one_serial_number_for_two_chips(copy: Path) -> None:
    found = lie(copy, lambda made: made.provision(made.unit(SERIAL, 7), "demo-boot@1.0.0", "demo-sensor@1.0.0"))
    assert "a serial number belongs to one chip" in found["records/00000021-provisioning"]


def test_a_release_that_nobody_attested(copy: Path) -> None:
    def tell(made: MadeSite) -> None:
        ghost = made.releases["demo-sensor@1.1.0"]
        image = ghost.image.model_copy(update={"file_sha256": "d" * 64})
        made.releases["ghost@1.0.0"] = ghost.model_copy(update={"image": image})
        made.update(made.unit(SERIAL, 1), "demo-sensor@1.1.0", "ghost@1.0.0")

    found = lie(copy, tell)
    assert {"releases/ghost@1.0.0/provenance", "releases/ghost@1.0.0/image"} <= set(found)


def test_a_record_that_calls_a_file_by_another_hash(copy: Path) -> None:
    def tell(made: MadeSite) -> None:
        release = made.releases["demo-sensor@1.0.0"]
        image = release.image.model_copy(update={"image_hash": "e" * 64})
        made.releases["demo-sensor@1.0.0"] = release.model_copy(update={"image": image})
        shutil.rmtree(copy / ".assay/log")
        shutil.rmtree(copy / ".assay/records")
        (copy / ".assay/outbox.sqlite").unlink()
        made.provision(made.unit(SERIAL, 1), "demo-boot@1.0.0", "demo-sensor@1.0.0")
        made.write_trust(copy / "trust.toml", allow_development=True, allow_emulated=True)

    assert "name the hash eeee" in lie(copy, tell)["releases/demo-sensor@1.0.0/image"]


def test_a_record_that_says_that_a_twin_is_real(copy: Path) -> None:
    def tell(made: MadeSite) -> None:
        made.emulated = False
        made.flash(made.unit(SERIAL, 1), "demo-sensor@1.1.0")

    assert "disagree on whether the unit is emulated" in lie(copy, tell)["records/00000021-flash"]


def test_a_plan_that_is_not_the_recorded_one(copy: Path) -> None:
    def tell(made: MadeSite) -> None:
        unit = made.unit(SERIAL, 1)
        record = _predicate(copy, names_in(copy)["record15"])
        record["run"] = made.header(Outcome.PASS).model_dump(mode="json")
        record["plan_sha256"] = "0" * 64
        record["before"], record["plan"]["unit"]["image_hash"] = record["after"], record["after"]["image_hash"]
        from assay.model.predicates import Update

        made.record(Update.model_validate_json(json.dumps(record)), RecordType.UPDATE, Role.FIELD, unit)

    assert "the plan does not have the recorded digest" in lie(copy, tell)["records/00000021-update"]


def test_a_history_written_again_without_the_bad_update(copy: Path, whole: Path) -> None:
    """Even with the log key: later records keep checkpoints of the log that was, which this one does not continue."""
    entries = SiteReading(whole / ".assay").log.leaves
    shutil.rmtree(copy / ".assay/log")
    (copy / ".assay/outbox.sqlite").unlink()
    made = MadeSite(copy / ".assay")
    from assay.backends.logs.tile_log import TileLog
    from assay.formats import checkpoint, merkle, signed_note
    from assay.formats.public_key import raw_ed25519

    origin = SiteReading(whole / ".assay").log.head.origin  # type: ignore[union-attr]
    signers = made.site.signers
    empty = checkpoint.Checkpoint(origin, 0, merkle.EMPTY_ROOT).text
    (copy / ".assay/log").mkdir()
    public = raw_ed25519(signers.public_key(Role.LOG).public)
    note = signed_note.write(empty, origin, public, signers.sign(Role.LOG, empty.encode()))
    (copy / ".assay/log/checkpoint").write_bytes(note)
    TileLog(copy / ".assay/log", signers).append([*entries[:18], *entries[19:]])
    (copy / ".assay/records" / (json.loads(entries[18])["record"] + ".json")).unlink()
    found = broken(copy)
    assert "the checkpoint that the record keeps" in found["records/00000018-evidence"]


def test_a_flash_from_before_the_unit_had_a_name(tmp_path: Path) -> None:
    made = MadeSite(tmp_path / ".assay")
    made.publish("demo-boot", "1.0.0", "bootloader")
    made.publish("demo-sensor", "1.0.0")
    unit, other = made.unit(SERIAL, 1), made.unit(OTHER, 2)
    made.flash(unit, "demo-sensor@1.0.0", named=False)
    made.flash(other, "demo-sensor@1.0.0", named=False)
    made.provision(unit, "demo-boot@1.0.0", "demo-sensor@1.0.0")
    made.flash(unit, "demo-sensor@1.0.0")
    made.write_trust(tmp_path / "trust.toml", allow_development=True, allow_emulated=True)
    shown = run(tmp_path, "--brief")
    assert shown.exit_code == 0, shown.output
    assert "#6 Flashed" in shown.stdout and "#9 Flashed" in shown.stdout and "#7" not in shown.stdout
    assert "No evidence of what the unit runs" in shown.stdout


def test_a_test_of_two_units_is_in_both_histories(copy: Path) -> None:
    made = reopened(copy)
    made.test(made.unit(SERIAL, 1), "demo-sensor@1.1.0", also=made.unit(OTHER, 2))
    made.update(made.unit(OTHER, 2), "demo-sensor@1.0.0", "demo-sensor@1.1.0")
    ours, theirs = run(copy, "--brief"), run(copy, "--brief", serial=OTHER)
    assert ours.exit_code == 0 and "#21 Tested" in ours.stdout, ours.output
    assert theirs.exit_code == 4 and "#21 Tested" in theirs.stdout  # that one ran 1.0.0, so the test cannot be true
    assert "it was tested while running demo-sensor@1.1.0, but #20 left it running demo-sensor@1.0.0" in theirs.stdout


def test_a_log_that_grows_meanwhile(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another verb appends, and removes the partial tile that was just listed: no fault, the log is read again."""
    made, reads = reopened(copy), []
    from assay.pipeline import trace_collect

    class Growing(trace_collect.SiteLog):
        def _entries(self) -> list[bytes]:
            reads.append(1)
            if len(reads) == 1:
                made.interrupted(made.unit(OTHER, 2))
            return super()._entries()

    monkeypatch.setattr(trace_collect, "SiteLog", Growing)
    assert run(copy).exit_code == 0
    assert len(reads) == 2


def test_unit_only_leaves_the_others_alone(copy: Path) -> None:
    path = copy / ".assay" / "records" / (names_in(copy)["record14"] + ".json")
    path.write_bytes(path.read_bytes() + b" ")
    assert run(copy).exit_code == 4
    assert run(copy, "--unit-only").exit_code == 0


def test_a_site_that_is_not_there(tmp_path: Path, whole: Path) -> None:
    shutil.copy(whole / "trust.toml", tmp_path)
    result = run(tmp_path)
    assert result.exit_code == 2 and "there is no site" in result.stderr


def test_predicates_are_what_the_site_recorded(whole: Path) -> None:
    """The fixture goes through the real recorder: what is logged is canonical."""
    record = names_in(whole)["record15"]
    data = (whole / ".assay/records" / f"{record}.json").read_bytes()
    assert hashlib.sha256(data).hexdigest() == record
    assert canonical_json.encode(json.loads(data)) == data
