# SPDX-License-Identifier: Apache-2.0
"""Trusted roots on a stick: rolled back, changed, expired, of a stranger; and verification with the network cut off."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from keyless_bench import services, sign_keyless, statement, trust_file
from securesystemslib.signer import SSlibKey
from tuf.api.metadata import Metadata, Root
from tuf_stick import TufStick

from assay.backends.roots.tuf_folder import read_root
from assay.cli.keys import command as keys
from assay.errors import NotVerified, UsageFault
from assay.pipeline.trust_file import load_trust, write_trust
from assay.simulation.sigstore_lab.lab import SigstoreLab

NOW = datetime.now(UTC)
DAY = timedelta(days=1)
OFFLINE = ["unshare", "-rn"]
CUT_OFF = subprocess.run([*OFFLINE, "true"], capture_output=True, check=False).returncode == 0


@pytest.fixture
def owner() -> TufStick:
    return TufStick()


def _first(owner: TufStick) -> bytes:
    return owner.root.to_bytes()


def test_a_newer_stick_brings_a_newer_root(tmp_path: Path, owner: TufStick) -> None:
    stick, state = tmp_path / "stick", tmp_path / "state"
    assert read_root(owner.write(stick, b"one"), state, NOW, _first(owner)) == b"one"
    assert read_root(stick, state, NOW) == b"one"
    assert read_root(owner.write(stick, b"two"), state, NOW) == b"two"
    assert (state / "metadata").stat().st_mode & 0o077 == 0


def test_an_older_stick_is_refused(tmp_path: Path, owner: TufStick) -> None:
    old, state = owner.write(tmp_path / "old", b"one"), tmp_path / "state"
    read_root(owner.write(tmp_path / "new", b"two"), state, NOW, _first(owner))
    with pytest.raises(NotVerified, match="BadVersionNumber"):
        read_root(old, state, NOW)


def test_one_key_under_two_ids_is_one_key(tmp_path: Path, owner: TufStick) -> None:
    """The next root wants two for its targets, and has one by two names, written in two ways."""
    stick, state = owner.write(tmp_path / "stick", b"one"), tmp_path / "state"
    read_root(stick, state, NOW, _first(owner))
    root = Metadata[Root].from_bytes(owner.root.to_bytes()).signed
    key = owner.signer.public_key
    lines = key.keyval["public"].split("\n")
    root.keys["0" * 64] = SSlibKey("0" * 64, key.keytype, key.scheme, {"public": "\n".join([*lines, "", ""])})
    root.roles["targets"].keyids.append("0" * 64)
    root.version = 2
    following = Metadata(root)
    following.sign(owner.signer)
    following.to_file(str(stick / "2.root.json"))
    with pytest.raises(NotVerified, match="'targets' has one key twice, as"):
        read_root(stick, state, NOW)


@pytest.mark.parametrize("what", ["target", "timestamp.json", "1.snapshot.json", "1.targets.json"])
def test_a_changed_stick_is_refused(tmp_path: Path, owner: TufStick, what: str) -> None:
    stick = owner.write(tmp_path / "stick", b"the trusted root")
    file = next((stick / "targets").iterdir()) if what == "target" else stick / what
    data = file.read_bytes()
    file.write_bytes(
        data.replace(b"trusted root", b"trusted r00t") if what == "target" else data.replace(b"20", b"21", 1)
    )
    with pytest.raises(NotVerified, match=r"refused|malformed"):
        read_root(stick, tmp_path / "state", NOW, _first(owner))


@pytest.mark.parametrize("what", ["target", "1.snapshot.json"])
def test_a_stick_that_is_not_whole(tmp_path: Path, owner: TufStick, what: str) -> None:
    stick = owner.write(tmp_path / "stick", b"one")
    (next((stick / "targets").iterdir()) if what == "target" else stick / what).unlink()
    with pytest.raises(NotVerified, match="not whole"):
        read_root(stick, tmp_path / "state", NOW, _first(owner))


def test_an_expired_stick_is_refused(tmp_path: Path, owner: TufStick) -> None:
    stick = owner.write(tmp_path / "stick", b"one", lasts=-DAY)
    with pytest.raises(NotVerified, match="ExpiredMetadata"):
        read_root(stick, tmp_path / "state", NOW, _first(owner))


def test_a_clock_that_went_back_is_told(tmp_path: Path, owner: TufStick) -> None:
    """Under it an expired stick would pass."""
    stick, state = owner.write(tmp_path / "stick", b"one"), tmp_path / "state"
    with pytest.raises(NotVerified, match="the clock is wrong"):
        read_root(stick, state, datetime(1970, 1, 1, tzinfo=UTC), _first(owner))
    read_root(stick, state, NOW, _first(owner))
    with pytest.raises(NotVerified, match="the clock is wrong"):
        read_root(stick, state, NOW - DAY)
    read_root(stick, state, NOW + DAY)


def test_a_stick_of_somebody_else(tmp_path: Path, owner: TufStick) -> None:
    stranger = TufStick().write(tmp_path / "stick", b"one")
    with pytest.raises(NotVerified, match="refused"):
        read_root(stranger, tmp_path / "state", NOW, _first(owner))


def test_nothing_to_begin_from(tmp_path: Path, owner: TufStick) -> None:
    with pytest.raises(UsageFault, match="which TUF root is trusted"):
        read_root(owner.write(tmp_path / "stick", b"one"), tmp_path / "state", NOW)
    with pytest.raises(UsageFault, match="no TUF repository"):
        read_root(tmp_path / "nowhere", tmp_path / "state", NOW)


def test_a_link_that_leads_off_the_stick(tmp_path: Path, owner: TufStick) -> None:
    stick = owner.write(tmp_path / "stick", b"one")
    target = next((stick / "targets").iterdir())
    shutil.move(target, tmp_path / "elsewhere")
    target.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NotVerified, match="not whole"):
        read_root(stick, tmp_path / "state", NOW, _first(owner))


def test_a_changed_cache_is_not_believed(tmp_path: Path, owner: TufStick) -> None:
    """sigstore-python's `offline=True` takes the cached file as it lies there."""
    stick, state = owner.write(tmp_path / "stick", b"one"), tmp_path / "state"
    read_root(stick, state, NOW, _first(owner))
    for file in (state / "targets").iterdir():
        file.write_bytes(b"0ne")
    assert read_root(stick, state, NOW) == b"one"


@pytest.fixture(scope="module")
def lab() -> Iterator[SigstoreLab]:
    with SigstoreLab() as running:
        yield running


def test_the_trust_file_is_brought_up_to_date(tmp_path: Path, owner: TufStick, lab: SigstoreLab) -> None:
    with SigstoreLab() as before:
        old = trust_file(lab, sigstore=(services(before),))
    write_trust(tmp_path / "trust.toml", old, replace=False)
    stick = owner.write(tmp_path / "stick", json.dumps(lab.trusted_root).encode())
    (tmp_path / "root.json").write_bytes(_first(owner))
    site = ["--site", str(tmp_path / "site"), "--trust", str(tmp_path / "trust.toml"), "--name", "lab"]

    def run(*words: str) -> Any:
        return CliRunner().invoke(keys, ["roots", str(stick), *words, *site])

    assert run().exit_code == 2
    first = run("--root", str(tmp_path / "root.json"))
    assert first.exit_code == 0 and "was updated" in first.output, first.output
    assert json.loads(load_trust(tmp_path / "trust.toml").sigstore[0].trusted_root) == lab.trusted_root
    assert "the newest already" in run().output
    (stick / "timestamp.json").write_bytes(b"{}")
    refused = run()
    assert refused.exit_code == 4 and "Traceback" not in refused.output
    owner.write(stick, b'{"mediaType": "x"}')
    assert run().exit_code == 4
    assert json.loads(load_trust(tmp_path / "trust.toml").sigstore[0].trusted_root) == lab.trusted_root


@pytest.mark.skipif(not CUT_OFF, reason="this system gives nobody a network namespace")
def test_verification_with_the_network_cut_off(tmp_path: Path, owner: TufStick, lab: SigstoreLab) -> None:
    """Roots from a stick, then a keyless bundle, in a namespace that has not even a loopback; HOME is empty."""
    (tmp_path / "bundle.json").write_bytes(sign_keyless(lab, statement()))
    write_trust(tmp_path / "trust.toml", trust_file(lab), replace=False)
    owner.write(tmp_path / "stick", json.dumps(lab.trusted_root).encode())
    (tmp_path / "root.json").write_bytes(_first(owner))
    (tmp_path / "home").mkdir()

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        line = [*OFFLINE, sys.executable, "-m", "assay", *words, "--trust", "trust.toml", "--site", "site"]
        home = {"HOME": str(tmp_path / "home"), "PATH": "/usr/bin:/bin"}
        return subprocess.run(line, cwd=tmp_path, env=home, capture_output=True, text=True, check=False)

    roots = run("keys", "roots", "stick", "--name", "lab", "--root", "root.json")
    assert roots.returncode == 0, roots.stderr
    good = run("verify", "bundle.json")
    assert good.returncode == 0 and "transparency log" in good.stdout, good.stderr
    data = (tmp_path / "bundle.json").read_bytes()
    (tmp_path / "bundle.json").write_bytes(
        data.replace(b'"logIndex": "', b'"logIndex": "1').replace(b'"logIndex":"', b'"logIndex":"1')
    )
    bad = run("verify", "bundle.json")
    assert bad.returncode == 4 and "Traceback" not in bad.stderr
    assert not list((tmp_path / "home").iterdir())
