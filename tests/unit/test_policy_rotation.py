# SPDX-License-Identifier: Apache-2.0
"""The policy key of a site is rotated and revoked in place: an adoption by the key that counts now begins anew."""

from __future__ import annotations

import functools
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from policy_sample import pack_text
from published_release import Published

from assay.errors import NotVerified, Refused, UsageFault
from assay.formats import canonical_json
from assay.model.policy import Point
from assay.model.record import RecordType
from assay.model.statement import PredicateType, Subject
from assay.model.trace import Dossier, LinkStatus, TraceNode
from assay.model.trust import Role, TrustedKey, TrustFile
from assay.pipeline import policy_adoption, trace_log
from assay.pipeline.policy_adoption import adopted_packs, packs_at, retire
from assay.pipeline.policy_files import policy_engine
from assay.pipeline.site_keys import use_key
from assay.pipeline.trace_collect import SiteReading
from assay.pipeline.trace_policy import Adoptions, adoptions_in
from assay.pipeline.trace_record import open_record
from assay.pipeline.unit_records import statement_of

adopt = functools.partial(policy_adoption.adopt, untested="for the tests")
ENGINE = policy_engine()
ALLOWS, DENIES = "release.kind == 'bootloader'", "release.kind == 'app'"
WHY = "for the tests"


def pack(published: Published, name: str = "strict", version: str = "1.0.0", deny_if: str = ALLOWS) -> Path:
    path = published.root / f"{name}.toml"
    path.write_text(pack_text(deny_if, name=name, version=version))
    return path


def new_policy_key(published: Published, name: str) -> TrustedKey:
    """From now on another key signs adoptions at the site."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    path = published.root / f"{name}.pem"
    private = ec.generate_private_key(ec.SECP256R1())
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(private.private_bytes(*form))
    path.chmod(0o600)
    return use_key(published.site, Role.POLICY, f"file2:{path}", public=None, name=name, make=False, production=True)


def limited(trust: TrustFile, old: TrustedKey, **limits: Any) -> TrustFile:
    """`trust` with the old key beside the new one, limited."""
    others = tuple(key for key in trust.keys if key.keyid != old.keyid)
    return trust.model_copy(update={"keys": (*others, old.model_copy(update=limits))})


def policy_key(published: Published) -> TrustedKey:
    return published.site.signers.public_key(Role.POLICY)


def versions(published: Published, trust: TrustFile) -> list[str]:
    return [loaded.pack.version for loaded in packs_at(published.site, trust, Point.PUBLISH, ENGINE)]


AGO = datetime.now(UTC) - timedelta(days=1)


@pytest.mark.parametrize("limits", [{"revoked": True}, {"valid_until": AGO}, None], ids=["revoked", "expired", "gone"])
def test_a_key_that_counts_no_more_is_followed_by_an_adoption_that_begins_anew(
    published: Published, limits: dict[str, Any] | None
) -> None:
    site, old = published.site, policy_key(published)
    adopt(site, pack(published), WHY, published.trust(), ENGINE)
    new_policy_key(published, "second")
    trust = published.trust() if limits is None else limited(published.trust(), old, **limits)
    with pytest.raises(NotVerified, match="the policy adopted in entry") as caught:
        packs_at(site, trust, Point.PUBLISH, ENGINE)
    assert "--restart" in (caught.value.remedy or "")
    with pytest.raises(NotVerified, match="the policy adopted in entry"):  # it cannot say what it follows
        adopt(site, pack(published, version="2.0.0"), WHY, trust, ENGINE)
    loaded, record = adopt(site, pack(published, version="2.0.0"), WHY, trust, ENGINE, restart=True)
    assert record is not None
    assert versions(published, trust) == ["2.0.0"]
    said = adopted_packs(site, trust)["strict"].adoption
    assert (said.restart, said.before, said.pack) == (True, None, loaded.reference)
    adopt(site, pack(published, version="2.1.0"), WHY, trust, ENGINE)  # and it goes on from there
    assert versions(published, trust) == ["2.1.0"]
    retire(site, "strict", WHY, trust)
    assert versions(published, trust) == []


def test_a_key_is_rotated_while_the_old_one_counts(published: Published) -> None:
    site, old = published.site, policy_key(published)
    adopt(site, pack(published), WHY, published.trust(), ENGINE)
    new_policy_key(published, "second")
    both = limited(published.trust(), old)
    assert versions(published, both) == ["1.0.0"]
    _, record = adopt(site, pack(published), WHY, both, ENGINE, restart=True)  # the same pack, said by the new key
    assert record is not None
    for trust in (both, published.trust(), limited(published.trust(), old, revoked=True)):
        assert versions(published, trust) == ["1.0.0"]


def _as_the_old_key(published: Published, old: TrustedKey, **said: Any) -> None:
    """What whoever has the old key, and the log's, puts into the log of the site."""
    now = policy_key(published)
    use_key(
        published.site,
        Role.POLICY,
        published.site.keys.uri(Role.POLICY) if now.keyid == old.keyid else f"file2:{published.root}/first.pem",
        public=None,
        name="first",
        make=False,
        production=True,
    )
    site = published.site
    predicate = policy_adoption.Adoption(
        made="2026-11-26T00:00:00.000Z", assay="0", name="strict", reason=WHY,
        checkpoint=site.recorder.checkpoint().decode(), **said,
    )  # fmt: skip
    statement = statement_of(
        PredicateType.POLICY, predicate, Subject(name="policy/strict", digest={"sha256": "0" * 64})
    )
    site.recorder.record(statement, RecordType.POLICY, Role.POLICY)


@pytest.mark.parametrize("restart", [None, True])
def test_who_has_the_revoked_key_can_stop_a_site_and_not_steer_it(published: Published, restart: bool | None) -> None:
    site = published.site
    old = new_policy_key(published, "first")
    adopt(site, pack(published), WHY, published.trust(), ENGINE)
    before = adopted_packs(site, published.trust())["strict"].adoption.pack
    new = new_policy_key(published, "second")
    trust = limited(published.trust(), old, revoked=True)
    adopt(site, pack(published, deny_if=DENIES, version="2.0.0"), WHY, trust, ENGINE, restart=True)
    _as_the_old_key(published, old, before=None if restart else before, restart=restart)
    with pytest.raises(NotVerified, match=r"the policy signer 'first' is revoked|'first' .*revoked"):
        packs_at(site, trust, Point.PUBLISH, ENGINE)
    again = f"file2:{published.root}/second.pem"
    use_key(site, Role.POLICY, again, public=None, name="second", make=False, production=True)
    assert policy_key(published).keyid == new.keyid
    adopt(site, pack(published, deny_if=DENIES, version="2.0.0"), WHY, trust, ENGINE, restart=True)
    assert versions(published, trust) == ["2.0.0"]


def test_a_key_that_does_not_count_adopts_nothing(published: Published) -> None:
    """Or every gate would refuse from then on."""
    site, old = published.site, policy_key(published)
    adopt(site, pack(published), WHY, published.trust(), ENGINE)
    before = [entry.record for _, entry in site.records.entries()]
    revoked = limited(published.trust(), old, revoked=True)
    nobody = revoked.model_copy(update={"keys": revoked.keys[:-1]})
    for trust, restart in ((revoked, True), (nobody, True), (limited(published.trust(), old, valid_until=AGO), True)):
        with pytest.raises(NotVerified):
            adopt(site, pack(published, version="2.0.0"), WHY, trust, ENGINE, restart=restart)
    assert [entry.record for _, entry in site.records.entries()] == before
    assert versions(published, published.trust()) == ["1.0.0"]


def test_what_was_adopted_before_a_restart_is_a_stranger_behind_it(published: Published) -> None:
    """Every pack has to be adopted again; a file of one that was not refuses, so nothing is forgotten unseen."""
    site = published.site
    adopt(site, pack(published), WHY, published.trust(), ENGINE)
    adopt(site, pack(published, "other"), WHY, published.trust(), ENGINE)
    new_policy_key(published, "second")
    trust = published.trust()
    adopt(site, pack(published), WHY, trust, ENGINE, restart=True)
    with pytest.raises(Refused, match=r"other.toml was never adopted"):
        packs_at(site, trust, Point.PUBLISH, ENGINE)
    adopt(site, pack(published, "other"), WHY, trust, ENGINE)
    assert len(packs_at(site, trust, Point.PUBLISH, ENGINE)) == 2
    with pytest.raises(UsageFault, match="no policy 'third'"):
        retire(site, "third", WHY, trust)


@pytest.mark.parametrize("which", [0, 1], ids=["an adoption from before it", "the restart itself"])
def test_what_is_put_into_the_log_again_is_refused(published: Published, which: int) -> None:
    """By who has the log's key and no policy key: the record is good, its place is not."""
    site = published.site
    adopt(site, pack(published, version="1.0.0"), WHY, published.trust(), ENGINE)
    first = policy_key(published)
    new_policy_key(published, "second")
    trust = limited(published.trust(), first)  # both keys count
    adopt(site, pack(published, version="2.0.0"), WHY, trust, ENGINE, restart=True)
    if which:
        adopt(site, pack(published, version="2.1.0"), WHY, trust, ENGINE)
    entries = [entry for _, entry in site.records.entries() if entry.type is RecordType.POLICY]
    from assay.backends.logs.tile_log import TileLog

    log = TileLog(site.folder / "log", site.signers)
    log.open(may_create=False)
    log.append([canonical_json.encode_value(entries[which])])
    with pytest.raises(NotVerified, match="it is replayed"):
        packs_at(site, trust, Point.PUBLISH, ENGINE)


def test_a_restart_is_said_on_the_command_line(published: Published, monkeypatch: pytest.MonkeyPatch) -> None:
    from test_policy_site import assay

    file = pack(published)
    words = ("policy", "adopt", str(file), "--reason", WHY, "--unsafe-untested", WHY)
    assert assay(published, *words)[0] == 0
    new_policy_key(published, "second")
    assert assay(published, *words)[0] == 4
    assert assay(published, *words, "--restart")[0] == 0
    (listed,) = assay(published, "policy", "list")[1]["policies"]
    assert listed["restart"] is True


def traced(published: Published, trust: TrustFile) -> tuple[Adoptions, list[TraceNode]]:
    """What a trace says of the adoptions in the log of the site."""
    reading = SiteReading(published.site.folder)
    found = [each for each in reading._found if each.entry is not None and each.entry.type is RecordType.POLICY]
    dossier = Dossier(
        serial="A-1",
        checkpoint=reading.log.note,
        records=tuple(reading._record(each) for each in found),
        consistency=reading._consistency(found),
        leaves=reading.log.leaves,
    )
    view, _ = trace_log.verify_log(dossier, trust)
    opened = [open_record(record, view) for record in dossier.records]
    adoptions = adoptions_in(opened)
    return adoptions, [record.node() for record in opened]


def test_a_trace_tells_what_a_restart_put_aside_and_breaks_on_what_was_not(published: Published) -> None:
    site, old = published.site, policy_key(published)
    adopt(site, pack(published), WHY, published.trust(), ENGINE)
    adopt(site, pack(published, "other"), WHY, published.trust(), ENGINE)
    new_policy_key(published, "second")
    trust = limited(published.trust(), old, revoked=True)
    _, nodes = traced(published, trust)
    assert [node.status for node in nodes] == [LinkStatus.BROKEN] * 2
    _, record = adopt(site, pack(published, version="2.0.0"), WHY, trust, ENGINE, restart=True)
    assert record is not None
    adoptions, nodes = traced(published, trust)
    assert [node.status for node in nodes] == [LinkStatus.VERIFIED] * 3
    assert all(f"which does not count: entry {record.index} began anew" in node.title for node in nodes[:2])
    assert adoptions.in_force(Point.PUBLISH, record.index) == {}
    assert list(adoptions.in_force(Point.PUBLISH, record.index + 1)) == ["strict"]
    adoptions, _ = traced(published, limited(trust, old))  # the old key counts again: it was so until the restart
    assert list(adoptions.in_force(Point.PUBLISH, record.index)) == ["strict", "other"]
    assert list(adoptions.in_force(Point.PUBLISH, record.index + 1)) == ["strict"]
    file = next(site.records.records_dir.glob(f"{[e.record for _, e in site.records.entries()][-3]}*"))
    file.write_bytes(file.read_bytes() + b" ")
    assert traced(published, trust)[1][0].status is LinkStatus.BROKEN  # who changed a record is found all the same
