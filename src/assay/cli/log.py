# SPDX-License-Identifier: Apache-2.0
"""`assay log`: verify the audit log, show its entries, print the newest checkpoint; witnesses: `log_witness`."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from assay.backends.named_file import read_named
from assay.cli.log_witness import cosign, witness
from assay.cli.near_commands import NearCommands
from assay.cli.session import Answer, Session, verb
from assay.errors import ExitStatus, NotRecorded, UsageFault, gravest

if TYPE_CHECKING:
    from assay.model.trust import TrustFile
    from assay.stages.records.log_report import LogReport

FILE = click.Path(path_type=Path, dir_okay=False)
TIME_SHOWN_MAX = 253402300799
"""Seconds since 1970: the end of the year 9999, the last one that can be shown."""


@click.group(cls=NearCommands, short_help="Verify the audit log, show entries.")
def command() -> None:
    """The tamper-evident log of this site (C2SP tlog-tiles)."""


command.add_command(witness)
command.add_command(cosign)


@command.command("verify")
@click.option("--trust", "trust_path", type=FILE, envvar="ASSAY_TRUST", help="Whom to trust [ASSAY_TRUST].")
@click.option(
    "--checkpoint",
    "kept_paths",
    type=FILE,
    multiple=True,
    help="A checkpoint kept elsewhere, to be continued; several.",
)
@click.option("--witness", "policy_path", type=FILE, help="A witness policy: whose cosignatures count, and how many.")
@verb
def verify(session: Session, trust_path: Path | None, kept_paths: tuple[Path, ...], policy_path: Path | None) -> Answer:
    """Verify checkpoint, tiles, entries, records and attachments; first finish what a killed process left.

    Without --trust the site's own keys are used, which tells accidents from good health, but not a forger who holds
    them. With --checkpoint (what `assay log checkpoint` printed once, or somebody else was shown) also a site that was
    set back is found, and one that shows two histories. With --witness so many witnesses must vouch for what is there.
    """
    from assay.pipeline.witness_policy import load_policy
    from assay.stages.records.verify import verify_log
    from assay.stages.records.witnessed import Elsewhere

    session.need_log()
    policy = load_policy(policy_path) if policy_path is not None else None
    elsewhere = Elsewhere(tuple(map(_kept, kept_paths)), session.site.records.log.cosigned(), policy)
    left, unrecorded = _recover(session)
    report = verify_log(session.site.records, _trust(session, trust_path), elsewhere)
    anchor = str(trust_path) if trust_path else "this site's own keys (give --trust FILE to check against others)"
    statuses = [ExitStatus.REFUSED] if report.faults else []
    statuses += [unrecorded.status] if unrecorded else []
    data = {"log": _json(report), "anchor": anchor, "recovered": left}
    if unrecorded:
        data |= {"error": unrecorded.message, "remedy": unrecorded.remedy}
    return Answer(_text(report, anchor, left, unrecorded), data, gravest(statuses))


@command.command("show")
@click.option("--serial", help="Only entries about this serial number.")
@verb
def show(session: Session, serial: str | None) -> Answer:
    """Show the entries of the log, as they are there; `assay log verify` says whether they are true."""
    from assay.model.identifiers import parse_serial

    wanted = parse_serial(serial) if serial is not None else None
    session.need_log()
    found = [pair for pair in session.site.records.entries() if wanted is None or pair[1].serial == wanted]
    lines = [f"{index:>6}  {entry.type:<12}  {entry.serial or '-':<16}  {entry.record[:16]}" for index, entry in found]
    entries = [{"index": index, **entry.model_dump(mode="json")} for index, entry in found]
    return Answer("\n".join(lines) or "no entries", {"entries": entries})


@command.command("prove")
@click.argument("index", type=click.IntRange(0))
@click.option("--trust", "trust_path", type=FILE, envvar="ASSAY_TRUST", help="Whom to trust [ASSAY_TRUST].")
@verb
def prove(session: Session, index: int, trust_path: Path | None) -> Answer:
    """Prove that entry INDEX is in the log, by the few tiles on its way to the root; the rest is not read."""
    from assay.pipeline.log_prove import prove_entry

    session.need_log()
    found = prove_entry(session.site.records.log, _trust(session, trust_path), index)
    said = found.entry.model_dump(mode="json")
    head = {"origin": found.head.origin, "size": found.head.size, "root": found.head.root.hex()}
    lines = [f"entry {index} of {found.head.size} of the log {found.head.origin}"]
    lines += [f"  {name}  {value}" for name, value in said.items() if value is not None]
    lines += [f"  under the root {found.head.root.hex()[:16]} by {len(found.proof)} hashes"]
    lines += [f"  rests on an UNSAFE-DEVELOPMENT key: log {found.head.origin}"] if found.log.development else []
    proof = [value.hex() for value in found.proof]
    return Answer("\n".join(lines), {"index": index, "entry": said, "checkpoint": head, "proof": proof})


@command.command("checkpoint")
@verb
def checkpoint(session: Session) -> Answer:
    """Print the newest checkpoint: keep a copy elsewhere, and a rewritten log will not get past it."""
    from assay.formats.checkpoint import read

    session.need_log()
    note = session.site.records.log.note()
    head = read(note)
    data = {"origin": head.origin, "size": head.size, "root": head.root.hex(), "checkpoint": note.decode("utf-8")}
    return Answer(note.decode("utf-8").rstrip("\n"), data)


@command.command("recover")
@verb
def recover(session: Session) -> Answer:
    """Finish what killed processes left: records that are not in the log yet, and a record for each run that stopped.

    A run that gets its record here is over: its command, given again, begins a new one.
    """
    from assay.pipeline.recovery import recover as settle_dead_runs

    left = session.site.recorder.recover()
    runs = settle_dead_runs(session.site)
    lines = [f"{left} records finished", f"{len(runs)} runs that had stopped, each with a record now", *runs]
    return Answer("\n".join(lines), {"records": left, "runs": runs})


@command.command("submit")
@click.argument("files", nargs=-1, type=FILE)
@click.option(
    "--trust", "trust_path", type=FILE, help="Whose builders' keys, too, may have signed: of before a change."
)
@verb
def submit(session: Session, files: tuple[Path, ...], trust_path: Path | None) -> Answer:
    """Submit to the transparency log what was signed by key while it was away, and FILES: statements that the builder
    of this site signed by key before. What is logged is time-stamped and verified, and kept in log-queue/logged of the
    site folder.
    """
    from assay.pipeline.log_submit import enqueue, submit_waiting
    from assay.pipeline.offline_verify import read_input
    from assay.pipeline.trust_file import load_trust

    trust = load_trust(trust_path) if trust_path is not None else None
    enqueue(session.site, [read_input(file) for file in files], trust)
    found = submit_waiting(session.site, trust)
    done = [each for each in found if each.place is not None]
    failed = [each for each in found if each.error is not None]
    lines = [f"{each.file}: entry {each.place.index} of {each.place.log}" for each in done if each.place is not None]
    lines += [f"still waits: {each.file}: {each.error}" for each in failed]
    data = {
        "logged": [{"file": str(each.file), **dataclasses.asdict(each.place)} for each in done if each.place],
        "waiting": [{"file": str(each.file), "error": str(each.error)} for each in failed],
    }
    statuses = [each.error.status for each in failed if each.error is not None]
    return Answer("\n".join(lines) or "nothing waits for the log", data, gravest(statuses))


@command.command("stamp")
@click.argument("files", nargs=-1, required=True, type=FILE)
@click.option("--trust", "trust_path", type=FILE, required=True, envvar="ASSAY_TRUST", help="Whom to trust.")
@click.option("--trust-config", "config", type=FILE, required=True, help="Whose authority stamps: its trust config.")
@verb
def stamp(_session: Session, files: tuple[Path, ...], trust_path: Path, config: Path) -> Answer:
    """Stamp bundles of whatever role, so that they outlive the keys and services that vouch for them: FILE.1.tsr,
    FILE.2.tsr and so on, and the same in stamps/ beside the trust file.

    Each stamp (RFC 3161) is over the bundle and all its stamps before. `assay verify FILE` reads what lies beside FILE,
    gates what lies beside their trust file.
    """
    from assay.pipeline.archive_stamps import stamp_for_gates

    done = [stamp_for_gates(file, config, trust_path) for file in files]
    lines = [f"{new}: {time.when:%Y-%m-%d %H:%M:%S} UTC, as {time.source} says" for new, time in done]
    said = [{"file": str(new), "when": time.when.isoformat(), "source": time.source} for new, time in done]
    return Answer("\n".join(lines), {"stamps": said})


def _kept(path: Path) -> bytes:
    """The note in `path`, cut where it is longer than a note can be, which makes it none."""
    from assay.formats.signed_note import NOTE_BYTES_MAX

    try:
        return read_named(path, NOTE_BYTES_MAX + 1)
    except OSError as error:
        raise UsageFault(f"{path} cannot be read: {error.strerror}", remedy="check the path") from error


def _recover(session: Session) -> tuple[int, NotRecorded | None]:
    """What is left in the outbox goes into the log; if it cannot, the log is verified all the same, and both are
    told. An auditor's copy that cannot be written and has nothing left in it is no fault.
    """
    from assay.backends.records.outbox import waiting

    try:
        return session.site.recorder.recover(), None
    except NotRecorded as error:
        return 0, None if waiting(session.site_dir / "outbox.sqlite") == set() else error


def _trust(session: Session, path: Path | None) -> TrustFile:
    from assay.pipeline.trust_file import load_trust, site_trust

    if path is not None:
        return load_trust(path)
    return site_trust(session.site, "this-site", allow_development=True, allow_emulated=True)


def _when(time_s: int) -> str:
    return datetime.fromtimestamp(min(time_s, TIME_SHOWN_MAX), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _json(report: LogReport) -> dict[str, Any]:
    document = dataclasses.asdict(dataclasses.replace(report, log=None))
    document["log"] = report.log.model_dump(mode="json") if report.log else None
    document["development"] = sorted(report.development)
    return document


def _text(report: LogReport, anchor: str, left: int, unrecorded: NotRecorded | None) -> str:
    lines = [f"log {report.origin or '(no checkpoint)'}: {report.size} entries, root {report.root[:16] or '-'}"]
    lines.append(f"  trusted: {anchor}")
    counts = f"{report.records} records, {report.attachments} attachments, {report.checkpoints} checkpoints in records"
    lines.append(f"  verified: {counts}")
    lines += [f"  continues the checkpoint of {report.kept} entries that was kept"] if report.kept is not None else []
    lines += [f"  {_when(each.time_s)}: witness {each.name} cosigned {each.size} entries" for each in report.witnesses]
    if report.witnessed is not None:
        lines.append(f"  witnessed as the policy asks: {report.witnessed} of {report.size} entries")
    lines += [f"  finished what an earlier process left: {left} records"] if left else []
    lines += [f"  rests on an UNSAFE-DEVELOPMENT key: {key}" for key in sorted(report.development)]
    lines += [f"  BROKEN {fault.link}: {fault.what}" for fault in report.faults]
    lines += [f"  NOT RECORDED: {unrecorded.message}"] if unrecorded else []
    lines.append("REFUSED: the log does not verify" if report.faults else "the log verifies")
    return "\n".join(lines)
