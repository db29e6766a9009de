# SPDX-License-Identifier: Apache-2.0
"""The command on a machine whose clock is wrong, by libfaketime: 1970, as after a flat battery, and 2100."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from keyless_bench import services, sign_keyless, statement, trust_file
from memory_signer import MemorySigner
from tuf_stick import TufStick

from assay.model.trust import Role
from assay.pipeline.trust_file import write_trust
from assay.simulation.sigstore_lab.lab import SigstoreLab

FAKETIME = shutil.which("faketime")
pytestmark = [
    pytest.mark.skipif(FAKETIME is None, reason="faketime is not installed"),
    pytest.mark.timeout(900),
]
YEAR_1970, YEAR_2100 = "@1970-01-02 00:00:00", "@2100-01-01 00:00:00"


@pytest.fixture(scope="module")
def lab() -> Iterator[SigstoreLab]:
    with SigstoreLab() as running:
        yield running


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, lab: SigstoreLab) -> Path:
    """A keyless bundle, bundles by a key without a limit and by one that counts until tomorrow, a stick of roots."""
    folder, endless, limited = tmp_path_factory.mktemp("clock"), MemorySigner(), MemorySigner()
    (folder / "keyless.json").write_bytes(sign_keyless(lab, statement()))
    keys = [signer.public_key(Role.BUILDER) for signer in (endless, limited)]
    keys[1] = keys[1].model_copy(update={"valid_until": datetime.now(UTC) + timedelta(days=1), "name": "limited"})
    for name, signer in (("endless.json", endless), ("limited.json", limited)):
        (folder / name).write_bytes(signer.sign_statement(Role.BUILDER, statement()))
    write_trust(folder / "trust.toml", trust_file(lab, keys=tuple(keys), sigstore=(services(lab),)), replace=False)
    owner = TufStick()
    owner.write(folder / "stick", json.dumps(lab.trusted_root).encode())
    (folder / "root.json").write_bytes(owner.root.to_bytes())
    return folder


def _at(folder: Path, when: str, *words: str) -> tuple[int, str]:
    """Status and words of `assay WORDS` as of `when`; time-outs go by the real monotonic clock."""
    assert FAKETIME is not None
    line = [FAKETIME, "-f", when, sys.executable, "-m", "assay", *words, "--trust", "trust.toml", "--site", "site"]
    environment = {**os.environ, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    done = subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert "Traceback" not in said, said
    return done.returncode, said


def test_the_clock_is_faked(folder: Path) -> None:
    """Else nothing below would be tried."""
    assert FAKETIME is not None
    script = "import datetime; print(datetime.datetime.now(datetime.UTC).year)"
    done = subprocess.run([FAKETIME, "-f", YEAR_2100, sys.executable, "-c", script], capture_output=True, check=True)
    assert done.stdout.strip() == b"2100"


@pytest.mark.parametrize("bundle", ["keyless.json", "limited.json"])
def test_at_1970_nothing_verifies(folder: Path, bundle: str) -> None:
    status, said = _at(folder, YEAR_1970, "verify", bundle)
    assert status == 4 and "the clock is wrong" in said, said


GATE = """
from pathlib import Path
from assay.errors import NotVerified
from assay.formats.statement_verifier import verify_statement
from assay.model.statement import PredicateType
from assay.model.trust import Role
from assay.pipeline.trust_file import load_trust
data, trust = Path("{bundle}").read_bytes(), load_trust(Path("trust.toml"))
try:
    print(verify_statement(data, trust, role=Role.BUILDER, predicate_types={{PredicateType.RELEASE}}).signer.name)
except NotVerified as error:
    print(error.message)
"""
"""What gates ask: the time is that of the trust file which they read."""


@pytest.mark.parametrize(
    ("bundle", "told"),
    [("keyless.json", "the clock is wrong"), ("limited.json", "the clock is wrong"), ("endless.json", "builder")],
)
def test_a_gate_at_1970(folder: Path, bundle: str, told: str) -> None:
    """It refuses what needs the time, and says why; a key without a limit needs none."""
    assert FAKETIME is not None
    line = [FAKETIME, "-f", YEAR_1970, sys.executable, "-c", GATE.format(bundle=bundle)]
    done = subprocess.run(line, cwd=folder, capture_output=True, text=True, check=False)
    assert told in done.stdout, done.stdout + done.stderr


def test_at_2100(folder: Path) -> None:
    """What the authority stamped stays true; a key's end is over; so is the end of the metadata on a stick."""
    status, said = _at(folder, YEAR_2100, "verify", "keyless.json")
    assert status == 0 and f"{datetime.now(UTC):%Y}-" in said, said
    assert _at(folder, YEAR_2100, "verify", "endless.json")[0] == 0
    status, said = _at(folder, YEAR_2100, "verify", "limited.json")
    assert status == 4 and "is not trusted for" in said, said
    roots = ("keys", "roots", "stick", "--name", "lab", "--root", "root.json")
    status, said = _at(folder, YEAR_2100, *roots)
    assert status == 4 and "Expired" in said, said
    status, said = _at(folder, YEAR_1970, *roots)
    assert status == 4 and "the clock is wrong" in said, said
