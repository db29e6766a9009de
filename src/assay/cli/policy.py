# SPDX-License-Identifier: Apache-2.0
"""`assay policy`: test, adopt, ask, explain and replay the packs that decide."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from assay.cli.near_commands import NearCommands
from assay.cli.policy_words import decision_head, decision_lines, judged_data, judged_lines, judged_status
from assay.cli.session import Answer, Session, verb
from assay.errors import ExitStatus

if TYPE_CHECKING:
    from assay.model.trust import TrustFile
    from assay.pipeline.policy_replay import Explained, Replayed
    from assay.stages.policy.pack_tests import TestReport

FILE = click.Path(path_type=Path, dir_okay=False)
POINTS = ("publish", "provision", "flash", "install")
"""`model.policy.Point`, written out so that `--help` needs no model; a test holds them together."""

trust_option = click.option(
    "--trust",
    "trust_path",
    type=FILE,
    envvar="ASSAY_TRUST",
    help="Whom to trust [ASSAY_TRUST, else this site's own keys].",
)
reason_option = click.option("--reason", required=True, metavar="TEXT", help="Why; it is recorded.")


@click.group(cls=NearCommands, short_help="Test, adopt, explain and replay policy packs.")
def command() -> None:
    """Policy packs: what may be published, provisioned, flashed and installed (docs: reference/policy)."""


@command.command("test")
@click.argument("packs", metavar="PACK...", type=FILE, nargs=-1, required=True)
@verb
def test(_session: Session, packs: tuple[Path, ...]) -> Answer:
    """Run the tests beside each PACK (NAME.tests.toml). FAIL when one does not come out as it says."""
    from assay.pipeline.policy_files import file_of_tests, load_pack, load_tests, policy_engine
    from assay.stages.policy.pack_tests import run_tests

    engine, lines, data, failed = policy_engine(), [], [], False
    for path in packs:
        loaded = load_pack(path, engine)
        report = run_tests(loaded.pack, load_tests(file_of_tests(path)), engine)
        failed = failed or bool(report.failed)
        lines += [f"{path}: {loaded.pack.name} {loaded.pack.version}, SHA-256 {loaded.sha256}", *_test_lines(report)]
        data.append({"file": str(path), "pack": loaded.reference.model_dump(mode="json"), **_test_data(report)})
    return Answer("\n".join(lines), {"packs": data}, ExitStatus.FAIL if failed else ExitStatus.PASS)


@command.command("check")
@click.argument("release", metavar="NAME[@VERSION]")
@click.option("--at", "point", type=click.Choice(POINTS), required=True, help="The point that is asked about.")
@click.option("--board", required=True, metavar="NAME", help="The board that the release is for.")
@click.option("--pack", type=FILE, help="Ask this pack, adopted or not, and no other.")
@click.option("--unit", "unit_file", type=FILE, help="A unit to imagine: JSON with the facts of `unit`.")
@trust_option
@verb
def check(
    session: Session,
    release: str,
    point: str,
    board: str,
    pack: Path | None,
    unit_file: Path | None,
    trust_path: Path | None,
) -> Answer:
    """Say what the policies would decide about a published RELEASE; nothing is done, and nothing recorded.

    REFUSED (4) when it would be. Checks about a unit cannot be decided without --unit, which denies.
    """
    from assay.model.policy import Point
    from assay.pipeline.policy_ask import ask

    judged = ask(session.site, Point(point), release, board, _trust(session, trust_path), pack, unit_file)
    return Answer("\n".join(judged_lines(judged)), {"decisions": judged_data(judged)}, judged_status(judged))


@command.command("adopt")
@click.argument("pack", type=FILE)
@reason_option
@click.option(
    "--restart",
    is_flag=True,
    help="Begin anew: no adoption before this one counts, whoever signed it. For a policy key that was replaced.",
)
@click.option(
    "--unsafe-untested",
    "untested",
    metavar="REASON",
    help="Adopt a pack that has no tests beside it; the reason is recorded, and shown for ever.",
)
@trust_option
@verb
def adopt(
    session: Session, pack: Path, reason: str, restart: bool, untested: str | None, trust_path: Path | None
) -> Answer:
    """Let PACK decide at this site from now on: signed by the policy key, in the log, with what decided before."""
    from assay.pipeline import policy_adoption
    from assay.pipeline.policy_files import policy_engine

    trust = _trust(session, trust_path)
    loaded, record = policy_adoption.adopt(
        session.site, pack, reason, trust, policy_engine(), restart=restart, untested=untested
    )
    points = ", ".join(loaded.pack.at)
    text = f"policy '{loaded.pack.name}' {loaded.pack.version} decides at {points}\n  SHA-256 {loaded.sha256}"
    text += f"\n  log entry {record.index} of {record.origin}" if record else "\n  it was adopted before"
    data = {
        "pack": loaded.reference.model_dump(mode="json"),
        "at": list(loaded.pack.at),
        "record": record.model_dump(mode="json") if record else None,
    }
    return Answer(text, data)


@command.command("retire")
@click.argument("name")
@reason_option
@trust_option
@verb
def retire(session: Session, name: str, reason: str, trust_path: Path | None) -> Answer:
    """Let the policy NAME decide no more: signed by the policy key, and in the log."""
    from assay.pipeline import policy_adoption

    record = policy_adoption.retire(session.site, name, reason, _trust(session, trust_path))
    text = f"policy '{name}' decides no more\n  log entry {record.index} of {record.origin}"
    return Answer(text, {"name": name, "record": record.model_dump(mode="json")})


@command.command("list")
@trust_option
@verb
def list_packs(session: Session, trust_path: Path | None) -> Answer:
    """Show the packs that decide at this site, since when, and why."""
    from assay.pipeline.policy_adoption import adopted_packs

    found = adopted_packs(session.site, _trust(session, trust_path)).values()
    lines = []
    for each in sorted(found, key=lambda one: one.adoption.name):
        said = each.adoption
        what = f"{said.pack.version}  {said.pack.sha256}  at {', '.join(said.at)}" if said.pack else "retired"
        what += ", after a restart" if said.restart else ""
        what += f", UNTESTED: {said.untested}" if said.untested else ""
        lines.append(f"{said.name}  {what}\n  since entry {each.index}, {said.made}: {said.reason}")
    data = [{"index": each.index, **each.adoption.model_dump(mode="json")} for each in found]
    return Answer("\n".join(lines) or "no policy decides here", {"policies": data})


@command.command("explain")
@click.argument("record")
@trust_option
@verb
def explain(session: Session, record: str, trust_path: Path | None) -> Answer:
    """Say what was decided in RECORD (its number in the log, or its SHA-256), on what, and derive it again.

    REFUSED (4) when pack and facts beside the record do not give the same decision.
    """
    from assay.pipeline import policy_replay
    from assay.pipeline.policy_files import policy_engine

    (recorded,) = policy_replay.recorded_decisions(session.site, (record,), _trust(session, trust_path))
    explained = policy_replay.explain(session.site, recorded, policy_engine())
    status = ExitStatus.PASS if explained.same else ExitStatus.REFUSED
    data = {
        "index": recorded.index,
        "record": recorded.record,
        "decision": recorded.said.model_dump(mode="json", by_alias=True),
        "facts": recorded.facts.model_dump(mode="json", by_alias=True, exclude_none=True),
        "derived_again": explained.same,
        "why": explained.why,
    }
    return Answer("\n".join(_explained(explained)), data, status)


@command.command("replay")
@click.option("--with", "pack", type=FILE, required=True, help="The pack to try.")
@click.argument("records", nargs=-1)
@trust_option
@verb
def replay(session: Session, pack: Path, records: tuple[str, ...], trust_path: Path | None) -> Answer:
    """Show what PACK would have decided in RECORDS (all decisions of the site without any); nothing is changed."""
    from assay.pipeline import policy_replay
    from assay.pipeline.policy_files import load_pack, policy_engine

    engine = policy_engine()
    loaded = load_pack(pack, engine)
    chosen = policy_replay.recorded_decisions(session.site, records, _trust(session, trust_path))
    found = [policy_replay.replay(recorded, loaded, engine) for recorded in chosen]
    changed = [each for each in found if each.change != "same"]
    lines = [f"{len(found)} decisions, {len(changed)} would be others with '{loaded.pack.name}' {loaded.pack.version}"]
    lines += [line for each in changed for line in _replayed(each)]
    data = {"decisions": len(found), "changed": [_replayed_data(each) for each in changed]}
    return Answer("\n".join(lines), data)


@command.command("summarize")
@click.argument("release", metavar="NAME[@VERSION]")
@click.option("--board", required=True, metavar="NAME", help="The board that the release is for.")
@click.option("--pack", default=None, metavar="NAME", help="The adopted policy, where several decide at publish.")
@click.option("--out", type=FILE, help="Also write the summary (a Sigstore bundle) to this file.")
@click.option("--check", "kept", type=FILE, help="Sign nothing: derive it again, and compare with this summary.")
@trust_option
@verb
def summarize(
    session: Session,
    release: str,
    board: str,
    pack: str | None,
    out: Path | None,
    kept: Path | None,
    trust_path: Path | None,
) -> Answer:
    """Derive and sign a verification summary (SLSA VSA) of RELEASE: which policy passed, in one small statement.

    It lies beside the release in the store. A trust file that names the verifier and no builder (assay keys trust
    --summaries) has stations verify releases by it.
    """
    from assay.pipeline import policy_summary
    from assay.pipeline.manifest_files import board_file, load_board, project_root
    from assay.pipeline.offline_verify import read_input

    trust, model = _trust(session, trust_path), load_board(board_file(project_root(Path.cwd()), board))
    if kept is not None:
        other = policy_summary.derive_again(session.site, release, model, trust, pack, read_input(kept))
        text = f"REFUSED: derived again, it differs in {', '.join(other)}" if other else "derived again: the same"
        return Answer(text, {"differs": list(other)}, ExitStatus.REFUSED if other else ExitStatus.PASS)
    made = policy_summary.summarize(session.site, release, model, trust, pack)
    if out is not None:
        _write(out, made.bundle)
    lines = [decision_head(made.judged.decision), f"  summary   {made.record.entry.record}, {len(made.bundle)} bytes"]
    lines.append(f"  log       entry {made.record.index} of {made.record.origin}")
    data = {"record": made.record.model_dump(mode="json"), "decision": judged_data((made.judged,))[0]}
    return Answer("\n".join(lines), {**data, "file": str(out) if out else None})


def _write(path: Path, data: bytes) -> None:
    from assay.errors import StorageError

    try:
        path.write_bytes(data)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}", remedy="name another file with --out") from error


def _trust(session: Session, path: Path | None) -> TrustFile:
    from assay.pipeline.trust_file import load_trust, site_trust

    if path is not None:
        return load_trust(path)
    return site_trust(session.site, "this-site", allow_development=True, allow_emulated=True)


def _test_lines(report: TestReport) -> list[str]:
    lines = []
    for outcome in report.outcomes:
        lines.append(f"  {'FAIL' if outcome.faults else 'PASS'} {outcome.name}")
        lines += [f"    {fault}" for fault in outcome.faults]
    lines += [f"  caution: no test makes '{name}' deny or warn" for name in report.never_seen]
    return lines


def _test_data(report: TestReport) -> dict[str, Any]:
    tests = [{"name": one.name, "faults": list(one.faults)} for one in report.outcomes]
    return {"tests": tests, "failed": len(report.failed), "never_seen": list(report.never_seen)}


def _explained(explained: Explained) -> list[str]:
    recorded, said = explained.recorded, explained.recorded.said
    lines = [f"#{recorded.index} {decision_head(said.decision)}"]
    lines.append(f"  made {said.made}, signed by the {recorded.signer.role} key '{recorded.signer.name}'")
    lines += [f"  SKIPPED: somebody went on without minding it: {said.skipped}"] if said.skipped else []
    lines += [f"  unit {said.serial or 'without serial number'}, chip {said.chip}"] if said.chip else []
    lines.append(f"  facts {said.decision.facts_sha256}, engine {said.decision.engine}")
    lines += decision_lines(said.decision)
    if explained.same:
        return [*lines, "derived again: the same decision"]
    return [*lines, f"REFUSED: derived again, it is another one{': ' + explained.why if explained.why else ''}"]


def _replayed(each: Replayed) -> list[str]:
    recorded = each.recorded
    subject = recorded.said.decision.subject
    line = f"#{recorded.index} {recorded.said.decision.point} {subject.release} for {subject.board}: {each.change}"
    checks = (*each.new.denials, *each.new.warnings) if each.new else ()
    return [line, *(f"  {check.outcome.value} {check.id}: {check.reason}" for check in checks)]


def _replayed_data(each: Replayed) -> dict[str, Any]:
    new = each.new.model_dump(mode="json", by_alias=True) if each.new else None
    return {"index": each.recorded.index, "record": each.recorded.record, "change": each.change, "new": new}
