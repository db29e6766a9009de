# SPDX-License-Identifier: Apache-2.0
"""`assay trace` on a finished site: what it shows, for whom, and what is no fault."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from made_site import OTHER, SERIAL, MadeSite
from traced_site import names_in, reopened, run, trace

from assay.backends.stores.oci_layout import OciLayoutStore
from assay.cli.trace import command
from assay.formats import canonical_json
from assay.model.trace import Trace
from assay.pipeline.trace_store import verify_store
from assay.pipeline.withdrawing import withdraw


def test_the_whole_chain_is_shown(finished: Path) -> None:
    result = run(finished)
    assert result.exit_code == 0, result.output
    for words in (
        "Source: commit 4b0d51300000",
        "Build: 2 builds gave the same bytes",
        "needs       handoff 1, demo-boot >=1.0.0",
        "offers      handoff 1",
        "#12 Provisioned with demo-boot@1.0.0 and demo-sensor@1.0.0: PASS",
        "#13 Tested demo-sensor@1.0.0 with suites/demo-sensor: PASS",
        "measured    boot_time 52 ms (0 to 500): PASS",
        "sandbox     none: the tests could have read the keys of the bench",
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


def test_every_link_that_rests_on_a_key_names_it(finished: Path) -> None:
    for node in trace(finished).root.walk():
        for check in node.checks:
            assert check.keyid is None or (check.key_name and check.development)
        if any(check.development for check in node.checks):
            assert "UNSAFE-DEVELOPMENT" in node.marks, node.link


def test_json_is_one_document_and_a_trace(finished: Path) -> None:
    document = json.loads(run(finished, "--json").stdout)
    assert (document["status"], document["result"], document["broken"]) == (0, "PASS", [])
    assert Trace.model_validate_json(json.dumps(document["trace"])) == trace(finished)


def test_the_page_shows_the_same(finished: Path, tmp_path: Path) -> None:
    result = run(finished, "--html", str(tmp_path / "new" / "page.html"))
    page = (tmp_path / "new" / "page.html").read_text()
    assert result.exit_code == 0 and "all 33 links verified" in page and "#18 Update" in page


def test_a_bootloader_that_was_signed_before_bootloaders_had_a_number_is_whole(finished_copy: Path) -> None:
    made = reopened(finished_copy)
    made.publish("demo-boot", "0.9.0", "bootloader", number=0)
    made.provision(made.unit(SERIAL, 1), "demo-boot@0.9.0", "demo-sensor@1.0.0")
    result = run(finished_copy)
    assert result.exit_code == 0 and "Provisioned with demo-boot@0.9.0" in result.stdout, result.output


def test_updates_after_the_last_evidence_are_said(finished_copy: Path) -> None:
    made = reopened(finished_copy)
    made.update(made.unit(SERIAL, 1), "demo-sensor@1.1.0", "demo-sensor@1.0.0")
    shown = run(finished_copy)
    assert shown.exit_code == 0, shown.output
    assert "1 of them changed this unit" in shown.stdout
    assert "what the unit runs since then, no evidence says" in shown.stdout
    assert "; since then changed by 1 record" in shown.stdout


def test_a_serial_number_that_nobody_knows(finished: Path) -> None:
    result = run(finished, serial="DEMO-00001")
    assert result.exit_code == 2
    assert f"did you mean {SERIAL}, {OTHER}?" in result.stderr


@pytest.mark.parametrize("serial", ["", "a/b", "..", "a b", "x" * 300])
def test_what_is_no_serial_number(finished: Path, serial: str) -> None:
    result = run(finished, serial=serial)
    assert result.exit_code == 2 and "serial number" in result.stderr


def test_trust_is_never_taken_from_the_site(finished: Path) -> None:
    result = CliRunner().invoke(command, [SERIAL, "--site", str(finished / ".assay")], env={"ASSAY_TRUST": ""})
    assert result.exit_code == 2 and "--trust" in result.stderr
    named = CliRunner().invoke(
        command, [SERIAL, "--site", str(finished / ".assay")], env={"ASSAY_TRUST": str(finished / "trust.toml")}
    )
    assert named.exit_code == 0


def test_a_record_on_its_way_into_the_log_is_no_fault_of_the_log(finished_copy: Path) -> None:
    """What a killed recorder leaves: the bundle is in the outbox and in the folder, the log knows nothing of it."""
    import sqlite3

    data = b'{"stopped":"here"}'
    with sqlite3.connect(finished_copy / ".assay/outbox.sqlite") as database:
        database.execute(
            "INSERT INTO outbox (payload, statement, type, role, serial, since, bundle) VALUES (?,?,?,?,?,?,?)",
            ("0" * 64, b"{}", "run", "field", OTHER, "2026-11-23", data),
        )
    (finished_copy / f".assay/records/{hashlib.sha256(data).hexdigest()}.json").write_bytes(data)
    result = run(finished_copy)
    assert result.exit_code == 0, result.output
    assert "1 record on the way into the log" in result.stdout


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


def test_a_test_of_two_units_is_in_both_histories(finished_copy: Path) -> None:
    made = reopened(finished_copy)
    made.test(made.unit(SERIAL, 1), "demo-sensor@1.1.0", also=made.unit(OTHER, 2))
    made.update(made.unit(OTHER, 2), "demo-sensor@1.0.0", "demo-sensor@1.1.0")
    ours, theirs = run(finished_copy, "--brief"), run(finished_copy, "--brief", serial=OTHER)
    assert ours.exit_code == 0 and "#21 Tested" in ours.stdout, ours.output
    assert theirs.exit_code == 4 and "#21 Tested" in theirs.stdout  # that one ran 1.0.0, so the test cannot be true
    assert "it was tested while running demo-sensor@1.1.0, but #20 left it running demo-sensor@1.0.0" in theirs.stdout


def test_a_log_that_grows_meanwhile(finished_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another verb appends, and removes the partial tile that was just listed: no fault, the log is read again."""
    made, reads = reopened(finished_copy), []
    from assay.pipeline import trace_collect

    class Growing(trace_collect.SiteLog):
        def _entries(self) -> list[bytes]:
            reads.append(1)
            if len(reads) == 1:
                made.interrupted(made.unit(OTHER, 2))
            return super()._entries()

    monkeypatch.setattr(trace_collect, "SiteLog", Growing)
    assert run(finished_copy).exit_code == 0
    assert len(reads) == 2


def test_a_site_that_is_not_there(tmp_path: Path, finished: Path) -> None:
    shutil.copy(finished / "trust.toml", tmp_path)
    result = run(tmp_path)
    assert result.exit_code == 2 and "there is no site" in result.stderr


def test_predicates_are_what_the_site_recorded(finished: Path) -> None:
    """The fixture goes through the real recorder: what is logged is canonical."""
    record = names_in(finished)["record15"]
    data = (finished / ".assay/records" / f"{record}.json").read_bytes()
    assert hashlib.sha256(data).hexdigest() == record
    assert canonical_json.encode(json.loads(data)) == data


def test_a_withdrawal_is_shown_with_the_release_and_is_no_fault(finished_copy: Path, tmp_path: Path) -> None:
    made = reopened(finished_copy)
    board = made.releases["demo-sensor@1.1.0"].board
    done = withdraw(made.site, "demo-sensor@1.1.0", board, "the sensor reads low")
    result = run(finished_copy)
    assert result.exit_code == 0, result.output
    assert f"WITHDRAWN on {done.withdrawn.says.at}: the sensor reads low" in result.stdout
    other = OciLayoutStore(tmp_path / "store")
    other.withdraw((done.withdrawn.says.manifest_sha256, done.withdrawn.says.manifest_size), done.withdrawn.bundle)
    assert not verify_store(tmp_path / "store").faults
