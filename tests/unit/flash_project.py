# SPDX-License-Identifier: Apache-2.0
"""A project with one board that is flashed from outside, on one place, and the verb as a user calls it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from assay.cli.flash import command
from assay.cli.log import command as log
from assay.formats.trust_file import encode
from assay.model.trust import ImageKey, TrustFile

HEAD = 'schema = "assay.board/1"\nname = "theirs"\nrevision = 0\n'
PLAIN = 'firmware = "any"\n'


def _somebodys() -> TrustFile:
    """A trust file with a key that signs nothing here: an empty one verifies nothing, and is refused."""
    public = Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    key = ImageKey(name="spare", boards=("another",), public=public.decode())
    return TrustFile(schema="assay.trust/1", name="test", image_keys=(key,))


class FlashProject:
    """A folder with boards, bench, trust file and locks of its own; `flash` answers status and JSON."""

    def __init__(
        self, folder: Path, flasher: str, place: str, board: str = PLAIN, trust: TrustFile | None = None
    ) -> None:
        self.folder = folder
        (folder / "boards").mkdir(exist_ok=True)
        (folder / "boards" / "theirs.toml").write_text(HEAD + board + flasher)
        (folder / "bench.toml").write_text(
            f'schema = "assay.bench/1"\n[[places]]\nname = "desk"\nboard = "theirs"\n{place}\n'
        )
        (folder / "trust.toml").write_bytes(encode(trust or _somebodys()))

    def flash(self, *words: str, accept: bool = True) -> tuple[int, Any]:
        arguments = ["--place", "desk", "--trust", str(self.folder / "trust.toml"), "--json"]
        arguments += ["--site", str(self.folder / ".assay"), *(["--accept-unverified-image"] if accept else [])]
        locks = {"ASSAY_LOCK_DIR": str(self.folder / "locks")}  # tests beside this one have a probe of that name, too
        answer = CliRunner().invoke(command, [*words, *arguments], env=locks)
        if answer.exception is not None and not isinstance(answer.exception, SystemExit):
            raise answer.exception
        return answer.exit_code, json.loads(answer.stdout) if answer.stdout else answer.output

    def file(self, name: str, data: bytes) -> str:
        (self.folder / name).write_bytes(data)
        return str(self.folder / name)

    def record(self, done: dict[str, Any]) -> dict[str, Any]:
        """The predicate of the record that `done` names."""
        import base64

        bundle = json.loads((self.folder / ".assay" / "records" / f"{done['record']}.json").read_text())
        statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
        return {"type": statement["predicateType"], **statement["predicate"]}

    def attachment(self, sha256: str) -> str:
        return (self.folder / ".assay" / "attachments" / sha256).read_text()

    def log_verifies(self) -> bool:
        from assay.cli.keys import command as keys

        site = ["--site", str(self.folder / ".assay")]
        trust = str(self.folder / "all.toml")
        made = CliRunner().invoke(keys, ["trust", "--allow-development", "--out", trust, "--replace", *site])
        assert made.exit_code == 0, made.output
        return CliRunner().invoke(log, ["verify", "--trust", trust, *site]).exit_code == 0
