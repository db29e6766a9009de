# SPDX-License-Identifier: Apache-2.0
"""Who holds a component: releases, serial numbers and VEX, out of verified records; the index is made again at will."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from published_release import Published

from assay.cli import sbom as sbom_verb
from assay.cli.affected import _text
from assay.cli.main import main
from assay.errors import ExitStatus, NotVerified, ToolMissing, UsageFault
from assay.formats import sigstore_bundle
from assay.formats.component_query import parse_query
from assay.formats.cyclonedx_vex import VexSaid, vex_document
from assay.formats.statement_verifier import read_statement
from assay.model import parts as parts_model
from assay.model.parts import Holding, Part
from assay.model.record import RecordType
from assay.model.statement import PredicateType, Statement, Subject
from assay.model.trust import Role, TrustFile
from assay.pipeline.bundle_export import export_bundle
from assay.pipeline.bundle_import import import_bundle
from assay.pipeline.parts_index import Affected, ask_index, open_index
from assay.pipeline.site import Site
from assay.pipeline.trust_file import write_trust
from assay.pipeline.vex_statement import say_vex
from assay.pipeline.withdrawing import withdraw
from assay.stages.records.holdings import holdings_of

NOW = "2026-11-26T00:00:00Z"
HASHES = {name: name * 64 for name in "abcdef"}
SBOM = {"bomFormat": "CycloneDX", "components": [{"type": "library", "name": "tiny", "version": "1.0.0"}]}


@pytest.fixture
def maker(published: Published) -> Iterator[Published]:
    yield published
    published.site.signers.close()  # type: ignore[attr-defined]


def ask(site: Site, trust: TrustFile, query: str, **more: bool) -> Affected:
    database, head = open_index(site, trust, "t" * 64, **more)
    try:
        found = ask_index(site, database, head, parse_query(query))
        units = tuple(found.units())
        return Affected(**{**found.__dict__, "units": lambda: iter(units)})
    finally:
        database.close()


def holders(found: Affected) -> dict[str, str]:
    return {unit.serial: unit.slot + ("" if unit.certain else "?") for unit in found.units()}


def header(**more: object) -> dict[str, object]:
    return {
        "run_id": "0001-aaaa", "assay": "0.1.0", "place": "p", "board": "ast1030-evb", "emulated": True,
        "started": "2026-11-26T00:00:00Z", "finished": "2026-11-26T00:00:01Z", "outcome": "PASS", "checkpoint": "",
        **more,
    }  # fmt: skip


def image(hash_: str, file: str = "f" * 64) -> dict[str, str]:
    return {"release": "tiny@1.0.0", "file_sha256": file, "image_hash": hash_}


def provisioned(serial: str, app: str, bootloader: str = HASHES["b"]) -> dict[str, object]:
    return {
        "run": header(), "serial": serial, "chip": "c", "revision": 1, "profile": "demo", "profile_sha256": HASHES["a"],
        "bootloader": image(bootloader), "app": image(app), "device_key": "k", "certificate_base64": "",
        "certificate_sha256": HASHES["a"], "issuer_keyid": HASHES["a"], "steps": [],
    }  # fmt: skip


def updated(serial: str, before: str, to: str, after: str | None) -> dict[str, object]:
    report = {"version": "1.0.0", "how": "recomputed", "state": "confirmed"}
    unit = {"serial": serial, "board": "b", "revision": 1, "name": "tiny", "version": "1.0.0", "image_hash": before}
    plan = {
        "unit": {**unit, "state": "confirmed"}, "release": "tiny@1.0.0", "file_sha256": HASHES["f"], "image_hash": to,
        "policy": "none", "steps": [],
    }  # fmt: skip
    return {
        "run": header(), "serial": serial, "plan": plan, "plan_sha256": HASHES["a"], "image": image(to),
        "before": {**report, "image_hash": before}, "steps": [],
        "after": None if after is None else {**report, "image_hash": after},
    }  # fmt: skip


def record(site: Site, kind: RecordType, predicate: dict[str, object], role: Role = Role.STATION) -> None:
    from assay.model.record import PREDICATES

    subject = (Subject(name="x", digest={"sha256": "0" * 64}),)
    statement = Statement(subject=subject, predicateType=PREDICATES[kind].value, predicate=predicate)
    serial = predicate.get("serial")
    site.recorder.record(statement, kind, role, str(serial) if serial else None)


def test_releases_and_units_with_what_is_said_of_them(maker: Published, tmp_path: Path) -> None:
    site, trust = maker.site, maker.trust()
    release = site.store.find("tiny", None, "ast1030-evb")
    held = release.image.image_hash
    record(site, RecordType.PROVISIONING, provisioned("UNIT-1", held))
    record(site, RecordType.PROVISIONING, provisioned("UNIT-2", HASHES["c"]))

    found = ask(site, trust, "tiny@1.0.0")
    assert [(each.reference, each.units, each.withdrawn) for each in found.releases] == [("tiny@1.0.0", 1, None)]
    assert holders(found) == {"UNIT-1": "app"}
    assert found.faults == {}
    assert not ask(site, trust, "tiny@1.0.1").releases
    assert ask(site, trust, "tiny@1.0.1").names_known
    assert ask(site, trust, "tinny").near == ("tiny",)
    assert ask(site, trust, "TINY").releases, "by whatever capitals"
    assert ask(site, trust, "assay-bootloader").releases, "what it needs is in its bill of materials, too"

    say_vex(site, release, "tiny", VexSaid("CVE-2026-1", "in_triage"))
    made = say_vex(site, release, "tiny", VexSaid("CVE-2026-1", "not_affected", "code_not_reachable", detail="dead"))
    notes = ask(site, trust, "tiny").releases[0].vex
    assert [(note.vulnerability, note.state, note.justification) for note in notes] == [
        ("CVE-2026-1", "not_affected", "code_not_reachable")
    ]
    bundle = site.recorder.bundle(made.record)
    document = json.dumps(read_statement(sigstore_bundle.decode(bundle).envelope.payload).predicate)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(document) is None
    assert vex_document(release, {}, (), VexSaid("CVE-1", "in_triage"), NOW) == vex_document(
        release, {}, (), VexSaid("CVE-1", "in_triage"), NOW
    )
    with pytest.raises(UsageFault, match="does not hold openssl"):
        say_vex(site, release, "openssl", VexSaid("CVE-2026-1", "in_triage"))
    with pytest.raises(UsageFault, match="needs a justification"):
        say_vex(site, release, "tiny", VexSaid("CVE-2026-1", "not_affected"))

    out = tmp_path / "bundle.tar"
    export_bundle(site, [release], out)
    factory = Site(tmp_path / "factory")
    import_bundle(factory, out, trust)
    record(factory, RecordType.PROVISIONING, provisioned("UNIT-9", held))
    both = trust.model_copy(update={"keys": trust.keys + Published.trust(_at(factory)).keys, "logs": _logs(factory)})
    there = ask(factory, both, "tiny")
    assert holders(there) == {"UNIT-9": "app"}
    assert [note.state for note in there.releases[0].vex] == ["not_affected"], "VEX travels in the bundle"
    factory.signers.close()  # type: ignore[attr-defined]

    withdraw(site, "tiny@1.0.0", "ast1030-evb", "it overheats")
    assert ask(site, trust, "tiny").releases[0].withdrawn == "it overheats"


def _at(site: Site) -> Published:
    found = Published(site.folder)
    found.site = site
    return found


def _logs(site: Site) -> tuple[object, ...]:
    return (site.recorder.trusted_log(),)  # type: ignore[attr-defined]


def test_the_index_grows_with_the_log_and_is_made_again(maker: Published) -> None:
    site, trust = maker.site, maker.trust()
    held = site.store.find("tiny", None, "ast1030-evb").image.image_hash
    record(site, RecordType.PROVISIONING, provisioned("UNIT-1", held))
    assert holders(ask(site, trust, "tiny")) == {"UNIT-1": "app"}
    record(site, RecordType.PROVISIONING, provisioned("UNIT-2", held))
    grown = ask(site, trust, "tiny")
    assert holders(grown) == {"UNIT-1": "app", "UNIT-2": "app"}
    assert holders(ask(site, trust, "tiny", rebuild=True)) == holders(grown)
    (site.cache_dir / "parts.sqlite").unlink()
    assert holders(ask(site, trust, "tiny")) == holders(grown)
    (site.folder / "log" / "checkpoint").write_bytes((site.folder / "log" / "checkpoint").read_bytes()[:-5])
    with pytest.raises(NotVerified):
        ask(site, trust, "tiny")


def test_a_unit_that_holds_two_of_the_images_is_one_unit(maker: Published) -> None:
    site, trust = maker.site, maker.trust()
    held = site.store.find("tiny", None, "ast1030-evb").image.image_hash
    statement = Statement(
        subject=(Subject(name="x", digest={"sha256": HASHES["e"]}, annotations={"imageHash": HASHES["b"]}),),
        predicateType=PredicateType.SBOM.value,
        predicate=SBOM,
    )
    site.recorder.record(statement, RecordType.SBOM, Role.BUILDER, None)  # and its release was never written
    record(site, RecordType.PROVISIONING, provisioned("UNIT-1", held, bootloader=HASHES["b"]))
    found = ask(site, trust, "tiny")
    assert [(each.reference, each.units) for each in found.releases] == [("", 1), ("tiny@1.0.0", 1)]
    assert (found.unit_count, len(list(found.units()))) == (1, 2)
    lines = _text("tiny", found, None).splitlines()
    assert lines[0].startswith(f"image {HASHES['b'][:16]}, which no release names: ")
    assert lines[-1].startswith("1 release, 1 unit; ") and "  image       " not in lines


def test_a_record_that_does_not_verify_is_told_and_not_counted(maker: Published) -> None:
    site, trust = maker.site, maker.trust()
    held = site.store.find("tiny", None, "ast1030-evb").image.image_hash
    record(site, RecordType.PROVISIONING, provisioned("UNIT-1", held))
    stations = tuple(key for key in trust.keys if key.role is not Role.STATION)
    found = ask(site, trust.model_copy(update={"keys": stations}), "tiny")
    assert found.unit_count == 0
    assert list(found.faults) == ["entry 3 of the log"]
    *_, (_, entry) = site.records.entries()
    newest = site.folder / "records" / f"{entry.record}.json"
    newest.write_bytes(newest.read_bytes().replace(b"a", b"b", 1))
    assert "changed" in str(ask(site, trust, "tiny", rebuild=True).faults)


def test_what_records_say_of_a_unit() -> None:
    def known(file: str) -> tuple[str, str] | None:
        return (HASHES["e"], "radio") if file == HASHES["e"] else None

    sure = updated("U", HASHES["a"], HASHES["c"], HASHES["c"])
    assert holdings_of(RecordType.UPDATE, sure, 7, known) == [Holding("U", "app", HASHES["c"], 7)]
    back = updated("U", HASHES["a"], HASHES["c"], HASHES["a"])
    assert holdings_of(RecordType.UPDATE, back, 7, known) == [Holding("U", "app", HASHES["a"], 7)]
    open_ = holdings_of(RecordType.UPDATE, updated("U", HASHES["a"], HASHES["c"], None), 7, known)
    assert [(each.image_hash, each.certain) for each in open_] == [(HASHES["a"], False), (HASHES["c"], False)]
    cut = {"run": header(outcome="ERROR"), "verb": "flash", "serial": "U", "stopped_at": "write",
           "images": {"x": HASHES["e"], "y": HASHES["f"]}}  # fmt: skip
    assert holdings_of(RecordType.RUN, cut, 8, known) == [Holding("U", "radio", HASHES["e"], 8, certain=False)]
    flashed = {"run": header(), "serial": "U", "chip": "c", "image": image(HASHES["e"], HASHES["e"]), "slot": 0,
               "read_back": HASHES["e"], "how": "recomputed", "bytes_sent": 1}  # fmt: skip
    assert holdings_of(RecordType.FLASH, flashed, 9, known) == [Holding("U", "radio", HASHES["e"], 9)]
    assert holdings_of(RecordType.TEST, {}, 9, known) == []
    nameless = {**flashed, "serial": None}
    assert holdings_of(RecordType.FLASH, nameless, 9, known) == [
        Holding("place:p", "radio", HASHES["e"], 9, certain=False)
    ]
    failed = {**cut, "serial": None}
    assert holdings_of(RecordType.RUN, failed, 8, known) == [Holding("place:p", "radio", HASHES["e"], 8, certain=False)]


def by_tool(held: str, file: str, probe: str | None) -> dict[str, object]:
    return {
        "run": header(), "flasher": "dfu-util", "driver": "dfu-util", "found": {"probe": probe, "facts": {}},
        "images": [
            {"name": "app", "file_sha256": file, "signature": "verified", "key": "k", "version": "1.0.0",
             "image_hash": held},
            {"name": "logo", "file_sha256": HASHES["d"], "signature": "none"},
        ],
        "read_back": [], "runs": [held], "how": "quoted", "cannot": ["identity"], "files": {}, "steps": [],
    }  # fmt: skip


def by_their_server(held: str, file: str) -> dict[str, object]:
    image = {"number": 0, "version": "1.0.0", "file_sha256": file, "image_hash": held, "encrypted": False,
             "signature": "none"}  # fmt: skip
    return {
        "run": header(place="desk"), "images": [image], "mode": "swap", "way": "app", "how": "quoted",
        "read_back": [{"number": 0, "slot": 0, "image_hash": held}, {"number": 0, "slot": 1, "image_hash": "a" * 128}],
        "bytes_sent": 1, "cannot": ["identity"], "steps": [],
    }  # fmt: skip


def test_boards_that_were_flashed_from_outside_are_units_without_a_serial_number(maker: Published) -> None:
    """The CRA's question is about them, too: by probe or place, and a later flash there takes none of them away."""
    site, trust = maker.site, maker.trust()
    image_ = site.store.find("tiny", None, "ast1030-evb").image
    record(site, RecordType.TOOL_FLASH, by_tool(image_.image_hash, image_.file_sha256, "ABC"))
    record(site, RecordType.TOOL_FLASH, by_tool(image_.image_hash, HASHES["c"], None))
    record(site, RecordType.FOREIGN_FLASH, by_their_server(image_.image_hash, image_.file_sha256))
    everywhere = {"probe:ABC": "app?", "place:p": "app?", "place:desk": "app?"}
    found = ask(site, trust, "tiny@1.0.0")
    assert holders(found) == everywhere
    assert (found.unit_count, found.faults) == (3, {})
    record(site, RecordType.TOOL_FLASH, by_tool(HASHES["e"], HASHES["f"], "ABC"))
    record(site, RecordType.FOREIGN_FLASH, by_their_server(HASHES["e"], HASHES["f"]))
    assert holders(ask(site, trust, "tiny@1.0.0")) == everywhere


def test_an_index_from_before_is_made_anew(maker: Published) -> None:
    """One that an older assay made lacks what that did not read."""
    site, trust = maker.site, maker.trust()
    record(site, RecordType.PROVISIONING, provisioned("UNIT-1", site.store.releases()[0].image.image_hash))
    ask(site, trust, "tiny")
    with closing(sqlite3.connect(site.cache_dir / "parts.sqlite")) as database:
        database.execute("DELETE FROM units")
        database.execute("DELETE FROM meta WHERE name = 'reads'")
        database.commit()
    assert holders(ask(site, trust, "tiny")) == {"UNIT-1": "app"}


PARTS = {
    "zig": Part("zig-std-crypto", "0.17.1", "pkg:pypi/ziglang@0.17.1"),
    "ssl": Part("openssl", "1.1.1n-0+deb11u5", "pkg:deb/debian/openssl@1.1.1n-0%2Bdeb11u5?arch=arm64"),
    "bare": Part("lib", "1.10.0"),
    "none": Part("unversioned"),
    "scoped": Part("@scope/lib", "2", "pkg:npm/%40scope/lib@2"),
}


@pytest.mark.parametrize(
    ("query", "part", "holds"),
    [
        ("zig-std-crypto", "zig", True), ("zig-std-crypto@0.17.1", "zig", True), ("zig-std-crypto@0.17", "zig", False),
        ("pkg:pypi/ziglang", "zig", True), ("pkg:PYPI/ziglang@0.17.1", "zig", True),
        ("pkg:pypi/ziglang@0.16.0", "zig", False), ("pkg:pypi/zig", "zig", False),
        ("pkg:pypi/ziglang@>=0.17,<0.18", "zig", True), ("pkg:pypi/ziglang@vers:pypi/<0.17", "zig", False),
        ("pkg:deb/debian/openssl@1.1.1n-0%2Bdeb11u5", "ssl", True),
        ("openssl@<1.1.1n-0+deb11u6", "ssl", True), ("openssl@<1.1.1n-0+deb11u5", "ssl", False),
        ("openssl@<1.1.1n-0+deb11u10", "ssl", True), ("openssl@>3", "ssl", False),
        ("lib@>=1.9,<2", "bare", True), ("lib@<1.9", "bare", False), ("lib@=1.10.0", "bare", True),
        ("unversioned@>=1", "none", True), ("unversioned@1", "none", True),
        ("ziglang@0.17.1", "zig", True), ("ZigLang", "zig", True), ("pkg:pypi/ZigLang", "zig", True),
        ("zig", "zig", False), ("Lib", "bare", True),
        ("debian/openssl", "ssl", True), ("@scope/lib@2", "scoped", True), ("lib@2", "scoped", True),
    ],
)  # fmt: skip
def test_queries(query: str, part: str, holds: bool) -> None:
    asked = parse_query(query)
    assert (asked.names(PARTS[part]) and asked.holds(PARTS[part])) is holds


@pytest.mark.parametrize(
    "text",
    ["", "@1", "a@", "a@>=", "a@>=1,", "pkg:", "pkg:pypi", "a@vers:nonsense", "a@><1", "a@[1,2)", "a@1,2", "a@1|2"],
)
def test_queries_that_are_none(text: str) -> None:
    with pytest.raises((UsageFault, ToolMissing)):
        parse_query(text)


def test_the_verbs_words_are_the_models() -> None:
    from typing import get_args

    assert get_args(parts_model.VexState) == sbom_verb.STATES
    assert get_args(parts_model.VexJustification) == sbom_verb.JUSTIFICATIONS
    assert get_args(parts_model.VexResponse) == sbom_verb.RESPONSES


@pytest.mark.parametrize("words", [["affected", "tiny"], ["trace", "UNIT-1"], ["log", "verify"]])
def test_a_folder_in_which_nothing_was_recorded_is_no_damaged_log(
    maker: Published, tmp_path: Path, words: list[str]
) -> None:
    """A station that only fetches, or a wrong name; where there were records, a log that is gone is refused."""
    write_trust(tmp_path / "trust.toml", maker.trust(), replace=False)
    (tmp_path / "station" / "store").mkdir(parents=True)
    line = [*words, "--trust", str(tmp_path / "trust.toml"), "--site", str(tmp_path / "station")]
    told = CliRunner().invoke(main, line)
    assert told.exit_code == ExitStatus.USAGE and "nothing was recorded there" in told.output, told.output
    (tmp_path / "station" / "records").mkdir()
    told = CliRunner().invoke(main, line)
    assert told.exit_code != ExitStatus.PASS and "is missing" in told.output, told.output


def test_vex_by_others_cannot_be_signed_for_us(maker: Published) -> None:
    """A station may not say that a vulnerability is none."""
    from assay.errors import Refused

    with pytest.raises(Refused):
        record(maker.site, RecordType.VEX, {"bomFormat": "CycloneDX"}, Role.STATION)
    assert PredicateType.VEX == "urn:assay:predicate:vex:v1"
