# SPDX-License-Identifier: Apache-2.0
"""Every attack that has to be tried on statements and the log (docs/reference/attacks.md), through the verb that a
person calls: status 4, the reason on the screen, no traceback. The tests that the page names try each in more ways.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from attestation_bench import Scene, changed, scene
from click.testing import CliRunner, Result
from keyless_bench import statement
from memory_signer import trust_in
from test_log_verify import fill
from test_log_verify import statement as recorded
from test_store import publish

from assay.backends.stores.oci_layout import OciLayoutStore
from assay.cli.main import main
from assay.formats import dsse
from assay.formats.public_key import der_of
from assay.model.record import RecordType
from assay.model.statement import PredicateType
from assay.model.trust import Role, Threshold, TrustFile
from assay.pipeline.site import Site
from assay.pipeline.trust_file import write_trust

__all__ = ["scene"]

IMAGE = b"the image\n"
ABOUT = {"sha256": hashlib.sha256(IMAGE).hexdigest()}
OTHER = b"another image\n"
HOUR = timedelta(hours=1)
RELEASE = PredicateType.RELEASE.value


@dataclass
class Desk:
    """A person with a trust file, bundles and the command. `asked`: the files that are verified."""

    scene: Scene
    folder: Path
    trust: TrustFile = field(init=False)
    asked: list[bytes] = field(init=False)
    artifact: bytes = IMAGE
    words: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.trust = self.scene.trust()
        self.asked = [self.keyed()]

    def keyed(self, payload: bytes | None = None, role: Role = Role.BUILDER) -> bytes:
        return self.scene.signer.sign_statement(role, payload or statement(**ABOUT))

    def logged(self, payload: bytes | None = None) -> bytes:
        return self.scene.log(self.keyed(payload))

    def limit(self, **changes: Any) -> None:
        """The trust file says more of the key."""
        self.trust = self.scene.trust(**changes)

    def change(self, change: Callable[[dict[str, Any]], object]) -> None:
        self.asked = [changed(each, change) for each in self.asked]

    def verify(self) -> Result:
        write_trust(self.folder / "trust.toml", self.trust, replace=True)
        (self.folder / "image").write_bytes(self.artifact)
        names = [self.folder / f"{number}.json" for number in range(len(self.asked))]
        for name, data in zip(names, self.asked, strict=True):
            name.write_bytes(data)
        options = ["--artifact", self.folder / "image", "--trust", self.folder / "trust.toml", *self.words]
        return assay("verify", *names, *options)


def assay(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def refused(done: Result, says: str) -> None:
    assert done.exit_code == 4, (done.exit_code, done.output, done.exception)
    assert isinstance(done.exception, SystemExit) and "Traceback" not in done.output
    assert re.search(says, done.output), done.output


Attack = Callable[[Desk], object]
ATTACKS: dict[str, tuple[Attack, str]] = {}


def attack(name: str, says: str) -> Callable[[Attack], Attack]:
    def add(function: Attack) -> Attack:
        ATTACKS[name] = (function, says)
        return function

    return add


@attack("another predicate type", "nobody may sign statements of the type")
def _predicate(desk: Desk) -> None:
    desk.asked = [desk.keyed(statement(kind="https://example.com/other/v1", **ABOUT))]


@attack("another subject", "is not about the file with the SHA-256")
def _subject(desk: Desk) -> None:
    desk.artifact = OTHER


@attack("another payload type", "payload type")
def _payload_type(desk: Desk) -> None:
    desk.change(lambda it: it["dsseEnvelope"].update(payloadType="text/plain"))


@attack("non-ASCII payload type", "payload type")
def _non_ascii(desk: Desk) -> None:
    desk.change(lambda it: it["dsseEnvelope"].update(payloadType="application/vnd.in-toto+jsön"))


@attack("a key in the certificate's place", "does not verify|is malformed")
def _key_as_certificate(desk: Desk) -> None:
    desk.asked = [desk.logged()]
    raw = {"rawBytes": dsse.encode_base64(der_of(desk.scene.key.public))}

    def swap(document: dict[str, Any]) -> None:
        del document["verificationMaterial"]["publicKey"]
        document["verificationMaterial"]["certificate"] = raw

    desk.change(swap)


@attack("the log entry of another artifact", "is about another signature")
def _entry(desk: Desk) -> None:
    desk.limit(log_required=True)
    theirs = json.loads(desk.logged(statement(sha256="ef" * 32)))["verificationMaterial"]["tlogEntries"]
    desk.asked = [desk.logged()]
    desk.change(lambda it: it["verificationMaterial"].update(tlogEntries=theirs))


@attack("a key of JSON twice", "is there twice")
def _twice(desk: Desk) -> None:
    (good,) = desk.asked
    desk.asked = [good.replace(b'"mediaType":', b'"mediaType":"x","mediaType":', 1)]


@attack("a key of JSON twice in the statement", "is there twice")
def _twice_in_the_statement(desk: Desk) -> None:
    desk.asked = [desk.keyed(statement(**ABOUT).replace(b'"predicateType":', b'"predicateType":"x","predicateType":'))]


@attack("an unknown field in the bundle", "does not hold exactly one DSSE envelope")
def _unknown_field(desk: Desk) -> None:
    desk.change(lambda it: it.update(more=1))


@attack("an unknown field in the envelope", "envelope")
def _unknown_in_the_envelope(desk: Desk) -> None:
    desk.change(lambda it: it["dsseEnvelope"].update(more=1))


@attack("expired", "is not trusted for")
def _expired(desk: Desk) -> None:
    desk.asked = [desk.logged()]
    desk.limit(valid_until=datetime.now(UTC) - HOUR)


@attack("not yet valid", "is not trusted for")
def _not_yet(desk: Desk) -> None:
    desk.asked = [desk.logged()]
    desk.limit(valid_from=datetime.now(UTC) + HOUR)


@attack("clock at 1970", "the clock is wrong")
def _clock(desk: Desk) -> None:
    desk.words = ("--at", "1970-01-02T00:00:00Z")


@attack("a threshold of one key used twice", "wants 2 distinct signers .* there is 1")
def _threshold(desk: Desk) -> None:
    desk.asked = [desk.keyed(), desk.keyed()]
    desk.trust = desk.trust.model_copy(update={"thresholds": (Threshold(predicate_type=RELEASE, count=2),)})


@attack("a key rotated out", "no time stamp says it is older")
def _rotated_out(desk: Desk) -> None:
    """Signed today by who has the old key, and dated back."""
    desk.limit(valid_until=datetime.now(UTC) - HOUR)


@attack("a key revoked", "is revoked")
def _revoked(desk: Desk) -> None:
    desk.limit(revoked=True)


@attack("the right signer in the wrong role", "must be signed by|may not sign")
def _role(desk: Desk) -> None:
    desk.trust = trust_in(desk.scene.signer)
    desk.asked = [desk.keyed(role=Role.STATION)]


@attack("url-safe base64", "base64")
def _url_safe(desk: Desk) -> None:
    def change(document: dict[str, Any]) -> None:
        signature = document["dsseEnvelope"]["signatures"][0]
        raw = base64.b64decode(signature["sig"])
        signature["sig"] = base64.urlsafe_b64encode(raw[:-3] + b"\xff\xff\xff").decode()

    desk.change(change)


@attack("an empty trust file", "is not in the trust file|empty|names no")
def _empty(desk: Desk) -> None:
    desk.trust = TrustFile(schema="assay.trust/1", name="empty", allow_development=True)


def test_what_is_good_is_accepted(scene: Scene, tmp_path: Path) -> None:
    for bundle in (Desk.keyed, Desk.logged):
        desk = Desk(scene, tmp_path)
        desk.asked = [bundle(desk)]
        assert desk.verify().exit_code == 0, desk.verify().output


@pytest.mark.parametrize("name", ATTACKS)
def test_a_statement(scene: Scene, tmp_path: Path, name: str) -> None:
    make, says = ATTACKS[name]
    desk = Desk(scene, tmp_path)
    make(desk)
    refused(desk.verify(), says)


# The log, by `assay log verify` with a trust file.


def _filled(site: Path) -> Path:
    """Six records, by keys of its own, or those that are there."""
    assert assay("keys", "init", "--site", site).exit_code == 0
    opened = Site(site)
    fill(opened.recorder)
    opened.signers.close()
    return site


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three sites: two of one key, which are two histories of one log, and one of somebody else."""
    folder = tmp_path_factory.mktemp("sites")
    assert assay("keys", "init", "--site", folder / "mine").exit_code == 0
    shutil.copytree(folder / "mine", folder / "again")
    for name in ("mine", "again", "theirs"):
        _filled(folder / name)
    trust = ("keys", "trust", "--out", folder / "trust.toml", "--allow-development")
    assert assay(*trust, "--site", folder / "mine").exit_code == 0
    return folder


@dataclass
class Audit:
    """An auditor's copies of the sites, and whom he trusts."""

    folder: Path

    def verify(self, name: str, *words: object) -> Result:
        return assay("log", "verify", "--site", self.folder / name, "--trust", self.folder / "trust.toml", *words)

    def log(self, name: str) -> Path:
        return self.folder / name / "log"


@pytest.fixture
def audit(made: Path, tmp_path: Path) -> Audit:
    return Audit(Path(shutil.copytree(made, tmp_path / "copies")))


def test_a_whole_log_is_accepted(audit: Audit) -> None:
    assert audit.verify("mine").exit_code == 0
    assert audit.verify("again").exit_code == 0  # nobody can tell, from the one alone
    assert audit.verify("mine", "--checkpoint", audit.log("mine") / "checkpoint").exit_code == 0


def test_a_checkpoint_of_another_log(audit: Audit) -> None:
    shutil.copy(audit.log("theirs") / "checkpoint", audit.log("mine") / "checkpoint")
    refused(audit.verify("mine"), "is not in the trust file|is of another log")


@pytest.mark.parametrize("part", ["tile/0/000.p/6", "tile/entries/000.p/6"])
@pytest.mark.parametrize("how", ["truncated", "foreign", "gone"])
def test_a_tile_that_is_truncated_or_foreign(audit: Audit, part: str, how: str) -> None:
    tile = audit.log("mine") / part
    if how == "truncated":
        tile.write_bytes(tile.read_bytes()[:-7])
    elif how == "foreign":
        shutil.copy(audit.log("theirs") / part, tile)
    else:
        tile.unlink()
    refused(audit.verify("mine"), rf"log {part}: |log entry 0: is not what tile/0/000\.p/6 says that it was")


def test_a_rewritten_history(audit: Audit) -> None:
    """By the holder of the log's key: whole in itself, longer, and not what somebody kept."""
    site = Site(audit.folder / "again")
    said = recorded(RecordType.UPDATE, 7)
    site.recorder.record(said, RecordType.UPDATE, Role.FIELD, "U-1")
    site.signers.close()
    assert audit.verify("again").exit_code == 0
    kept = audit.log("mine") / "checkpoint"
    refused(audit.verify("again", "--checkpoint", kept), "is not of this log's past: one was rewritten")


def test_a_split_view(audit: Audit) -> None:
    """Two people compare what they were shown of a log of one size."""
    kept = audit.log("again") / "checkpoint"
    refused(audit.verify("mine", "--checkpoint", kept), "is not of this log's past: one was rewritten")


def test_a_split_view_before_a_witness(audit: Audit) -> None:
    """It cosigned the one, and is shown the other: it refuses, and so does who asks for its cosignature."""
    policy, witness = audit.folder / "policy.toml", audit.folder / "witness"
    vkey = assay("log", "witness", "--vkey", "--site", witness).stdout.strip()
    policy.write_text(f'schema = "assay.witnesses/1"\nthreshold = 1\n[[witnesses]]\nvkey = "{vkey}"\n')
    trust = ("--site", witness, "--trust", audit.folder / "trust.toml")
    assert assay("log", "witness", audit.log("mine"), *trust).exit_code == 0
    assert audit.verify("mine", "--witness", policy).exit_code == 0
    refused(assay("log", "witness", audit.log("again"), *trust), "two histories of one log")
    refused(audit.verify("again", "--witness", policy), "expected cosignatures of 1 witnesses")


def test_a_symlink_in_the_store(scene: Scene, tmp_path: Path) -> None:
    publish(OciLayoutStore(tmp_path / "site" / "store"), b"image")
    write_trust(tmp_path / "trust.toml", scene.trust(), replace=False)
    index = tmp_path / "site" / "store" / "index.json"
    index.rename(tmp_path / "elsewhere")
    index.symlink_to(tmp_path / "elsewhere")
    words = ["verify", "demo-sensor@1.0.0", "--trust", tmp_path / "trust.toml", "--site", tmp_path / "site"]
    refused(assay(*words), "is a symbolic link; a store has none")
