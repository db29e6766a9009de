# SPDX-License-Identifier: Apache-2.0
"""`assay log verify` over a whole site: one changed byte, one missing or added file, is found and named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from memory_signer import MemorySigner, trust_in

from assay.backends.clocks.system_clock import SystemClock
from assay.backends.records.outbox import Draft, Outbox, waiting
from assay.backends.records.record_store import RecordStore
from assay.backends.records.site_recorder import SiteRecorder
from assay.cli.main import main
from assay.cli.roles import ROLES
from assay.errors import NotRecorded
from assay.formats import canonical_json, tlog_tiles
from assay.model.record import PREDICATES, RecordType
from assay.model.statement import Statement, Subject
from assay.model.trust import BUILDER_IDS, Role, TrustFile
from assay.model.verdict import TEST_RUN
from assay.pipeline.site import Site
from assay.pipeline.trace_site_log import SiteLog
from assay.stages.records.log_report import LogReport
from assay.stages.records.verify import verify_log
from assay.stages.records.witnessed import Elsewhere

SIGNER = MemorySigner()
KINDS = ((RecordType.PROVENANCE, Role.BUILDER), (RecordType.UPDATE, Role.FIELD), (RecordType.TEST, Role.BENCH))


def statement(kind: RecordType, number: int, **predicate: Any) -> Statement:
    subject = Subject(name="image", digest={"sha256": "ab" * 32})
    return Statement(
        subject=(subject,), predicateType=PREDICATES[kind].value, predicate={"n": number, "serial": "U-1"} | predicate
    )


def fill(recorder: SiteRecorder, count: int = 6) -> None:
    console = recorder.attach(b"console")
    for number in range(count):
        kind, role = KINDS[number % 3]
        run = {"checkpoint": recorder.checkpoint().decode()}
        said: dict[str, Any] = {"run": run}
        if kind is RecordType.PROVENANCE:
            said |= {"runDetails": {"builder": {"id": min(BUILDER_IDS.values())}}}
        if kind is RecordType.TEST:
            said = {TEST_RUN: {"run": run, "files": {"console.log": console}, "units": [{"serial": "U-1"}]}}
        recorder.record(statement(kind, number, **said), kind, role, "U-1")


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrustFile]:
    folder = tmp_path_factory.mktemp("site")
    recorder = SiteRecorder(folder, SIGNER, SystemClock())
    fill(recorder)
    return folder, trust_in(SIGNER, recorder.trusted_log())


@pytest.fixture
def site(sample: tuple[Path, TrustFile], tmp_path: Path) -> tuple[Path, TrustFile]:
    return Path(shutil.copytree(sample[0], tmp_path / "site")), sample[1]


def look(folder: Path, trust: TrustFile) -> LogReport:
    return verify_log(RecordStore(folder), trust)


def test_a_whole_site_verifies(site: tuple[Path, TrustFile]) -> None:
    report = look(*site)
    assert report.faults == []
    assert (report.size, report.records, report.attachments, report.checkpoints) == (6, 6, 1, 6)
    assert "builder builder-UNSAFE-DEVELOPMENT" in report.development


def test_every_changed_byte_in_every_file(site: tuple[Path, TrustFile]) -> None:
    folder, trust = site
    files = [
        path for name in ("log", "records", "attachments") for path in (folder / name).rglob("*") if path.is_file()
    ]
    assert len(files) == 10
    for path in files:
        good = path.read_bytes()
        step = 1 if len(good) < 300 else 37
        for place in {*range(0, len(good), step), len(good) - 1}:
            path.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
            assert look(folder, trust).faults, f"{path} at {place}"
        path.write_bytes(good + b"\n")
        assert look(folder, trust).faults, f"{path} longer"
        path.write_bytes(good[:-1])
        assert look(folder, trust).faults, f"{path} shorter"
        path.unlink()
        assert look(folder, trust).faults, f"{path} missing"
        path.write_bytes(good)
    assert look(folder, trust).faults == []


def test_faults_name_what_broke_and_do_not_hide_each_other(site: tuple[Path, TrustFile]) -> None:
    folder, trust = site
    entries = [entry for _, entry in RecordStore(folder).entries()]
    _change(folder / "records" / f"{entries[1].record}.json")
    (folder / "records" / f"{entries[4].record}.json").unlink()
    faults = {fault.link: fault.what for fault in look(folder, trust).faults}
    assert "was changed" in faults[f"record {entries[1].record} (update, entry 1)"]
    assert "is missing" in faults[f"record {entries[4].record} (update, entry 4)"]
    assert len(faults) == 2


def test_changed_entry_is_named(site: tuple[Path, TrustFile]) -> None:
    folder, trust = site
    path = folder / "log" / "tile" / "entries" / "000.p" / "6"
    data = path.read_bytes()
    path.write_bytes(data.replace(b"U-1", b"U-2", 2))
    links = [fault.link for fault in look(folder, trust).faults]
    assert "log entry 0" in links
    assert "log checkpoint" in links


def test_record_that_is_not_in_the_log(site: tuple[Path, TrustFile]) -> None:
    folder, trust = site
    extra = SIGNER.sign_statement(Role.FIELD, canonical_json.encode_value(statement(RecordType.UPDATE, 99)))
    import hashlib

    name = hashlib.sha256(extra).hexdigest()
    (folder / "records" / f"{name}.json").write_bytes(extra)
    assert [(fault.link, fault.what) for fault in look(folder, trust).faults] == [
        (f"record {name}", "is not in the log")
    ]


def test_tile_that_no_checkpoint_covers(site: tuple[Path, TrustFile]) -> None:
    folder, trust = site
    shutil.copy(folder / "log/tile/0/000.p/6", folder / "log/tile/0/000.p/7")
    assert [fault.link for fault in look(folder, trust).faults] == ["log tile/0/000.p/7"]


def _checkpoint_of_another_history(recorder: SiteRecorder) -> dict[str, str]:
    from assay.formats import signed_note
    from assay.formats.checkpoint import Checkpoint, read
    from assay.formats.public_key import raw_ed25519

    origin = read(recorder.checkpoint()).origin
    forged = Checkpoint(origin, 3, b"x" * 32)
    signature = SIGNER.sign(Role.LOG, forged.text.encode())
    note = signed_note.write(forged.text, origin, raw_ed25519(SIGNER.public_key(Role.LOG).public), signature)
    return {"checkpoint": note.decode()}


def _run(recorder: SiteRecorder) -> dict[str, str]:
    return {"checkpoint": recorder.checkpoint().decode()}


LIES: dict[str, tuple[Callable[[SiteRecorder], Any], str]] = {
    "another history": (
        lambda r: r.record(
            statement(RecordType.UPDATE, 50, run=_checkpoint_of_another_history(r)),
            RecordType.UPDATE,
            Role.FIELD,
            "U-1",
        ),
        "one was rewritten",
    ),
    "another history, in a test": (
        lambda r: r.record(
            statement(RecordType.TEST, 53, **{TEST_RUN: {"run": _checkpoint_of_another_history(r)}}),
            RecordType.TEST,
            Role.BENCH,
            "U-1",
        ),
        "one was rewritten",
    ),
    "another unit, in a test": (
        lambda r: r.record(
            statement(RecordType.TEST, 54, **{TEST_RUN: {"units": [{"serial": "U-3"}]}}),
            RecordType.TEST,
            Role.BENCH,
            "U-1",
        ),
        "the log says serial number U-1, the statement U-1, U-3",
    ),
    "an attachment that is not there": (
        lambda r: r.record(
            statement(RecordType.TEST, 55, **{TEST_RUN: {"run": _run(r), "files": {"junit.xml": "0" * 64}}}),
            RecordType.TEST,
            Role.BENCH,
            "U-1",
        ),
        "is not there, and a record names it (test, entry 6)",
    ),
    "no checkpoint, in a test": (
        lambda r: r.record(
            statement(RecordType.TEST, 56, **{TEST_RUN: {"run": {"checkpoint": ""}}}),
            RecordType.TEST,
            Role.BENCH,
            "U-1",
        ),
        "it carries no checkpoint of the log from before it",
    ),
    "no checkpoint, in a provisioning": (
        lambda r: r.record(statement(RecordType.PROVISIONING, 57), RecordType.PROVISIONING, Role.STATION, "U-1"),
        "it carries no checkpoint of the log from before it",
    ),
    "another serial number": (
        lambda r: r.record(statement(RecordType.UPDATE, 51), RecordType.UPDATE, Role.FIELD, "U-2"),
        "the log says serial number U-2, the statement U-1",
    ),
    "another type": (
        lambda r: r.record(statement(RecordType.UPDATE, 52), RecordType.EVIDENCE, Role.FIELD, "U-1"),
        "predicate type is",
    ),
}


@pytest.mark.parametrize(("lie", "expected"), LIES.values(), ids=LIES.keys())
def test_lies_under_good_signatures(
    site: tuple[Path, TrustFile], lie: Callable[[SiteRecorder], Any], expected: str
) -> None:
    folder, trust = site
    lie(SiteRecorder(folder, SIGNER, SystemClock()))
    faults = look(folder, trust).faults
    assert len(faults) == 1
    assert expected in faults[0].what


def test_another_sites_trust_file(site: tuple[Path, TrustFile]) -> None:
    stranger = MemorySigner()
    report = look(site[0], trust_in(stranger))
    assert len(report.faults) == 7
    assert "is not in the trust file" in report.faults[0].what


def test_development_keys_refused(site: tuple[Path, TrustFile]) -> None:
    report = look(site[0], site[1].model_copy(update={"allow_development": False}))
    assert len(report.faults) == 7


def _change(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def assay(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_verbs(tmp_path: Path) -> None:
    site, trust = tmp_path / "site", tmp_path / "trust.toml"
    assert assay("log", "verify", "--site", site).exit_code == 2
    listed = json.loads(assay("keys", "init", "--site", site, "--json").stdout)
    assert {key["role"] for key in listed["keys"]} == set(ROLES)
    shown = assay("keys", "list", "--site", site)
    assert shown.exit_code == 0
    assert max(len(line) for line in shown.stdout.splitlines()) <= 80
    assert assay("keys", "trust", "--site", site, "--out", trust, "--allow-development").exit_code == 0
    assert assay("log", "verify", "--site", site, "--trust", trust).exit_code == 0
    good = assay("log", "verify", "--site", site)
    assert good.exit_code == 0
    assert "this site's own keys" in good.stdout
    assert assay("log", "show", "--site", site).stdout == "no entries\n"
    assert assay("log", "checkpoint", "--site", site).stdout == (site / "log" / "checkpoint").read_text()
    _change(site / "log" / "checkpoint")
    bad = assay("log", "verify", "--site", site, "--trust", trust, "--json")
    assert bad.exit_code == 4
    assert json.loads(bad.stdout)["log"]["faults"]
    assert "BROKEN log checkpoint" in assay("log", "verify", "--site", site, "--trust", trust).stdout


def test_show_key(tmp_path: Path) -> None:
    pem = assay("keys", "show", "image", "--site", tmp_path / "s").stdout
    assert pem.startswith("-----BEGIN PUBLIC KEY-----")
    raw = assay("keys", "show", "image", "--site", tmp_path / "s", "--format", "hex").stdout.strip()
    assert len(bytes.fromhex(raw)) == 32
    point = assay("keys", "show", "field", "--site", tmp_path / "s", "--format", "hex").stdout.strip()
    assert bytes.fromhex(point)[0] == 4
    assert len(bytes.fromhex(point)) == 65
    assert assay("keys", "show", "boss", "--site", tmp_path / "s").exit_code == 2


def test_trust_to_stdout_reads_back(tmp_path: Path) -> None:
    from assay.pipeline.trust_file import load_trust

    text = assay("keys", "trust", "--site", tmp_path / "s", "--name", "line-4").stdout
    (tmp_path / "trust.toml").write_text(text)
    trust = load_trust(tmp_path / "trust.toml")
    assert (trust.name, trust.allow_development, trust.allow_emulated) == ("line-4", False, False)
    assert trust.keys_for(Role.BUILDER)[0].builder_ids
    assert assay("log", "verify", "--site", tmp_path / "s", "--trust", tmp_path / "trust.toml").exit_code == 4


@pytest.mark.parametrize("serial", ["", "../x", "a b", "x" * 300, "a/b"])
def test_show_wants_a_serial_number(tmp_path: Path, serial: str) -> None:
    assert assay("log", "show", "--site", tmp_path / "s", "--serial", serial).exit_code == 2


def test_roles_of_the_command_line() -> None:
    assert set(ROLES) == {role.value for role in Role}


def test_a_checkpoint_that_was_kept_elsewhere(site: tuple[Path, TrustFile], tmp_path: Path) -> None:
    folder, trust = site
    earlier = shutil.copytree(folder, tmp_path / "earlier")
    recorder = SiteRecorder(folder, SIGNER, SystemClock())
    kept = {6: recorder.checkpoint()}
    recorder.record(statement(RecordType.UPDATE, 99), RecordType.UPDATE, Role.FIELD, "U-1")
    kept[7] = recorder.checkpoint()
    for size, note in kept.items():
        report = verify_log(RecordStore(folder), trust, Elsewhere((note,)))
        assert (report.faults, report.kept) == ([], size)
    set_back = verify_log(RecordStore(earlier), trust, Elsewhere((kept[7],)))  # every file of it is whole
    assert verify_log(RecordStore(earlier), trust).faults == []
    assert [fault.what for fault in set_back.faults] == ["has 7 entries, the log 6: it was set back or cut short"]
    otherwise = SiteRecorder(earlier, SIGNER, SystemClock())
    otherwise.record(statement(RecordType.UPDATE, 100), RecordType.UPDATE, Role.FIELD, "U-1")
    rewritten = verify_log(RecordStore(earlier), trust, Elsewhere((kept[7],)))
    assert [fault.what for fault in rewritten.faults] == ["of 7 entries is not of this log's past: one was rewritten"]
    assert rewritten.kept is None
    noise = verify_log(RecordStore(folder), trust, Elsewhere((b"\xff" * 100,)))
    assert [fault.link for fault in noise.faults] == ["kept checkpoint"]


def test_the_verb_takes_a_kept_checkpoint(tmp_path: Path) -> None:
    site, trust, note = tmp_path / "s", tmp_path / "trust.toml", tmp_path / "note"
    assay("keys", "init", "--site", site)
    assay("keys", "trust", "--site", site, "--out", trust, "--allow-development")
    Site(site).recorder.checkpoint()
    note.write_text(assay("log", "checkpoint", "--site", site).stdout)
    good = assay("log", "verify", "--site", site, "--trust", trust, "--checkpoint", note)
    assert good.exit_code == 0, good.output
    assert "continues the checkpoint of 0 entries that was kept" in good.output
    for missing in (tmp_path / "no", tmp_path / "s" / "log" / "checkpoint" / "x"):
        assert assay("log", "verify", "--site", site, "--checkpoint", missing).exit_code == 2


def test_a_copy_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An auditor's copy: nothing is left to record, so that nothing can be recorded is no fault. A draft is one."""
    site = tmp_path / "s"
    assay("keys", "init", "--site", site)
    Site(site).recorder.checkpoint()

    def recover(_self: SiteRecorder) -> int:
        raise NotRecorded("not recorded: the outbox cannot be written", remedy="")

    monkeypatch.setattr(SiteRecorder, "recover", recover)
    assert assay("log", "verify", "--site", site).exit_code == 0
    draft = Draft("0" * 64, b"{}", RecordType.RUN, Role.FIELD, None, "2026-11-23")
    with Outbox(site / "outbox.sqlite") as outbox:
        outbox.put(draft)
    assert waiting(site / "outbox.sqlite") == {draft.payload}
    assert assay("log", "verify", "--site", site).exit_code == 5
    (site / "outbox.sqlite").write_bytes(b"noise" * 1000)
    assert waiting(site / "outbox.sqlite") is None
    assert assay("log", "verify", "--site", site).exit_code == 5


def test_tiles_and_a_checkpoint_of_another_log(site: tuple[Path, TrustFile], tmp_path: Path) -> None:
    """Whole in themselves, of the same size, and signed: by another site's key, or by ours about another log."""
    folder, trust = site
    for name, signer in (("theirs", MemorySigner()), ("ours", SIGNER)):
        other = SiteRecorder(tmp_path / name, signer, SystemClock())
        fill(other)
        for part, links in (
            ("tile/0", {"log tile/0/000.p/6", "log entry 0"}),
            ("tile/entries", {"log entry 0"}),
            ("checkpoint", {"log checkpoint"}),
        ):
            work = tmp_path / f"{name}-{part.replace('/', '-')}"
            shutil.copytree(folder, work)
            source = tmp_path / name / "log" / part
            if source.is_dir():
                shutil.copytree(source, work / "log" / part, dirs_exist_ok=True)
            else:
                shutil.copy(source, work / "log" / part)
            found = {fault.link for fault in look(work, trust).faults}
            assert found & links, (name, part, found)


def test_a_size_that_nobody_signed_is_not_counted_up(site: tuple[Path, TrustFile]) -> None:
    """A checkpoint that was changed may name any size; there are 35 billion bundles in this one."""
    folder, trust = site
    path = folder / "log" / "checkpoint"
    lines = path.read_text().split("\n")
    path.write_text("\n".join([lines[0], str(2**53 - 1), *lines[2:]]))
    faults = look(folder, trust).faults
    assert any(fault.link == "log checkpoint" for fault in faults), faults


@pytest.mark.parametrize(
    ("size", "path", "there"),
    [
        (6, "tile/entries/000.p/6", True),
        (6, "tile/0/000.p/6", True),
        (6, "tile/0/000.p/5", False),
        (6, "tile/0/000.p/7", False),
        (6, "tile/0/000", False),
        (6, "tile/1/000.p/1", False),
        (256, "tile/0/000", True),
        (256, "tile/1/000.p/1", True),
        (256, "tile/0/001.p/1", False),
        (257, "tile/0/001.p/1", True),
        (2**53 - 1, "tile/entries/x035/x184/x372/x088/831.p/255", True),
        (2**53 - 1, "tile/entries/x035/x184/x372/x088/832.p/1", False),
        (6, "tile/99/000.p/1", False),
    ],
)
def test_which_tiles_a_log_has(size: int, path: str, there: bool) -> None:
    tile = tlog_tiles.tile_of(path)
    assert tile is not None and tlog_tiles.has_tile(size, tile) is there
    if size < 1000:
        assert (path in {each.path for each in tlog_tiles.tiles_of(size)}) is there


@pytest.mark.parametrize(
    "path", ["tile/0/0000", "tile/00/000", "tile/0/x000/000", "tile/0/000.p/0", "tile/0/000.p/257", "tile/0/000x", "a"]
)
def test_what_is_no_path_of_a_tile(path: str) -> None:
    assert tlog_tiles.tile_of(path) is None


def test_an_empty_file_with_a_high_number_takes_no_memory(site: tuple[Path, TrustFile]) -> None:
    """`assay trace` reads a log whose checkpoint is gone by the names of its files, which are nobody's word."""
    log = site[0] / "log"
    whole = SiteLog(log)
    assert (whole.size, len(whole.leaves), whole.faults) == (6, 6, [])
    stray = log / "tile" / "entries" / "x999" / "x999" / "999"
    stray.parent.mkdir(parents=True)
    stray.touch()
    found = SiteLog(log)
    assert (found.leaves, found.faults) == (whole.leaves, [])
    (log / "checkpoint").unlink()
    found = SiteLog(log)
    assert found.leaves == whole.leaves
    assert "log: tile/entries/x999/x999/999 is of no entry of this log" in found.faults
