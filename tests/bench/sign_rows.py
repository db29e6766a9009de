# SPDX-License-Identifier: Apache-2.0
"""Rows about signing: a statement and a checkpoint, by keys in files and in SoftHSM, through the signer process."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

from measuring import row

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from soft_token import LABEL, LIBRARY, SoftToken, make_keys
from test_signer import SIGNED, statement

from assay.backends.signers.service import SignerProcess
from assay.model.trust import Role

COUNT = 200


def _each_ms(signers: SignerProcess) -> dict[str, float]:
    """Milliseconds for one signature of each kind; the first, which opens the key, is not counted."""
    found = {}
    for name, sign in (
        ("statement (P-256)", lambda: signers.sign_statement(Role.BUILDER, statement())),
        ("checkpoint (Ed25519)", lambda: signers.sign(Role.LOG, SIGNED[Role.LOG])),
    ):
        sign()
        began_s = time.perf_counter()
        for _ in range(COUNT):
            sign()
        found[name] = (time.perf_counter() - began_s) / COUNT * 1e3
    return found


def file_and_token() -> None:
    """Rows: a signature by a key in SoftHSM against one by a key in a file."""
    if not LIBRARY.exists():
        row("sign with SoftHSM", "softhsm2 is not installed", "", None)
        return
    root = Path(tempfile.mkdtemp(prefix="assay-bench-token-"))
    token = SoftToken(root / "hsm").make()
    os.environ.update(token.environment)
    files, tokens = SignerProcess(root / "files"), SignerProcess(root / "keys")
    tokens.set_token(LABEL, token.described())
    make_keys(tokens, (Role.BUILDER, Role.LOG))
    by_file, by_token = _each_ms(files), _each_ms(tokens)
    for name, ours in by_token.items():
        row(f"sign a {name}", f"{ours:.2f} ms (SoftHSM)", f"{by_file[name]:.2f} ms (file)", ours / by_file[name])
    files.close()
    tokens.close()
