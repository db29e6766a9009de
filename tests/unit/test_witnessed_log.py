# SPDX-License-Identifier: Apache-2.0
"""What a log is worth with witnesses: sticks, rewritten histories, split views, thresholds, and the verbs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from memory_signer import MemorySigner
from witness_bench import Bench, policy_of

from assay.backends.logs.tile_folder import COSIGNED_FOLDER
from assay.backends.logs.witness_heads import WitnessHeads
from assay.cli.main import main
from assay.errors import ManifestFault, NotVerified
from assay.formats import cosignature, signed_note
from assay.formats.signed_note import COSIGNATURE, VerifierKey
from assay.model.trust import Role
from assay.model.witness import Witness, WitnessPolicy
from assay.pipeline.log_cosign import cosign, cosign_folder
from assay.pipeline.witness_policy import load_policy
from assay.stages.records.witness import WitnessDesk


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    found = Bench(tmp_path)
    found.append(5)
    return found


def test_a_link_on_a_stick_is_not_followed(bench: Bench, tmp_path: Path) -> None:
    """A witness may write where the stick's owner may not."""
    desk, stick, elsewhere = bench.desk(), bench.folder / "stick", tmp_path / "elsewhere"
    shutil.copytree(bench.reader.folder, stick)
    elsewhere.mkdir()
    shutil.rmtree(stick / "cosigned", ignore_errors=True)
    (stick / "cosigned").symlink_to(elsewhere)
    with pytest.raises(NotVerified, match="is a symbolic link"):
        cosign_folder(desk, stick)
    assert list(elsewhere.iterdir()) == []
    (found,) = cosign(bench.reader, bench.trusted.vkey, policy_of(1, desk), (stick,))
    assert isinstance(found.error, NotVerified)


def test_by_stick(bench: Bench) -> None:
    desk, stick = bench.desk(), bench.folder / "stick"
    shutil.copytree(bench.reader.folder, stick)
    assert cosign_folder(desk, stick).size == 5
    bench.append(2)
    policy = policy_of(1, desk)
    (found,) = cosign(bench.reader, bench.trusted.vkey, policy, (stick,))
    assert (found.error, found.size) == (None, 5)
    assert bench.verify(bench.reader, policy).witnessed == 5
    shutil.copytree(bench.reader.folder, stick, dirs_exist_ok=True)
    assert cosign_folder(desk, stick).size == 7
    for name, size in (("short", 3), ("same", 7), ("long", 20)):
        with pytest.raises(NotVerified):
            cosign_folder(desk, bench.fork(name, size).folder)
    (stick / "tile/0/000.p/7").write_bytes(bytes(7 * 32))
    bench.append(1)
    shutil.copy(bench.reader.folder / "checkpoint", stick)
    with pytest.raises(NotVerified):
        cosign_folder(desk, stick)


def test_what_a_stick_brings_is_of_this_log(bench: Bench) -> None:
    desk, policy = bench.desk(), policy_of(1, bench.desk())
    fork = bench.fork("fork", 5)
    cosign_folder(desk, fork.folder)
    policy = policy_of(1, desk)
    (found,) = cosign(bench.reader, bench.trusted.vkey, policy, (fork.folder,))
    assert isinstance(found.error, NotVerified)
    assert "is not of this log's past" in found.error.message
    assert bench.reader.cosigned() == {}
    other = Bench(bench.folder / "other")
    theirs = WitnessDesk(other.trust, MemorySigner(), WitnessHeads(other.folder / "w.sqlite"), other.clock)
    cosign_folder(theirs, other.reader.folder)
    (found,) = cosign(bench.reader, bench.trusted.vkey, policy_of(1, theirs), (other.reader.folder,))
    assert isinstance(found.error, NotVerified)


def test_a_rewritten_history(bench: Bench) -> None:
    desk = bench.desk()
    policy = policy_of(1, desk)
    cosign_folder(desk, bench.reader.folder)
    fork = bench.fork("fork", 8)
    assert "expected cosignatures of 1 witnesses" in bench.verify(fork, policy).faults[0].what
    shutil.copytree(bench.reader.folder / COSIGNED_FOLDER, fork.folder / COSIGNED_FOLDER)
    for given in (policy, None):  # the log's own signature on what was cosigned is enough to see it
        assert "one was rewritten" in bench.verify(fork, given).faults[0].what
    assert bench.verify(bench.reader, policy).faults == []


def test_a_split_view(bench: Bench) -> None:
    """Two people are shown two histories of one size: only one of them can have been cosigned, and the checkpoints of
    the two together show it.
    """
    desk = bench.desk()
    fork = bench.fork("fork", 5)
    cosign_folder(desk, bench.reader.folder)
    with pytest.raises(NotVerified, match="two histories"):
        cosign_folder(desk, fork.folder)
    assert bench.verify(bench.reader, policy_of(1, desk), bench.reader.note()).faults == []
    (fault,) = bench.verify(bench.reader, policy_of(1, desk), bench.reader.note(), fork.note()).faults
    assert (fault.link, "one was rewritten" in fault.what) == ("kept checkpoint", True)


def test_a_threshold_counts_keys(bench: Bench) -> None:
    one, two, three = bench.desk("w1"), bench.desk("w2"), bench.desk("w3")
    cosign_folder(one, bench.reader.folder)
    policy = policy_of(2, one, two, three)
    (fault,) = bench.verify(bench.reader, policy).faults
    assert fault.what == "expected cosignatures of 2 witnesses on this log, there are 1"
    bench.append(3)
    cosign_folder(two, bench.reader.folder)
    report = bench.verify(bench.reader, policy)
    assert (report.faults, report.witnessed, [each.size for each in report.witnesses]) == ([], 5, [8, 5])


def test_a_cosignature_that_is_wrong_is_told(bench: Bench) -> None:
    desk = bench.desk()
    cosign_folder(desk, bench.reader.folder)
    (path,) = (bench.reader.folder / COSIGNED_FOLDER).iterdir()
    lines = path.read_bytes().decode().splitlines()
    name, blob = signed_note.parse(path.read_bytes())[1][-1]
    lines[-1] = signed_note.line_of(name, blob[:-1] + bytes([blob[-1] ^ 1]))[:-1]
    path.write_text("\n".join(lines) + "\n")
    faults = bench.verify(bench.reader, policy_of(1, desk)).faults
    assert f"the cosignature of '{desk.key.name}' on the checkpoint is wrong" in faults[0].what


def test_nobody_is_a_witness_of_himself(bench: Bench) -> None:
    own = signed_note.parse_vkey(bench.trusted.vkey)
    key = VerifierKey("assay.local/witness/me", own.public, COSIGNATURE)
    signature = bench.signer.sign(Role.LOG, cosignature.message(bench.reader.checkpoint().text, 1))
    note = bench.reader.note() + cosignature.line(key, 1, signature).encode()
    policy = WitnessPolicy(schema="assay.witnesses/1", threshold=1, witnesses=(Witness(vkey=str(key)),))
    assert cosignature.verify(note, key) == 1
    faults = bench.verify(bench.reader, policy, note).faults
    assert "nobody is a witness of himself" in faults[0].what


def test_policies_that_cannot_be_meant(tmp_path: Path) -> None:
    public = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    one, again = (str(VerifierKey(name, public, COSIGNATURE)) for name in ("a", "b"))
    log = str(VerifierKey("a", public))
    file = tmp_path / "witnesses.toml"

    def written(threshold: int, *vkeys: str) -> Path:
        tables = "".join(f'[[witnesses]]\nvkey = "{vkey}"\n' for vkey in vkeys)
        file.write_text(f'schema = "assay.witnesses/1"\nthreshold = {threshold}\n{tables}')
        return file

    assert load_policy(written(1, one)).threshold == 1
    for vkeys, threshold, words in (
        ((one, again), 1, "is there twice"),
        ((one,), 2, "expected at least 2 witnesses"),
        ((log,), 1, "is not the Ed25519 vkey of a witness"),
        (("x",), 1, "is not a vkey"),
        ((one,), 0, "threshold"),
        ((), 1, "witnesses"),
    ):
        with pytest.raises(ManifestFault, match=words):
            load_policy(written(threshold, *vkeys))
    with pytest.raises(ManifestFault):
        load_policy(tmp_path / "none.toml")


def assay(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_the_verbs(tmp_path: Path) -> None:
    """A site and a witness that trusts its log, with a stick between them."""
    site, other, trust, policy = tmp_path / "site", tmp_path / "other", tmp_path / "trust.toml", tmp_path / "w.toml"
    assert assay("keys", "trust", "--site", site, "--out", trust, "--allow-development").exit_code == 0
    vkey = assay("log", "witness", "--vkey", "--site", other).stdout.strip()
    policy.write_text(f'schema = "assay.witnesses/1"\nthreshold = 1\n[[witnesses]]\nvkey = "{vkey}"\n')
    stick = shutil.copytree(site / "log", tmp_path / "stick")
    assert assay("log", "witness", stick, "--site", other).exit_code == 2
    done = assay("log", "witness", stick, "--site", other, "--trust", trust, "--json")
    assert (done.exit_code, json.loads(done.stdout)["cosigned"][0]["size"]) == (0, 0)
    unknown = assay("log", "witness", stick, "--site", other, "--trust", _trust_of(tmp_path / "third"))
    assert (unknown.exit_code, "is not known here" in unknown.output) == (4, True)
    before = assay("log", "verify", "--site", site, "--trust", trust, "--witness", policy)
    assert (before.exit_code, "expected cosignatures of 1 witnesses" in before.stdout) == (4, True)
    assert assay("log", "cosign", "--site", site, "--witness", policy).exit_code == 2
    assert assay("log", "cosign", "--site", tmp_path / "none", "--witness", policy).exit_code == 2
    assert assay("log", "cosign", "--site", site, "--witness", policy, "--from", stick).exit_code == 0
    after = assay("log", "verify", "--site", site, "--trust", trust, "--witness", policy)
    assert (after.exit_code, "witnessed as the policy asks: 0 of 0" in after.stdout) == (0, True), after.output
    (note,) = (site / "log" / "cosigned").iterdir()
    note.write_bytes(note.read_bytes() + b"x")
    assert assay("log", "verify", "--site", site, "--trust", trust).exit_code == 4


def _trust_of(site: Path) -> Path:
    path = site.with_suffix(".toml")
    assert assay("keys", "trust", "--site", site, "--out", path, "--allow-development").exit_code == 0
    return path
