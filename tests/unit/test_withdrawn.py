# SPDX-License-Identifier: Apache-2.0
"""A release that was withdrawn: refused with its reason, wherever it comes from, and by nothing taken back."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from published_release import Published

from assay.cli.main import main
from assay.errors import AssayError, ExitStatus, NotVerified, Refused, UsageFault
from assay.model.record import RecordType
from assay.pipeline.image_signing import sign_artifact
from assay.pipeline.publishing import publish_signed
from assay.pipeline.release_gate import verify_release
from assay.pipeline.withdrawals import withdrawals
from assay.pipeline.withdrawing import import_withdrawals, withdraw

REASON = "the watchdog is off"


def _publish(published: Published, version: str) -> None:
    published.build(published.artifact, version)
    sign_artifact(published.artifact, published.site, published.signed)
    publish_signed(published.signed, published.site)


def test_a_withdrawn_release_is_refused_with_its_reason(published: Published) -> None:
    published.gate()
    done = withdraw(published.site, "tiny@1.0.0", "ast1030-evb", REASON)
    assert done.made_now
    with pytest.raises(Refused, match=f"was withdrawn on .*: {REASON} .signed by builder") as caught:
        published.gate()
    assert caught.value.status is ExitStatus.REFUSED
    assert [entry.type for _, entry in published.site.records.entries()][-1] is RecordType.WITHDRAWAL


def test_it_is_refused_when_it_is_published_again(published: Published) -> None:
    withdraw(published.site, "tiny@1.0.0", "ast1030-evb", REASON)
    with pytest.raises(Refused, match=REASON):
        publish_signed(published.signed, published.site)


def test_without_a_version_the_highest_that_is_left_is_taken(published: Published) -> None:
    _publish(published, "1.10.0")
    withdraw(published.site, "tiny@1.10.0", "ast1030-evb", REASON)
    assert published.gate().release.version == "1.0.0"


def test_what_a_unit_runs_already_is_still_known(published: Published) -> None:
    withdraw(published.site, "tiny@1.0.0", "ast1030-evb", REASON)
    found = verify_release(published.site.store, published.trust(), "tiny", "1.0.0", published.board, withdrawn=True)
    assert found.release.version == "1.0.0"


def test_a_second_time_changes_nothing(published: Published) -> None:
    first = withdraw(published.site, "tiny@1.0.0", "ast1030-evb", REASON)
    second = withdraw(published.site, "tiny@1.0.0", "ast1030-evb", "another reason")
    assert (second.withdrawn, second.made_now) == (first.withdrawn, False)
    assert len(withdrawals(published.site.store)) == 1


def test_one_that_was_cut_short_goes_on_with_its_first_statement(
    published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(type(published.site.store), "withdraw", cut)
        withdraw(published.site, "tiny@1.0.0", "ast1030-evb", REASON)
    done = withdraw(published.site, "tiny@1.0.0", "ast1030-evb", "said later")
    assert (done.withdrawn.says.reason, done.made_now) == (REASON, False)
    kinds = [entry.type for _, entry in published.site.records.entries()]
    assert kinds.count(RecordType.WITHDRAWAL) == 1


@pytest.mark.parametrize("damage", ["signature", "gone"])
def test_to_damage_a_withdrawal_brings_nothing_back(published: Published, damage: str) -> None:
    done = withdraw(published.site, "tiny@1.0.0", "ast1030-evb", REASON)
    blobs = published.root / "site" / "store" / "blobs" / "sha256"
    path = next(path for path in blobs.iterdir() if path.read_bytes() == done.withdrawn.bundle)
    path.write_bytes(b"{}") if damage == "signature" else path.unlink()
    with pytest.raises(AssayError):
        published.gate()


def test_a_withdrawal_by_a_stranger_holds_and_says_so(published: Published) -> None:
    done = withdraw(published.site, "tiny@1.0.0", "ast1030-evb", REASON)
    with pytest.raises(Refused, match="signed by nobody that 'test' names as a builder"):
        published.gate(published.trust(keys=()))
    with pytest.raises(NotVerified, match=r"the withdrawal of tiny@1\.0\.0 .* is not to be kept"):
        import_withdrawals(published.site, [done.withdrawn.bundle], published.trust(keys=()))
    kept = import_withdrawals(published.site, [done.withdrawn.bundle], published.trust())
    assert [each.says for each in kept] == [done.withdrawn.says]
    assert len(withdrawals(published.site.store)) == 1


def test_the_verb(published: Published) -> None:
    words = ["withdraw", "tiny@1.0.0", "--board", "ast1030-evb", "--site", str(published.root / "site"), "--json"]
    answer = CliRunner().invoke(main, [*words, "--reason", REASON])
    assert answer.exit_code == 0, answer.output
    assert json.loads(answer.stdout)["withdrawal"]["reason"] == REASON
    assert CliRunner().invoke(main, [*words, "--reason", " "]).exit_code == ExitStatus.USAGE
    with pytest.raises(UsageFault, match="the store has no"):
        withdraw(published.site, "tiny@9.0.0", "ast1030-evb", REASON)
