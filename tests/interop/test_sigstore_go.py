# SPDX-License-Identifier: Apache-2.0
"""Keyless bundles of the lab in the hands of sigstore-go, the Sigstore project's verifier for Go: certificate and its
own log, Rekor v2 with its checkpoint, time stamps; and the Rekor v1 that tests have.

Its program is of Debian's release to come, whose 1.x reads Rekor v2. It wants a certificate, so bundles by key are
verified by `@sigstore/verify` alone.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from conformance_bench import DIGEST, STATEMENT, Case, Services, services
from conformance_cases import Make, envelope_v1, envelope_v2, file_v1, file_v2
from from_trixie import SIGSTORE_GO
from keyless_bench import WHO

__all__ = ["services"]

pytestmark = pytest.mark.skipif(not SIGSTORE_GO.is_file(), reason="sigstore-go: not in the Debian to come")


def _verified(found: Case, folder: Path, who: str = WHO, artifact: bytes | None = None) -> bool:
    found.laid_out(folder)
    if artifact is not None:
        (folder / "a.txt").write_bytes(artifact)
    words = ["-artifact", "a.txt", "-expectedIssuer", found.services.lab.url, "-expectedSAN", who]
    command = [SIGSTORE_GO, *words, "-trustedrootJSONpath", "root.json", "bundle.json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    return done.returncode == 0


def _old_intoto(s: Services) -> Case:
    return s.old(s.sign(STATEMENT), "intoto")


@pytest.mark.parametrize("make", [file_v1, envelope_v1, file_v2, envelope_v2, _old_intoto])
def test_a_bundle(services: Services, make: Make, tmp_path: Path) -> None:
    found = make(services)
    assert _verified(found, tmp_path)
    assert not _verified(found, tmp_path, who="https://ci.example/other")
    assert not _verified(found, tmp_path, artifact=b"another")
    found.root = services.other.trusted_root
    assert not _verified(found, tmp_path)


def test_a_changed_checkpoint_and_a_changed_digest(services: Services, tmp_path: Path) -> None:
    found = envelope_v2(services)
    found.note(lambda note: note.replace("\n", "x\n", 1))
    assert not _verified(found, tmp_path)
    other = services.new(services.sign(STATEMENT.replace(DIGEST.hex().encode(), b"00" * 32)))
    assert not _verified(other, tmp_path)
