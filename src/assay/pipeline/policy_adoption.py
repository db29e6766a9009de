# SPDX-License-Identifier: Apache-2.0
"""Which packs decide at a site: those whose adoption is the newest of its name in the site's log.

Guards: an adoption counts when a policy key of the trust file signed it, for the place where the log has it, and the
log is whole: an older one that is put there again is refused. A policy key that counts no more is followed by an
adoption that begins anew (`restart`), by one that does: nothing before it is asked about. A pack file is used only with
the adopted digest; one that is missing, changed, or was never adopted refuses (status 4). One process adopts at a time.
So taking a policy away takes the policy key, or the log. Leaves to others: deciding (`policy_gate`).
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from assay import __version__
from assay.backends.durable_file import exclusive, make_folder, write_durably
from assay.errors import AssayError, ManifestFault, NotVerified, Refused, StorageError, UsageFault
from assay.formats import checkpoint, log_entry, merkle
from assay.formats.signer_choice import allowed_key, check_limits
from assay.formats.statement_verifier import verify_statement
from assay.interfaces.policy_engine import PolicyEngine
from assay.model.policy import REASON_LENGTH_MAX, Adoption, PackReference, Point
from assay.model.record import LogEntry, RecordRef, RecordType
from assay.model.statement import PredicateType, Subject
from assay.model.trust import Role, TrustFile
from assay.pipeline.policy_files import (
    TESTS_SUFFIX,
    LoadedPack,
    file_of_tests,
    load_pack,
    load_tests,
    parse_adopted,
    parse_pack,
    read_bytes,
)
from assay.pipeline.run_journal import timestamp
from assay.pipeline.trace_record import read_predicate
from assay.pipeline.unit_records import statement_of
from assay.stages.policy.pack_tests import run_tests

if TYPE_CHECKING:
    from assay.pipeline.site import Site

FOLDER = "policy"
"""The folder of a site that holds the packs that were adopted there."""

_ANEW = "where its key was rotated or revoked: assay policy adopt PACK --restart --reason ..., by the one that counts"

_MARK = b'"type":"policy"'
"""In the one spelling of a log entry: most entries are skipped without being read."""


@dataclass(frozen=True)
class Adopted:
    """The newest adoption of a name, and the log entry of it."""

    adoption: Adoption
    index: int


@dataclass(frozen=True)
class Change:
    """What is to be recorded: from `before` to `loaded` (None: to nothing); with `restart`, from whatever was."""

    name: str
    loaded: LoadedPack | None
    before: PackReference | None
    reason: str
    restart: bool = False
    untested: str | None = None


def adopted_packs(site: Site, trust: TrustFile) -> dict[str, Adopted]:
    """The newest adoption of each name; a retired one has no pack. Raises `NotVerified`, `StorageError`."""
    newest: dict[str, Adopted] = {}
    for found in _history(site, trust):
        if found.adoption.restart:
            newest.clear()
        before = newest.get(found.adoption.name)
        if (before.adoption.pack if before else None) != found.adoption.before:
            raise NotVerified(
                f"entry {found.index} of the log changes '{found.adoption.name}' from a pack that did not decide then",
                remedy="an adoption is missing from the log: run `assay log verify`, and restore the log from a copy",
            )
        newest[found.adoption.name] = found
    return newest


def packs_at(site: Site, trust: TrustFile, point: Point, engine: PolicyEngine) -> tuple[LoadedPack, ...]:
    """The packs that decide at `point`, as they were adopted; none when none was. Raises `Refused` and its kin."""
    newest = adopted_packs(site, trust)
    _refuse_strangers(site, newest)
    wanted = [found.adoption for found in newest.values() if found.adoption.pack and point in found.adoption.at]
    return tuple(_adopted_file(site, adoption, engine) for adoption in sorted(wanted, key=lambda one: one.name))


def adopt(
    site: Site,
    path: Path,
    reason: str,
    trust: TrustFile,
    engine: PolicyEngine,
    *,
    restart: bool = False,
    untested: str | None = None,
) -> tuple[LoadedPack, RecordRef | None]:
    """Let the pack at `path` decide from now on; None for the record when it decides already. With `restart` nothing
    that was adopted before counts any more, whoever signed it. `untested`: why a pack without tests is adopted.

    Raises `ManifestFault`, `UsageFault` for a reason that says nothing, `Refused` for a pack whose own tests fail, or
    that has none, `NotVerified`, `NotRecorded`.
    """
    loaded, reason = load_pack(path, engine), parse_reason(reason)
    untested = _hold_own_tests(path, loaded, engine, untested)
    with _alone(site):
        before = None if restart else _now(site, trust, loaded.pack.name)
        record = None
        if before != loaded.reference:
            site.recorder.attach(loaded.data)
            change = Change(loaded.pack.name, loaded, before, reason, restart=restart, untested=untested)
            record = _record(site, trust, change)
        _write(site, loaded)
    return loaded, record


def _hold_own_tests(path: Path, loaded: LoadedPack, engine: PolicyEngine, untested: str | None) -> str | None:
    """The tests that lie beside a pack pass. There are some, or somebody says why not: that reason is the answer."""
    tests = file_of_tests(path)
    if not tests.exists():
        if untested is None:
            raise Refused(
                f"{path} has no tests: nobody has seen it deny anything",
                remedy=f"write {tests.name} beside it (assay policy test); or say why not: --unsafe-untested REASON",
            )
        return parse_reason(untested)
    failed = run_tests(loaded.pack, load_tests(tests), engine).failed
    if failed:
        raise Refused(
            f"{path}: {len(failed)} of the pack's own tests fail, the first is '{failed[0].name}'",
            remedy=f"assay policy test {path}; correct the pack, or its tests",
        )
    return None


def retire(site: Site, name: str, reason: str, trust: TrustFile) -> RecordRef:
    """Let the pack `name` decide no more. Raises `UsageFault` when it does not."""
    reason = parse_reason(reason)
    with _alone(site):
        before = _now(site, trust, name)
        if before is None:
            raise UsageFault(f"no policy '{name}' decides here", remedy="assay policy list shows those that do")
        record = _record(site, trust, Change(name, None, before, reason))
        _file(site, name).unlink(missing_ok=True)
    return record


@contextlib.contextmanager
def _alone(site: Site) -> Iterator[None]:
    """Two that adopt at once would both say that they follow the same pack, and no log can be mended."""
    folder = site.folder / FOLDER
    with contextlib.ExitStack() as held:
        try:
            make_folder(folder)
            held.enter_context(exclusive(folder))
        except OSError as error:
            raise StorageError(f"{folder} cannot be used: {error.strerror}", remedy="make it writable") from error
        yield


def parse_reason(text: str) -> str:
    """A reason that somebody can read later. Raises `UsageFault`."""
    text = text.strip()
    if not text or len(text) > REASON_LENGTH_MAX or not text.isprintable():
        raise UsageFault(
            f"{text[:40]!r} is no reason", remedy=f"say why in 1 to {REASON_LENGTH_MAX} characters, on one line"
        )
    return text


def adopted_bytes(site: Site, reference: PackReference) -> LoadedPack:
    """A pack that was adopted once, from the attachment beside its record. Raises `NotVerified`, `ManifestFault`."""
    data = site.records.attachment(reference.sha256)
    return parse_adopted(data, f"policy '{reference.name}' {reference.version}")


def _history(site: Site, trust: TrustFile) -> list[Adopted]:
    """The adoptions that count, in the order of the log: from the newest that began anew, else all."""
    if not (site.folder / "log" / "checkpoint").is_file():
        if site.records.record_names():
            raise NotVerified(
                f"{site.folder} has records and no checkpoint of a log: what was adopted cannot be known",
                remedy="run `assay log verify`, and restore the log from a copy",
            )
        return []
    with contextlib.suppress(AssayError):  # another role's key is away: what waits for it stops no verb of this one
        site.recorder.recover()  # an adoption that was cut short is in force before it is in the log behind a decision
    site.recorder.checkpoint()  # its signature and its right edge are verified
    head = site.records.log.checkpoint()
    leaves = [data for _, data in site.records.log.entries(head.size)]
    hashes = [merkle.leaf_hash(leaf) for leaf in leaves]
    _check_whole(hashes, head.root)
    entries = [
        (index, entry)
        for index, leaf in enumerate(leaves)
        if _MARK in leaf and (entry := log_entry.decode(leaf, f"log: entry {index}")).type is RecordType.POLICY
    ]
    found = _since_restart(site, trust, entries)
    _check_places(found, entries, hashes)
    return found


def _since_restart(site: Site, trust: TrustFile, entries: list[tuple[int, LogEntry]]) -> list[Adopted]:
    """The newest adoption that began anew and those after it, each verified. What is before it may be by anybody."""
    found: list[Adopted] = []
    for index, entry in reversed(entries):
        found.append(Adopted(_read(site, trust, entry.record, entry.payload, index), index))
        if found[-1].adoption.restart:
            break
    return found[::-1]


def _check_places(found: list[Adopted], entries: list[tuple[int, LogEntry]], hashes: list[bytes]) -> None:
    """Each was made for the place where it is. One that began anew was made behind every other that is before it."""
    newest, start = dict[str, int](), -1
    for each in found:
        if each.adoption.restart:
            start = max((index for index, _ in entries if index < each.index), default=-1)
        _check_made_here(each.adoption, newest.get(each.adoption.name, start), each.index, hashes)
        start = each.index if each.adoption.restart else start
        newest[each.adoption.name] = each.index


def _check_made_here(adoption: Adoption, before: int, index: int, hashes: list[bytes]) -> None:
    """An adoption tells the log that it was made for, which had the adoption before it (at `before`) by then."""
    made_for = checkpoint.read(adoption.checkpoint.encode("utf-8"))
    here = before < made_for.size <= index
    if not here or merkle.root_of_leaves(hashes[: made_for.size]) != made_for.root:
        raise NotVerified(
            f"entry {index} of the log says of '{adoption.name}' what was said at another place: it is replayed",
            remedy="see who put it there; restore the log from a copy",
        )


def _check_whole(hashes: list[bytes], root: bytes) -> None:
    if merkle.root_of_leaves(hashes) != root:
        raise NotVerified(
            "the entries of the log are not those of its checkpoint: what was adopted cannot be known",
            remedy="run `assay log verify`, and restore the log from a copy",
        )


def _read(site: Site, trust: TrustFile, record: str, payload: str, index: int) -> Adoption:
    bundle = site.records.record(record)
    try:
        verified = verify_statement(bundle, trust, role=Role.POLICY, predicate_types={PredicateType.POLICY})
    except NotVerified as error:
        text = f"the policy adopted in entry {index} of the log: {error.message}"
        raise NotVerified(text, remedy=f"{error.remedy}; {_ANEW}") from error
    if hashlib.sha256(verified.payload).hexdigest() != payload:
        raise NotVerified(f"entry {index} of the log names another statement", remedy="restore the log from a copy")
    predicate = read_predicate(Adoption, verified.statement.predicate)
    assert isinstance(predicate, Adoption)
    return predicate


def _refuse_strangers(site: Site, newest: dict[str, Adopted]) -> None:
    """A file that nobody adopted decides nothing, and somebody may think that it does."""
    folder = site.folder / FOLDER
    for path in sorted(folder.glob("*.toml")) if folder.is_dir() else ():
        if path.name.startswith(".") or path.name.endswith(TESTS_SUFFIX):
            continue
        found = newest.get(path.stem)
        if found is None or found.adoption.pack is None:
            raise Refused(
                f"{path} was never adopted, or was retired: it decides nothing",
                remedy=f"assay policy adopt {path} --reason ..., or take the file away",
            )


def _adopted_file(site: Site, adoption: Adoption, engine: PolicyEngine) -> LoadedPack:
    path, pack = _file(site, adoption.name), adoption.pack
    assert pack is not None
    kept = site.records.attachments_dir / pack.sha256
    remedy = f"adopt it (assay policy adopt FILE --reason ...), or restore what was adopted: cp {kept} {path}"
    try:
        data = read_bytes(path)
    except ManifestFault as fault:
        raise Refused(
            f"policy '{pack.name}' {pack.version} decides here, and {fault.message}", remedy=remedy
        ) from fault
    found = hashlib.sha256(data).hexdigest()
    if found != pack.sha256:
        raise Refused(
            f"{path} was changed without being adopted: its SHA-256 is {found[:16]}, adopted is {pack.sha256[:16]}",
            remedy=remedy,
        )
    try:
        loaded = parse_pack(data, str(path), engine)
    except ManifestFault as fault:  # adopted with another version of assay, or of the engine
        raise Refused(f"the adopted policy cannot decide: {fault.message}", remedy="adopt a pack that can") from fault
    if (loaded.reference, loaded.pack.at) != (pack, adoption.at):
        raise NotVerified(f"the adoption of '{pack.name}' tells of another pack", remedy="adopt the pack again")
    return loaded


def _now(site: Site, trust: TrustFile, name: str) -> PackReference | None:
    """The pack that decides now. One that was cut short is in the log first, or the next one would not follow it."""
    site.recorder.recover()
    found = adopted_packs(site, trust).get(name)
    return found.adoption.pack if found else None


def _record(site: Site, trust: TrustFile, change: Change) -> RecordRef:
    """Raises `NotVerified` before anything is recorded by a key that the gates would not believe."""
    loaded, before = change.loaded, change.before
    predicate = Adoption(
        made=timestamp(site.clock),
        assay=__version__,
        name=change.name,
        pack=loaded.reference if loaded else None,
        at=loaded.pack.at if loaded else (),
        before=before,
        restart=True if change.restart else None,
        untested=change.untested,
        reason=change.reason,
        checkpoint=site.recorder.checkpoint().decode(),
    )
    digest = loaded.sha256 if loaded else before.sha256 if before else ""
    subject = Subject(name=f"policy/{change.name}", digest={"sha256": digest})
    statement = statement_of(PredicateType.POLICY, predicate, subject)
    signer = allowed_key(trust, frozenset({Role.POLICY}), site.signers.public_key(Role.POLICY).keyid)
    check_limits(signer, statement, lambda: None, site.clock.now)
    return site.recorder.record(statement, RecordType.POLICY, Role.POLICY)


def _file(site: Site, name: str) -> Path:
    return site.folder / FOLDER / f"{name}.toml"


def _write(site: Site, loaded: LoadedPack) -> None:
    path = _file(site, loaded.pack.name)
    try:
        write_durably(path, loaded.data)
    except OSError as error:
        raise StorageError(
            f"{path} cannot be written: {error.strerror}", remedy="free disk space, and adopt it again"
        ) from error
